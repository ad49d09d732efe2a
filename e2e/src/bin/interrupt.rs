//! How soon nodes take no more pods when their machines are interrupted, as a report.
//!
//! ```sh
//! cargo run --manifest-path e2e/Cargo.toml --bin interrupt
//! ```
//!
//! So many spot machines are launched at moto, each with a pod. Then EC2 takes all of them back: messages come in storms of
//! `--storms`, among as many that concern nobody. What counts is the time from the call that sends a message until the taint
//! of the node shows in a watch of the API server.
//!
//! Takes the controller that `STOWAGE_CONTROLLER` names. moto answers one call after the other, and holds everybody up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Parser;
use serde_json::{Value, json};
use stowage_e2e::events::{event, interrupted};
use stowage_e2e::{REGION, World, deployment, holds, node_pool};

const TAINT: &str = "karpenter.sh/disrupted";
const QUEUE: &str = "interrupt-report";

/// How soon nodes take no more pods when their machines are interrupted.
#[derive(Debug, Parser)]
struct Arguments {
    /// Machines that are taken back at once, for each storm.
    #[arg(long, value_delimiter = ',', default_value = "1,10,50")]
    storms: Vec<usize>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let most = arguments.storms.iter().copied().max().unwrap_or(1);
    let world = World::start("interrupt-report")?;
    let mailbox = world.front.mailbox(REGION, QUEUE)?;
    let controller =
        world.controller("interrupt", &["--disable-leader-election", "--interruption-queue", QUEUE])?;
    let mut pool = node_pool("default");
    pool["spec"]["template"]["spec"]["requirements"] = json!([
        {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]},
        {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot"]},
    ]);
    pool["spec"]["disruption"] = json!({"consolidateAfter": "Never"});
    world.client().create("/apis/karpenter.sh/v1/nodepools", &pool)?;
    let mut pods = deployment("web", most, "900m", "1Gi");
    pods["spec"]["template"]["spec"]["affinity"] = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{
        "topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}},
    }]}});
    world.client().create("/apis/apps/v1/namespaces/default/deployments", &pods)?;
    let tainted = watch(&world)?;
    for storm in &arguments.storms {
        let claims = world.until("all pods to run", |w| {
            let claims = w.claims()?;
            let ready = claims.len() == most && claims.iter().all(|claim| holds(claim, "Ready"));
            Ok((ready && w.running()? == most).then_some(claims))
        })?;
        let of = |claim: &Value| {
            let provider = claim["status"]["providerID"].as_str()?;
            Some((claim["status"]["nodeName"].as_str()?.to_owned(), provider.rsplit('/').next()?.to_owned()))
        };
        let taken: Vec<(String, String)> = claims.iter().filter_map(of).take(*storm).collect();
        let noise = event("aws.s3", "Object Created", &json!({}));
        let mut sent = BTreeMap::new();
        let began = Instant::now();
        // Five at a time, among five that concern nobody.
        for some in taken.chunks(5) {
            let bodies: Vec<String> =
                some.iter().flat_map(|(_, machine)| [interrupted(machine), noise.clone()]).collect();
            sent.extend(some.iter().map(|(node, _)| (node.clone(), Instant::now())));
            mailbox.send(&bodies)?;
        }
        let waits = world.until("all nodes to be tainted", |_| {
            let tainted = tainted.lock().unwrap_or_else(PoisonError::into_inner);
            let waits = sent.iter().map(|(node, at)| Some(tainted.get(node)?.duration_since(*at)));
            Ok(waits.collect::<Option<Vec<Duration>>>())
        })?;
        print(*storm, began.elapsed(), waits);
        world.until("the machines to be gone", |w| {
            let machines = w.machines()?;
            Ok(machines.iter().all(|m| taken.iter().all(|(_, id)| *id != m.id)).then_some(()))
        })?;
    }
    if std::env::var_os("STOWAGE_KEEP_LOGS").is_some() {
        world.plane.keep_logs();
        println!("  logs: {}", world.plane.logs().display());
    }
    let metrics = controller.metrics()?;
    for line in metrics.lines() {
        let waited = line.starts_with("karpenter_interruption_message_queue_duration_seconds_");
        let called = line.starts_with("stowage_aws_calls_total{") && line.contains("Message");
        if called || waited && !line.contains("_bucket") {
            println!("  {line}");
        }
    }
    Ok(())
}

fn print(storm: usize, whole: Duration, mut waits: Vec<Duration>) {
    waits.sort();
    let quantile = |of: f64| {
        let at = (waits.len() as f64 * of).ceil() as usize;
        waits.get(at.saturating_sub(1)).copied().unwrap_or_default().as_millis()
    };
    println!(
        "{storm} machines taken back: message to taint: median {} ms, 99 % {} ms, last {} ms; all tainted after {} ms",
        quantile(0.5),
        quantile(0.99),
        quantile(1.0),
        whole.as_millis()
    );
}

/// When nodes were first seen with the taint.
fn watch(world: &World) -> Result<Arc<Mutex<BTreeMap<String, Instant>>>> {
    let seen = Arc::new(Mutex::new(BTreeMap::new()));
    let (told, opened) = mpsc::channel();
    let (client, shared) = (world.client().clone(), Arc::clone(&seen));
    thread::spawn(move || {
        let each = |_: &str, node: Value| {
            let taints = node["spec"]["taints"].as_array();
            if let (true, Some(name)) = (
                taints.is_some_and(|all| all.iter().any(|taint| taint["key"] == TAINT)),
                node["metadata"]["name"].as_str(),
            ) {
                let mut seen = shared.lock().unwrap_or_else(PoisonError::into_inner);
                seen.entry(name.to_owned()).or_insert_with(Instant::now);
            }
            true
        };
        // The API server ends with the program.
        drop(client.watch(
            "/api/v1/nodes",
            || {
                let _ = told.send(());
            },
            each,
        ));
    });
    opened.recv().context("nodes cannot be watched")?;
    Ok(seen)
}
