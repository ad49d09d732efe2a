//! How the controller does on a large cluster: pods by the thousand on nodes that kwok keeps, as a report.
//!
//! ```sh
//! cargo run --release --manifest-path e2e/Cargo.toml --bin scale -- --pods 30000
//! ```
//!
//! Takes the controller that `STOWAGE_CONTROLLER` names: a release build, to be of any worth.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Parser;
use serde_json::{Value, json};
use stowage_e2e::{Controller, World, deployment, holds, node_pool};

/// Clock ticks a second, in which Linux counts the time of processes; the same on all of its architectures.
const TICKS: f64 = 100.0;

/// How the controller does on a large cluster.
#[derive(Debug, Parser)]
struct Arguments {
    /// Pods, all at once.
    #[arg(long, default_value_t = 30_000)]
    pods: usize,
    /// Pods that come when all of them run, and are measured apart.
    #[arg(long, default_value_t = 100)]
    more: usize,
    /// For how long at most, seconds.
    #[arg(long, default_value_t = 3600)]
    patience: u64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let patience = Duration::from_secs(arguments.patience);
    let world = World::start("scale")?;
    world.client().create("/apis/karpenter.sh/v1/nodepools", &pool())?;
    let controller = world.controller("scale", &[])?;
    world.until("the controller to be ready", |_| Ok(controller.is_ready().then_some(())))?;
    let start = Usage::of("scale")?;
    println!("idle: {} MiB resident", start.resident >> 20);

    let burst = |name: &str, pods: usize| {
        let burst = burst(&world, &controller, name, pods, patience);
        if burst.is_err() {
            world.plane.keep_logs();
        }
        burst
    };
    let first = burst("first", arguments.pods)?;
    first.print("first burst", &start);
    let more = burst("more", arguments.more)?;
    more.print("second burst", &first.usage);
    Ok(())
}

/// What a burst of pods came to.
struct Burst {
    pods: usize,
    nodes: usize,
    /// From the first pod until the last machine was asked for, and until all ran.
    launched: Duration,
    ran: Duration,
    /// From each new machine's first pod until it was launched, seconds, ascending.
    waits: Vec<f64>,
    /// Calls of the API server by the controller until now.
    calls: u64,
    usage: Usage,
}

impl Burst {
    fn print(&self, what: &str, before: &Usage) {
        let quantile = |of: f64| {
            let at = (self.waits.len() as f64 * of).ceil() as usize;
            self.waits.get(at.saturating_sub(1)).copied().unwrap_or_default()
        };
        println!("{what}: {} pods, {} new nodes", self.pods, self.nodes);
        println!(
            "  first pod to last machine {:.1} s, to all running {:.1} s",
            self.launched.as_secs_f64(),
            self.ran.as_secs_f64()
        );
        println!(
            "  pod made to its machine launched: median {:.2} s, 99 % {:.2} s",
            quantile(0.5),
            quantile(0.99)
        );
        println!(
            "  controller: {} MiB resident, {:.1} s of CPU, {} calls of the API server so far ({:.1} a node)",
            self.usage.resident >> 20,
            self.usage.cpu - before.cpu,
            self.calls,
            self.calls as f64 / self.nodes.max(1) as f64
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
    let there = world.running()?;
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
        let running = world.running()?;
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
    let mut waits = Vec::new();
    let mut last = began;
    for claim in &claims {
        let conditions = claim["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let launched = conditions.iter().find(|c| c["type"] == "Launched");
        let Some(launched) = launched.and_then(|c| seconds(&c["lastTransitionTime"])) else { continue };
        last = last.max(launched);
        if let Some(made) = oldest.get(&text(&claim["status"]["nodeName"])) {
            waits.push((launched - made).max(0.0));
        }
    }
    waits.sort_by(f64::total_cmp);
    let calls = controller
        .metrics()?
        .lines()
        .filter(|line| line.starts_with("stowage_api_calls_total"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum::<f64>() as u64;
    let launched = Duration::from_secs_f64((last - began).max(0.0));
    Ok(Burst { pods, nodes: claims.len(), launched, ran, waits, calls, usage: Usage::of("scale")? })
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
    /// Seconds of CPU.
    cpu: f64,
}

impl Usage {
    /// Of the controller of this name.
    fn of(name: &str) -> Result<Self> {
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
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
        let stat = fs::read_to_string(process.join("stat"))?;
        // After the name in brackets; user and system time are the twelfth and thirteenth field from there.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks =
            |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
        Ok(Self { resident: kib << 10, cpu: (ticks(11) + ticks(12)) / TICKS })
    }
}

/// Of machines so small that thirty thousand pods are some thousand nodes.
fn pool() -> Value {
    let mut pool = node_pool("default");
    if let Some(requirements) = pool["spec"]["template"]["spec"]["requirements"].as_array_mut() {
        requirements
            .push(json!({"key": "karpenter.k8s.aws/instance-cpu", "operator": "Lt", "values": ["33"]}));
    }
    pool
}
