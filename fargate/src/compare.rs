//! Which side is better, by what each costs and by the policy's mode.
//!
//! # Invariants
//! - Comparisons are exact, in micro-dollars.

use stowage_solver::Price;

use crate::look::Candidate;
use crate::policy::Mode;
use crate::verdict::{Finding, OnNodes, Side, Target, Why};

/// The shortest run that Fargate bills, in seconds.
const SHORTEST: u64 = 60;

/// Nodes, without a look at what they cost.
pub(crate) fn on_nodes(candidate: &Candidate<'_>, why: Why) -> Finding {
    Finding {
        policy: (candidate.policy.id.clone(), candidate.policy.version),
        target: None,
        side: Side::Ec2,
        why,
        nodes: None,
        jointly: None,
        lead_percent: None,
        together: 0,
    }
}

/// Which side is better, where a pod costs so much on nodes alone and perhaps less together with others.
pub(crate) fn compare(
    candidate: &Candidate<'_>,
    target: Target,
    (nodes, jointly): (OnNodes, Option<Price>),
    together: u32,
    node_start: u64,
) -> Finding {
    let life = candidate.life.expected().map(|s| s.max(1));
    let stretched = |price: Price, billed: u64| match life {
        Some(life) => i128::from(price.micros()) * i128::from(billed) / i128::from(life),
        None => i128::from(price.micros()),
    };
    let fargate = stretched(target.price, life.unwrap_or(SHORTEST).max(SHORTEST));
    let jointly = jointly.filter(|jointly| nodes.price().is_some_and(|alone| *jointly < alone));
    let price = nodes.price().map(|alone| jointly.unwrap_or(alone));
    let on_nodes = price.map(|price| stretched(price, life.unwrap_or(0).saturating_add(node_start)));
    let (side, why, lead_percent) = match (candidate.policy.mode, nodes, on_nodes) {
        (Mode::Never, ..) => (Side::Ec2, Why::Never, None),
        (Mode::Always, ..) => (Side::Fargate, Why::Always, None),
        (_, _, None) | (_, OnNodes::NoPlace, _) => (Side::Fargate, Why::NoPlace, None),
        (Mode::WhenNoRoom, OnNodes::Room, _) => (Side::Ec2, Why::Room, None),
        (Mode::WhenNoRoom, OnNodes::Bought(_), _) => (Side::Fargate, Why::NoRoom, None),
        (Mode::WhenCheaper { tolerance_percent }, _, Some(on_nodes)) => {
            // Both in hundredths of what they are.
            let bar = on_nodes * (100 + i128::from(tolerance_percent));
            let cost = fargate * 100;
            let lead = |better: i128, worse: i128| Some(((worse - better) * 100 / worse.max(1)) as u32);
            let why = if nodes == OnNodes::Room { Why::Room } else { Why::Cost };
            if cost <= bar {
                (Side::Fargate, why, lead(cost, bar))
            } else {
                (Side::Ec2, why, lead(bar, cost))
            }
        }
    };
    Finding {
        policy: (candidate.policy.id.clone(), candidate.policy.version),
        target: Some(target),
        side,
        why,
        nodes: Some(nodes),
        jointly,
        lead_percent,
        together,
    }
}
