//! Labels and allocatable resources of every type, against the table that Karpenter's own code writes for its
//! documentation.
//!
//! `data/karpenter.tsv.gz` holds the figures of karpenter-provider-aws v1.14, `website/…/reference/instance-types.md` (of
//! 2026-07): type, labels without the prefix `karpenter.k8s.aws/instance-`, and what pods may use on Amazon Linux 2023.
//! `data/newer.tsv` has the same of 28 types that are not in that table: computed from EC2's answers by a second program,
//! which follows the same rules, shares nothing with this crate, and agrees with Karpenter's table on all others.
//! Nine types of EC2's 1,395 are for macOS alone, and not nodes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should fail where it stands")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use flate2::read::GzDecoder;
use stowage_api::Quantity;
use stowage_pricing::{InstanceType, NodeConfig, facts};

const TABLE: &[u8] = include_bytes!("data/karpenter.tsv.gz");
const NEWER: &str = include_str!("data/newer.tsv");

/// Labels that Karpenter sets and that the table leaves out.
const NOT_IN_TABLE: [&str; 2] = ["karpenter.k8s.aws/nitro-sandbox", "karpenter.k8s.aws/instance-tenancy"];

type Pairs = BTreeMap<String, String>;

fn pairs(cell: &str) -> Pairs {
    let pair = |pair: &str| pair.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
    cell.split(' ').filter_map(pair).collect()
}

fn karpenters() -> BTreeMap<String, (Pairs, Pairs)> {
    let mut text = String::new();
    GzDecoder::new(TABLE).read_to_string(&mut text).unwrap();
    table(&text)
}

fn table(text: &str) -> BTreeMap<String, (Pairs, Pairs)> {
    let line = |line: &str| {
        let cells: Vec<&str> = line.split('\t').collect();
        (cells[0].to_owned(), (pairs(cells[1]), pairs(cells[2])))
    };
    text.lines().map(line).collect()
}

fn labels(t: &InstanceType) -> Pairs {
    let stated = t.labels.iter().filter(|(key, _)| !NOT_IN_TABLE.contains(&key.as_str()));
    let short = |key: &str| key.trim_start_matches("karpenter.k8s.aws/instance-").to_owned();
    stated
        .map(|(key, value)| (short(key), value.clone()))
        .chain([("arch".to_owned(), t.architecture.clone())])
        .collect()
}

fn allocatable(t: &InstanceType) -> BTreeMap<String, Quantity> {
    let has = |(name, amount): &(String, Quantity)| {
        // Karpenter leaves attach slots to the CSI driver.
        name != "attachable-volumes-aws-ebs" && !amount.is_zero()
    };
    t.allocatable().into_iter().filter(has).collect()
}

/// Where EC2's own figures, or the tables that Karpenter is built with, changed between the two sources: label or
/// resource, and families.
const CHANGED: [(&str, &[&str]); 5] = [
    ("cpu-sustained-clock-speed-mhz", &["c9g", "c9gd", "i7i", "i7ie", "m9g", "m9gd"]),
    ("network-bandwidth", &["g7"]),
    // The second network card of the largest sizes.
    ("memory", &["i7ie", "i8ge"]),
    ("pods", &["i7ie", "i8ge"]),
    (
        "vpc.amazonaws.com/pod-eni",
        &[
            "c8gb", "c8gn", "c8ib", "c9g", "c9gd", "hpc7g", "i4i", "m8gb", "m8gn", "m8ib", "m8idb", "m8idn",
            "m8in", "r8gb", "r8gn", "r8ib", "r8idb", "r8idn", "r8in",
        ],
    ),
];

/// No type goes uncompared, and none is in both tables.
#[test]
fn every_type_stands_in_a_table() {
    let (karpenters, newer) = (karpenters(), table(NEWER));
    let facts = facts::embedded().unwrap();
    let missing: Vec<&str> = facts
        .iter()
        .map(|of| of.name.as_str())
        .filter(|name| karpenters.contains_key(*name) == newer.contains_key(*name))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(facts.len(), 1395 - 9);
}

#[test]
fn newer_types_follow_the_same_rules() {
    let wrong = differences(&table(NEWER), 28);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_type_is_as_karpenter_has_it() {
    let mut wrong = differences(&karpenters(), 1358);
    wrong.retain(|(name, key)| {
        let family = name.split('.').next().unwrap();
        !CHANGED.iter().any(|(changed, families)| changed == key && families.contains(&family))
    });
    assert!(wrong.is_empty(), "{} differences, such as {:#?}", wrong.len(), &wrong[..wrong.len().min(10)]);
}

/// Type and label or resource that are otherwise in a table, of which so many types are known.
fn differences(table: &BTreeMap<String, (Pairs, Pairs)>, expected: usize) -> Vec<(String, String)> {
    let mut compared = 0;
    let mut wrong = Vec::new();
    for facts in facts::embedded().unwrap() {
        let Some((their_labels, their_resources)) = table.get(&facts.name) else { continue };
        compared += 1;
        let ours = InstanceType::of(facts, &NodeConfig::default());
        let theirs: BTreeMap<String, Quantity> =
            their_resources.iter().map(|(name, amount)| (name.clone(), amount.parse().unwrap())).collect();
        let differing =
            [keys_that_differ(&labels(&ours), their_labels), keys_that_differ(&allocatable(&ours), &theirs)];
        wrong.extend(differing.concat().into_iter().map(|key| (facts.name.clone(), key)));
    }
    assert_eq!(compared, expected);
    wrong
}

fn keys_that_differ<V: PartialEq>(a: &BTreeMap<String, V>, b: &BTreeMap<String, V>) -> Vec<String> {
    let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    keys.into_iter().filter(|key| a.get(*key) != b.get(*key)).cloned().collect()
}
