//! As much of the plan document as expectations look at, and where each pod ended up.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Plan {
    pub(super) summary: Summary,
    pub(super) new_nodes: Vec<NewNode>,
    existing_nodes: Vec<ExistingNode>,
    pub(super) fargate: Vec<OnFargate>,
    pub(super) unschedulable: Vec<Unschedulable>,
    #[serde(default)]
    pub(super) notes: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Summary {
    pub(super) pending_pods: usize,
    pub(super) new_nodes: usize,
    pub(super) hourly_cost: f64,
    pub(super) lower_bound: f64,
    pub(super) status: String,
    pub(super) weighed: Option<Weighed>,
    pub(super) spot: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Weighed {
    pub(super) hourly_cost: f64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewNode {
    name: String,
    pub(super) node_pool: String,
    pub(super) instance_type: String,
    pub(super) zone: String,
    pub(super) capacity_type: String,
    pub(super) commitment: Option<String>,
    pub(super) price: f64,
    pub(super) alternatives: Vec<String>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) daemon_sets: Vec<String>,
    pub(super) pods: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct ExistingNode {
    name: String,
    pods: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OnFargate {
    pod: String,
    profile: String,
    pub(super) vcpu: f64,
    #[serde(rename = "memoryGiB")]
    pub(super) memory_gib: f64,
    pub(super) price: f64,
    pub(super) ec2_cost: Option<f64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Unschedulable {
    pub(super) pod: String,
    pub(super) reasons: Vec<String>,
}

/// A node that pods were placed on.
#[derive(Clone, Debug, Default)]
pub(super) struct Place<'p> {
    pub(super) node: &'p str,
    pub(super) zone: &'p str,
    pub(super) of_type: &'p str,
    pub(super) pool: &'p str,
    pub(super) capacity_type: &'p str,
    /// Where it is yet to be bought.
    pub(super) new: Option<&'p NewNode>,
    /// Where it is none at all.
    pub(super) fargate: Option<&'p OnFargate>,
}

impl Plan {
    /// Where each pod is placed; and names that stand in several lists, or in one twice.
    pub(super) fn places<'p>(&'p self, objects: &'p [Value]) -> (BTreeMap<&'p str, Place<'p>>, Vec<String>) {
        let mut places = BTreeMap::new();
        let mut twice = Vec::new();
        let mut put = |pods: &'p [String], place: &Place<'p>| {
            for pod in pods {
                if places.insert(pod.as_str(), place.clone()).is_some() {
                    twice.push(format!("{pod} is placed twice"));
                }
            }
        };
        for node in &self.new_nodes {
            let place = Place {
                node: &node.name,
                zone: &node.zone,
                of_type: &node.instance_type,
                pool: &node.node_pool,
                capacity_type: &node.capacity_type,
                new: Some(node),
                fargate: None,
            };
            put(&node.pods, &place);
        }
        for node in &self.existing_nodes {
            let mut nodes = objects.iter().filter(|o| o["kind"] == "Node");
            let labels =
                nodes.find(|o| o["metadata"]["name"] == *node.name).map(|o| &o["metadata"]["labels"]);
            let label = |key: &str| labels.and_then(|l| l[key].as_str()).unwrap_or_default();
            let place = Place {
                node: &node.name,
                zone: label("topology.kubernetes.io/zone"),
                of_type: label("node.kubernetes.io/instance-type"),
                pool: label("karpenter.sh/nodepool"),
                capacity_type: label("karpenter.sh/capacity-type"),
                new: None,
                fargate: None,
            };
            put(&node.pods, &place);
        }
        for on in &self.fargate {
            let place = Place {
                node: "fargate",
                pool: &on.profile,
                capacity_type: "fargate",
                fargate: Some(on),
                ..Place::default()
            };
            put(std::slice::from_ref(&on.pod), &place);
        }
        let waiting = self.unschedulable.iter().filter(|u| places.contains_key(u.pod.as_str()));
        let both: Vec<String> = waiting.map(|u| format!("{} is placed and waits", u.pod)).collect();
        twice.extend(both);
        (places, twice)
    }
}
