//! The bill for the instances alone, where plans weigh something else: fixed costs of nodes, or rebates.
//!
//! What a node costs however big it is (root volume, public address, an agent's licence) is one number for each
//! `NodePool`. Every kind's price is *weighed* with it, so packing, both bounds and the gap are about the weighed cost:
//! bigger nodes become more attractive by exactly what they save. What is paid for already (reserved instances, savings
//! plans) is taken off in the same way.
//!
//! The bill for the instances alone is what a reader of prices expects to add up, and nothing above is a bound of it: a
//! plan may well buy dearer instances to save nodes or to use what is paid for. So it gets a bound of its own, from the
//! same problem without fixed costs and rebates.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use crate::bound::floor;
use crate::memory::Memory;
use crate::money::Price;
use crate::problem::{PodId, Problem};
use crate::solution::Solution;
use crate::{Options, ladder};

/// A lower bound on the bill for the instances of any plan that holds the same pods as `solution`.
pub(crate) fn instance_bound(
    problem: &Problem,
    solution: &Solution,
    options: &Options,
    cancel: &AtomicBool,
) -> Price {
    let offerings = || problem.types.iter().flat_map(|of_type| &of_type.offerings);
    let no_fixed_costs = problem.pools.iter().all(|pool| pool.node_cost == Price::ZERO);
    if no_fixed_costs && offerings().all(|offering| offering.rebate == Price::ZERO) {
        return solution.bound;
    }
    let mut bare = problem.clone();
    for pool in &mut bare.pools {
        pool.node_cost = Price::ZERO;
    }
    for offering in bare.types.iter_mut().flat_map(|of_type| &mut of_type.offerings) {
        offering.rebate = Price::ZERO;
    }
    let other = ladder::climb(&bare, &options.quick(), &mut Memory::default(), cancel, &mut |_, _, _| {});
    let unplaced = |s: &Solution| s.unplaced.iter().map(|u| u.pod).collect::<BTreeSet<PodId>>();
    // A bound for holding other pods says nothing about these.
    let left = unplaced(solution);
    let bound = if unplaced(&other) == left { other.bound } else { floor(&bare, &left) };
    // Rebates only take something off, so what is left to pay is a bound of the whole.
    let bound = if no_fixed_costs { bound.max(solution.bound) } else { bound };
    // The other plan may have been the dearer one, and its bound capped by its own cost only.
    bound.min(solution.instance_cost())
}
