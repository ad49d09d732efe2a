//! `stowage explain pod`: what policies for Fargate make of a pod, and what a controller has recorded.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    reason = "tests, which share what they do not all use"
)]

mod support;

use serde_json::{Value, json};
use stowage_fargate::{
    Cache, Finding, Needs, OnNodes, Policy, Root, Side, Target, VERDICTS_KEY, VERDICTS_LABEL, Verdict, Why,
    Workload,
};
use stowage_pricing::fargate::Shape;
use stowage_solver::Price;
use support::{Ran, folder, stowage};

/// 2026-01-01T00:00:00Z.
const NEW_YEAR: u64 = 1_767_225_600;

/// One size, at half of what Fargate takes for as much.
fn catalog() -> Value {
    json!([{
        "name": "m7.large", "architecture": "amd64", "operatingSystems": ["linux"],
        "resources": {"cpu": "2", "memory": "8Gi", "pods": "110"},
        "labels": {"karpenter.k8s.aws/instance-category": "m", "karpenter.k8s.aws/instance-generation": "7"},
        "offerings": [{"Price": 0.05, "Available": true, "Requirements": [
            {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]},
            {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["a"]},
        ]}],
    }])
}

fn node_pool() -> Value {
    json!({
        "kind": "NodePool", "apiVersion": "karpenter.sh/v1", "metadata": {"name": "default"},
        "spec": {"template": {"spec": {
            "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"},
            "requirements": [{"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]}],
        }}},
    })
}

/// A pod of the Deployment web that waits.
fn pod(name: &str, cpu: &str, memory: &str) -> Value {
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {
            "name": name, "namespace": "shop", "labels": {"app": "web", "pod-template-hash": "5d4f"},
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d4f", "uid": "rs", "controller": true}],
        },
        "spec": {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]},
        "status": {"phase": "Pending"},
    })
}

fn small() -> Value {
    pod("web-1", "250m", "512Mi")
}

/// A policy of the namespace, with a profile of its own.
fn policy(name: &str, spec: &Value) -> Value {
    let mut policy = json!({
        "kind": "FargatePolicy", "apiVersion": "stowage.dev/v1alpha1",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"profiles": [{
            "name": "stowage",
            "selectors": [{"namespace": "shop", "labels": {"stowage.dev/fargate": "true"}}],
        }]},
    });
    for (key, value) in spec.as_object().unwrap() {
        policy["spec"][key] = value.clone();
    }
    policy
}

fn when_cheaper() -> Value {
    policy("default", &json!({"mode": "WhenCheaper", "tolerancePercent": 5}))
}

fn explain(test: &str, objects: &[Value], more: &[&str]) -> Ran {
    let folder = folder(test);
    let (prices, file) = (folder.join("catalog.json"), folder.join("cluster.json"));
    std::fs::write(&prices, catalog().to_string()).unwrap();
    let mut items = objects.to_vec();
    items.push(node_pool());
    let list = json!({"kind": "List", "apiVersion": "v1", "items": items});
    std::fs::write(&file, list.to_string()).unwrap();
    let mut args = vec!["explain", "pod", "shop/web-1"];
    args.extend(more);
    args.extend([file.to_str().unwrap(), "--catalog", prices.to_str().unwrap()]);
    stowage(&args).env("COLUMNS", "100").output().unwrap().into()
}

/// The section about Fargate, to the next one.
fn section(test: &str, objects: &[Value]) -> String {
    let ran = explain(test, objects, &[]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let from = ran.stdout.find("\nFargate\n").map(|at| &ran.stdout[at + 1..]).unwrap_or_default();
    from.split("\n\n").next().unwrap().trim_end().to_owned()
}

fn told(test: &str, objects: &[Value]) -> Value {
    let ran = explain(test, objects, &["-o", "json"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let all: Value = serde_json::from_str(&ran.stdout).unwrap();
    all["fargateVerdict"].clone()
}

/// What a controller writes.
fn recorded(policy: &Value, held: bool) -> Value {
    let policy = Policy::of_namespace(&policy.to_string()).unwrap();
    let workload = Workload {
        namespace: "shop".to_owned(),
        root: Root::Controller("Deployment".to_owned(), "web".to_owned()),
        template: "5d4f".to_owned(),
    };
    let target = Target {
        profile: "stowage".to_owned(),
        labels: [("stowage.dev/fargate".to_owned(), "true".to_owned())].into(),
        shape: Shape { cpu_millis: 250, memory_mib: 1024, disk_gib: 20 },
        price: Price::from_micros(14_565),
        needs: Needs::default(),
    };
    let found = Finding {
        policy: (policy.id.clone(), policy.version),
        target: Some(target),
        side: Side::Fargate,
        why: Why::Cost,
        nodes: Some(OnNodes::Bought(Price::from_micros(50_000))),
        jointly: None,
        lead_percent: Some(72),
        together: 1,
    };
    let since = NEW_YEAR - 7_200;
    let looked = NEW_YEAR + 60;
    let verdict = Verdict { found, side: Side::Fargate, why: Why::Cost, since, looked, against: 0 };
    let mut cache = Cache::default();
    cache.put(&workload, verdict);
    if held {
        cache.hold(&workload, NEW_YEAR);
    }
    let document = cache.write(NEW_YEAR + 90, stowage_fargate::DOCUMENT_BYTES).unwrap().all.remove(0).json;
    config_map(&document)
}

fn config_map(document: &str) -> Value {
    json!({
        "kind": "ConfigMap", "apiVersion": "v1",
        "metadata": {
            "name": "stowage-fargate-verdicts-0", "namespace": "stowage",
            "labels": {VERDICTS_LABEL.0: VERDICTS_LABEL.1},
        },
        "data": {VERDICTS_KEY: document},
    })
}

/// The same as one line, each run of spaces one.
fn flat(test: &str, objects: &[Value]) -> String {
    section(test, objects).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn says(test: &str, objects: &[Value], expected: &str) {
    assert_eq!(section(test, objects), expected.trim_start_matches('\n'), "{test}");
}

const ON_FARGATE: &str = "
  Fargate   $0.0146 an hour for 0.25 vCPU, 1 GiB, by profile stowage, with the label
            stowage.dev/fargate=true
  nodes     $0.0500 an hour, which the plan costs more with it than without
  verdict   Fargate: cheaper by 72%, the tolerance of 5% counted";

#[test]
fn a_pod_that_is_cheaper_on_fargate() {
    let expected = format!(
        "\
Fargate
  policy    FargatePolicy shop/default: WhenCheaper, up to 5% dearer
  workload  Deployment web, template 5d4f; of its pods 1 waits{ON_FARGATE}
  pod       waits for a node, as that is decided when a pod is made; with spec.pending.recreate it
            would be made anew"
    );
    says("ef-cheaper", &[small(), when_cheaper()], &expected);
    let recreate = policy(
        "default",
        &json!({"mode": "Always", "caps": {"maxPods": 2, "maxHourlyCost": "2.5"}, "pending": {"recreate": true}}),
    );
    let told = flat("ef-recreate", &[small(), recreate]);
    assert!(told.contains("shop/default: Always; at most 2 pods and $2.50 an hour"), "{told}");
    assert!(told.contains("by spec.pending.recreate it is deleted for its owner"), "{told}");
}

#[test]
fn a_pod_that_is_dearer_there_stays_on_nodes() {
    let objects = [pod("web-1", "1900m", "7Gi"), when_cheaper()];
    says(
        "ef-dearer",
        &objects,
        "
Fargate
  policy    FargatePolicy shop/default: WhenCheaper, up to 5% dearer
  workload  Deployment web, template 5d4f; of its pods 1 waits
  Fargate   $0.1165 an hour for 2 vCPU, 8 GiB, by profile stowage, with the label
            stowage.dev/fargate=true
  nodes     $0.0500 an hour, which the plan costs more with it than without
  verdict   nodes: cheaper by 54%, the tolerance of 5% counted
  pod       waits for a node",
    );
    let found = &told("ef-dearer-json", &objects)["found"];
    assert_eq!((&found["side"], &found["why"]), (&json!("nodes"), &json!("Cost")));
    assert_eq!(found["nodes"], json!({"place": "bought", "price": 0.05, "pods": 1}));
    assert_eq!(found["fargate"]["price"], json!(0.11652));
}

#[test]
fn a_rule_that_forbids_fargate_is_named() {
    let mut privileged = small();
    privileged["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    says(
        "ef-privileged",
        &[privileged, when_cheaper()],
        "
Fargate
  policy    FargatePolicy shop/default: WhenCheaper, up to 5% dearer
  workload  Deployment web, template 5d4f; of its pods 1 waits
  Fargate   not possible: Fargate runs no privileged containers
  verdict   nodes: rules forbid Fargate
  pod       waits for a node",
    );
    let mut port = small();
    port["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80, "hostPort": 80}]);
    let found = &told("ef-port", &[port, when_cheaper()])["found"];
    assert_eq!((&found["side"], &found["why"]), (&json!("nodes"), &json!("Forbidden")));
    assert!(found["reasons"][0].as_str().unwrap().contains("host port"), "{found}");
}

#[test]
fn a_profile_that_is_missing_is_asked_for() {
    let mut none = when_cheaper();
    none["spec"].as_object_mut().unwrap().remove("profiles");
    let unknown = flat("ef-unknown", &[small(), none.clone()]);
    assert!(unknown.contains("no profile is known: name them in spec.profiles of the policy"), "{unknown}");
    let profile = |namespace: &str| {
        json!({
            "kind": "FargateProfile", "apiVersion": "eks.services.k8s.aws/v1alpha1",
            "metadata": {"name": "jobs", "namespace": "stowage"},
            "spec": {"name": "jobs", "selectors": [{"namespace": namespace, "labels": {"go": "yes"}}]},
        })
    };
    let other = flat("ef-other-profile", &[small(), none.clone(), profile("bank")]);
    assert!(other.contains("no Fargate profile takes its pods: create one with the selector"), "{other}");
    let own = flat("ef-profile", &[small(), none, profile("shop")]);
    assert!(own.contains("by profile jobs, with the label go=yes"), "{own}");
}

#[test]
fn without_a_policy_that_selects_it_nothing_sends_it_there() {
    let other =
        policy("batch", &json!({"mode": "Always", "podSelector": {"matchLabels": {"tier": "batch"}}}));
    says(
        "ef-none",
        &[small(), other],
        "
Fargate
  policy    none: that of the snapshot does not select it
  workload  Deployment web, template 5d4f
  pod       waits for a node",
    );
    // Who does not use Fargate is not told of it.
    let ran = explain("ef-nothing", &[small()], &[]);
    assert!(ran.code == Some(0) && !ran.stdout.contains("Fargate"), "{}", ran.stdout);
}

#[test]
fn of_policies_that_contradict_one_rules_and_the_others_say_why_not() {
    let narrow = policy("narrow", &json!({"mode": "Never", "podSelector": {"matchLabels": {"app": "web"}}}));
    let wide = json!({
        "kind": "ClusterFargatePolicy", "apiVersion": "stowage.dev/v1alpha1",
        "metadata": {"name": "wide"}, "spec": {"mode": "Always"},
    });
    let objects = [small(), when_cheaper(), narrow, wide];
    says(
        "ef-contradict",
        &objects,
        "
Fargate
  policy    FargatePolicy shop/narrow: Never
            not FargatePolicy shop/default (WhenCheaper, up to 5% dearer): it selects by fewer
            requirements, 0 and not 1; it wants something else
            not ClusterFargatePolicy wide (Always): it is of the cluster, and one of the namespace
            comes first; it wants something else
  workload  Deployment web, template 5d4f; of its pods 1 waits
  verdict   nodes: the policy says so
  pod       waits for a node",
    );
    let overruled = &told("ef-contradict-json", &objects)["overruled"];
    let named = [&overruled[0]["name"], &overruled[1]["kind"], &overruled[1]["contradicts"]];
    assert_eq!(named, [&json!("default"), &json!("ClusterFargatePolicy"), &json!(true)]);
}

#[test]
fn what_a_controller_has_recorded_stands_beside_what_is_found() {
    let objects = [small(), when_cheaper(), recorded(&when_cheaper(), true)];
    let expected = format!(
        "\
Fargate
  policy    FargatePolicy shop/default: WhenCheaper, up to 5% dearer
  workload  Deployment web, template 5d4f; of its pods 1 waits{ON_FARGATE}
  recorded  Fargate since 2025-12-31T22:00:00Z, looked at 30s before the snapshot; nodes were
            $0.0500 an hour
  held      on nodes until 2026-01-01T01:00:00Z, as Fargate did not start its pods in time
  pod       waits for a node"
    );
    says("ef-recorded", &objects, &expected);
    let told = told("ef-recorded-json", &objects);
    assert_eq!(told["asOf"], json!("2026-01-01T00:01:30Z"));
    assert_eq!(told["held"], json!({"until": "2026-01-01T01:00:00Z", "strikes": 1}));
    let record = &told["recorded"];
    assert_eq!((&record["template"], &record["side"]), (&json!("same"), &json!("fargate")));
    assert_eq!((&record["ageSeconds"], &record["nodes"]["price"]), (&json!(30), &json!(0.05)));
    // Of another version of the policy it is not followed; of what stays on nodes there is none.
    let always = policy("default", &json!({"mode": "Always"}));
    let other = flat("ef-version", &[small(), always, recorded(&when_cheaper(), false)]);
    assert!(other.contains("of another policy or version of it, so it is not followed"), "{other}");
    let mut elsewhere = small();
    elsewhere["metadata"]["ownerReferences"][0]["name"] = json!("front-5d4f");
    let nothing = flat("ef-unrecorded", &[elsewhere, when_cheaper(), recorded(&when_cheaper(), true)]);
    assert!(nothing.contains("recorded nothing, so its next pod goes to nodes"), "{nothing}");
    assert!(!nothing.contains("held"), "{nothing}");
}

#[test]
fn what_is_found_now_need_not_be_what_is_recorded() {
    let objects = [pod("web-1", "1900m", "7Gi"), when_cheaper(), recorded(&when_cheaper(), false)];
    let told = flat("ef-turned", &objects);
    let expected = "better by 10% in 3 looks in a row";
    assert!(told.contains(expected), "{told}");
}

#[test]
fn a_pod_on_fargate_is_told_of_although_it_does_not_wait() {
    let mut running = small();
    running["metadata"]["labels"]["eks.amazonaws.com/fargate-profile"] = json!("stowage");
    running["metadata"]["annotations"] = json!({"CapacityProvisioned": "0.25vCPU 2GB"});
    running["spec"]["schedulerName"] = json!("fargate-scheduler");
    running["spec"]["nodeName"] = json!("fargate-ip-10-0-0-1");
    running["status"]["phase"] = json!("Running");
    let ran = explain("ef-running", &[running.clone(), when_cheaper()], &[]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let expected = format!(
        "\
shop/web-1 is not among the pods that are planned for

Fargate
  policy    FargatePolicy shop/default: WhenCheaper, up to 5% dearer
  workload  Deployment web, template 5d4f; of its pods 1 is on Fargate{ON_FARGATE}
  pod       runs on Fargate by profile stowage for $0.0190 an hour; billed 0.25 vCPU and 2 GB, and
            0.25 vCPU and 1 GB were planned
"
    );
    assert_eq!(ran.stdout, expected);
    let place = &told("ef-running-json", &[running.clone(), when_cheaper()])["pod"];
    assert_eq!((&place["on"], &place["profile"]), (&json!("fargate"), &json!("stowage")));
    assert_eq!(place["billed"], json!({"vcpu": 0.25, "memoryGiB": 2.0}));
    // And where nothing says why.
    let alone = flat("ef-alone", &[running]);
    assert!(alone.contains("policy none: the snapshot holds neither FargatePolicies nor"), "{alone}");
    // One that runs on a node is told of where there are policies, and as before where there are none.
    let mut bound = small();
    bound["spec"]["nodeName"] = json!("n");
    bound["status"]["phase"] = json!("Running");
    let told = flat("ef-bound", &[bound.clone(), when_cheaper()]);
    assert!(told.contains("runs on node n, and stays there until it is made anew"), "{told}");
    let ran = explain("ef-bound-alone", &[bound], &[]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("the plan has no pending pod shop/web-1"), "{}", ran.stderr);
}

#[test]
fn what_is_damaged_is_told_of_and_nothing_more() {
    let wrong = policy("default", &json!({"mode": "Sometimes"}));
    let elsewhere = json!({
        "kind": "FargatePolicy", "apiVersion": "stowage.dev/v1alpha1",
        "metadata": {"name": "odd", "namespace": "bank"}, "spec": {"mode": 7},
    });
    let nameless = json!({"kind": "ClusterFargatePolicy", "apiVersion": "stowage.dev/v1alpha1", "spec": []});
    let mut empty = config_map("");
    empty["data"] = json!(null);
    let twice = policy("default", &json!({"mode": "Always"}));
    let objects = [small(), wrong, elsewhere, nameless, config_map("["), empty, twice];
    let told = told("ef-damaged", &objects);
    assert_eq!(told["policy"]["valid"], json!(false));
    let error = "FargatePolicy shop/default: spec.mode: \"Sometimes\" is no mode: write Never, WhenCheaper, Always \
                 or WhenNoRoom";
    assert_eq!(told["policy"]["errors"], json!([error]));
    let warnings = told["warnings"].as_array().unwrap();
    let words = [
        "items[3]: ClusterFargatePolicy: metadata.name: missing",
        "items[4]: ConfigMap stowage/stowage-fargate-verdicts-0: data.verdicts: EOF",
        "items[5]: ConfigMap stowage/stowage-fargate-verdicts-0: data.verdicts: missing",
        "items[6]: FargatePolicy shop/default: metadata.name: there is already one of this name",
        "FargatePolicy bank/odd: spec.mode: invalid type",
    ];
    assert_eq!(warnings.len(), words.len(), "{warnings:?}");
    for (warning, words) in warnings.iter().zip(words) {
        assert!(warning.as_str().unwrap().contains(words), "{warning}");
    }
    let table = section("ef-damaged-table", &objects);
    assert!(
        table.contains("selects it, and keeps it on nodes until it is mended\n            spec.mode:"),
        "{table}"
    );
    assert!(table.contains("verdict   nodes: the policy cannot be understood"), "{table}");
}

#[test]
fn a_job_is_known_by_what_it_is_made_from() {
    let mut run = small();
    run["metadata"]["ownerReferences"] = json!([{"kind": "Job", "name": "report-1", "controller": true}]);
    let job = json!({
        "kind": "Job", "apiVersion": "batch/v1", "metadata": {"name": "report-1", "namespace": "shop"},
        "spec": {"ttlSecondsAfterFinished": 60, "template": {"spec": {"containers": []}}},
    });
    let known = flat("ef-job", &[run.clone(), job.clone(), when_cheaper()]);
    assert!(
        known.contains("workload Job report-1, template") && known.contains("verdict Fargate"),
        "{known}"
    );
    assert!(known.contains("the next one that is made goes to Fargate"), "{known}");
    let mut lasting = job;
    lasting["spec"].as_object_mut().unwrap().remove("ttlSecondsAfterFinished");
    let left = flat("ef-job-left", &[run.clone(), lasting, when_cheaper()]);
    assert!(left.contains("ttlSecondsAfterFinished") && left.contains("rules forbid Fargate"), "{left}");
    let unknown = flat("ef-no-job", &[run, when_cheaper()]);
    assert!(unknown.contains("workload not known: add the Job of the pod to the snapshot"), "{unknown}");
}

#[test]
fn workloads_that_come_along_to_nodes_are_told_as_a_share() {
    // Each alone would open a node, and one node holds all.
    let mut objects: Vec<Value> = vec![when_cheaper()];
    for n in 1..=3 {
        let mut pod = pod(&format!("web-{n}"), "500m", "2Gi");
        pod["metadata"]["ownerReferences"][0]["name"] = json!(format!("web{n}-5d4f"));
        pod["spec"]["schedulerName"] = json!("fargate-scheduler");
        objects.push(pod);
    }
    says(
        "ef-share",
        &objects,
        "
Fargate
  policy    FargatePolicy shop/default: WhenCheaper, up to 5% dearer
  workload  Deployment web1, template 5d4f; of its pods 1 is on Fargate
  Fargate   $0.0336 an hour for 0.5 vCPU, 3 GiB, by profile stowage, with the label
            stowage.dev/fargate=true
  nodes     $0.0500 an hour, which the plan costs more with it than without; $0.0167 as its share,
            where other workloads come along
  verdict   nodes: cheaper by 47%, the tolerance of 5% counted
  pod       waits for Fargate for $0.0336 an hour; planned as 0.5 vCPU and 3 GB; what is billed
            Fargate has not said; it stays there until it is made anew",
    );
}

#[test]
fn yaml_and_files_beside_are_read_as_well() {
    let folder = folder("ef-yaml");
    let pods = "apiVersion: v1\nkind: Pod\nmetadata: {name: web-1, namespace: shop}\nspec: {containers: [{name: a}]}\n\
                status: {phase: Pending}\n";
    let policies = "apiVersion: stowage.dev/v1alpha1\nkind: ClusterFargatePolicyList\nitems:\n- metadata: {name: all}\n  \
                    spec: {mode: Never, namespaceSelector: {matchLabels: {team: a}}}\n---\napiVersion: v1\nkind: Namespace\n\
                    metadata: {name: shop, labels: {team: a}}\n";
    std::fs::write(folder.join("pods.yaml"), pods).unwrap();
    std::fs::write(folder.join("policies.yaml"), policies).unwrap();
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let ran: Ran = stowage(&["explain", "pod", "shop/web-1", &file("pods.yaml"), &file("policies.yaml")])
        .output()
        .unwrap()
        .into();
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert!(ran.stdout.contains("policy    ClusterFargatePolicy all: Never"), "{}", ran.stdout);
    assert!(ran.stdout.contains("workload  a bare pod"), "{}", ran.stdout);
}

/// What the page shows is what is printed.
#[test]
fn the_page_has_a_real_transcript() {
    let name = "media/thumbnails-6c8d9f7b5-q4x2z";
    let args = ["explain", "pod", name, "examples/fargate.yaml"];
    let ran: Ran = stowage(&args).env("COLUMNS", "100").output().unwrap().into();
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    let shown = ran.stdout.split("\n\nNodePools\n").next().unwrap();
    let page = std::fs::read_to_string(support::root().join("docs/fargate.md")).unwrap();
    let transcript = format!("```console\n$ stowage {}\n{shown}\n```\n", args.join(" "));
    assert!(page.contains(&transcript), "docs/fargate.md should show\n{transcript}");
}
