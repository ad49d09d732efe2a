//! What pods would like, from Kubernetes' words to a plan.
#![expect(clippy::panic, reason = "a helper of tests fails the test")]

mod common;

use std::sync::atomic::AtomicBool;

use common::{catalog, list, read_bytes};
use stowage_cluster::{LowerOptions, Lowered, Note, PreferencePolicy, lower};
use stowage_solver::{Options, Preference, Solution, TopologyKey, solve};

fn lowered(items: &str, preferences: PreferencePolicy) -> Lowered {
    let snapshot = read_bytes(list(items).as_bytes()).unwrap_or_else(|e| panic!("{e}"));
    let options = LowerOptions { preferences, ..LowerOptions::default() };
    lower(&snapshot, catalog(), &options).unwrap_or_else(|e| panic!("{e}"))
}

fn plan(lowered: &Lowered) -> Solution {
    solve(&lowered.problem, &Options::default(), &AtomicBool::new(false), &mut |_, _, _| {})
        .unwrap_or_else(|violations| panic!("{violations:?}"))
}

/// A pod `default/<name>` labelled `app=web`.
fn pod(name: &str, spec: &str) -> String {
    format!(
        r#"{{"kind": "Pod", "metadata": {{"name": "{name}", "labels": {{"app": "web"}}}}, "spec": {spec}}}"#
    )
}

const ALL: &str = r#"{
    "tolerations": [{"key": "fine", "operator": "Exists"}],
    "topologySpreadConstraints": [
        {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway"},
        {"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule"}],
    "affinity": {
        "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "preference": {"matchExpressions": [{"key": "light", "operator": "Exists"}]}},
            {"weight": 9, "preference": {"matchExpressions": [{"key": "heavy", "operator": "Exists"}]}},
            {"weight": 5, "preference": {}}]},
        "podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 9, "podAffinityTerm": {"topologyKey": "heavy", "labelSelector": {}}},
            {"weight": 1, "podAffinityTerm": {"topologyKey": "light", "labelSelector": {}}}]},
        "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "podAffinityTerm": {"topologyKey": "own", "labelSelector": {"matchLabels": {"app": "web"}}}},
            {"weight": 2, "podAffinityTerm": {"topologyKey": "other", "labelSelector": {"matchLabels": {"app": "db"}}}}]}}}"#;

const SOFT: &str = r#"{"kind": "NodePool", "metadata": {"name": "soft"}, "spec": {"template": {"spec": {"taints": [
    {"key": "fine", "effect": "PreferNoSchedule"}, {"key": "soft", "value": "x", "effect": "PreferNoSchedule"}]}}}}"#;

/// A preference in a word.
fn word(preference: &Preference) -> String {
    let key = |key: &TopologyKey| match key {
        TopologyKey::Host => "host".to_owned(),
        TopologyKey::Label(label) => label.clone(),
    };
    match preference {
        Preference::Node(wish) => format!("node {}", wish.any_of[0][0].key),
        Preference::Untainted(wish) => format!("no {}", wish.any_of[0][0].key),
        Preference::Near(term) => format!("near {}", key(&term.key)),
        Preference::Away(term) => format!("away {}", key(&term.key)),
        Preference::Spread(spread) => format!("spread {} {}", key(&spread.key), spread.max_skew),
    }
}

#[test]
fn preferences_stand_in_the_order_in_which_they_are_given_up() {
    let items = [pod("web", ALL), SOFT.to_owned()].join(",");
    let Lowered { problem, notes, .. } = lowered(&items, PreferencePolicy::Respect);
    let spec = &problem.specs[problem.pods[0].spec.index()];
    assert_eq!(
        spec.preferences.iter().map(word).collect::<Vec<_>>(),
        [
            "near light",
            "near heavy",
            "spread own 1",
            "away other",
            "node heavy",
            "node light",
            "spread topology.kubernetes.io/zone 1",
            "no stowage.dev/prefer-no-schedule:soft=x"
        ]
    );
    assert_eq!((spec.spread.len(), spec.node.len(), notes), (1, 0, vec![]));
    let marks = problem.pools[0].labels.keys().filter(|key| key.starts_with("stowage.dev/"));
    assert_eq!(marks.count(), 2);
}

#[test]
fn ignored_preferences_are_told_of_and_gone() {
    let items = [pod("web", ALL), SOFT.to_owned()].join(",");
    let Lowered { problem, notes, .. } = lowered(&items, PreferencePolicy::Ignore);
    assert!(problem.specs.iter().all(|spec| spec.preferences.is_empty()));
    assert_eq!(notes, [Note::PreferencesIgnored { count: 1, example: "default/web".to_owned() }]);
    assert_eq!(notes[0].to_string(), "preferences of 1 pod are ignored, as asked for (default/web)");
}

#[test]
fn pods_keep_off_a_soft_taint_where_another_pool_has_room_for_them() {
    let pool = r#"{"kind": "NodePool", "metadata": {"name": "plain"}, "spec": {"limits": {"nodes": 1},
        "template": {"spec": {"requirements": [
            {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["m7i.large"]}]}}}}"#;
    let web = |n: usize| {
        pod(&format!("web-{n}"), r#"{"containers": [{"resources": {"requests": {"cpu": "900m"}}}]}"#)
    };
    let items = [web(0), web(1), web(2), SOFT.to_owned(), pool.to_owned()].join(",");
    let lowered = lowered(&items, PreferencePolicy::Respect);
    let solution = plan(&lowered);
    let mut pods: Vec<(&str, usize)> = solution
        .new_nodes
        .iter()
        .map(|n| (lowered.problem.pools[n.pool.index()].name.as_str(), n.pods.len()))
        .collect();
    pods.sort_unstable();
    assert_eq!(pods, [("plain", 2), ("soft", 1)]);
    assert_eq!(solution.preferences.map(|p| (p.pods, p.given_up.len())), Some((3, 1)));
}

#[test]
fn running_pods_have_no_preferences_any_more() {
    let node = r#"{"kind": "Node", "metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "20"}}}"#;
    let running = pod("old", ALL).replace(r#""spec": {"#, r#""spec": {"nodeName": "n", "#);
    let Lowered { problem, .. } = lowered(&[running, node.to_owned()].join(","), PreferencePolicy::Respect);
    assert!(problem.specs.iter().all(|spec| spec.preferences.is_empty()));
    assert_eq!(problem.nodes[0].pods.len(), 1);
}
