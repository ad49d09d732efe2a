//! One rule at a time, on clusters small enough to see the answer.

#![allow(clippy::panic)] // A test fails by panicking.

mod choice;
#[path = "../common/mod.rs"]
mod common;
mod near;
mod pool;
mod room;
mod spread;

use stowage_solver::{Obstacle, Problem, Reason, Solution};

use common::{World, amounts};

/// `small` holds 2 cpu and 4 GiB for $1, `big` 8 cpu and 16 GiB for $4, `ram` 2 cpu and 16 GiB for $1.5.
fn shop() -> World {
    let mut world = World::new();
    world.instance("small", amounts(2000, 4096, 0, 20), 1.0);
    world.instance("big", amounts(8000, 16384, 0, 80), 4.0);
    world.instance("ram", amounts(2000, 16384, 0, 20), 1.5);
    world
}

/// New nodes as `type@zone`, sorted.
fn nodes(problem: &Problem, solution: &Solution) -> Vec<String> {
    let mut names: Vec<String> = solution
        .new_nodes
        .iter()
        .map(|n| {
            let of_type = &problem.types[n.instance_type.index()];
            format!("{}@{}", of_type.name, of_type.offerings[n.offering].zone)
        })
        .collect();
    names.sort();
    names
}

fn zones(problem: &Problem, solution: &Solution) -> Vec<(String, usize)> {
    let mut by_zone = std::collections::BTreeMap::new();
    for node in &solution.new_nodes {
        let zone = problem.types[node.instance_type.index()].offerings[node.offering].zone.clone();
        *by_zone.entry(zone).or_insert(0) += node.pods.len();
    }
    by_zone.into_iter().collect()
}

fn obstacle(solution: &Solution) -> Obstacle {
    match &solution.unplaced[0].reasons[0] {
        Reason::Pool(_, obstacle) => obstacle.clone(),
        other => panic!("expected a NodePool's reason, got {other:?}"),
    }
}
