//! What else the launches of a step could be: EC2 is asked for all of it at once, and gives what it has. None of it may cost what
//! the step saves, nor be the like of what goes.

use std::sync::Arc;

use super::Kept;
use super::fleet::{Held, SPOT};
use super::wide::{self, Sale};

use crate::money::Price;
use crate::pack::Budget;
use crate::problem::Problem;
use crate::solution::{Alternative, NewNode};

/// What the launches of one step may be.
pub(super) struct Choice<'s> {
    pub(super) sale: &'s Sale<'s>,
    /// The nodes that go, each with its NodePool.
    pub(super) going: Vec<(Option<&'s str>, &'s Held)>,
    /// Where one spot node takes the place of another: how many types there must be to choose from, below which price.
    pub(super) spot: Option<(usize, Price)>,
    /// What the step saves, and what it has to save at least.
    pub(super) saving: Price,
    pub(super) least: Price,
    /// How many launches share what is saved.
    pub(super) launches: usize,
}

impl Choice<'_> {
    /// What else a launch could be, cheapest first. What all launches of the step take themselves is out of the budget already.
    ///
    /// # Errors
    /// Where a spot node would be chosen from too few types.
    pub(super) fn of(
        &self,
        problem: &Problem,
        launch: &NewNode,
        budget: &Budget,
    ) -> Result<Arc<[Alternative]>, Kept> {
        let is_wide = !problem.pools[launch.pool.index()].min_values.is_empty();
        let most = match self.spot {
            // All that is cheaper than what is there: the choice has to be wide, and the cheapest of it are taken.
            Some((_, price)) => price - Price::from_micros(1),
            // How wide the choice is comes first where the NodePool says so.
            None if is_wide => Price::from_micros(i64::MAX),
            None => wide::most(launch, self.saving, self.least, self.launches),
        };
        let pods = launch.pods.iter().map(|pod| problem.pods[pod.index()].name.as_str());
        let mut all = self.sale.alternatives(launch, pods, most, budget);
        if !is_wide && all.iter().any(|of| self.is_like(problem, launch, *of)) {
            all = all.iter().filter(|of| !self.is_like(problem, launch, **of)).copied().collect();
        }
        let Some((least, _)) = self.spot.filter(|_| launch.offering(problem).capacity_type == SPOT) else {
            return Ok(all);
        };
        let found = wide::types(problem, launch, &all);
        if found < least {
            return Err(Kept::SpotTypes { found, least });
        }
        Ok(wide::cheapest(problem, launch, &all, least))
    }

    /// Whether it is the like of a node that goes: of its NodePool, type and capacity type, and not cheaper.
    fn is_like(&self, problem: &Problem, launch: &NewNode, of: Alternative) -> bool {
        let pool = Some(problem.pools[launch.pool.index()].name.as_str());
        let (name, offering) = (&problem.types[of.instance_type.index()].name, of.offering(problem));
        self.going.iter().any(|(other, held)| {
            let sold = &held.sold_as;
            *other == pool
                && (&sold.instance_type, &sold.capacity_type) == (name, &offering.capacity_type)
                && held.price.is_none_or(|price| offering.price >= price)
        })
    }
}
