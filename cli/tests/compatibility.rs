//! `docs/compatibility.md` against what is there: each rule has scenarios, and code that says where the rule comes from.
//!
//! The page is for readers and names no files. So each of its rows stands here once more, with its scenarios' folders and
//! its modules: a row without them, or one here that the page does not have, fails.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The beginning of a row, folders of scenarios, and modules.
type Row = (&'static str, &'static [&'static str], &'static [&'static str]);

const PODS: &[Row] = &[
    ("resource requests, init containers", &["pod-resources"], &["cluster/src/lower/spec.rs"]),
    ("runtime class", &["runtime-class"], &["cluster/src/lower/admission.rs"]),
    (
        "node selector, required node affinity",
        &["node-selector", "node-affinity"],
        &["cluster/src/lower/labels.rs"],
    ),
    ("restricted labels", &["restricted-labels"], &["cluster/src/lower/pool.rs"]),
    ("taints and tolerations", &["taints-and-tolerations"], &["cluster/src/lower/labels.rs"]),
    ("preferences", &["preferences"], &["cluster/src/lower/preference.rs", "solver/src/preference.rs"]),
    ("host ports", &["host-ports"], &["solver/src/host_rule.rs"]),
    (
        "pod affinity and anti-affinity",
        &["pod-affinity", "pod-anti-affinity"],
        &[
            "cluster/src/lower/selector.rs",
            "solver/src/topology/near.rs",
            "solver/src/topology/crowd.rs",
            "solver/src/topology/teams.rs",
        ],
    ),
    (
        "matchLabelKeys, mismatchLabelKeys",
        &["pod-affinity", "topology-spread"],
        &["cluster/src/lower/selector.rs"],
    ),
    (
        "topology spread",
        &["topology-spread"],
        &["solver/src/topology/spread.rs", "cluster/src/lower/loose.rs"],
    ),
    ("default constraints", &["default-spread"], &["cluster/src/lower/admission.rs"]),
    ("scheduling gates", &["who-is-planned"], &["cluster/src/snapshot.rs"]),
    ("pods of other schedulers", &["who-is-planned"], &["cluster/src/snapshot.rs"]),
    ("pods of Fargate", &["who-is-planned"], &["pricing/src/fargate/profile.rs"]),
    ("Fargate profiles and rules", &["fargate"], &["pricing/src/fargate/eligibility.rs"]),
    ("static pods' mirrors", &["who-is-planned"], &["cluster/src/snapshot.rs"]),
    ("terminating pods", &["existing-nodes", "who-is-planned"], &["solver/src/topology/spread.rs"]),
    ("nominated pods", &["priority"], &["cluster/src/lower/nominated.rs"]),
    ("priority", &["priority"], &["cluster/src/lower/world.rs"]),
    ("preemption", &["priority"], &["cluster/src/lower/preemption.rs"]),
];

const VOLUME: &[&str] = &["cluster/src/lower/volume.rs"];
const VOLUMES: &[Row] = &[
    ("bound volumes", &["volumes"], VOLUME),
    ("WaitForFirstConsumer, allowedTopologies", &["volumes"], VOLUME),
    ("Immediate and unbound", &["volumes"], VOLUME),
    ("no storage class", &["volumes"], VOLUME),
    ("classes that make no volumes", &["volumes"], VOLUME),
    ("several claims of a pod", &["volumes"], VOLUME),
    ("one unbound EBS claim of several pods", &["volumes"], &["solver/src/topology/claims.rs"]),
    ("ReadWriteOncePod", &["volumes"], &["cluster/src/lower/exclusive.rs"]),
    ("EBS attach limits", &["volumes"], &["cluster/src/lower/attached.rs", "cluster/src/lower/volume.rs"]),
    ("EFS and others", &["volumes"], VOLUME),
    ("generic ephemeral volumes", &["volumes"], VOLUME),
];

const NODES: &[Row] = &[
    ("requirements, labels, taints", &["node-pools", "limits"], &["cluster/src/lower/pool.rs"]),
    ("`minValues`", &["min-values"], &["solver/src/variety.rs"]),
    ("reserved capacity", &["commitments"], &["cluster/src/lower/offer.rs"]),
    ("NodeOverlays", &["overlays"], &["pricing/src/overlay.rs"]),
    ("capacity errors", &["unavailable"], &["pricing/src/unavailable.rs"]),
    ("static NodePools", &["node-pools"], &["cluster/src/lower/pool.rs"]),
    ("consolidation", &["consolidation"], &["cluster/src/disrupt/candidates.rs"]),
    ("DaemonSets", &["daemon-sets"], &["solver/src/kind.rs"]),
    ("Windows, arm64", &["os-and-arch"], &["cluster/src/lower/offer.rs"]),
    ("kubelet settings", &["kubelet", "node-classes"], &["cluster/src/lower/view.rs"]),
    ("cordoned, tainted", &["existing-nodes"], &["cluster/src/lower/node.rs"]),
];

const ASK: &[&str] = &["cluster/src/lower/device/ask.rs"];
const DEMAND: &[&str] = &["cluster/src/lower/device/demand.rs"];
const INVENTORY: &[&str] = &["cluster/src/lower/device/inventory.rs"];
const DEVICES: &[Row] = &[
    ("extended resources (", &["gpu"], &["cluster/src/lower/resource.rs"]),
    ("claims by name", &["devices"], ASK),
    ("device classes, CEL", &["devices"], &["cluster/src/cel.rs"]),
    ("a selector that cannot tell", &["devices"], DEMAND),
    ("counts, several requests", &["devices"], &["cluster/src/lower/device/cover.rs"]),
    ("more than 64 unions", &["devices"], &["cluster/src/lower/device/cover.rs"]),
    ("`allocationMode: All`", &["devices"], &["cluster/src/lower/device/allocate.rs"]),
    ("claims of several pods", &["devices"], ASK),
    ("claims that have devices", &["devices"], ASK),
    ("`adminAccess`", &["devices"], DEMAND),
    ("taints of devices", &["devices"], DEMAND),
    ("devices of existing nodes", &["devices"], INVENTORY),
    ("devices of new nodes", &["devices"], INVENTORY),
    ("missing or deleted claims", &["devices"], ASK),
    ("a template's claim", &["devices"], ASK),
];

/// Folders of scenarios that are about no row: what plans cost, how they are said, and what cannot be read.
const OF_NO_ROW: [&str; 7] = ["bad-input", "cost", "in-flight", "node-cost", "node-size", "reasons", "spot"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn rows() -> impl Iterator<Item = &'static Row> {
    [PODS, VOLUMES, NODES, DEVICES].into_iter().flatten()
}

/// The rows of the page that say that a rule is honoured or approximated, by their first column; and of the others.
fn page() -> (Vec<String>, Vec<String>) {
    let text = fs::read_to_string(root().join("docs/compatibility.md")).unwrap();
    let mut out = (Vec::new(), Vec::new());
    for line in text.lines() {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        match columns.as_slice() {
            ["", rule, "honoured" | "approximated", ..] => out.0.push((*rule).to_owned()),
            ["", rule, "not honoured", ..] => out.1.push((*rule).to_owned()),
            _ => {}
        }
    }
    out
}

#[test]
fn every_rule_of_the_page_has_its_row_here() {
    let (rules, _) = page();
    for rule in &rules {
        let found: Vec<_> = rows().filter(|(begins, ..)| rule.starts_with(begins)).map(|r| r.0).collect();
        // `priority` begins only itself.
        let exact = found.iter().filter(|begins| **begins == rule.as_str()).count();
        assert!(found.len() == 1 || exact == 1, "{rule}: {found:?}");
    }
    for (begins, ..) in rows() {
        assert!(rules.iter().any(|rule| rule.starts_with(begins)), "the page has no row {begins}");
    }
}

#[test]
fn every_rule_says_whether_it_is_honoured_and_how_not() {
    let (honoured, not) = page();
    assert!(honoured.len() > 50 && !not.is_empty(), "{} and {}", honoured.len(), not.len());
    let text = fs::read_to_string(root().join("docs/compatibility.md")).unwrap();
    for line in text.lines().filter(|line| line.contains("| approximated |")) {
        let how = line.split('|').nth(3).unwrap_or_default().trim();
        assert!(how.len() > 20, "how is it approximated? {line}");
    }
}

#[test]
fn every_rule_has_scenarios() {
    let all = root().join("cli/tests/scenarios");
    let mut named: BTreeSet<&str> = OF_NO_ROW.into();
    for (rule, folders, _) in rows() {
        for folder in *folders {
            let files = fs::read_dir(all.join(folder)).unwrap_or_else(|e| panic!("{rule}: {folder}: {e}"));
            let ideas =
                files.filter(|f| f.as_ref().is_ok_and(|f| f.path().extension().is_some_and(|e| e == "yaml")));
            assert!(ideas.count() >= 4, "{rule}: {folder}");
            named.insert(folder);
        }
    }
    for entry in fs::read_dir(&all).unwrap().map(Result::unwrap).filter(|e| e.path().is_dir()) {
        let name = entry.file_name().into_string().unwrap();
        assert!(
            named.contains(name.as_str()),
            "no row of docs/compatibility.md is about the scenarios in {name}"
        );
    }
}

#[test]
fn every_rule_has_code_that_says_where_it_comes_from() {
    for (rule, _, modules) in rows() {
        let mut sourced = false;
        for module in *modules {
            let text =
                fs::read_to_string(root().join(module)).unwrap_or_else(|e| panic!("{rule}: {module}: {e}"));
            assert!(text.starts_with("//!"), "{module} does not say what it is about");
            let doc: Vec<&str> = text.lines().take_while(|line| line.starts_with("//!")).collect();
            let doc = doc.join(" ");
            sourced |= ["Kubernetes", "kube-scheduler", "Karpenter", "kubelet", "AWS"]
                .iter()
                .any(|who| doc.contains(who));
        }
        assert!(sourced, "{rule}: none of {modules:?} names the source of truth");
    }
}
