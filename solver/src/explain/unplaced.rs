//! Why a pod fits nowhere: for each `NodePool`, the first constraint that no offering survives.

use crate::kind::untolerated;
use crate::model::Model;
use crate::pack::Budget;
use crate::problem::{Effect, NodeConstraint, Operator, PoolId, Requirement, Taint};
use crate::solution::{Obstacle, Reason};
use crate::topology::Stuck;

/// The reasons of a class's unplaced pods, pools by weight and name.
pub(crate) fn reasons(model: &Model<'_>, class: usize, stuck: &[Stuck], budget: &Budget) -> Vec<Reason> {
    let spec = model.spec(class);
    if let Some(why) = &spec.blocked {
        return vec![Reason::Blocked(why.clone())];
    }
    let pools = &model.problem.pools;
    if pools.is_empty() {
        return vec![Reason::NoPools];
    }
    let mut order: Vec<usize> = (0..pools.len()).collect();
    order.sort_by(|a, b| {
        pools[*b].weight.cmp(&pools[*a].weight).then_with(|| pools[*a].name.cmp(&pools[*b].name))
    });
    let stuck = stuck.iter().find(|s| s.class as usize == class);
    let pools = order.into_iter().map(PoolId::of);
    pools.map(|pool| Reason::Pool(pool, obstacle(model, class, pool, stuck, budget))).collect()
}

fn obstacle(
    model: &Model<'_>,
    class: usize,
    pool: PoolId,
    stuck: Option<&Stuck>,
    budget: &Budget,
) -> Obstacle {
    let spec = model.spec(class);
    let kinds = &model.kinds.kinds;
    let mut left: Vec<usize> = model.kinds.of_pool(pool).collect();
    if left.is_empty() {
        return Obstacle::NoOfferings;
    }
    if let Some(taint) = untolerated(&model.problem.pools[pool.index()].taints, &spec.tolerations) {
        return Obstacle::Taint(taint_words(taint));
    }
    let holds = |constraint: &NodeConstraint, at: usize| model.kinds.meets(&kinds[at], constraint);
    let excluding = spec.node.iter().find(|constraint| !left.iter().any(|at| holds(constraint, *at)));
    if let Some(constraint) = excluding {
        return Obstacle::Constraint {
            source: constraint.source.clone(),
            wanted: constraint_words(constraint),
        };
    }
    left.retain(|at| spec.node.iter().all(|constraint| holds(constraint, *at)));
    if left.is_empty() {
        return Obstacle::Combination;
    }
    let room = |at: usize| &model.kinds.shapes[kinds[at].shape as usize].room;
    for (dim, resource) in model.kinds.dims.iter().enumerate() {
        let need = model.requests[class][dim];
        let most = left.iter().map(|at| room(*at)[dim]).max().unwrap_or(0);
        if need > most {
            return Obstacle::TooSmall { resource: *resource, need, most: most.max(0) };
        }
    }
    let gate = &model.gates[model.gate_of[class] as usize];
    let roomy: Vec<usize> = left.iter().copied().filter(|at| model.fits(class, room(*at))).collect();
    if !roomy.iter().any(|at| gate.contains(*at))
        && let Some(narrow) = model.too_narrow(class, &roomy)
    {
        return Obstacle::MinValues(narrow);
    }
    left.retain(|at| gate.contains(*at) && model.fits(class, room(*at)));
    if left.is_empty() {
        return Obstacle::NoTypeHolds;
    }
    if left.iter().all(|at| budget.allows(model, &kinds[*at]) == 0) {
        return limit(model, pool, &left, budget);
    }
    match stuck {
        Some(stuck) => Obstacle::Topology(stuck.why.clone()),
        None => limit(model, pool, &left, budget),
    }
}

/// The limit that leaves the least.
fn limit(model: &Model<'_>, pool: PoolId, left: &[usize], budget: &Budget) -> Obstacle {
    let of_pool = &model.problem.pools[pool.index()];
    for (resource, limit) in &of_pool.limits {
        let smallest = left.iter().map(|at| {
            model.problem.types[model.kinds.kinds[*at].instance_type.index()].capacity.get(*resource)
        });
        let remaining = budget.remaining(pool, *resource);
        if smallest.min().is_some_and(|smallest| smallest > remaining) {
            return Obstacle::Limit { resource: Some(*resource), limit: *limit, used: limit - remaining };
        }
    }
    if let (Some(limit), Some(0)) = (of_pool.node_limit, budget.remaining_nodes(pool)) {
        return Obstacle::Limit { resource: None, limit: i64::from(limit), used: i64::from(limit) };
    }
    let drawn = left.iter().flat_map(|at| &model.kinds.kinds[*at].draws);
    if let Some((quota, _)) = drawn.into_iter().find(|(quota, units)| *units > budget.units(*quota)) {
        return Obstacle::Spent { quota: model.problem.quotas[*quota as usize].name.clone() };
    }
    let tightest = of_pool.limits.first();
    tightest.map_or(Obstacle::NoTypeHolds, |(resource, limit)| Obstacle::Limit {
        resource: Some(*resource),
        limit: *limit,
        used: limit - budget.remaining(pool, *resource),
    })
}

/// A taint as `key=value:Effect`.
pub(super) fn taint_words(taint: &Taint) -> String {
    let effect = match taint.effect {
        Effect::NoSchedule => "NoSchedule",
        Effect::PreferNoSchedule => "PreferNoSchedule",
        Effect::NoExecute => "NoExecute",
    };
    if taint.value.is_empty() {
        format!("{}:{effect}", taint.key)
    } else {
        format!("{}={}:{effect}", taint.key, taint.value)
    }
}

/// A constraint in words: `disk In [ssd] and zone In [a, b]`, alternatives joined by `or`.
pub(super) fn constraint_words(constraint: &NodeConstraint) -> String {
    let terms: Vec<String> = constraint
        .any_of
        .iter()
        .map(|term| term.iter().map(requirement_words).collect::<Vec<_>>().join(" and "))
        .collect();
    if terms.is_empty() { "nothing (it has no terms)".to_owned() } else { terms.join(" or ") }
}

pub(super) fn requirement_words(requirement: &Requirement) -> String {
    let key = &requirement.key;
    match &requirement.op {
        Operator::In(values) => format!("{key} In [{}]", values.join(", ")),
        Operator::NotIn(values) => format!("{key} NotIn [{}]", values.join(", ")),
        Operator::Exists => format!("{key} Exists"),
        Operator::DoesNotExist => format!("{key} DoesNotExist"),
        Operator::Within(low, i64::MAX) => format!("{key} >= {low}"),
        Operator::Within(i64::MIN, high) => format!("{key} <= {high}"),
        Operator::Within(low, high) => format!("{key} from {low} to {high}"),
    }
}
