//! `EC2NodeClasses`: what their selectors find, whether nodes can be launched, and what is made for them.
//!
//! ```text
//! class ─▶ finalizer, hash ─▶ searches ─▶ AWS ─▶ instance profile ─▶ status ─▶ trial (dry runs) ─▶ Ready
//!   └─ deleted ─▶ waits for its NodeClaims ─▶ launch templates and instance profiles go ─▶ finalizer goes
//! ```
//!
//! Found anew every minute (`AMI_REFRESH_INTERVAL`, `SUBNET_REFRESH_INTERVAL`), and when a class changes. What was found stands in the status, under the conditions that
//! Karpenter's users know.
//!
//! compat: karpenter-provider-aws v1.14, `pkg/controllers/nodeclass`.

pub mod alias;
mod end;
pub mod hash;
pub mod kubelet;
mod parameters;
pub mod profile;
pub mod search;
pub mod status;
pub mod trial;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::ApiResource;
use kube::{Client, Resource as _, ResourceExt as _};
use serde_json::{Value, json};
use stowage_api::crd::condition::{
    self, AMIS_READY, CAPACITY_RESERVATIONS_READY, INSTANCE_PROFILE_READY, PLACEMENT_GROUP_READY, READY,
    SECURITY_GROUPS_READY, SUBNETS_READY, TRUE, UNKNOWN, VALIDATION_SUCCEEDED, holds,
};
use stowage_api::crd::{Ec2NodeClass, Ec2NodeClassStatus};
use stowage_api::well_known::EC2_NODE_CLASS;
use stowage_aws::{Clients, Ec2, FoundImage, Refused};
use tokio::sync::watch;
use tracing::{debug, warn};

use self::alias::Variant;
pub(crate) use self::end::PROFILE;
use self::parameters::Known;
use self::search::{Searches, searches};
use self::status::{DEPENDENCIES, Found, Held, NOT_ASKED, conclude, status};
use self::trial::Trial;
pub(crate) use self::trial::max_pods;
use crate::announce::{Announcer, bad_news};
use crate::facts::ClusterFacts;
use crate::follow::Cluster;
use crate::launch::addresses::Addresses;
use crate::launch::boot::family;
use crate::launch::templates::Templates;
use crate::market::Market;
use crate::operate::health::Pulse;
use crate::rehash::Hash;
use crate::rounds::Rounds;
use crate::shared::Shared;

/// How often it is asked which classes there are.
const LOOK: Duration = Duration::from_secs(1);

/// Classes that are looked up side by side.
const SIDE_BY_SIDE: usize = 10;

/// How often it is asked whether `NodeClaims` still use a class that is deleted.
const WAIT: Duration = Duration::from_secs(5);

/// A class about which AWS did not say all is looked up again after so long.
const AGAIN: Duration = Duration::from_secs(5);

/// How often launch templates that nobody needs are looked for.
const SWEEP: Duration = Duration::from_secs(10);

/// How often instance profiles that nothing uses are looked for.
const COLLECT: Duration = Duration::from_mins(30);

/// Holds a class that is deleted until nothing is left of what was made for it.
const FINALIZER: &str = "karpenter.k8s.aws/termination";

/// The loop of `EC2NodeClasses`.
#[derive(Clone)]
pub struct NodeClasses {
    /// To read and write with.
    pub client: Client,
    /// To find and make with.
    pub aws: Clients,
    /// What there is.
    pub cluster: Cluster,
    /// What can be bought.
    pub market: watch::Receiver<Arc<Market>>,
    /// What machines are told.
    pub facts: ClusterFacts,
    /// The launch templates that are there.
    pub templates: Templates,
    /// Version of Kubernetes, for which images are.
    pub kubernetes: (u32, u32),
    /// What launches are tried with.
    pub trial: Trial,
    /// What is left of the subnets.
    pub addresses: Addresses,
    /// To say why a class is of no use.
    pub announcer: Announcer,
    /// Whether capacity that is reserved may be used.
    pub reserves: bool,
    /// How often what selectors find is looked up again.
    pub every: Duration,
    /// Where it shows that it goes on.
    pub pulse: Pulse,
}

/// What came of a look at a class.
#[derive(Clone, Copy, Debug)]
struct Looked {
    /// Whether its status was written.
    changed: bool,
    /// Whether nobody knows yet if nodes can be launched from it.
    open: bool,
}

/// What it remembers from look to look.
#[derive(Clone, Default)]
struct State {
    classes: Shared<Classes>,
    parameters: Known,
}

/// What is remembered of each class.
#[derive(Default)]
struct Classes {
    /// Class → generation that was looked up, and when.
    seen: HashMap<String, (Option<i64>, Instant)>,
    /// Class that is deleted → when it was last looked at.
    ending: HashMap<String, Instant>,
    /// Class → what was last said of its waiting.
    told: HashMap<String, String>,
}

impl NodeClasses {
    /// Looks classes up until the task is dropped.
    pub async fn run(self) {
        let state = State::default();
        let mut rounds = Rounds::new(SIDE_BY_SIDE);
        let own =
            BTreeMap::from([(format!("kubernetes.io/cluster/{}", self.facts.name), "owned".to_owned())]);
        if let Err(error) = self.templates.recall(&self.aws.ec2, &own).await {
            warn!(%error, "launch templates of earlier times cannot be listed, and stay");
        }
        let (mut swept, mut collected) = (Instant::now(), None::<Instant>);
        loop {
            self.pulse.beat("looks up EC2NodeClasses");
            let next = tokio::time::Instant::now() + LOOK;
            while tokio::time::timeout_at(next, rounds.turn()).await.is_ok() {}
            if swept.elapsed() >= SWEEP {
                swept = Instant::now();
                self.templates.collect(&self.aws.ec2, swept).await;
            }
            // Classes are few; whether there are any shows without asking.
            if self.cluster.snapshot().is_none_or(|s| s.node_classes.is_empty()) {
                continue;
            }
            let classes: Api<Ec2NodeClass> = Api::all(self.client.clone());
            let all = match classes.list(&ListParams::default()).await {
                Ok(all) => all.items,
                Err(error) => {
                    warn!(%error, "EC2NodeClasses cannot be listed");
                    continue;
                }
            };
            let due = all.iter().filter(|class| self.is_due(class, &state));
            let due: BTreeMap<String, &Ec2NodeClass> = due.map(|class| (class.name_any(), class)).collect();
            for name in rounds.in_turn(due.keys().map(String::as_str)) {
                if rounds.may_start(name) {
                    let (keeper, classes, class, state) =
                        (self.clone(), classes.clone(), due[name].clone(), state.clone());
                    rounds.start(name, async move {
                        keeper.look(&classes, &class, &state).await;
                        Duration::ZERO
                    });
                }
            }
            if collected.is_none_or(|at| at.elapsed() >= COLLECT) {
                collected = Some(Instant::now());
                if let Err(error) = self.collect_profiles(&all).await {
                    warn!(error = format!("{error:#}"), "instance profiles that nothing uses stay");
                }
            }
        }
    }

    /// Whether a class is to be looked at now: those that are not keep no other from its turn.
    fn is_due(&self, class: &Ec2NodeClass, state: &State) -> bool {
        let (name, generation) = (class.name_any(), class.metadata.generation);
        state.classes.with(|all| {
            if class.metadata.deletion_timestamp.is_some() {
                return all.ending.get(&name).is_none_or(|at| at.elapsed() >= WAIT);
            }
            let fresh = |(of, at): &(Option<i64>, Instant)| *of == generation && at.elapsed() < self.every;
            !all.seen.get(&name).is_some_and(fresh)
        })
    }

    async fn look(&self, classes: &Api<Ec2NodeClass>, class: &Ec2NodeClass, state: &State) {
        let (name, generation) = (class.name_any(), class.metadata.generation);
        if class.metadata.deletion_timestamp.is_some() {
            state.classes.with(|all| all.ending.insert(name.clone(), Instant::now()));
            if let Err(error) = self.end(classes, class, state).await {
                warn!(class = name, error = format!("{error:#}"), "an EC2NodeClass cannot be removed yet");
            }
            return;
        }
        match Box::pin(self.resolve(classes, class, state)).await {
            Ok(looked) => {
                debug!(class = name, looked.changed, looked.open, "looked up an EC2NodeClass");
                let now = Instant::now();
                // What AWS did not answer is asked again soon.
                let at = if looked.open { now.checked_sub(self.every.saturating_sub(AGAIN)) } else { None };
                state.classes.with(|all| all.seen.insert(name, (generation, at.unwrap_or(now))));
            }
            Err(error) => {
                warn!(class = name, error = format!("{error:#}"), "an EC2NodeClass cannot be looked up");
            }
        }
    }

    async fn resolve(
        &self,
        classes: &Api<Ec2NodeClass>,
        class: &Ec2NodeClass,
        state: &State,
    ) -> Result<Looked> {
        self.mark(class).await?;
        let mut spec = class.spec.clone();
        if !self.reserves {
            spec.capacity_reservation_selector_terms.clear();
        }
        let searches = searches(&spec, self.kubernetes);
        let found = self.find(class, &searches, state).await;
        let now = Timestamp::now().to_string();
        let mut status = status(class, &searches, &found, &now);
        let settled = DEPENDENCIES.iter().all(|kind| holds(&status.conditions, kind));
        let valid = if settled {
            let tried = Ec2NodeClass { status: Some(status.clone()), ..class.clone() };
            let catalog = Arc::clone(&self.market.borrow().catalog);
            match self.trial.run(&tried, &catalog, &self.pool_of(class)).await {
                Ok(held) => held,
                Err(error) => unasked(class, &error),
            }
        } else {
            Held::Open("DependenciesNotReady", "waiting for what its selectors find".to_owned())
        };
        conclude(&mut status, valid, class, &now);
        let open = condition::find(&status.conditions, READY).is_some_and(|ready| ready.status == UNKNOWN);
        if class.status.as_ref() == Some(&status) {
            return Ok(Looked { changed: false, open });
        }
        self.announce(class, &status);
        let patch = json!({"status": replacing(class.status.as_ref(), &status)?});
        classes.patch_status(&class.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await?;
        Ok(Looked { changed: true, open })
    }

    /// Tells of a class why nothing can be launched from it: each condition that says so, once it does.
    fn announce(&self, class: &Ec2NodeClass, status: &Ec2NodeClassStatus) {
        let old = class.status.as_ref().map_or(&[][..], |status| &status.conditions);
        self.announcer.tell_all(bad_news(&class.object_ref(&()), old, &status.conditions));
    }

    /// Puts finalizer and hash on a class, where they are not there already.
    async fn mark(&self, class: &Ec2NodeClass) -> Result<()> {
        let resource = ApiResource::erase::<Ec2NodeClass>(&());
        let all: Api<DynamicObject> = Api::all_with(self.client.clone(), &resource);
        // As the API server has it: fields that this version does not know count, too.
        let raw = all.get(&class.name_any()).await?;
        let value = hash::hash(&raw.data["spec"], family(class).name(), &self.facts.ca_bundle);
        let (key, version_key, version) = (hash::HASH, hash::HASH_VERSION, hash::VERSION);
        let hash = Hash { key, version_key, version, value: &value };
        let is_hashed = hash.is_on(class.annotations());
        let is_held = class.finalizers().iter().any(|f| f == FINALIZER);
        if is_hashed && is_held {
            return Ok(());
        }
        let (is_new, name) = (!hash.is_of_this_version(class.annotations()), class.name_any());
        let mut annotations = hash.annotations();
        if is_new && let Err(error) = hash.carry_over(&self.client, (EC2_NODE_CLASS, &name)).await {
            // The class is of use all the same, and keeps its old version until all have the new one.
            warn!(class = name, error = format!("{error:#}"), "NodeClaims keep an old hash");
            if is_held {
                return Ok(());
            }
            annotations = json!({});
        }
        let mut finalizers = class.finalizers().to_vec();
        if !is_held {
            finalizers.push(FINALIZER.to_owned());
        }
        let patch = json!({"metadata": {
            // Whoever else has changed it since is not to be overwritten.
            "resourceVersion": class.meta().resource_version,
            "annotations": annotations,
            "finalizers": finalizers,
        }});
        all.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
        if is_new && let Err(error) = hash.carry_over(&self.client, (EC2_NODE_CLASS, &name)).await {
            // One that was launched in between has copied the old version; what it has is compared with nothing.
            warn!(class = name, error = format!("{error:#}"), "NodeClaims may keep an old hash");
        }
        Ok(())
    }

    /// A `NodePool` that uses a class.
    fn pool_of(&self, class: &Ec2NodeClass) -> String {
        let snapshot = self.cluster.snapshot();
        let pools = snapshot.iter().flat_map(|s| &s.node_pools);
        let of = |pool: &&stowage_api::NodePool| {
            let used = &pool.spec.template.spec.node_class_ref;
            used.as_ref().is_some_and(|used| used.name == class.name_any())
        };
        pools.filter(of).map(|pool| pool.metadata.name.clone()).min().unwrap_or_default()
    }

    async fn find(&self, class: &Ec2NodeClass, searches: &Searches, state: &State) -> Found {
        let ec2 = &self.aws.ec2;
        let mut found = Found::default();
        let mut refused = BTreeMap::new();
        let mut note = |kind: &'static str, error: &Refused| {
            warn!(class = class.name_any(), %error, "AWS did not say what an EC2NodeClass selects");
            refused.insert(kind, error.to_string());
        };
        match ec2.subnets(&searches.subnets).await {
            Ok(subnets) => {
                self.addresses.said(&subnets);
                found.subnets = subnets;
            }
            Err(error) => note(SUBNETS_READY, &error),
        }
        match ec2.security_groups(&searches.groups).await {
            Ok(groups) => found.groups = groups,
            Err(error) => note(SECURITY_GROUPS_READY, &error),
        }
        match self.images(ec2, searches, state).await {
            Ok(images) => found.images = images,
            Err(error) => note(AMIS_READY, &error),
        }
        match ec2.reservations(&searches.reservations).await {
            Ok(reservations) => found.reservations = reservations,
            Err(error) => note(CAPACITY_RESERVATIONS_READY, &error),
        }
        if let Some(search) = &searches.placement {
            match ec2.placement_group(search).await {
                Ok(group) => found.placement = group,
                Err(error) => note(PLACEMENT_GROUP_READY, &error),
            }
        }
        match self.profile(class).await {
            Ok(profile) => found.profile = profile,
            Err(error) => note(INSTANCE_PROFILE_READY, &error),
        }
        found.refused = refused;
        found
    }

    /// Images, the newest first, each with the hardware that its alias names.
    async fn images(
        &self,
        ec2: &Ec2,
        searches: &Searches,
        state: &State,
    ) -> Result<Vec<(FoundImage, Vec<Variant>)>, Refused> {
        let mut variants = BTreeMap::<String, Vec<Variant>>::new();
        for parameter in &searches.parameters {
            if let Some(id) = state.parameters.get(&self.aws.parameters, &parameter.path).await? {
                variants.entry(id).or_default().extend(parameter.variants);
            }
        }
        let ids: Vec<String> = variants.keys().cloned().collect();
        let published = ec2.images_by_id(&ids).await?;
        state.parameters.review(&published, &Timestamp::now().to_string());
        let mut all = ec2.images(&searches.images).await?;
        all.retain(|image| !variants.contains_key(&image.id));
        all.extend(published);
        all.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.name.cmp(&b.name)));
        let with_variants = |image: FoundImage| {
            let of = variants.get(&image.id).cloned().unwrap_or_default();
            (image, of)
        };
        Ok(all.into_iter().map(with_variants).collect())
    }

    /// The instance profile of a class: the one that it names, or one for its role.
    async fn profile(&self, class: &Ec2NodeClass) -> Result<Option<String>, Refused> {
        let spec = &class.spec;
        let (None, Some(role)) = (&spec.instance_profile, &spec.role) else {
            return Ok(spec.instance_profile.clone());
        };
        let (region, cluster, role) = (&self.aws.region, &self.facts.name, profile::role(role));
        let name = profile::name(class, role, region, cluster);
        let path = profile::path_of(class, region, cluster);
        self.aws.profiles.ensure(&name, &path, role, &profile::tags(class, region, cluster)).await?;
        Ok(Some(name))
    }
}

/// What is known of a class that could not be tried: what has held for it as it is goes on holding until AWS says otherwise.
fn unasked(class: &Ec2NodeClass, error: &anyhow::Error) -> Held {
    let stated = class.status.as_ref().and_then(|s| condition::find(&s.conditions, VALIDATION_SUCCEEDED));
    let held = stated.is_some_and(|c| c.status == TRUE && c.observed_generation == class.metadata.generation);
    if held {
        debug!(class = class.name_any(), error = format!("{error:#}"), "launches could not be tried again");
        return Held::Yes;
    }
    Held::Open(NOT_ASKED, format!("{error:#}"))
}

/// A status as it is to be, for a merge: what the old one had and this one has not is taken away.
fn replacing(old: Option<&Ec2NodeClassStatus>, new: &Ec2NodeClassStatus) -> Result<Value> {
    let (old, mut new) = (serde_json::to_value(old)?, serde_json::to_value(new)?);
    for gone in old.as_object().into_iter().flat_map(|old| old.keys()) {
        if new.get(gone).is_none() {
            new[gone.as_str()] = Value::Null;
        }
    }
    Ok(new)
}

#[cfg(test)]
mod tests;
