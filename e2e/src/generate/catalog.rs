//! What can be bought: a few small types, so that nodes fill up and every kind of them can be tried.

use serde_json::{Value, json};

use crate::random::Random;

/// Zones, and their ids, which are in another order as in every AWS account.
pub(super) const ZONES: [(&str, &str); 3] =
    [("us-east-1a", "use1-az4"), ("us-east-1b", "use1-az1"), ("us-east-1c", "use1-az2")];

pub(super) const CAPACITY_TYPES: [&str; 2] = ["on-demand", "spot"];

/// A type: name, architecture, cpu, memory in GiB, pods, attach slots where limited, GPUs, dollars an hour.
struct Shape(&'static str, &'static str, u32, u32, u32, Option<u32>, u32, f64);

const SHAPES: [Shape; 6] = [
    Shape("m1.small", "amd64", 2, 8, 8, Some(2), 0, 0.10),
    Shape("c1.large", "amd64", 4, 8, 16, None, 0, 0.17),
    Shape("r1.large", "amd64", 4, 32, 16, Some(5), 0, 0.26),
    Shape("m2.xlarge", "amd64", 8, 32, 32, None, 0, 0.39),
    Shape("a1.large", "arm64", 4, 16, 16, Some(3), 0, 0.15),
    Shape("g1.xlarge", "amd64", 8, 32, 32, None, 1, 1.20),
];

pub(super) const TYPES: [&str; 6] =
    ["m1.small", "c1.large", "r1.large", "m2.xlarge", "a1.large", "g1.xlarge"];

/// A catalogue of some of the types, most offerings of which are there.
pub(super) fn generate(random: &mut Random) -> Value {
    let leave_out = random.within(0, 3);
    let mut shapes: Vec<&Shape> = SHAPES.iter().collect();
    for _ in 0..leave_out {
        // Never the first, so that there is always something small.
        let at = random.within(1, shapes.len() - 1);
        shapes.remove(at);
    }
    shapes.iter().map(|shape| one(shape, random)).collect()
}

fn one(shape: &Shape, random: &mut Random) -> Value {
    let Shape(name, architecture, cpu, memory, pods, slots, gpus, price) = *shape;
    let (category, generation) = (&name[..1], &name[1..2]);
    let mut resources = json!({
        "cpu": cpu.to_string(), "memory": format!("{memory}Gi"), "pods": pods.to_string(), "ephemeral-storage": "20Gi",
    });
    if let Some(slots) = slots {
        resources["attachable-volumes-aws-ebs"] = json!(slots.to_string());
    }
    if gpus > 0 {
        resources["nvidia.com/gpu"] = json!(gpus.to_string());
    }
    let mut offerings = Vec::new();
    for (zone, id) in ZONES {
        for (capacity_type, share) in CAPACITY_TYPES.into_iter().zip([1.0, 0.4]) {
            if random.percent(15) {
                continue;
            }
            // Prices differ from zone to zone, so that money has something to choose.
            let price =
                (price * share * (1.0 + random.within(0, 5) as f64 / 50.0) * 10_000.0).round() / 10_000.0;
            let equals = |key: &str, value: &str| json!({"key": key, "operator": "In", "values": [value]});
            offerings.push(json!({"Price": price, "Available": true, "Requirements": [
                equals("topology.kubernetes.io/zone", zone),
                equals("topology.k8s.aws/zone-id", id),
                equals("karpenter.sh/capacity-type", capacity_type),
            ]}));
        }
    }
    json!({
        "name": name, "architecture": architecture, "operatingSystems": ["linux"],
        "resources": resources,
        "overhead": {"cpu": "80m", "memory": "500Mi", "ephemeral-storage": "2Gi"},
        "labels": {
            "karpenter.k8s.aws/instance-category": category,
            "karpenter.k8s.aws/instance-generation": generation,
            "karpenter.k8s.aws/instance-cpu": cpu.to_string(),
            "karpenter.k8s.aws/instance-memory": (memory * 1024).to_string(),
        },
        "offerings": offerings,
    })
}
