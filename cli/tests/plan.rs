//! `stowage plan` from end to end: the examples, exit codes, forms of output, and what the README shows.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    reason = "tests, which share what they do not all use"
)]

mod support;

use std::io::Read;
use std::process::Stdio;

use serde_json::Value;
use support::{folder, root, run, run_with_input, stowage};

const EXAMPLES: [&str; 4] = ["web-shop", "analytics", "gpu-training", "existing-cluster"];

fn path(example: &str) -> String {
    format!("examples/{example}.yaml")
}

fn json(args: &[&str]) -> Value {
    let ran = run(args);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

/// A plan with its only value that may differ between runs taken out.
fn timeless(mut plan: Value) -> Value {
    plan["summary"]["solveSeconds"] = Value::Null;
    plan
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().unwrap_or_else(|| panic!("{key} is no list in {value}"))
}

/// A pending pod of the default namespace that asks for some memory.
fn pod(name: &str, memory: &str) -> String {
    format!(
        r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "{name}"}}, "status": {{"phase": "Pending"}},
            "spec": {{"containers": [{{"name": "c", "resources": {{"requests": {{"cpu": "1", "memory": "{memory}"}}}}}}]}}}}"#
    )
}

#[test]
fn every_example_is_planned() {
    for example in EXAMPLES {
        let ran = run(&["plan", &path(example)]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{example}");
        assert!(
            ran.stdout.contains("New nodes") && ran.stdout.contains("proven lower bound")
                || ran.stdout.contains("estimated")
        );
    }
}

#[test]
fn every_pending_pod_stands_in_exactly_one_list_and_the_bill_adds_up() {
    for example in EXAMPLES {
        let plan = json(&["plan", &path(example), "-o", "json"]);
        let placed = ["newNodes", "existingNodes"]
            .iter()
            .flat_map(|key| list(&plan, key))
            .flat_map(|n| list(n, "pods"));
        let unplaced = list(&plan, "unschedulable").iter().map(|u| &u["pod"]);
        let mut pods: Vec<_> = placed.chain(unplaced).map(|p| p.as_str().unwrap()).collect();
        let listed = pods.len();
        pods.sort_unstable();
        pods.dedup();
        assert_eq!(
            (pods.len(), pods.len() as u64),
            (listed, plan["summary"]["pendingPods"].as_u64().unwrap()),
            "{example}"
        );

        let prices: f64 = list(&plan, "newNodes").iter().map(|n| n["price"].as_f64().unwrap()).sum();
        let cost = plan["summary"]["hourlyCost"].as_f64().unwrap();
        assert!((prices - cost).abs() < 1e-9, "{example}: {prices} and {cost}");
        assert!(plan["summary"]["lowerBound"].as_f64().unwrap() <= cost, "{example}");
    }
}

#[test]
fn the_web_shop_is_spread_and_kept_apart() {
    let plan = json(&["plan", &path("web-shop"), "-o", "json"]);
    let mut zones = std::collections::BTreeMap::<&str, usize>::new();
    for node in list(&plan, "newNodes") {
        let of =
            |app: &str| list(node, "pods").iter().filter(|p| p.as_str().unwrap().starts_with(app)).count();
        *zones.entry(node["zone"].as_str().unwrap()).or_default() += of("shop/storefront-");
        assert!(of("shop/checkout-") <= 1, "{node}");
    }
    let (least, most) = (zones.values().min().unwrap(), zones.values().max().unwrap());
    assert!(most - least <= 1 && zones.len() > 1, "{zones:?}");
}

#[test]
fn the_analytics_job_finds_memory_on_spot_and_says_that_its_price_is_an_estimate() {
    let plan = json(&["plan", &path("analytics"), "-o", "json"]);
    let spark = list(&plan, "newNodes").iter().filter(|n| n["nodePool"] == "spark");
    for node in spark.clone() {
        assert!(node["instanceType"].as_str().unwrap().starts_with('r'), "{node}");
        assert_eq!((&node["capacityType"], &node["estimated"]), (&Value::from("spot"), &Value::from(true)));
    }
    assert!(spark.count() > 0);
    assert!(
        list(&plan, "notes").iter().any(|n| n.as_str().unwrap().contains("estimate")),
        "{}",
        plan["notes"]
    );
    assert_eq!(list(&plan, "unschedulable").len(), 1);
}

#[test]
fn gpus_are_bought_for_gpu_pods_only_and_a_missing_kind_is_explained() {
    let plan = json(&["plan", &path("gpu-training"), "-o", "json"]);
    for node in list(&plan, "newNodes") {
        let gpu_pods = list(node, "pods").iter().all(|p| !p.as_str().unwrap().contains("preprocess"));
        assert_eq!(node["nodePool"] == "gpu", gpu_pods, "{node}");
    }
    let table = run(&["plan", &path("gpu-training")]).stdout;
    assert!(table.contains("NodePool default: ") && table.contains("NodePool gpu: "), "{table}");
    assert!(table.contains("\nhint: "), "{table}");
}

#[test]
fn what_runs_already_is_filled_first_and_volumes_keep_their_zone() {
    let plan = json(&["plan", &path("existing-cluster"), "-o", "json"]);
    // The third node is still starting: its room counts all the same.
    let filled: Vec<_> = list(&plan, "existingNodes").iter().map(|n| n["name"].as_str().unwrap()).collect();
    assert_eq!(
        filled,
        ["ip-10-0-1-17.ec2.internal", "ip-10-0-2-42.ec2.internal", "ip-10-0-3-88.ec2.internal"]
    );
    let postgres =
        list(&plan, "newNodes").iter().find(|n| list(n, "pods").contains(&"shop/postgres-1".into())).unwrap();
    assert_eq!(postgres["zone"], "us-east-1c");
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    for example in EXAMPLES {
        assert_eq!(run(&["plan", &path(example)]).stdout, run(&["plan", &path(example)]).stdout);
        let plan = || timeless(json(&["plan", &path(example), "-o", "json"]));
        assert_eq!(plan(), plan());
    }
}

#[test]
fn the_order_of_objects_does_not_matter() {
    let mut pods: Vec<_> = (0..12).map(|n| pod(&format!("web-{n}"), ["1Gi", "3Gi"][n % 2])).collect();
    let snapshot =
        |pods: &[String]| format!(r#"{{"kind": "List", "apiVersion": "v1", "items": [{}]}}"#, pods.join(","));
    let plan = |pods: &[String]| {
        let ran = run_with_input(&["plan", "-", "-o", "json"], snapshot(pods).as_bytes());
        timeless(serde_json::from_str(&ran.stdout).unwrap())
    };
    let forwards = plan(&pods);
    pods.reverse();
    assert_eq!(plan(&pods), forwards);
}

#[test]
fn yaml_and_json_say_the_same() {
    let plan = json(&["plan", &path("web-shop"), "-o", "json"]);
    let yaml: Value =
        serde_saphyr::from_str(&run(&["plan", &path("web-shop"), "-o", "yaml"]).stdout).unwrap();
    assert_eq!(timeless(yaml), timeless(plan));
}

#[test]
fn several_files_and_standard_input_are_one_cluster() {
    let folder = folder("several-files");
    let file = folder.join("pod.json");
    std::fs::write(&file, pod("from-file", "1Gi")).unwrap();
    let ran = run_with_input(
        &["plan", "-", file.to_str().unwrap(), "-o", "json"],
        pod("from-pipe", "1Gi").as_bytes(),
    );
    let plan: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(plan["summary"]["pendingPods"], 2, "{plan}");
}

#[test]
fn strict_fails_only_where_a_pod_has_no_place() {
    assert_eq!(run(&["plan", &path("web-shop"), "--strict"]).code, Some(0));
    assert_eq!(run(&["plan", &path("analytics")]).code, Some(0));
    let strict = run(&["plan", &path("analytics"), "--strict"]);
    assert_eq!(strict.code, Some(1));
    assert!(strict.stdout.contains("Unschedulable"), "the plan is printed all the same");
}

#[test]
fn invalid_objects_can_be_left_out_and_are_listed() {
    let bad =
        r#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bad"}, "spec": {"containers": 7}}"#;
    let input =
        format!(r#"{{"kind": "List", "apiVersion": "v1", "items": [{bad}, {}]}}"#, pod("good", "1Gi"));
    assert_eq!(run_with_input(&["plan", "-"], input.as_bytes()).code, Some(2));
    let ran = run_with_input(&["plan", "-", "--skip-invalid"], input.as_bytes());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("Pod bad") && ran.stdout.contains("spec.containers"), "{}", ran.stdout);
}

#[test]
fn a_snapshot_without_pending_pods_is_planned_with_nothing() {
    let empty = br#"{"apiVersion": "v1", "kind": "List", "items": []}"#;
    let ran = run_with_input(&["plan", "-"], empty);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.starts_with("No pending pods"), "{}", ran.stdout);
}

#[test]
fn without_a_nodepool_the_notes_name_the_default_one() {
    let ran = run_with_input(&["plan", "-"], pod("web", "1Gi").as_bytes());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let notes = ran.stdout.split("Notes").nth(1).unwrap();
    assert!(notes.contains("NodePool") && notes.contains("default"), "{notes}");
}

#[test]
fn every_pod_is_listed_when_asked_for() {
    let shown = run(&["plan", &path("web-shop"), "--show", "pods"]).stdout;
    let plan = json(&["plan", &path("web-shop"), "-o", "json"]);
    for pod in list(&plan, "newNodes").iter().flat_map(|n| list(n, "pods")) {
        assert!(shown.contains(pod.as_str().unwrap()), "{pod}");
    }
}

#[test]
fn width_and_colour_follow_the_environment() {
    let at = |columns: &str, color: &str| {
        let output =
            stowage(&["plan", &path("web-shop"), "--color", color]).env("COLUMNS", columns).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for columns in [60, 80, 200] {
        let text = at(&columns.to_string(), "auto");
        assert!(text.lines().all(|l| l.chars().count() <= columns), "{text}");
        assert!(!text.contains('\u{1b}') && !text.contains('█'), "a pipe gets neither colour nor bars");
    }
    let colored = at("120", "always");
    assert!(colored.contains('\u{1b}') && colored.contains('█'), "{colored}");
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let mut child = stowage(&["plan", &path("web-shop"), "-o", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Closed before anything is read, as `head` does after its last line.
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn completions_and_version() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = run(&["completions", shell]);
        assert!(ran.code == Some(0) && ran.stdout.contains("skip-invalid"), "{shell}");
    }
    assert_eq!(run(&["--version"]).stdout, format!("stowage {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn fixed_costs_make_fewer_nodes_and_stand_beside_the_bill() {
    let pods: Vec<_> = (0..12).map(|n| pod(&format!("web-{n}"), "3Gi")).collect();
    let input = format!(r#"{{"kind": "List", "apiVersion": "v1", "items": [{}]}}"#, pods.join(","));
    let plan = |args: &[&str]| -> Value {
        let ran = run_with_input(&[&["plan", "-", "-o", "json"], args].concat(), input.as_bytes());
        serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.stderr))
    };
    let (plain, weighed) = (plan(&[]), plan(&["--node-cost", "0.5"]));
    let nodes = |plan: &Value| list(plan, "newNodes").len();
    assert!(nodes(&weighed) < nodes(&plain), "{} and {}", nodes(&weighed), nodes(&plain));
    assert!(plain["summary"].get("weighed").is_none());
    let (bill, all) = (&weighed["summary"], &weighed["summary"]["weighed"]);
    let fixed = all["hourlyCost"].as_f64().unwrap() - bill["hourlyCost"].as_f64().unwrap();
    assert!((fixed - 0.5 * nodes(&weighed) as f64).abs() < 1e-9, "{fixed}");
    assert!(bill["lowerBound"].as_f64().unwrap() <= bill["hourlyCost"].as_f64().unwrap());
    assert!(all["lowerBound"].as_f64().unwrap() <= all["hourlyCost"].as_f64().unwrap());
    assert!(list(&weighed, "newNodes").iter().all(|n| n["fixedCost"] == 0.5));
    let notes = weighed["notes"].to_string();
    assert!(notes.contains("costs $0.50 an hour beside its instance"), "{notes}");
    assert_eq!(run(&["plan", &path("analytics"), "--node-cost", "-1"]).code, Some(2));
}

/// A catalogue of spot machines: one that holds eight pods, and four that hold half of them for a little more.
fn spot_catalog(folder: &std::path::Path) -> String {
    let one = |name: &str, cpus: u32, price: f64| {
        format!(
            r#"{{"name": "{name}", "architecture": "amd64", "operatingSystems": ["linux"],
                "resources": {{"cpu": "{cpus}", "memory": "{cpus}Gi", "pods": "110"}},
                "labels": {{"karpenter.k8s.aws/instance-category": "m", "karpenter.k8s.aws/instance-generation": "7"}},
                "offerings": [{{"Price": {price}, "Available": true, "Requirements": [
                    {{"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot"]}},
                    {{"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["a", "b"]}}]}}]}}"#
        )
    };
    let mut types = vec![one("huge", 8, 0.8)];
    types.extend(["a1", "a2", "a3", "a4"].map(|name| one(name, 4, 0.404)));
    let file = folder.join("catalog.json");
    std::fs::write(&file, format!("[{}]", types.join(","))).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn diversity_is_bought_where_few_types_hold_the_pods_of_a_spot_node() {
    let catalog = spot_catalog(&folder("diversity"));
    let pods: Vec<_> = (0..8).map(|n| pod(&format!("web-{n}"), "1Gi")).collect();
    let input = format!(r#"{{"kind": "List", "apiVersion": "v1", "items": [{}]}}"#, pods.join(","));
    let ran = |args: &[&str]| {
        run_with_input(&[&["plan", "-", "--catalog", &catalog], args].concat(), input.as_bytes())
    };
    let plan = |args: &[&str]| -> Value {
        let ran = ran(&[&["-o", "json"], args].concat());
        serde_json::from_str(&ran.stdout).unwrap_or_else(|_| panic!("{}", ran.stderr))
    };
    let wanted = ["--spot-diversity", "5", "--show", "alternatives"];
    let plain = plan(&wanted);
    let spot = serde_json::json!({"nodes": 1, "leastTypes": 1, "wantedTypes": 5, "nodesBelow": 1});
    assert_eq!(plain["summary"]["spot"], spot);
    assert_eq!(
        plain["newNodes"][0]["launchOptions"],
        serde_json::json!([{"instanceType": "huge", "capacityType": "spot", "zones": ["b"], "price": 0.8}])
    );
    let bought = plan(&[&wanted[..], &["--prefer-diversity", "1%"]].concat());
    let spot =
        serde_json::json!({"nodes": 2, "leastTypes": 5, "wantedTypes": 5, "nodesBelow": 0, "premium": 0.008});
    assert_eq!(bought["summary"]["spot"], spot);
    assert_eq!(bought["summary"]["hourlyCost"], 0.808);
    assert_eq!(
        list(&bought["newNodes"][0], "launchOptions").len(),
        5,
        "four types, and one zone more of its own"
    );
    let table = |args: &[&str]| ran(&[&wanted[..2], args].concat()).stdout;
    assert!(
        table(&[]).contains("the spot node, default-0, can be launched as 1 instance type, fewer than the 5")
    );
    let bought = table(&["--prefer-diversity", "1%"]);
    assert!(
        bought
            .contains("each spot node can be launched as 5 instance types or more; $0.0080 an hour is paid"),
        "{bought}"
    );
    assert_eq!(ran(&["--spot-diversity", "61"]).code, Some(2));
}

#[test]
fn sizes_of_nodes_are_kept_to() {
    let plan =
        json(&["plan", &path("web-shop"), "--min-node-cpu", "4", "--max-node-memory", "16Gi", "-o", "json"]);
    for node in list(&plan, "newNodes") {
        let size = node["instanceType"].as_str().unwrap().split_once('.').unwrap().1;
        assert!(!["nano", "micro", "small", "medium", "large"].contains(&size), "{node}");
    }
    assert!(!list(&plan, "newNodes").is_empty());
    let none = run(&["plan", &path("web-shop"), "--min-node-cpu", "4096"]);
    assert!(
        none.stdout.contains("12 unschedulable") && none.stdout.contains("0 instance types of that size"),
        "{}",
        none.stdout
    );
}

/// Every command of the README's console blocks prints what stands below it. `STOWAGE_UPDATE_README=1` writes it anew.
#[test]
fn the_readme_shows_what_happens() {
    let path = root().join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let mut fresh = String::new();
    let (mut inside, mut commands) = (false, 0);
    for line in readme.lines() {
        if line.starts_with("```") {
            inside = line == "```console";
        }
        let command = line.strip_prefix("$ ").filter(|_| inside);
        if command.is_some() || !inside || line == "```console" {
            fresh.push_str(line);
            fresh.push('\n');
        }
        if let Some(command) = command {
            let args =
                command.strip_prefix("stowage ").or_else(|| command.strip_prefix("cargo run --release -- "));
            let args: Vec<_> = args.unwrap_or_else(|| panic!("not ours: {command}")).split(' ').collect();
            fresh.push_str(&run(&args).stdout);
            commands += 1;
        }
    }
    assert!(commands > 0, "the README has a transcript");
    if std::env::var_os("STOWAGE_UPDATE_README").is_some() {
        std::fs::write(&path, fresh).unwrap();
    } else {
        let first = readme.lines().zip(fresh.lines()).find(|(old, new)| old != new);
        assert_eq!(first, None, "run again with STOWAGE_UPDATE_README=1, and look at the difference");
        assert_eq!(readme.len(), fresh.len(), "run again with STOWAGE_UPDATE_README=1");
    }
}

#[test]
fn a_problem_written_out_is_solved_again_to_the_same_bill() {
    let file = folder("replay").join("problem.json");
    let file = file.to_str().unwrap();
    let plan = json(&["plan", &path("gpu-training"), "--dump-problem", file, "-o", "json"]);
    let replayed = run(&["replay", file]);
    assert_eq!((replayed.code, replayed.stderr.as_str()), (Some(0), ""));
    let cost = plan["summary"]["hourlyCost"].as_f64().unwrap();
    assert!(replayed.stdout.contains(&format!("${cost:.3} an hour")), "{} / {cost}", replayed.stdout);
    assert!(replayed.stdout.ends_with("every rule holds\n"), "{}", replayed.stdout);
}

#[test]
fn what_is_not_a_problem_cannot_be_replayed() {
    for (input, why) in [("{", "EOF while parsing"), (r#"{"pods": 1}"#, "invalid type")] {
        let ran = run_with_input(&["replay", "-"], input.as_bytes());
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains(why) && ran.stderr.contains("hint: make one with"), "{}", ran.stderr);
    }
    let file = folder("replay-lost").join("problem.json");
    let file = file.to_str().unwrap();
    json(&["plan", &path("web-shop"), "--dump-problem", file, "-o", "json"]);
    let mut problem: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    problem["pods"][0]["spec"] = 4096.into();
    let ran = run_with_input(&["replay", "-"], problem.to_string().as_bytes());
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("no spec 4096"), "{}", ran.stderr);
}

/// A node of a NodePool that runs, with the memory that it really has, and its claim, which names the image.
fn seen(memory: &str) -> String {
    format!(
        r#"{{"apiVersion": "v1", "kind": "Node", "metadata": {{"name": "n1", "labels": {{
              "node.kubernetes.io/instance-type": "m7i.large", "topology.kubernetes.io/zone": "us-east-1a"}}}},
            "spec": {{"unschedulable": true}},
            "status": {{"capacity": {{"cpu": "2", "memory": "{memory}"}}, "allocatable": {{"cpu": "2"}}}}}},
           {{"apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "metadata": {{"name": "c1"}},
             "status": {{"nodeName": "n1", "imageID": "ami-1"}}}},
           {{"apiVersion": "karpenter.k8s.aws/v1", "kind": "EC2NodeClass", "metadata": {{"name": "default"}},
             "status": {{"amis": [{{"id": "ami-1"}}]}}}},
           {{"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {{"name": "default"}},
             "spec": {{"template": {{"spec": {{"nodeClassRef": {{"name": "default"}}, "requirements": [
               {{"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["m7i.large", "m7i.xlarge"]}},
               {{"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]}}]}}}}}}}}"#
    )
}

/// An m7i.large is guessed to have 7577 MiB, of which 6903 MiB are for pods; a node of it had 7748 MiB: 171 more.
#[test]
fn memory_that_nodes_were_seen_to_have_is_planned_with_and_kept() {
    let folder = folder("learnt");
    let file = folder.join("learnt.json");
    let file = file.to_str().unwrap();
    let bought = |snapshot: &str, more: &[&str]| {
        let args = [&["plan", "-", "-o", "json"], more].concat();
        let ran = run_with_input(&args, snapshot.as_bytes());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let plan: Value = serde_json::from_str(&ran.stdout).unwrap();
        let note = format!("{}", plan["notes"]).contains("m7i.large: 7748Mi, not 7577Mi");
        (list(&plan, "newNodes")[0]["instanceType"].as_str().unwrap().to_owned(), note)
    };
    let (large, xlarge) = ("m7i.large".to_owned(), "m7i.xlarge".to_owned());
    let pod = pod("web", "7000Mi");
    let with_node =
        format!(r#"{{"apiVersion": "v1", "kind": "List", "items": [{}, {pod}]}}"#, seen("7748Mi"));
    // The same cluster before any node ran.
    let without = with_node.replace("\"kind\": \"Node\"", "\"kind\": \"Nod\"");
    assert_eq!(bought(&without, &[]), (xlarge.clone(), false));
    assert_eq!(bought(&with_node, &[]), (large.clone(), true));
    // What was learnt in one run is known in the next one, which sees no node.
    assert_eq!(bought(&with_node, &["--learnt", file]), (large.clone(), true));
    assert_eq!(bought(&without, &["--learnt", file]), (large, true));
    // An image of another id says nothing.
    let other = with_node.replace("\"amis\": [{\"id\": \"ami-1\"}]", "\"amis\": [{\"id\": \"ami-2\"}]");
    assert_eq!(bought(&other, &["--learnt", file]), (xlarge, false));
    std::fs::write(file, "nonsense").unwrap();
    let ran = run_with_input(&["plan", "-", "--learnt", file], with_node.as_bytes());
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("delete the file to learn anew"), "{}", ran.stderr);
}

/// An m7i.large has three interfaces of ten addresses: 29 pods; 20 with one reserved, and with prefixes 110 as a rule.
#[test]
fn interfaces_that_are_reserved_and_prefixes_change_how_many_pods_a_node_holds() {
    let pods = |more: &[&str]| {
        let of = [&["catalog", "--type", "m7i.large", "-o", "json"], more].concat();
        json(&of)[0]["resources"]["pods"].as_str().unwrap().to_owned()
    };
    assert_eq!(pods(&[]), "29");
    assert_eq!(pods(&["--reserved-enis", "1"]), "20");
    assert_eq!(pods(&["--prefix-delegation"]), "110");
}

/// AWS's list prices are read for Linux, so a plan of Windows nodes says what it leaves out.
#[test]
fn windows_at_the_price_of_linux_is_said() {
    let path = folder("windows").join("windows.yaml");
    let cluster = "
apiVersion: karpenter.k8s.aws/v1
kind: EC2NodeClass
metadata: {name: default}
spec: {amiSelectorTerms: [{alias: windows2022@latest}]}
---
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {name: default}
spec:
  template:
    spec:
      nodeClassRef: {group: karpenter.k8s.aws, kind: EC2NodeClass, name: default}
      requirements: [{key: kubernetes.io/os, operator: In, values: [windows]}]
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: default}
spec:
  nodeSelector: {kubernetes.io/os: windows}
  containers: [{name: web, resources: {requests: {cpu: 500m}}}]
";
    std::fs::write(&path, cluster).unwrap();
    let said = run(&["plan", path.to_str().unwrap(), "-o", "json"]).stdout;
    assert!(
        said.contains("1 node of Windows at the price of Linux: what AWS asks for the licence"),
        "{said}"
    );
    let linux = run(&["plan", "examples/web-shop.yaml", "-o", "json"]).stdout;
    assert!(!linux.contains("licence"), "{linux}");
}
