package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	fakecr "sigs.k8s.io/controller-runtime/pkg/client/fake"

	_ "sigs.k8s.io/karpenter/pkg/apis"
	v1 "sigs.k8s.io/karpenter/pkg/apis/v1"
	"sigs.k8s.io/karpenter/pkg/controllers/provisioning/scheduling"
	"sigs.k8s.io/karpenter/pkg/controllers/state"
	podscheduling "sigs.k8s.io/karpenter/pkg/scheduling"
	"sigs.k8s.io/karpenter/pkg/utils/daemonset"
	nodepoolutils "sigs.k8s.io/karpenter/pkg/utils/nodepool"
)

// world is a snapshot by kind.
type world struct {
	nodePools  []*v1.NodePool
	pending    []*corev1.Pod
	bound      []*corev1.Pod
	nodes      []*corev1.Node
	nodeClaims []*v1.NodeClaim
	daemonSets []*appsv1.DaemonSet
	// others are looked up through the client alone.
	others []client.Object
}

func readFile(path string) ([]byte, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(raw, []byte{0x1f, 0x8b}) {
		return raw, nil
	}
	unzipped, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	raw, err = io.ReadAll(unzipped)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return raw, nil
}

func readSnapshot(path string) (*world, error) {
	raw, err := readFile(path)
	if err != nil {
		return nil, err
	}
	var list struct {
		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	w := &world{}
	for at, item := range list.Items {
		var head struct {
			Kind string `json:"kind"`
		}
		if err := json.Unmarshal(item, &head); err != nil {
			return nil, fmt.Errorf("%s: item %d: %w", path, at, err)
		}
		if err := w.add(head.Kind, item); err != nil {
			return nil, fmt.Errorf("%s: item %d, a %s: %w", path, at, head.Kind, err)
		}
	}
	if len(w.nodePools) == 0 {
		return nil, fmt.Errorf("%s: holds no NodePool", path)
	}
	nodepoolutils.OrderByWeight(w.nodePools)
	return w, nil
}

func (w *world) add(kind string, item []byte) error {
	switch kind {
	case "NodePool":
		return decode(item, &w.nodePools)
	case "Pod":
		return w.addPod(item)
	case "Node":
		return decode(item, &w.nodes)
	case "NodeClaim":
		return decode(item, &w.nodeClaims)
	case "DaemonSet":
		return decode(item, &w.daemonSets)
	case "PersistentVolumeClaim":
		return decodeOther[corev1.PersistentVolumeClaim](item, w)
	case "PersistentVolume":
		return decodeOther[corev1.PersistentVolume](item, w)
	case "StorageClass":
		return decodeOther[storagev1.StorageClass](item, w)
	case "CSINode":
		return decodeOther[storagev1.CSINode](item, w)
	case "Namespace":
		return decodeOther[corev1.Namespace](item, w)
	}
	return nil
}

func (w *world) addPod(item []byte) error {
	pod := &corev1.Pod{}
	if err := json.Unmarshal(item, pod); err != nil {
		return err
	}
	if pod.Namespace == "" {
		pod.Namespace = "default"
	}
	// The scheduler keeps what it knows of a pod under its uid.
	if pod.UID == "" {
		pod.UID = types.UID(pod.Namespace + "/" + pod.Name)
	}
	switch {
	case pod.Spec.NodeName != "":
		w.bound = append(w.bound, pod)
	case (pod.Status.Phase == "" || pod.Status.Phase == corev1.PodPending) && pod.DeletionTimestamp == nil &&
		len(pod.Spec.SchedulingGates) == 0 && !ofDaemonSet(pod):
		w.pending = append(w.pending, pod)
	}
	return nil
}

func ofDaemonSet(pod *corev1.Pod) bool {
	for _, owner := range pod.OwnerReferences {
		if owner.Kind == "DaemonSet" {
			return true
		}
	}
	return false
}

func decode[T any](item []byte, into *[]*T) error {
	object := new(T)
	if err := json.Unmarshal(item, object); err != nil {
		return err
	}
	*into = append(*into, object)
	return nil
}

func decodeOther[T any, P interface {
	*T
	client.Object
}](item []byte, w *world) error {
	object := P(new(T))
	if err := json.Unmarshal(item, object); err != nil {
		return err
	}
	w.others = append(w.others, object)
	return nil
}

// client answers as an API server would that holds all but the pending pods, which have no place in any count yet.
func (w *world) client() client.Client {
	objects := append([]client.Object{}, w.others...)
	for _, pod := range w.bound {
		objects = append(objects, pod)
	}
	for _, node := range w.nodes {
		objects = append(objects, node)
	}
	return fakecr.NewClientBuilder().WithScheme(scheme.Scheme).WithObjects(objects...).
		WithIndex(&corev1.Pod{}, "spec.nodeName", func(o client.Object) []string {
			return []string{o.(*corev1.Pod).Spec.NodeName}
		}).Build()
}

// fill tells the cluster state what runs.
func (w *world) fill(ctx context.Context, cluster *state.Cluster) error {
	for _, claim := range w.nodeClaims {
		cluster.UpdateNodeClaim(claim)
	}
	for _, node := range w.nodes {
		if node.Spec.ProviderID == "" {
			node.Spec.ProviderID = node.Name
		}
		if err := cluster.UpdateNode(ctx, node); err != nil {
			return fmt.Errorf("node %s: %w", node.Name, err)
		}
	}
	for _, pod := range w.bound {
		// A pod on a node that the snapshot lacks takes no room anywhere.
		if err := client.IgnoreNotFound(cluster.UpdatePod(ctx, pod)); err != nil {
			return fmt.Errorf("pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
	}
	return nil
}

// volumeRequirements says where the volumes of pending pods can be. Pods with volumes that cannot be are taken from the
// list, with the reason.
func (w *world) volumeRequirements(ctx context.Context, kubeClient client.Client) (map[types.UID][]podscheduling.Requirements, map[string]string) {
	volumes := scheduling.NewVolumeTopology(kubeClient)
	requirements := map[types.UID][]podscheduling.Requirements{}
	refused := map[string]string{}
	kept := make([]*corev1.Pod, 0, len(w.pending))
	for _, pod := range w.pending {
		err := volumes.ValidatePersistentVolumeClaims(ctx, pod)
		var alternatives []podscheduling.Requirements
		if err == nil {
			alternatives, err = volumes.GetRequirements(ctx, pod)
		}
		if err != nil {
			refused[pod.Namespace+"/"+pod.Name] = err.Error()
			continue
		}
		if len(alternatives) > 0 {
			requirements[pod.UID] = alternatives
		}
		kept = append(kept, pod)
	}
	w.pending = kept
	return requirements, refused
}

func (w *world) daemonPods() []*corev1.Pod {
	pods := make([]*corev1.Pod, 0, len(w.daemonSets))
	for _, set := range w.daemonSets {
		pods = append(pods, daemonset.PodForDaemonSet(set))
	}
	return pods
}
