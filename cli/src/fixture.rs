//! Hand-built answers for tests of what is printed. The numbers are made up, but consistent: costs add up, requests fit.

use std::collections::BTreeMap;
use std::sync::Arc;

use stowage_cluster::OnFargate;
use stowage_solver::{
    Alternative, Daemon, DaemonId, InstanceType, LabelSetId, Labels, NewNode, Node, NodeId, NodePool,
    Obstacle, Offering, Placement, Pod, PodId, PodSpec, PoolId, Price, Problem, Reason, ResourceId,
    Resources, Solution, SpecId, Status, TypeId, Unplaced,
};

use crate::answer::Answer;

const CPU: ResourceId = ResourceId(0);
const MEMORY: ResourceId = ResourceId(1);
const PODS: ResourceId = ResourceId(2);
const GPU: ResourceId = ResourceId(3);
const SLOTS: ResourceId = ResourceId(4);

fn resources(cpu: i64, mib: i64, pods: i64, gpus: i64) -> Resources {
    Resources::from_amounts([(CPU, cpu), (MEMORY, mib << 20), (PODS, pods), (GPU, gpus)])
}

fn instance_type(name: &str, cpu: i64, mib: i64, gpus: i64, offerings: &[(&str, &str, i64)]) -> InstanceType {
    let offering = |(zone, capacity_type, micros): &(&str, &str, i64)| Offering {
        zone: (*zone).to_owned(),
        capacity_type: (*capacity_type).to_owned(),
        labels: Labels::new(),
        price: Price::from_micros(*micros),
        estimated: *capacity_type == "spot",
        rebate: Price::ZERO,
        draws: Vec::new(),
    };
    InstanceType {
        name: name.to_owned(),
        labels: Labels::new(),
        capacity: resources(cpu + 70, mib + 600, 58, gpus),
        allocatable: resources(cpu, mib, 58, gpus),
        offerings: offerings.iter().map(offering).collect(),
    }
}

fn pool(name: &str) -> NodePool {
    NodePool { name: name.to_owned(), ..NodePool::default() }
}

/// Adds `count` pods of a spec, and gives their ids.
fn pods(problem: &mut Problem, name: &str, count: usize, requests: Resources) -> Vec<PodId> {
    let spec = SpecId::of(problem.specs.len());
    problem.specs.push(PodSpec { namespace: "shop".to_owned(), requests, ..PodSpec::default() });
    let first = problem.pods.len();
    for number in 0..count {
        problem.pods.push(Pod { name: format!("shop/{name}-{number}"), spec, labels: LabelSetId(0) });
    }
    (first..first + count).map(PodId::of).collect()
}

/// The zone that was not taken, and bigger types.
fn alternatives(kind: u32, offering: usize) -> Arc<[Alternative]> {
    let other = |kind, offering| Alternative { instance_type: TypeId(kind), offering };
    match (kind, offering) {
        (0, 0) => [other(0, 1), other(2, 1)].into(),
        (0, _) => [other(0, 0), other(2, 0)].into(),
        (1, _) => [other(0, 0), other(0, 1)].into(),
        _ => Arc::default(),
    }
}

fn new_node(pool: u32, kind: u32, offering: usize, micros: i64, pods: &[PodId]) -> NewNode {
    NewNode {
        pool: PoolId(pool),
        instance_type: TypeId(kind),
        offering,
        chosen_labels: Vec::new(),
        price: Price::from_micros(micros),
        rebate: Price::ZERO,
        fixed_cost: Price::ZERO,
        pods: pods.to_vec(),
        daemons: vec![DaemonId(0)],
        alternatives: alternatives(kind, offering),
        relaxed: Vec::new(),
    }
}

/// Adds an existing node for each pod, partly full, and puts the pod there.
fn place(problem: &mut Problem, pods: &[PodId]) -> Vec<Placement> {
    let mut placements = Vec::new();
    for (number, pod) in pods.iter().enumerate() {
        problem.nodes.push(Node {
            name: format!("ip-10-0-{}-{number}.ec2.internal", number % 3),
            labels: Labels::new(),
            taints: Vec::new(),
            allocatable: resources(3_920, 15_032, 58, 0),
            used: resources(3_000 + 40 * number as i64, 4_000, 9, 0),
            host_ports: Vec::new(),
            pods: Vec::new(),
            pool: Some("general".to_owned()),
            open: true,
        });
        placements.push(Placement { node: NodeId::of(number), pods: vec![*pod] });
    }
    // Taken already, so that the first new node of the pool gets another number.
    problem.nodes[13].name = "general-0".to_owned();
    placements
}

/// Its instance types, those with GPUs among them.
fn types() -> Vec<InstanceType> {
    vec![
        instance_type(
            "m7i.2xlarge",
            7_910,
            29_317,
            0,
            &[("us-east-1a", "on-demand", 403_200), ("us-east-1b", "on-demand", 403_200)],
        ),
        instance_type("r7i.large", 1_930, 14_162, 0, &[("us-east-1a", "spot", 46_305)]),
        instance_type(
            "g6.12xlarge",
            47_810,
            174_080,
            4,
            &[("us-east-1b", "on-demand", 4_601_600), ("us-east-1a", "on-demand", 4_601_600)],
        ),
    ]
}

/// A plan with something of everything: two `NodePools`, spot estimates, GPUs, existing nodes, pods without a place.
pub(crate) fn rich() -> Answer {
    let mut problem = Problem {
        resources: ["cpu", "memory", "pods", "nvidia.com/gpu", "attachable-volumes-aws-ebs"]
            .map(str::to_owned)
            .to_vec(),
        zone_key: "topology.kubernetes.io/zone".to_owned(),
        label_sets: vec![Labels::new()],
        pools: vec![pool("general"), pool("gpu")],
        types: types().into(),
        ..Problem::default()
    };
    let agent = SpecId::of(problem.specs.len());
    problem.specs.push(PodSpec { requests: resources(50, 128, 1, 0), ..PodSpec::default() });
    problem.daemons.push(Daemon { name: "kube-system/aws-node".to_owned(), spec: agent });

    let web = pods(&mut problem, "web", 42, resources(500, 1_024, 1, 0));
    let cache = pods(
        &mut problem,
        "cache",
        1,
        resources(500, 12_288, 1, 0).plus(&Resources::from_amounts([(SLOTS, 1)])),
    );
    let train = pods(&mut problem, "train", 2, resources(20_000, 65_536, 1, 2));
    let api = pods(&mut problem, "api", 14, resources(250, 256, 1, 0));
    let huge = pods(&mut problem, "huge", 3, resources(4_000, 921_600, 1, 0));
    let strange = pods(&mut problem, "evil\u{1b}[2J", 1, resources(100, 100, 1, 0));

    let placements = place(&mut problem, &api);
    let mut unplaced: Vec<_> = huge
        .iter()
        .map(|pod| Unplaced {
            pod: *pod,
            reasons: vec![
                Reason::Pool(
                    PoolId(0),
                    Obstacle::TooSmall { resource: MEMORY, need: 921_728 << 20, most: 174_080 << 20 },
                ),
                Reason::Pool(PoolId(1), Obstacle::Taint("nvidia.com/gpu=true:NoSchedule".to_owned())),
            ],
        })
        .collect();
    unplaced.push(Unplaced {
        pod: strange[0],
        reasons: vec![Reason::Pool(
            PoolId(0),
            Obstacle::Constraint {
                source: "node selector".to_owned(),
                wanted: "disk In [ssd\u{7}]".to_owned(),
            },
        )],
    });
    let new_nodes = vec![
        new_node(0, 0, 0, 403_200, &web[..15]),
        new_node(0, 0, 0, 403_200, &web[15..30]),
        new_node(0, 0, 1, 403_200, &web[30..]),
        new_node(0, 1, 0, 46_305, &cache),
        new_node(1, 2, 0, 4_601_600, &train),
    ];
    let cost = new_nodes.iter().map(|n| n.price).sum();
    let solution = Solution {
        new_nodes,
        placements,
        unplaced,
        cost,
        bound: Price::from_micros(5_700_000),
        instance_bound: Price::from_micros(5_700_000),
        status: Status::WithinGap,
        ..Solution::default()
    };
    Answer {
        problem,
        solution,
        allocatable: BTreeMap::from([(
            // r7i.large
            1,
            BTreeMap::from(
                [("cpu", "1930m"), ("memory", "14162Mi"), ("pods", "29")]
                    .map(|(k, v)| (k.to_owned(), v.to_owned())),
            ),
        )]),
        fargate: OnFargate::default(),
        notes: vec!["spot prices are estimated at 35% of the on-demand price".to_owned()],
        prices: "on-demand prices of us-east-1, 2026-07-20".to_owned(),
        commitments: Vec::new(),
        asked_gap: 0.05,
        wanted_types: 15,
        solve_seconds: 0.012_345,
    }
}

/// The rich plan with a fixed cost of a cent on each node of the first `NodePool`.
pub(crate) fn weighed() -> Answer {
    let mut answer = rich();
    answer.problem.pools[0].node_cost = Price::from_micros(10_000);
    for node in answer.solution.new_nodes.iter_mut().filter(|node| node.pool == PoolId(0)) {
        node.fixed_cost = Price::from_micros(10_000);
        answer.solution.cost += node.fixed_cost;
    }
    answer.solution.bound = Price::from_micros(5_738_000);
    answer
}

/// The plan for a cluster in which nothing waits.
pub(crate) fn empty() -> Answer {
    let solution = Solution {
        new_nodes: Vec::new(),
        placements: Vec::new(),
        unplaced: Vec::new(),
        cost: Price::ZERO,
        bound: Price::ZERO,
        status: Status::Optimal,
        ..Solution::default()
    };
    Answer {
        problem: Problem::default(),
        solution,
        allocatable: BTreeMap::new(),
        fargate: OnFargate::default(),
        notes: Vec::new(),
        prices: String::new(),
        commitments: Vec::new(),
        asked_gap: 0.02,
        wanted_types: 15,
        solve_seconds: 0.0,
    }
}
