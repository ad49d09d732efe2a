use serde_json::{Value, json};
use stowage_api::crd::condition::{READY, find as condition_of, holds};

use stowage_api::crd::Ec2NodeClassStatus;
use stowage_api::crd::condition::{UNKNOWN, VALIDATION_SUCCEEDED};
use stowage_aws::{FoundGroup, FoundReservation, FoundSubnet};

use super::*;

const NOW: &str = "2026-01-01T00:00:00Z";

fn class(spec: &Value) -> Ec2NodeClass {
    let mut all = json!({
        "amiSelectorTerms": [{"name": "mine-*"}, {"id": "ami-9"}, {"tags": {"team": "a"}, "owner": "123456789012"}],
        "subnetSelectorTerms": [{"tags": {"karpenter.sh/discovery": "*"}}],
        "securityGroupSelectorTerms": [{"id": "sg-1"}, {"name": "nodes"}],
        "amiFamily": "Custom",
        "instanceProfile": "nodes",
    });
    for (key, value) in spec.as_object().into_iter().flatten() {
        all[key] = value.clone();
    }
    serde_json::from_value(json!({
        "apiVersion": "karpenter.k8s.aws/v1", "kind": "EC2NodeClass",
        "metadata": {"name": "default", "generation": 3}, "spec": all,
    }))
    .expect("a class")
}

fn image(id: &str, architecture: &str, created: &str, deprecated: Option<&str>) -> FoundImage {
    FoundImage {
        id: id.to_owned(),
        name: id.to_owned(),
        architecture: architecture.to_owned(),
        created: created.to_owned(),
        deprecated: deprecated.map(str::to_owned),
    }
}

fn found() -> Found {
    let subnet = |id: &str, zone: &str, free| FoundSubnet {
        id: id.to_owned(),
        zone: zone.to_owned(),
        zone_id: "use1-az1".to_owned(),
        free,
    };
    Found {
        subnets: vec![subnet("subnet-a", "us-east-1a", 5), subnet("subnet-b", "us-east-1b", 50)],
        groups: vec![("sg-1".to_owned(), "nodes".to_owned())],
        images: vec![
            image("ami-new", "x86_64", "2025-12-01", Some("2025-12-31T00:00:00Z")),
            image("ami-mid", "x86_64", "2025-11-01", None),
            image("ami-arm", "arm64", "2025-10-01", None),
            image("ami-old", "x86_64", "2025-01-01", None),
        ]
        .into_iter()
        .map(|image| (image, Vec::new()))
        .collect(),
        profile: Some("nodes".to_owned()),
        ..Found::default()
    }
}

fn of(class: &Ec2NodeClass, found: &Found) -> Ec2NodeClassStatus {
    concluded(class, found, Held::Yes, NOW)
}

fn concluded(class: &Ec2NodeClass, found: &Found, valid: Held, now: &str) -> Ec2NodeClassStatus {
    let mut status = status(class, &searches(&class.spec, (1, 35)), found, now);
    conclude(&mut status, valid, class, now);
    status
}

#[test]
fn terms_become_searches_and_names_are_not_trusted_to_anybody() {
    let searches = searches(&class(&json!({})).spec, (1, 35));
    assert_eq!(searches.subnets[0].tags["karpenter.sh/discovery"], "*");
    assert_eq!(searches.groups[0].id.as_deref(), Some("sg-1"));
    assert_eq!(searches.groups[1].name.as_deref(), Some("nodes"));
    let owners: Vec<Vec<&str>> =
        searches.images.iter().map(|s| s.owners.iter().map(String::as_str).collect()).collect();
    assert_eq!(owners, [vec!["self", "amazon"], vec![], vec!["123456789012"]]);
}

#[test]
fn what_is_found_makes_a_class_ready() {
    let status = of(&class(&json!({})), &found());
    assert!(holds(&status.conditions, READY), "{:?}", status.conditions);
    assert_eq!(status.subnets.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["subnet-b", "subnet-a"]);
    let images: Vec<&str> = status.amis.iter().map(|image| image.id.as_str()).collect();
    assert_eq!(images, ["ami-mid", "ami-arm"], "the newest of each architecture that is not deprecated");
    assert_eq!(status.instance_profile.as_deref(), Some("nodes"));
    assert_eq!(condition_of(&status.conditions, READY).and_then(|c| c.observed_generation), Some(3));

    // Looked up again a minute later, nothing has changed: nothing is written.
    let known = Ec2NodeClass { status: Some(status.clone()), ..class(&json!({})) };
    assert_eq!(concluded(&known, &found(), Held::Yes, "2026-01-01T00:01:00Z"), status);
}

#[test]
fn what_is_not_found_is_a_condition_with_a_reason() {
    let reason = |class: &Ec2NodeClass, found: &Found, kind: &str| {
        let status = of(class, found);
        assert!(!holds(&status.conditions, READY));
        condition_of(&status.conditions, kind).map(|c| c.reason.clone()).unwrap_or_default()
    };
    let plain = class(&json!({}));
    assert_eq!(reason(&plain, &Found::default(), SUBNETS_READY), "SubnetsNotFound");
    assert_eq!(reason(&plain, &Found::default(), SECURITY_GROUPS_READY), "SecurityGroupsNotFound");
    assert_eq!(reason(&plain, &Found::default(), AMIS_READY), "AMINotFound");
    let alias = class(&json!({"amiSelectorTerms": [{"alias": "al2@latest"}]}));
    assert_eq!(reason(&alias, &found(), AMIS_READY), "UnsupportedAlias");
    let role = class(&json!({"instanceProfile": null, "role": "nodes"}));
    let none = Found { profile: None, ..found() };
    assert_eq!(reason(&role, &none, INSTANCE_PROFILE_READY), "InstanceProfileNotFound");
    let placed = class(&json!({"placementGroupSelector": {"name": "close"}}));
    assert_eq!(reason(&placed, &found(), PLACEMENT_GROUP_READY), "PlacementGroupNotFound");
    let group = |state: &str| FoundGroup { state: state.to_owned(), ..FoundGroup::default() };
    let deleting = Found { placement: Some(group("deleting")), ..found() };
    assert_eq!(reason(&placed, &deleting, PLACEMENT_GROUP_READY), "PlacementGroupNotFound");
    let there = Found { placement: Some(group("available")), ..found() };
    assert!(holds(&of(&placed, &there).conditions, READY));
}

#[test]
fn images_of_an_alias_are_for_the_hardware_that_it_names() {
    let mut found = found();
    found.images = vec![
        (image("ami-std", "x86_64", "2025-12-01", None), vec![Variant::Standard]),
        (image("ami-gpu", "x86_64", "2025-12-01", None), vec![Variant::Neuron, Variant::Nvidia]),
        (image("ami-arm", "arm64", "2025-12-01", None), vec![Variant::Standard]),
        (image("ami-older", "x86_64", "2025-11-01", None), vec![Variant::Standard]),
    ];
    let status = of(&class(&json!({})), &found);
    let said: Vec<String> = status
        .amis
        .iter()
        .map(|ami| {
            let of = ami.requirements.iter().map(|r| {
                format!(
                    "{} {} {}",
                    r.key.rsplit('/').next().unwrap_or_default(),
                    r.operator,
                    r.values.join(",")
                )
            });
            format!("{}: {}", ami.id, of.collect::<Vec<_>>().join("; "))
        })
        .collect();
    assert_eq!(
        said,
        [
            "ami-std: arch In amd64; instance-accelerator-count DoesNotExist ; instance-gpu-count DoesNotExist ",
            "ami-gpu: arch In amd64; instance-accelerator-count Exists ",
            "ami-gpu: arch In amd64; instance-gpu-count Exists ",
            "ami-arm: arch In arm64; instance-accelerator-count DoesNotExist ; instance-gpu-count DoesNotExist ",
        ]
    );
}

#[test]
fn what_aws_does_not_say_stays_as_it_was() {
    let plain = class(&json!({}));
    let refused = Found {
        refused: BTreeMap::from([(
            SUBNETS_READY,
            "DescribeSubnets: RequestLimitExceeded: slow down".to_owned(),
        )]),
        subnets: Vec::new(),
        ..found()
    };
    let first = of(&plain, &refused);
    let subnets = condition_of(&first.conditions, SUBNETS_READY).expect("a condition");
    assert_eq!((subnets.status.as_str(), subnets.reason.as_str()), (UNKNOWN, "NotAsked"));
    assert!(subnets.message.contains("RequestLimitExceeded"));
    let known = Ec2NodeClass { status: Some(of(&plain, &found())), ..plain };
    let later = of(&known, &refused);
    assert!(holds(&later.conditions, READY));
    assert_eq!(later.subnets.len(), 2);
}

#[test]
fn what_trials_say_decides_whether_a_class_is_ready() {
    let plain = class(&json!({}));
    let said = |held: Held| {
        let status = concluded(&plain, &found(), held, NOW);
        let valid = condition_of(&status.conditions, VALIDATION_SUCCEEDED).expect("a condition").clone();
        (valid.status, valid.reason, holds(&status.conditions, READY))
    };
    let no = Held::No("RunInstancesAuthCheckFailed", "not allowed".to_owned());
    assert_eq!(said(no), ("False".to_owned(), "RunInstancesAuthCheckFailed".to_owned(), false));
    let open = Held::Open("DependenciesNotReady", "wait".to_owned());
    assert_eq!(said(open), (UNKNOWN.to_owned(), "DependenciesNotReady".to_owned(), false));
    assert!(said(Held::Yes).2);
}

#[test]
fn reservations_that_are_found_are_written_down_with_their_end() {
    let reservation = |kind: &str, end: Option<&str>, owner: &str| FoundReservation {
        id: "cr-1".to_owned(),
        kind: kind.to_owned(),
        end: end.map(str::to_owned),
        owner: owner.to_owned(),
        match_criteria: "open".to_owned(),
        ..FoundReservation::default()
    };
    let state = |of: FoundReservation| {
        let found = Found { reservations: vec![of], ..found() };
        let status = super::status(&class(&json!({})), &Searches::default(), &found, NOW);
        status.capacity_reservations.first().map(|r| format!("{} {}", r.reservation_type, r.state))
    };
    let (soon, late) = (Some("2026-01-01T00:40:00Z"), Some("2026-01-01T00:40:01Z"));
    let owner = "123456789012";
    assert_eq!(state(reservation("default", None, owner)).as_deref(), Some("default active"));
    assert_eq!(state(reservation("default", soon, owner)).as_deref(), Some("default active"));
    assert_eq!(state(reservation("capacity-block", soon, owner)).as_deref(), Some("capacity-block expiring"));
    assert_eq!(state(reservation("capacity-block", late, owner)).as_deref(), Some("capacity-block active"));
    assert_eq!(state(reservation("default", None, "")), None);
}
