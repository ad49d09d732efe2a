//! Looks at clusters: which side is better, by the rule that `look` states.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use stowage_cluster::{LowerOptions, ReadOptions, Snapshot, Source, read};
use stowage_fargate::{
    Candidate, Finding, Ground, JobFacts, Life, Needs, OnNodes, Policy, Profiles, Root, Side, Why, Workload,
    look, look_at,
};
use stowage_pricing::{Catalog, FargateRates};
use stowage_solver::Price;

use crate::{policy, profile};

/// An m7i.large for $0.1008 in zones a and b: 1,930m and 6,903 MiB are for pods. A g5.xlarge of 4 vCPUs in a for $1.006.
const CATALOG: &str = include_str!("../../../cluster/tests/catalog.json");
/// us-east-1, 2026.
const RATES: FargateRates = FargateRates { vcpu: 0.040_48, gb: 0.004_445, storage_gb: 0.000_111 };

struct Case {
    objects: Vec<Value>,
    pod: Value,
    /// Pods like it that wait, itself one of them; none, and it is only an example.
    waiting: usize,
    /// Pods like it that are on Fargate.
    on_fargate: usize,
    spec: Value,
    life: Life,
    profiles: Profiles,
    kind: &'static str,
    job: Option<JobFacts>,
}

/// A `Job` that is known, and cleared away or not.
fn job(has_ttl: bool) -> Option<JobFacts> {
    Some(JobFacts { root: ("Job", "web".into()), template: "1".into(), has_ttl })
}

impl Case {
    fn new(cpu: &str, memory: &str) -> Self {
        let requests = json!({"cpu": cpu, "memory": memory});
        Self {
            objects: Vec::new(),
            pod: json!({
                "kind": "Pod", "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}},
                "spec": {"containers": [{"name": "a", "resources": {"requests": requests}}]},
            }),
            waiting: 0,
            on_fargate: 0,
            spec: json!({"mode": "WhenCheaper"}),
            life: Life { endless: true, ..Life::default() },
            profiles: Profiles::of_eks(vec![profile("jobs", "shop", &[("stowage.dev/fargate", "true")])]),
            kind: "Deployment",
            job: None,
        }
    }

    fn with(mut self, pointer: &str, value: Value) -> Self {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        self.pod.pointer_mut(parent).unwrap()[key] = value;
        self
    }

    fn mode(self, spec: Value) -> Self {
        Self { spec, ..self }
    }

    /// EKS was not asked: the policy's word is taken.
    fn unasked(self) -> Self {
        Self { profiles: Profiles::unknown(), ..self }
    }

    fn beside(mut self, object: Value) -> Self {
        self.objects.push(object);
        self
    }

    fn look(&self) -> Finding {
        let mut items = self.objects.clone();
        let mut names = BTreeSet::new();
        for n in 0..self.waiting {
            let mut one = self.pod.clone();
            one["metadata"]["name"] = json!(format!("web-{n}"));
            names.insert(format!("shop/web-{n}"));
            items.push(one);
        }
        let snapshot = read_all(items);
        let sample = read_all(vec![self.pod.clone()]);
        let catalog = Catalog::parse(CATALOG.as_bytes(), "catalog.json").unwrap();
        let ground = Ground {
            snapshot: &snapshot,
            catalog: &catalog,
            options: &LowerOptions::default(),
            profiles: &self.profiles,
            subnets: &[],
            rates: Some(RATES),
            node_start: 60,
        };
        let policy: Policy = policy(Some("shop"), "p", self.spec.clone());
        let root = match self.kind {
            "Pod" => Root::Bare,
            kind => Root::Controller(kind.to_owned(), "web".to_owned()),
        };
        let workload = Workload { namespace: "shop".to_owned(), root, template: "1".to_owned() };
        let pod = &sample.pods[0];
        let needs = Needs::of_pod(&self.pod);
        let candidate = Candidate {
            workload: &workload,
            policy: &policy,
            pod,
            needs: &needs,
            job: self.job.as_ref(),
            life: self.life,
            waiting: &names,
            on_fargate: self.on_fargate,
        };
        let found = look(&ground, &[candidate], &AtomicBool::new(false)).unwrap().remove(0).unwrap();
        if self.waiting + self.on_fargate == 0 {
            // Looked at beside others that have no pods, it is found as alone.
            let among = look(&ground, &[candidate; 3], &AtomicBool::new(false)).unwrap();
            assert!(among.iter().all(|other| *other == Some(found.clone())), "{among:?} and alone {found:?}");
        }
        // What was cancelled is not found.
        let cancelled = AtomicBool::new(true);
        let nothing = look(&ground, &[candidate], &cancelled).unwrap().remove(0);
        assert!(cancelled.load(Ordering::Relaxed) && nothing.is_none_or(|found| found.target.is_none()));
        found
    }

    fn side(&self) -> (Side, &'static str) {
        let found = self.look();
        (found.side, found.why.word())
    }

    fn reasons(&self) -> Vec<String> {
        match self.look().why {
            Why::Forbidden(reasons) => reasons,
            other => vec![other.word().to_owned()],
        }
    }
}

fn read_all(items: Vec<Value>) -> Snapshot {
    let bytes = json!({"kind": "List", "items": items}).to_string();
    read(&[Source { name: "in.json", bytes: bytes.as_bytes() }], &ReadOptions::default()).unwrap()
}

fn node(cpu: &str) -> Value {
    json!({
        "kind": "Node",
        "metadata": {"name": "n", "labels": {
            "kubernetes.io/hostname": "n", "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux",
            "topology.kubernetes.io/zone": "us-east-1a"}},
        "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "20"}},
    })
}

fn bought(dollars: f64) -> Option<OnNodes> {
    Some(OnNodes::Bought(Price::from_dollars(dollars).unwrap()))
}

#[test]
fn a_pod_that_would_open_a_node_goes_and_one_that_finds_room_stays() {
    let alone = Case::new("200m", "200Mi").look();
    assert_eq!((alone.side, &alone.why, alone.nodes), (Side::Fargate, &Why::Cost, bought(0.1008)));
    let target = alone.target.unwrap();
    assert_eq!((target.profile.as_str(), target.price), ("jobs", Price::from_micros(12_343)));
    assert_eq!(target.labels.len(), 1);
    let room = Case::new("200m", "200Mi").beside(node("1")).look();
    assert_eq!((room.side, room.why, room.nodes), (Side::Ec2, Why::Room, Some(OnNodes::Room)));
    // Fargate would still have it.
    assert!(room.target.is_some());
    // A node that takes no more pods has no room.
    let mut closed = node("1");
    closed["spec"] = json!({"unschedulable": true});
    assert_eq!(Case::new("200m", "200Mi").beside(closed).side(), (Side::Fargate, "Cost"));
}

/// 900m and 3 GiB are a vCPU and 4 GB on Fargate, $0.05826; two of them fill an m7i.large, for $0.0504 each.
#[test]
fn pods_share_what_is_bought_for_them() {
    let one = Case::new("900m", "3Gi");
    assert_eq!(one.look().nodes, bought(0.1008));
    assert_eq!(one.side().0, Side::Fargate);
    let four = || Case { waiting: 4, ..Case::new("900m", "3Gi") };
    let found = four().look();
    assert_eq!((found.side, found.nodes, found.together), (Side::Ec2, bought(0.0504), 4));
    // 15.6 % more than nodes.
    assert_eq!(four().mode(json!({"mode": "WhenCheaper", "tolerancePercent": 15})).side().0, Side::Ec2);
    assert_eq!(four().mode(json!({"mode": "WhenCheaper", "tolerancePercent": 16})).side().0, Side::Fargate);
    // One that waits and is looked at is the same pod: it does not find room on the node that is bought for it.
    assert_eq!(Case { waiting: 1, ..Case::new("900m", "3Gi") }.look().nodes, bought(0.1008));
    // Half a node is bought for somebody else who waits: the other half is there anyway.
    let mut other = four().pod;
    other["metadata"] = json!({"name": "other", "namespace": "bank"});
    assert_eq!(Case::new("900m", "3Gi").beside(other).look().nodes, Some(OnNodes::Room));
}

#[test]
fn each_mode_has_its_way() {
    let small = || Case::new("200m", "200Mi");
    for (mode, room, side, why) in [
        ("Never", false, Side::Ec2, "Never"),
        ("Always", true, Side::Fargate, "Always"),
        ("WhenNoRoom", true, Side::Ec2, "FreeRoom"),
        ("WhenNoRoom", false, Side::Fargate, "NoRoomOnNodes"),
        ("WhenCheaper", true, Side::Ec2, "FreeRoom"),
    ] {
        let case = small().mode(json!({"mode": mode}));
        let case = if room { case.beside(node("1")) } else { case };
        assert_eq!(case.side(), (side, why), "{mode} {room}");
    }
    // Eight vCPUs are more than any node here has.
    assert_eq!(Case::new("8", "16Gi").side(), (Side::Fargate, "NoPlaceOnNodes"));
    // WhenNoRoom buys Fargate even where that is dearer: four for the price of less.
    let four = Case { waiting: 4, ..Case::new("900m", "3Gi") }.mode(json!({"mode": "WhenNoRoom"}));
    assert_eq!(four.side(), (Side::Fargate, "NoRoomOnNodes"));
}

/// A run of a minute pays a node for two, as it takes one to start.
#[test]
fn a_node_is_paid_for_while_it_starts() {
    let life = |seconds| Life { observed: Some(seconds), ..Life::default() };
    let four = |life| Case { waiting: 4, life, kind: "Job", job: job(true), ..Case::new("900m", "3Gi") };
    assert_eq!(four(life(60)).side().0, Side::Fargate);
    // $0.0504 × 360/300 is above $0.05826; × 3660/3600 is not.
    assert_eq!(four(life(300)).side().0, Side::Fargate);
    assert_eq!(four(life(3_600)).side().0, Side::Ec2);
    // Fargate bills a minute at least: ten seconds cost six times as much, and nodes 70 for 10.
    assert_eq!(four(life(10)).side().0, Side::Fargate);
    assert_eq!(Case { life: life(10), ..Case::new("200m", "200Mi").beside(node("1")) }.side().0, Side::Ec2);
}

#[test]
fn expected_life_is_kept_within_bounds() {
    let with = |life: Life, kind: &'static str, bounds: Value| {
        let spec = json!({"mode": "Always", "expectedLife": bounds});
        Case { life, kind, job: job(true), ..Case::new("200m", "200Mi") }.mode(spec).reasons().remove(0)
    };
    let runs = |observed, deadline| Life { observed, deadline, endless: false };
    let endless = Life { endless: true, ..Life::default() };
    let (min, max) = (json!({"min": "5m"}), json!({"max": "1h"}));
    assert_eq!(with(runs(Some(600), None), "Job", min.clone()), "Always");
    assert!(with(runs(Some(100), None), "Job", min.clone()).starts_with("its pods run for 100 s, less than"));
    assert!(with(runs(None, Some(100)), "Job", min.clone()).starts_with("its pods run for 100 s, less than"));
    assert!(with(runs(None, Some(9_000)), "Job", min.clone()).contains("not known yet"));
    assert!(with(runs(None, None), "Job", min.clone()).contains("not known yet"));
    assert_eq!(with(endless, "Deployment", min), "Always");
    assert_eq!(with(runs(Some(600), None), "Job", max.clone()), "Always");
    assert_eq!(with(runs(None, Some(3_600)), "Job", max.clone()), "Always");
    assert!(with(runs(Some(4_000), None), "Job", max.clone()).contains("more than spec.expectedLife.max"));
    assert!(with(endless, "Deployment", max.clone()).contains("without end"));
    assert!(with(runs(None, None), "Pod", max).contains("not known yet"));
}

/// A pod for each rule, and the same without what the rule is about.
#[test]
fn rules_of_fargate_forbid_and_their_absence_does_not() {
    let always = || Case::new("200m", "200Mi").mode(json!({"mode": "Always"}));
    assert_eq!(always().reasons(), ["Always"]);
    for (pointer, value, why) in [
        ("/spec/hostNetwork", json!(true), "Fargate has no host network"),
        ("/spec/hostPID", json!(true), "Fargate shares no processes of the host"),
        ("/spec/nodeSelector", json!({"kubernetes.io/arch": "arm64"}), "Fargate on EKS has no arm64"),
        ("/spec/nodeSelector", json!({"kubernetes.io/os": "windows"}), "Fargate on EKS has no Windows"),
        ("/spec/nodeSelector", json!({"karpenter.sh/capacity-type": "spot"}), "Fargate on EKS has no spot"),
        ("/spec/nodeSelector", json!({"disk": "ssd"}), "Fargate's nodes have no label disk"),
        (
            "/spec/volumes",
            json!([{"name": "v", "hostPath": {"path": "/"}}]),
            "Fargate has no folders of the host",
        ),
        (
            "/spec/topologySpreadConstraints",
            json!([{"topologyKey": "topology.kubernetes.io/zone", "maxSkew": 1, "labelSelector": {"matchLabels": {"app": "web"}}}]),
            "Fargate does not honour topologySpreadConstraints",
        ),
        (
            "/metadata/annotations",
            json!({"karpenter.sh/do-not-disrupt": "true"}),
            "it must not be disrupted, and Fargate replaces pods to patch",
        ),
        (
            "/metadata/ownerReferences",
            json!([{"kind": "DaemonSet", "name": "d"}]),
            "Fargate runs no DaemonSets",
        ),
    ] {
        assert_eq!(always().with(pointer, value).reasons(), [why]);
    }
    let privileged = json!([{"name": "a", "securityContext": {"privileged": true}}]);
    assert_eq!(
        always().with("/spec/containers", privileged).reasons(),
        ["Fargate runs no privileged containers"]
    );
    let port = json!([{"name": "a", "ports": [{"containerPort": 80, "hostPort": 80}]}]);
    assert_eq!(always().with("/spec/containers", port).reasons(), ["Fargate has no host ports"]);
    let gpu = json!([{"name": "a", "resources": {"limits": {"nvidia.com/gpu": 1}}}]);
    assert_eq!(always().with("/spec/containers", gpu).reasons(), ["Fargate has no nvidia.com/gpu"]);
    let small = json!([{"name": "a", "resources": {"requests": {"cpu": "16", "memory": "130Gi"}}}]);
    assert!(always().with("/spec/containers", small).reasons()[0].contains("120 GiB"));
    let mut none = always();
    none.profiles = Profiles::of_eks(vec![profile("other", "bank", &[])]);
    assert_eq!(none.reasons(), ["NoProfile"]);
}

#[test]
fn a_policy_says_which_kinds_never_go() {
    let run = |spec: Value, job: Option<JobFacts>| {
        let owner = json!([{"kind": "Job", "name": "web"}]);
        // What the snapshot says of the Job is another one, by its name.
        let object = json!({"kind": "Job", "metadata": {"name": "web", "namespace": "shop"}, "spec": {}});
        let case = Case::new("200m", "200Mi").with("/metadata/ownerReferences", owner).beside(object);
        Case { kind: "Job", job, ..case }.mode(spec).reasons().remove(0)
    };
    assert!(run(json!({"mode": "Always"}), job(false)).contains("ttlSecondsAfterFinished"));
    assert_eq!(run(json!({"mode": "Always"}), job(true)), "Always");
    assert_eq!(run(json!({"mode": "Always", "neverRoute": []}), job(false)), "Always");
    // Nobody knows whether it is cleared away.
    assert!(run(json!({"mode": "Always"}), None).starts_with("its Job is not known"));
    assert!(run(json!({"mode": "Always", "neverRoute": []}), None).starts_with("its Job is not known"));
    assert_eq!(
        run(json!({"mode": "Always", "neverRoute": ["Job"]}), job(true)),
        "spec.neverRoute of the policy names Job"
    );
    let marked_for = |spec: Value, observed, mark: &str| {
        let mark = json!({"karpenter.sh/do-not-disrupt": mark});
        let case = Case::new("200m", "200Mi").with("/metadata/annotations", mark);
        Case { life: Life { observed, ..Life::default() }, ..case }.mode(spec).reasons().remove(0)
    };
    // Three days are as good as for ever; an hour is not.
    assert!(marked_for(json!({"mode": "Always"}), None, "72h").contains("must not be disrupted"));
    assert_eq!(marked_for(json!({"mode": "Always"}), Some(3_600), "72h"), "Always");
    assert_eq!(marked_for(json!({"mode": "Always"}), None, "1h"), "Always");
    let marked = |spec, observed| marked_for(spec, observed, "true");
    assert!(marked(json!({"mode": "Always"}), None).contains("must not be disrupted"));
    assert_eq!(marked(json!({"mode": "Always"}), Some(3_600)), "Always");
    assert!(marked(json!({"mode": "Always"}), Some(90_000)).contains("must not be disrupted"));
    assert_eq!(marked(json!({"mode": "Always", "neverRoute": []}), None), "Always");
    for (kind, word) in [("StatefulSet", "StatefulSet"), ("Pod", "BarePod")] {
        let spec = json!({"mode": "Always", "neverRoute": [word]});
        let case = Case { kind, ..Case::new("200m", "200Mi") };
        assert_eq!(case.mode(spec).reasons(), [format!("spec.neverRoute of the policy names {word}")]);
    }
}

/// The first profile by name has subnets in the wrong zone: the other one is named by its label.
#[test]
fn a_pod_that_needs_a_zone_goes_to_the_profile_of_that_zone() {
    let zonal = |zone: &str| {
        let selectors = json!([{"namespace": "shop", "labels": {"stowage.dev/fargate": "true"}}]);
        let spec = json!({"mode": "Always", "profiles": [
            {"name": "a", "selectors": selectors, "zones": ["us-east-1a"]},
            {"name": "b", "selectors": selectors, "zones": ["us-east-1b"]},
        ]});
        Case::new("200m", "200Mi")
            .with("/spec/nodeSelector", json!({"topology.kubernetes.io/zone": zone}))
            .mode(spec)
            .unasked()
    };
    let target = |zone: &str| zonal(zone).look().target.map(|t| (t.profile, t.labels.len()));
    assert_eq!(target("us-east-1a"), Some(("a".to_owned(), 1)));
    assert_eq!(target("us-east-1b"), Some(("b".to_owned(), 2)));
    assert_eq!(target("us-east-1c"), None);
    assert!(zonal("us-east-1c").reasons()[0].contains("outside of the zones"));
}

/// A pod that runs on Fargate already is as good an example as one that waits.
#[test]
fn a_pod_of_fargate_is_looked_at_as_if_it_were_new() {
    let routed = Case::new("200m", "200Mi")
        .with(
            "/metadata/labels",
            json!({"stowage.dev/fargate": "true", "eks.amazonaws.com/fargate-profile": "jobs"}),
        )
        .with("/spec/schedulerName", json!("fargate-scheduler"))
        .with("/spec/nodeName", json!("fargate-ip-10-0-0-1"));
    assert_eq!(routed.side(), (Side::Fargate, "Cost"));
    assert_eq!(routed.look().nodes, bought(0.1008));
    assert_eq!(routed.beside(node("1")).side(), (Side::Ec2, "FreeRoom"));
}

/// 900m and 3 GiB: dear for one, and not for many. Those that run on Fargate already are as many as those that wait.
#[test]
fn pods_that_are_on_fargate_already_count() {
    let with = |on_fargate, waiting| Case { waiting, on_fargate, ..Case::new("900m", "3Gi") }.look();
    assert_eq!((with(1, 0).side, with(0, 0).side), (Side::Fargate, Side::Fargate));
    let many = with(200, 0);
    assert_eq!((many.side, many.nodes, many.together), (Side::Ec2, bought(0.0504), 50));
    let grown = with(3, 1);
    assert_eq!((grown.side, grown.nodes, grown.together), (Side::Ec2, bought(0.0504), 4));
}

/// Twelve workloads of one pod each. One by one each would open a node for $0.1008 and costs $0.02469 on Fargate; together they
/// fit on two, which is $0.0168 each.
#[test]
fn many_that_are_dear_one_by_one_are_cheap_together() {
    let snapshot = read_all(vec![]);
    let sample = read_all(vec![Case::new("300m", "768Mi").pod]);
    let catalog = Catalog::parse(CATALOG.as_bytes(), "catalog.json").unwrap();
    let profiles = Profiles::of_eks(vec![profile("jobs", "shop", &[("stowage.dev/fargate", "true")])]);
    let ground = Ground {
        snapshot: &snapshot,
        catalog: &catalog,
        options: &LowerOptions::default(),
        profiles: &profiles,
        subnets: &[],
        rates: Some(RATES),
        node_start: 60,
    };
    let workloads: Vec<Workload> = (0..12)
        .map(|n| {
            let root = Root::Controller("Deployment".to_owned(), format!("w{n}"));
            Workload { namespace: "shop".to_owned(), root, template: "1".to_owned() }
        })
        .collect();
    let (needs, waiting) = (Needs::default(), BTreeSet::new());
    let sides = |policy: &Policy, count: usize, on_fargate: usize| -> Vec<Finding> {
        let candidate = |workload| Candidate {
            workload,
            policy,
            pod: &sample.pods[0],
            needs: &needs,
            job: None,
            life: Life { endless: true, ..Life::default() },
            waiting: &waiting,
            on_fargate,
        };
        let all: Vec<Candidate<'_>> = workloads.iter().take(count).map(candidate).collect();
        let found = look(&ground, &all, &AtomicBool::new(false)).unwrap();
        // With fewer plans the same is found for one.
        for at in [0, count - 1] {
            assert_eq!(look_at(&ground, &all, at, &AtomicBool::new(false)).unwrap(), found[at]);
        }
        assert_eq!(look_at(&ground, &all, count, &AtomicBool::new(false)).unwrap(), None);
        found.into_iter().map(Option::unwrap).collect()
    };
    let cheaper = policy(Some("shop"), "p", json!({"mode": "WhenCheaper"}));
    let alone = &sides(&cheaper, 1, 1)[0];
    assert_eq!((alone.side, alone.nodes, alone.jointly), (Side::Fargate, bought(0.1008), None));
    let together = sides(&cheaper, 12, 1);
    for found in &together {
        // What it costs by itself is told as well.
        assert_eq!((found.side, found.nodes), (Side::Ec2, bought(0.1008)));
        assert_eq!(found.jointly, Some(Price::from_micros(16_800)));
    }
    // Without pods on Fargate there is nothing that could come together: each is one that may come.
    assert!(sides(&cheaper, 12, 0).iter().all(|found| found.side == Side::Fargate));
    // Who may cost more stays, and who is not asked for the price.
    let tolerant = policy(Some("shop"), "p", json!({"mode": "WhenCheaper", "tolerancePercent": 50}));
    assert!(sides(&tolerant, 12, 1).iter().all(|found| found.side == Side::Fargate));
    let roomy = policy(Some("shop"), "p", json!({"mode": "WhenNoRoom"}));
    assert!(sides(&roomy, 12, 1).iter().all(|found| found.side == Side::Fargate));
}

/// A node of Fargate with room on it, and a pod that tolerates its taint.
#[test]
fn nodes_of_fargate_are_nobodys_room() {
    let mut own = node("4");
    own["metadata"]["labels"]["eks.amazonaws.com/compute-type"] = json!("fargate");
    assert_eq!(Case::new("200m", "200Mi").beside(own).look().nodes, bought(0.1008));
}

/// What a policy states is seen by its own pods, and EKS has the last word.
#[test]
fn profiles_are_those_of_eks_once_it_was_asked() {
    let stated = json!([{"name": "own", "selectors": [{"namespace": "shop", "labels": {"a": "b"}}]}]);
    let case = || Case::new("200m", "200Mi").mode(json!({"mode": "Always", "profiles": stated}));
    let target = case().unasked().look().target.unwrap();
    assert_eq!((target.profile.as_str(), target.labels), ("own", crate::labels(&[("a", "b")])));
    assert_eq!(case().reasons(), ["NoProfile"]);
    let eks =
        Profiles::of_eks(vec![profile("own", "shop", &[("eks", "says")]), profile("another", "shop", &[])]);
    // Another one takes every pod of the namespace and is the first by name: EKS would send it there.
    let target = Case { profiles: eks, ..case() }.look().target.unwrap();
    assert_eq!(target.profile, "own");
    let named = crate::labels(&[("eks", "says"), ("eks.amazonaws.com/fargate-profile", "own")]);
    assert_eq!(target.labels, named);
    // Nothing is stated, and nobody has asked.
    assert_eq!(Case::new("200m", "200Mi").unasked().reasons(), ["NoProfile"]);
}
