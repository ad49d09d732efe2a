//! How the controller does on a large cluster, as a report.
//!
//! ```sh
//! cargo run --release --manifest-path e2e/Cargo.toml --bin scale
//! ```
//!
//! The cluster has a node group of `--nodes` nodes, full with `--pods` running pods, which kwok keeps. Then pods come for which
//! there is no room, in bursts, and their machines are launched at moto.
//!
//! Takes the controller that `STOWAGE_CONTROLLER` names: a release build, to be of any worth.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use serde_json::{Value, json};
use stowage_e2e::{Controller, KWOK, REGION, World, deployment, holds, node_pool};

/// The controller is given so long to come to rest.
const REST: Duration = Duration::from_secs(20);

/// Clock ticks a second, in which Linux counts the time of processes; the same on all of its architectures.
const TICKS: f64 = 100.0;

/// How the controller does on a large cluster.
#[derive(Debug, Parser)]
struct Arguments {
    /// Nodes that are there.
    #[arg(long, default_value_t = 1_000)]
    nodes: usize,
    /// Pods that run on them.
    #[arg(long, default_value_t = 30_000)]
    pods: usize,
    /// Pods that come at once, for each burst.
    #[arg(long, value_delimiter = ',', default_value = "100,1000,100")]
    bursts: Vec<usize>,
    /// For how long at most, seconds.
    #[arg(long, default_value_t = 3600)]
    patience: u64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let patience = Duration::from_secs(arguments.patience);
    let world = World::start_large("scale")?;
    world.client().create("/apis/karpenter.sh/v1/nodepools", &pool())?;
    let controller = world.controller("scale", &[])?;
    world.until("the controller to be ready", |_| Ok(controller.is_ready().then_some(())))?;
    let start = Usage::of("scale", &controller)?;
    println!("idle: {} MiB resident", start.resident >> 20);

    let burst = |name: &str, pods: usize| {
        let burst = burst(&world, &controller, name, pods, patience);
        if burst.is_err() {
            world.plane.keep_logs();
        }
        burst
    };
    let began = Instant::now();
    fill(&world, arguments.nodes, arguments.pods)?;
    // kwok takes minutes for tens of thousands.
    world.within(patience, "all pods to run", |w| {
        let others = w.list("/api/v1/pods?fieldSelector=status.phase%21%3DRunning&limit=1")?;
        Ok(others.is_empty().then_some(()))
    })?;
    // Until it has heard of the last of them, and has come to rest.
    std::thread::sleep(REST);
    let mut before = Usage::of("scale", &controller)?;
    println!(
        "{} nodes with {} pods, made in {:.0} s: {} MiB resident ({} at most so far), {:.1} s of CPU",
        arguments.nodes,
        arguments.pods,
        began.elapsed().as_secs_f64(),
        before.resident >> 20,
        before.peak >> 20,
        before.cpu - start.cpu
    );
    for (at, pods) in arguments.bursts.iter().enumerate() {
        let of = burst(&format!("burst-{at}"), *pods)?;
        of.print(&format!("burst {}", at + 1), &before);
        before = of.usage;
    }
    Ok(())
}

/// What a burst of pods came to.
struct Burst {
    pods: usize,
    nodes: usize,
    /// From the first pod until the last machine was asked for, and until all ran.
    launched: Duration,
    ran: Duration,
    /// From each new machine's first pod until its NodeClaim was made, seconds, ascending.
    asked: Vec<f64>,
    /// And until it was launched.
    waits: Vec<f64>,
    usage: Usage,
}

impl Burst {
    fn print(&self, what: &str, before: &Usage) {
        let quantile = |all: &[f64], of: f64| {
            let at = (all.len() as f64 * of).ceil() as usize;
            all.get(at.saturating_sub(1)).copied().unwrap_or_default()
        };
        println!("{what}: {} pods, {} new nodes", self.pods, self.nodes);
        println!(
            "  first pod to last machine {:.1} s, to all running {:.1} s",
            self.launched.as_secs_f64(),
            self.ran.as_secs_f64()
        );
        println!(
            "  pod made to its NodeClaim made: median {:.0} s, 99 % {:.0} s; to its machine launched: {:.0} s, {:.0} s",
            quantile(&self.asked, 0.5),
            quantile(&self.asked, 0.99),
            quantile(&self.waits, 0.5),
            quantile(&self.waits, 0.99)
        );
        println!(
            "  controller: {} MiB resident ({} at most so far), {:.1} s of CPU",
            self.usage.resident >> 20,
            self.usage.peak >> 20,
            self.usage.cpu - before.cpu
        );
        let mut calls: Vec<(&String, u64)> =
            self.usage.calls.iter().map(|(of, n)| (of, n - before.calls.get(of).unwrap_or(&0))).collect();
        calls.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        let all: u64 = calls.iter().map(|(_, n)| n).sum();
        let per = |n: u64, of: usize| n as f64 / of.max(1) as f64;
        let most: Vec<String> =
            calls.iter().take(8).filter(|(_, n)| *n > 0).map(|(of, n)| format!("{n} {of}")).collect();
        println!(
            "  {all} calls of the API server, {:.1} a pod, {:.1} a new node: {}",
            per(all, self.pods),
            per(all, self.nodes),
            most.join(", ")
        );
    }
}

/// Makes so many pods, waits until they run, and looks at how that went.
fn burst(
    world: &World,
    controller: &Controller,
    name: &str,
    pods: usize,
    patience: Duration,
) -> Result<Burst> {
    let before: Vec<String> = names(&world.claims()?);
    let there = running(world)?;
    let begun = Instant::now();
    let began = now();
    for (at, (cpu, memory)) in
        [("250m", "512Mi"), ("500m", "1Gi"), ("1", "1Gi"), ("700m", "4Gi")].iter().enumerate()
    {
        let count = pods / 4 + usize::from(at < pods % 4);
        world.client().create(
            "/apis/apps/v1/namespaces/default/deployments",
            &deployment(&format!("{name}-{at}"), count, cpu, memory),
        )?;
    }
    let mut said = Instant::now();
    loop {
        let claims = world.claims()?;
        let running = running(world)?;
        if running == there + pods && claims.iter().all(|claim| holds(claim, "Initialized")) {
            break;
        }
        if begun.elapsed() > patience {
            let waiting = world.pods()?.into_iter().find(|pod| pod["status"]["phase"] != "Running");
            let example = waiting.map(|pod| {
                json!({"pod": pod["metadata"]["name"], "node": pod["spec"]["nodeName"], "status": pod["status"]})
            });
            let example = example.unwrap_or_default();
            anyhow::bail!("{running} of {} pods run; one that waits: {example}", there + pods);
        }
        if said.elapsed() > Duration::from_secs(10) {
            eprintln!("{:.0} s: {running} pods run on {} nodes", begun.elapsed().as_secs_f64(), claims.len());
            said = Instant::now();
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    let ran = begun.elapsed();
    let claims: Vec<Value> =
        world.claims()?.into_iter().filter(|c| !before.contains(&text(&c["metadata"]["name"]))).collect();
    // The first pod of each node waited the longest for it.
    let mut oldest = BTreeMap::<String, f64>::new();
    for pod in world.pods()? {
        let made = seconds(&pod["metadata"]["creationTimestamp"]).unwrap_or_default();
        let of = oldest.entry(text(&pod["spec"]["nodeName"])).or_insert(made);
        *of = of.min(made);
    }
    let (mut asked, mut waits) = (Vec::new(), Vec::new());
    let mut last = began;
    for claim in &claims {
        let conditions = claim["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let launched = conditions.iter().find(|c| c["type"] == "Launched");
        let Some(launched) = launched.and_then(|c| seconds(&c["lastTransitionTime"])) else { continue };
        last = last.max(launched);
        if let Some(made) = oldest.get(&text(&claim["status"]["nodeName"])) {
            waits.push((launched - made).max(0.0));
            asked.extend(seconds(&claim["metadata"]["creationTimestamp"]).map(|at| (at - made).max(0.0)));
        }
    }
    waits.sort_by(f64::total_cmp);
    asked.sort_by(f64::total_cmp);
    let launched = Duration::from_secs_f64((last - began).max(0.0));
    Ok(Burst {
        pods,
        nodes: claims.len(),
        launched,
        ran,
        asked,
        waits,
        usage: Usage::of("scale", controller)?,
    })
}

/// Makes nodes, and as many pods on each as there are for it; they take all of its CPU.
fn fill(world: &World, nodes: usize, pods: usize) -> Result<()> {
    const SIDE_BY_SIDE: usize = 8;
    let each = pods.div_ceil(nodes.max(1));
    let make = |at: usize| -> Result<()> {
        let name = format!("ip-10-{}-{}.ec2.internal", at / 250, at % 250);
        let zone = format!("{REGION}{}", ["a", "b", "c"][at % 3]);
        world.client().create("/api/v1/nodes", &node(&name, &zone, each))?;
        for of in 0..each.min(pods - (at * each).min(pods)) {
            world
                .client()
                .create("/api/v1/namespaces/default/pods", &pod(&format!("old-{at}-{of}"), &name))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..SIDE_BY_SIDE)
            .map(|worker| scope.spawn(move || (worker..nodes).step_by(SIDE_BY_SIDE).try_for_each(make)))
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("a thread broke")))
    })
}

/// A node of a node group of EKS, with as many CPUs as it has pods.
fn node(name: &str, zone: &str, pods: usize) -> Value {
    let resources =
        json!({"cpu": pods.to_string(), "memory": "128Gi", "pods": "110", "ephemeral-storage": "80Gi"});
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "annotations": {(KWOK): "fake"}, "labels": {
            "beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/instance-type": "m7i.8xlarge",
            "beta.kubernetes.io/os": "linux", "eks.amazonaws.com/capacityType": "ON_DEMAND",
            "eks.amazonaws.com/nodegroup": "workers", "eks.amazonaws.com/nodegroup-image": "ami-0123456789abcdef0",
            "failure-domain.beta.kubernetes.io/region": REGION, "failure-domain.beta.kubernetes.io/zone": zone,
            "k8s.io/cloud-provider-aws": "0123456789abcdef0123456789abcdef", "kubernetes.io/arch": "amd64",
            "kubernetes.io/hostname": name, "kubernetes.io/os": "linux",
            "node.kubernetes.io/instance-type": "m7i.8xlarge", "topology.kubernetes.io/region": REGION,
            "topology.kubernetes.io/zone": zone,
        }},
        "spec": {"providerID": format!("aws:///{zone}/i-{name}")},
        "status": {"capacity": resources, "allocatable": resources},
    })
}

fn pod(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "old", "tier": "web"}},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 1, "containers": [
            {"name": "web", "image": "web", "resources": {"requests": {"cpu": "1", "memory": "2Gi"}}},
        ]},
    })
}

/// Pods that are ready, as their Deployments say: to read all pods every second would be most of what is measured.
fn running(world: &World) -> Result<usize> {
    let deployments = world.list("/apis/apps/v1/namespaces/default/deployments")?;
    let ready = deployments.iter().filter_map(|of| of["status"]["readyReplicas"].as_u64());
    Ok(ready.sum::<u64>() as usize)
}

fn names(objects: &[Value]) -> Vec<String> {
    objects.iter().map(|object| text(&object["metadata"]["name"])).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn now() -> f64 {
    std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs_f64()
}

/// A moment that an object states, in seconds since 1970.
fn seconds(stated: &Value) -> Option<f64> {
    let moment: stowage_pricing::Timestamp = stated.as_str()?.parse().ok()?;
    Some(moment.seconds() as f64)
}

/// What a process has used.
struct Usage {
    /// Bytes that are resident.
    resident: u64,
    /// The most of them at any time.
    peak: u64,
    /// Seconds of CPU.
    cpu: f64,
    /// Calls of the API server, by verb and resource.
    calls: BTreeMap<String, u64>,
}

impl Usage {
    /// Of the controller of this name.
    fn of(name: &str, controller: &Controller) -> Result<Self> {
        let flag = format!("--pod-name={name}");
        let is_ours = |path: &std::path::Path| {
            let line = fs::read(path.join("cmdline")).unwrap_or_default();
            let mut words = line.split(|byte| *byte == 0);
            let program = words.next().is_some_and(|word| word.ends_with(b"stowage-controller"));
            program && words.any(|word| word == flag.as_bytes())
        };
        let process = fs::read_dir("/proc")?.flatten().map(|entry| entry.path()).find(|path| is_ours(path));
        let process = process.context("the controller does not run")?;
        let status = fs::read_to_string(process.join("status"))?;
        let bytes = |key: &str| -> Result<u64> {
            let line =
                status.lines().find_map(|line| line.strip_prefix(key)).context("no figures of memory")?;
            let kib: u64 = line.trim_start_matches(':').trim().trim_end_matches(" kB").trim().parse()?;
            Ok(kib << 10)
        };
        let stat = fs::read_to_string(process.join("stat"))?;
        // After the name in brackets; user and system time are the twelfth and thirteenth field from there.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        // Only now: to tell of 30,000 pods takes memory, for a moment.
        let metrics = controller.metrics()?;
        let told = metrics
            .lines()
            .filter_map(|line| line.strip_prefix("stowage_api_calls_total{")?.split_once("} "));
        let of = |labels: &str, key: &str| {
            let (_, rest) = labels.split_once(&format!("{key}=\""))?;
            rest.split('"').next().map(str::to_owned)
        };
        let calls = told
            .filter_map(|(labels, n)| {
                let of = format!("{} {}", of(labels, "verb")?, of(labels, "resource")?);
                Some((of, n.parse::<f64>().ok()? as u64))
            })
            .collect();
        let ticks =
            |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
        Ok(Self {
            resident: bytes("VmRSS")?,
            peak: bytes("VmHWM")?,
            cpu: (ticks(11) + ticks(12)) / TICKS,
            calls,
        })
    }
}

/// Of machines so small that thirty thousand pods are some thousand nodes.
fn pool() -> Value {
    let mut pool = node_pool("default");
    // What is measured is how nodes are made: what makes them fewer again is a matter of its own.
    pool["spec"]["disruption"] = json!({"consolidateAfter": "Never"});
    if let Some(requirements) = pool["spec"]["template"]["spec"]["requirements"].as_array_mut() {
        requirements
            .push(json!({"key": "karpenter.k8s.aws/instance-cpu", "operator": "Lt", "values": ["33"]}));
    }
    pool
}
