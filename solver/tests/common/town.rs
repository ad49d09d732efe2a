//! Clusters with nodes that were bought, and what holds of every consolidation of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use super::{CAPACITY, World, labels};
use stowage_solver::{
    Aims, Consolidation, Destination, Fleet, Held, InstanceType, NewNode, NodeId, Offering, Placement, Pod,
    PodId, PodSpec, Price, Problem, Sold, Solution, consolidate, verify,
};

/// A cluster with nodes that were bought.
pub struct Town {
    pub world: World,
    pub fleet: Fleet,
}

impl Town {
    pub fn new(world: World) -> Self {
        Self { world, fleet: Fleet::default() }
    }

    /// A node of a type of the world, on demand.
    pub fn node(&mut self, name: &str, of_type: &str, zone: &str) -> &mut Self {
        self.bought(name, of_type, zone, "on-demand", None)
    }

    pub fn bought(
        &mut self,
        name: &str,
        of_type: &str,
        zone: &str,
        capacity_type: &str,
        dollars: Option<f64>,
    ) -> &mut Self {
        let problem = &self.world.0;
        let found = problem.types.iter().find(|t| t.name == of_type).unwrap();
        let offering = found.offerings.iter().find(|o| o.zone == zone && o.capacity_type == capacity_type);
        let price = dollars.and_then(Price::from_dollars).or_else(|| offering.map(|o| o.price));
        let (capacity, own) = (found.capacity.clone(), found.labels.clone());
        self.world.node(name, zone, capacity.clone());
        let node = self.world.0.nodes.last_mut().unwrap();
        node.labels.extend(own);
        node.labels.extend(labels(&[(CAPACITY, capacity_type), ("karpenter.sh/nodepool", "default")]));
        node.pool = Some("default".to_owned());
        let pool = &mut self.world.0.pools[0];
        pool.used = pool.used.plus(&capacity);
        pool.node_count += 1;
        self.fleet.nodes.push(Held {
            price,
            sold_as: Sold {
                instance_type: of_type.to_owned(),
                zone: zone.to_owned(),
                capacity_type: capacity_type.to_owned(),
            },
            removable: true,
            receives: true,
            fixed: 1000,
            // Nothing tells.
            quiet: u64::MAX,
            capacity,
            ..Held::default()
        });
        self
    }

    /// `count` pods on the last node.
    pub fn pods(&mut self, app: &str, count: usize, spec: &PodSpec) -> &mut Self {
        for _ in 0..count {
            self.world.running(app, spec.clone());
            let at = self.world.0.nodes.last().unwrap().pods.len() as u32 - 1;
            self.fleet.nodes.last_mut().unwrap().moves.push((at, 1000));
        }
        self
    }

    pub fn plan(&self) -> Consolidation {
        self.plan_with(&Aims::default())
    }

    pub fn plan_with(&self, aims: &Aims) -> Consolidation {
        consolidated(&self.world.0, &self.fleet, aims)
    }
}

/// Consolidates, and checks what holds of every outcome.
pub fn consolidated(problem: &Problem, fleet: &Fleet, aims: &Aims) -> Consolidation {
    let never = AtomicBool::new(false);
    let out =
        consolidate(problem, fleet, aims, &never, &mut |_, _, _| {}).unwrap_or_else(|v| panic!("{v:?}"));
    assert!(out.after <= out.before, "dearer after than before: {out:#?}");
    assert!(out.bound <= out.after, "the bound is above what was found: {out:#?}");
    for step in &out.steps {
        assert!(step.saving > Price::ZERO && !step.removes.is_empty(), "{step:#?}");
        let stated: i64 = step.removes.iter().map(|node| fleet.nodes[node.index()].disruption()).sum();
        assert_eq!(step.disruption, stated);
        for launch in &step.launches {
            let (pool, offering) = (&problem.pools[launch.pool.index()].name, launch.offering(problem));
            let own = &problem.types[launch.instance_type.index()].name;
            let alike = step.removes.iter().find(|node| {
                let sold = &fleet.nodes[node.index()].sold_as;
                problem.nodes[node.index()].pool.as_ref() == Some(pool)
                    && (&sold.instance_type, &sold.zone, &sold.capacity_type)
                        == (own, &offering.zone, &offering.capacity_type)
            });
            assert!(alike.is_none(), "like for like: {step:#?}");
            for other in launch.alternatives.iter() {
                let (own, offering) =
                    (&problem.types[other.instance_type.index()].name, other.offering(problem));
                let alike = step.removes.iter().find(|node| {
                    let held = &fleet.nodes[node.index()];
                    problem.nodes[node.index()].pool.as_ref() == Some(pool)
                        && (&held.sold_as.instance_type, &held.sold_as.capacity_type)
                            == (own, &offering.capacity_type)
                        && held.price.is_none_or(|price| price <= offering.price)
                });
                assert!(alike.is_none(), "EC2 may choose like for like: {step:#?}");
            }
            for demand in problem.pools[launch.pool.index()].min_values.iter().filter(|d| !d.relax) {
                let found = values(problem, launch, &demand.key);
                assert!(found >= demand.least as usize, "{found} values of {}: {step:#?}", demand.key);
            }
        }
        // Whatever EC2 chooses of all that, the step saves something.
        let dearer: Price =
            step.launches.iter().map(|launch| dearest(problem, launch) - weighed(launch)).sum();
        assert!(step.saving > dearer, "EC2 may choose what saves nothing: {step:#?}");
        let spot = |node: &NodeId| fleet.nodes[node.index()].sold_as.capacity_type == "spot";
        if let ([one], Some(least)) = (step.removes.as_slice(), aims.spot_types)
            && spot(one)
        {
            for types in step.launches.iter().map(|launch| spot_types(problem, launch)) {
                assert!(types == 0 || types >= least, "spot for spot of {types} types: {step:#?}");
            }
        }
    }
    if problem.pods.is_empty() {
        let broken = verify(&whole(problem, &out).0, &whole(problem, &out).1);
        assert_eq!(broken, [], "the state after all steps");
    }
    let gone: usize = out.steps.iter().map(|step| step.removes.len()).sum();
    assert_eq!(gone + out.kept.len(), problem.nodes.len(), "every node goes or has a reason");
    out
}

/// Everything that a launch may become.
fn ways<'p>(
    problem: &'p Problem,
    launch: &NewNode,
) -> impl Iterator<Item = (&'p InstanceType, &'p Offering)> {
    let own = (launch.instance_type, launch.offering);
    let others: Vec<_> =
        launch.alternatives.iter().map(|other| (other.instance_type, other.offering as usize)).collect();
    others.into_iter().chain([own]).map(|(of_type, offering)| {
        let of_type = &problem.types[of_type.index()];
        (of_type, &of_type.offerings[offering])
    })
}

/// How many values of a label all that comes to: a type counts with all the ways in which it is sold.
fn values(problem: &Problem, launch: &NewNode, key: &str) -> usize {
    let of = |of_type: &InstanceType| -> Vec<String> {
        let sold = of_type.offerings.iter().filter_map(|offering| offering.labels.get(key));
        sold.chain(of_type.labels.get(key)).cloned().collect()
    };
    ways(problem, launch).flat_map(|(of_type, _)| of(of_type)).collect::<BTreeSet<_>>().len()
}

/// How many types of spot it may become.
fn spot_types(problem: &Problem, launch: &NewNode) -> usize {
    let spot = ways(problem, launch).filter(|(_, offering)| offering.capacity_type == "spot");
    spot.map(|(of_type, _)| &of_type.name).collect::<BTreeSet<_>>().len()
}

fn weighed(launch: &NewNode) -> Price {
    launch.price - launch.rebate + launch.fixed_cost
}

/// The most that it may cost.
fn dearest(problem: &Problem, launch: &NewNode) -> Price {
    let prices = ways(problem, launch).map(|(_, offering)| offering.due() + launch.fixed_cost);
    prices.max().unwrap()
}

/// All steps as one plan: nodes gone, their pods waiting, and where they are to go. Limits and spread hold step by step, and not
/// for all at once: they are left out.
pub fn whole(problem: &Problem, out: &Consolidation) -> (Problem, Solution) {
    let mut all = problem.clone();
    let gone: Vec<NodeId> = out.steps.iter().flat_map(|step| step.removes.iter().copied()).collect();
    let kept: Vec<usize> = (0..problem.nodes.len()).filter(|at| !gone.contains(&NodeId::of(*at))).collect();
    all.nodes = kept.iter().map(|at| problem.nodes[*at].clone()).collect();
    all.pools.iter_mut().for_each(|pool| (pool.limits, pool.node_limit) = (Vec::new(), None));
    all.specs.iter_mut().for_each(|spec| spec.spread.clear());
    let mut solution = Solution::default();
    let mut on_kept = BTreeMap::<usize, Vec<PodId>>::new();
    for step in &out.steps {
        let first = solution.new_nodes.len();
        solution
            .new_nodes
            .extend(step.launches.iter().cloned().map(|new| NewNode { alternatives: [].into(), ..new }));
        for pod in &step.moves {
            let running = problem.nodes[pod.from.index()].pods.iter().find(|p| p.name == pod.pod).unwrap();
            let id = PodId::of(all.pods.len());
            all.pods.push(Pod { name: pod.pod.clone(), spec: running.spec, labels: running.labels });
            match pod.to {
                Destination::New(launch) => solution.new_nodes[first + launch].pods.push(id),
                Destination::Existing(node) => {
                    on_kept.entry(kept.binary_search(&node.index()).unwrap()).or_default().push(id);
                }
            }
        }
    }
    solution.cost = solution.new_nodes.iter().map(|new| new.price - new.rebate + new.fixed_cost).sum();
    solution.placements =
        on_kept.into_iter().map(|(node, pods)| Placement { node: NodeId::of(node), pods }).collect();
    // How wide the choice is was checked with each step, and alternatives are left out here.
    all.pools.iter_mut().for_each(|pool| pool.min_values.clear());
    (all, solution)
}
