//! What a cluster costs with a policy, with nodes only, and with Fargate only.

use serde_json::{Value, json};
use stowage_pricing::{FargateRates, Requirement};

use super::common::{DEPLOYMENTS, POOLS};
use super::site::{POLICIES, Site, is_on_fargate, running};

/// Two nodes' worth of pods that use them in full, and one pod too many.
const FULL: usize = 14;
/// Of a pod; a GB more is billed at most.
const MEMORY: &str = "3700Mi";
/// us-east-1, Linux on x86: Fargate's page of prices.
const RATES: FargateRates = FargateRates { vcpu: 0.040_48, gb: 0.004_445, storage_gb: 0.000_111 };

/// What the machine of a claim costs an hour.
fn on_demand(site: &Site, claim: &Value) -> f64 {
    let name = claim["metadata"]["labels"]["node.kubernetes.io/instance-type"].as_str().unwrap();
    let found = site.world.catalog.types.iter().find(|it| it.name == name).unwrap();
    let is_on_demand = |r: &Requirement| r.key == "karpenter.sh/capacity-type" && r.values == ["on-demand"];
    found.offerings.iter().find(|o| o.requirements.iter().any(is_on_demand)).unwrap().price
}

/// What all that runs costs an hour: machines as they are sold, pods on Fargate as they are billed.
fn cost(site: &Site) -> f64 {
    let machines: f64 = site.world.claims().unwrap().iter().map(|claim| on_demand(site, claim)).sum();
    let billed = |pod: &Value| {
        let shape = pod["metadata"]["annotations"]["CapacityProvisioned"].as_str().unwrap_or_default();
        let numbers: Vec<f64> = shape
            .split([' ', 'v', 'G'])
            .filter_map(|word| word.trim_end_matches("CPU").trim_end_matches('B').parse().ok())
            .collect();
        RATES.vcpu * numbers[0] + RATES.gb * numbers[1]
    };
    let pods = site.world.pods().unwrap();
    machines + pods.iter().filter(|pod| is_on_fargate(pod)).map(billed).sum::<f64>()
}

/// Makes all anew; gives what it costs when it has come to rest, and how many pods of both run on Fargate.
fn anew(site: &Site) -> (f64, usize, usize) {
    for app in ["full", "extra"] {
        site.scale(app, 0);
    }
    site.world.until("nodes to go", |w| Ok(w.claims()?.is_empty().then_some(()))).unwrap();
    for (app, replicas) in [("full", FULL), ("extra", 1)] {
        site.scale(app, replicas);
    }
    let on_fargate = |app| running(&site.world, app).unwrap().0;
    (cost(site), on_fargate("full"), on_fargate("extra"))
}

#[test]
fn a_mixed_cluster_costs_less_than_nodes_only_and_than_fargate_only() {
    let requirements = json!([
        {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["m5.2xlarge"]},
        {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]},
    ]);
    let site = Site::start("fargate-cost", &json!({"requirements": requirements}));
    let empty = json!({"spec": {"disruption": {
        "consolidationPolicy": "WhenEmpty", "consolidateAfter": "0s", "budgets": [{"nodes": "100%"}],
    }}});
    site.world.client().patch(&format!("{POOLS}/default"), &empty).unwrap();
    let controller = site.controller("controller");
    for app in ["full", "extra"] {
        let deployment = stowage_e2e::deployment(app, 0, "1", MEMORY);
        site.world.client().create(DEPLOYMENTS, &deployment).unwrap();
    }
    let nodes_only = anew(&site);
    assert_eq!((nodes_only.1, nodes_only.2), (0, 0));

    site.policy(&json!({"mode": "WhenCheaper", "pending": {"recreate": true, "perMinute": 60}}));
    let mixed = anew(&site);
    assert_eq!((mixed.1, mixed.2), (0, 1), "fourteen fill two nodes, one would open a third");

    let always = json!({"spec": {"mode": "Always"}});
    site.world.client().patch(&format!("{POLICIES}/batch"), &always).unwrap();
    site.verdict(&controller, "default/Deployment/full", "Fargate");
    let fargate_only = anew(&site);
    assert_eq!((fargate_only.1, fargate_only.2), (FULL, 1));
    let (nodes_only, mixed, fargate_only) = (nodes_only.0, mixed.0, fargate_only.0);
    println!("nodes only ${nodes_only:.4}, mixed ${mixed:.4}, Fargate only ${fargate_only:.4} an hour");
    assert!(mixed < nodes_only && mixed < fargate_only, "{nodes_only} {mixed} {fargate_only}");
}
