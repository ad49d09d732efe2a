//! Whatever is wrong with the command line or its files: one clear error line, exit code 2, no panic.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    reason = "tests, which share what they do not all use"
)]

mod support;

use support::{Ran, folder, run, run_with_input};

/// Asserts the shape of every failure, and gives what it said.
fn refusal(ran: &Ran) -> String {
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
    let lines: Vec<_> = ran.stderr.lines().collect();
    assert!(matches!(lines.len(), 1 | 2), "{}", ran.stderr);
    assert!(lines[0].starts_with("error: "), "{}", ran.stderr);
    assert!(lines.get(1).is_none_or(|l| l.starts_with("hint: ")), "{}", ran.stderr);
    ran.stderr.clone()
}

fn refused(input: &[u8]) -> String {
    refusal(&run_with_input(&["plan", "-"], input))
}

#[track_caller]
fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in: {text}");
    }
}

#[test]
fn a_file_that_is_not_there() {
    says(
        &refusal(&run(&["plan", "nowhere.json"])),
        &["nowhere.json", "no such file", "hint: ", "kubectl get"],
    );
    let catalog = refusal(&run(&["plan", "examples/web-shop.yaml", "--catalog", "nowhere.json"]));
    says(&catalog, &["nowhere.json", "no such file"]);
    assert!(!catalog.contains("kubectl"), "a catalogue is not made with kubectl: {catalog}");
}

#[test]
fn a_folder() {
    says(&refusal(&run(&["plan", "examples"])), &["examples is a folder"]);
}

#[test]
fn nothing_at_all() {
    says(&refused(b""), &["standard input is empty", "hint: "]);
}

#[test]
fn standard_input_twice() {
    for args in [
        &["plan", "-", "-"][..],
        &["plan", "-", "--catalog", "-"],
        &["plan", "-", "--commitments", "-"],
        &["plan", "examples/web-shop.yaml", "--commitments", "-", "--unavailable", "-"],
        &["plan", "-", "--fargate-profiles", "-"],
        &["catalog", "diff", "-", "-"],
    ] {
        says(&refusal(&run(args)), &["standard input", "once"]);
    }
}

#[test]
fn truncated_json() {
    says(&refused(br#"{"apiVersion": "v1", "kind": "List", "items": [{"#), &["standard input"]);
}

#[test]
fn bytes_that_are_no_text() {
    says(&refused(b"{\"kind\": \"\xff\xfe\"}"), &["standard input", "UTF-8"]);
}

#[test]
fn a_field_of_the_wrong_type_names_object_and_field() {
    let pod = br#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1e30"}}}]}, "status": {"phase": "Pending"}}"#;
    says(&refused(pod), &["standard input", "shop/web", "spec.containers[0].resources.requests", "1e30"]);
}

#[test]
fn a_name_that_moves_the_cursor_is_escaped() {
    let pod = br#"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "w\u001b[2Jeb"}, "spec": {"containers": 7}}"#;
    let text = refused(pod);
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn an_unreadable_catalogue_names_its_file() {
    let folder = folder("bad-catalogue");
    let plan = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        refusal(&run(&["plan", "examples/web-shop.yaml", "--catalog", path.to_str().unwrap()]))
    };
    says(&plan("not-json.json", "{{{{"), &["not-json.json"]);
    says(&plan("object.json", "{}"), &["object.json"]);
    let negative = r#"[{"name": "m7i.large", "resources": {"cpu": "2"}, "offerings": [{"Price": -1, "Available": true, "Requirements": [
        {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]},
        {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["us-east-1a"]}]}]}]"#;
    says(&plan("negative.json", negative), &["negative.json", "m7i.large"]);
}

/// Profiles that take no pods are no reason to plan as if one took them all.
#[test]
fn fargate_profiles_that_cannot_be_used_take_no_pods() {
    let folder = folder("fargate-profiles");
    let plan = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        let profiles = path.to_str().unwrap();
        run(&["plan", "examples/web-shop.yaml", "--fargate", "--fargate-profiles", profiles])
    };
    let profile = |status: &str, selectors: &str| {
        format!(
            r#"{{"fargateProfile": {{"fargateProfileName": "p", "status": "{status}", "selectors": {selectors}}}}}"#
        )
    };
    let all = r#"[{"namespace": "*"}]"#;
    says(&plan("active.json", &profile("ACTIVE", all)).stdout, &["3 of 12 pending pods may run on Fargate"]);
    for (name, text, why) in [
        ("deleting.json", profile("DELETING", all), "p: is DELETING"),
        ("failed.json", profile("CREATE_FAILED", all), "p: is CREATE_FAILED"),
        ("odd.json", profile("ACTIVE", r#"[{"namespace": 5}]"#), "expected a string"),
    ] {
        let ran = plan(name, &text);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let expected = ["0 of 12 pending pods may run on Fargate", "Fargate profile left out: ", why];
        says(&ran.stdout, &expected);
    }
    let empty = refusal(&plan("empty.json", ""));
    assert!(!empty.contains("kubectl"), "profiles are not captured with kubectl: {empty}");
}

#[test]
fn rates_of_fargate_that_nobody_uses_are_said() {
    let ran = run(&["plan", "examples/web-shop.yaml", "--fargate-rates", "0.04,0.004,0.0001"]);
    says(&ran.stdout, &["--fargate-rates changes nothing"]);
}

/// A catalogue of another region says nothing of what Fargate costs there, nor is its money always dollars.
#[test]
fn a_catalogue_file_of_another_region() {
    let path = folder("yuan").join("cn.json");
    let offering = r#"{"Price": 0.7, "Available": true, "Requirements": [
        {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]},
        {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["cn-north-1a"]}]}"#;
    let types = format!(
        r#"[{{"name": "m5.large", "architecture": "amd64", "operatingSystems": ["linux"],
            "resources": {{"cpu": "2", "memory": "7Gi", "pods": "29"}}, "offerings": [{offering}]}}]"#
    );
    std::fs::write(&path, types).unwrap();
    let catalog = path.to_str().unwrap();
    let plan = ["plan", "examples/web-shop.yaml", "--catalog", catalog];
    says(&run(&["prices", "--catalog", catalog]).stderr, &["prices of cn-north-1 are in CNY"]);
    says(&run(&plan).stdout, &["prices of cn-north-1 are in CNY"]);
    let refused = refusal(&run(&[&plan[..], &["--fargate"]].concat()));
    says(&refused, &["what Fargate costs in cn-north-1 is not known", "--fargate-rates", "yuan"]);
}

/// A shift of a zone that no offering is in is no silence.
#[test]
fn a_zonal_shift_of_no_zone() {
    let path = folder("shift").join("shift.json");
    std::fs::write(&path, r#"{"zonalShifts": [{"zone": "use1-az1"}, {"zone": "us-east-1a"}]}"#).unwrap();
    let ran = run(&["plan", "examples/web-shop.yaml", "--unavailable", path.to_str().unwrap()]);
    says(
        &ran.stdout.replace("\n    ", " "),
        &["no offering of the catalogue is in use1-az1, so the shift changes nothing"],
    );
}

#[test]
fn a_region_that_is_not_known_or_has_no_prices() {
    says(&refusal(&run(&["plan", "examples/web-shop.yaml", "--region", "atlantis-1"])), &["atlantis-1"]);
    says(
        &refusal(&run(&["plan", "examples/web-shop.yaml", "--region", "eu-central-1"])),
        &["eu-central-1", "--catalog"],
    );
}

#[test]
fn bad_usage_is_exit_code_2_too() {
    for args in [
        &[][..],
        &["plan"],
        &["plan", "x", "--gap", "none"],
        &["plan", "x", "-o", "xml"],
        &["plan", "x", "--show", "all"],
        &["fly"],
    ] {
        let ran = run(args);
        assert_eq!(ran.code, Some(2), "{args:?}: {}", ran.stderr);
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{args:?}");
    }
}

/// Builds with the feature `live` are tried in `e2e/`.
#[cfg(not(feature = "live"))]
#[test]
fn a_build_that_cannot_ask_aws_says_how_to_make_one_that_can() {
    for command in [&["catalog", "--live"][..], &["plan", "examples/web-shop.yaml", "--live"]] {
        let ran = run(command);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
        let expected = "error: this build of stowage cannot ask AWS: --live is not compiled in\n\
                        hint: build one that can: cargo build --release --features live\n";
        assert_eq!(ran.stderr, expected);
    }
}
