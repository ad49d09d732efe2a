//! First-fit decreasing, the baseline that anyone would write first.
//!
//! 1. Pods by CPU, then memory, largest first, then by name.
//! 2. Each goes to the first node, existing ones first and then new ones in the order they were opened, that has room
//!    and whose rules allow it: node selectors and affinity, taints, host ports, spread, pod affinity and anti-affinity.
//! 3. Where none does, a node is opened: the offering with the lowest price per copy of this pod that it would hold,
//!    counting no more copies than still wait and may share a host; of equals the cheaper, then the first by name.
//! 4. At the end each new node becomes the cheapest offering of its pool and domains that holds what it got.
//!
//! It looks at one pod at a time, never moves one again, and proves nothing. It ignores priorities and shared unbound
//! volumes, and gives open labels of a `NodePool` their first value.

use std::collections::HashMap;
use std::sync::Arc;

use stowage_solver::{
    HostPort, LabelSetId, NewNode, NodeId, Obstacle, Placement, Pod, PodId, PodSpec, PoolId, Price, Problem,
    Reason, ResourceId, Resources, Solution, SpecId, Unplaced,
};

use super::market::{Market, free, meets, tolerates};
use super::rules::{Domains, Rules};

/// Plans `problem`.
pub(crate) fn plan(problem: &Problem) -> Solution {
    let mut packing = Packing::of(problem);
    let mut waiting = HashMap::<(SpecId, LabelSetId), u32>::new();
    for pod in &problem.pods {
        *waiting.entry((pod.spec, pod.labels)).or_insert(0) += 1;
    }
    let mut unplaced = Vec::new();
    for id in decreasing(problem) {
        let pod = &problem.pods[id.index()];
        let copies =
            waiting.get_mut(&(pod.spec, pod.labels)).map_or(1, |left| std::mem::replace(left, *left - 1));
        if !packing.add(id, copies) {
            unplaced.push(Unplaced { pod: id, reasons: reasons(problem, pod) });
        }
    }
    unplaced.sort_by_key(|u| u.pod);
    packing.shrink();
    packing.finish(unplaced)
}

fn decreasing(problem: &Problem) -> Vec<PodId> {
    let resource = |name: &str| problem.resources.iter().position(|r| r == name).map(ResourceId::of);
    let (cpu, memory) = (resource("cpu"), resource("memory"));
    let mut order: Vec<PodId> = (0..problem.pods.len()).map(PodId::of).collect();
    order.sort_by_key(|id| {
        let pod = &problem.pods[id.index()];
        let asks = |r: Option<ResourceId>| r.map_or(0, |r| problem.specs[pod.spec.index()].requests.get(r));
        (-asks(cpu), -asks(memory), &pod.name)
    });
    order
}

fn reasons(problem: &Problem, pod: &Pod) -> Vec<Reason> {
    if let Some(why) = &problem.specs[pod.spec.index()].blocked {
        return vec![Reason::Blocked(why.clone())];
    }
    if problem.pools.is_empty() {
        return vec![Reason::NoPools];
    }
    (0..problem.pools.len()).map(|pool| Reason::Pool(PoolId::of(pool), Obstacle::NoTypeHolds)).collect()
}

enum Home {
    Node(NodeId),
    New(usize),
}

struct Bin {
    home: Home,
    room: Resources,
    ports: Vec<HostPort>,
    domains: Domains,
    pods: Vec<PodId>,
}

/// What one spec may use at all.
struct Choice {
    kinds: Vec<usize>,
    nodes: Vec<bool>,
    /// Domains of those, each once.
    eligible: Vec<Domains>,
}

struct Packing<'p> {
    problem: &'p Problem,
    market: Market<'p>,
    bins: Vec<Bin>,
    rules: Rules<'p>,
    choices: HashMap<SpecId, Choice>,
}

impl<'p> Packing<'p> {
    fn of(problem: &'p Problem) -> Self {
        let mut rules = Rules::of(problem);
        let mut bins = Vec::new();
        for (at, node) in problem.nodes.iter().enumerate() {
            let domains = rules.domains(|key| node.labels.get(key).map(String::as_str), at as u32);
            for running in node.pods.iter().filter(|p| !p.terminating) {
                let pod = Pod { name: running.name.clone(), spec: running.spec, labels: running.labels };
                rules.place(&pod, &domains);
            }
            bins.push(Bin {
                home: Home::Node(NodeId::of(at)),
                room: node.allocatable.minus(&node.used),
                ports: node.host_ports.clone(),
                domains,
                pods: Vec::new(),
            });
        }
        let market = Market::of(problem, &mut rules);
        Self { problem, market, bins, rules, choices: HashMap::new() }
    }

    fn choice(&mut self, id: SpecId) {
        if self.choices.contains_key(&id) {
            return;
        }
        let (problem, spec) = (self.problem, &self.problem.specs[id.index()]);
        let all = self.market.kinds.iter().enumerate();
        let kinds: Vec<usize> =
            all.filter(|(_, kind)| self.market.welcomes(kind, spec)).map(|(at, _)| at).collect();
        let nodes: Vec<bool> = problem
            .nodes
            .iter()
            .map(|node| {
                let of_node = |key: &str| node.labels.get(key).map(String::as_str);
                node.open && tolerates(&spec.tolerations, &node.taints) && meets(&spec.node, of_node)
            })
            .collect();
        let of_nodes = nodes.iter().zip(&self.bins).filter(|(yes, _)| **yes).map(|(_, bin)| &bin.domains);
        let mut eligible: Vec<Domains> =
            kinds.iter().map(|at| &self.market.kinds[*at].domains).chain(of_nodes).cloned().collect();
        eligible.sort_unstable();
        eligible.dedup();
        self.choices.insert(id, Choice { kinds, nodes, eligible });
    }

    /// Places a pod; false where it can be nowhere. `copies` of it, itself included, wait.
    fn add(&mut self, id: PodId, copies: u32) -> bool {
        let problem = self.problem;
        let pod = &problem.pods[id.index()];
        let spec = &problem.specs[pod.spec.index()];
        if spec.blocked.is_some() {
            return false;
        }
        self.choice(pod.spec);
        let choice = &self.choices[&pod.spec];
        let at = (0..self.bins.len()).find(|at| {
            let bin = &self.bins[*at];
            let welcome = match bin.home {
                Home::Node(node) => choice.nodes[node.index()],
                Home::New(kind) => choice.kinds.binary_search(&kind).is_ok(),
            };
            welcome
                && spec.requests.fits(&bin.room)
                && free(&spec.host_ports, &bin.ports)
                && self.rules.allow(pod, &bin.domains, &choice.eligible)
        });
        let Some(at) = at.or_else(|| self.open(pod, spec, copies)) else { return false };
        let bin = &mut self.bins[at];
        bin.room = bin.room.minus(&spec.requests);
        bin.ports.extend(spec.host_ports.iter().cloned());
        bin.pods.push(id);
        self.rules.place(pod, &bin.domains);
        true
    }

    /// Opens the node with the lowest price per copy.
    fn open(&mut self, pod: &Pod, spec: &PodSpec, copies: u32) -> Option<usize> {
        let choice = &self.choices[&pod.spec];
        let most = self.rules.most_on_a_host(pod).min(copies).max(1);
        let host = self.bins.len() as u32;
        let mut best: Option<(i64, Price, usize)> = None;
        for at in &choice.kinds {
            let kind = &self.market.kinds[*at];
            let held = held(&kind.room, &spec.requests, most);
            if held == 0 || !free(&spec.host_ports, &kind.ports) || !self.market.within(kind, None) {
                continue;
            }
            // Micro-dollars a copy, in thousandths, so that no float decides.
            let each = kind.price.micros().saturating_mul(1000) / i64::from(held);
            let better = best.is_none_or(|(least, price, _)| (each, kind.price) < (least, price));
            if better && self.rules.allow(pod, &self.rules.on_host(&kind.domains, host), &choice.eligible) {
                best = Some((each, kind.price, *at));
            }
        }
        let (_, _, at) = best?;
        self.market.count(at, None);
        let kind = &self.market.kinds[at];
        self.bins.push(Bin {
            home: Home::New(at),
            room: kind.room.clone(),
            ports: kind.ports.clone(),
            domains: self.rules.on_host(&kind.domains, host),
            pods: Vec::new(),
        });
        Some(self.bins.len() - 1)
    }

    /// Makes each new node the cheapest that holds what it got.
    fn shrink(&mut self) {
        for at in 0..self.bins.len() {
            let Home::New(now) = self.bins[at].home else { continue };
            let kind = &self.market.kinds[now];
            let specs: Vec<&PodSpec> = self.bins[at].pods.iter().map(|p| self.spec(*p)).collect();
            let load = Resources::from_amounts(specs.iter().flat_map(|s| s.requests.iter()));
            let allowed = |other: usize| {
                self.bins[at].pods.iter().all(|p| {
                    let spec = self.problem.pods[p.index()].spec;
                    self.choices[&spec].kinds.binary_search(&other).is_ok()
                })
            };
            let cheapest = (0..self.market.kinds.len())
                .filter(|other| {
                    let with = &self.market.kinds[*other];
                    with.pool == kind.pool
                        && with.price < kind.price
                        && self.rules.alike(&with.domains, &kind.domains)
                        && load.fits(&with.room)
                        && specs.iter().all(|s| free(&s.host_ports, &with.ports))
                        && self.market.within(with, Some(kind))
                        && allowed(*other)
                })
                .min_by_key(|other| (self.market.kinds[*other].price, *other));
            if let Some(other) = cheapest {
                self.market.count(other, Some(now));
                self.bins[at].home = Home::New(other);
            }
        }
    }

    fn spec(&self, pod: PodId) -> &'p PodSpec {
        &self.problem.specs[self.problem.pods[pod.index()].spec.index()]
    }

    fn finish(self, unplaced: Vec<Unplaced>) -> Solution {
        let mut solution = Solution { unplaced, ..Solution::default() };
        for mut bin in self.bins.into_iter().filter(|bin| !bin.pods.is_empty()) {
            bin.pods.sort_unstable();
            match bin.home {
                Home::Node(node) => solution.placements.push(Placement { node, pods: bin.pods }),
                Home::New(kind) => {
                    let kind = &self.market.kinds[kind];
                    solution.cost += kind.price;
                    solution.new_nodes.push(NewNode {
                        pool: kind.pool,
                        instance_type: kind.instance_type,
                        offering: kind.offering,
                        chosen_labels: self.market.chosen[kind.pool.index()].clone(),
                        price: kind.price,
                        rebate: Price::ZERO,
                        fixed_cost: Price::ZERO,
                        pods: bin.pods,
                        daemons: kind.daemons.clone(),
                        alternatives: Arc::default(),
                        relaxed: Vec::new(),
                    });
                }
            }
        }
        solution
    }
}

/// How many copies fit, `most` at most.
fn held(room: &Resources, requests: &Resources, most: u32) -> u32 {
    let fits = requests.iter().map(|(id, amount)| room.get(id) / amount).min().unwrap_or(i64::MAX);
    u32::try_from(fits).unwrap_or(u32::MAX).min(most)
}

#[cfg(test)]
mod tests {
    use stowage_cluster::{LowerOptions, ReadOptions, Source, lower, read};
    use stowage_pricing::Catalog;
    use stowage_solver::verify;

    use super::super::vbp::Instance;
    use super::super::{menu, mix};
    use super::*;

    fn problem(snapshot: &str, catalog: &str) -> Problem {
        let source = Source { name: "made up", bytes: snapshot.as_bytes() };
        let snapshot = read(&[source], &ReadOptions::default()).unwrap();
        let catalog = Catalog::parse(catalog.as_bytes(), "made up").unwrap();
        lower(&snapshot, &catalog, &LowerOptions::default()).unwrap().problem
    }

    /// The cost of a plan that breaks no rule and leaves nothing out.
    fn cost(problem: &Problem) -> Price {
        let solution = plan(problem);
        assert_eq!(verify(problem, &solution), [], "the baseline keeps the rules");
        assert_eq!(solution.unplaced, []);
        solution.cost
    }

    #[test]
    fn first_fit_decreasing_as_in_textbooks() {
        // 6 5 5 4 4 3 3 2 go into {6, 4}, {5, 5}, {4, 3, 3} and {2}; a bin is a dollar.
        let instance = Instance::read("1 10 6 6 1 5 2 4 2 3 2 2 1 1 0").unwrap();
        assert_eq!(cost(&problem(&instance.pods(), &instance.types())), Price::from_micros(4_000_000));
    }

    #[test]
    fn karpenters_mix_keeps_every_rule() {
        for seed in 1..4 {
            let problem = problem(&mix::pods(200, seed), &mix::types());
            let solution = plan(&problem);
            assert_eq!(verify(&problem, &solution), []);
            assert_eq!(solution.unplaced, []);
            assert!(solution.new_nodes.len() >= 40, "a fifth wants a node each");
        }
    }

    #[test]
    fn services_on_a_random_menu_keep_every_rule() {
        let services = String::from_utf8(stowage_benches::Workload::new(400, 5).to_json()).unwrap();
        let problem = problem(&services, &menu::types(5));
        assert_eq!(cost(&problem), cost(&problem), "the same each time");
    }

    #[test]
    fn a_node_shrinks_to_what_it_got() {
        // One pod of 1.5 CPUs: the price per copy would be the same on every type, were there more copies.
        let text = mix::pods(1, 1);
        let solution = plan(&problem(&text, &mix::types()));
        assert_eq!(solution.new_nodes.len(), 1);
        assert!(solution.cost.dollars() < 1.3, "{}", solution.cost);
    }

    #[test]
    fn what_fits_nowhere_is_left_out_with_a_reason() {
        let instance = Instance::read("2 10 10 2 11 1 1 5 5 2").unwrap();
        let solution = plan(&problem(&instance.pods(), &instance.types()));
        assert_eq!((solution.new_nodes.len(), solution.unplaced.len()), (1, 1));
        assert_eq!(solution.unplaced[0].reasons, [Reason::Pool(PoolId(0), Obstacle::NoTypeHolds)]);
    }
}
