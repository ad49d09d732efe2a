//! What is decided about a pod before its rules are: whose business it is, what is added to it, and for which pods
//! kube-scheduler makes room.
#![expect(clippy::panic, reason = "a helper of tests fails the test")]

mod common;

use common::{catalog, list, read_bytes};
use stowage_cluster::object::{SpreadConstraint, Unsatisfiable};
use stowage_cluster::{LeftOut, LowerOptions, Lowered, Note, list_nominated, lower};
use stowage_solver::{Operator, PodId, PodSpec, Preference, Problem, Solution, TopologyKey};

fn lowered_with(items: &str, options: &LowerOptions) -> Lowered {
    let snapshot = read_bytes(list(items).as_bytes()).unwrap_or_else(|e| panic!("{e}"));
    lower(&snapshot, catalog(), options).unwrap_or_else(|e| panic!("{e}"))
}

fn lowered(items: &[&str]) -> Lowered {
    lowered_with(&items.join(","), &LowerOptions::default())
}

/// A pod `default/<name>` asking for so many milli-CPU; `spec` and `status` add to it.
fn pod(name: &str, millis: u32, spec: &str, status: &str) -> String {
    let requests = format!(r#""containers": [{{"resources": {{"requests": {{"cpu": "{millis}m"}}}}}}]"#);
    format!(
        r#"{{"kind": "Pod", "metadata": {{"name": "{name}", "labels": {{"app": "web", "statefulset.kubernetes.io/pod-name": "{name}"}}}},
            "spec": {{{requests}{spec}}}, "status": {{{status}}}}}"#
    )
}

const NODE: &str = r#"{"kind": "Node", "metadata": {"name": "n", "labels": {"disk": "ssd"}},
    "status": {"allocatable": {"cpu": "2", "memory": "8Gi", "pods": "20"}}}"#;

fn names(problem: &Problem) -> Vec<&str> {
    problem.pods.iter().map(|p| p.name.as_str()).collect()
}

fn spec_of<'p>(problem: &'p Problem, name: &str) -> &'p PodSpec {
    let pod = problem.pods.iter().find(|p| p.name == name).unwrap_or_else(|| panic!("no pod {name}"));
    &problem.specs[pod.spec.index()]
}

fn on_node(problem: &Problem) -> (Vec<&str>, i64) {
    let node = &problem.nodes[0];
    let cpu = problem
        .resources
        .iter()
        .position(|r| r == "cpu")
        .map_or(0, |at| node.used.get(stowage_solver::ResourceId::of(at)));
    (node.pods.iter().map(|p| p.name.as_str()).collect(), cpu)
}

#[test]
fn nominated_pods_count_as_on_their_node() {
    let there = pod("there", 500, "", r#""nominatedNodeName": "n""#);
    let lost = pod("lost", 500, "", r#""nominatedNodeName": "gone""#);
    let Lowered { mut problem, nominated, .. } = lowered(&[&there, &lost, NODE]);
    assert_eq!(names(&problem), ["default/lost"]);
    assert_eq!(on_node(&problem), (vec!["default/there"], 500));
    // In the plan it stands with the pending pods.
    let mut solution = Solution::default();
    list_nominated(&mut problem, &mut solution, &nominated);
    assert_eq!(names(&problem), ["default/lost", "default/there"]);
    assert_eq!((solution.placements[0].pods.as_slice(), on_node(&problem)), (&[PodId(1)][..], (vec![], 0)));
}

#[test]
fn pods_of_other_schedulers_and_of_kubelets_are_left_alone() {
    let other = pod("other", 1, r#", "schedulerName": "yunikorn""#, "");
    let ours = pod("ours", 1, r#", "schedulerName": "default-scheduler""#, "");
    let mirror = r#"{"kind": "Pod", "metadata": {"name": "static", "ownerReferences": [{"kind": "Node", "name": "n"}]}}"#;
    let items = [other.as_str(), &ours, mirror];
    let Lowered { problem, notes, .. } = lowered(&items);
    assert_eq!(names(&problem), ["default/ours"]);
    for (why, name) in [(LeftOut::OtherScheduler, "other"), (LeftOut::Mirror, "static")] {
        let note = Note::LeftOut { why, count: 1, example: format!("default/{name}") };
        assert!(notes.contains(&note), "{notes:?}");
    }
    let options = LowerOptions { schedulers: vec!["yunikorn".to_owned()], ..LowerOptions::default() };
    assert_eq!(names(&lowered_with(&items.join(","), &options).problem), ["default/other", "default/ours"]);
}

#[test]
fn a_runtime_class_adds_overhead_nodes_and_tolerations() {
    let class = r#"{"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "kata"},
        "overhead": {"podFixed": {"cpu": "250m"}},
        "scheduling": {"nodeSelector": {"kata": "yes"}, "tolerations": [{"key": "kata", "operator": "Exists"}]}}"#;
    let plain = pod("plain", 100, r#", "runtimeClassName": "kata""#, "");
    let merged = pod(
        "merged",
        100,
        r#", "runtimeClassName": "kata", "overhead": {"cpu": "250m"}, "nodeSelector": {"kata": "yes"},
            "tolerations": [{"key": "kata", "operator": "Exists"}]"#,
        "",
    );
    let Lowered { problem, notes, .. } = lowered(&[&plain, &merged, class]);
    assert_eq!(notes, [Note::DefaultNodePool]);
    let spec = spec_of(&problem, "default/plain");
    assert_eq!((spec.node.len(), spec.tolerations.len()), (1, 1));
    assert_eq!(spec.requests.iter().map(|(_, n)| n).max(), Some(350));
    // What the API server has merged already is not merged twice.
    assert_eq!(spec, spec_of(&problem, "default/merged"));
    let Lowered { notes, .. } = lowered(&[&plain]);
    assert!(notes.iter().any(|n| n.to_string().contains("runtime classes that are not in the snapshot")));
}

#[test]
fn the_schedulers_default_spread_is_for_replicas_that_state_none() {
    let owned = r#""ownerReferences": [{"kind": "StatefulSet", "name": "web"}], "name""#;
    let replica = pod("replica", 1, "", "").replacen(r#""name""#, owned, 1);
    let stating = r#", "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "rack"}]"#;
    let own = pod("own", 1, stating, "").replacen(r#""name""#, owned, 1);
    let alone = pod("alone", 1, "", "");
    let constraint = |key: &str, when_unsatisfiable| SpreadConstraint {
        topology_key: key.to_owned(),
        max_skew: 2,
        when_unsatisfiable,
        ..SpreadConstraint::default()
    };
    let options = LowerOptions {
        default_spread: vec![
            constraint("zone", Unsatisfiable::DoNotSchedule),
            constraint("kubernetes.io/hostname", Unsatisfiable::ScheduleAnyway),
        ],
        ..LowerOptions::default()
    };
    let problem = lowered_with(&[replica, own, alone].join(","), &options).problem;
    let keys = |name: &str| -> Vec<String> {
        let key = |key: &TopologyKey| match key {
            TopologyKey::Host => "host".to_owned(),
            TopologyKey::Label(label) => label.clone(),
        };
        let spec = spec_of(&problem, name);
        let soft = spec.preferences.iter().filter_map(|p| match p {
            Preference::Spread(spread) => Some(format!("soft {}", key(&spread.key))),
            _ => None,
        });
        spec.spread.iter().map(|s| key(&s.key)).chain(soft).collect()
    };
    assert_eq!(keys("default/replica"), ["zone", "soft host"]);
    assert_eq!(keys("default/own"), ["rack"]);
    assert_eq!(keys("default/alone"), Vec::<String>::new());
    // The label that only one pod of the set has selects nobody.
    let selector = spec_of(&problem, "default/replica").spread[0].selector.labels.clone().unwrap_or_default();
    assert_eq!(selector.len(), 1);
    assert_eq!((selector[0].key.as_str(), &selector[0].op), ("app", &Operator::In(vec!["web".to_owned()])));
}

/// Running pods of priorities 0, 5 and 9 that fill the node but for 200 milli-CPU.
fn full() -> String {
    let bound = |name: &str, millis, priority| {
        pod(name, millis, &format!(r#", "nodeName": "n", "priority": {priority}"#), r#""phase": "Running""#)
    };
    [bound("low", 600, 0), bound("mid", 600, 5), bound("high", 600, 9), NODE.to_owned()].join(",")
}

fn blocked<'p>(problem: &'p Problem, name: &str) -> Option<&'p str> {
    spec_of(problem, name).blocked.as_deref()
}

#[test]
fn a_pod_that_preempts_gets_no_node_and_takes_as_few_places_as_it_can() {
    let pending = pod("urgent", 800, r#", "priority": 9"#, "");
    let problem = lowered(&[&pending, &full()]).problem;
    let why = "kube-scheduler makes room for it on node n: default/low of lower priority must go";
    assert_eq!(blocked(&problem, "default/urgent"), Some(why));
    assert_eq!(on_node(&problem), (vec!["default/mid", "default/high", "default/urgent"], 2000));

    let pending = pod("urgent", 1300, r#", "priority": 9"#, "");
    let problem = lowered(&[&pending, &full()]).problem;
    assert!(blocked(&problem, "default/urgent").is_some_and(|why| why.contains("default/low and 1 more")));
    assert_eq!(on_node(&problem), (vec!["default/high", "default/urgent"], 1900));
}

#[test]
fn pods_that_cannot_preempt_get_a_node() {
    let never = r#"{"kind": "PriorityClass", "metadata": {"name": "polite"}, "value": 9, "preemptionPolicy": "Never"}"#;
    let refused = r#""conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]"#;
    let spread = r#", "priority": 9, "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "rack"}]"#;
    for (why, pending) in [
        ("fits as it is", pod("p", 200, r#", "priority": 9"#, "")),
        ("no pod is of lower priority", pod("p", 800, "", "")),
        ("too big even then", pod("p", 1500, r#", "priority": 9"#, "")),
        ("its policy", pod("p", 800, r#", "priority": 9, "preemptionPolicy": "Never""#, "")),
        ("the policy of its class", pod("p", 800, r#", "priorityClassName": "polite""#, "")),
        ("tried in vain", pod("p", 800, r#", "priority": 9"#, refused)),
        (
            "a node that it does not want",
            pod("p", 800, r#", "priority": 9, "nodeSelector": {"disk": "hdd"}"#, ""),
        ),
        ("rules about other pods", pod("p", 800, spread, "")),
    ] {
        let problem = lowered(&[&pending, &full(), never]).problem;
        assert_eq!(blocked(&problem, "default/p"), None, "{why}");
        assert_eq!(on_node(&problem).0.len(), 3, "{why}");
    }
}

#[test]
fn of_several_nodes_the_one_with_the_lowest_victims_is_taken() {
    let second = NODE.replace(r#""name": "n""#, r#""name": "m""#);
    let lowest = pod("lowest", 1900, r#", "nodeName": "m", "priority": -1"#, "");
    let pending = pod("urgent", 800, r#", "priority": 9"#, "");
    let problem = lowered(&[&pending, &full(), &second, &lowest]).problem;
    assert!(blocked(&problem, "default/urgent").is_some_and(|why| why.contains("on node m: default/lowest")));
}

/// Who is pending, and who is nominated.
fn waiting(lowered: &Lowered) -> (Vec<&str>, Vec<&str>) {
    (
        lowered.problem.pods.iter().map(|pod| pod.name.as_str()).collect(),
        lowered.nominated.iter().map(|n| n.pod.as_str()).collect(),
    )
}

fn nominated(name: &str, millis: u32, priority: i32) -> String {
    pod(name, millis, &format!(r#", "priority": {priority}"#), r#""nominatedNodeName": "n""#)
}

#[test]
fn a_nomination_holds_its_room_against_pods_that_are_no_more_important() {
    for priority in [5, 4] {
        let pending = pod("p", 800, &format!(r#", "priority": {priority}"#), "");
        let lowered = lowered(&[&pending, &nominated("held", 1500, 5), NODE]);
        assert_eq!(waiting(&lowered), (vec!["default/p"], vec!["default/held"]), "{priority}");
    }
}

#[test]
fn a_more_important_pod_takes_the_room_of_the_least_important_nominations() {
    let pending = pod("p", 800, r#", "priority": 9"#, "");
    let (light, heavy) = (nominated("light", 700, 1), nominated("heavy", 1000, 2));
    let some = lowered(&[&pending, &light, &heavy, NODE]);
    assert_eq!(waiting(&some), (vec!["default/p", "default/light"], vec!["default/heavy"]));
    assert_eq!(on_node(&some.problem), (vec!["default/heavy"], 1000));
    // Room that nobody holds comes first.
    let small = pod("p", 200, r#", "priority": 9"#, "");
    let none = lowered(&[&small, &light, &heavy, NODE]);
    assert_eq!(waiting(&none).1, ["default/light", "default/heavy"]);
}

#[test]
fn preemption_takes_no_heed_of_less_important_nominations_and_ends_them() {
    let runs = pod("runs", 1000, r#", "nodeName": "n", "priority": 3"#, r#""phase": "Running""#);
    let pending = pod("p", 1800, r#", "priority": 9"#, "");
    let lowered = lowered(&[&pending, &runs, &nominated("held", 900, 1), NODE]);
    assert!(
        blocked(&lowered.problem, "default/p")
            .is_some_and(|why| why.ends_with("default/runs of lower priority must go"))
    );
    assert_eq!(waiting(&lowered), (vec!["default/p", "default/held"], vec![]));
    assert_eq!(on_node(&lowered.problem), (vec!["default/p"], 1800));
}
