//! Plans for nodes, as a look makes them: what so many pods cost more.
//!
//! # Invariants
//! - What a cancelled solve leaves is no plan: nobody knows how good it is.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use stowage_solver::{Effort, Options, Pod as Planned, Price, Problem, Route, Solution, SpecId, solve};

use crate::verdict::OnNodes;

/// As many pods of a workload are looked at together at most: what more cost differs little, and plans take their time.
pub(crate) const TOGETHER: usize = 50;

/// A workload that would go to Fargate for itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member<'a> {
    /// A pod of it.
    pub(crate) like: &'a Planned,
    /// Its pods that wait.
    pub(crate) own: &'a BTreeSet<String>,
    /// As many are planned.
    pub(crate) pods: usize,
    /// What each costs on Fargate, an hour.
    pub(crate) price: Price,
    /// How much more Fargate may cost than nodes.
    pub(crate) tolerance_percent: u32,
}

/// Plans on one cluster.
pub(crate) struct Plans<'c> {
    problem: Problem,
    /// Pods that wait.
    waiting: Vec<Planned>,
    /// What the plan for all that wait costs, and how many it leaves over, once that was asked for.
    all: Option<(Price, usize)>,
    cancel: &'c AtomicBool,
}

impl<'c> Plans<'c> {
    pub(crate) fn new(mut problem: Problem, trials: &BTreeSet<String>, cancel: &'c AtomicBool) -> Self {
        problem.specs.iter_mut().for_each(|spec| spec.route = None);
        let waiting = std::mem::take(&mut problem.pods);
        let waiting = waiting.into_iter().filter(|pod| !trials.contains(&pod.name)).collect();
        Self { problem, waiting, all: None, cancel }
    }

    /// `None` where it was cancelled, or the plan fails its own check.
    fn solve(&mut self, pods: Vec<Planned>) -> Option<Solution> {
        self.problem.pods = pods;
        let options = Options { effort: Effort::Quick, ..Options::default() };
        let plan = solve(&self.problem, &options, self.cancel, &mut |_, _, _| {}).ok()?;
        (!self.cancel.load(Ordering::Relaxed)).then_some(plan)
    }

    /// Pods that wait, without these, and what a plan for them costs and leaves over.
    fn others(&mut self, own: &BTreeSet<&str>) -> Option<(Vec<Planned>, (Price, usize))> {
        let others: Vec<Planned> =
            self.waiting.iter().filter(|pod| !own.contains(pod.name.as_str())).cloned().collect();
        let everybody = others.len() == self.waiting.len();
        if let Some(known) = self.all.filter(|_| everybody) {
            return Some((others, known));
        }
        let plan = self.solve(others.clone()).map(|plan| (plan.cost, plan.unplaced.len()))?;
        if everybody {
            self.all = Some(plan);
        }
        Some((others, plan))
    }

    /// What so many pods like this one cost on nodes, each; those that wait of its workload are among them.
    pub(crate) fn cost(
        &mut self,
        like: &Planned,
        own: &BTreeSet<String>,
        together: usize,
    ) -> Option<OnNodes> {
        let own = own.iter().map(String::as_str).collect();
        let (mut pods, (before, left_out)) = self.others(&own)?;
        pods.extend(copies(like, like.spec, together));
        let with = self.solve(pods)?;
        if with.unplaced.len() > left_out {
            return Some(OnNodes::NoPlace);
        }
        let more = (with.cost - before).micros().max(0);
        if more == 0 {
            return Some(OnNodes::Room);
        }
        let each = (more as u64).div_ceil(together.max(1) as u64) as i64;
        let alone = self.alone(like)?;
        Some(OnNodes::Bought(Price::from_micros(each.min(alone))))
    }

    /// What a node costs that a pod has for itself; more than anything where there is none.
    fn alone(&mut self, like: &Planned) -> Option<i64> {
        let open: Vec<bool> = self.problem.nodes.iter().map(|node| node.open).collect();
        self.problem.nodes.iter_mut().for_each(|node| node.open = false);
        let plan = self.solve(vec![like.clone()]);
        for (node, open) in self.problem.nodes.iter_mut().zip(open) {
            node.open = open;
        }
        let plan = plan?;
        Some(if plan.unplaced.is_empty() { plan.cost.micros() } else { i64::MAX })
    }

    /// What a pod of each of these costs on nodes, where most of its workload's belong there once all of them are planned
    /// together and each may go to Fargate; nothing for those that belong on Fargate.
    pub(crate) fn jointly(&mut self, members: &[Member<'_>]) -> Option<Vec<Option<Price>>> {
        let nothing = vec![None; members.len()];
        if members.len() < 2 {
            return Some(nothing);
        }
        let own = members.iter().flat_map(|m| m.own).map(String::as_str).collect();
        let (others, (before, left_out)) = self.others(&own)?;
        let specs = self.problem.specs.len();
        let mut pods = others.clone();
        for member in members {
            let mut spec = self.problem.specs[member.like.spec.index()].clone();
            // A tolerance is for Fargate what a discount is.
            let price = member.price.micros().saturating_mul(100) / i64::from(100 + member.tolerance_percent);
            spec.route = Some(Route { price: Price::from_micros(price), shape: 0 });
            self.problem.specs.push(spec);
            pods.extend(copies(member.like, SpecId::of(self.problem.specs.len() - 1), member.pods));
        }
        let plan = self.solve(pods);
        self.problem.specs.truncate(specs);
        let mut routed = vec![0_usize; members.len()];
        for pod in plan?.routed {
            // Which member that is, says the order in which they were put.
            let mut at = pod.pod.index().saturating_sub(others.len());
            for (count, member) in routed.iter_mut().zip(members) {
                if at < member.pods {
                    *count += 1;
                    break;
                }
                at -= member.pods;
            }
        }
        let home: Vec<bool> = routed.iter().zip(members).map(|(n, m)| n * 2 <= m.pods).collect();
        let mut pods = others;
        let mut on_fargate = 0_i128;
        for (member, _) in members.iter().zip(&home).filter(|(_, home)| **home) {
            pods.extend(copies(member.like, member.like.spec, member.pods));
            on_fargate += i128::from(member.price.micros()) * member.pods as i128;
        }
        if on_fargate == 0 {
            return Some(nothing);
        }
        let with = self.solve(pods)?;
        if with.unplaced.len() > left_out {
            return Some(nothing);
        }
        let more = i128::from((with.cost - before).micros().max(0));
        // By what each costs on Fargate: that is in proportion to its size.
        let share = |member: &Member<'_>| {
            let share = (i128::from(member.price.micros()) * more + on_fargate - 1) / on_fargate;
            Price::from_micros(i64::try_from(share).unwrap_or(i64::MAX))
        };
        Some(members.iter().zip(home).map(|(member, home)| home.then(|| share(member))).collect())
    }
}

/// So many pods like one, with this spec.
fn copies(like: &Planned, spec: SpecId, count: usize) -> impl Iterator<Item = Planned> {
    (0..count).map(move |n| Planned { name: format!("{}:{n}", like.name), spec, labels: like.labels })
}
