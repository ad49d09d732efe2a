//! The status of an `EC2NodeClass`: what was found for it, under the conditions that Karpenter's users know.
//!
//! Where AWS did not answer, what was found before stays.

use std::collections::BTreeMap;

use stowage_api::crd::condition::{
    self, AMIS_READY, CAPACITY_RESERVATIONS_READY, FALSE, INSTANCE_PROFILE_READY, PLACEMENT_GROUP_READY,
    SECURITY_GROUPS_READY, SUBNETS_READY, TRUE, UNKNOWN, VALIDATION_SUCCEEDED,
};
use stowage_api::crd::{
    CapacityReservation, Condition, Ec2NodeClass, Ec2NodeClassStatus, Image, Requirement, SecurityGroup,
    Subnet,
};
use stowage_api::well_known::ARCH;
use stowage_aws::{FoundGroup, FoundImage, FoundReservation, FoundSubnet};

use super::alias::Variant;
use super::search::Searches;

/// Conditions that a class stands on, but for its validation.
pub const DEPENDENCIES: [&str; 6] = [
    AMIS_READY,
    SUBNETS_READY,
    SECURITY_GROUPS_READY,
    INSTANCE_PROFILE_READY,
    PLACEMENT_GROUP_READY,
    CAPACITY_RESERVATIONS_READY,
];

/// Reason of conditions of which AWS was asked in vain.
pub const NOT_ASKED: &str = "NotAsked";

/// What AWS has for a class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Subnets.
    pub subnets: Vec<FoundSubnet>,
    /// Security groups: (id, name).
    pub groups: Vec<(String, String)>,
    /// Images, the newest first, each with the hardware that its alias names.
    pub images: Vec<(FoundImage, Vec<Variant>)>,
    /// Capacity reservations.
    pub reservations: Vec<FoundReservation>,
    /// The placement group.
    pub placement: Option<FoundGroup>,
    /// The instance profile, where there is one.
    pub profile: Option<String>,
    /// Condition → why what it is about could not be asked.
    pub refused: BTreeMap<&'static str, String>,
}

/// What a condition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// It holds.
    Yes,
    /// It does not: reason and message.
    No(&'static str, String),
    /// Nobody knows yet: reason and message.
    Open(&'static str, String),
}

/// The status of a class for which this was found, at `now`.
pub fn status(class: &Ec2NodeClass, searches: &Searches, found: &Found, now: &str) -> Ec2NodeClassStatus {
    let mut status = class.status.clone().unwrap_or_default();
    let asked = |kind: &str| !found.refused.contains_key(kind);
    if asked(SUBNETS_READY) {
        let mut subnets = found.subnets.clone();
        subnets.sort_by(|a, b| b.free.cmp(&a.free).then_with(|| a.id.cmp(&b.id)));
        let of =
            |s: FoundSubnet| Subnet { id: s.id, zone: s.zone, zone_id: Some(s.zone_id), ..Subnet::default() };
        status.subnets = subnets.into_iter().map(of).collect();
    }
    if asked(SECURITY_GROUPS_READY) {
        let of = |(id, name): &(String, String)| SecurityGroup {
            id: id.clone(),
            name: Some(name.clone()),
            ..SecurityGroup::default()
        };
        status.security_groups = found.groups.iter().map(of).collect();
    }
    if asked(AMIS_READY) {
        status.amis = images(&found.images, now);
    }
    if asked(CAPACITY_RESERVATIONS_READY) {
        status.capacity_reservations =
            found.reservations.iter().filter_map(|of| reservation(of, now)).collect();
    }
    if asked(INSTANCE_PROFILE_READY) {
        status.instance_profile.clone_from(&found.profile);
    }
    for kind in DEPENDENCIES {
        let held = match found.refused.get(kind) {
            // What is known to hold goes on holding until AWS says otherwise.
            Some(_) if condition::holds(&status.conditions, kind) => continue,
            Some(why) => Held::Open(NOT_ASKED, why.clone()),
            None => held(kind, class, searches, found, &status),
        };
        set(&mut status, kind, held, class, now);
    }
    status
}

fn held(
    kind: &str,
    class: &Ec2NodeClass,
    searches: &Searches,
    found: &Found,
    status: &Ec2NodeClassStatus,
) -> Held {
    match kind {
        AMIS_READY => match &searches.unsupported {
            Some(why) => Held::No("UnsupportedAlias", why.clone()),
            None if status.amis.is_empty() => {
                Held::No("AMINotFound", "AMISelector did not match any AMIs".to_owned())
            }
            None => Held::Yes,
        },
        SUBNETS_READY if status.subnets.is_empty() => {
            Held::No("SubnetsNotFound", "SubnetSelector did not match any Subnets".to_owned())
        }
        SECURITY_GROUPS_READY if status.security_groups.is_empty() => {
            let message = "SecurityGroupSelector did not match any SecurityGroups".to_owned();
            Held::No("SecurityGroupsNotFound", message)
        }
        INSTANCE_PROFILE_READY if status.instance_profile.is_none() => {
            let role = class.spec.role.as_deref().unwrap_or_default();
            Held::No("InstanceProfileNotFound", format!("there is no instance profile for the role {role}"))
        }
        PLACEMENT_GROUP_READY => match (&searches.placement, &found.placement) {
            (Some(_), None) => {
                let message = "PlacementGroupSelector did not match any placement group".to_owned();
                Held::No("PlacementGroupNotFound", message)
            }
            (Some(_), Some(group)) if group.state != "available" => Held::No(
                "PlacementGroupNotFound",
                format!("placement group {} is {}", group.name, group.state),
            ),
            _ => Held::Yes,
        },
        _ => Held::Yes,
    }
}

/// Puts the outcome of validation into a status, and what follows for the class as a whole.
pub fn conclude(status: &mut Ec2NodeClassStatus, valid: Held, class: &Ec2NodeClass, now: &str) {
    set(status, VALIDATION_SUCCEEDED, valid, class, now);
    let roots = [&DEPENDENCIES[..], &[VALIDATION_SUCCEEDED]].concat();
    let ready = condition::ready(&status.conditions, &roots, now, class.metadata.generation);
    condition::set(&mut status.conditions, ready);
}

fn set(status: &mut Ec2NodeClassStatus, kind: &str, held: Held, class: &Ec2NodeClass, now: &str) {
    let (state, reason, message) = match held {
        Held::Yes => (TRUE, kind, String::new()),
        Held::No(reason, message) => (FALSE, reason, message),
        Held::Open(reason, message) => (UNKNOWN, reason, message),
    };
    let condition = Condition {
        kind: kind.to_owned(),
        status: state.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: now.to_owned(),
        observed_generation: class.metadata.generation,
    };
    condition::set(&mut status.conditions, condition);
}

/// The newest image for each kind of hardware, those that are not deprecated first.
fn images(found: &[(FoundImage, Vec<Variant>)], now: &str) -> Vec<Image> {
    let is_old = |image: &FoundImage| image.deprecated.as_deref().is_some_and(|at| at <= now);
    let mut by_age: Vec<&(FoundImage, Vec<Variant>)> = found.iter().collect();
    by_age.sort_by_key(|(image, _)| is_old(image));
    let mut out = Vec::<Image>::new();
    for (image, variants) in by_age {
        let arch = match image.architecture.as_str() {
            "x86_64" => "amd64",
            "arm64" => "arm64",
            _ => continue,
        };
        let arch = Requirement {
            key: ARCH.to_owned(),
            operator: "In".to_owned(),
            values: vec![arch.to_owned()],
            ..Requirement::default()
        };
        let of_variants =
            variants.iter().map(|variant| [vec![arch.clone()], variant.requirements()].concat());
        let any = variants.is_empty().then(|| vec![arch.clone()]);
        for requirements in of_variants.chain(any) {
            if !out.iter().any(|known| known.requirements == requirements) {
                out.push(Image {
                    id: image.id.clone(),
                    name: Some(image.name.clone()),
                    deprecated: is_old(image).then_some(true),
                    requirements,
                    ..Image::default()
                });
            }
        }
    }
    out
}

/// A block is not to be counted on from 40 minutes before its end: EC2 takes its machines back ten minutes later.
///
/// Source: EC2 User Guide, "Capacity Blocks for ML": instances are terminated from 30 minutes before the end.
const EXPIRING_SECONDS: i64 = 40 * 60;

fn reservation(of: &FoundReservation, now: &str) -> Option<CapacityReservation> {
    let is_block = of.kind == "capacity-block";
    let seconds = |text: &str| Some(text.parse::<k8s_openapi::jiff::Timestamp>().ok()?.as_second());
    let left = of.end.as_deref().and_then(seconds).zip(seconds(now)).map(|(end, now)| end - now);
    // One that says not whose it is cannot be written down.
    let is_account = of.owner.len() == 12 && of.owner.bytes().all(|b| b.is_ascii_digit());
    is_account.then(|| CapacityReservation {
        id: of.id.clone(),
        availability_zone: of.zone.clone(),
        instance_type: of.instance_type.clone(),
        instance_match_criteria: of.match_criteria.clone(),
        owner_id: of.owner.clone(),
        reservation_type: if is_block { "capacity-block" } else { "default" }.to_owned(),
        interruptible: Some(of.interruptible),
        state: if is_block && left.is_some_and(|left| left <= EXPIRING_SECONDS) {
            "expiring"
        } else {
            "active"
        }
        .to_owned(),
        end_time: of.end.clone(),
        ..CapacityReservation::default()
    })
}
