//! A planned node as the `NodeClaim` that asks for it.
//!
//! The claim names what was planned and what else holds the same pods: instance types by price, the zones where all of
//! them do, one capacity type. All else is the `NodePool`'s template, as it stands in the cluster: fields that this version
//! does not know are carried over.
//!
//! compat: karpenter v1.14, `pkg/controllers/provisioning/scheduling/nodeclaimtemplate.go`.

use std::collections::BTreeMap;

use crate::life::FINALIZER;
use serde_json::{Map, Value, json};
use stowage_api::crd::{NODE_POOL_HASH_VERSION, node_pool_hash};
use stowage_api::well_known::{
    ARCH, CAPACITY_TYPE, HOSTNAME, INSTANCE_TYPE, NODE_POOL, NODE_POOL_HASH, OS, REGION, WINDOWS_BUILD, ZONE,
    is_restricted, stable,
};
use stowage_api::{NodeClaim, Operator, Requirement};

/// Group and version of `NodeClaims`.
pub const API_VERSION: &str = "karpenter.sh/v1";

/// Classes that this controller launches from: group and kind.
pub const NODE_CLASS: (&str, &str) = ("karpenter.k8s.aws", "EC2NodeClass");

/// Whether a claim is for this controller to launch and to look after. Others bring classes of their own to the same cluster,
/// as EKS Auto Mode does, and see to their claims themselves.
pub fn is_ours(claim: &NodeClaim) -> bool {
    let class = claim.spec.node_class_ref.as_ref();
    class.is_none_or(|class| (class.group.as_str(), class.kind.as_str()) == NODE_CLASS)
}

/// Instance types that a claim names at most; Karpenter's launches take no more.
pub const MOST_TYPES: usize = 60;

/// Annotation of `NodePools` and `NodeClaims`: the version of their hash.
pub const HASH_VERSION: &str = stowage_api::well_known::NODE_POOL_HASH_VERSION;

/// What to launch a node as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Instance types, the planned one first, the others by price.
    pub types: Vec<String>,
    /// Its zones: the planned one first, and those where all of its types hold the same pods.
    pub zones: Vec<String>,
    /// Its capacity type.
    pub capacity_type: String,
    /// Values of labels that the `NodePool` leaves open.
    pub labels: BTreeMap<String, String>,
    /// What its pods and `DaemonSets` ask for, as quantities.
    pub requests: BTreeMap<String, String>,
    /// Whether `minValues` had to be given up.
    pub relaxed: bool,
}

/// The `NodeClaim` for a node of `pool`, an object as the API server gives it.
pub fn node_claim(pool: &Value, choice: &Choice) -> Value {
    claim(pool, Some(choice))
}

/// The same where nothing was chosen: whatever the template admits may be launched.
pub fn static_claim(pool: &Value) -> Value {
    claim(pool, None)
}

fn claim(pool: &Value, chosen: Option<&Choice>) -> Value {
    let none = Choice::default();
    let choice = chosen.unwrap_or(&none);
    let name = pool["metadata"]["name"].as_str().unwrap_or_default();
    let template = &pool["spec"]["template"];
    let mut spec = template["spec"].as_object().cloned().unwrap_or_default();
    if !choice.requests.is_empty() {
        spec.insert("resources".to_owned(), json!({"requests": choice.requests}));
    }
    let stated = template["spec"]["requirements"].as_array().map_or(&[][..], Vec::as_slice);
    let stated = stated.iter().filter_map(|of| serde_json::from_value(of.clone()).ok()).collect::<Vec<_>>();
    let mut labels = labels_of(&stated);
    labels.extend(strings(&template["metadata"]["labels"]));
    labels.extend(choice.labels.clone());
    labels.insert(NODE_POOL.to_owned(), name.to_owned());
    let class = &spec.get("nodeClassRef").cloned().unwrap_or_default();
    if let (Some(group), Some(kind), Some(class)) =
        (class["group"].as_str(), class["kind"].as_str(), class["name"].as_str())
    {
        labels.insert(format!("{group}/{}", kind.to_ascii_lowercase()), class.to_owned());
    }
    spec.insert("requirements".to_owned(), requirements(template, &labels, chosen));
    let mut annotations = strings(&template["metadata"]["annotations"]);
    // Of the template as it is now: the pool's own annotation may not have been written yet.
    annotations.insert(NODE_POOL_HASH.to_owned(), node_pool_hash(pool));
    annotations.insert(HASH_VERSION.to_owned(), NODE_POOL_HASH_VERSION.to_owned());
    if choice.relaxed {
        annotations.insert("karpenter.sh/nodeclaim-min-values-relaxed".to_owned(), "true".to_owned());
    }
    json!({
        "apiVersion": API_VERSION,
        "kind": "NodeClaim",
        "metadata": {
            "generateName": format!("{name}-"),
            "labels": labels,
            "annotations": annotations,
            "finalizers": [FINALIZER],
            "ownerReferences": [{
                "apiVersion": API_VERSION,
                "kind": "NodePool",
                "name": name,
                "uid": pool["metadata"]["uid"],
                "blockOwnerDeletion": true,
            }],
        },
        "spec": spec,
    })
}

/// Labels that requirements come to, of those that nobody but the user gives a value: the first value that all of them allow.
/// What machines have by themselves is not among them.
///
/// compat: karpenter v1.14, `Requirements.Labels`.
pub(crate) fn labels_of(requirements: &[Requirement]) -> BTreeMap<String, String> {
    let of_user = requirements.iter().filter(|of| !is_well_known(&of.key) && !is_restricted(&of.key));
    let lists = of_user.clone().filter(|of| of.operator == Operator::In);
    lists
        .filter_map(|list| {
            let allowed = |value: &&String| {
                of_user.clone().filter(|of| of.key == list.key).all(|of| of.allows(Some(value)))
            };
            Some((list.key.clone(), list.values.iter().find(allowed)?.clone()))
        })
        .collect()
}

/// Whether kubelet, the cloud or the scheduler gives nodes this label: its value follows from the machine.
fn is_well_known(key: &str) -> bool {
    let own = [ARCH, OS, INSTANCE_TYPE, ZONE, REGION, HOSTNAME, CAPACITY_TYPE, WINDOWS_BUILD];
    own.contains(&stable(key))
}

/// The template's requirements, the labels of its nodes, and what was chosen in their place.
fn requirements(template: &Value, labels: &BTreeMap<String, String>, choice: Option<&Choice>) -> Value {
    let mut chosen = BTreeMap::<&str, Vec<&str>>::new();
    if let Some(choice) = choice {
        chosen.insert(INSTANCE_TYPE, choice.types.iter().map(String::as_str).take(MOST_TYPES).collect());
        chosen.insert(ZONE, choice.zones.iter().map(String::as_str).collect());
        chosen.insert(CAPACITY_TYPE, vec![&choice.capacity_type]);
        for (key, value) in &choice.labels {
            chosen.insert(key, vec![value]);
        }
    }
    let stated = template["spec"]["requirements"].as_array().map_or(&[][..], Vec::as_slice);
    let mut out: Vec<Value> = Vec::with_capacity(stated.len() + chosen.len());
    let mut least = BTreeMap::<&str, &Value>::new();
    for requirement in stated {
        let key = requirement["key"].as_str().unwrap_or_default();
        match requirement.get("minValues").filter(|least| !least.is_null()) {
            Some(count) if chosen.contains_key(key) => drop(least.insert(key, count)),
            _ => {}
        }
        if !chosen.contains_key(key) && key != HOSTNAME {
            out.push(requirement.clone());
        }
    }
    for (key, value) in labels.iter().filter(|(key, _)| !chosen.contains_key(key.as_str())) {
        let own = json!({"key": key, "operator": "In", "values": [value]});
        if !out.contains(&own) {
            out.push(own);
        }
    }
    for (key, values) in chosen {
        let mut requirement = Map::new();
        requirement.insert("key".to_owned(), json!(key));
        requirement.insert("operator".to_owned(), json!("In"));
        // A choice that had to be narrower than was asked for must not be refused for that.
        let wide = |count: &&Value| count.as_u64().is_some_and(|least| least <= values.len() as u64);
        if let Some(count) = least.get(key).copied().filter(wide) {
            requirement.insert("minValues".to_owned(), count.clone());
        }
        requirement.insert("values".to_owned(), json!(values));
        out.push(Value::Object(requirement));
    }
    out.sort_by(|a, b| a["key"].as_str().cmp(&b["key"].as_str()));
    Value::Array(out)
}

fn strings(map: &Value) -> BTreeMap<String, String> {
    let entries = map.as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool() -> Value {
        json!({
            "metadata": {
                "name": "default",
                "uid": "u-1",
                "annotations": {"karpenter.sh/nodepool-hash": "123", "someone/else": "x"},
            },
            "spec": {"weight": 5, "template": {
                "metadata": {"labels": {"team": "a"}, "annotations": {"note": "n"}},
                "spec": {
                    "requirements": [
                        {"key": "node.kubernetes.io/instance-type", "operator": "NotIn", "values": ["m5.large"], "minValues": 2},
                        {"key": "karpenter.k8s.aws/instance-category", "operator": "In", "values": ["c", "m"]},
                        {"key": "tier", "operator": "Exists"},
                    ],
                    "taints": [{"key": "dedicated", "effect": "NoSchedule"}],
                    "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "al2023"},
                    "expireAfter": "720h",
                    "fromTheFuture": {"a": 1},
                },
            }},
        })
    }

    fn choice() -> Choice {
        Choice {
            types: vec!["m7i.large".to_owned(), "m6i.large".to_owned()],
            zones: vec!["us-east-1a".to_owned()],
            capacity_type: "spot".to_owned(),
            labels: [("tier".to_owned(), "web".to_owned())].into(),
            requests: [("cpu".to_owned(), "1500m".to_owned())].into(),
            relaxed: false,
        }
    }

    #[test]
    fn requirements_of_the_user_become_labels() {
        let of = |key: &str, values: &[&str]| json!({"key": key, "operator": "In", "values": values});
        let mut pool = pool();
        pool["spec"]["template"]["spec"]["requirements"] = json!([
            of("owner", &["b"]),
            of("team", &["b"]),
            of("stage", &["test", "live"]),
            {"key": "stage", "operator": "NotIn", "values": ["test"]},
            of("topology.kubernetes.io/zone", &["us-east-1a"]),
            of("failure-domain.beta.kubernetes.io/region", &["us-east-1"]),
            of("karpenter.k8s.aws/instance-family", &["m7i"]),
            {"key": "anything", "operator": "Exists"},
        ]);
        let class = ("karpenter.k8s.aws/ec2nodeclass", "al2023");
        for claim in [static_claim(&pool), node_claim(&pool, &Choice { labels: BTreeMap::new(), ..choice() })]
        {
            assert_eq!(
                claim["metadata"]["labels"],
                json!({
                    (class.0): class.1, "karpenter.sh/nodepool": "default",
                    "owner": "b", "stage": "live", "team": "a",
                })
            );
            let stated = claim["spec"]["requirements"].as_array().expect("a list");
            assert_eq!(stated.iter().filter(|of| of["key"] == "owner").count(), 1, "{stated:?}");
        }
        let claim = node_claim(&pool, &Choice { labels: [("stage".into(), "x".into())].into(), ..choice() });
        assert_eq!(claim["metadata"]["labels"]["stage"], "x", "what was chosen goes before");
    }

    #[test]
    fn a_claim_says_what_was_chosen_and_carries_the_template_over() {
        let claim = node_claim(&pool(), &choice());
        assert_eq!(claim["metadata"]["generateName"], "default-");
        assert_eq!(
            claim["metadata"]["labels"],
            json!({"karpenter.k8s.aws/ec2nodeclass": "al2023", "karpenter.sh/nodepool": "default", "team": "a", "tier": "web"})
        );
        let hash = node_pool_hash(&pool());
        assert_eq!(
            claim["metadata"]["annotations"],
            json!({"karpenter.sh/nodepool-hash": hash, "karpenter.sh/nodepool-hash-version": "v3", "note": "n"})
        );
        assert_eq!(claim["metadata"]["ownerReferences"][0]["uid"], "u-1");
        let spec = &claim["spec"];
        let requirement =
            |key: &str, values: &[&str]| json!({"key": key, "operator": "In", "values": values});
        let mut types = requirement("node.kubernetes.io/instance-type", &["m7i.large", "m6i.large"]);
        types["minValues"] = json!(2);
        assert_eq!(
            spec["requirements"],
            json!([
                requirement("karpenter.k8s.aws/ec2nodeclass", &["al2023"]),
                requirement("karpenter.k8s.aws/instance-category", &["c", "m"]),
                requirement("karpenter.sh/capacity-type", &["spot"]),
                requirement("karpenter.sh/nodepool", &["default"]),
                types,
                requirement("team", &["a"]),
                requirement("tier", &["web"]),
                requirement("topology.kubernetes.io/zone", &["us-east-1a"]),
            ])
        );
        assert_eq!(spec["resources"], json!({"requests": {"cpu": "1500m"}}));
        assert_eq!((&spec["expireAfter"], &spec["fromTheFuture"]), (&json!("720h"), &json!({"a": 1})));
        assert_eq!(spec["taints"], json!([{"key": "dedicated", "effect": "NoSchedule"}]));
        assert_eq!(spec.get("weight"), None);
    }

    #[test]
    fn a_choice_too_narrow_asks_for_no_more_and_says_so() {
        let choice = Choice { types: vec!["m7i.large".to_owned()], relaxed: true, ..choice() };
        let claim = node_claim(&pool(), &choice);
        let types = claim["spec"]["requirements"].as_array().expect("a list");
        let types = types.iter().find(|r| r["key"] == "node.kubernetes.io/instance-type").expect("one");
        assert_eq!(types.get("minValues"), None);
        assert_eq!(claim["metadata"]["annotations"]["karpenter.sh/nodeclaim-min-values-relaxed"], "true");
    }

    #[test]
    fn a_claim_without_a_choice_leaves_all_open_that_the_template_does() {
        let claim = static_claim(&pool());
        let keys: Vec<&str> = claim["spec"]["requirements"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|r| r["key"].as_str())
            .collect();
        let stated = [
            "karpenter.k8s.aws/ec2nodeclass",
            "karpenter.k8s.aws/instance-category",
            "karpenter.sh/nodepool",
            "node.kubernetes.io/instance-type",
            "team",
            "tier",
        ];
        assert_eq!(keys, stated);
        assert_eq!(claim["spec"].get("resources"), None);
    }

    #[test]
    fn a_pool_of_few_words_makes_a_claim() {
        let claim = node_claim(&json!({"metadata": {"name": "bare"}}), &Choice::default());
        assert_eq!(claim["metadata"]["labels"], json!({"karpenter.sh/nodepool": "bare"}));
        assert_eq!(claim["spec"]["requirements"].as_array().map(Vec::len), Some(4));
    }
}
