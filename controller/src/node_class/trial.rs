//! Whether EC2 would launch machines of an `EC2NodeClass`: tried with dry runs, before the first pod has to wait for it.
//!
//! compat: karpenter-provider-aws v1.14: reasons of `ValidationSucceeded`, how long an outcome holds.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;
use stowage_api::crd::Ec2NodeClass;
use stowage_api::well_known::{NODE_POOL, SPOT};
use stowage_aws::{Ec2, Fleet, FleetWay, Refused};
use stowage_pricing::{Catalog, InstanceType, NodeConfig, Offering};

use super::kubelet::{self, Wrong};
use super::status::Held;
use crate::facts::ClusterFacts;
use crate::launch::boot::{boot, family};
use crate::launch::order::order;
use crate::launch::template::{self, Wanted, template};
use crate::launch::templates::Templates;
use crate::user_data::UserDataError;

/// For so long an outcome holds.
const HOLDS: Duration = Duration::from_mins(10);

/// What a trial needs.
#[derive(Clone, Debug)]
pub struct Trial {
    /// To ask.
    pub ec2: Ec2,
    /// The templates that are there.
    pub templates: Templates,
    /// What machines are told.
    pub facts: ClusterFacts,
    /// Whether EC2 is asked at all.
    pub asks: bool,
    /// Outcomes, by what was tried.
    pub known: Known,
}

/// Outcomes of trials: when, and what.
#[derive(Clone, Debug, Default)]
pub struct Known(Arc<Mutex<HashMap<String, (Instant, Held)>>>);

impl Known {
    fn with<T>(&self, f: impl FnOnce(&mut HashMap<String, (Instant, Held)>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Trial {
    /// What comes of a class whose status says all that was found for it. `pool` is a `NodePool` that uses it.
    ///
    /// # Errors
    /// Where EC2 does not answer: nothing is known then.
    pub async fn run(&self, class: &Ec2NodeClass, catalog: &Catalog, pool: &str) -> Result<Held> {
        match kubelet::check(class.spec.kubelet.as_ref().unwrap_or(&BTreeMap::new())) {
            Err(Wrong::Invalid(why)) => return Ok(Held::No("InvalidKubeletConfiguration", why)),
            Err(Wrong::Unsupported(why)) => return Ok(Held::No("UnsupportedKubeletConfiguration", why)),
            Ok(()) => {}
        }
        let told = boot(&self.facts, class, BTreeMap::new(), Vec::new()).user_data(family(class));
        let user_data = match told {
            Ok(text) => text,
            Err(why @ UserDataError::TooLong { .. }) => {
                return Ok(Held::No("UserDataSizeLimitExceeded", why.to_string()));
            }
            Err(why @ UserDataError::Missing(_)) => {
                return Ok(Held::No("ClusterCIDRResolutionFailed", why.to_string()));
            }
            Err(why) => return Ok(Held::No("UserDataNotUsable", why.to_string())),
        };
        if !self.asks {
            return Ok(Held::Yes);
        }
        let status = class.status.clone().unwrap_or_default();
        let found = (&status.subnets, &status.security_groups, &status.amis, &status.instance_profile);
        let key = serde_json::to_string(&(&class.spec, found, &user_data))?;
        let fresh = |at: &Instant| at.elapsed() < HOLDS;
        let known = self.known.with(|known| {
            known.retain(|_, (at, _)| fresh(at));
            known.get(&key).map(|(_, held)| held.clone())
        });
        if let Some(held) = known {
            return Ok(held);
        }
        let held = self.ask(class, catalog, &user_data, pool).await?;
        self.known.with(|known| known.insert(key, (Instant::now(), held.clone())));
        Ok(held)
    }

    async fn ask(
        &self,
        class: &Ec2NodeClass,
        catalog: &Catalog,
        user_data: &str,
        pool: &str,
    ) -> Result<Held> {
        // A claim that admits everything: the cheapest machine that the class can have.
        let of = serde_json::from_value::<stowage_api::Ec2NodeClass>(serde_json::to_value(class)?)?;
        let any = stowage_api::NodeClaim::default();
        let base = catalog.source.nodes().cloned().unwrap_or_default();
        // Some types do not run as the class says, whatever a claim admits.
        let unsuited = catalog.unsuited_to(&NodeConfig::of(&of, &base).0)?;
        let is_unsuited = |of: &InstanceType, _: &Offering| unsuited.iter().any(|(name, _)| *name == of.name);
        let Ok(order) = order(&any, &of, catalog, &BTreeMap::new(), &is_unsuited) else {
            // That no type suits the class is for plans to say.
            return Ok(Held::Yes);
        };
        let Some((image, way)) = order.images.iter().find_map(|i| Some((i, i.ways.first()?))) else {
            return Ok(Held::Yes);
        };
        let named = template(Wanted {
            class,
            family: family(class),
            image: &image.image,
            user_data,
            cluster: &self.facts.name,
            ipv6: self.facts.ipv6(),
            reservation: None,
            efa: 0,
            pool,
        });
        let made = self.ec2.try_template(&named.name, &named.template).await;
        if let Some(held) = verdict(made, "CreateLaunchTemplateAuthCheckFailed")? {
            return Ok(held);
        }
        // Trials of launches want a template that is there; unused, it goes after a minute.
        self.templates.ensure(&self.ec2, &named).await?;
        let mut tags = template::tags(class, &self.facts.name);
        tags.insert(NODE_POOL.to_owned(), pool.to_owned());
        let way = FleetWay {
            instance_type: way.instance_type.clone(),
            zone: way.zone.clone(),
            subnet: way.subnet.clone(),
            image: image.image.clone(),
        };
        let fleet = Fleet {
            token: String::new(),
            spot: order.capacity_type == SPOT,
            configs: vec![(named.name.clone(), vec![way.clone()])],
            tags: tags.clone(),
            context: class.spec.context.clone(),
        };
        let forget_gone = |refused: &Refused| {
            // Made again by the next try.
            if refused.is_gone() {
                self.templates.forget(&named.name);
            }
        };
        let launched = self.ec2.try_launch(&fleet).await.inspect_err(forget_gone);
        if let Some(held) = verdict(launched, "CreateFleetAuthCheckFailed")? {
            return Ok(held);
        }
        let run = self.ec2.try_run(&named.name, &way, &tags).await.inspect_err(forget_gone);
        Ok(verdict(run, "RunInstancesAuthCheckFailed")?.unwrap_or(Held::Yes))
    }
}

/// What a trial says of the class: nothing where it would have been allowed.
fn verdict(outcome: Result<(), Refused>, reason: &'static str) -> Result<Option<Held>> {
    match outcome {
        Ok(()) => Ok(None),
        Err(refused) if refused.is_forbidden() => Ok(Some(Held::No(
            reason,
            format!("{refused}; the permissions that are needed are in deploy/iam"),
        ))),
        // What was made a moment ago is not known everywhere yet: an instance profile takes IAM some seconds.
        Err(refused) if refused.is_gone() || refused.is_about_profile() => Err(refused.into()),
        Err(refused) if refused.is_about_request() => {
            Ok(Some(Held::No("ValidationFailed", refused.to_string())))
        }
        Err(refused) => Err(refused.into()),
    }
}

/// Settings of kubelet that say how many pods a node takes, where it is a number.
pub(crate) fn max_pods(kubelet: &BTreeMap<String, Value>) -> Option<u32> {
    kubelet.get("maxPods").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok())
}
