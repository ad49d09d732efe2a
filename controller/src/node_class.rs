//! `EC2NodeClasses`: which subnets, security groups and images their selectors find, and whether nodes can be launched.
//!
//! Found anew every minute, and when a class changes. What was found stands in the status, under the conditions that
//! Karpenter's users know.
//!
//! compat: karpenter-provider-aws v1.14, `pkg/controllers/nodeclass`.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use anyhow::Result;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt as _};
use serde_json::json;
use stowage_api::crd::condition::{
    self, AMIS_READY, FALSE, INSTANCE_PROFILE_READY, SECURITY_GROUPS_READY, SUBNETS_READY, TRUE,
    VALIDATION_SUCCEEDED,
};
use stowage_api::crd::{
    AmiSelectorTerm, Condition, Ec2NodeClass, Ec2NodeClassSpec, Ec2NodeClassStatus, Image, Requirement,
    SecurityGroup, Subnet,
};
use stowage_api::well_known::ARCH;
use stowage_aws::{Ec2, FoundImage, FoundSubnet, Refused, Search};
use tracing::{debug, warn};

use crate::follow::Cluster;
use crate::launch::addresses::Addresses;

/// How often what selectors find is looked up again.
const EVERY: Duration = Duration::from_mins(1);

/// How often it is asked which classes there are.
const LOOK: Duration = Duration::from_secs(1);

/// What AWS has for a class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Subnets.
    pub subnets: Vec<FoundSubnet>,
    /// Security groups: (id, name).
    pub groups: Vec<(String, String)>,
    /// Images, the newest first.
    pub images: Vec<FoundImage>,
}

/// The searches of a class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Searches {
    subnets: Vec<Search>,
    groups: Vec<Search>,
    images: Vec<Search>,
    /// Terms for images that this version cannot look up.
    unknown: Vec<String>,
}

/// What to look for.
pub fn searches(spec: &Ec2NodeClassSpec) -> Searches {
    let of = |id: &Option<String>, name: Option<&String>, tags: &Option<BTreeMap<String, String>>| Search {
        id: id.clone(),
        name: name.cloned(),
        tags: tags.clone().unwrap_or_default(),
        owners: Vec::new(),
    };
    let mut images = Vec::new();
    let mut unknown = Vec::new();
    for term in &spec.ami_selector_terms {
        match term {
            AmiSelectorTerm { alias: Some(alias), .. } => unknown.push(format!("alias {alias}")),
            AmiSelectorTerm { ssm_parameter: Some(name), .. } => unknown.push(format!("ssmParameter {name}")),
            term => {
                let mut search = of(&term.id, term.name.as_ref(), &term.tags);
                search.owners = match (&term.owner, &term.name) {
                    (Some(owner), _) => vec![owner.clone()],
                    // Anybody may call an image anything.
                    (None, Some(_)) => vec!["self".to_owned(), "amazon".to_owned()],
                    (None, None) => Vec::new(),
                };
                images.push(search);
            }
        }
    }
    Searches {
        subnets: spec.subnet_selector_terms.iter().map(|t| of(&t.id, None, &t.tags)).collect(),
        groups: spec
            .security_group_selector_terms
            .iter()
            .map(|t| of(&t.id, t.name.as_ref(), &t.tags))
            .collect(),
        images,
        unknown,
    }
}

/// The status of a class for which this was found, at `now`.
pub fn status(class: &Ec2NodeClass, searches: &Searches, found: &Found, now: &str) -> Ec2NodeClassStatus {
    let mut status = class.status.clone().unwrap_or_default();
    let generation = class.metadata.generation;
    let mut subnets = found.subnets.clone();
    subnets.sort_by(|a, b| b.free.cmp(&a.free).then_with(|| a.id.cmp(&b.id)));
    status.subnets = subnets
        .into_iter()
        .map(|s| Subnet { id: s.id, zone: s.zone, zone_id: Some(s.zone_id), ..Subnet::default() })
        .collect();
    status.security_groups = found
        .groups
        .iter()
        .map(|(id, name)| SecurityGroup {
            id: id.clone(),
            name: Some(name.clone()),
            ..SecurityGroup::default()
        })
        .collect();
    status.amis = images(&found.images, now);
    status.instance_profile.clone_from(&class.spec.instance_profile);

    let images = match searches.unknown.first() {
        Some(term) => {
            Err(("UnsupportedTerm", format!("{term}: this version looks images up by id, name or tags only")))
        }
        None if status.amis.is_empty() => {
            Err(("AMINotFound", "AMISelector did not match any AMIs".to_owned()))
        }
        None => Ok(()),
    };
    let subnets = if status.subnets.is_empty() {
        Err(("SubnetsNotFound", "SubnetSelector did not match any Subnets".to_owned()))
    } else {
        Ok(())
    };
    let groups = if status.security_groups.is_empty() {
        Err(("SecurityGroupsNotFound", "SecurityGroupSelector did not match any SecurityGroups".to_owned()))
    } else {
        Ok(())
    };
    let profile = match (&class.spec.instance_profile, &class.spec.role) {
        (Some(_), _) => Ok(()),
        (None, _) => Err((
            "InstanceProfileNotFound",
            "this version makes no instance profiles: set spec.instanceProfile in the place of spec.role"
                .to_owned(),
        )),
    };
    let valid: Result<(), (&str, String)> = Ok(());
    let roots =
        [AMIS_READY, SUBNETS_READY, SECURITY_GROUPS_READY, INSTANCE_PROFILE_READY, VALIDATION_SUCCEEDED];
    for (kind, held) in roots.into_iter().zip([images, subnets, groups, profile, valid]) {
        let (state, reason, message) = match held {
            Ok(()) => (TRUE, kind, String::new()),
            Err((reason, message)) => (FALSE, reason, message),
        };
        let condition = Condition {
            kind: kind.to_owned(),
            status: state.to_owned(),
            reason: reason.to_owned(),
            message,
            last_transition_time: now.to_owned(),
            observed_generation: generation,
        };
        condition::set(&mut status.conditions, condition);
    }
    let ready = condition::ready(&status.conditions, &roots, now, generation);
    condition::set(&mut status.conditions, ready);
    status
}

/// The newest image of each architecture, those that are not deprecated first.
fn images(found: &[FoundImage], now: &str) -> Vec<Image> {
    let is_old = |image: &FoundImage| image.deprecated.as_deref().is_some_and(|at| at <= now);
    let mut by_age: Vec<&FoundImage> = found.iter().collect();
    by_age.sort_by_key(|image| is_old(image));
    let mut out = Vec::<Image>::new();
    for image in by_age {
        let arch = match image.architecture.as_str() {
            "x86_64" => "amd64",
            "arm64" => "arm64",
            _ => continue,
        };
        let requirement = Requirement {
            key: ARCH.to_owned(),
            operator: "In".to_owned(),
            values: vec![arch.to_owned()],
            ..Requirement::default()
        };
        if !out.iter().any(|known| known.requirements == [requirement.clone()]) {
            out.push(Image {
                id: image.id.clone(),
                name: Some(image.name.clone()),
                deprecated: is_old(image).then_some(true),
                requirements: vec![requirement],
                ..Image::default()
            });
        }
    }
    out
}

/// Finds what classes select, until the task is dropped.
pub async fn run(client: Client, ec2: Ec2, cluster: Cluster, addresses: Addresses) {
    let classes: Api<Ec2NodeClass> = Api::all(client);
    let mut seen = HashMap::<String, (Option<i64>, Instant)>::new();
    loop {
        tokio::time::sleep(LOOK).await;
        // Classes are few; whether there are any shows without asking.
        if cluster.snapshot().is_none_or(|s| s.node_classes.is_empty()) {
            continue;
        }
        let all = match classes.list(&ListParams::default()).await {
            Ok(all) => all,
            Err(error) => {
                warn!(%error, "EC2NodeClasses cannot be listed");
                continue;
            }
        };
        for class in all {
            let (name, generation) = (class.name_any(), class.metadata.generation);
            let fresh = |(of, at): &(Option<i64>, Instant)| *of == generation && at.elapsed() < EVERY;
            if class.metadata.deletion_timestamp.is_some() || seen.get(&name).is_some_and(fresh) {
                continue;
            }
            match resolve(&classes, &ec2, &class, &addresses).await {
                Ok(changed) => debug!(class = name, changed, "looked up an EC2NodeClass"),
                Err(error) => {
                    warn!(class = name, error = format!("{error:#}"), "an EC2NodeClass cannot be looked up");
                    continue;
                }
            }
            seen.insert(name, (generation, Instant::now()));
        }
    }
}

async fn resolve(
    classes: &Api<Ec2NodeClass>,
    ec2: &Ec2,
    class: &Ec2NodeClass,
    addresses: &Addresses,
) -> Result<bool> {
    let searches = searches(&class.spec);
    let found = find(ec2, &searches).await?;
    addresses.said(&found.subnets);
    let status = status(class, &searches, &found, &Timestamp::now().to_string());
    if class.status.as_ref() == Some(&status) {
        return Ok(false);
    }
    let patch = json!({"status": status});
    classes.patch_status(&class.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await?;
    Ok(true)
}

async fn find(ec2: &Ec2, searches: &Searches) -> Result<Found, Refused> {
    Ok(Found {
        subnets: ec2.subnets(&searches.subnets).await?,
        groups: ec2.security_groups(&searches.groups).await?,
        images: ec2.images(&searches.images).await?,
    })
}

#[cfg(test)]
mod tests;
