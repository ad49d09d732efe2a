//! Snapshots and catalogues of made-up workloads, as text in the two formats that every planner reads.

use serde_json::{Map, Value, json};

pub(crate) const ZONE: &str = "topology.kubernetes.io/zone";
pub(crate) const HOST: &str = "kubernetes.io/hostname";
const CAPACITY_TYPE: &str = "karpenter.sh/capacity-type";

/// Amounts by resource, as Kubernetes writes them.
pub(crate) type Amounts = Vec<(String, String)>;

/// What a pod asks of its place, beside resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Nothing.
    None,
    /// At most one more pod with this label than in the emptiest domain.
    Spread(&'static str, Label),
    /// In the domain of the pods with this label.
    Near(&'static str, Label),
    /// In no domain of a pod with this label.
    Apart(&'static str, Label),
}

/// A label of pods.
pub(crate) type Label = (&'static str, &'static str);

/// A pod that waits for a node.
pub(crate) fn pod(name: &str, label: Label, requests: &Amounts, rule: &Rule) -> Value {
    let requests: Map<String, Value> = requests.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
    let mut spec = json!({"containers": [{"name": "main", "image": "registry/main:v1", "resources": {"requests": requests}}]});
    let matching = |(key, value): &Label| json!({"matchLabels": {*key: value}});
    let required = |key: &str, label: &Label| json!({"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": key, "labelSelector": matching(label)}]});
    match rule {
        Rule::None => {}
        Rule::Spread(key, label) => {
            spec["topologySpreadConstraints"] = json!([{"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": matching(label)}]);
        }
        Rule::Near(key, label) => spec["affinity"] = json!({"podAffinity": required(key, label)}),
        Rule::Apart(key, label) => spec["affinity"] = json!({"podAntiAffinity": required(key, label)}),
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}"), "labels": {label.0: label.1}},
        "spec": spec,
        "status": {"phase": "Pending"},
    })
}

/// A snapshot of these pods and one `NodePool` that takes every offering.
pub(crate) fn snapshot(pods: impl IntoIterator<Item = Value>) -> String {
    let pool = json!({"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "default"}, "spec": {"template": {"spec": {
        "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"}, "requirements": [
            {"key": CAPACITY_TYPE, "operator": "In", "values": ["on-demand", "spot"]}]}}}});
    // One object a line, so that people can read and compare files.
    let objects: Vec<String> = std::iter::once(pool).chain(pods).map(|o| o.to_string()).collect();
    format!("{{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[\n{}\n]}}\n", objects.join(",\n"))
}

/// An instance type of a catalogue.
pub(crate) struct Type {
    pub(crate) name: String,
    pub(crate) resources: Amounts,
    pub(crate) overhead: Amounts,
    /// Capacity type, zone, dollars an hour.
    pub(crate) offerings: Vec<(&'static str, &'static str, f64)>,
}

/// A catalogue of these types. Prices are rounded to micro-dollars, the unit in which plans are compared.
pub(crate) fn catalog(types: &[Type]) -> String {
    let amounts = |list: &Amounts| -> Value {
        list.iter().map(|(k, v)| (k.clone(), json!(v))).collect::<Map<_, _>>().into()
    };
    let entries: Vec<String> = types
        .iter()
        .map(|t| {
            let offerings: Vec<Value> = t
                .offerings
                .iter()
                .map(|(capacity_type, zone, price)| {
                    json!({"Price": (price * 1e6).round() / 1e6, "Available": true, "Requirements": [
                        {"key": CAPACITY_TYPE, "operator": "In", "values": [capacity_type]},
                        {"key": ZONE, "operator": "In", "values": [zone]}]})
                })
                .collect();
            json!({"name": t.name, "architecture": "amd64", "operatingSystems": ["linux"], "resources": amounts(&t.resources),
                "overhead": amounts(&t.overhead), "offerings": offerings})
            .to_string()
        })
        .collect();
    format!("[\n{}\n]\n", entries.join(",\n"))
}

/// CPU in milli-units and memory in MiB, as requests or capacity.
pub(crate) fn cpu_and_memory(cpu_millis: u64, memory_mib: u64) -> Amounts {
    vec![("cpu".to_owned(), format!("{cpu_millis}m")), ("memory".to_owned(), format!("{memory_mib}Mi"))]
}
