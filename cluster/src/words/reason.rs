//! Why a pod is not placed, in words: one sentence for each `NodePool`, and a hint where something can be done.

use stowage_solver::{Obstacle, PoolId, Problem, Reason, Relaxed, ResourceId};

use super::{amount, count};

/// One reason as a sentence without a full stop, naming the `NodePool` and the constraint.
pub fn sentence(problem: &Problem, reason: &Reason) -> String {
    match reason {
        Reason::Blocked(why) => why.clone(),
        Reason::NoPools => "there is no NodePool to launch nodes from".to_owned(),
        Reason::Pool(pool, obstacle) => {
            format!("NodePool {}: {}", pool_name(problem, *pool), clause(problem, obstacle))
        }
    }
}

fn clause(problem: &Problem, obstacle: &Obstacle) -> String {
    match obstacle {
        Obstacle::NoOfferings => "its requirements leave no instance type that can be had now".to_owned(),
        Obstacle::Taint(taint) => format!("taint {taint} is not tolerated"),
        Obstacle::Constraint { source, wanted } => {
            format!("no instance type it may launch has {wanted} ({source})")
        }
        Obstacle::Combination => {
            "each of the pod's constraints leaves some instance type, all of them together leave none"
                .to_owned()
        }
        Obstacle::TooSmall { resource, need, most } => {
            let name = resource_name(problem, *resource);
            // Rounded, too much may look like just enough.
            let alike = amount::human(name, *need) == amount::human(name, *most);
            let (need, largest) = if alike {
                let need = format!("{} of {name}", amount::quantity(name, *need));
                (need, amount::quantity(name, *most))
            } else {
                (amount::phrase(name, *need), amount::human(name, *most))
            };
            let most = match most {
                0 => "no instance type left has any".to_owned(),
                _ => format!("the largest instance type left has {largest}"),
            };
            format!("needs {need} with its DaemonSets, {most}")
        }
        Obstacle::NoTypeHolds => {
            "some instance type is big enough in each resource or port, none in all of them at once"
                .to_owned()
        }
        Obstacle::MinValues(Relaxed { key, least, found }) => {
            let found = match found {
                0 => "none is".to_owned(),
                1 => "one value of it is".to_owned(),
                _ => format!("{found} values of it are"),
            };
            format!(
                "minValues asks for a choice of {least} for {key}, and {found} left that would hold the pod"
            )
        }
        Obstacle::Limit { resource: None, limit, used } => {
            format!(
                "its limit of {} leaves no room ({used} in use or planned)",
                count(*limit as usize, "node")
            )
        }
        Obstacle::Limit { resource: Some(resource), limit, used } => {
            let name = resource_name(problem, *resource);
            let (limit, used) = (amount::phrase(name, *limit), amount::human(name, *used));
            format!("its limit of {limit} leaves no room ({used} in use or planned)")
        }
        Obstacle::Spent { quota } => {
            format!("what it may launch for the pod draws on {quota}, which is spent")
        }
        Obstacle::Topology(rule) => rule.clone(),
    }
}

/// What could be done about one reason, where something can.
pub fn hint(problem: &Problem, reason: &Reason) -> Option<String> {
    let Reason::Pool(pool, obstacle) = reason else {
        return match reason {
            Reason::NoPools => Some("add a NodePool to the snapshot".to_owned()),
            _ => None,
        };
    };
    let pool = pool_name(problem, *pool);
    match obstacle {
        Obstacle::NoOfferings => Some(format!(
            "compare the requirements of NodePool {pool} with the instance types of the catalogue (`stowage catalog`)"
        )),
        Obstacle::Taint(taint) => {
            Some(format!("give the pods a toleration of {taint}, or add a NodePool without that taint"))
        }
        Obstacle::TooSmall { resource, need, .. } => {
            let name = resource_name(problem, *resource);
            let bigger = problem
                .types
                .iter()
                .any(|t| t.allocatable.get(*resource) >= *need && !t.offerings.is_empty());
            Some(if bigger {
                format!("the catalogue has bigger instance types: widen the requirements of NodePool {pool}")
            } else {
                format!(
                    "no instance type of the catalogue offers {}: ask for less",
                    amount::phrase(name, *need)
                )
            })
        }
        Obstacle::MinValues(Relaxed { key, .. }) => Some(format!(
            "lower minValues of {key} in NodePool {pool}, allow more instance types, or plan with --min-values-policy \
             best-effort"
        )),
        Obstacle::Limit { resource, .. } => {
            let name = resource.map_or("nodes", |r| resource_name(problem, r));
            Some(format!("raise spec.limits.{name} of NodePool {pool}"))
        }
        Obstacle::Constraint { wanted, .. } => {
            Some(format!("add a NodePool, or widen one, so that its nodes can have {wanted}"))
        }
        Obstacle::Spent { .. } => {
            Some(format!("let NodePool {pool} launch on demand too, where capacity is not reserved"))
        }
        Obstacle::Combination | Obstacle::NoTypeHolds | Obstacle::Topology(_) => None,
    }
}

/// Name of a `NodePool`; `?` where the problem has none of that number.
pub fn pool_name(problem: &Problem, pool: PoolId) -> &str {
    problem.pools.get(pool.index()).map_or("?", |p| p.name.as_str())
}

/// Name of a resource; `?` where the problem has none of that number.
pub fn resource_name(problem: &Problem, resource: ResourceId) -> &str {
    problem.resources.get(resource.index()).map_or("?", String::as_str)
}
