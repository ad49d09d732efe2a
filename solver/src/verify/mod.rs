//! Checks a finished plan against every rule, as the final state of the cluster.
//!
//! Written apart from packing, and shares nothing with it but the problem's own vocabulary: a mistake in packing shows
//! here instead of in a cluster. Slow and plain is fine; it still must not dominate a solve, so verdicts that depend
//! on a spec and a node alone are worked out once for each pair.
//!
//! Spread depends on the order in which pods are bound, which nobody knows. What is checked holds for every order:
//! in each domain that got a constrained pod, those bound before plus those placed exceed the least full eligible
//! domain by at most `maxSkew`.

mod affinity;
mod alternatives;
mod cluster;
mod lists;
mod node;
mod route;
mod topology;

use crate::problem::Problem;
use crate::solution::Solution;

/// A rule that a plan breaks: a defect of the solver, never the caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What broke, and where, in words.
    pub what: String,
}

/// Every rule that `solution` breaks; empty for a good plan.
///
/// ```
/// use stowage_solver::{Problem, Solution, verify};
/// assert!(verify(&Problem::default(), &Solution::default()).is_empty());
/// ```
pub fn verify(problem: &Problem, solution: &Solution) -> Vec<Violation> {
    let mut found = Vec::new();
    lists::check(problem, solution, &mut found);
    if !found.is_empty() {
        // The other checks follow ids, and rely on each being there once.
        return found;
    }
    let cluster = cluster::Cluster::after(problem, solution);
    node::check(&cluster, solution, &mut found);
    route::check(&cluster, solution, &mut found);
    topology::check(&cluster, &mut found);
    affinity::check(&cluster, &mut found);
    alternatives::check(&cluster, solution, &mut found);
    found
}

fn violation(found: &mut Vec<Violation>, what: String) {
    found.push(Violation { what });
}
