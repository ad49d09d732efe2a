//! Volumes and claims: where they tie pods to, and what they take of nodes.

use stowage_cluster::UNLIMITED;
use stowage_solver::{Operator, Problem, Requirement};

use super::common::pod;
use super::{amounts, constraint, is_in, lowered, map, one};

pub(crate) const STORAGE: &str = r#"
    {"kind": "StorageClass", "metadata": {"name": "gp3"}, "provisioner": "ebs.csi.aws.com",
     "volumeBindingMode": "WaitForFirstConsumer", "allowedTopologies": [{"matchLabelExpressions": [
        {"key": "topology.ebs.csi.aws.com/zone", "values": ["us-east-1a", "us-east-1b"]}]}]},
    {"kind": "StorageClass", "metadata": {"name": "now"}, "provisioner": "ebs.csi.aws.com", "volumeBindingMode": "Immediate"},
    {"kind": "PersistentVolume", "metadata": {"name": "pv-1"}, "spec": {"csi": {"driver": "ebs.csi.aws.com"}, "nodeAffinity": {
        "required": {"nodeSelectorTerms": [{"matchExpressions": [
            {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["us-east-1a"]}]}]}}}},
    {"kind": "PersistentVolume", "metadata": {"name": "pv-2", "labels": {
        "failure-domain.beta.kubernetes.io/zone": "us-east-1a__us-east-1b"}}, "spec": {"awsElasticBlockStore": {}}},
    {"kind": "PersistentVolumeClaim", "metadata": {"name": "bound"}, "spec": {"volumeName": "pv-1"}},
    {"kind": "PersistentVolumeClaim", "metadata": {"name": "old"}, "spec": {"volumeName": "pv-2"}},
    {"kind": "PersistentVolumeClaim", "metadata": {"name": "lost"}, "spec": {"volumeName": "pv-9"}},
    {"kind": "PersistentVolumeClaim", "metadata": {"name": "fresh"}, "spec": {"storageClassName": "gp3"}},
    {"kind": "PersistentVolumeClaim", "metadata": {"name": "now"}, "spec": {"storageClassName": "now"}},
    {"kind": "PersistentVolumeClaim", "metadata": {"name": "odd"}, "spec": {"storageClassName": "none"}},
    {"kind": "PersistentVolumeClaim", "metadata": {"name": "plain"}, "spec": {}},
    {"kind": "PersistentVolumeClaim", "metadata": {"name": "going", "deletionTimestamp": "2026-01-01T00:00:00Z"}}"#;

fn with_claims(claims: &[&str]) -> Problem {
    let volumes: Vec<String> = claims
        .iter()
        .map(|c| format!(r#"{{"name": "v", "persistentVolumeClaim": {{"claimName": "{c}"}}}}"#))
        .collect();
    one(&format!(r#"{{"volumes": [{}]}}"#, volumes.join(",")), &[STORAGE])
}

fn not_migrated() -> Requirement {
    let key = "storage.alpha.kubernetes.io/migrated-plugins".to_owned();
    Requirement { key, op: Operator::DoesNotExist }
}

#[test]
fn volumes_bind_pods_to_zones_and_take_attach_slots() {
    let problem = with_claims(&["bound", "old", "fresh", "bound"]);
    let spec = &problem.specs[0];
    let zones = ["us-east-1a", "us-east-1b"];
    assert_eq!(
        spec.node,
        [
            constraint(
                "volume pv-1 of claim bound",
                vec![vec![is_in("topology.kubernetes.io/zone", &zones[..1])]]
            ),
            constraint(
                "volume pv-2 of claim old",
                vec![
                    vec![is_in("failure-domain.beta.kubernetes.io/zone", &zones)],
                    vec![is_in("topology.kubernetes.io/zone", &zones)],
                ]
            ),
            constraint(
                "volume pv-2 of claim old",
                vec![vec![is_in("topology.ebs.csi.aws.com/zone", &zones)], vec![not_migrated()]]
            ),
            constraint(
                "allowed topologies of claim fresh",
                vec![vec![is_in("topology.ebs.csi.aws.com/zone", &zones)]]
            ),
            constraint(
                "volume pv-1 of claim bound",
                vec![vec![is_in("topology.kubernetes.io/zone", &zones[..1])]]
            ),
        ]
    );
    assert_eq!(amounts(&problem, &spec.requests), map(&[("attachable-volumes-aws-ebs", 3), ("pods", 1)]));
    assert_eq!((spec.blocked.as_deref(), spec.unbound_claims.len()), (None, 0));
    let slots = |name: &str| {
        let found = problem.types.iter().find(|t| t.name == name).expect("in the catalogue");
        amounts(&problem, &found.allocatable)["attachable-volumes-aws-ebs"]
    };
    assert_eq!((slots("m7i.large"), slots("g5.xlarge")), (UNLIMITED, 20));
}

#[test]
fn claims_that_cannot_be_had_block_their_pods() {
    for (claim, reason) in [
        ("nowhere", "claim nowhere does not exist in namespace default"),
        ("going", "claim going is being deleted"),
        ("lost", "volume pv-9 of claim lost does not exist"),
        ("odd", "storage class none of claim odd does not exist"),
        ("now", "claim now is not bound although its storage class now binds immediately"),
        ("plain", "claim plain is not bound and names no storage class, and no storage class is the default"),
    ] {
        assert_eq!(with_claims(&["bound", claim]).specs[0].blocked.as_deref(), Some(reason), "{claim}");
    }
}

#[test]
fn unbound_claims_that_pods_share_keep_them_together() {
    let user = |name: &str, claim: &str| {
        pod(&format!(r#"{{"volumes": [{{"persistentVolumeClaim": {{"claimName": "{claim}"}}}}]}}"#))
            .replace("web", name)
    };
    let items = [STORAGE, &user("a", "fresh"), &user("b", "fresh"), &user("c", "bound"), &user("d", "bound")]
        .join(",");
    let problem = lowered(&items).problem;
    let shared: Vec<&[String]> =
        problem.pods.iter().map(|p| problem.specs[p.spec.index()].unbound_claims.as_slice()).collect();
    let fresh = ["default/fresh".to_owned()];
    assert_eq!(shared, [&fresh[..], &fresh[..], &[], &[]]);
}

#[test]
fn ephemeral_volumes_are_called_after_their_pods() {
    let spec = r#"{"volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {"storageClassName": "now"}}}}]}"#;
    let bound =
        r#"{"kind": "PersistentVolumeClaim", "metadata": {"name": "b-v"}, "spec": {"volumeName": "pv-1"}}"#;
    let pods = ["a", "b", "c"].map(|name| pod(spec).replace("web", name));
    let problem = lowered(&format!("{STORAGE}, {bound}, {}", pods.join(","))).problem;
    let constraints: Vec<usize> =
        problem.pods.iter().map(|p| problem.specs[p.spec.index()].node.len()).collect();
    assert_eq!(constraints, [0, 1, 0]);
    // Where nothing of the volumes differs, nothing tells the pods apart.
    assert_eq!(problem.pods[0].spec, problem.pods[2].spec);
    let slots: Vec<i64> =
        problem.specs.iter().map(|s| amounts(&problem, &s.requests)["attachable-volumes-aws-ebs"]).collect();
    assert_eq!(slots, [1, 1]);
}
