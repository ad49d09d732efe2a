//! Small clusters, and what goes of them.

use std::sync::Arc;

use serde_json::{Value, json};
use stowage_cluster::disrupt::{Moment, standings};
use stowage_cluster::{Index, Kind, LowerOptions};
use stowage_pricing::{Catalog, Settings, Timestamp};
use stowage_solver::{Aims, Options};

use super::*;
use crate::disrupt::command::Hindrance;
use crate::disrupt::explain::Seen;
use crate::disrupt::simulate::needed;

const NOW: &str = "2026-07-01T10:00:00Z";

/// A cluster that is made up, and what is known beside it.
struct Cluster {
    index: Index,
    promised: BTreeMap<String, String>,
    needed: Needed,
    leaving: BTreeSet<String>,
}

impl Cluster {
    /// With one pool, of which so many nodes may go at the same time.
    fn new(budget: &str) -> Self {
        let mut cluster = Self {
            index: Index::default(),
            promised: BTreeMap::new(),
            needed: Needed::default(),
            leaving: BTreeSet::new(),
        };
        cluster.pool(&json!({"disruption": {"consolidateAfter": "30s", "budgets": [{"nodes": budget}]}}));
        cluster
    }

    fn pool(&mut self, more: &Value) {
        let mut pool = json!({
            "metadata": {"name": "default"},
            "spec": {"template": {"spec": {"requirements": [
                {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["m5.large", "m5.xlarge"]},
                {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]},
                {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["us-east-1a"]},
            ]}}},
        });
        for (key, value) in more.as_object().expect("fields") {
            pool["spec"][key] = value.clone();
        }
        self.put(Kind::NodePool, &pool);
    }

    fn put(&mut self, kind: Kind, object: &Value) {
        self.index.apply(kind, &object.to_string()).expect("an object");
    }

    /// A node of two CPUs, quiet for an hour, with its claim; `drifted` since this minute.
    fn node(&mut self, name: &str, drifted: Option<u32>, more: &Value) {
        let labels = json!({
            "karpenter.sh/nodepool": "default", "karpenter.sh/initialized": "true",
            "karpenter.sh/capacity-type": "on-demand", "node.kubernetes.io/instance-type": "m5.large",
            "topology.kubernetes.io/zone": "us-east-1a", "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux",
            "kubernetes.io/hostname": name,
        });
        let mut conditions = vec![
            json!({"type": "Initialized", "status": "True", "lastTransitionTime": "2026-07-01T09:00:00Z"}),
        ];
        if let Some(minute) = drifted {
            let at = format!("2026-07-01T09:{minute:02}:00Z");
            conditions.push(
                json!({"type": "Drifted", "status": "True", "reason": "AMIDrift", "lastTransitionTime": at}),
            );
        }
        let mut claim = json!({
            "metadata": {"name": format!("claim-{name}"), "uid": format!("uid-{name}"), "labels": labels, "annotations": {}},
            "spec": {}, "status": {"nodeName": name, "providerID": format!("aws:///z/{name}"), "conditions": conditions},
        });
        for (path, value) in more.as_object().expect("paths") {
            let (part, field) = path.split_once('.').expect("a path");
            claim[part][field] = value.clone();
        }
        self.put(Kind::NodeClaim, &claim);
        let amounts = json!({"cpu": "2", "memory": "8Gi", "pods": "20"});
        self.put(
            Kind::Node,
            &json!({
                "metadata": {"name": name, "labels": labels}, "spec": {"providerID": format!("aws:///z/{name}")},
                "status": {"capacity": amounts, "allocatable": amounts, "conditions": [{"type": "Ready", "status": "True"}]},
            }),
        );
    }

    fn pod(&mut self, name: &str, node: Option<&str>, cpu: &str, meta: &Value) {
        let mut metadata = json!({"name": name, "namespace": "default"});
        for (key, value) in meta.as_object().expect("fields") {
            metadata[key] = value.clone();
        }
        let phase = if node.is_some() { "Running" } else { "Pending" };
        self.put(
            Kind::Pod,
            &json!({
                "metadata": metadata,
                "spec": {"nodeName": node, "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
                "status": {"phase": phase},
            }),
        );
    }

    fn view<T>(&mut self, f: impl FnOnce(&mut View<'_>) -> T) -> T {
        let snapshot: Arc<Snapshot> = self.index.snapshot();
        let now: Timestamp = NOW.parse().expect("a moment");
        let moment = Moment { now: Some(now), ..Moment::default() };
        let standings = standings(&snapshot, &moment);
        let catalog = Catalog::embedded("us-east-1", &Settings::default()).expect("embedded");
        let lowering = LowerOptions::default();
        let solving = Options::default();
        let terms = Terms { catalog: &catalog, lowering: &lowering, solving: &solving };
        f(&mut View {
            snapshot: &snapshot,
            standings: &standings,
            room: Room::of(&snapshot, &self.leaving, now),
            promised: &self.promised,
            needed: &self.needed,
            ready: &|_| true,
            terms: &terms,
            prices: &Prices::of(&catalog),
            whole: &catalog,
            aims: &Aims { spot_types: None, ..Aims::default() },
        })
    }

    /// What is spoken for, as it is found.
    fn needed(&mut self) -> Needed {
        self.view(|view| {
            needed(view.snapshot, view.standings, view.promised, view.terms).expect("a cluster to plan on")
        })
    }

    fn found(&mut self, mut method: impl Method) -> Found {
        self.view(|view| method.find(view).expect("a cluster to plan on"))
    }
}

fn nodes(found: &Found) -> Vec<Vec<&str>> {
    found.commands.iter().map(|c| c.candidates.iter().map(|of| of.node.as_str()).collect()).collect()
}

fn kept(found: &Found) -> Vec<&str> {
    found.kept.iter().map(|held| held.node.as_str()).collect()
}

#[test]
fn empty_nodes_go_together_as_far_as_budgets_let_them() {
    let mut cluster = Cluster::new("2");
    for name in ["a", "b", "c", "d"] {
        cluster.node(name, None, &json!({}));
    }
    cluster.pod("web", Some("b"), "1", &json!({}));
    let daemon =
        json!({"ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent"}]});
    cluster.pod("agent", Some("a"), "100m", &daemon);
    let found = cluster.found(Emptiness);
    assert_eq!((nodes(&found), kept(&found), found.eligible), (vec![vec!["a", "c"]], vec!["d"], 3));
    assert!(found.commands[0].saving() > 0.0 && found.commands[0].decision() == "delete");
    assert_eq!(found.blocked, BTreeSet::from(["default".to_owned()]));
    // One of them is on its way already.
    cluster.leaving.insert("claim-b".to_owned());
    assert_eq!(nodes(&cluster.found(Emptiness)), [["a"]]);
}

/// kube-scheduler may be behind: what a pod waits for is not empty for long.
#[test]
fn a_node_that_a_waiting_pod_fits_on_is_needed() {
    let mut cluster = Cluster::new("100%");
    cluster.node("a", None, &json!({}));
    assert_eq!(cluster.needed(), Needed::default());
    cluster.pod("web", None, "1", &json!({}));
    let found = cluster.needed();
    assert_eq!((found.nodes, found.homes.len()), (BTreeSet::from(["a".to_owned()]), 0));
    cluster.pod("web", None, "3", &json!({}));
    assert_eq!(cluster.needed(), Needed::default(), "it needs a larger one");
}

/// Nowhere is found for their pods, and each look has time for one of them.
#[test]
fn a_look_for_drift_goes_on_where_the_last_one_ended() {
    let mut cluster = Cluster::new("100%");
    for (name, minute) in [("a", 1), ("b", 2), ("c", 3)] {
        cluster.node(name, Some(minute), &json!({}));
        cluster.pod(&format!("large-{name}"), Some(name), "9", &json!({}));
    }
    let mut method = Drift { limit: Duration::ZERO, ended_at: None };
    let mut looked = Vec::new();
    for _ in 0..4 {
        let found = cluster.view(|view| method.find(view).expect("a cluster to plan on"));
        assert_eq!((found.eligible, found.commands.len()), (3, 0));
        looked.extend(kept(&found).into_iter().map(str::to_owned));
    }
    assert_eq!(looked, ["a", "b", "c", "a"]);
    let whole = cluster.found(Drift::default());
    assert_eq!(kept(&whole), ["a", "b", "c"]);
}

#[test]
fn a_node_that_is_kept_free_is_not_empty() {
    let mut cluster = Cluster::new("100%");
    cluster.node("a", None, &json!({}));
    cluster.node("b", None, &json!({}));
    cluster.needed.nodes.insert("b".to_owned());
    let found = cluster.found(Emptiness);
    assert_eq!((nodes(&found), kept(&found)), (vec![vec!["a"]], vec!["b"]));
}

#[test]
fn nodes_that_are_not_quiet_stay() {
    let mut cluster = Cluster::new("100%");
    cluster.node("a", None, &json!({"status.lastPodEventTime": "2026-07-01T09:59:31Z"}));
    cluster.node("b", None, &json!({"status.lastPodEventTime": "2026-07-01T09:59:30Z"}));
    assert_eq!(nodes(&cluster.found(Emptiness)), [["b"]]);
}

#[test]
fn the_oldest_drift_goes_first_and_empty_nodes_before_it() {
    let mut cluster = Cluster::new("1");
    cluster.node("late", Some(50), &json!({}));
    cluster.node("early", Some(10), &json!({}));
    cluster.node("empty", Some(55), &json!({}));
    cluster.node("fine", None, &json!({}));
    cluster.pod("web-late", Some("late"), "1", &json!({}));
    cluster.pod("web-early", Some("early"), "1", &json!({}));
    cluster.pod("web-fine", Some("fine"), "1500m", &json!({}));
    let found = cluster.found(Drift::default());
    assert_eq!((nodes(&found), found.eligible), (vec![vec!["empty"]], 3));
    cluster.index.remove(Kind::Node, "", "empty");
    cluster.index.remove(Kind::NodeClaim, "", "claim-empty");
    let found = cluster.found(Drift::default());
    assert_eq!(nodes(&found), [["early"]]);
    // There is room for its pod beside the other one.
    let command = &found.commands[0];
    assert_eq!(command.moves, [("default/web-early".to_owned(), "late".to_owned())]);
    assert_eq!(command.replacements, []);
}

#[test]
fn what_has_no_other_place_is_launched_for() {
    let mut cluster = Cluster::new("1");
    cluster.node("old", Some(10), &json!({}));
    cluster.pod("web", Some("old"), "1500m", &json!({}));
    // One that waits anyhow is nobody's concern here.
    cluster.pod("huge", None, "500", &json!({}));
    let found = cluster.found(Drift::default());
    assert_eq!(nodes(&found), [["old"]]);
    let [Replacement::Planned(wanted)] = &found.commands[0].replacements[..] else { panic!("{found:?}") };
    assert_eq!(wanted.pods, ["default/web"]);
    assert_eq!(wanted.choice.types.first().map(String::as_str), Some("m5.large"));
    assert!(found.commands[0].saving().abs() < 1e-9, "the same again");
}

#[test]
fn a_node_whose_pods_fit_nowhere_else_stays() {
    let mut cluster = Cluster::new("1");
    // What comes must be there before what goes is gone.
    cluster.pool(&json!({"limits": {"nodes": "1"}}));
    cluster.node("old", Some(10), &json!({}));
    cluster.pod("web", Some("old"), "1500m", &json!({}));
    let found = cluster.found(Drift::default());
    assert_eq!((nodes(&found), kept(&found)), (Vec::<Vec<&str>>::new(), vec!["old"]));
    assert!(found.kept[0].why.contains("default/web"), "{:?}", found.kept);
}

#[test]
fn room_that_was_promised_is_not_given_twice() {
    let mut cluster = Cluster::new("2");
    cluster.node("old", Some(10), &json!({}));
    cluster.node(
        "going",
        None,
        &json!({"status.conditions": [{"type": "DisruptionReason", "status": "True"}]}),
    );
    cluster.node("free", None, &json!({}));
    cluster.pod("web", Some("old"), "1500m", &json!({}));
    cluster.pod("other", Some("going"), "1500m", &json!({}));
    let taken = |found: &Found| found.commands[0].moves.clone();
    assert_eq!(taken(&cluster.found(Drift::default())), [("default/web".to_owned(), "free".to_owned())]);
    cluster.promised.insert("default/other".to_owned(), "free".to_owned());
    let found = cluster.found(Drift::default());
    assert_eq!((taken(&found), found.commands[0].replacements.len()), (vec![], 1));
}

/// A node ends by force, and its pod has yet to leave it: nobody has promised it anything, and it will need the room all the same.
#[test]
fn room_of_pods_whose_node_ends_is_not_given_twice() {
    let ending = json!({"metadata.deletionTimestamp": "2026-07-01T09:59:00Z"});
    let mut cluster = Cluster::new("2");
    cluster.node("old", Some(10), &json!({}));
    cluster.node("ending", None, &ending);
    cluster.node("free", None, &json!({}));
    cluster.pod("web", Some("old"), "1500m", &json!({}));
    cluster.pod("other", Some("ending"), "1500m", &json!({}));
    cluster.needed = cluster.needed();
    assert_eq!(cluster.needed.homes, BTreeMap::from([("default/other".to_owned(), "free".to_owned())]));
    let command = cluster.found(Drift::default()).commands.remove(0);
    assert_eq!((command.moves, command.replacements.len()), (vec![], 1));

    let mut cluster = Cluster::new("100%");
    cluster.node("a", None, &json!({}));
    cluster.node("ending", None, &ending);
    cluster.node("free", None, &json!({}));
    cluster.pod("web", Some("a"), "900m", &json!({}));
    cluster.pod("other", Some("ending"), "1500m", &json!({}));
    cluster.needed = cluster.needed();
    assert_eq!(cluster.found(Consolidation::default()).commands, []);
    // One that fits nowhere waits for a node of its own, and takes no room here.
    cluster.pod("other", Some("ending"), "3", &json!({}));
    cluster.needed = cluster.needed();
    assert_eq!(cluster.needed, Needed::default());
}

/// Minutes lie between the marks and the deletion: who says meanwhile that he must not be disturbed is heard.
#[test]
fn what_is_protected_since_it_was_marked_does_not_go() {
    let chosen = json!([{"type": "DisruptionReason", "status": "True"}]);
    let protected = json!({"karpenter.sh/do-not-disrupt": "true"});
    let mut cluster = Cluster::new("1");
    cluster.node("old", Some(10), &json!({}));
    cluster.pod("web", Some("old"), "1500m", &json!({}));
    let command = cluster.found(Drift::default()).commands.remove(0);
    let hindrance = |cluster: &mut Cluster, command: &Command| {
        cluster.view(|view| command.overtaken(view.snapshot, view.standings))
    };
    let lasting = |found: Option<Hindrance>, what: &str| {
        assert!(matches!(&found, Some(Hindrance::Lasting(why)) if why.contains(what)), "{found:?}");
    };
    cluster.node("old", None, &json!({"status.conditions": chosen}));
    assert_eq!(hindrance(&mut cluster, &command), None, "its own marks do not count");

    cluster.pod("web", Some("old"), "1500m", &json!({"annotations": protected}));
    lasting(hindrance(&mut cluster, &command), "default/web");
    cluster.node("old", None, &json!({"status.conditions": chosen, "spec.terminationGracePeriod": "1h"}));
    assert_eq!(hindrance(&mut cluster, &command), None, "its pods are not asked");
    let saving = Command { reason: Reason::Underutilized, ..command.clone() };
    lasting(hindrance(&mut cluster, &saving), "default/web");

    cluster.pod("web", Some("old"), "1500m", &json!({"labels": {"app": "web"}}));
    cluster.node("old", None, &json!({"status.conditions": chosen, "metadata.annotations": protected}));
    lasting(hindrance(&mut cluster, &command), "node old");

    cluster.node("old", None, &json!({"status.conditions": chosen}));
    cluster.put(
        Kind::PodDisruptionBudget,
        &json!({
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "web"}}},
            "status": {"disruptionsAllowed": 0},
        }),
    );
    let found = hindrance(&mut cluster, &command);
    assert!(matches!(&found, Some(Hindrance::Passing(why)) if why.contains("default/web")), "{found:?}");
    cluster.node("old", None, &json!({"metadata.deletionTimestamp": "2026-07-01T09:59:00Z"}));
    assert_eq!(hindrance(&mut cluster, &command), None, "it goes already");
}

#[test]
fn nodes_say_why_they_stay_while_others_go() {
    let mut cluster = Cluster::new("100%");
    for (name, drifted, cpu) in [("large", Some(1), "9"), ("old", Some(2), "500m"), ("fine", None, "500m")] {
        cluster.node(name, drifted, &json!({}));
        cluster.pod(&format!("of-{name}"), Some(name), cpu, &json!({}));
    }
    cluster.node("guarded", None, &json!({}));
    let protected = json!({"annotations": {"karpenter.sh/do-not-disrupt": "true"}});
    cluster.pod("of-guarded", Some("guarded"), "500m", &protected);
    let said = |seen: &Seen| {
        let all = seen.stays.iter().map(|of| (of.node.clone(), of.word, of.cause));
        all.collect::<Vec<_>>()
    };
    let held = ("large".to_owned(), "NoPlace", Cause::HeldUp);
    let (part, whole) = cluster.view(|view| {
        let drift = Drift::default().find(view).expect("a cluster to plan on");
        assert_eq!(nodes(&drift), [["old"]]);
        let part = Seen::of(view.standings, &[(Reason::Drifted, &drift)]);
        let last = Consolidation::default().find(view).expect("a cluster to plan on");
        (part, Seen::of(view.standings, &[(Reason::Drifted, &drift), (Reason::Underutilized, &last)]))
    });
    let refused = ("guarded".to_owned(), "PodProtected", Cause::Refused);
    assert_eq!((said(&part), part.whole, part.here.len()), (vec![refused, held.clone()], false, 4));
    assert!(whole.whole && said(&whole).contains(&held), "{whole:?}");
}

#[test]
fn what_policies_weigh_is_told() {
    let mut cluster = Cluster::new("100%");
    for name in ["a", "b", "c"] {
        cluster.node(name, None, &json!({}));
        cluster.pod(&format!("web-{name}"), Some(name), "900m", &json!({}));
    }
    let weighed = cluster.found(Consolidation::default()).weighed;
    let plain = Weighed {
        pool: "default".to_owned(),
        policy: "WhenEmptyOrUnderutilized",
        approved: true,
        score: None,
    };
    assert_eq!(weighed, [plain]);
    cluster.pool(&json!({"disruption": {
        "consolidateAfter": "30s", "consolidationPolicy": "Balanced", "budgets": [{"nodes": "100%"}],
    }}));
    let weighed = cluster.found(Consolidation::default()).weighed;
    let [Weighed { policy: "Balanced", approved: true, score: Some(score), .. }] = &weighed[..] else {
        panic!("one in {weighed:?}")
    };
    // One of three alike: a third of the cost for a third of the disruption.
    assert!((score - 1.0).abs() < 1e-6, "{score}");
}

#[test]
fn pods_that_must_stay_keep_their_node_unless_it_has_a_term() {
    let protected = json!({"annotations": {"karpenter.sh/do-not-disrupt": "true"}});
    let mut cluster = Cluster::new("1");
    cluster.node("old", Some(10), &json!({}));
    cluster.pod("web", Some("old"), "1", &protected);
    assert_eq!(cluster.found(Drift::default()), Found::default());
    cluster.node("old", Some(10), &json!({"spec.terminationGracePeriod": "1h"}));
    assert_eq!(nodes(&cluster.found(Drift::default())), [["old"]]);
}

#[test]
fn static_pools_get_one_for_each_that_goes() {
    let mut cluster = Cluster::new("2");
    cluster.pool(&json!({
        "replicas": 3, "limits": {"nodes": "4"},
        "disruption": {"consolidateAfter": "0s", "budgets": [{"nodes": "2"}]},
    }));
    for name in ["a", "b", "c"] {
        cluster.node(name, Some(10), &json!({}));
    }
    assert_eq!(cluster.found(Emptiness).eligible, 0, "it is meant to be empty");
    assert_eq!(cluster.found(Drift::default()).eligible, 0);
    let found = cluster.found(StaticDrift);
    assert_eq!((nodes(&found), kept(&found)), (vec![vec!["a"]], vec!["b", "c"]));
    assert_eq!(found.commands[0].replacements, [Replacement::Static("default".to_owned())]);
}

#[test]
fn a_decision_is_looked_at_again() {
    let mut cluster = Cluster::new("2");
    for name in ["a", "b"] {
        cluster.node(name, None, &json!({}));
    }
    let command = cluster.found(Emptiness).commands.remove(0);
    cluster.pod("web", Some("a"), "1", &json!({}));
    let left = cluster.view(|view| validate(command.clone(), view)).expect("one is still empty");
    assert_eq!(left.candidates.iter().map(|of| of.node.as_str()).collect::<Vec<_>>(), ["b"]);
    cluster.leaving.extend(["claim-a".to_owned(), "claim-b".to_owned()]);
    assert!(cluster.view(|view| validate(command, view)).is_err(), "others have used the budget up");

    let mut cluster = Cluster::new("1");
    cluster.node("old", Some(10), &json!({}));
    cluster.pod("web", Some("old"), "1", &json!({}));
    let command = cluster.found(Drift::default()).commands.remove(0);
    assert!(cluster.view(|view| validate(command.clone(), view)).is_ok());
    cluster.pod("new", Some("old"), "100m", &json!({}));
    let why = cluster.view(|view| validate(command, view)).expect_err("nobody has planned for it");
    assert!(why.contains("default/new"), "{why}");
}

#[test]
fn nodes_that_need_not_be_go_and_others_say_why_not() {
    let mut cluster = Cluster::new("100%");
    // Three nodes of two CPUs, for what fits on two.
    for name in ["a", "b", "c"] {
        cluster.node(name, None, &json!({}));
    }
    cluster.pod("web-1", Some("a"), "900m", &json!({}));
    cluster.pod("web-2", Some("b"), "900m", &json!({}));
    cluster.pod("web-3", Some("c"), "900m", &json!({}));
    let found = cluster.found(Consolidation::default());
    let [command] = &found.commands[..] else { panic!("one command in {found:?}") };
    assert_eq!((command.candidates.len(), command.decision(), command.kind), (1, "delete", "single"));
    assert_eq!(command.moves.len(), 1);
    assert!(command.saving() > 0.05, "{}", command.saving());
    assert_eq!(found.stays.len(), 2);
    assert!(found.stays.iter().all(|stays| !stays.word.is_empty() && !stays.why.is_empty()), "{found:?}");

    // What was found holds until something changes.
    let again = cluster.view(|view| validate(command.clone(), view)).expect("nothing has changed");
    assert_eq!(again.candidates, command.candidates);
    let node = command.candidates[0].node.clone();
    let taken = if node == "a" { "b" } else { "a" };
    let third = if node == "c" { "b" } else { "c" };
    cluster.pod("more-1", Some(taken), "1", &json!({}));
    cluster.pod("more-2", Some(third), "1", &json!({}));
    let why = cluster.view(|view| validate(command.clone(), view)).expect_err("there is no room any more");
    assert!(!why.is_empty());
}

#[test]
fn several_nodes_become_one_and_only_within_budgets() {
    let mut cluster = Cluster::new("1");
    for name in ["a", "b", "c"] {
        cluster.node(name, None, &json!({}));
        cluster.pod(&format!("web-{name}"), Some(name), "900m", &json!({}));
    }
    let found = cluster.found(Consolidation::default());
    assert_eq!(nodes(&found).concat().len(), 1);
    cluster.leaving.insert("claim-a".to_owned());
    let found = cluster.found(Consolidation::default());
    assert_eq!((nodes(&found).len(), found.blocked), (0, BTreeSet::from(["default".to_owned()])));
}

#[test]
fn a_cluster_that_has_not_changed_is_not_looked_at_again() {
    let mut cluster = Cluster::new("100%");
    cluster.node("a", None, &json!({}));
    cluster.pod("web", Some("a"), "1900m", &json!({}));
    let mut method = Consolidation::default();
    let first = cluster.view(|view| method.find(view).expect("a cluster to plan on"));
    assert!(first.commands.is_empty() && first.stays.len() == 1);
    let before = cluster.view(|view| method.find(view).expect("a cluster to plan on"));
    assert_eq!(before, first);
    // It has become empty enough for a smaller one, and that is seen at once.
    cluster.node("b", None, &json!({}));
    cluster.pod("other", Some("b"), "100m", &json!({}));
    let after = cluster.view(|view| method.find(view).expect("a cluster to plan on"));
    assert_eq!(nodes(&after), [["b"]]);
}
