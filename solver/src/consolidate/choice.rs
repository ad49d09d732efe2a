//! What else the launches of a step could be: EC2 is asked for all of it at once, and gives what it has. None of it may cost what
//! the step saves, nor be the like of what goes; and where the choice must be wide (`minValues` of a `NodePool`, spot for spot),
//! what is left must be: price comes first, as with Karpenter.

use std::sync::Arc;

use super::Kept;
use super::fleet::{Aims, Held, SPOT};
use super::steps::Account;
use super::wide::{self, Sale};

use crate::money::Price;
use crate::pack::Budget;
use crate::problem::Problem;
use crate::solution::{Alternative, NewNode, Relaxed};

/// What the launches of one step may be.
pub(super) struct Choice<'s> {
    pub(super) sale: &'s Sale<'s>,
    /// The nodes that go, each with its NodePool.
    pub(super) going: Vec<(Option<&'s str>, &'s Held)>,
    spot: Spot,
    /// What the step saves, and what it has to save at least.
    saving: Price,
    least: Price,
    /// How many launches share what is saved.
    launches: usize,
}

/// What of spot may come in the place of what goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    /// Any.
    Free,
    /// One spot node goes: any that is chosen from so many types, however many nodes come.
    Of(usize),
    /// None.
    Never,
}

impl Spot {
    pub(super) fn of<'h>(aims: &Aims, going: impl Iterator<Item = &'h Held>) -> Self {
        let (mut count, mut all) = (0, true);
        for held in going {
            count += 1;
            all &= held.sold_as.capacity_type == SPOT;
        }
        match aims.spot_types {
            None if all => Self::Never,
            Some(least) if all && count == 1 => Self::Of(least),
            _ => Self::Free,
        }
    }
}

impl<'s> Choice<'s> {
    /// For a step of so many launches that comes to this.
    pub(super) fn new(
        sale: &'s Sale<'s>,
        aims: &Aims,
        going: Vec<(Option<&'s str>, &'s Held)>,
        account: &Account,
        launches: usize,
    ) -> Self {
        let spot = Spot::of(aims, going.iter().map(|(_, held)| *held));
        Self { sale, going, spot, saving: account.saving, least: account.least(aims), launches }
    }

    /// Whether a launch may only be made with something to choose from.
    pub(super) fn matters(&self, problem: &Problem, launch: &NewNode) -> bool {
        matters(problem, self.spot, launch)
    }

    /// What else a launch could be that holds these pods, cheapest first. What all launches of the step take themselves is out of
    /// the budget already.
    ///
    /// # Errors
    /// Where what is cheap enough is no choice as wide as it must be.
    pub(super) fn of<'n>(
        &self,
        problem: &Problem,
        launch: &NewNode,
        pods: impl Iterator<Item = &'n str>,
        budget: &Budget,
    ) -> Result<Arc<[Alternative]>, Kept> {
        let is_spot = |of: &Alternative| of.offering(problem).capacity_type == SPOT;
        let wanted = match self.spot {
            Spot::Of(least) if launch.offering(problem).capacity_type == SPOT => Some(least),
            _ => None,
        };
        // Of spot for spot all that saves anything: the choice has to be wide, and the cheapest of it are taken.
        let least = if wanted.is_some() { Price::from_micros(1) } else { self.least };
        let most = wide::most(launch, self.saving, least, self.launches);
        let mut all = self.sale.alternatives(launch, pods, most, budget);
        // EC2 would rather sell spot than what was planned.
        let no_spot = self.spot != Spot::Free && wanted.is_none();
        let unfit = |of: &Alternative| self.is_like(problem, launch, *of) || (no_spot && is_spot(of));
        if all.iter().any(unfit) {
            all = all.iter().filter(|of| !unfit(of)).copied().collect();
        }
        if let Some(least) = wanted {
            let found = wide::types(problem, launch, &all);
            if found < least {
                return Err(Kept::SpotTypes { found, least });
            }
            // More than the cheapest only where the NodePool asks for more.
            let cheapest = |types: usize| wide::cheapest(problem, launch, &all, types);
            let enough = |few: &Arc<[Alternative]>| self.sale.lacking(problem, launch, few).is_none();
            let few = (least..=found).map(cheapest).find(enough);
            all = few.unwrap_or_else(|| cheapest(least));
        }
        match self.sale.lacking(problem, launch, &all) {
            Some(Relaxed { key, least, found }) => Err(Kept::MinValues { key, found, least }),
            None => Ok(all),
        }
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

/// Whether a launch may only be made with something to choose from: spot for spot, or of a `NodePool` that insists on it.
pub(super) fn matters(problem: &Problem, spot: Spot, launch: &NewNode) -> bool {
    let is_spot = launch.offering(problem).capacity_type == SPOT;
    let insists = problem.pools[launch.pool.index()].min_values.iter().any(|demand| !demand.relax);
    insists || (is_spot && matches!(spot, Spot::Of(_)))
}
