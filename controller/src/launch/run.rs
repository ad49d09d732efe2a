//! The loop that launches: every `NodeClaim` without a machine gets one, or is given up so that its pods are planned anew.
//!
//! ```text
//! claim ─▶ its class is ready ─▶ a machine of an earlier try? ─▶ order ─▶ templates ─▶ fleet of one ─▶ status
//!                                                                                       └▶ no capacity: claim deleted
//! ```
//!
//! # Invariants
//! - No claim has two machines: the fleet's token is the claim's own ([`super::tokens`]), and a machine whose launch was
//!   answered to nobody is found by its tags.
//! - What could not be had is remembered before the claim is given up, so that the next plan knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::jiff::Timestamp as Moment;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::{Client, Resource as _, ResourceExt as _};
use serde_json::json;
use stowage_api::crd::condition::{self, LAUNCHED, READY, TRUE, UNKNOWN};
use stowage_api::crd::{Ec2NodeClass, NodeClaim};
use stowage_api::well_known::{CAPACITY_TYPE, INSTANCE_TYPE, NODE_POOL, SPOT};
use stowage_api::{Effect, Operator, Taint};
use stowage_aws::{Ec2, Failure, Fleet, FleetWay, Machine, Refused};
use stowage_cluster::{Kind, Snapshot};
use stowage_pricing::{CapacityFault, Catalog, InstanceType, NodeConfig, Offering, OfferingKey, Unavailable};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::addresses::Addresses;
use super::boot::{boot, family};
use super::fault;
use super::order::{NothingToOrder, Order, Way, order};
use super::record::{annotations, as_set_up, labels, status};
use super::template::{self, Wanted, template};
use super::templates::Templates;
use super::tokens::Tokens;
use crate::announce::{Announcer, warning};
use crate::claim::is_ours;
use crate::facts::ClusterFacts;
use crate::follow::Cluster;
use crate::learnt::Learnt;
use crate::life::machines::{Machines, NODE_CLAIM};
use crate::life::step::Aspect;
use crate::life::{FINALIZER, join};
use crate::market::{Market, now};
use crate::operate::health::Pulse;
use crate::operate::lives::Lives;
use crate::rounds::Rounds;
use crate::user_data::Boot;

/// Launches side by side. EC2 takes some seconds for each, and a thousand are to be launched long before the first is given up.
const SIDE_BY_SIDE: usize = 50;

/// A launch that failed for another reason than capacity is tried again after so long.
const AGAIN: Duration = Duration::from_secs(5);

/// Changes that come within so short a time are looked at together.
const SETTLE: Duration = Duration::from_millis(20);

/// It looks so often where nothing changes.
const IDLE: Duration = Duration::from_mins(1);

/// And one that waits for something that takes no time.
const SOON: Duration = Duration::from_millis(500);

/// What lately could not be had; shared with whoever plans.
#[derive(Clone, Debug, Default)]
pub struct Shortages(Arc<Mutex<Unavailable>>);

impl Shortages {
    /// Looks at it, or notes something.
    pub fn with<T>(&self, f: impl FnOnce(&mut Unavailable) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What can be had now of a catalogue.
    pub fn for_sale(&self, catalog: &Catalog) -> Catalog {
        let mut catalog = catalog.clone();
        let hidden = self.with(|short| {
            short.sweep(now());
            short.hide_in(&mut catalog, now())
        });
        debug!(hidden, "offerings that lately could not be had are left out");
        catalog
    }
}

/// Claims that are being launched just now: until that has ended, nobody knows whether they have a machine.
#[derive(Clone, Debug, Default)]
pub struct Launching(Arc<Mutex<BTreeSet<String>>>);

impl Launching {
    /// The claim of this name is one of them for as long as what is returned lives.
    fn begin(&self, name: &str) -> UnderWay {
        self.with(|all| all.insert(name.to_owned()));
        UnderWay { all: self.clone(), name: name.to_owned() }
    }

    /// Whether the claim of this name is one of them.
    pub fn is_under_way(&self, name: &str) -> bool {
        self.with(|all| all.contains(name))
    }

    fn with<T>(&self, f: impl FnOnce(&mut BTreeSet<String>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A launch: however it ends, it is under way no longer.
struct UnderWay {
    all: Launching,
    name: String,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.all.with(|all| all.remove(&self.name));
    }
}

/// What the loop works with.
#[derive(Clone)]
pub struct Launcher {
    /// To write with.
    pub client: Client,
    /// To launch with.
    pub ec2: Ec2,
    /// Machines that are there.
    pub machines: Machines,
    /// What there is.
    pub cluster: Cluster,
    /// What can be bought.
    pub market: watch::Receiver<Arc<Market>>,
    /// What lately could not be had.
    pub shortages: Shortages,
    /// Where it stands which claims are being launched.
    pub launching: Launching,
    /// What is left of the subnets.
    pub addresses: Addresses,
    /// What is measured.
    pub lives: Lives,
    /// The launch templates that are there.
    pub templates: Templates,
    /// What machines are told.
    pub facts: ClusterFacts,
    /// What nodes really have.
    pub learnt: Learnt,
    /// To say why a claim is given up.
    pub announcer: Announcer,
    /// By what EC2 knows that it is asked again.
    pub tokens: Tokens,
    /// Where it shows that it goes on.
    pub pulse: Pulse,
}

/// Why a claim is given up.
#[derive(Clone, Copy)]
enum Given {
    /// Nothing that it admits can be had.
    NoCapacity,
    /// Its class does not say how to launch it, and will not soon.
    NotReady,
}

impl Given {
    /// As Karpenter's events and metrics call it.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::NoCapacity => ("InsufficientCapacityError", "insufficient_capacity"),
            Self::NotReady => ("NodeClassNotReady", "nodeclass_not_ready"),
        }
    }
}

/// What came of a claim.
enum Outcome {
    /// It has a machine.
    Launched,
    /// Nothing that it admits can be had.
    GivenUp,
    /// Not now.
    Later(&'static str),
}

impl Launcher {
    /// Launches until the task is dropped.
    pub async fn run(self) {
        let mut changes = self.cluster.changes();
        let mut rounds = Rounds::new(SIDE_BY_SIDE);
        loop {
            self.pulse.beat("launches machines");
            if let Some(snapshot) = self.cluster.snapshot() {
                self.tokens.keep(|claim| waiting(&snapshot).any(|waits| waits == claim));
                for name in rounds.in_turn(waiting(&snapshot)) {
                    if rounds.may_start(name) {
                        let (launcher, of) = (self.clone(), name.to_owned());
                        let under_way = self.launching.begin(name);
                        rounds.start(name, async move {
                            let rest = launcher.try_one(&of).await;
                            drop(under_way);
                            rest
                        });
                    }
                }
            }
            tokio::select! {
                _ = changes.changed() => tokio::time::sleep(SETTLE).await,
                () = rounds.turn() => {}
                // An empty cluster is still for a long time.
                () = tokio::time::sleep(IDLE) => {}
            }
            changes.borrow_and_update();
        }
    }

    /// Tries a claim; returns when it may be tried again. Whatever came of it: the watch may not have shown it by the next
    /// look.
    async fn try_one(&self, name: &str) -> Duration {
        match Box::pin(self.one(name)).await {
            Ok(Outcome::Launched | Outcome::GivenUp) => AGAIN,
            Ok(Outcome::Later(why)) => {
                debug!(claim = name, why, "not launched yet");
                SOON
            }
            Err(error) => {
                warn!(claim = name, error = format!("{error:#}"), "a launch failed");
                if let Err(error) = self.tell(name, &error).await {
                    debug!(claim = name, error = format!("{error:#}"), "why could not be written");
                }
                AGAIN
            }
        }
    }

    /// Writes into a claim why it was not launched.
    async fn tell(&self, name: &str, error: &anyhow::Error) -> Result<()> {
        let claims: Api<NodeClaim> = Api::all(self.client.clone());
        let Some(claim) = claims.get_opt(name).await? else { return Ok(()) };
        let aspect = Aspect {
            kind: LAUNCHED,
            status: UNKNOWN,
            reason: fault::reason_of(error),
            message: format!("{error:#}"),
        };
        if let Some(patch) = join::conditions(&claim, &[aspect], Moment::now()) {
            claims.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        }
        Ok(())
    }

    async fn one(&self, name: &str) -> Result<Outcome> {
        let claims: Api<NodeClaim> = Api::all(self.client.clone());
        let Some(claim) = claims.get_opt(name).await? else { return Ok(Outcome::Later("it is gone")) };
        let launched = claim.status.as_ref().is_some_and(|s| s.provider_id.is_some());
        if launched || claim.metadata.deletion_timestamp.is_some() {
            return Ok(Outcome::Later("nothing is to be done"));
        }
        if !claim.finalizers().iter().any(|f| f == FINALIZER) {
            // Else it could be deleted behind our back, and leave its machine behind.
            return Ok(Outcome::Later("it has no finalizer yet"));
        }
        let classes: Api<Ec2NodeClass> = Api::all(self.client.clone());
        let Some(class) = classes.get_opt(&claim.spec.node_class_ref.name).await? else {
            return self.give_up(&claims, &claim, Given::NotReady, "its EC2NodeClass does not exist").await;
        };
        if class.metadata.deletion_timestamp.is_some() {
            // It waits for its claims to be gone.
            return self.give_up(&claims, &claim, Given::NotReady, "its EC2NodeClass is being deleted").await;
        }
        let ready = class.status.as_ref().and_then(|s| condition::find(&s.conditions, READY));
        match ready {
            Some(ready) if ready.observed_generation != class.metadata.generation => {
                return Ok(Outcome::Later("its EC2NodeClass is being looked up"));
            }
            Some(ready) if ready.status == TRUE => {}
            Some(ready) if ready.status != UNKNOWN => {
                let why = format!("its EC2NodeClass is not ready: {}", ready.message);
                return self.give_up(&claims, &claim, Given::NotReady, &why).await;
            }
            _ => return Ok(Outcome::Later("its EC2NodeClass is being looked up")),
        }

        let tags = self.tags(&claim, &class);
        // By name and cluster: a claim's name is never used twice while one has it.
        let machine = match self.machines.of_claim(name).await? {
            Some(machine) => Some(machine),
            None => Box::pin(self.measured(self.launch(&claim, &class, tags))).await?,
        };
        let Some(machine) = machine else {
            let why = "there is no capacity for it";
            return self.give_up(&claims, &claim, Given::NoCapacity, why).await;
        };
        self.record(&claims, &claim, &class, &machine).await?;
        Ok(Outcome::Launched)
    }

    /// A launch, measured: that there is no capacity counts as an error, under Karpenter's name for it.
    async fn measured(
        &self,
        launch: impl Future<Output = Result<Option<Machine>>>,
    ) -> Result<Option<Machine>> {
        let asked = async {
            match launch.await {
                Ok(Some(machine)) => Ok(machine),
                Ok(None) => Err(None),
                Err(error) => Err(Some(error)),
            }
        };
        let called = ("nodeclaim.lifecycle", "Create");
        let name = |failed: &Option<_>| if failed.is_none() { "InsufficientCapacityError" } else { "" };
        match self.lives.asking(called, asked, name).await {
            Ok(machine) => Ok(Some(machine)),
            Err(None) => Ok(None),
            Err(Some(error)) => Err(error),
        }
    }

    /// Launches a machine; `None` where there is no capacity.
    async fn launch(
        &self,
        claim: &NodeClaim,
        class: &Ec2NodeClass,
        tags: BTreeMap<String, String>,
    ) -> Result<Option<Machine>> {
        let market = Arc::clone(&self.market.borrow());
        let moment = now();
        // What planning reads of both is all that an order takes.
        let read = serde_json::from_value::<stowage_api::NodeClaim>(serde_json::to_value(claim)?)?;
        let of = serde_json::from_value::<stowage_api::Ec2NodeClass>(serde_json::to_value(class)?)?;
        // A claim that a plan has made names types that suit its class; others may admit any.
        let base = market.catalog.source.nodes().cloned().unwrap_or_default();
        let config = NodeConfig::of(&of, &base).0;
        let unsuited = market.catalog.unsuited_to(&config)?;
        let too_small = too_small(&read, &market.catalog, &config)?;
        let is_away = |of: &InstanceType, offering: &Offering| {
            unsuited.iter().any(|(name, _)| *name == of.name)
                || too_small.contains(&of.name)
                || self.shortages.with(|short| short.is_offering_away(moment, &of.name, offering))
        };
        let order = match order(&read, &of, &market.catalog, &self.addresses.free(), &is_away) {
            Ok(order) => order,
            // A launch that was not answered may have a machine, whatever is left to be had.
            Err(NothingToOrder::NoOffering) if self.tokens.is_open(&claim.name_any()) => {
                bail!("an earlier launch was not answered, and may have a machine that does not show yet")
            }
            Err(NothingToOrder::NoOffering) => return Ok(None),
            Err(other) => return Err(other.into()),
        };
        let ways = || order.images.iter().flat_map(|image| &image.ways);
        let subnets: BTreeSet<String> = ways().map(|way| way.subnet.clone()).collect();
        let _held = self.addresses.hold(subnets.into_iter().collect(), order.addresses);
        let configs = self.configs(claim, class, &order).await?;
        let uid = claim.uid().context("a NodeClaim of the API server has a uid")?;
        let token = self.tokens.of(&claim.name_any(), &uid);
        let spot = order.capacity_type == SPOT;
        let names: Vec<String> = configs.iter().map(|(name, _)| name.clone()).collect();
        let context = class.spec.context.clone();
        let fleet = Fleet { token, spot, configs, tags: tags.clone(), context };
        let forget_gone = |refused: &Refused| {
            // Made again by the next try.
            if refused.is_gone() {
                for name in &names {
                    self.templates.forget(name);
                }
            }
        };
        self.tokens.asked(&claim.name_any());
        let answer = self.ec2.launch(&fleet).await.inspect_err(forget_gone).inspect_err(|refused| {
            self.tokens.refused(&claim.name_any(), refused.is_mismatch());
        })?;
        answer.failures.iter().for_each(|failure| self.note(failure, &order.capacity_type));
        let Some(started) = answer.machines.into_iter().next() else {
            self.tokens.spent(&claim.name_any());
            let other = answer.failures.iter().find(|f| CapacityFault::of_code(&f.code).is_none());
            if other.is_none() && !answer.failures.is_empty() {
                return Ok(None);
            }
            let why = other.map_or("launched nothing, and says not why", |f| f.message.as_str());
            let refused = Refused {
                call: "CreateFleet",
                code: other.map(|failure| failure.code.clone()),
                message: why.to_owned(),
            };
            forget_gone(&refused);
            return Err(refused.into());
        };
        let key = OfferingKey::new(&started.instance_type, &started.zone, &order.capacity_type);
        self.shortages.with(|short| short.launched(&key));
        if let Some(way) = ways().find(|way| way.zone == started.zone) {
            self.addresses.taken(&way.subnet, order.addresses);
        }
        let is_own = |way: &Way| way.instance_type == started.instance_type && way.zone == started.zone;
        let way = order.images.iter().find(|image| image.ways.iter().any(is_own));
        let reservation = way.and_then(|image| image.reservation.clone());
        Ok(Some(Machine {
            id: started.id,
            instance_type: started.instance_type,
            zone: started.zone,
            image: started.image,
            spot,
            reservation,
            tags,
            ..Machine::default()
        }))
    }

    /// The launch templates of an order, each with what may be launched from it: they are there by now.
    async fn configs(
        &self,
        claim: &NodeClaim,
        class: &Ec2NodeClass,
        order: &Order,
    ) -> Result<Vec<(String, Vec<FleetWay>)>> {
        let family = family(class);
        let boot = self.boot(claim, class, order);
        let mut configs = Vec::new();
        for image in &order.images {
            let own = Boot { max_pods: image.pods.or(boot.max_pods), ..boot.clone() };
            let user_data = own.user_data(family)?;
            let named = template(Wanted {
                class,
                family,
                image: &image.image,
                user_data: &user_data,
                cluster: &self.facts.name,
                ipv6: self.facts.ipv6(),
                reservation: image.reservation.as_deref(),
                efa: image.efa,
                pool: claim.labels().get(NODE_POOL).map_or("", String::as_str),
            });
            self.templates.ensure(&self.ec2, &named).await?;
            let ways = image.ways.iter().map(|way| FleetWay {
                instance_type: way.instance_type.clone(),
                zone: way.zone.clone(),
                subnet: way.subnet.clone(),
                image: image.image.clone(),
            });
            configs.push((named.name, ways.collect()));
        }
        Ok(configs)
    }

    /// Remembers what could not be had.
    fn note(&self, failure: &Failure, capacity_type: &str) {
        let key = OfferingKey::new(&failure.instance_type, &failure.zone, capacity_type);
        match CapacityFault::of_code(&failure.code) {
            Some(CapacityFault::CapacityType) => {
                self.shortages.with(|s| s.mark_capacity_type(now(), capacity_type));
            }
            Some(_) => self.shortages.with(|s| s.mark(now(), &key)),
            None => {}
        }
        self.lives.not_had(&failure.zone, capacity_type, &failure.code);
        if failure.code == NO_ADDRESSES {
            self.addresses.none_left(&failure.subnet);
        }
        info!(
            instance_type = failure.instance_type,
            zone = failure.zone,
            capacity_type,
            code = failure.code,
            "not to be had"
        );
    }

    /// Writes into the claim what it has become.
    async fn record(
        &self,
        claims: &Api<NodeClaim>,
        claim: &NodeClaim,
        class: &Ec2NodeClass,
        machine: &Machine,
    ) -> Result<()> {
        let market = Arc::clone(&self.market.borrow());
        let name = claim.name_any();
        let read = serde_json::from_value::<stowage_api::NodeClaim>(serde_json::to_value(claim)?)?;
        let labels = labels(&market.catalog, machine, &read);
        let patch = json!({"metadata": {"labels": labels, "annotations": annotations(class)}});
        // As it is now: conditions that others have written since it was read stay.
        let claim = &claims.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        let read = serde_json::from_value::<stowage_api::Ec2NodeClass>(serde_json::to_value(class)?)?;
        let of = self.learnt.with(|learnt| as_set_up(&market.catalog, &read, machine, learnt));
        let status = status(claim, machine, of.as_ref(), &Moment::now().to_string());
        let version = &claim.metadata.resource_version;
        let patch = json!({"metadata": {"resourceVersion": version}, "status": status});
        let written = claims.patch_status(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        self.cluster.assume(Kind::NodeClaim, &written);
        info!(
            claim = name,
            machine = machine.id,
            instance_type = machine.instance_type,
            zone = machine.zone,
            spot = machine.spot,
            "launched"
        );
        Ok(())
    }

    /// Deletes a claim that nothing can be launched for: its pods are planned for again.
    async fn give_up(
        &self,
        claims: &Api<NodeClaim>,
        claim: &NodeClaim,
        given: Given,
        why: &str,
    ) -> Result<Outcome> {
        let name = claim.name_any();
        if self.tokens.is_open(&name) {
            // Its machine would belong to nobody.
            return Ok(Outcome::Later(
                "an earlier launch was not answered, and may have a machine that does not show yet",
            ));
        }
        info!(claim = name, why, "a NodeClaim is given up");
        // As it is now: others may have written to it since it was read.
        let Some(claim) = claims.get_opt(&name).await? else { return Ok(Outcome::GivenUp) };
        let (event, reason) = given.names();
        let note = format!("NodeClaim {name} is given up: {why}");
        self.announcer.tell(claim.object_ref(&()), warning(event, note));
        // No machine stands behind it, so that nothing has to be drained first. Finalizers of others are theirs to take.
        let left: Vec<&String> = claim.finalizers().iter().filter(|f| *f != FINALIZER).collect();
        let patch =
            json!({"metadata": {"resourceVersion": claim.metadata.resource_version, "finalizers": left}});
        claims.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        claims.delete(&name, &DeleteParams::default()).await?;
        self.lives.disrupted(claim.labels(), reason);
        Ok(Outcome::GivenUp)
    }

    fn tags(&self, claim: &NodeClaim, class: &Ec2NodeClass) -> BTreeMap<String, String> {
        let mut tags = template::tags(class, &self.facts.name);
        tags.insert(NODE_CLAIM.to_owned(), claim.name_any());
        // Empty where a claim has no NodePool: permissions ask for the tag, whatever it says.
        tags.insert(NODE_POOL.to_owned(), claim.labels().get(NODE_POOL).cloned().unwrap_or_default());
        tags
    }

    fn boot(&self, claim: &NodeClaim, class: &Ec2NodeClass, order: &Order) -> Boot {
        let mut labels = claim.labels().clone();
        labels.insert(CAPACITY_TYPE.to_owned(), order.capacity_type.clone());
        let said = claim.spec.taints.iter().chain(&claim.spec.startup_taints).filter_map(|taint| {
            let effect = [Effect::NoSchedule, Effect::PreferNoSchedule, Effect::NoExecute]
                .into_iter()
                .find(|e| format!("{e:?}") == taint.effect)?;
            Some(Taint { key: taint.key.clone(), value: taint.value.clone(), effect })
        });
        boot(&self.facts, class, labels, said.collect())
    }
}

/// Types that do not have what a claim asks for. None where it names its types: whoever named them knows what they hold, and what
/// was learnt of their memory.
fn too_small(
    claim: &stowage_api::NodeClaim,
    catalog: &Catalog,
    config: &NodeConfig,
) -> Result<BTreeSet<String>> {
    let requests = &claim.spec.resources.requests;
    let names = |of: &stowage_api::Requirement| of.key == INSTANCE_TYPE && of.operator == Operator::In;
    if requests.is_empty() || claim.spec.requirements.iter().any(names) {
        return Ok(BTreeSet::new());
    }
    let (suited, _) = catalog.suited_to(config)?;
    let lacks = |of: &InstanceType| {
        let have = of.allocatable();
        requests.iter().any(|(name, amount)| have.get(name).copied().unwrap_or_default() < amount)
    };
    Ok(suited.types.into_iter().filter(lacks).map(|of| of.name).collect())
}

/// EC2's code for a subnet that is full.
const NO_ADDRESSES: &str = "InsufficientFreeAddressesInSubnet";

/// Claims that have no machine yet, by name.
fn waiting(snapshot: &Snapshot) -> impl Iterator<Item = &str> {
    let claims = snapshot.node_claims();
    claims
        .filter(|c| c.status.provider_id.is_empty() && !c.metadata.is_terminating() && is_ours(c))
        .map(|c| c.metadata.name.as_str())
}
