//! The side-by-side runner as a program, on instances that take no time.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs it where there is no Go and no judge, with a folder of its own.
fn compare(folder: &str, args: &[&str]) -> Output {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    let mut command = Command::new(env!("CARGO_BIN_EXE_compare"));
    command.args(args).arg("--dir").arg(dir).env("PATH", "").output().expect("the program runs")
}

fn document(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("it prints JSON")
}

#[test]
fn bounds_are_below_and_costs_above_a_known_optimum() {
    let out = compare("optimum", &["--workload", "falkenauer-t:30", "-o", "json"]);
    let document = document(&out);
    let workload = &document["workloads"][0];
    assert_eq!((&workload["optimum"], &workload["pods"]), (&10.0.into(), &30.into()));
    let planners = workload["planners"].as_array().unwrap();
    let names: Vec<&str> = planners.iter().map(|p| p["planner"].as_str().unwrap()).collect();
    assert_eq!(names, ["karpenter", "ffd", "quick", "balanced", "thorough"]);
    assert_eq!(planners[0]["missing"], "no Go");
    for planner in &planners[1..] {
        assert!(planner["hourlyCost"].as_f64().unwrap() >= 10.0, "{planner}");
        assert!(planner["seconds"].as_f64().unwrap() > 0.0, "{planner}");
        assert_eq!(planner["leftOut"], 0, "{planner}");
        if let Some(bound) = planner["lowerBound"].as_f64() {
            assert!(bound <= 10.0, "{planner}");
        }
    }
    assert!(workload["bestBound"].as_f64().unwrap() > 9.0, "the sizes alone need ten bins");
}

#[test]
fn a_table_for_people() {
    let out = compare("table", &["--workload", "mix:20", "--planner", "ffd,quick"]);
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(text.contains("mix-20: 20 pods, best proven bound"), "{text}");
    assert!(text.contains("first-fit decreasing  "), "{text}");
}

#[test]
fn files_are_planned_too() {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = dir.join("two-bins.vbp");
    std::fs::write(&file, "2 10 10 1 6 6 2 # two items that do not share a bin").unwrap();
    let out =
        compare("files", &[file.to_str().unwrap(), "--planner", "ffd,quick", "--repeat", "3", "-o", "json"]);
    let document = document(&out);
    let planners = &document["workloads"][0]["planners"];
    assert_eq!((&planners[0]["hourlyCost"], &planners[1]["hourlyCost"]), (&2.0.into(), &2.0.into()));
    assert_eq!(planners[1]["secondsOfAllRuns"].as_array().unwrap().len(), 3);
}

#[test]
fn bad_input_is_one_message() {
    let message = |folder: &str, args: &[&str]| {
        let out = compare(folder, args);
        assert_eq!(out.status.code(), Some(2));
        String::from_utf8(out.stderr).unwrap()
    };
    let said = message("unknown", &["--workload", "mixx:5"]);
    assert!(said.starts_with("error: \"mixx\" is no workload: take mix,"), "{said}");
    let said = message("number", &["--workload", "mix:-5"]);
    assert!(said.contains("mix:-5: \"-5\" is no number of pods"), "{said}");
    let said = message("missing", &["nothing-here.json", "--planner", "quick"]);
    assert!(said.contains("cannot read nothing-here.json") && said.lines().count() == 1, "{said}");
    let said = message("broken", &["nothing-here.vbp"]);
    assert!(said.contains("cannot read nothing-here.vbp"), "{said}");
}
