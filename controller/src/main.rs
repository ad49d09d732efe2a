//! `stowage-controller`: see the library beside it.

use std::net::SocketAddr;
use std::process;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use clap::Parser as _;
use kube::{Api, Client};
use stowage_controller::follow::{Cluster, follow};
use stowage_controller::market::{self, Market, Source};
use stowage_controller::operate::health::{serve_health, serve_metrics};
use stowage_controller::operate::lease::Candidate;
use stowage_controller::operate::metrics::Metrics;
use stowage_controller::provision::Provisioner;
use stowage_controller::settings::{LogFormat, Settings};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::info;
use tracing_subscriber::EnvFilter;

fn main() -> Result<()> {
    let settings = Settings::parse();
    log(&settings)?;
    let source = match &settings.catalog {
        Some(file) => Source::File(file.clone()),
        None => Source::Aws { cache: settings.cache.clone(), nodes: Box::new(settings.nodes()) },
    };
    // Before the runtime starts: asking AWS brings a runtime of its own.
    let market = source.read().context("cannot learn what can be bought")?;
    info!(types = market.catalog.types.len(), "catalogue");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(run(settings, source, market));
    // A solve that still runs has a thread of its own, and nobody waits for its answer.
    runtime.shutdown_background();
    ended
}

/// Runs until a signal comes, the lease is lost, or something breaks that nothing works without.
async fn run(settings: Settings, source: Source, market: Market) -> Result<()> {
    let client = Client::try_default().await.context("cannot find the API server")?;
    let cluster = Cluster::default();
    let metrics = Arc::new(Metrics::new()?);
    let (keeper, market) = watch::channel(Arc::new(market));
    let candidate = candidate(&settings, &client);
    let at = |port| SocketAddr::new(settings.listen, port);
    let (health, measured) = (at(settings.health_probe_port), at(settings.metrics_port));
    let provisioner = Provisioner {
        client: client.clone(),
        cluster: cluster.clone(),
        market,
        settings,
        metrics: Arc::clone(&metrics),
    };
    let leads = async {
        // Standing by, it follows the cluster all the same, and is ready when its time comes.
        if let Some(candidate) = &candidate {
            candidate.lead().await;
        }
        let held = async {
            match &candidate {
                Some(candidate) => candidate.hold().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = provisioner.run() => {}
            () = held => {}
        }
    };
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        () = follow(client, cluster.clone()) => bail!("following the cluster has ended"),
        () = market::keep(source, keeper) => bail!("nobody reads the catalogue any more"),
        ended = serve_health(health, cluster) => return ended.context("health"),
        ended = serve_metrics(measured, metrics) => return ended.context("metrics"),
        () = leads => bail!("the lease is lost: this replica must not go on"),
        _ = interrupt.recv() => info!("interrupted"),
        _ = terminate.recv() => info!("asked to end"),
    }
    if let Some(candidate) = &candidate {
        candidate.release().await;
    }
    Ok(())
}

/// Who asks for the lease; `None` where nobody has to.
fn candidate(settings: &Settings, client: &Client) -> Option<Candidate> {
    if settings.disable_leader_election {
        return None;
    }
    let host =
        || std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    let pod = settings.pod_name.clone().or_else(host).unwrap_or_else(|| "stowage".to_owned());
    // Tells this process from the last one in the same pod.
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let stated = settings.leader_election_namespace.as_deref().or(settings.system_namespace.as_deref());
    let namespace = stated.unwrap_or_else(|| client.default_namespace());
    Some(Candidate {
        leases: Api::namespaced(client.clone(), namespace),
        name: settings.leader_election_name.clone(),
        identity: format!("{pod}_{started:x}-{}", process::id()),
    })
}

fn log(settings: &Settings) -> Result<()> {
    let filter = EnvFilter::try_new(&settings.log_level)
        .with_context(|| format!("--log-level {}: not a level or a filter", settings.log_level))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Json => lines.json().init(),
        LogFormat::Text => lines.init(),
    }
    Ok(())
}
