//! One look at a cluster: a search, and the steps that come of it.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use super::fleet::{Aims, Fleet};
use super::search::Search;
use super::state::{Key, State};
use super::steps::Court;
use super::wide::{Sale, everything, narrowed};
use super::{Kept, Step, carve, ideal};
use crate::Progress;
use crate::model::Model;
use crate::money::Price;
use crate::problem::Problem;

/// What a look has found.
pub(super) struct Look {
    pub(super) steps: Vec<Step>,
    /// By node: why it stays.
    pub(super) kept: BTreeMap<usize, Kept>,
    /// No arrangement of the same pods costs less.
    pub(super) bound: Price,
    /// Whether another look may have more to give: not all that was found became steps, or what was done before a trial has kept
    /// it from being made.
    pub(super) again: bool,
    /// Whether another look may have more to give that would touch what this one has launched, in a cluster so large that it is
    /// left at that.
    pub(super) more: bool,
    pub(super) spent: bool,
    pub(super) work: u64,
}

/// Looks at a cluster. So many steps of work have been done before.
pub(super) fn look(
    problem: &Problem,
    fleet: &Fleet,
    aims: &Aims,
    work: u64,
    cancel: &AtomicBool,
    progress: Progress<'_>,
) -> Look {
    let all = everything(problem, fleet);
    let model = Model::build(&all);
    let sale = Sale::of(&model);
    let narrow = narrowed(problem, &sale);
    let ideal = ideal::ideal(problem, fleet);
    let mut out = Look {
        steps: Vec::new(),
        kept: BTreeMap::new(),
        bound: ideal.bound,
        again: false,
        more: false,
        spent: false,
        work,
    };
    // Where no step of all that was found can be taken, there may be others without them.
    let mut barred = BTreeMap::<usize, Kept>::new();
    loop {
        let mut open = fleet.clone();
        for at in barred.keys() {
            open.nodes[*at].removable = false;
        }
        let start = State::of(&narrow, &open);
        let court = Court::of(&start, aims);
        let mut search = Search {
            whole: problem,
            sale: &sale,
            fleet,
            court,
            state: start,
            moves: BTreeMap::new(),
            went: BTreeMap::new(),
            kept: BTreeMap::new(),
            steps: out.work,
            thorough: true,
            ranked: Vec::new(),
            waste: BTreeMap::new(),
            among: None,
            biased: false,
            worth: Some(ideal.worth.clone()),
            cancel,
        };
        search.run(&mut *progress);
        (out.spent, out.work) = (search.spent(), search.steps);
        let (steps, refused) = carve::carve(problem, &open, &search, &mut *progress);
        let broken = refused.iter().filter(|(_, why)| **why != Kept::Limit);
        let broken: BTreeMap<usize, Kept> = broken.map(|(at, why)| (*at, why.clone())).collect();
        let old = |(key, why): (Key, Kept)| Some((super::old(key)?, why));
        out.kept = search.kept.into_iter().filter_map(old).collect();
        out.kept.extend(refused);
        let done = broken.is_empty() || out.spent || !steps.is_empty();
        barred.extend(broken);
        // What was barred while the steps were found may go once they are taken.
        out.again = !steps.is_empty() && (!barred.is_empty() || search.biased) && search.thorough;
        out.more = !steps.is_empty() && !search.thorough;
        if done {
            out.kept.extend(barred);
            out.steps = steps;
            return out;
        }
    }
}
