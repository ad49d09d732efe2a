//! Shadow prices of resources: the resource bound's dual prices, added up over the pods.
//!
//! That bound has a price of each resource for each group of kinds that take the same pods; a pod is worth what it needs at
//! the prices of the group where that is least. So a resource has not one price but one for each sort of pods, and what is
//! told is the mean, weighed by what they need, with the least and the most. The values add up to the bound.

use super::data::{HostRulePrice, Prices, ResourcePrice};
use crate::bound::{Relaxation, resource_prices, whole};
use crate::model::Model;
use crate::money::Price;
use crate::problem::Problem;
use crate::search::Stages;
use crate::solution::Solution;
use crate::topology::{Caps, deal};

/// One micro-dollar in the fixed point of the bound.
const SCALE: f64 = (1u64 << 40) as f64;

/// What the resource bound says of a plan.
pub(super) fn prices(problem: &Problem, solution: &Solution) -> Prices {
    let mut model = Model::build(problem);
    let dealt = deal(&mut model, &Caps::new());
    let stages = Stages::of(&model, &dealt.stock);
    let mut class_of = vec![0usize; problem.pods.len()];
    for (class, of_class) in model.classes.classes.iter().enumerate() {
        for pod in &of_class.pods {
            class_of[pod.index()] = class;
        }
    }
    let mut held = vec![0u32; model.classes.classes.len()];
    let placed = solution.placements.iter().flat_map(|p| &p.pods);
    let routed = solution.routed.iter().map(|routed| &routed.pod);
    for pod in solution.new_nodes.iter().flat_map(|n| &n.pods).chain(placed).chain(routed) {
        held[class_of[pod.index()]] += 1;
    }
    // Pods that wait for others may have come late, and then to lighter NodePools than packing looked at.
    let late: Vec<bool> = (0..held.len()).map(|class| !model.spec(class).affinity.is_empty()).collect();
    let relaxed = Relaxation::with_late(&model, &dealt, &held, &late, &stages);
    let known = resource_prices(&model, &relaxed);
    let mut result = Prices {
        bound: Price::from_micros(whole(known.bound)),
        best_bound: solution.kept_bound(),
        ..Prices::default()
    };
    let dims = model.kinds.dims.len();
    let mut sums = vec![Sum::default(); dims + model.weighty.len()];
    for (part, prices) in relaxed.parts.iter().zip(&known.of_parts) {
        for (sum, (need, price)) in sums.iter_mut().zip(part.need().iter().zip(prices)) {
            sum.add(i64::from(part.count) * need, *price);
        }
    }
    for (resource, sum) in model.kinds.dims.iter().zip(&sums).filter(|(_, sum)| sum.amount > 0) {
        let dollars = |price: f64| price / SCALE / 1e6;
        result.resources.push(ResourcePrice {
            resource: *resource,
            amount: sum.amount,
            value: micros(sum.value),
            each: dollars(sum.value as f64 / sum.amount as f64),
            least: dollars(sum.least.unwrap_or(0) as f64),
            most: dollars(sum.most as f64),
        });
    }
    let names = &problem.resources;
    result.resources.sort_by(|a, b| {
        b.value.cmp(&a.value).then_with(|| names[a.resource.index()].cmp(&names[b.resource.index()]))
    });
    result.host_rules = host_rules(&model, &sums[dims..], &held);
    let parts = relaxed.parts.iter().zip(&known.of_routes);
    let routes: i128 = parts.map(|(part, each)| i128::from(part.count) * each).sum();
    result.routes = micros(routes);
    result.gross = micros(sums.iter().map(|sum| sum.value).sum::<i128>() + routes);
    result.existing = micros(known.existing);
    result.quotas = micros(known.quotas);
    result
}

/// What places are worth on nodes that few pods of a rule may share; `sums` and the model's weighty rules go together.
fn host_rules(model: &Model<'_>, sums: &[Sum], held: &[u32]) -> Vec<HostRulePrice> {
    let classes = &model.classes.classes;
    let priced = |(rule, sum): (&u32, &Sum)| {
        let mut carriers = (0..classes.len()).filter(|class| model.rules.scatters(*class, *rule)).peekable();
        let pod = classes[*carriers.peek()?].pods[0];
        Some(HostRulePrice {
            pod,
            pods: carriers.map(|class| held[class]).sum(),
            share: model.rules.limits[*rule as usize].most(),
            value: micros(sum.value),
        })
    };
    let mut found: Vec<HostRulePrice> =
        model.weighty.iter().zip(sums).filter_map(priced).filter(|p| p.value > Price::ZERO).collect();
    found.sort_by(|a, b| b.value.cmp(&a.value).then(a.pod.cmp(&b.pod)));
    found
}

/// The nearest micro-dollar.
fn micros(value: i128) -> Price {
    Price::from_micros(i64::try_from((value + (1 << 39)) >> 40).unwrap_or(i64::MAX))
}

/// A resource over all parts.
#[derive(Clone, Default)]
struct Sum {
    amount: i64,
    value: i128,
    least: Option<i128>,
    most: i128,
}

impl Sum {
    fn add(&mut self, amount: i64, price: i128) {
        if amount > 0 {
            self.amount = self.amount.saturating_add(amount);
            self.value += i128::from(amount) * price;
            self.least = Some(self.least.map_or(price, |least| least.min(price)));
            self.most = self.most.max(price);
        }
    }
}
