package main

import (
	"context"
	"os"
	"sort"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"sigs.k8s.io/karpenter/pkg/cloudprovider"
	"sigs.k8s.io/karpenter/pkg/controllers/provisioning/scheduling"
)

type answer struct {
	Planner string `json:"planner"`
	Go      string `json:"go"`
	// SolveSeconds is the time of Solve alone; SetUpSeconds that of the cluster state, topology counts and
	// NewScheduler before it.
	SolveSeconds float64 `json:"solveSeconds"`
	SetUpSeconds float64 `json:"setUpSeconds"`
	TimedOut     bool    `json:"timedOut,omitempty"`
	// StartBytes is the resident set when planning began: what reading left, the pods themselves included.
	StartBytes uint64 `json:"startBytes"`
	// PeakBytes is the largest resident set, from the end of reading on where PeakFromSolve, else of the whole process.
	PeakBytes     uint64 `json:"peakBytes"`
	PeakFromSolve bool   `json:"peakFromSolve"`

	Nodes         []node            `json:"nodes"`
	ExistingNodes []existing        `json:"existingNodes"`
	Unschedulable map[string]string `json:"unschedulable"`
}

type node struct {
	NodePool     string   `json:"nodePool"`
	InstanceType string   `json:"instanceType"`
	Zone         string   `json:"zone"`
	CapacityType string   `json:"capacityType"`
	Price        float64  `json:"price"`
	Pods         []string `json:"pods"`
}

type existing struct {
	Name string   `json:"name"`
	Pods []string `json:"pods"`
}

func describe(ctx context.Context, results scheduling.Results, refused map[string]string) *answer {
	// As the provisioner does before it creates NodeClaims: only so many types go into a launch, the cheapest.
	results = results.TruncateInstanceTypes(ctx, scheduling.MaxInstanceTypes)
	a := &answer{Nodes: []node{}, ExistingNodes: []existing{}, Unschedulable: refused}
	for _, claim := range results.NewNodeClaims {
		pods := names(claim.Pods)
		cheapest := launch(claim)
		if cheapest == nil {
			for _, pod := range pods {
				a.Unschedulable[pod] = "no instance type of its NodeClaim is on offer"
			}
			continue
		}
		cheapest.NodePool, cheapest.Pods = claim.NodePoolName, pods
		a.Nodes = append(a.Nodes, *cheapest)
	}
	for _, n := range results.ExistingNodes {
		if len(n.Pods) > 0 {
			a.ExistingNodes = append(a.ExistingNodes, existing{Name: n.Name(), Pods: names(n.Pods)})
		}
	}
	for pod, err := range results.PodErrors {
		a.Unschedulable[pod.Namespace+"/"+pod.Name] = err.Error()
	}
	return a
}

// launch is the cheapest available offering that the NodeClaim admits; among equals the first by type and zone.
func launch(claim *scheduling.NodeClaim) *node {
	var best *node
	for _, it := range claim.InstanceTypeOptions {
		for _, o := range it.Offerings.Available().Compatible(claim.Requirements) {
			if candidate := of(it, o); best == nil || candidate.before(best) {
				best = candidate
			}
		}
	}
	return best
}

func of(it *instanceType, o *cloudprovider.Offering) *node {
	return &node{InstanceType: it.Name, Zone: o.Zone(), CapacityType: o.CapacityType(), Price: o.Price}
}

func (n *node) before(other *node) bool {
	if n.Price != other.Price {
		return n.Price < other.Price
	}
	if n.InstanceType != other.InstanceType {
		return n.InstanceType < other.InstanceType
	}
	return n.Zone < other.Zone
}

func names(pods []*corev1.Pod) []string {
	list := make([]string, 0, len(pods))
	for _, pod := range pods {
		list = append(list, pod.Namespace+"/"+pod.Name)
	}
	sort.Strings(list)
	return list
}

// resetPeak makes the kernel forget the largest resident set so far, and says whether it could.
func resetPeak() bool {
	return os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) == nil
}

// peakBytes is the largest resident set; 0 where the system does not tell.
func peakBytes() uint64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.SplitSeq(string(status), "\n") {
		rest, ok := strings.CutPrefix(line, "VmHWM:")
		if !ok {
			continue
		}
		kib, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
		if err == nil {
			return kib * 1024
		}
	}
	return 0
}
