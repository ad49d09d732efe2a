//! Pods that run near others because they must: a step that takes the last of those others out of their zone leaves them behind.
//!
//! kube-scheduler asks for affinity when it places a pod, and never again. So no rule forbids such a step; but whoever asked for
//! two things to be in one zone did not ask for it, and the next pod of the one that stayed would follow the other.

use std::collections::{BTreeMap, BTreeSet};

use super::state::{Key, Mover, State};
use crate::problem::{Labels, PodTerm, Problem, SpecId, TopologyKey};
use crate::solution::NewNode;

/// A pod that a step would leave without those that it must be near to, with why. `to` says where the movers go, and
/// `launches` which node is which of those that are launched.
pub(super) fn left_behind(
    state: &State,
    gone: &BTreeSet<usize>,
    movers: &[Mover],
    to: &dyn Fn(&Mover) -> Option<Key>,
    launches: &[(Key, &NewNode)],
) -> Option<String> {
    let problem = &state.problem;
    let terms: BTreeSet<&PodTerm> = problem.specs.iter().flat_map(|spec| &spec.affinity).collect();
    terms.into_iter().find_map(|term| {
        let picks = |spec: SpecId, labels: &Labels| {
            term.selector.selects(&problem.specs[spec.index()].namespace, labels)
        };
        let picked: Vec<&Mover> =
            movers.iter().filter(|m| picks(m.spec, &problem.label_sets[m.labels.index()])).collect();
        if picked.is_empty() {
            return None;
        }
        let at = |key: Key| state.position(key).and_then(|at| domain(problem, at, &term.key));
        let mut lost: BTreeSet<String> = picked.iter().filter_map(|mover| at(mover.from)).collect();
        for key in picked.iter().filter_map(|mover| to(mover)) {
            let new = launches.iter().find(|(number, _)| *number == key);
            if let Some(domain) = new.map_or_else(|| at(key), |(_, new)| of_new(problem, new, &term.key)) {
                lost.remove(&domain);
            }
        }
        let stays = || (0..problem.nodes.len()).filter(|at| !gone.contains(at));
        let mut behind = BTreeMap::<String, &str>::new();
        for node in stays() {
            let Some(domain) = domain(problem, node, &term.key).filter(|domain| lost.contains(domain)) else {
                continue;
            };
            for pod in &problem.nodes[node].pods {
                if picks(pod.spec, &problem.label_sets[pod.labels.index()]) {
                    lost.remove(&domain);
                }
                if problem.specs[pod.spec.index()].affinity.contains(term) {
                    behind.entry(domain.clone()).or_insert(&pod.name);
                }
            }
        }
        let (domain, pod) = behind.into_iter().find(|(domain, _)| lost.contains(domain))?;
        Some(format!("pod {pod} would be left in {domain} without the pods that its affinity asks for"))
    })
}

fn domain(problem: &Problem, node: usize, key: &TopologyKey) -> Option<String> {
    let node = &problem.nodes[node];
    match key {
        TopologyKey::Host => Some(node.name.clone()),
        TopologyKey::Label(key) => node.labels.get(key).cloned(),
    }
}

/// That of a node that is launched; a host that is new is nobody's.
fn of_new(problem: &Problem, new: &NewNode, key: &TopologyKey) -> Option<String> {
    let TopologyKey::Label(key) = key else { return None };
    let from = |labels: &Labels| labels.get(key).cloned();
    let of_type = &problem.types[new.instance_type.index()];
    let offering = from(&new.offering(problem).labels).or_else(|| from(&of_type.labels));
    offering.or_else(|| from(&problem.pools[new.pool.index()].labels))
}
