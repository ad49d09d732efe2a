//! The cluster in numbers, as of the moment when somebody asks: pods, nodes, `NodePools`, what can be bought, what it costs.
//!
//! Nothing of it is kept, so that nothing can be out of date; 30,000 pods are some ten megabytes of text.
//!
//! compat: karpenter v1.14, `pkg/controllers/metrics`, and operatorpkg's status metrics.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use k8s_openapi::jiff::Timestamp;
use stowage_api::well_known::{
    ARCH, CAPACITY_TYPE, CPU, INITIALIZED, INSTANCE_CATEGORY, INSTANCE_CPU, INSTANCE_FAMILY,
    INSTANCE_GENERATION, INSTANCE_MEMORY, INSTANCE_SIZE, INSTANCE_TYPE, NODE_POOL, OS, REGION, ZONE,
};
use stowage_api::{NodeClaim, Quantity, ResourceList, StatusCondition};
use stowage_cluster::object::{Node, Phase, PodSpec};
use stowage_cluster::{LeftOut, Pod, Snapshot, allowed_for, asked_for};
use stowage_pricing::{Catalog, InstanceType, Offering};

use super::exposition::Exposition;
use crate::pool::count::counts;

/// Labels of nodes that metrics carry, and what they are called there.
const OF_NODES: [(&str, &str); 13] = [
    (NODE_POOL, "nodepool"),
    (CAPACITY_TYPE, "capacity_type"),
    (ZONE, "zone"),
    (REGION, "region"),
    (INSTANCE_TYPE, "instance_type"),
    (ARCH, "arch"),
    (OS, "os"),
    (INSTANCE_CATEGORY, "instance_category"),
    (INSTANCE_FAMILY, "instance_family"),
    (INSTANCE_GENERATION, "instance_generation"),
    (INSTANCE_SIZE, "instance_size"),
    (INSTANCE_CPU, "instance_cpu"),
    (INSTANCE_MEMORY, "instance_memory"),
];

/// Conditions of one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    pub(crate) name: String,
    pub(crate) conditions: Vec<StatusCondition>,
}

/// Those of all NodeClaims.
pub(crate) fn of_claims(snapshot: &Snapshot) -> Vec<Conditions> {
    let of = |claim: &NodeClaim| Conditions {
        name: claim.metadata.name.clone(),
        conditions: claim.status.conditions.clone(),
    };
    snapshot.node_claims().map(of).collect()
}

/// Those of all nodes.
pub(crate) fn of_nodes(snapshot: &Snapshot) -> Vec<Conditions> {
    let of = |node: &Node| Conditions {
        name: node.metadata.name.clone(),
        conditions: node.status.conditions.clone(),
    };
    snapshot.nodes().map(of).collect()
}

/// `NodePools`: what they use and may use, and what their machines cost.
pub(crate) fn pools(out: &mut Exposition, snapshot: &Snapshot, catalog: &Catalog) {
    let counts = counts(snapshot);
    out.gauge("karpenter_nodepools_usage", "What the nodes of a NodePool have, by resource");
    for pool in &snapshot.node_pools {
        let name = pool.metadata.name.as_str();
        let shown = counts.get(name).cloned().unwrap_or_default().shown();
        for (resource, amount) in &shown {
            out.sample([("resource_type", &*snake(resource)), ("nodepool", name)], number(resource, *amount));
        }
    }
    out.gauge("karpenter_nodepools_limit", "What the nodes of a NodePool may have, by resource");
    for pool in &snapshot.node_pools {
        for (resource, amount) in pool.spec.limits.iter() {
            let labels = [("resource_type", &*snake(resource)), ("nodepool", pool.metadata.name.as_str())];
            out.sample(labels, number(resource, amount));
        }
    }
    let prices = Prices::of(catalog);
    let mut costs: BTreeMap<&str, f64> =
        snapshot.node_pools.iter().map(|pool| (pool.metadata.name.as_str(), 0.0)).collect();
    for (pool, price) in machines(snapshot).filter_map(|(pool, labels)| Some((pool, prices.price(labels)?))) {
        *costs.entry(pool).or_default() += price;
    }
    out.gauge(
        "karpenter_nodepools_cost_total",
        "Dollars an hour of the machines of a NodePool, by the catalogue",
    );
    for (pool, cost) in costs {
        out.sample([("nodepool", pool)], cost);
    }
}

/// What plans promised, and what machines that were launched for them cost.
pub(crate) fn realised(
    out: &mut Exposition,
    snapshot: &Snapshot,
    catalog: &Catalog,
    planned: &mut HashMap<String, f64>,
) {
    let prices = Prices::of(catalog);
    let claims: HashMap<&str, &BTreeMap<String, String>> =
        snapshot.node_claims().map(|claim| (claim.metadata.name.as_str(), &claim.metadata.labels)).collect();
    planned.retain(|claim, _| claims.contains_key(claim.as_str()));
    let mut sums = (0.0, 0.0);
    for (claim, promised) in planned.iter() {
        if let Some(price) = claims.get(claim.as_str()).and_then(|labels| prices.price(labels)) {
            sums = (sums.0 + promised, sums.1 + price);
        }
    }
    out.gauge(
        "stowage_planned_cost_dollars_per_hour",
        "What plans of this process said that their machines cost, of those that were launched",
    );
    out.sample([], sums.0);
    out.gauge(
        "stowage_realised_cost_dollars_per_hour",
        "What the same machines cost, as what they were launched as",
    );
    out.sample([], sums.1);
}

/// Sums of what pods state, by node and resource; those of DaemonSets once more by themselves.
type Sums<'s> = HashMap<(&'s str, bool), BTreeMap<&'s str, i64>>;

fn sums(snapshot: &Snapshot, stated: fn(&PodSpec) -> BTreeMap<&str, i64>) -> Sums<'_> {
    let mut known = HashMap::<*const PodSpec, BTreeMap<&str, i64>>::new();
    let mut sums = Sums::new();
    for pod in snapshot.pods().filter(|pod| pod.is_bound()) {
        let of = known.entry(std::ptr::from_ref(&*pod.spec)).or_insert_with(|| stated(&pod.spec));
        let node = pod.node.as_deref().unwrap_or_default();
        let kinds: &[bool] = if pod.daemon_set.is_some() { &[false, true] } else { &[false] };
        for daemons in kinds {
            let sum = sums.entry((node, *daemons)).or_default();
            for (resource, amount) in of.iter() {
                *sum.entry(resource).or_default() += amount;
            }
        }
    }
    sums
}

/// Nodes: what they have, and what their pods ask for.
pub(crate) fn nodes(out: &mut Exposition, snapshot: &Snapshot, now: Timestamp) {
    let (asked, allowed) = (sums(snapshot, asked_for), sums(snapshot, allowed_for));
    let labels: Vec<Vec<(&str, &str)>> = snapshot.nodes().map(of_node).collect();
    let mut family = |name, help, amounts: &dyn Fn(&Node) -> BTreeMap<String, f64>| {
        out.gauge(name, help);
        for (node, labels) in snapshot.nodes().zip(&labels) {
            for (resource, value) in amounts(node) {
                let resource = snake(&resource);
                out.sample(labels.iter().copied().chain([("resource_type", &*resource)]), value);
            }
        }
    };
    let list = |list: &ResourceList| -> BTreeMap<String, f64> {
        list.iter().map(|(name, amount)| (name.to_owned(), number(name, amount))).collect()
    };
    let sum_of = |sums: &Sums<'_>, node: &Node, daemons| -> BTreeMap<String, f64> {
        let sum = sums.get(&(node.metadata.name.as_str(), daemons)).into_iter().flatten();
        let value = |(name, base): (&&str, &i64)| {
            ((*name).to_owned(), if *name == CPU { *base as f64 / 1_000.0 } else { *base as f64 })
        };
        sum.map(value).collect()
    };
    family("karpenter_nodes_allocatable", "What pods may use of a node", &|node| {
        list(&node.status.allocatable)
    });
    family("karpenter_nodes_system_overhead", "What pods may not use of a node", &|node| {
        let mut all = list(&node.status.capacity);
        for (name, amount) in list(&node.status.allocatable) {
            all.entry(name).and_modify(|capacity| *capacity -= amount);
        }
        all
    });
    family("karpenter_nodes_total_pod_requests", "What the pods of a node ask for", &|node| {
        sum_of(&asked, node, false)
    });
    family(
        "karpenter_nodes_total_daemon_requests",
        "What the pods of DaemonSets on a node ask for",
        &|node| sum_of(&asked, node, true),
    );
    family(
        "karpenter_nodes_total_pod_limits",
        "What the pods of a node may use at most, where they say",
        &|node| sum_of(&allowed, node, false),
    );
    family(
        "karpenter_nodes_total_daemon_limits",
        "What the pods of DaemonSets on a node may use at most, where they say",
        &|node| sum_of(&allowed, node, true),
    );
    out.gauge("karpenter_nodes_current_lifetime_seconds", "How long ago a node was made");
    for (node, labels) in snapshot.nodes().zip(&labels) {
        let made = node.metadata.creation_timestamp.as_deref();
        if let Some(made) = made.and_then(|made| made.parse::<Timestamp>().ok()) {
            out.sample(labels.iter().copied(), now.duration_since(made).as_secs_f64());
        }
    }
    let mut share = BTreeMap::<String, (f64, f64)>::new();
    for node in snapshot.nodes() {
        for (name, amount) in list(&node.status.allocatable) {
            share.entry(name).or_default().1 += amount;
        }
        for (name, amount) in sum_of(&asked, node, false) {
            share.entry(name).or_default().0 += amount;
        }
    }
    out.gauge("karpenter_cluster_utilization_percent", "What pods ask for, of what there is");
    for (resource, (used, all)) in share.iter().filter(|(_, (_, all))| *all > 0.0) {
        out.sample([("resource_type", &*snake(resource))], 100.0 * used / all);
    }
}

/// Pods that nobody plans for.
pub(crate) fn ignored(out: &mut Exposition, snapshot: &Snapshot) {
    let ignored = snapshot.pods().filter(|pod| pod.pending() == Some(Err(LeftOut::Gated)));
    out.gauge(
        "karpenter_scheduler_ignored_pods_count",
        "Pods that wait and are not planned for, as gates hold them back",
    );
    out.sample([], ignored.count() as f64);
}

/// How much classes tell their machines themselves: bytes of user data, by name.
pub(crate) fn user_data(out: &mut Exposition, classes: &[(String, usize)]) {
    out.gauge("karpenter_ec2nodeclasses_userdata_bytes", "Size of the user data that an EC2NodeClass states");
    for (name, bytes) in classes {
        out.sample([("name", name.as_str())], *bytes as f64);
    }
}

/// Pods: each with where it is and how it does.
pub(crate) fn pods(out: &mut Exposition, snapshot: &Snapshot) {
    let none = BTreeMap::new();
    let nodes: HashMap<&str, &BTreeMap<String, String>> =
        snapshot.nodes().map(|node| (node.metadata.name.as_str(), &node.metadata.labels)).collect();
    out.gauge("karpenter_pods_state", "1 for each pod, which its labels describe");
    for pod in snapshot.pods() {
        let node = pod.node.as_deref().unwrap_or_default();
        let labels = nodes.get(node).copied().unwrap_or(&none);
        let of = |key| labels.get(key).map_or("", String::as_str);
        let pool = of(NODE_POOL);
        out.sample(
            [
                ("name", &*pod.name),
                ("namespace", &*pod.namespace),
                ("owner", pod.owner.as_deref().unwrap_or_default()),
                ("node", node),
                ("scheduled", bool_of(!node.is_empty())),
                ("nodepool", pool),
                ("zone", of(ZONE)),
                ("arch", of(ARCH)),
                ("capacity_type", of(CAPACITY_TYPE)),
                ("instance_type", of(INSTANCE_TYPE)),
                ("phase", phase(pod)),
                ("ready", bool_of(pod.ready)),
                ("managed", bool_of(!pool.is_empty())),
            ],
            1.0,
        );
    }
}

/// What can be bought.
pub(crate) fn offerings(out: &mut Exposition, catalog: &Catalog) {
    let sizes: [(&str, &str, &str); 2] = [
        ("karpenter_cloudprovider_instance_type_cpu_cores", "CPUs of an instance type", CPU),
        (
            "karpenter_cloudprovider_instance_type_memory_bytes",
            "Memory of an instance type",
            stowage_api::well_known::MEMORY,
        ),
    ];
    for (name, help, resource) in sizes {
        out.gauge(name, help);
        for of in &catalog.types {
            let amount = of.resources.get(resource).copied().unwrap_or_default();
            out.sample([("instance_type", of.name.as_str())], number(resource, amount));
        }
    }
    let all = || catalog.types.iter().flat_map(|of| of.offerings.iter().map(move |offering| (of, offering)));
    out.gauge(
        "karpenter_cloudprovider_instance_type_offering_available",
        "Whether an instance type can be bought in a zone",
    );
    for (of, offering) in all() {
        out.sample(sold(of, offering), f64::from(u8::from(offering.available)));
    }
    out.gauge(
        "karpenter_cloudprovider_instance_type_offering_price_estimate",
        "Dollars an hour of an instance type",
    );
    for (of, offering) in all() {
        out.sample(sold(of, offering), offering.price);
    }
}

/// What is sold where, and how.
fn sold<'c>(of: &'c InstanceType, offering: &'c Offering) -> [(&'static str, &'c str); 3] {
    [
        ("instance_type", of.name.as_str()),
        ("capacity_type", offering.capacity_type()),
        ("zone", offering.zone()),
    ]
}

/// Conditions of the objects of one kind, as `operator_<kind>_…`: these two names of the family.
pub(crate) fn conditions(
    out: &mut Exposition,
    (count, seconds): (&'static str, &'static str),
    objects: &[Conditions],
    now: Timestamp,
) {
    let each = || objects.iter().flat_map(|of| of.conditions.iter().map(move |condition| (of, condition)));
    let labels = |of: &'_ Conditions, condition: &'_ StatusCondition| {
        [
            ("name", of.name.clone()),
            ("namespace", String::new()),
            ("type", condition.kind.clone()),
            ("status", condition.status.clone()),
            ("reason", condition.reason.clone()),
        ]
    };
    out.gauge(count, "1 for each condition of each object");
    for (of, condition) in each() {
        out.sample(labels(of, condition).iter().map(|(name, value)| (*name, value.as_str())), 1.0);
    }
    out.gauge(seconds, "How long each condition has had its status");
    for (of, condition) in each() {
        let since = condition.last_transition_time.as_deref().and_then(|at| at.parse::<Timestamp>().ok());
        let seconds = since.map_or(0.0, |since| now.duration_since(since).as_secs_f64());
        out.sample(labels(of, condition).iter().map(|(name, value)| (*name, value.as_str())), seconds);
    }
}

/// Prices by instance type, zone and capacity type.
#[derive(Debug)]
pub struct Prices<'c>(HashMap<(&'c str, &'c str, &'c str), f64>);

impl<'c> Prices<'c> {
    /// Those of a catalogue.
    pub fn of(catalog: &'c Catalog) -> Self {
        let all = catalog.types.iter().flat_map(|of| of.offerings.iter().map(move |o| (of, o)));
        Self(all.map(|(of, o)| ((of.name.as_str(), o.zone(), o.capacity_type()), o.price)).collect())
    }

    /// What a machine with these labels costs, where that is known.
    pub fn price(&self, labels: &BTreeMap<String, String>) -> Option<f64> {
        let of = |key| labels.get(key).map(String::as_str);
        self.0.get(&(of(INSTANCE_TYPE)?, of(ZONE)?, of(CAPACITY_TYPE)?)).copied()
    }
}

/// The machines of `NodePools`, each once: its pool, and its labels.
fn machines(snapshot: &Snapshot) -> impl Iterator<Item = (&str, &BTreeMap<String, String>)> {
    let ids: std::collections::HashSet<&str> =
        snapshot.nodes().map(|node| node.spec.provider_id.as_str()).collect();
    let coming = snapshot.node_claims().filter(move |claim| {
        let id = claim.status.provider_id.as_str();
        !id.is_empty() && !ids.contains(id)
    });
    let nodes = snapshot.nodes().map(|node| &node.metadata.labels);
    let all = nodes.chain(coming.map(|claim| &claim.metadata.labels));
    all.filter_map(|labels| Some((labels.get(NODE_POOL)?.as_str(), labels)))
}

fn of_node(node: &Node) -> Vec<(&str, &str)> {
    let labels = &node.metadata.labels;
    let known = OF_NODES.iter().map(|(key, name)| (*name, labels.get(*key).map_or("", String::as_str)));
    let own = [
        ("node_name", node.metadata.name.as_str()),
        ("managed", bool_of(labels.contains_key(NODE_POOL))),
        // Kubernetes has given the phase of nodes up.
        ("phase", ""),
        ("initialized", labels.get(INITIALIZED).map_or("false", String::as_str)),
    ];
    own.into_iter().chain(known).collect()
}

const fn bool_of(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

const fn phase(pod: &Pod) -> &'static str {
    match pod.phase {
        Phase::Pending => "Pending",
        Phase::Running => "Running",
        Phase::Succeeded => "Succeeded",
        Phase::Failed => "Failed",
        Phase::Unknown => "Unknown",
    }
}

/// The name of a resource, as labels of metrics have it.
fn snake(resource: &str) -> Cow<'_, str> {
    if resource.bytes().any(|b| b == b'-' || b.is_ascii_uppercase()) {
        Cow::Owned(resource.to_lowercase().replace('-', "_"))
    } else {
        Cow::Borrowed(resource)
    }
}

/// An amount in CPUs, or in whole units of all else.
fn number(resource: &str, amount: Quantity) -> f64 {
    if resource == CPU { amount.ceil_millis() as f64 / 1_000.0 } else { amount.ceil_units() as f64 }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use stowage_cluster::{Index, Kind};
    use stowage_pricing::Settings;

    use super::*;

    fn snapshot() -> std::sync::Arc<Snapshot> {
        let mut index = Index::default();
        let labels = json!({
            "karpenter.sh/nodepool": "default", "node.kubernetes.io/instance-type": "m7i.large",
            "topology.kubernetes.io/zone": "us-east-1a", "karpenter.sh/capacity-type": "on-demand",
        });
        let daemon = json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent"}]);
        let containers = json!([{"resources": {"requests": {"cpu": "250m", "memory": "1Gi"}}}]);
        for (kind, object) in [
            (Kind::NodePool, json!({"metadata": {"name": "default"}, "spec": {"limits": {"cpu": "10"}}})),
            (
                Kind::NodeClaim,
                json!({"metadata": {"name": "default-1", "labels": labels},
                "status": {"providerID": "aws:///us-east-1a/i-1"}}),
            ),
            (
                Kind::Node,
                json!({
                    "metadata": {"name": "n-1", "labels": labels}, "spec": {"providerID": "aws:///us-east-1a/i-1"},
                    "status": {"capacity": {"cpu": "2"}, "allocatable": {"cpu": "1930m", "memory": "4Gi"}},
                }),
            ),
            (
                Kind::Pod,
                json!({"metadata": {"name": "web", "ownerReferences": [
                    {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web"}]},
                "spec": {"nodeName": "n-1", "containers": containers},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}),
            ),
            (
                Kind::Pod,
                json!({"metadata": {"name": "agent", "ownerReferences": daemon},
                "spec": {"nodeName": "n-1", "containers": containers}, "status": {"phase": "Running"}}),
            ),
            (Kind::Pod, json!({"metadata": {"name": "waits"}, "spec": {"containers": containers}})),
        ] {
            index.apply(kind, &object.to_string()).expect("an object");
        }
        index.snapshot()
    }

    fn holds(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.lines().any(|l| l == *line), "{line} in {text}");
        }
    }

    #[test]
    fn pods_and_nodes_are_told_by_their_labels() {
        let snapshot = snapshot();
        let mut out = Exposition::default();
        pods(&mut out, &snapshot);
        nodes(&mut out, &snapshot, Timestamp::UNIX_EPOCH);
        let text = out.into_text();
        let node = "node_name=\"n-1\",managed=\"true\",phase=\"\",initialized=\"false\",nodepool=\"default\",capacity_type=\"on-demand\",\
                    zone=\"us-east-1a\",region=\"\",instance_type=\"m7i.large\",arch=\"\",os=\"\",instance_category=\"\",\
                    instance_family=\"\",instance_generation=\"\",instance_size=\"\",instance_cpu=\"\",instance_memory=\"\"";
        holds(
            &text,
            &[
                "karpenter_pods_state{name=\"web\",namespace=\"default\",owner=\"/apis/apps/v1/namespaces/default/replicasets/web\",\
             node=\"n-1\",scheduled=\"true\",nodepool=\"default\",zone=\"us-east-1a\",arch=\"\",capacity_type=\"on-demand\",\
             instance_type=\"m7i.large\",phase=\"Running\",ready=\"true\",managed=\"true\"} 1",
                "karpenter_pods_state{name=\"waits\",namespace=\"default\",owner=\"\",node=\"\",scheduled=\"false\",nodepool=\"\",\
             zone=\"\",arch=\"\",capacity_type=\"\",instance_type=\"\",phase=\"Pending\",ready=\"false\",managed=\"false\"} 1",
                &format!("karpenter_nodes_allocatable{{{node},resource_type=\"cpu\"}} 1.93"),
                &format!("karpenter_nodes_total_pod_requests{{{node},resource_type=\"cpu\"}} 0.5"),
                &format!(
                    "karpenter_nodes_total_daemon_requests{{{node},resource_type=\"memory\"}} 1073741824"
                ),
                "karpenter_cluster_utilization_percent{resource_type=\"memory\"} 50",
            ],
        );
    }

    #[test]
    fn pools_have_their_use_limits_and_costs() {
        let catalog = Catalog::embedded("us-east-1", &Settings::default()).expect("a region");
        let of = catalog.find("m7i.large").expect("a type");
        let price = of.cheapest(|o| o.capacity_type() == "on-demand").expect("an offering").price;
        let snapshot = snapshot();
        let mut out = Exposition::default();
        pools(&mut out, &snapshot, &catalog);
        let mut planned = [("default-1".to_owned(), 0.25), ("gone".to_owned(), 9.0)].into();
        realised(&mut out, &snapshot, &catalog, &mut planned);
        offerings(&mut out, &catalog);
        assert_eq!(planned.len(), 1);
        holds(
            &out.into_text(),
            &[
                "karpenter_nodepools_usage{resource_type=\"nodes\",nodepool=\"default\"} 1",
                "karpenter_nodepools_usage{resource_type=\"ephemeral_storage\",nodepool=\"default\"} 0",
                "karpenter_nodepools_limit{resource_type=\"cpu\",nodepool=\"default\"} 10",
                &format!("karpenter_nodepools_cost_total{{nodepool=\"default\"}} {price}"),
                "stowage_planned_cost_dollars_per_hour 0.25",
                &format!("stowage_realised_cost_dollars_per_hour {price}"),
                "karpenter_cloudprovider_instance_type_cpu_cores{instance_type=\"m7i.large\"} 2",
                "karpenter_cloudprovider_instance_type_offering_available{instance_type=\"m7i.large\",capacity_type=\"on-demand\",zone=\"us-east-1a\"} 1",
            ],
        );
    }

    #[test]
    fn conditions_are_counted_one_by_one() {
        let condition = StatusCondition {
            kind: "Ready".to_owned(),
            status: "False".to_owned(),
            reason: "UnhealthyDependents".to_owned(),
            last_transition_time: Some("2026-01-01T00:00:00Z".to_owned()),
            ..StatusCondition::default()
        };
        let objects = [Conditions { name: "default".to_owned(), conditions: vec![condition] }];
        let mut out = Exposition::default();
        let now = "2026-01-01T00:01:30Z".parse().expect("a moment");
        conditions(&mut out, ("operator_nodepool_status_condition_count", "x_seconds"), &objects, now);
        let labels =
            "name=\"default\",namespace=\"\",type=\"Ready\",status=\"False\",reason=\"UnhealthyDependents\"";
        holds(
            &out.into_text(),
            &[
                &format!("operator_nodepool_status_condition_count{{{labels}}} 1"),
                &format!("x_seconds{{{labels}}} 90"),
            ],
        );
    }
}
