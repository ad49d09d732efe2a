//! `stowage-controller`: see the library beside it.

use std::net::SocketAddr;
use std::process;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use clap::Parser as _;
use kube::{Api, Client};
use stowage_aws::{Clients, region_here};
use stowage_controller::announce::Announcer;
use stowage_controller::assumed::Expected;
use stowage_controller::buffer::{self, Buffers};
use stowage_controller::disrupt::hands::Hands;
use stowage_controller::disrupt::marks::Marker;
use stowage_controller::disrupt::run::Disruptor;
use stowage_controller::facts::ClusterFacts;
use stowage_controller::follow::{Cluster, follow};
use stowage_controller::interrupt::mend::Mender;
use stowage_controller::interrupt::oust::{Going, Ouster};
use stowage_controller::interrupt::run::{Listener, Memory};
use stowage_controller::interrupt::shift::Shifter;
use stowage_controller::interrupt::status::Examiner;
use stowage_controller::launch::addresses::Addresses;
use stowage_controller::launch::run::{Launcher, Launching, Shortages};
use stowage_controller::launch::templates::Templates;
use stowage_controller::launch::tokens::Tokens;
use stowage_controller::learnt::Learnt;
use stowage_controller::life::healthy::Outcomes;
use stowage_controller::life::machines::Machines;
use stowage_controller::life::run::Caretaker;
use stowage_controller::make::Maker;
use stowage_controller::market::{self, Market, Source};
use stowage_controller::node_class::trial::{Known, Trial};
use stowage_controller::node_class::{NodeClasses, alias};
use stowage_controller::operate::calls::{Again, counting};
use stowage_controller::operate::health::{Pulse, serve_health, serve_metrics};
use stowage_controller::operate::lease::Candidate;
use stowage_controller::operate::lives::Lives;
use stowage_controller::operate::metrics::{Metrics, View};
use stowage_controller::overlay;
use stowage_controller::pool::Standing;
use stowage_controller::pool::run::Keeper;
use stowage_controller::provision::Provisioner;
use stowage_controller::replicas;
use stowage_controller::settings::{LogFormat, Settings};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::info;
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Where nobody says which region it is.
const NO_REGION: &str =
    "no region is known: set AWS_REGION; neither AWS's configuration nor the machine's metadata name one";

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
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
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
    let cluster = Cluster::default();
    let (keeper, market) = watch::channel(Arc::new(market));
    let candidate = candidate(&settings, &client);
    let at = |port| SocketAddr::new(settings.listen, port);
    let (health, measured) = (at(settings.health_probe_port), at(settings.metrics_port));
    let shortages = Shortages::default();
    let (expected, announcer) = (Expected::default(), Announcer::new(client.clone()));
    let (learnt, learning) = learning(&source, &cluster);
    let pulse = Pulse::default();
    let (standing, buffers) = (Standing::default(), Buffers::default());
    let maker = Maker::new(once.clone(), cluster.clone(), expected.clone(), market.clone());
    let shared = Shared {
        maker: maker.clone(),
        once,
        standing: standing.clone(),
        buffers: buffers.clone(),
        client: client.clone(),
        cluster: cluster.clone(),
        market: market.clone(),
        shortages: shortages.clone(),
        expected: expected.clone(),
        announcer: announcer.clone(),
        lives: metrics.lives().clone(),
        learnt: learnt.clone(),
    };
    let launching = launching(&settings, region.as_deref(), &metrics, shared).await?;
    let pools = Keeper::new(client.clone(), cluster.clone(), standing.clone(), settings.disable_launch);
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
        standing: standing.clone(),
        metrics: Arc::clone(&metrics),
    };
    let fixed = on(settings.feature_gates.static_capacity, fixed.run());
    let overlays =
        overlay::Keeper { client: client.clone(), cluster: cluster.clone(), market: market.clone() };
    let overlays = on(settings.feature_gates.node_overlay, overlays.run());
    let kept = buffer::run::Keeper { client: client.clone(), buffers: buffers.clone() };
    let kept = on(settings.feature_gates.capacity_buffer, kept.run());
    let provisioner = Provisioner {
        buffers,
        standing,
        learnt,
        shortages,
        expected,
        announcer,
        maker,
        cluster: cluster.clone(),
        market,
        settings,
        metrics: Arc::clone(&metrics),
        pulse: pulse.clone(),
    };
    let leads = async {
        // Standing by, it follows the cluster all the same, and is ready when its time comes.
        let since = match &candidate {
            Some(candidate) => Some(candidate.lead().await),
            None => None,
        };
        let held = async {
            match (&candidate, since) {
                (Some(candidate), Some(since)) => candidate.hold(since).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            () = provisioner.run() => {}
            () = launching => {}
            () = pools.run() => {}
            () = fixed => {}
            () = kept => {}
            () = overlays => {}
            () = held => {}
        }
    };
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        () = follow(client, cluster.clone()) => bail!("following the cluster has ended"),
        () = learning => bail!("learning what nodes have has ended"),
        () = market::keep(source, keeper) => bail!("nobody reads the catalogue any more"),
        ended = serve_health(health, cluster, pulse) => return ended.context("health"),
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

/// A loop that runs where its gate is open.
async fn on(gate: bool, run: impl Future<Output = ()>) {
    if gate { run.await } else { std::future::pending().await }
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

/// What the loops share.
struct Shared {
    maker: Maker,
    /// A client that asks once.
    once: Client,
    standing: Standing,
    buffers: Buffers,
    client: Client,
    cluster: Cluster,
    market: watch::Receiver<Arc<Market>>,
    shortages: Shortages,
    expected: Expected,
    announcer: Announcer,
    lives: Lives,
    learnt: Learnt,
}

/// The loops that launch machines, see to them, and take them away; one that does nothing where others do that.
async fn launching(
    settings: &Settings,
    region: Option<&str>,
    metrics: &Arc<Metrics>,
    shared: Shared,
) -> Result<impl Future<Output = ()> + use<>> {
    let machines = if settings.disable_launch {
        None
    } else {
        anyhow::ensure!(
            !settings.cluster_name.is_empty(),
            "CLUSTER_NAME is not set: machines are found by it"
        );
        let aws = Clients::open(region.context(NO_REGION)?, Arc::clone(metrics) as _).await;
        let config = kube::Config::infer().await.context("cannot find the API server")?;
        let (marker, disruptor) = disruption(settings, metrics, &shared, &aws.ec2);
        let interrupting = interruption(settings, metrics, &shared, &aws);
        let Shared { client, cluster, market, shortages, expected, announcer, lives, learnt, once, .. } =
            shared;
        let facts = ClusterFacts::learn(settings, &client, &config, &aws.clusters).await?;
        let ec2 = aws.ec2.clone();
        let machines = Machines::new(ec2.clone(), &settings.cluster_name, lives.clone());
        let launching = Launching::default();
        let version = client.apiserver_version().await.context("cannot ask for the version of Kubernetes")?;
        let kubernetes = alias::version(&version.major, &version.minor)
            .with_context(|| format!("{} is not a version of Kubernetes", version.git_version))?;
        let caretaker = Caretaker {
            client: client.clone(),
            evictor: once,
            ec2: ec2.clone(),
            machines: machines.clone(),
            cluster: cluster.clone(),
            expected,
            launching: launching.clone(),
            shortages: shortages.clone(),
            announcer: announcer.clone(),
            outcomes: Outcomes::default(),
            lives: lives.clone(),
            surge_first: settings.surge_first,
            cluster_name: settings.cluster_name.clone(),
            // Since then kube-scheduler tries the node first that somebody else has nominated a pod to.
            nominates: kubernetes >= (1, 35),
        };
        let templates = Templates::default();
        let trial = Trial {
            ec2: ec2.clone(),
            templates: templates.clone(),
            facts: facts.clone(),
            asks: !settings.disable_dry_run,
            known: Known::default(),
        };
        let addresses = Addresses::default();
        let classes = NodeClasses {
            client: client.clone(),
            aws,
            cluster: cluster.clone(),
            market: market.clone(),
            facts: facts.clone(),
            templates: templates.clone(),
            kubernetes,
            trial,
            every: settings.ami_refresh_interval.min(settings.subnet_refresh_interval),
            addresses: addresses.clone(),
        };
        let launcher = Launcher {
            client,
            ec2,
            machines,
            cluster,
            market,
            shortages,
            launching,
            addresses,
            lives,
            templates,
            facts,
            learnt,
            announcer,
            tokens: Tokens::default(),
        };
        Some((launcher, caretaker, classes, marker, disruptor, interrupting))
    };
    Ok(async move {
        let Some((launcher, caretaker, classes, marker, disruptor, interrupting)) = machines else {
            return std::future::pending().await;
        };
        let (classes, launcher, marker) = (classes.run(), launcher.run(), marker.run());
        tokio::join!(classes, launcher, caretaker.run(), marker, disruptor.run(), interrupting);
    })
}

/// The loops that see to machines that are taken away, fail or fall ill.
fn interruption(
    settings: &Settings,
    metrics: &Arc<Metrics>,
    shared: &Shared,
    aws: &Clients,
) -> impl Future<Output = ()> + use<> {
    let measured = metrics.interruptions().clone();
    let ouster = Ouster {
        client: shared.client.clone(),
        cluster: shared.cluster.clone(),
        announcer: shared.announcer.clone(),
        lives: shared.lives.clone(),
        going: Going::default(),
    };
    let listener = Listener {
        queues: aws.queues.clone(),
        name: settings.interruption_queue.clone(),
        ouster: ouster.clone(),
        shortages: shared.shortages.clone(),
        measured: measured.clone(),
        memory: Memory::default(),
    };
    let listening = on(!settings.interruption_queue.is_empty(), listener.run());
    let examiner = Examiner { ec2: aws.ec2.clone(), ouster: ouster.clone(), measured: measured.clone() };
    let mender = Mender { ouster, measured: measured.clone() };
    let mending = on(settings.feature_gates.node_repair, mender.run());
    let shifter = Shifter {
        shifts: aws.shifts.clone(),
        clusters: aws.clusters.clone(),
        cluster_name: settings.cluster_name.clone(),
        cluster: shared.cluster.clone(),
        market: shared.market.clone(),
        shortages: shared.shortages.clone(),
        announcer: shared.announcer.clone(),
        measured,
    };
    let shifting = on(settings.enable_zonal_shift, shifter.run());
    async move {
        tokio::join!(listening, examiner.run(), mending, shifting);
    }
}

/// Whoever marks nodes that are out of date or idle, and whoever takes nodes away.
fn disruption(
    settings: &Settings,
    metrics: &Arc<Metrics>,
    shared: &Shared,
    ec2: &stowage_aws::Ec2,
) -> (Marker, Disruptor) {
    let Shared { client, cluster, market, announcer, lives, .. } = shared;
    let marker = Marker {
        client: client.clone(),
        ec2: ec2.clone(),
        cluster: cluster.clone(),
        market: market.clone(),
        announcer: announcer.clone(),
        lives: lives.clone(),
        cluster_name: settings.cluster_name.clone(),
    };
    let disruptor = Disruptor {
        hands: Hands { maker: shared.maker.clone(), client: client.clone(), cluster: cluster.clone() },
        market: market.clone(),
        settings: settings.clone(),
        shortages: shared.shortages.clone(),
        learnt: shared.learnt.clone(),
        standing: shared.standing.clone(),
        buffers: shared.buffers.clone(),
        expected: shared.expected.clone(),
        announcer: announcer.clone(),
        metrics: Arc::clone(metrics),
    };
    (marker, disruptor)
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
