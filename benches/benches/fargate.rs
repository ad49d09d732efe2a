//! Answering admissions from verdicts that are there: 10,000 workloads, 100 policies.
//!
//! ```sh
//! cargo bench -p stowage-benches --bench fargate
//! ```
//!
//! | name | what it is the time of |
//! |---|---|
//! | `routed` | an admission of a pod that goes to Fargate: reading the review, the policy, the verdict, the profile, the cap, the patch |
//! | `left` | one of a pod that no policy selects |
//! | `hashed` | one of a bare pod, whose template is a hash of the pod |
//! | `rollout` | one of a pod of a template that nobody has looked at, which goes where the latest of its owner went |
//! | `shared` | what the verdicts take to be written for others |
//!
//! Before that 100,000 admissions of all workloads in turn are answered one after the other. The slowest hundredth must stay
//! below 5 ms: the bench fails otherwise. A thousand a second take what `mean` says of one processor, times a thousand.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;
use serde_json::{Value, json};
use stowage_fargate::{
    Admission, Before, Cache, Concerns, DOCUMENT_BYTES, Finding, Jobs, Labels, Ledger, Needs, OnNodes,
    Policies, Policy, Profiles, Side, Steadiness, Target, Verdict, Why, Workload, admit,
};
use stowage_pricing::FargateRates;
use stowage_pricing::fargate::{Profile, ProfileSelector, Shape};
use stowage_solver::Price;

const WORKLOADS: usize = 10_000;
const POLICIES: usize = 100;
const ADMISSIONS: usize = 100_000;
/// The uid of the admissions: a number takes the place of its end.
const UID: &str = "705ab4f5-6393-11e8-b7cc-000000000000";
const RATES: FargateRates = FargateRates { vcpu: 0.040_48, gb: 0.004_445, storage_gb: 0.000_111 };
const MOST_TIME: Duration = Duration::from_millis(5);

struct Desk {
    policies: Policies,
    profiles: Profiles,
    jobs: Jobs,
    concerns: Concerns,
    cache: Cache,
    ledger: Ledger,
    /// How many were admitted: each admission has an uid of its own.
    admitted: usize,
}

fn main() {
    let quick = std::env::args().any(|arg| arg == "--test");
    let mut desk = Desk::new();
    let reviews: Vec<Vec<u8>> = (0..WORKLOADS).map(|n| review(&pod(n)).to_string().into_bytes()).collect();
    let mut times = Vec::new();
    let mut routed = 0;
    for n in 0..if quick { WORKLOADS } else { ADMISSIONS } {
        let began = Instant::now();
        routed += usize::from(desk.answer(&reviews[n % WORKLOADS]));
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    let mean = times.iter().sum::<Duration>().as_secs_f64() / times.len() as f64;
    eprintln!(
        "{} admissions of {} B, {routed} routed: mean {:.1} µs, p50 {:.1} µs, p99 {:.1} µs, the slowest {:.1} µs",
        times.len(),
        reviews[0].len(),
        mean * 1e6,
        at(0.5),
        at(0.99),
        at(1.0),
    );
    assert!(routed == times.len(), "every one of these goes to Fargate");
    assert!(at(0.99) <= MOST_TIME.as_secs_f64() * 1e6, "the slowest hundredth took too long");

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("admit");
    group.bench_function("routed", |b| b.iter(|| desk.answer(black_box(&reviews[4_321]))));
    let nobody = left().to_string().into_bytes();
    group.bench_function("left", |b| b.iter(|| desk.answer(black_box(&nobody))));
    let run = hashed().to_string().into_bytes();
    group.bench_function("hashed", |b| b.iter(|| desk.answer(black_box(&run))));
    let next = rollout().to_string().into_bytes();
    group.bench_function("rollout", |b| b.iter(|| assert!(desk.answer(black_box(&next)))));
    group.bench_function("shared", |b| {
        b.iter(|| desk.cache.write(60, black_box(DOCUMENT_BYTES)).map(|parts| parts.all.len()));
    });
    group.finish();
    criterion.final_summary();
}

/// Workload `n` is one of the namespace of policy `n % 100`.
fn namespace(n: usize) -> String {
    format!("team-{}", n % POLICIES)
}

/// A pod as the API server sends it: two containers, probes, environment, volumes.
fn pod(n: usize) -> Value {
    let hash = format!("{:08x}", n * 2_654_435_761);
    let container = |name: &str| {
        json!({
            "name": name, "image": format!("registry.example.com/{name}:1.2.3"), "imagePullPolicy": "IfNotPresent",
            "env": (0..15).map(|i| json!({"name": format!("SETTING_{i}"), "value": format!("value-{i}")})).collect::<Vec<_>>(),
            "ports": [{"containerPort": 8080, "protocol": "TCP"}],
            "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10},
            "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 5},
            "resources": {"requests": {"cpu": "200m", "memory": "200Mi"}, "limits": {"memory": "200Mi"}},
            "volumeMounts": [{"name": "config", "mountPath": "/etc/app"}, {"name": "kube-api-access-x7d2p", "mountPath": "/var/run/secrets", "readOnly": true}],
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        })
    };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "generateName": format!("service-{n}-{hash}-"), "namespace": namespace(n),
            "labels": {"app": format!("service-{n}"), "tier": "web", "pod-template-hash": hash},
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("service-{n}-{hash}"), "uid": "3d2f", "controller": true, "blockOwnerDeletion": true}],
        },
        "spec": {
            "containers": [container("app"), container("proxy")], "restartPolicy": "Always", "schedulerName": "default-scheduler",
            "serviceAccountName": "default", "serviceAccount": "default", "dnsPolicy": "ClusterFirst", "priority": 0,
            "volumes": [
                {"name": "config", "configMap": {"name": format!("service-{n}"), "defaultMode": 420}},
                {"name": "kube-api-access-x7d2p", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}], "defaultMode": 420}},
            ],
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
            ],
        },
    })
}

fn review(pod: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": UID, "operation": "CREATE", "namespace": pod["metadata"]["namespace"],
            "kind": {"group": "", "version": "v1", "kind": "Pod"}, "resource": {"group": "", "version": "v1", "resource": "pods"},
            "userInfo": {"username": "system:serviceaccount:kube-system:replicaset-controller", "groups": ["system:authenticated"]},
            "object": pod, "oldObject": null, "dryRun": false, "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        },
    })
}

/// A pod that no policy selects.
fn left() -> Value {
    let mut pod = pod(0);
    pod["metadata"]["namespace"] = json!("elsewhere");
    review(&pod)
}

/// A pod of nobody.
fn hashed() -> Value {
    let mut pod = pod(7);
    pod["metadata"]["ownerReferences"] = json!([]);
    review(&pod)
}

/// A pod of the next template of a workload.
fn rollout() -> Value {
    let mut pod = pod(8);
    pod["metadata"]["labels"]["pod-template-hash"] = json!("77aa");
    pod["metadata"]["ownerReferences"][0]["name"] = json!("service-8-77aa");
    review(&pod)
}

impl Desk {
    fn new() -> Self {
        let selector = ProfileSelector {
            namespace: "team-*".to_owned(),
            labels: Labels::from([("stowage.dev/fargate".to_owned(), "true".to_owned())]),
        };
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "jobs"];
        let profile = |name: &&str| Profile {
            name: (*name).to_owned(),
            selectors: vec![ProfileSelector { namespace: format!("{name}-*"), ..selector.clone() }; 5],
            subnets: Vec::new(),
        };
        let mut profiles: Vec<Profile> = names.iter().map(profile).collect();
        profiles[9].selectors = vec![selector];
        let jobs = Jobs::default();
        let policy = |n: usize| {
            let object = json!({
                "apiVersion": "stowage.dev/v1alpha1", "kind": "FargatePolicy",
                "metadata": {"name": "default", "namespace": namespace(n)},
                "spec": {"mode": "WhenCheaper", "podSelector": {"matchLabels": {"tier": "web"}}, "caps": {"maxPods": 100_000_000}},
            });
            Policy::of_namespace(&object.to_string()).expect("one that is understood")
        };
        let all: Vec<Policy> = (0..POLICIES).map(policy).collect();
        let mut cache = Cache::default();
        for n in 0..WORKLOADS {
            let workload = Workload::of_pod(&pod(n), &namespace(n), &jobs).expect("of no Job");
            let found = Finding {
                policy: (all[n % POLICIES].id.clone(), all[n % POLICIES].version),
                target: Some(Target {
                    profile: "jobs".to_owned(),
                    labels: profiles[9].selectors[0].labels.clone(),
                    shape: Shape { cpu_millis: 500, memory_mib: 1024, disk_gib: 20 },
                    price: Price::from_micros(24_685),
                    needs: Needs::default(),
                }),
                side: Side::Fargate,
                why: Why::Cost,
                nodes: Some(OnNodes::Bought(Price::from_micros(100_800))),
                jointly: None,
                lead_percent: Some(75),
                together: 1,
            };
            cache.put(&workload, Verdict::after(Before::Nothing, found, 0, Steadiness::default()));
        }
        let (policies, _) = Policies::new(all, BTreeMap::new(), "stowage");
        let mut ledger = Ledger::take_over(None, &policies, 0);
        ledger.lead(u64::MAX);
        ledger.expire(1_000);
        let (profiles, concerns) = (Profiles::of_eks(profiles), Concerns::default());
        Self { policies, profiles, jobs, concerns, cache, ledger, admitted: 0 }
    }

    /// Whether the pod goes to Fargate.
    fn answer(&mut self, review: &[u8]) -> bool {
        self.admitted += 1;
        let (uid, now) = (format!("u-{}", self.admitted), 60 + self.admitted as u64 / 1_000);
        // What goes on beside admissions: pods are seen, and the next block is written.
        if let Some(long_ago) = self.admitted.checked_sub(5_000) {
            self.ledger.release(&format!("u-{long_ago}"));
        }
        if self.admitted % 1_000 == 1 {
            while let Some(levels) = self.ledger.to_write() {
                self.ledger.wrote(&levels);
            }
        }
        let Self { policies, profiles, jobs, concerns, cache, ledger, .. } = self;
        let rates = Some(RATES);
        let admission = Admission { policies, profiles, jobs, concerns, cache, rates, oldest: u64::MAX };
        let answer = admit(review, &admission, now, &mut |asked| {
            let asked = stowage_fargate::Request { ticket: uid.clone(), ..asked.clone() };
            ledger.reserve(&asked, now)
        });
        black_box(answer.review.to_string());
        answer.outcome.word() == "Routed"
    }
}
