//! Plans of small clusters, one idea each, with the expected outcome inside: `tests/scenarios/<rule>/<idea>.yaml`.
//!
//! `tests/scenarios/README.md` tells how such a file is read and written. Each is planned with quick and with balanced
//! effort, by the program as a user would run it, which refuses to print a plan that its own verifier does not pass. What
//! was planned, and the plans, stay in the test's folder (`scenarios` in `CARGO_TARGET_TMPDIR`) for other checkers.
#![expect(clippy::unwrap_used, reason = "tests")]

mod scenario;
#[allow(dead_code, reason = "each test binary uses a part")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use scenario::{Known, Scenario, Shared};

/// There are at least so many ideas in all.
const LEAST: usize = 480;
/// A rule is worth a folder where it has so many.
const LEAST_OF_RULE: usize = 4;
/// Scenarios that are known to fail. It only goes down.
const MOST_KNOWN: usize = 1;

#[test]
fn every_scenario_comes_out_as_it_says() {
    let shared = Shared::load().unwrap();
    let known: BTreeMap<String, String> =
        Known::load().unwrap().into_iter().map(|k| (k.scenario, k.reason)).collect();
    let scenarios = Scenario::all().unwrap();
    let out = support::folder("scenarios");
    shared.write(&out).unwrap();

    let next = AtomicUsize::new(0);
    let failures = Mutex::new(BTreeSet::new());
    let work = || {
        while let Some((name, scenario)) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mismatches = match scenario {
                Ok(scenario) => scenario.run(&shared, &out),
                Err(problem) => vec![problem.clone()],
            };
            let report = match (known.get(name), mismatches.is_empty()) {
                (None, true) | (Some(_), false) => continue,
                (None, false) => format!("{name}\n  {}\n", mismatches.join("\n  ")),
                (Some(_), true) => format!("{name}\n  it holds now: take it off scenarios/known.yaml\n"),
            };
            failures.lock().unwrap_or_else(PoisonError::into_inner).insert(report);
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    let text: String = failures.iter().map(String::as_str).collect();
    assert!(failures.is_empty(), "{} of {} scenarios:\n\n{text}", failures.len(), scenarios.len());
}

#[test]
fn there_are_many_and_enough_of_each_rule() {
    let scenarios = Scenario::all().unwrap();
    let mut of_rule = BTreeMap::<&str, usize>::new();
    for (name, _) in &scenarios {
        *of_rule.entry(name.split('/').next().unwrap()).or_default() += 1;
    }
    let thin: Vec<_> = of_rule.iter().filter(|(_, count)| **count < LEAST_OF_RULE).collect();
    assert!(thin.is_empty(), "fewer than {LEAST_OF_RULE} ideas of a rule: {thin:?}");
    assert!(scenarios.len() >= LEAST, "{} scenarios, fewer than {LEAST}", scenarios.len());
}

#[test]
fn each_says_something_of_its_own() {
    let scenarios = Scenario::all().unwrap();
    let mut first = BTreeMap::<&str, &str>::new();
    for (name, scenario) in &scenarios {
        let Ok(scenario) = scenario else { continue };
        if let Some(other) = first.insert(&scenario.header.says, name) {
            panic!("{name} and {other} say the same");
        }
    }
}

#[test]
fn known_failures_have_a_file_and_a_reason_and_become_fewer() {
    let known = Known::load().unwrap();
    assert!(known.len() <= MOST_KNOWN, "{} known failures, more than {MOST_KNOWN}", known.len());
    let names: BTreeSet<String> = Scenario::all().unwrap().into_iter().map(|(name, _)| name).collect();
    for Known { scenario, reason } in known {
        assert!(names.contains(&scenario), "{scenario} of known.yaml has no file");
        assert!(reason.len() > 20, "{scenario} of known.yaml has no reason worth the name");
    }
}

/// A scenario of one pod, with this header.
fn of(header: &str) -> Result<Scenario, String> {
    let pod = "kind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: web, resources: {requests: {cpu: 1}}}]}\n";
    Scenario::parse("rule/idea", &format!("kind: Scenario\nsays: a pod\nsource: none\n{header}\n---\n{pod}"))
}

#[test]
fn an_expectation_that_says_nothing_or_something_unknown_is_an_error() {
    assert_eq!(of("expect: {}").err().unwrap(), "expect says nothing");
    assert!(of("").err().unwrap().contains("missing field `expect`"));
    assert!(of("expect: {nodez: 1}").err().unwrap().contains("unknown field `nodez`"));
    assert!(of("expect: {on: {web: {nod: a}}}").err().unwrap().contains("unknown field `nod`"));
    assert!(of("expect: {on: {web: {}}}").err().unwrap().contains("says nothing"));
    assert!(of("expect: {nodes: 1}\nxpect: {}").err().unwrap().contains("unknown field `xpect`"));
    assert!(of("expect: {nodes: 1}").is_ok());
}

/// Every field of an expectation can fail, each mismatch is told, and a pattern that means no pod is a mismatch.
#[test]
fn mismatches_are_told_one_by_one() {
    let shared = Shared::load().unwrap();
    let out = support::folder("scenarios-mismatches");
    shared.write(&out).unwrap();
    let wrong = [
        ("pending: 2", "pending pods: 1, expected 2"),
        ("placed: 0", "pods placed: 1, expected 0"),
        ("nodes: 2", "new nodes: 1, expected 2"),
        ("zones: {zone-z: 1}", "new nodes by zone"),
        ("types: {large: 1}", "new nodes by type"),
        ("pools: {other: 1}", "new nodes by pool"),
        ("capacityTypes: {spot: 1}", "new nodes by capacity type"),
        ("on: {web: {type: large}}", "default/web: its type is small, expected large"),
        ("on: {web: {node: ip-1}}", "default/web: its node is default-0, expected ip-1"),
        ("on: {nobody: {type: small}}", "nobody: no pending pod of this name"),
        ("unschedulable: {web: taint}", "default/web: placed, expected to wait"),
        ("unschedulable: {nobody: taint}", "nobody: no pending pod of this name"),
        ("together: [[web, nobody]]", "nobody: no pending pod of this name"),
        ("perNode: {web: [2]}", "web by node: {\"default-0\": 1}, expected [2]"),
        ("perZone: {web: {zone-z: 1}}", "web by zone"),
        ("perPool: {web: {other: 1}}", "web by pool"),
        ("perCapacityType: {web: {spot: 1}}", "web by capacity type"),
        ("cost: 7", "cost: 0.1, expected 7"),
        ("bound: 7", "bound: 0.1, expected 7"),
        ("weighedCost: 7", "weighed cost: none, expected 7"),
        ("status: budget-spent", "status: \"optimal\", expected \"budget-spent\""),
        ("notes: [nothing of the kind]", "no note says \"nothing of the kind\""),
        ("daemonSets: {web: [kube-system/agent]}", "DaemonSets beside default/web: [], expected"),
        ("alternatives: {web: [none such]}", "alternatives of the node of default/web"),
        ("spot: {nodes: 1}", "spot"),
        ("error: nothing of the kind", "planned, expected an error that says"),
    ];
    for (expect, told) in wrong {
        let scenario = of(&format!("expect: {{{expect}}}")).unwrap();
        let mismatches = scenario.run(&shared, &out);
        assert!(mismatches.iter().any(|m| m.contains(told)), "{expect}: {mismatches:?} should say {told:?}");
    }
}
