use serde_json::{Value, json};
use stowage_api::crd::condition::{READY, find as condition_of, holds};

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
        ],
    }
}

fn of(class: &Ec2NodeClass, found: &Found) -> Ec2NodeClassStatus {
    status(class, &searches(&class.spec), found, NOW)
}

#[test]
fn terms_become_searches_and_names_are_not_trusted_to_anybody() {
    let searches = searches(&class(&json!({})).spec);
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
    assert_eq!(super::status(&known, &searches(&known.spec), &found(), "2026-01-01T00:01:00Z"), status);
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
    let alias = class(&json!({"amiSelectorTerms": [{"alias": "al2023@latest"}]}));
    assert_eq!(reason(&alias, &found(), AMIS_READY), "UnsupportedTerm");
    let role = class(&json!({"instanceProfile": null, "role": "nodes"}));
    assert_eq!(reason(&role, &found(), INSTANCE_PROFILE_READY), "InstanceProfileNotFound");
}
