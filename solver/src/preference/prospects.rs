//! Where a pod could be, to see which of its wishes for nodes are in vain: nodes that exist, and kinds of them to buy.

use std::collections::BTreeSet;

use fixedbitset::FixedBitSet;

use crate::kind::Kinds;
use crate::model::{admits, holds};
use crate::problem::{PodSpec, Preference, Problem, ResourceId};

/// What there is and what could be bought, to see whether a wish about nodes is in vain.
pub(super) struct Prospects<'p> {
    problem: &'p Problem,
    kinds: Kinds<'p>,
}

impl<'p> Prospects<'p> {
    /// `used` are the specs of pending pods.
    pub(super) fn of(problem: &'p Problem, used: &BTreeSet<u32>) -> Self {
        let mut dims: Vec<ResourceId> = (0..problem.resources.len()).map(ResourceId::of).collect();
        dims.sort_unstable_by(|a, b| problem.resources[a.index()].cmp(&problem.resources[b.index()]));
        // Values of open labels are those that somebody mentions, wishes included.
        let mut wanted = Vec::new();
        for spec in used.iter().map(|at| &problem.specs[*at as usize]) {
            let wishes = spec.preferences.iter().filter_map(|p| match p {
                Preference::Node(wish) | Preference::Untainted(wish) => Some(wish),
                _ => None,
            });
            let mut all = PodSpec { node: spec.node.clone(), ..PodSpec::default() };
            for wish in wishes {
                let one = spec.node.iter().chain([wish]).cloned().collect();
                wanted.push(PodSpec { node: one, ..PodSpec::default() });
                all.node.push(wish.clone());
            }
            wanted.push(all);
        }
        let daemons = problem.daemons.iter().map(|d| &problem.specs[d.spec.index()]);
        let required = used.iter().map(|at| &problem.specs[*at as usize]);
        let wanted: Vec<&PodSpec> = required.chain(daemons).chain(&wanted).collect();
        Self { problem, kinds: Kinds::build(problem, dims, &wanted) }
    }

    /// Where a spec may be, and where each of its wishes for nodes holds.
    pub(super) fn wishes(&mut self, spec: &PodSpec) -> Wishes {
        let nodes = &self.problem.nodes;
        let need: Vec<i64> = self.kinds.dims.iter().map(|dim| spec.requests.get(*dim)).collect();
        let roomy = |at: &usize| {
            let shape = &self.kinds.shapes[self.kinds.kinds[*at].shape as usize];
            need.iter().zip(&shape.room).all(|(need, room)| need <= room)
        };
        let total = self.kinds.kinds.len();
        let roomy: FixedBitSet = sized((0..total).filter(roomy), total);
        let mut kinds = self.kinds.admitting(spec);
        kinds.intersect_with(&roomy);
        let open = (0..nodes.len()).filter(|at| admits(&nodes[*at], spec));
        let required = Places { nodes: sized(open, nodes.len()), kinds };
        let of_wish = |preference: &Preference| match preference {
            Preference::Node(wish) | Preference::Untainted(wish) => {
                let holding = (0..nodes.len()).filter(|at| holds(wish, &nodes[*at].labels));
                Some(Places { nodes: sized(holding, nodes.len()), kinds: self.kinds.meeting(wish) })
            }
            Preference::Near(_) | Preference::Away(_) | Preference::Spread(_) => None,
        };
        let by_preference = spec.preferences.iter().map(of_wish).collect();
        Wishes { required, by_preference }
    }
}

/// Nodes that exist, and kinds of them to buy.
#[derive(Clone)]
pub(super) struct Places {
    nodes: FixedBitSet,
    kinds: FixedBitSet,
}

impl Places {
    /// What is in both; `None` if nothing is.
    pub(super) fn and(&self, other: &Self) -> Option<Self> {
        if self.nodes.is_disjoint(&other.nodes) && self.kinds.is_disjoint(&other.kinds) {
            return None;
        }
        Some(Self { nodes: &self.nodes & &other.nodes, kinds: &self.kinds & &other.kinds })
    }
}

/// Where a pod may be.
pub(super) struct Wishes {
    /// By what it requires; kinds have room for one.
    pub(super) required: Places,
    /// By preference: where it holds, if it is one about nodes.
    pub(super) by_preference: Vec<Option<Places>>,
}

fn sized(ones: impl Iterator<Item = usize>, total: usize) -> FixedBitSet {
    let mut set = FixedBitSet::with_capacity(total);
    set.extend(ones);
    set
}
