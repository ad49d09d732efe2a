//! Decisions, one after the other, as a controller makes them.

use std::sync::LazyLock;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stowage_api::NodeClaim;
use stowage_cluster::disrupt::leaving;
use stowage_cluster::{Index, Kind, LowerOptions};
use stowage_controller::assumed::{Amended, Assumed, Beside};
use stowage_controller::claim::node_claim;
use stowage_controller::decide::{Decision, Terms, decide};
use stowage_controller::stand_in::stand_in;
use stowage_pricing::{Catalog, Settings};
use stowage_solver::{Memory, Options};

static CATALOG: LazyLock<Catalog> =
    LazyLock::new(|| Catalog::embedded("us-east-1", &Settings::default()).expect("a region"));

/// A cluster, and a controller that has seen all of it.
#[derive(Default)]
struct Cluster {
    index: Index,
    assumed: Assumed,
}

impl Cluster {
    fn with_pool(spec: &Value) -> Self {
        let mut cluster = Self::default();
        cluster.put(Kind::NodePool, &json!({"metadata": {"name": "default", "uid": "u"}, "spec": spec}));
        cluster
    }

    fn put(&mut self, kind: Kind, object: &Value) {
        self.index.apply(kind, &object.to_string()).expect("an object that can be read");
    }

    /// A pod that kube-scheduler has found no node for.
    fn pod(&mut self, name: &str, cpu: &str) {
        self.put(Kind::Pod, &refused(name, cpu));
    }

    fn amend(&mut self) -> Amended {
        self.amend_at(Instant::now())
    }

    fn amend_at(&mut self, now: Instant) -> Amended {
        let snapshot = self.index.snapshot();
        let displaced = leaving(&snapshot, None).pods;
        let stand_in = |claim: &NodeClaim| stand_in(claim, &snapshot, &CATALOG);
        self.assumed.forget(&snapshot, &displaced, now);
        self.assumed.amend(&snapshot, &Beside { displaced: &displaced, stand_in: &stand_in })
    }

    fn decide(&mut self) -> Decision {
        let amended = self.amend();
        let lowering = LowerOptions::default();
        let solving = Options::default();
        let terms = Terms { catalog: &CATALOG, lowering: &lowering, solving: &solving };
        decide(&amended.snapshot, &terms, &mut Memory::default(), &AtomicBool::new(false))
            .expect("a decision")
    }

    /// Makes the claims of a decision, and gives their names.
    fn carry_out(&mut self, decision: &Decision) -> Vec<String> {
        let pool = json!({"metadata": {"name": "default", "uid": "u"}});
        let mut names = Vec::new();
        for (at, wanted) in decision.wanted.iter().enumerate() {
            let mut claim = node_claim(&pool, &wanted.choice);
            let name = format!("default-{at}");
            claim["metadata"]["name"] = json!(name);
            self.put(Kind::NodeClaim, &claim);
            self.assumed.add(&name, wanted).expect("a node");
            names.push(name);
        }
        names
    }
}

fn refused(name: &str, cpu: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}}]},
        "status": {"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]},
    })
}

fn amd64() -> Value {
    json!({"template": {"spec": {"requirements": [
        {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]},
        {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]},
    ]}}})
}

#[test]
fn a_pod_that_asks_for_more_than_can_be_counted_keeps_nobody_else_from_a_node() {
    let mut cluster = Cluster::with_pool(&amd64());
    cluster.pod("absurd", "3P");
    cluster.pod("web", "700m");
    let decision = cluster.decide();
    assert_eq!((decision.wanted.len(), &decision.wanted[0].pods), (1, &vec!["default/web".to_owned()]));
    let (pod, why) = &decision.unplaced[0];
    assert_eq!((decision.unplaced.len(), pod.as_str()), (1, "default/absurd"));
    assert!(why.contains("CPUs"), "{why}");
}

#[test]
fn pods_are_counted_by_the_zone_that_they_are_bound_to() {
    let mut cluster = Cluster::with_pool(&amd64());
    cluster.pod("anywhere", "700m");
    for (name, zones) in
        [("bound", &["us-east-1b"][..]), ("either", &["us-east-1a", "us-east-1b"]), ("lost", &["mars"])]
    {
        let mut pod = refused(name, "700m");
        pod["spec"]["affinity"] = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [
                {"key": "topology.kubernetes.io/zone", "operator": "In", "values": zones}]}]}}});
        cluster.put(Kind::Pod, &pod);
    }
    let zones = cluster.decide().zones;
    let counts: Vec<_> = zones.iter().map(|(zone, pods)| (zone.as_str(), *pods)).collect();
    assert_eq!(counts, [("flexible", 2), ("none", 1), ("us-east-1b", 1)]);
}

#[test]
fn what_is_launched_otherwise_than_planned_keeps_only_the_pods_that_it_was_chosen_for() {
    let mut cluster = Cluster::with_pool(&amd64());
    cluster.pod("web", "700m");
    let decision = cluster.decide();
    let name = cluster.carry_out(&decision).remove(0);
    cluster.amend();
    cluster.pod("late", "100m");
    cluster.assumed.expect(&name, "default/late");
    assert_eq!(cluster.amend().waiting, [""; 0], "it counts as planned until it is launched");
    let mut claim = node_claim(&json!({"metadata": {"name": "default"}}), &decision.wanted[0].choice);
    claim["metadata"]["name"] = json!(name);
    claim["metadata"]["labels"]["topology.kubernetes.io/zone"] = json!("us-east-1f");
    claim["status"] = json!({"providerID": "aws:///us-east-1f/i-1", "allocatable": {"cpu": "900m", "memory": "6Gi", "pods": "29"}});
    cluster.put(Kind::NodeClaim, &claim);
    assert_eq!(cluster.amend().waiting, ["default/late"]);
    assert_eq!(cluster.assumed.pods_of(&name), ["default/web"]);
}

#[test]
fn pods_of_a_node_that_is_deleted_get_a_machine_before_they_leave() {
    let mut cluster = Cluster::with_pool(&amd64());
    let mut pod = refused("web", "700m");
    pod["spec"]["nodeName"] = json!("old");
    pod["status"] = json!({"phase": "Running"});
    cluster.put(Kind::Pod, &pod);
    let mut node = json!({
        "metadata": {"name": "old", "labels": {"karpenter.sh/nodepool": "default"}},
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "20"}},
    });
    cluster.put(Kind::Node, &node);
    assert!(cluster.amend().waiting.is_empty(), "nothing is wrong with its node");
    node["metadata"]["deletionTimestamp"] = json!("2026-07-01T10:00:00Z");
    cluster.put(Kind::Node, &node);
    assert_eq!(cluster.amend().waiting, ["default/web"]);
    let decision = cluster.decide();
    assert_eq!((decision.wanted.len(), &decision.wanted[0].pods), (1, &vec!["default/web".to_owned()]));
    let name = cluster.carry_out(&decision).remove(0);
    assert_eq!(cluster.amend().waiting, [""; 0], "it is expected there");
    assert_eq!(cluster.assumed.pods_of(&name), ["default/web"]);
    assert!(cluster.decide().wanted.is_empty());
    // It is evicted: whoever comes after it takes its room.
    pod["metadata"]["deletionTimestamp"] = json!("2026-07-01T10:00:05Z");
    cluster.put(Kind::Pod, &pod);
    cluster.pod("web-2", "700m");
    let after = cluster.decide();
    assert_eq!((after.wanted, after.placed), (vec![], vec![("default/web-2".to_owned(), name)]));
}

#[test]
fn what_was_asked_for_is_not_asked_for_again() {
    let mut cluster = Cluster::with_pool(&amd64());
    for at in 0..20 {
        cluster.pod(&format!("web-{at}"), "700m");
    }
    let first = cluster.decide();
    assert!(!first.wanted.is_empty() && first.unplaced.is_empty());
    assert_eq!((first.figures.pods, first.wanted.iter().map(|w| w.pods.len()).sum()), (20, 20));
    assert!(first.figures.bound > 0.0 && first.figures.bound <= first.figures.cost);
    let names = cluster.carry_out(&first);

    assert_eq!(cluster.amend().waiting, [""; 0]);
    let again = cluster.decide();
    assert_eq!((again.wanted, again.unplaced), (vec![], vec![]));
    assert_eq!(cluster.assumed.expected().count(), 20);
    assert!(cluster.assumed.expected().all(|(_, claim)| names.iter().any(|name| name == claim)));

    cluster.pod("late", "700m");
    assert_eq!(cluster.amend().waiting, ["default/late"]);
    let late = cluster.decide();
    let had = late.wanted.iter().flat_map(|w| &w.pods).chain(late.placed.iter().map(|(pod, _)| pod));
    assert_eq!(had.collect::<Vec<_>>(), ["default/late"], "only the new pod is planned for");
}

#[test]
fn a_machine_becomes_its_node_and_keeps_its_pods() {
    let mut cluster = Cluster::with_pool(&amd64());
    cluster.pod("web", "700m");
    let decision = cluster.decide();
    let name = cluster.carry_out(&decision).remove(0);
    let machine = "aws:///us-east-1a/i-1";

    // Launched: the claim says which machine it is. Then the Node comes, under a name of its own.
    let mut claim = node_claim(&json!({"metadata": {"name": "default"}}), &decision.wanted[0].choice);
    claim["metadata"]["name"] = json!(name);
    claim["status"] = json!({"providerID": machine, "allocatable": {"cpu": "1930m"}});
    cluster.put(Kind::NodeClaim, &claim);
    let amended = cluster.amend();
    assert_eq!(
        amended.snapshot.nodes.iter().map(|n| n.metadata.name.as_str()).collect::<Vec<_>>(),
        [name.as_str()]
    );

    let mut node = decision.wanted[0].node.clone();
    node["metadata"]["name"] = json!("ip-10-0-0-1");
    node["spec"]["providerID"] = json!(machine);
    cluster.put(Kind::Node, &node);
    let amended = cluster.amend();
    assert_eq!(amended.snapshot.nodes.len(), 1, "a machine counts once");
    let pod = &amended.snapshot.pods[0];
    assert_eq!((pod.nominated.as_deref(), amended.waiting.len()), (Some("ip-10-0-0-1"), 0));
    assert_eq!(cluster.decide().wanted, []);

    // Bound: nothing is held for it any more.
    let mut bound = refused("web", "700m");
    bound["spec"]["nodeName"] = json!("ip-10-0-0-1");
    bound["status"] = json!({"phase": "Running"});
    cluster.put(Kind::Pod, &bound);
    cluster.amend();
    assert_eq!((cluster.assumed.expected().count(), cluster.assumed.pods_of(&name).len()), (0, 0));
}

#[test]
fn a_pool_that_no_type_suits_is_named_when_a_pod_has_no_place() {
    let contrary = json!({"template": {"spec": {"requirements": [
        {"key": "karpenter.k8s.aws/instance-family", "operator": "In", "values": ["m7i"]},
        {"key": "kubernetes.io/arch", "operator": "In", "values": ["arm64"]},
    ]}}});
    let mut cluster = Cluster::with_pool(&contrary);
    cluster.pod("web", "700m");
    assert_eq!(cluster.decide().barren, ["default"]);
    let mut cluster = Cluster::with_pool(&amd64());
    cluster.pod("huge", "7000");
    let decision = cluster.decide();
    assert_eq!((decision.unplaced.len(), decision.barren.len()), (1, 0), "it is the pod that is too large");
}

#[test]
fn a_claim_that_is_gone_gives_its_pods_back() {
    let mut cluster = Cluster::with_pool(&amd64());
    cluster.pod("web", "700m");
    let decision = cluster.decide();
    let name = cluster.carry_out(&decision).remove(0);
    assert!(cluster.amend().waiting.is_empty());
    cluster.index.remove(Kind::NodeClaim, "", &name);
    assert_eq!(cluster.amend().waiting, ["default/web"]);
    assert_eq!(cluster.decide().wanted.len(), 1);
}

#[test]
fn pods_that_the_scheduler_has_not_refused_wait_for_it() {
    let mut cluster = Cluster::with_pool(&amd64());
    let mut fresh = refused("fresh", "700m");
    fresh["status"] = json!({"phase": "Pending"});
    cluster.put(Kind::Pod, &fresh);
    assert_eq!((cluster.amend().waiting.len(), cluster.decide().figures.pods), (0, 0));
}

#[test]
fn after_a_restart_machines_count_as_what_they_will_be_at_least() {
    let mut cluster = Cluster::with_pool(&amd64());
    cluster.pod("web", "700m");
    let decision = cluster.decide();
    let name = cluster.carry_out(&decision).remove(0);
    cluster.assumed = Assumed::default();
    let amended = cluster.amend();
    assert_eq!((amended.unknown.len(), amended.waiting.len()), (0, 1));
    let stands = &amended.snapshot.nodes[0];
    assert_eq!(stands.metadata.name, name);
    assert!(stands.status.allocatable.get("cpu") <= stands.status.capacity.get("cpu"));
    assert!(stands.metadata.labels.contains_key("topology.kubernetes.io/zone"));
    // Not yet launched, it is planned on: no second machine is asked for.
    let again = cluster.decide();
    assert_eq!((again.wanted, again.placed), (vec![], vec![("default/web".to_owned(), name.clone())]));

    let mut claim = node_claim(&json!({"metadata": {"name": "default"}}), &decision.wanted[0].choice);
    claim["metadata"]["name"] = json!(name);
    claim["status"] = json!({"providerID": "aws:///us-east-1a/i-1", "allocatable": {"cpu": "1930m", "memory": "6Gi", "pods": "29"}});
    cluster.put(Kind::NodeClaim, &claim);
    let amended = cluster.amend();
    assert_eq!((amended.unknown.len(), amended.waiting.len(), amended.snapshot.nodes.len()), (0, 1, 1));
    assert_eq!(amended.coming.iter().collect::<Vec<_>>(), [&name]);
    let again = cluster.decide();
    assert_eq!((again.wanted, again.placed), (vec![], vec![("default/web".to_owned(), name.clone())]));

    // From then on it is expected there, as if it had been planned just now.
    cluster.assumed.expect(&name, "default/web");
    cluster.assumed.expect(&name, "default/web");
    assert_eq!(cluster.assumed.pods_of(&name), ["default/web"]);
    assert_eq!(cluster.amend().waiting, [""; 0]);
}

#[test]
fn pods_that_their_node_has_no_room_for_are_planned_for_again() {
    let mut cluster = Cluster::with_pool(&amd64());
    cluster.pod("web", "700m");
    let decision = cluster.decide();
    let name = cluster.carry_out(&decision).remove(0);
    let opened = Instant::now();
    let much_later = opened + Duration::from_mins(10);
    assert_eq!(cluster.amend_at(much_later).waiting, [""; 0], "its node is not open yet");
    cluster.assumed.opened(&name, much_later);
    assert_eq!(cluster.amend_at(much_later + Duration::from_secs(14)).waiting, [""; 0]);
    assert_eq!(cluster.amend_at(much_later + Duration::from_secs(15)).waiting, ["default/web"]);
}

#[test]
fn limits_count_what_is_being_launched() {
    let mut pool = amd64();
    pool["limits"] = json!({"nodes": "1"});
    let mut cluster = Cluster::with_pool(&pool);
    cluster.pod("web", "700m");
    let decision = cluster.decide();
    cluster.carry_out(&decision);
    cluster.pod("big", "30");
    let second = cluster.decide();
    assert_eq!(second.wanted, []);
    let (pod, why) = &second.unplaced[0];
    assert_eq!(pod, "default/big");
    assert!(why.starts_with("NodePool default: its limit of 1 node leaves no room"), "{why}");
}

#[test]
fn whatever_a_claim_becomes_limits_hold() {
    let mut pool = amd64();
    pool["limits"] = json!({"cpu": "10"});
    // Of each family one type of two CPUs and one of four: more families would leave no room for larger ones in a claim.
    let families = json!({"key": "karpenter.k8s.aws/instance-family", "operator": "In", "values": ["c7i", "m6i", "m7i"]});
    pool["template"]["spec"]["requirements"].as_array_mut().expect("a list").push(families);
    let mut cluster = Cluster::with_pool(&pool);
    let alone = |name: &str| {
        let mut pod = refused(name, "1500m");
        pod["metadata"]["labels"] = json!({"app": "web"});
        pod["spec"]["affinity"] = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{
            "topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}},
        }]}});
        pod
    };
    for name in ["a", "b", "c"] {
        cluster.put(Kind::Pod, &alone(name));
    }
    let decision = cluster.decide();
    let cpus = |of: &String| CATALOG.find(of).expect("a type").resources["cpu"].ceil_units();
    let most = decision.wanted.iter().map(|w| w.choice.types.iter().map(cpus).max().expect("a type"));
    let most: Vec<i64> = most.collect();
    assert_eq!(most.iter().sum::<i64>(), 10, "each may be any of its types: {most:?}");
    assert!(decision.wanted.iter().all(|wanted| wanted.choice.types.len() > 1));

    // Until they are launched, nobody knows what they are.
    cluster.carry_out(&decision);
    cluster.put(Kind::Pod, &alone("d"));
    let late = cluster.decide();
    assert_eq!((late.wanted.len(), late.unplaced.len()), (0, 1), "{late:?}");
}

#[test]
fn a_nomination_that_comes_to_nothing_is_no_room() {
    let mut cluster = Cluster::with_pool(&amd64());
    let mut pod = refused("web", "700m");
    pod["status"]["nominatedNodeName"] = json!("full");
    cluster.put(Kind::Pod, &pod);
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(cluster.amend_at(at(0)).waiting, [""; 0]);
    assert_eq!(cluster.amend_at(at(29)).waiting, [""; 0]);
    let amended = cluster.amend_at(at(30));
    assert_eq!((amended.waiting.len(), &amended.snapshot.pods[0].nominated), (1, &None));

    // Another node is another matter, and so is one that a pod is leaving.
    pod["status"]["nominatedNodeName"] = json!("other");
    cluster.put(Kind::Pod, &pod);
    assert_eq!(cluster.amend_at(at(31)).waiting, [""; 0]);
    let victim = json!({
        "metadata": {"name": "victim", "deletionTimestamp": "2026-07-01T10:00:00Z"},
        "spec": {"nodeName": "other", "containers": []}, "status": {"phase": "Running"},
    });
    cluster.put(Kind::Pod, &victim);
    assert_eq!(cluster.amend_at(at(90)).waiting, [""; 0]);
}

#[test]
fn a_node_may_be_in_any_zone_unless_its_pods_say_where() {
    let mut cluster = Cluster::with_pool(&amd64());
    cluster.pod("web", "700m");
    let anywhere = cluster.decide().wanted.remove(0).choice.zones;
    assert!(anywhere.len() > 1, "{anywhere:?}");

    let mut cluster = Cluster::with_pool(&amd64());
    let mut bound = refused("there", "700m");
    bound["spec"]["nodeSelector"] = json!({"topology.kubernetes.io/zone": "us-east-1b"});
    cluster.put(Kind::Pod, &bound);
    assert_eq!(cluster.decide().wanted[0].choice.zones, ["us-east-1b"]);

    let mut cluster = Cluster::with_pool(&amd64());
    for name in ["a", "b", "c"] {
        let mut spread = refused(name, "700m");
        spread["metadata"]["labels"] = json!({"app": "web"});
        spread["spec"]["topologySpreadConstraints"] = json!([{
            "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": "web"}},
        }]);
        cluster.put(Kind::Pod, &spread);
    }
    let decision = cluster.decide();
    assert!(decision.wanted.iter().all(|wanted| wanted.choice.zones.len() == 1), "{decision:?}");
}

/// A GPU's driver starts on the node that it reports the GPU of, and may take minutes.
#[test]
fn a_node_whose_device_has_not_shown_yet_holds_its_pod() {
    let mut cluster = Cluster::with_pool(&amd64());
    let mut pod = refused("train", "1");
    pod["spec"]["containers"][0]["resources"]["requests"]["nvidia.com/gpu"] = json!("1");
    cluster.put(Kind::Pod, &pod);
    let decision = cluster.decide();
    let name = cluster.carry_out(&decision).remove(0);
    let wanted = &decision.wanted[0];
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status});
    let mut claim = node_claim(&json!({"metadata": {"name": "default", "uid": "u"}}), &wanted.choice);
    claim["metadata"]["name"] = json!(name);
    let mut put_claim = |cluster: &mut Cluster, initialized: &str| {
        claim["status"] = json!({
            "providerID": "aws:///us-east-1a/i-1", "nodeName": "ip-1",
            "allocatable": wanted.node["status"]["allocatable"], "capacity": wanted.node["status"]["capacity"],
            "conditions": [condition("Launched", "True"), condition("Registered", "True"),
                           condition("Initialized", initialized)],
        });
        cluster.put(Kind::NodeClaim, &claim);
    };
    put_claim(&mut cluster, "Unknown");
    let mut node = wanted.node.clone();
    node["metadata"]["name"] = json!("ip-1");
    node["metadata"]["labels"]["kubernetes.io/hostname"] = json!("ip-1");
    node["spec"]["providerID"] = json!("aws:///us-east-1a/i-1");
    node["status"]["conditions"] = json!([condition("Ready", "True")]);
    node["status"]["allocatable"].as_object_mut().expect("amounts").remove("nvidia.com/gpu");
    node["status"]["capacity"]["nvidia.com/gpu"] = json!("0");
    cluster.put(Kind::Node, &node);
    let opened = Instant::now();
    cluster.assumed.opened(&name, opened);
    // Long after kube-scheduler has given up, and the nomination is forgotten.
    let amended = cluster.amend_at(opened + Duration::from_mins(1));
    assert_eq!(amended.waiting, ["default/train"]);
    let decision = cluster.decide();
    assert_eq!((decision.wanted.len(), decision.unplaced.len()), (0, 0), "no second machine");
    assert_eq!(decision.placed, [("default/train".to_owned(), "ip-1".to_owned())]);

    // Once it has shown all that it has, it counts as it is.
    put_claim(&mut cluster, "True");
    assert_eq!(cluster.decide().wanted.len(), 1);
}
