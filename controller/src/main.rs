//! `stowage-controller`: see the library beside it.

use anyhow::{Context as _, Result, bail};
use clap::Parser as _;
use kube::{Api, Client};
use std::net::SocketAddr;
use std::process;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use stowage_aws::region_here;
use stowage_controller::announce::Announcer;
use stowage_controller::assumed::Expected;
use stowage_controller::buffer::{self, Buffers};
use stowage_controller::fargate::state::State;
use stowage_controller::follow::{Cluster, follow};
use stowage_controller::launch::run::Shortages;
use stowage_controller::learnt::Learnt;
use stowage_controller::make::Maker;
use stowage_controller::market::{self, Market, Source};
use stowage_controller::operate::calls::{Again, counting};
use stowage_controller::operate::health::{Pulse, serve_health, serve_metrics};
use stowage_controller::operate::lease::{Candidate, Leader, Leading};
use stowage_controller::operate::metrics::{Metrics, View};
use stowage_controller::outlook::Outlook;
use stowage_controller::overlay;
use stowage_controller::pool::Standing;
use stowage_controller::pool::run::Keeper;
use stowage_controller::provision::Provisioner;
use stowage_controller::replicas;
use stowage_controller::settings::{LogFormat, Settings};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::info;
use tracing_subscriber::EnvFilter;

#[path = "main/wiring.rs"]
mod wiring;

use wiring::{NO_REGION, Shared, fargate_loops, launching, on};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    let settings = Settings::parse();
    log(&settings)?;
    let asks = settings.catalog.is_none() || !settings.disable_launch;
    let region = if asks { region_here().context("cannot ask which region this is")? } else { None };
    let source = match &settings.catalog {
        Some(file) => Source::File(file.clone()),
        None => Source::Aws {
            region: region.clone().context(NO_REGION)?,
            cache: settings.cache.clone(),
            nodes: Box::new(settings.nodes()),
            isolated: settings.isolated_vpc,
        },
    };
    // Before the runtime starts: asking AWS brings a runtime of its own.
    let market = source.read().context("cannot learn what can be bought")?;
    info!(types = market.catalog.types.len(), "catalogue");
    // What a thread has freed goes back to the system when the thread ends: threads for plans end when there is none to make.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.enable_all().thread_keep_alive(Duration::from_millis(100)).build()?;
    let ended = runtime.block_on(run(settings, region, source, market));
    // A solve that still runs has a thread of its own, and nobody waits for its answer.
    runtime.shutdown_background();
    ended
}

/// Runs until a signal comes, the lease is lost, or something breaks that nothing works without.
async fn run(settings: Settings, region: Option<String>, source: Source, market: Market) -> Result<()> {
    let metrics = Arc::new(Metrics::new()?);
    let client = counting(&metrics, Again::Yes).await.context("cannot find the API server")?;
    let once = counting(&metrics, Again::No).await.context("cannot find the API server")?;
    let routed = State::default();
    let cluster = if settings.fargate { Cluster::for_fargate(&routed) } else { Cluster::default() };
    let (keeper, market) = watch::channel(Arc::new(market));
    let (leading, candidate) = candidate(&settings, &client);
    let at = |port| SocketAddr::new(settings.listen, port);
    let (health, measured) = (at(settings.health_probe_port), at(settings.metrics_port));
    let (expected, announcer) = (Expected::default(), Announcer::new(client.clone()));
    let (learnt, learning) = learning(&source, &cluster);
    let pulse = Pulse::default();
    let outlook = Outlook {
        market: market.clone(),
        settings: settings.clone(),
        shortages: Shortages::default(),
        learnt,
        standing: Standing::default(),
        buffers: Buffers::default(),
    };
    let (standing, buffers) = (outlook.standing.clone(), outlook.buffers.clone());
    let maker = Maker::new(once.clone(), cluster.clone(), expected.clone(), market.clone());
    let shared = Shared {
        maker: maker.clone(),
        once,
        client: client.clone(),
        cluster: cluster.clone(),
        outlook: outlook.clone(),
        expected: expected.clone(),
        announcer: announcer.clone(),
        metrics: Arc::clone(&metrics),
        pulse: pulse.clone(),
    };
    let (webhook, routing) = fargate_loops(region.as_deref(), &shared, routed.clone(), leading).await?;
    let launching = Box::pin(launching(region.as_deref(), shared)).await?;
    let pools = Keeper::new(&client, &cluster, &standing, &announcer, settings.disable_launch);
    metrics.watch(View {
        cluster: cluster.clone(),
        market: market.clone(),
        pools: pools.clone(),
        each: !settings.disable_cluster_state_observability,
    })?;
    let fixed = replicas::Keeper {
        maker: maker.clone(),
        client: client.clone(),
        cluster: cluster.clone(),
        standing,
        metrics: Arc::clone(&metrics),
    };
    let fixed = Box::pin(on(settings.feature_gates.static_capacity, fixed.run()));
    let overlays =
        overlay::Keeper { client: client.clone(), cluster: cluster.clone(), market: market.clone() };
    let overlays = Box::pin(on(settings.feature_gates.node_overlay, overlays.run()));
    let kept = buffer::run::Keeper { client: client.clone(), buffers };
    let kept = Box::pin(on(settings.feature_gates.capacity_buffer, kept.run()));
    let provisioner = Provisioner {
        outlook,
        expected,
        announcer,
        maker,
        cluster: cluster.clone(),
        metrics: Arc::clone(&metrics),
        pulse: pulse.clone(),
        routed,
    };
    let work = Box::pin(async {
        tokio::select! {
            () = provisioner.run() => {}
            () = launching => {}
            () = pools.run() => {}
            () = fixed => {}
            () = kept => {}
            () = overlays => {}
            () = routing => {}
        }
    });
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        () = Box::pin(follow(client, cluster.clone())) => bail!("following the cluster has ended"),
        () = Box::pin(learning) => bail!("learning what nodes have has ended"),
        () = Box::pin(market::keep(source, keeper)) => bail!("nobody reads the catalogue any more"),
        ended = serve_health(health, cluster, pulse) => return ended.context("health"),
        ended = serve_metrics(measured, metrics) => return ended.context("metrics"),
        ended = webhook => return ended.context("the webhook"),
        () = lead(candidate.as_ref(), work) => bail!("the lease is lost: this replica must not go on"),
        _ = interrupt.recv() => info!("interrupted"),
        _ = terminate.recv() => info!("asked to end"),
    }
    if let Some(candidate) = &candidate {
        candidate.release().await;
    }
    Ok(())
}

/// Does what only one replica does, as long as it is this one. Standing by, it follows the cluster all the same, and is
/// ready when its time comes.
async fn lead(candidate: Option<&Candidate>, work: impl Future<Output = ()>) {
    let Some(candidate) = candidate else { return work.await };
    let since = candidate.lead().await;
    tokio::select! {
        () = work => {}
        () = candidate.hold(since) => {}
    }
}

/// What nodes really have, and the loop that learns it. A file of types states what they have: there is nothing to learn.
fn learning(source: &Source, cluster: &Cluster) -> (Learnt, impl Future<Output = ()> + use<>) {
    let learnt = match source {
        Source::File(_) => Learnt::default(),
        Source::Aws { cache, .. } => Learnt::open(cache),
    };
    let (keeper, cluster) = (learnt.clone(), cluster.clone());
    let learns = matches!(source, Source::Aws { .. });
    (learnt, on(learns, keeper.keep(cluster)))
}

/// Who leads, and who asks for the lease; `None` where nobody has to.
fn candidate(settings: &Settings, client: &Client) -> (Leading, Option<Candidate>) {
    let host =
        || std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    let pod = settings.pod_name.clone().or_else(host).unwrap_or_else(|| "stowage".to_owned());
    // Tells this process from the last one in the same pod.
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let identity = format!("{pod}_{started:x}-{}", process::id());
    let address = settings.pod_ip.map(|ip| SocketAddr::new(ip, settings.webhook_port).to_string());
    let leading = Leading::new(identity.clone(), address.filter(|_| settings.fargate));
    if settings.disable_leader_election {
        // As long as it lives.
        leading.set(Leader::Us { until: Instant::now() + Duration::from_hours(24 * 365 * 30) });
        return (leading, None);
    }
    let stated = settings.leader_election_namespace.as_deref().or(settings.system_namespace.as_deref());
    let namespace = stated.unwrap_or_else(|| client.default_namespace());
    let candidate = Candidate {
        leases: Api::namespaced(client.clone(), namespace),
        name: settings.leader_election_name.clone(),
        identity,
        leading: leading.clone(),
    };
    (leading, Some(candidate))
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
