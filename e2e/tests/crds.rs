//! The custom resources on a real API server: what it takes and refuses, what it fills in, and what it shows.

use serde_json::{Value, json};
use stowage_e2e::{ControlPlane, Options, crds};

#[test]
fn objects_are_taken_and_refused_as_documented() {
    let plane = ControlPlane::start(&Options::default()).unwrap();
    let client = plane.client();
    crds::install(client).unwrap();
    let (mut tried, mut refused, mut wrong) = (0, 0, Vec::new());
    for (path, text) in crds::texts(&crds::root().join("e2e/crds")).unwrap() {
        let file = path.file_stem().unwrap().to_string_lossy().into_owned();
        let suite = crds::Suite::read(&text).unwrap_or_else(|e| panic!("{}: {e:#}", path.display()));
        for case in &suite.cases {
            tried += 1;
            refused += usize::from(case.is_refused());
            if let Some(problem) = case.wrong(client, &suite.collection).unwrap() {
                wrong.push(format!("{file}: {}: {problem}", case.name));
            }
        }
        // What people are shown.
        let table = client.table(&suite.collection).unwrap();
        let columns: Value =
            table["columnDefinitions"].as_array().unwrap().iter().map(|c| c["name"].clone()).collect();
        if columns != suite.columns {
            wrong.push(format!("{file}: has the columns {columns}, not {}", suite.columns));
        }
    }
    assert!(wrong.is_empty(), "{} of {tried} cases:\n{}", wrong.len(), wrong.join("\n"));
    assert!(tried >= 150 && refused >= 50 && tried - refused >= 50, "{tried} cases, {refused} refused");
    println!("{tried} cases, {refused} of them refused");
}

#[test]
fn kinds_are_found_by_their_short_names_and_categories() {
    let plane = ControlPlane::start(&Options::default()).unwrap();
    let client = plane.client();
    crds::install(client).unwrap();
    let found = |group: &str, kind: &str| {
        let resources = client.get(&format!("/apis/{group}")).unwrap();
        let resources = resources["resources"].as_array().unwrap();
        let names: Vec<&str> =
            resources.iter().filter(|r| r["kind"] == kind).filter_map(|r| r["name"].as_str()).collect();
        let main = resources.iter().find(|r| r["kind"] == kind).unwrap();
        json!([names, main["shortNames"], main["categories"], main["namespaced"]])
    };
    assert_eq!(
        found("karpenter.sh/v1", "NodePool"),
        json!([["nodepools", "nodepools/status"], null, ["karpenter"], false])
    );
    assert_eq!(
        found("karpenter.sh/v1", "NodeClaim"),
        json!([["nodeclaims", "nodeclaims/status"], null, ["karpenter"], false])
    );
    assert_eq!(
        found("karpenter.sh/v1alpha1", "NodeOverlay"),
        json!([["nodeoverlays", "nodeoverlays/status"], ["overlays"], ["karpenter"], false])
    );
    assert_eq!(
        found("autoscaling.x-k8s.io/v1beta1", "CapacityBuffer"),
        json!([["capacitybuffers", "capacitybuffers/status"], ["cb"], ["autoscaling"], true])
    );
    assert_eq!(
        found("karpenter.k8s.aws/v1", "EC2NodeClass"),
        json!([["ec2nodeclasses", "ec2nodeclasses/status"], ["ec2nc", "ec2ncs"], ["karpenter"], false])
    );
    assert_eq!(
        found("stowage.dev/v1alpha1", "FargatePolicy"),
        json!([["fargatepolicies", "fargatepolicies/status"], ["fgp"], ["stowage"], true])
    );
    assert_eq!(
        found("stowage.dev/v1alpha1", "ClusterFargatePolicy"),
        json!([["clusterfargatepolicies", "clusterfargatepolicies/status"], ["cfgp"], ["stowage"], false])
    );
    // `kubectl scale nodepool`.
    let scale = found("karpenter.sh/v1", "Scale");
    assert_eq!(scale[0], json!(["nodepools/scale"]));
}
