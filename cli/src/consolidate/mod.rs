//! `stowage plan --consolidate`: which nodes that are there need not be, and why the others stay.

mod document;
mod table;

use std::collections::BTreeMap;

use stowage_api::well_known;
use stowage_cluster::disrupt::{Moment, Standing, fleet, latest, standings};
use stowage_cluster::{Lowered, Snapshot, words};
use stowage_pricing::{Catalog, Commitments};
use stowage_solver::{Aims, Consolidation, Fleet, Kept, NodeId, Problem, Violation, consolidate};

use crate::args::ConsolidateArgs;
use crate::interrupt::Interrupt;
use crate::progress::Progress;

pub(crate) use document::of as document;
pub(crate) use table::report;

/// What a consolidation is printed from.
pub(crate) struct Answer {
    pub(crate) problem: Problem,
    pub(crate) fleet: Fleet,
    pub(crate) found: Consolidation,
    /// Why nodes stay, in words, by name.
    pub(crate) kept: Vec<(NodeId, String)>,
    pub(crate) notes: Vec<String>,
}

/// Plans the consolidation of a lowered snapshot.
///
/// # Errors
/// What a defective plan breaks.
pub(crate) fn plan(
    snapshot: &Snapshot,
    catalog: &Catalog,
    commitments: &Commitments,
    lowered: Lowered,
    args: &ConsolidateArgs,
    interrupt: &Interrupt,
    progress: &Progress,
) -> Result<Answer, Vec<Violation>> {
    // Same input, same bytes: it is as late as the snapshot knows.
    let moment = Moment { now: latest(snapshot), ..Moment::default() };
    let all = standings(snapshot, &moment);
    let problem = lowered.problem;
    let fleet = fleet(&problem, catalog, commitments, &all);
    let aims = Aims {
        floor: args.saving_floor.price,
        floor_share: args.saving_floor.share,
        payback: args.payback.0,
        ..Aims::default()
    };
    let mut tell = |stage, done, of| progress.tell(stage, done, of);
    let found = consolidate(&problem, &fleet, &aims, interrupt.flag(), &mut tell)?;
    let kept = kept(&problem, &found, &all);
    let notes = notes(snapshot, &fleet, &found, &moment, lowered.commitments.is_empty());
    Ok(Answer { problem, fleet, found, kept, notes })
}

/// Why each node stays, the standing's reasons where it has some.
fn kept(problem: &Problem, found: &Consolidation, standings: &[Standing<'_>]) -> Vec<(NodeId, String)> {
    let by_name: BTreeMap<&str, &Standing<'_>> =
        standings.iter().map(|standing| (standing.node.metadata.name.as_str(), standing)).collect();
    let why = |node: NodeId, why: &Kept| {
        let standing = by_name.get(problem.nodes[node.index()].name.as_str());
        let refusals: Vec<String> =
            standing.into_iter().flat_map(|s| s.refusals()).map(words::kept::refusal).collect();
        if refusals.is_empty() { words::kept::kept(problem, why) } else { refusals.join("; ") }
    };
    let mut out: Vec<(NodeId, String)> =
        found.kept.iter().map(|(node, kept)| (*node, why(*node, kept))).collect();
    out.sort_by(|a, b| problem.nodes[a.0.index()].name.cmp(&problem.nodes[b.0.index()].name));
    out
}

/// What the reader must know.
fn notes(
    snapshot: &Snapshot,
    fleet: &Fleet,
    found: &Consolidation,
    moment: &Moment,
    free: bool,
) -> Vec<String> {
    let mut notes = Vec::new();
    if found.spent {
        notes.push("the search ended before nothing was left to find: another look may find more".to_owned());
    }
    if found.more {
        notes.push(
            "once these steps are taken another look may find more, which cannot be done together with them"
                .to_owned(),
        );
    }
    if snapshot.disruption_budgets.is_empty() {
        notes.push("no PodDisruptionBudget in the snapshot: none is honoured".to_owned());
    }
    notes.push(
        "budgets of NodePools are not looked at: they say how many nodes may go at the same time".to_owned(),
    );
    if moment.now.is_none() {
        notes.push(
            "the snapshot states no moment: what depends on the age of nodes and pods is left out".to_owned(),
        );
    }
    let unpriced = fleet.nodes.iter().filter(|held| held.price.is_none()).count();
    if unpriced > 0 {
        let nodes = words::count(unpriced, "node");
        notes.push(format!("{nodes} of unknown price: in neither cost nor bound, and left alone"));
    }
    if !free {
        notes.push(
            "what reserved instances and savings plans cover is paid for with nodes or without: a node counts at what is taken \
             off the bill when it goes, those first that cost most for what that disrupts"
                .to_owned(),
        );
    }
    let spot = fleet.nodes.iter().any(|held| held.sold_as.capacity_type == well_known::SPOT);
    if spot {
        notes.push("spot nodes count at today's price, not at that of their launch".to_owned());
    }
    notes
}
