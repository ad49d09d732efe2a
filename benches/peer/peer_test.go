package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/karpenter/pkg/operator/options"
)

// Small nodes cost the least for what they hold, in zone b; the large one is there in zone a alone.
const catalogue = `[
{"name": "small", "architecture": "amd64", "operatingSystems": ["linux"], "labels": {"size": "s"},
 "resources": {"cpu": "2", "memory": "4Gi", "pods": "10"}, "overhead": {"cpu": "100m"},
 "offerings": [
  {"Price": 0.11, "Available": true, "Requirements": [{"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]}, {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["a"]}]},
  {"Price": 0.10, "Available": true, "Requirements": [{"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]}, {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["b"]}]},
  {"Price": 0.01, "Available": false, "Requirements": [{"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]}, {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["c"]}]}]},
{"name": "large", "architecture": "amd64", "operatingSystems": ["linux"],
 "resources": {"cpu": "16", "memory": "32Gi", "pods": "50"},
 "offerings": [
  {"Price": 1, "Available": true, "Requirements": [{"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]}, {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["a"]}]}]}]`

const nodePool = `{"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "default"}, "spec": {"template": {"spec": {
 "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"}, "requirements": []}}}}`

func planned(t *testing.T, items string) *answer {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	world, err := readSnapshot(write("snapshot.json", `{"kind": "List", "items": [`+nodePool+items+`]}`))
	if err != nil {
		t.Fatal(err)
	}
	types, err := readCatalog(write("catalog.json", catalogue))
	if err != nil {
		t.Fatal(err)
	}
	ctx := options.ToContext(context.Background(), &options.Options{IgnoreDRARequests: true})
	scheduler, refused, err := setUp(ctx, world, types, 1)
	if err != nil {
		t.Fatal(err)
	}
	results, err := scheduler.Solve(ctx, world.pending)
	if err != nil {
		t.Fatal(err)
	}
	return describe(ctx, results, refused)
}

func pod(name, cpu, more string) string {
	return `,{"kind": "Pod", "metadata": {"name": "` + name + `", "namespace": "web"}, "spec": {"containers": [{"name": "m", "resources":
 {"requests": {"cpu": "` + cpu + `"}}}]` + more + `}, "status": {"phase": "Pending"}}`
}

func TestANodeIsTheCheapestOfferingThatHoldsItsPods(t *testing.T) {
	plan := planned(t, pod("one", "900m", "")+pod("two", "900m", ""))
	if len(plan.Nodes) != 1 || len(plan.Unschedulable) != 0 {
		t.Fatalf("one node for both, got %+v", plan)
	}
	if n := plan.Nodes[0]; n.InstanceType != "small" || n.Zone != "b" || n.Price != 0.10 || len(n.Pods) != 2 || n.NodePool != "default" {
		t.Errorf("the cheaper zone, and no offering that is not available; got %+v", n)
	}
}

func TestLabelsOfTypesAreWellKnown(t *testing.T) {
	plan := planned(t, pod("small", "1", `, "nodeSelector": {"size": "s"}`)+pod("none", "1", `, "nodeSelector": {"size": "xxl"}`))
	if len(plan.Nodes) != 1 || plan.Nodes[0].InstanceType != "small" {
		t.Errorf("the label picks the type, got %+v", plan.Nodes)
	}
	if plan.Unschedulable["web/none"] == "" {
		t.Errorf("a label that no type has, and no reason given: %v", plan.Unschedulable)
	}
}

func TestDaemonSetsAndExistingNodesTakeTheirPart(t *testing.T) {
	daemon := `,{"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "agent", "namespace": "kube-system"}, "spec": {"template":
 {"spec": {"tolerations": [{"operator": "Exists"}], "containers": [{"name": "m", "resources": {"requests": {"cpu": "1"}}}]}}}}`
	existing := `,{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "old", "labels": {"kubernetes.io/hostname": "old"}}, "status":
 {"capacity": {"cpu": "4", "memory": "8Gi", "pods": "10"}, "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "10"}}}`
	running := `,{"kind": "Pod", "metadata": {"name": "old-agent", "namespace": "kube-system", "ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent"}]},
 "spec": {"nodeName": "old", "containers": [{"name": "m", "resources": {"requests": {"cpu": "1"}}}]}, "status": {"phase": "Running"}}`
	plan := planned(t, daemon+existing+running+pod("one", "3", "")+pod("two", "1", ""))
	if len(plan.ExistingNodes) != 1 || plan.ExistingNodes[0].Pods[0] != "web/one" {
		t.Errorf("the larger pod fills the node that is there, got %+v", plan.ExistingNodes)
	}
	// 1.9 CPUs less the agent's 1 do not hold a pod of 1.
	if len(plan.Nodes) != 1 || plan.Nodes[0].InstanceType != "large" {
		t.Errorf("the agent takes its part of a new node, got %+v", plan.Nodes)
	}
}
