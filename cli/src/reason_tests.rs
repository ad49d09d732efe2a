//! Reasons and hints, all of them, as they read.

use stowage_cluster::words::reason::{hint, sentence};
use stowage_solver::{Obstacle, PoolId, Reason, Relaxed, ResourceId};

use crate::fixture;

#[test]
fn every_obstacle_is_a_sentence_that_names_pool_and_constraint() {
    let problem = fixture::rich().problem;
    let (cpu, memory, gpu) = (ResourceId(0), ResourceId(1), ResourceId(3));
    let wanted = Obstacle::Constraint {
        source: "volume pv-1 of claim data-0".to_owned(),
        wanted: "topology.kubernetes.io/zone In [us-east-1e]".to_owned(),
    };
    let obstacles = [
        Obstacle::NoOfferings,
        Obstacle::Taint("team=ml:NoSchedule".to_owned()),
        wanted,
        Obstacle::Combination,
        Obstacle::TooSmall { resource: cpu, need: 40_000, most: 7_910 },
        Obstacle::TooSmall { resource: cpu, need: 8_001, most: 8_000 },
        Obstacle::TooSmall { resource: gpu, need: 8, most: 0 },
        Obstacle::NoTypeHolds,
        Obstacle::MinValues(Relaxed {
            key: "node.kubernetes.io/instance-type".to_owned(),
            least: 15,
            found: 3,
        }),
        Obstacle::Limit { resource: Some(memory), limit: 64 << 30, used: 60 << 30 },
        Obstacle::Limit { resource: None, limit: 1, used: 1 },
        Obstacle::Topology("spread over zones leaves no zone".to_owned()),
    ];
    let mut out = String::new();
    let pools = obstacles.into_iter().map(|obstacle| Reason::Pool(PoolId(0), obstacle));
    for reason in
        [Reason::Blocked("claim data-0 does not exist".to_owned()), Reason::NoPools].into_iter().chain(pools)
    {
        out.push_str(&sentence(&problem, &reason));
        if let Some(hint) = hint(&problem, &reason) {
            out.push_str("\n   hint: ");
            out.push_str(&hint);
        }
        out.push('\n');
    }
    insta::assert_snapshot!(out);
}
