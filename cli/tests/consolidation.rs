//! `stowage plan --consolidate` from end to end, on the example.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[allow(dead_code, reason = "each test binary uses a part")]
mod support;

use serde_json::Value;
use support::run;

const ARGS: [&str; 3] = ["plan", "--consolidate", "examples/fragmented.yaml"];

fn document(more: &[&str]) -> Value {
    let args: Vec<&str> = ARGS.iter().chain(["-o", "json"].iter()).chain(more).copied().collect();
    let ran = run(&args);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn the_example_saves_money_and_says_why_the_other_nodes_stay() {
    let plan = document(&[]);
    let summary = &plan["summary"];
    let dollars = |key: &str| summary[key].as_f64().unwrap_or_else(|| panic!("no {key} in {summary}"));
    assert_eq!(plan["schemaVersion"], "stowage.dev/consolidation/v1");
    assert!(dollars("hourlyCostAfter") < dollars("hourlyCostBefore"), "{summary}");
    assert!(dollars("lowerBound") <= dollars("hourlyCostAfter"), "{summary}");
    let removed: Vec<&str> = plan["steps"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|step| step["removes"].as_array().unwrap())
        .map(|removed| removed["node"].as_str().unwrap())
        .collect();
    // Three nodes that hold memory alone, and a big one that is a third full.
    for node in ["ip-10-0-1-1", "ip-10-0-1-2", "ip-10-0-1-3", "ip-10-0-2-1"] {
        assert!(removed.contains(&node), "{node} of {removed:?}");
    }
    let kept = |node: &str| {
        let all = plan["kept"].as_array().unwrap();
        let found = all.iter().find(|kept| kept["node"] == node).unwrap_or_else(|| panic!("{node} goes"));
        found["reason"].as_str().unwrap().to_owned()
    };
    assert!(kept("ip-10-0-3-1").contains("pod shop/report-0 is marked karpenter.sh/do-not-disrupt"));
    assert!(kept("ip-10-0-4-1").contains("PodDisruptionBudget shop/db never lets a pod go"));
}

#[test]
fn the_same_snapshot_gives_the_same_bytes() {
    for form in ["table", "json", "yaml"] {
        let args: Vec<&str> = ARGS.iter().chain(["-o", form].iter()).copied().collect();
        let (first, second) = (run(&args), run(&args));
        assert_eq!((first.code, &first.stdout), (Some(0), &second.stdout), "{form}: {}", first.stderr);
    }
}

#[test]
fn a_floor_that_nothing_reaches_leaves_all_as_it_is() {
    let plan = document(&["--saving-floor", "1000"]);
    assert_eq!(plan["steps"], serde_json::json!([]));
    assert_eq!(plan["summary"]["hourlyCostBefore"], plan["summary"]["hourlyCostAfter"]);
}

#[test]
fn what_a_step_aims_for_goes_with_consolidation_only() {
    let ran = run(&["plan", "--saving-floor", "0.1", "examples/fragmented.yaml"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stdout);
    assert!(ran.stderr.contains("--consolidate"), "{}", ran.stderr);
}
