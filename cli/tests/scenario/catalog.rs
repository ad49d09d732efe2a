//! Instance types in one line each, and the same as a catalogue file.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// An instance type.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Type {
    name: String,
    cpu: Value,
    memory: String,
    #[serde(default = "most_pods")]
    pods: u32,
    /// More resources.
    #[serde(default)]
    resources: BTreeMap<String, Value>,
    #[serde(default)]
    overhead: BTreeMap<String, Value>,
    #[serde(default = "amd64")]
    arch: String,
    #[serde(default = "linux")]
    os: Vec<String>,
    #[serde(default = "zones")]
    zones: Vec<String>,
    /// Dollars an hour on demand; not sold on demand without.
    price: Option<f64>,
    /// Dollars an hour on spot; not sold on spot without.
    spot: Option<f64>,
    /// Capacity that is reserved.
    #[serde(default)]
    reserved: Vec<Reserved>,
    /// On-demand prices that differ, by zone.
    #[serde(default)]
    price_in: BTreeMap<String, f64>,
    /// Zones in which it is listed but cannot be had.
    #[serde(default)]
    unavailable: Vec<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// Anything else that catalogue files know, as it is.
    #[serde(default)]
    more: Map<String, Value>,
}

/// A capacity reservation: so many nodes in a zone.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reserved {
    id: String,
    zone: String,
    nodes: u32,
    #[serde(default)]
    price: f64,
}

const fn most_pods() -> u32 {
    110
}

fn amd64() -> String {
    "amd64".to_owned()
}

fn linux() -> Vec<String> {
    vec!["linux".to_owned()]
}

fn zones() -> Vec<String> {
    ["zone-a", "zone-b", "zone-c"].map(str::to_owned).into()
}

/// A catalogue file.
pub(super) fn json(types: &[Type]) -> String {
    let types: Vec<Value> = types.iter().map(one).collect();
    format!("{:#}", Value::Array(types))
}

fn one(of: &Type) -> Value {
    let mut resources = BTreeMap::from([
        ("cpu".to_owned(), of.cpu.clone()),
        ("memory".to_owned(), json!(of.memory)),
        ("pods".to_owned(), json!(of.pods)),
        ("ephemeral-storage".to_owned(), json!("100Gi")),
    ]);
    resources.extend(of.resources.clone());
    let is_in = |key: &str, value: &str| json!({"key": key, "operator": "In", "values": [value]});
    let mut offerings = Vec::new();
    for held in &of.reserved {
        offerings.push(json!({
            "Price": held.price,
            "Available": true,
            "ReservationCapacity": held.nodes,
            "Requirements": [
                is_in("karpenter.sh/capacity-type", "reserved"),
                is_in("karpenter.k8s.aws/capacity-reservation-id", &held.id),
                is_in("topology.kubernetes.io/zone", &held.zone),
            ],
        }));
    }
    for (capacity_type, price) in [("on-demand", of.price), ("spot", of.spot)] {
        for zone in price.map_or(&[][..], |_| of.zones.as_slice()) {
            let own = of.price_in.get(zone).copied().filter(|_| capacity_type == "on-demand");
            offerings.push(json!({
                "Price": own.or(price),
                "Available": !of.unavailable.contains(zone),
                "Requirements": [
                    is_in("karpenter.sh/capacity-type", capacity_type),
                    is_in("topology.kubernetes.io/zone", zone),
                ],
            }));
        }
    }
    let mut out = of.more.clone();
    out.insert("name".to_owned(), json!(of.name));
    out.insert("architecture".to_owned(), json!(of.arch));
    out.insert("operatingSystems".to_owned(), json!(of.os));
    out.insert("resources".to_owned(), json!(resources));
    out.insert("overhead".to_owned(), json!(of.overhead));
    out.insert("labels".to_owned(), json!(of.labels));
    out.insert("offerings".to_owned(), Value::Array(offerings));
    Value::Object(out)
}
