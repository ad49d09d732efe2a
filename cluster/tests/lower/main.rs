//! What a snapshot means, as a problem: one file for each kind of object.
#![expect(clippy::panic, reason = "a helper of tests fails the test")]

#[path = "../common/mod.rs"]
mod common;
mod nodes;
mod pods;
mod pools;
mod topology;
mod volumes;

use std::collections::BTreeMap;

use common::{catalog, list, pod, read_bytes};
use stowage_cluster::{LowerOptions, Lowered, lower};
use stowage_solver::{NodeConstraint, Operator, Problem, Requirement, Resources};

pub(crate) fn lowered_with(items: &str, options: &LowerOptions) -> Lowered {
    let snapshot = read_bytes(list(items).as_bytes()).unwrap_or_else(|e| panic!("{e}"));
    lower(&snapshot, catalog(), options).unwrap_or_else(|e| panic!("{e}"))
}

pub(crate) fn lowered(items: &str) -> Lowered {
    lowered_with(items, &LowerOptions::default())
}

/// The problem of one pod with this spec, among these other objects.
pub(crate) fn one(spec: &str, others: &[&str]) -> Problem {
    let pod = pod(spec);
    lowered(&[&[pod.as_str()], others].concat().join(",")).problem
}

pub(crate) fn amounts(problem: &Problem, resources: &Resources) -> BTreeMap<String, i64> {
    resources.iter().map(|(id, amount)| (problem.resources[id.index()].clone(), amount)).collect()
}

pub(crate) fn map(of: &[(&str, i64)]) -> BTreeMap<String, i64> {
    of.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect()
}

pub(crate) fn is_in(key: &str, values: &[&str]) -> Requirement {
    Requirement { key: key.to_owned(), op: Operator::In(values.iter().map(|v| (*v).to_owned()).collect()) }
}

pub(crate) fn constraint(source: &str, any_of: Vec<Vec<Requirement>>) -> NodeConstraint {
    let of_volume = source.contains("claim");
    NodeConstraint { source: source.to_owned(), any_of, of_volume }
}
