use super::*;
use crate::{ReadOptions, Source, read};

/// A node `n` of NodePool `default` with its claim, and more objects.
fn cluster(node: &str, claim: &str, pool: &str, more: &str) -> Snapshot {
    let text = format!(
        r#"{{"kind": "List", "items": [
        {{"kind": "NodePool", "metadata": {{"name": "default"}}, "spec": {{"disruption": {{{pool}}}}}}},
        {{"kind": "Node", "metadata": {{"name": "n", "labels": {{"karpenter.sh/nodepool": "default",
            "karpenter.sh/initialized": "true", "node.kubernetes.io/instance-type": "m5.large",
            "karpenter.sh/capacity-type": "on-demand", "topology.kubernetes.io/zone": "us-east-1a"}} {node}}},
        {{"kind": "NodeClaim", "metadata": {{"name": "c", "labels": {{"karpenter.sh/nodepool": "default"}}}},
            "status": {{"nodeName": "n" {claim}}}}} {more}]}}"#
    );
    read(&[Source { name: "t", bytes: text.as_bytes() }], &ReadOptions::default()).expect("valid")
}

fn plain(more: &str) -> Snapshot {
    cluster("}", "", "", more)
}

fn refusals(snapshot: &Snapshot, moment: &Moment) -> Vec<Refusal> {
    let all = standings(snapshot, moment);
    all[0].refusals().cloned().collect()
}

fn at(text: &str) -> Moment {
    Moment { now: Some(text.parse().expect("a moment")), ..Moment::default() }
}

const POD: &str = r#", {"kind": "Pod", "metadata": {"name": "web", "labels": {"app": "web"}}, "spec": {"nodeName": "n"},
    "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}"#;

fn budget(name: &str, spec: &str) -> String {
    format!(
        r#", {{"kind": "PodDisruptionBudget", "metadata": {{"name": "{name}"}},
        "spec": {{"selector": {{"matchLabels": {{"app": "web"}}}}, {spec}}}}}"#
    )
}

#[test]
fn a_node_with_an_ordinary_pod_may_go() {
    let cluster = plain(POD);
    let all = standings(&cluster, &Moment::default());
    assert_eq!((all.len(), all[0].may_save(), all[0].is_empty()), (1, true, false));
    assert_eq!(all[0].disruption(), 2 * super::super::UNIT);
}

#[test]
fn what_is_wrong_with_the_node_itself() {
    let cases = [
        (plain("").clone(), Vec::new()),
        (cluster(r#", "deletionTimestamp": "2026-01-01T00:00:00Z"}"#, "", "", ""), vec![Refusal::Deleting]),
        (
            cluster(r#", "annotations": {"karpenter.sh/do-not-disrupt": "true"}}"#, "", "", ""),
            vec![Refusal::Protected],
        ),
        (
            cluster(
                r#"}, "spec": {"taints": [{"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}]}"#,
                "",
                "",
                "",
            ),
            vec![Refusal::Chosen],
        ),
        (
            cluster("}", r#", "conditions": [{"type": "DisruptionReason", "status": "True"}]"#, "", ""),
            vec![Refusal::Chosen],
        ),
        (cluster("}", "", r#""consolidateAfter": "Never""#, ""), vec![Refusal::Never]),
        (cluster("}", "", r#""consolidationPolicy": "WhenEmpty""#, POD), vec![Refusal::NotEmpty]),
        (cluster("}", "", r#""consolidationPolicy": "WhenEmpty""#, ""), Vec::new()),
    ];
    for (cluster, expected) in cases {
        assert_eq!(refusals(&cluster, &Moment::default()), expected);
    }
    let known = Moment {
        nominated: BTreeSet::from(["n".to_owned()]),
        leaving: BTreeSet::from(["n".to_owned()]),
        ..Moment::default()
    };
    assert_eq!(refusals(&plain(""), &known), [Refusal::Chosen, Refusal::Nominated]);
}

#[test]
fn nodes_that_others_made_are_left_alone() {
    let text = r#"{"kind": "Node", "metadata": {"name": "n"}}"#;
    let snapshot =
        read(&[Source { name: "t", bytes: text.as_bytes() }], &ReadOptions::default()).expect("valid");
    assert_eq!(refusals(&snapshot, &Moment::default()), [Refusal::NotManaged]);
}

#[test]
fn quiet_nodes_may_go_and_others_must_wait() {
    let seen = r#", "lastPodEventTime": "2026-07-01T10:00:00Z",
        "conditions": [{"type": "Initialized", "status": "True", "lastTransitionTime": "2026-07-01T08:00:00Z"}]"#;
    let cluster = cluster("}", seen, r#""consolidateAfter": "5m""#, "");
    let until = "2026-07-01T10:05:00Z".parse().ok();
    assert_eq!(refusals(&cluster, &at("2026-07-01T10:04:59Z")), [Refusal::NotQuiet { until }]);
    assert_eq!(refusals(&cluster, &at("2026-07-01T10:05:00Z")), []);
    assert_eq!(refusals(&cluster, &Moment::default()), []);
}

#[test]
fn a_claim_that_says_so_waits_where_nothing_tells_since_when() {
    let stated = r#", "conditions": [{"type": "Consolidatable", "status": "False"}]"#;
    let cluster = cluster("}", stated, r#""consolidateAfter": "5m""#, "");
    assert_eq!(refusals(&cluster, &at("2026-07-01T10:05:00Z")), [Refusal::NotQuiet { until: None }]);
}

/// One that cannot be read may be anything.
#[test]
fn a_node_with_a_pod_that_cannot_be_read_stays() {
    let text = r#"{"kind": "List", "items": [
        {"kind": "Node", "metadata": {"name": "n", "labels": {"karpenter.sh/nodepool": "default", "karpenter.sh/initialized": "true"}}},
        {"kind": "Node", "metadata": {"name": "o", "labels": {"karpenter.sh/nodepool": "default", "karpenter.sh/initialized": "true"}}},
        {"kind": "NodePool", "metadata": {"name": "default"}},
        {"kind": "NodeClaim", "metadata": {"name": "c", "labels": {"karpenter.sh/nodepool": "default"}}, "status": {"nodeName": "n"}},
        {"kind": "NodeClaim", "metadata": {"name": "d", "labels": {"karpenter.sh/nodepool": "default"}}, "status": {"nodeName": "o"}},
        {"kind": "Pod", "metadata": {"name": "odd"}, "spec": {"nodeName": "n", "containers": [
            {"name": "c", "resources": {"requests": {"cpu": "much"}}}]}, "status": {"phase": "Running"}}]}"#;
    let options = ReadOptions { skip_invalid: true, ..ReadOptions::default() };
    let cluster =
        read(&[Source { name: "t", bytes: text.as_bytes() }], &options).expect("valid but for a pod");
    let all = standings(&cluster, &Moment::default());
    assert_eq!(all[0].refused, [Refusal::PodUnread("Pod odd".to_owned())]);
    assert!(!all[0].may_go() && all[1].refused.is_empty());
}

#[test]
fn pods_are_protected_for_ever_or_for_a_time() {
    let pod = |mark: &str| {
        plain(&format!(
            r#", {{"kind": "Pod", "metadata": {{"name": "job", "annotations": {{"karpenter.sh/do-not-disrupt": "{mark}"}}}},
            "spec": {{"nodeName": "n"}}, "status": {{"phase": "Running", "startTime": "2026-07-01T10:00:00Z"}}}}"#
        ))
    };
    let protected = |until: Option<&str>| Refusal::PodProtected {
        pod: "default/job".to_owned(),
        until: until.map(|t| t.parse().expect("a moment")),
    };
    let noon = at("2026-07-01T12:00:00Z");
    assert_eq!(refusals(&pod("true"), &noon), [protected(None)]);
    assert_eq!(refusals(&pod("3h"), &noon), [protected(Some("2026-07-01T13:00:00Z"))]);
    assert_eq!(refusals(&pod("1h"), &noon), []);
    for odd in ["false", "yes", "-1h", "0s"] {
        assert_eq!(refusals(&pod(odd), &noon), [], "{odd}");
        assert_eq!(Mark::of(&pod(odd).pods[0], noon.now), Some(Mark::Odd), "{odd}");
    }
    let mark = |text: &str| Mark::of(&pod(text).pods[0], noon.now);
    assert_eq!((mark("true"), mark("1h")), (Some(Mark::Always), Some(Mark::Over)));
    assert_eq!(Mark::of(&plain(POD).pods[0], noon.now), None);
}

#[test]
fn budgets_stand_in_the_way() {
    let spent =
        |budget: &str| Refusal::BudgetSpent { pod: "default/web".to_owned(), budget: budget.to_owned() };
    let other = POD.replace("\"web\", \"labels\"", "\"web-2\", \"labels\"").replace("\"True\"", "\"False\"");
    let cases = [
        (plain(&format!("{POD}{}", budget("b", r#""maxUnavailable": 1"#))), Vec::new()),
        // Of two, one is down already.
        (plain(&format!("{POD}{other}{}", budget("b", r#""maxUnavailable": 1"#))), vec![spent("default/b")]),
        (
            plain(&format!("{POD}{}", budget("b", r#""minAvailable": 1"#))),
            vec![Refusal::BudgetAlways { pod: "default/web".to_owned(), budget: "default/b".to_owned() }],
        ),
        (
            plain(&format!(
                "{POD}{}{}",
                budget("b", r#""maxUnavailable": 1"#),
                budget("a", r#""maxUnavailable": 1"#)
            )),
            vec![Refusal::SeveralBudgets {
                pod: "default/web".to_owned(),
                budgets: vec!["default/a".to_owned(), "default/b".to_owned()],
            }],
        ),
    ];
    for (at, (cluster, expected)) in cases.into_iter().enumerate() {
        assert_eq!(refusals(&cluster, &Moment::default()), expected, "case {at}");
    }
    // A pod that is not ready may go where the budget says so.
    let sick = POD.replace("\"True\"", "\"False\"");
    let budget = budget("b", r#""minAvailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow""#);
    assert_eq!(refusals(&plain(&format!("{sick}{budget}")), &Moment::default()), []);
}

#[test]
fn pods_that_go_with_the_node_do_not_count() {
    let of = |owner: &str, name: &str| {
        format!(
            r#", {{"kind": "Pod", "metadata": {{"name": "{name}", "ownerReferences": [{{"kind": "{owner}", "name": "o"}}]}},
            "spec": {{"nodeName": "n"}}, "status": {{"phase": "Running"}}}}"#
        )
    };
    let cluster = plain(&format!("{}{}", of("DaemonSet", "a"), of("Node", "b")));
    let all = standings(&cluster, &Moment::default());
    assert_eq!((all[0].pods.len(), all[0].is_empty(), all[0].may_save()), (0, true, true));
}

#[test]
fn what_pods_hold_up_is_passed_over_where_their_time_is_limited() {
    let budget = budget("b", r#""minAvailable": 1"#);
    let mut cluster = plain(&format!("{POD}{budget}"));
    assert!(!standings(&cluster, &Moment::default())[0].may_drift());
    std::sync::Arc::make_mut(&mut cluster.node_claims[0]).spec.termination_grace_period =
        Some("1h".to_owned());
    let all = standings(&cluster, &Moment::default());
    assert!(all[0].may_drift() && !all[0].may_go());
}

#[test]
fn pods_of_nodes_that_are_deleted_are_about_to_leave() {
    let going = r#", "deletionTimestamp": "2026-07-01T10:00:00Z"}"#;
    let none: [&str; 0] = [];
    let of = |cluster: &Snapshot| leaving(cluster, None).pods.into_iter().collect::<Vec<_>>();
    assert_eq!(of(&plain(POD)), none, "its node stays");
    assert_eq!(of(&cluster(going, "", "", POD)), ["default/web"]);
    let claim_goes = plain(POD);
    let mut claim_goes = claim_goes;
    let mut claim = NodeClaim::clone(&claim_goes.node_claims[0]);
    claim.metadata.deletion_timestamp = Some("2026-07-01T10:00:00Z".into());
    claim_goes.node_claims = vec![claim.into()];
    assert_eq!(of(&claim_goes), ["default/web"], "the claim goes first");
    assert_eq!(leaving(&claim_goes, None).nodes.into_iter().collect::<Vec<_>>(), ["n"]);
    let kept = budget("keep", r#""maxUnavailable": 0"#);
    assert_eq!(of(&cluster(going, "", "", &format!("{POD}{kept}"))), none, "nobody may evict it");
    let job = POD.replace(
        r#""name": "web","#,
        r#""name": "web", "annotations": {"karpenter.sh/do-not-disrupt": "true"},"#,
    );
    assert_eq!(of(&cluster(going, "", "", &job)), none);
    let gone =
        POD.replace(r#""name": "web","#, r#""name": "web", "deletionTimestamp": "2026-07-01T10:00:00Z","#);
    assert_eq!(of(&cluster(going, "", "", &gone)), none, "it has left: its successor waits by itself");
}
