//! The loops that launch machines, see to them and take them away, put together.

use anyhow::{Context as _, Result};
use futures::future::{BoxFuture, join_all};
use kube::Client;
use std::sync::Arc;
use stowage_aws::Clients;
use stowage_aws::Ec2;
use stowage_controller::announce::Announcer;
use stowage_controller::assumed::Expected;
use stowage_controller::disrupt::hands::Hands;
use stowage_controller::disrupt::marks::Marker;
use stowage_controller::disrupt::run::Disruptor;
use stowage_controller::facts::ClusterFacts;
use stowage_controller::fargate::Fargate;
use stowage_controller::fargate::state::State;
use stowage_controller::follow::Cluster;
use stowage_controller::interrupt::mend::Mender;
use stowage_controller::interrupt::oust::{Going, Ouster};
use stowage_controller::interrupt::run::{Listener, Memory};
use stowage_controller::interrupt::shift::Shifter;
use stowage_controller::interrupt::status::Examiner;
use stowage_controller::launch::addresses::Addresses;
use stowage_controller::launch::run::{Launcher, Launching};
use stowage_controller::launch::templates::Templates;
use stowage_controller::launch::tokens::Tokens;
use stowage_controller::life::evictions::Evictions;
use stowage_controller::life::healthy::Outcomes;
use stowage_controller::life::machines::Machines;
use stowage_controller::life::run::Caretaker;
use stowage_controller::make::Maker;
use stowage_controller::node_class::trial::{Known, Trial};
use stowage_controller::node_class::{NodeClasses, alias};
use stowage_controller::operate::health::Pulse;
use stowage_controller::operate::lease::Leading;
use stowage_controller::operate::metrics::Metrics;
use stowage_controller::outlook::Outlook;

/// Where nobody says which region it is.
pub(crate) const NO_REGION: &str =
    "no region is known: set AWS_REGION; neither AWS's configuration nor the machine's metadata name one";

/// What goes on as long as the process. On the heap: each is large, and all of them are more than a stack should hold.
pub(crate) type Loop = BoxFuture<'static, ()>;

/// What the loops share.
pub(crate) struct Shared {
    pub(crate) maker: Maker,
    /// A client that asks once.
    pub(crate) once: Client,
    pub(crate) client: Client,
    pub(crate) cluster: Cluster,
    pub(crate) outlook: Outlook,
    pub(crate) expected: Expected,
    pub(crate) announcer: Announcer,
    pub(crate) metrics: Arc<Metrics>,
    /// Where loops show that they go on.
    pub(crate) pulse: Pulse,
}

/// The loops that launch machines, see to them, and take them away; one that does nothing where others do that.
pub(crate) async fn launching(region: Option<&str>, shared: Shared) -> Result<Loop> {
    let settings = &shared.outlook.settings.clone();
    let machines = if settings.disable_launch {
        None
    } else {
        anyhow::ensure!(
            !settings.cluster_name.is_empty(),
            "CLUSTER_NAME is not set: machines are found by it"
        );
        let aws = Clients::open(region.context(NO_REGION)?, Arc::clone(&shared.metrics) as _).await;
        let config = kube::Config::infer().await.context("cannot find the API server")?;
        let (marker, disruptor) = disruption(&shared, &aws.ec2);
        let interrupting = interruption(&shared, &aws);
        let Shared { client, cluster, outlook, expected, announcer, metrics, once, pulse, .. } = shared;
        let Outlook { market, shortages, learnt, .. } = outlook;
        let lives = metrics.lives().clone();
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
            evictions: Evictions::default(),
            lives: lives.clone(),
            surge_first: settings.surge_first,
            cluster_name: settings.cluster_name.clone(),
            // Since then kube-scheduler tries the node first that somebody else has nominated a pod to.
            nominates: kubernetes >= (1, 35),
            pulse: pulse.clone(),
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
            reserves: settings.feature_gates.reserved_capacity,
            every: settings.ami_refresh_interval.min(settings.subnet_refresh_interval),
            addresses: addresses.clone(),
            announcer: announcer.clone(),
            pulse: pulse.clone(),
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
            pulse,
        };
        Some((launcher, caretaker, classes, marker, disruptor, interrupting))
    };
    let Some((launcher, caretaker, classes, marker, disruptor, interrupting)) = machines else {
        return Ok(Box::pin(std::future::pending()));
    };
    let machines: [Loop; 3] = [Box::pin(classes.run()), Box::pin(launcher.run()), Box::pin(caretaker.run())];
    let disruption: [Loop; 3] = [Box::pin(marker.run()), Box::pin(disruptor.run()), Box::pin(interrupting)];
    Ok(Box::pin(async move {
        join_all(machines.into_iter().chain(disruption)).await;
    }))
}

/// The loops that see to machines that are taken away, fail or fall ill.
fn interruption(shared: &Shared, aws: &Clients) -> impl Future<Output = ()> + use<> {
    let Shared { outlook, metrics, .. } = shared;
    let settings = &outlook.settings;
    let measured = metrics.interruptions().clone();
    let ouster = Ouster {
        client: shared.client.clone(),
        cluster: shared.cluster.clone(),
        announcer: shared.announcer.clone(),
        lives: metrics.lives().clone(),
        going: Going::default(),
    };
    let listener = Listener {
        queues: aws.queues.clone(),
        name: settings.interruption_queue.clone(),
        ouster: ouster.clone(),
        shortages: outlook.shortages.clone(),
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
        market: outlook.market.clone(),
        shortages: outlook.shortages.clone(),
        announcer: shared.announcer.clone(),
        measured,
    };
    let shifting = on(settings.enable_zonal_shift, shifter.run());
    async move {
        tokio::join!(listening, examiner.run(), mending, shifting);
    }
}

/// Whoever marks nodes that are out of date or idle, and whoever takes nodes away.
fn disruption(shared: &Shared, ec2: &Ec2) -> (Marker, Disruptor) {
    let Shared { client, cluster, outlook, announcer, metrics, .. } = shared;
    let marker = Marker {
        client: client.clone(),
        ec2: ec2.clone(),
        cluster: cluster.clone(),
        market: outlook.market.clone(),
        announcer: announcer.clone(),
        lives: metrics.lives().clone(),
        cluster_name: outlook.settings.cluster_name.clone(),
    };
    let disruptor = Disruptor {
        hands: Hands { maker: shared.maker.clone(), client: client.clone(), cluster: cluster.clone() },
        outlook: outlook.clone(),
        expected: shared.expected.clone(),
        announcer: announcer.clone(),
        metrics: Arc::clone(metrics),
        pulse: shared.pulse.clone(),
    };
    (marker, disruptor)
}

/// A loop that runs where its gate is open.
pub(crate) async fn on(gate: bool, run: impl Future<Output = ()>) {
    if gate { run.await } else { std::future::pending().await }
}

/// What every replica does so that pods go to Fargate, and what the one that leads does; nothing where that is switched off.
pub(crate) async fn fargate_loops(
    region: Option<&str>,
    shared: &Shared,
    state: State,
    leading: Leading,
) -> Result<(BoxFuture<'static, Result<()>>, Loop)> {
    let settings = &shared.outlook.settings;
    if !settings.fargate {
        return Ok((Box::pin(std::future::pending()), Box::pin(std::future::pending())));
    }
    let aws = match region.filter(|_| !settings.disable_launch && !settings.cluster_name.is_empty()) {
        Some(region) => Some(Clients::open(region, Arc::clone(&shared.metrics) as _).await),
        None => None,
    };
    let stated = settings.system_namespace.as_deref();
    let fargate = Fargate {
        state,
        client: shared.client.clone(),
        once: shared.once.clone(),
        cluster: shared.cluster.clone(),
        outlook: shared.outlook.clone(),
        expected: shared.expected.clone(),
        announcer: shared.announcer.clone(),
        metrics: Arc::clone(&shared.metrics),
        pulse: shared.pulse.clone(),
        leading,
        namespace: stated.unwrap_or_else(|| shared.client.default_namespace()).to_owned(),
        aws,
    };
    let loops = fargate.open().await?;
    Ok((loops.everywhere, loops.leading))
}
