//! Clusters that have run for a while: nodes of one type, bought for pods of which every third has gone since.

use std::sync::atomic::AtomicBool;

use stowage_solver::{
    Effort, Fleet, Held, Node, Options, Problem, Resources, RunningPod, Sold, Solution, solve,
};

/// A cluster and what is known of its nodes.
#[derive(Debug)]
pub struct Fragmented {
    /// Nothing is pending in it.
    pub problem: Problem,
    /// All nodes may go.
    pub fleet: Fleet,
}

/// What the nodes may be, the first of these of which there must be enough.
const TYPES: [&str; 5] = ["m6i.8xlarge", "m6i.4xlarge", "m6i.2xlarge", "m6i.xlarge", "m6i.large"];

impl Fragmented {
    /// From pods that are pending, on about so many nodes or more.
    ///
    /// # Panics
    /// Where the pods cannot be planned.
    pub fn of(pending: &Problem, nodes: usize) -> Self {
        let planned = |name: &str| {
            let mut problem = pending.clone();
            problem.types.retain(|of| of.name == name);
            let options = Options { effort: Effort::Quick, ..Options::default() };
            let never = AtomicBool::new(false);
            let plan = solve(&problem, &options, &never, &mut |_, _, _| {}).expect("a plan");
            (problem, plan)
        };
        let (mut problem, mut plan) = planned(TYPES[0]);
        for name in &TYPES[1..] {
            if plan.new_nodes.len() >= nodes {
                break;
            }
            (problem, plan) = planned(name);
        }
        let (nodes, fleet) = settled(&problem, &plan);
        let problem = Problem { pods: Vec::new(), nodes, ..pending.clone() };
        Self { problem, fleet }
    }
}

fn settled(problem: &Problem, plan: &Solution) -> (Vec<Node>, Fleet) {
    let (mut nodes, mut fleet, mut number) = (Vec::new(), Fleet::default(), 0_usize);
    for (at, new) in plan.new_nodes.iter().enumerate() {
        let (pool, of_type) = (&problem.pools[new.pool.index()], &problem.types[new.instance_type.index()]);
        let offering = new.offering(problem);
        let mut labels = pool.labels.clone();
        labels.extend(of_type.labels.clone());
        labels.extend(offering.labels.clone());
        let daemons =
            new.daemons.iter().map(|d| &problem.specs[problem.daemons[d.index()].spec.index()].requests);
        let mut used = daemons.fold(Resources::default(), |sum, requests| sum.plus(requests));
        let (mut pods, mut moves) = (Vec::new(), Vec::new());
        for pod in &new.pods {
            number += 1;
            if number.is_multiple_of(3) {
                continue;
            }
            let pod = &problem.pods[pod.index()];
            used = used.plus(&problem.specs[pod.spec.index()].requests);
            moves.push((u32::try_from(pods.len()).unwrap_or(u32::MAX), 1000));
            pods.push(RunningPod {
                name: pod.name.clone(),
                spec: pod.spec,
                labels: pod.labels,
                terminating: false,
                count: 1,
            });
        }
        nodes.push(Node {
            name: format!("node-{at:05}"),
            labels,
            taints: pool.taints.clone(),
            allocatable: of_type.allocatable.clone(),
            used,
            host_ports: Vec::new(),
            pods,
            pool: Some(pool.name.clone()),
            open: true,
        });
        fleet.nodes.push(Held {
            price: Some(new.price),
            sold_as: Sold {
                instance_type: of_type.name.clone(),
                zone: offering.zone.clone(),
                capacity_type: offering.capacity_type.clone(),
            },
            removable: true,
            receives: true,
            moves,
            fixed: 1000,
            capacity: of_type.capacity.clone(),
            balanced: false,
        });
    }
    (nodes, fleet)
}
