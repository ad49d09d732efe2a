package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/awslabs/operatorpkg/status"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	v1 "sigs.k8s.io/karpenter/pkg/apis/v1"
	"sigs.k8s.io/karpenter/pkg/cloudprovider"
	"sigs.k8s.io/karpenter/pkg/scheduling"
)

type instanceType = cloudprovider.InstanceType

// catalogEntry is an instance type in the shape of the file of Karpenter's KWOK provider, with two additions: the
// overhead, and labels.
type catalogEntry struct {
	Name             string              `json:"name"`
	Architecture     string              `json:"architecture"`
	OperatingSystems []string            `json:"operatingSystems"`
	Resources        corev1.ResourceList `json:"resources"`
	Overhead         corev1.ResourceList `json:"overhead"`
	Labels           map[string]string   `json:"labels"`
	Offerings        []struct {
		Price        float64
		Available    bool
		Requirements []corev1.NodeSelectorRequirement
	} `json:"offerings"`
}

func readCatalog(path string) ([]*instanceType, error) {
	bytes, err := readFile(path)
	if err != nil {
		return nil, err
	}
	var entries []catalogEntry
	if err := json.Unmarshal(bytes, &entries); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	// The labels of a type are well known, as those of the AWS provider are: NodePools and pods may select by them, and
	// a type without such a label has to say so.
	keys := sets.New[string]()
	for _, entry := range entries {
		for key := range entry.Labels {
			keys.Insert(key)
		}
		for _, offering := range entry.Offerings {
			for _, requirement := range offering.Requirements {
				v1.WellKnownLabels.Insert(requirement.Key)
			}
		}
	}
	v1.WellKnownLabels.Insert(keys.UnsortedList()...)
	types := make([]*instanceType, 0, len(entries))
	for _, entry := range entries {
		types = append(types, entry.instanceType(sets.List(keys)))
	}
	return types, nil
}

func (e catalogEntry) instanceType(labelKeys []string) *instanceType {
	var offerings cloudprovider.Offerings
	offered := map[string][]string{}
	for _, o := range e.Offerings {
		requirements := scheduling.NewRequirements()
		for _, r := range o.Requirements {
			requirements.Add(scheduling.NewRequirement(r.Key, r.Operator, r.Values...))
			for _, value := range r.Values {
				if o.Available && !slices.Contains(offered[r.Key], value) {
					offered[r.Key] = append(offered[r.Key], value)
				}
			}
		}
		offerings = append(offerings, &cloudprovider.Offering{Requirements: requirements, Price: o.Price, Available: o.Available})
	}
	requirements := scheduling.NewRequirements(
		scheduling.NewRequirement(corev1.LabelInstanceTypeStable, corev1.NodeSelectorOpIn, e.Name),
		scheduling.NewRequirement(corev1.LabelArchStable, corev1.NodeSelectorOpIn, e.Architecture),
		scheduling.NewRequirement(corev1.LabelOSStable, corev1.NodeSelectorOpIn, e.OperatingSystems...),
	)
	for key, values := range offered {
		requirements.Add(scheduling.NewRequirement(key, corev1.NodeSelectorOpIn, values...))
	}
	for _, key := range labelKeys {
		if value, ok := e.Labels[key]; ok {
			requirements.Add(scheduling.NewRequirement(key, corev1.NodeSelectorOpIn, value))
		} else {
			requirements.Add(scheduling.NewRequirement(key, corev1.NodeSelectorOpDoesNotExist))
		}
	}
	return &instanceType{
		Name:         e.Name,
		Requirements: requirements,
		Offerings:    offerings,
		Capacity:     e.Resources,
		Overhead:     &cloudprovider.InstanceTypeOverhead{KubeReserved: e.Overhead},
	}
}

// cloud sells the catalogue's types to every NodePool, and launches nothing: what is not overridden is never called.
type cloud struct {
	cloudprovider.CloudProvider
	types []*instanceType
}

func newCloud(types []*instanceType) *cloud {
	return &cloud{types: types}
}

func (c *cloud) Name() string {
	return "catalogue"
}

func (c *cloud) GetInstanceTypes(context.Context, *v1.NodePool) ([]*instanceType, error) {
	return c.types, nil
}

func (c *cloud) GetSupportedNodeClasses() []status.Object {
	return nil
}

func (c *cloud) byPool(pools []*v1.NodePool) map[string][]*instanceType {
	types := map[string][]*instanceType{}
	for _, pool := range pools {
		types[pool.Name] = c.types
	}
	return types
}
