//! What following a cluster takes: memory of an index of many nodes and pods, and time for events and snapshots.
//!
//! ```sh
//! cargo run --release -p stowage-benches --bin follow -- --nodes 1000 --pods 30000
//! ```
//!
//! Objects come one by one, as large as an API server sends them: with managed fields, conditions and images, which the
//! index does not keep.

#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Parser;
use serde_json::{Value, json};
use stowage_benches::{Workload, write};
use stowage_cluster::{Index, Kind};

/// Feeds an index with a made-up cluster, and says what that takes
#[derive(Parser)]
struct Args {
    /// Number of nodes
    #[arg(long, default_value_t = 1_000)]
    nodes: usize,

    /// Number of pods that run on them
    #[arg(long, default_value_t = 30_000)]
    pods: usize,

    /// Number of changes of pods that come after that
    #[arg(long, default_value_t = 30_000)]
    changes: usize,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut index = Index::default();
    let mut bytes = 0;
    let mut time = Duration::ZERO;
    let mut feed = |index: &mut Index, kind, object: &Value| -> Result<()> {
        let json = object.to_string();
        bytes += json.len();
        let started = Instant::now();
        index.apply(kind, &json)?;
        time += started.elapsed();
        Ok(())
    };
    let mut list = Vec::new();
    write(&Workload::new(args.pods, Workload::SEED), &mut list)?;
    // One object a line, as it is written.
    let text = String::from_utf8(list)?;
    let pending: Vec<&str> = text
        .lines()
        .filter(|line| line.contains(r#""kind":"Pod""#))
        .map(|l| l.trim_end_matches(','))
        .collect();
    let before = resident()?;
    for at in 0..args.nodes {
        feed(&mut index, Kind::Node, &node(at))?;
    }
    for (at, pod) in pending.iter().enumerate() {
        feed(&mut index, Kind::Pod, &running(pod, at, args.nodes, 0)?)?;
    }
    let after = resident()?;
    println!("objects              {:>10}", args.nodes + pending.len());
    println!("bytes of JSON        {:>10.1} MiB", mib(bytes));
    println!("index                {:>10.1} MiB resident", mib(after.saturating_sub(before)));
    println!("time to read         {:>10.2} s", time.as_secs_f64());

    let started = Instant::now();
    let snapshot = index.snapshot();
    println!("snapshot             {:>10.1} ms", started.elapsed().as_secs_f64() * 1e3);
    println!("index and snapshot   {:>10.1} MiB resident", mib(resident()?.saturating_sub(before)));
    println!("pods in it           {:>10}", snapshot.pods.len());
    drop(snapshot);

    let mut time = Duration::ZERO;
    for change in 0..args.changes {
        let at = change * 7919 % pending.len();
        let json = running(pending[at], at, args.nodes, change + 1)?.to_string();
        let started = Instant::now();
        index.apply(Kind::Pod, &json)?;
        time += started.elapsed();
    }
    let each = time.as_secs_f64() * 1e6 / args.changes.max(1) as f64;
    println!("a change             {each:>10.1} µs");
    println!("after all changes    {:>10.1} MiB resident", mib(resident()?.saturating_sub(before)));
    Ok(())
}

/// A pod as the API server has it when it runs.
fn running(pending: &str, at: usize, nodes: usize, version: usize) -> Result<Value> {
    let mut pod: Value = serde_json::from_str(pending)?;
    let node = format!("ip-10-0-{}-{}.ec2.internal", at % nodes / 256, at % nodes % 256);
    let when = "2026-01-01T00:00:00Z";
    pod["metadata"]["uid"] = json!(format!("00000000-0000-4000-8000-{at:012}"));
    pod["metadata"]["resourceVersion"] = json!(version.to_string());
    pod["metadata"]["managedFields"] = managed();
    pod["spec"]["nodeName"] = json!(node);
    let conditions = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
        .map(|kind| json!({"type": kind, "status": "True", "lastTransitionTime": when}));
    pod["status"] = json!({
        "phase": "Running", "podIP": "10.0.0.1", "startTime": when, "qosClass": "Burstable",
        "conditions": conditions,
        "containerStatuses": [{
            "name": "main", "ready": true, "restartCount": 0, "image": "registry/image:v1",
            "imageID": format!("registry/image@sha256:{at:064x}"), "containerID": format!("containerd://{at:064x}"),
            "state": {"running": {"startedAt": when}},
        }],
    });
    Ok(pod)
}

fn node(at: usize) -> Value {
    let name = format!("ip-10-0-{}-{}.ec2.internal", at / 256, at % 256);
    let zone = ["us-east-1a", "us-east-1b", "us-east-1c"][at % 3];
    let mut labels = json!({
        "kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
        "node.kubernetes.io/instance-type": "m7i.4xlarge", "topology.kubernetes.io/region": "us-east-1",
        "topology.kubernetes.io/zone": zone, "karpenter.sh/nodepool": "default",
        "karpenter.sh/capacity-type": "on-demand", "karpenter.sh/initialized": "true",
    });
    for label in
        ["category", "family", "generation", "size", "cpu", "memory", "hypervisor", "network-bandwidth"]
    {
        labels[format!("karpenter.k8s.aws/instance-{label}")] = json!("value");
    }
    let images: Vec<Value> = (0..50)
        .map(|i| json!({"names": [format!("registry/image-{i}@sha256:{i:064x}")], "sizeBytes": 1}))
        .collect();
    let allocatable =
        json!({"cpu": "15890m", "memory": "57691Mi", "pods": "234", "ephemeral-storage": "18Gi"});
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": labels, "managedFields": managed()},
        "spec": {"providerID": format!("aws:///{zone}/i-{at:017x}")},
        "status": {"allocatable": allocatable, "capacity": allocatable, "images": images},
    })
}

/// As much as servers note of who wrote which field.
fn managed() -> Value {
    let fields: serde_json::Map<String, Value> =
        (0..40).map(|i| (format!("f:field-{i}"), json!({"f:nested": {}}))).collect();
    json!([{"manager": "kube-controller-manager", "operation": "Update", "fieldsV1": fields}])
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Resident memory of this process, in bytes.
fn resident() -> Result<usize> {
    let status = fs::read_to_string("/proc/self/status").context("this bench reads /proc")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS in /proc/self/status")?;
    let kib: usize = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib << 10)
}
