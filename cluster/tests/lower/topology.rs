//! Rules between pods: spread, affinity and anti-affinity.

use stowage_cluster::{Lowered, Note};
use stowage_solver::{Operator, PodSelector, Requirement, TopologyKey};

use super::{is_in, lowered};

#[test]
fn spread_and_affinity_are_lowered_fully() {
    let items = r#"{"kind": "Namespace", "metadata": {"name": "shop", "labels": {"tier": "front"}}},
        {"kind": "Namespace", "metadata": {"name": "lab"}},
        {"kind": "Pod", "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web", "v": "2"}}, "spec": {
            "topologySpreadConstraints": [
                {"maxSkew": 2, "minDomains": 3, "topologyKey": "topology.kubernetes.io/zone", "matchLabelKeys": ["v", "none"],
                 "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "web"}}},
                {"topologyKey": "kubernetes.io/hostname", "nodeAffinityPolicy": "Ignore", "nodeTaintsPolicy": "Honor"},
                {"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "ScheduleAnyway"}],
            "affinity": {
                "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                    {"topologyKey": "rack", "labelSelector": {}, "namespaceSelector": {"matchLabels": {"tier": "front"}},
                     "namespaces": ["lab"], "mismatchLabelKeys": ["v"]}],
                    "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": {"topologyKey": "rack"}}]},
                "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                    {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchExpressions": [
                        {"key": "app", "operator": "In", "values": ["web", "api", "web"]}]}},
                    {"topologyKey": "rack", "namespaceSelector": {}}]}}}},
        {"kind": "Pod", "metadata": {"name": "web-1", "namespace": "shop", "labels": {"app": "web", "v": "2"}}},
        {"kind": "Pod", "metadata": {"name": "web-2", "namespace": "shop", "labels": {"app": "web", "v": "2"}}}"#;
    let Lowered { problem, notes, .. } = lowered(items);
    let spec = &problem.specs[0];
    let own = |labels| PodSelector { namespaces: vec!["shop".to_owned()], labels };
    let not_in = Requirement { key: "v".to_owned(), op: Operator::NotIn(vec!["2".to_owned()]) };
    let rack = || TopologyKey::Label("rack".to_owned());

    assert_eq!(spec.spread.len(), 2);
    assert_eq!((spec.spread[0].max_skew, spec.spread[0].min_domains), (2, 3));
    assert_eq!(spec.spread[0].selector, own(Some(vec![is_in("app", &["web"]), is_in("v", &["2"])])));
    assert!(spec.spread[0].honor_node_affinity && !spec.spread[0].honor_taints);
    assert_eq!((spec.spread[1].key.clone(), spec.spread[1].max_skew), (TopologyKey::Host, 1));
    assert_eq!(spec.spread[1].selector, own(None));
    assert!(!spec.spread[1].honor_node_affinity && spec.spread[1].honor_taints);

    let namespaces = vec!["lab".to_owned(), "shop".to_owned()];
    assert_eq!(spec.affinity[0].key, rack());
    assert_eq!(
        spec.affinity[0].selector,
        PodSelector { namespaces: namespaces.clone(), labels: Some(vec![not_in]) }
    );
    assert_eq!(spec.anti_affinity[0].selector, own(Some(vec![is_in("app", &["api", "web"])])));
    assert_eq!(spec.anti_affinity[1].selector, PodSelector { namespaces, labels: None });

    assert_eq!(spec.preferences.len(), 2);
    assert_eq!(notes, [Note::DefaultNodePool]);
}

#[test]
fn match_label_keys_tell_pods_of_one_spec_apart() {
    let of = |name: &str, v: &str| {
        format!(
            r#"{{"kind": "Pod", "metadata": {{"name": "{name}", "labels": {{"v": "{v}"}}}}, "spec": {{
               "topologySpreadConstraints": [{{"topologyKey": "z", "labelSelector": {{}}, "matchLabelKeys": ["v"]}}]}}}}"#
        )
    };
    let problem = lowered(&[of("a", "1"), of("b", "2"), of("c", "1")].join(",")).problem;
    let specs: Vec<usize> = problem.pods.iter().map(|p| p.spec.index()).collect();
    assert_eq!(specs, [0, 1, 0]);
    assert_eq!(problem.label_sets.len(), 2);
}
