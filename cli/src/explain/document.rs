//! Explanations as documents: what `-o json` and `-o yaml` print; see `docs/explain.md`.

use std::collections::BTreeMap;

use serde::Serialize;
use stowage_cluster::words::reason::{hint, pool_name, resource_name, sentence};
use stowage_cluster::words::{amount, reason};
use stowage_solver::explain::{
    Binding, Cheaper, Explanation, Hurdle, Measure, NodeStory, Place, PodStory, Prices, Refusal, RuleCost,
    Rules,
};
use stowage_solver::{PoolId, Price, ResourceId, TypeId};

use super::{Told, fargate as by_policy, words};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Whole<'a> {
    schema_version: &'static str,
    hourly_cost: f64,
    lower_bound: f64,
    nodes: Vec<Node<'a>>,
    shadow_prices: Shadow<'a>,
    rules: RuleList,
    explain_seconds: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Node<'a> {
    names: Vec<&'a str>,
    node_pool: &'a str,
    instance_type: &'a str,
    zone: &'a str,
    capacity_type: &'a str,
    price: f64,
    binding: BoundBy<'a>,
    fills: Vec<Filled<'a>>,
    cheaper: Vec<Other<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    smaller: Option<Other<'a>>,
    tally: Vec<Counted>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BoundBy<'a> {
    by: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Filled<'a> {
    resource: &'a str,
    pods: String,
    daemon_sets: String,
    allocatable: String,
    share: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Other<'a> {
    node_pool: &'a str,
    instance_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capacity_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    saves: Option<f64>,
    obstacle: &'static str,
    says: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    lacks: BTreeMap<&'a str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    holds: Option<u32>,
}

#[derive(Serialize)]
struct Counted {
    obstacle: &'static str,
    says: String,
    kinds: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shadow<'a> {
    proves: f64,
    lower_bound: f64,
    all_pods: f64,
    existing_nodes: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    fargate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commitments: Option<f64>,
    resources: Vec<Priced<'a>>,
    host_rules: Vec<HostRule>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Priced<'a> {
    resource: &'a str,
    unit: String,
    price: f64,
    least: f64,
    most: f64,
    amount: String,
    value: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HostRule {
    pods: String,
    count: u32,
    per_node: u32,
    value: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RuleList {
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<Solved>,
    measured: Vec<Measured>,
    left_out: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Solved {
    hourly_cost: f64,
    lower_bound: f64,
    unplaced: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Measured {
    sort: &'static str,
    rule: String,
    without: Solved,
    #[serde(skip_serializing_if = "Option::is_none")]
    costs: Option<Figures>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    bound_falls: f64,
    plan_falls: f64,
    proven_at_least: f64,
    proven_at_most: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OneNode<'a> {
    schema_version: &'static str,
    name: &'a str,
    pods: Vec<&'a str>,
    #[serde(flatten)]
    node: Node<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OnePod<'a> {
    schema_version: &'static str,
    pod: &'a str,
    place: Where<'a>,
    node_pools: Vec<Pool<'a>>,
    existing_nodes: Vec<Existing<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fargate: Option<Fargate<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fargate_verdict: Option<by_policy::Told<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cheapest: Option<Alone<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    remedies: Vec<Remedied>,
}

/// A pod that is not planned for.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PlacedPod<'a> {
    schema_version: &'static str,
    pod: &'a str,
    fargate_verdict: by_policy::Told<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Where<'a> {
    on: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Pool<'a> {
    node_pool: &'a str,
    kinds: u32,
    fit: u32,
    refused: Vec<Refused>,
}

#[derive(Serialize)]
struct Refused {
    obstacle: &'static str,
    says: String,
    kinds: u32,
}

#[derive(Serialize)]
struct Existing<'a> {
    obstacle: &'static str,
    says: String,
    nodes: u32,
    example: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Alone<'a> {
    node_pool: &'a str,
    instance_type: &'a str,
    zone: &'a str,
    capacity_type: &'a str,
    cost: f64,
}

#[derive(Serialize)]
struct Remedied {
    without: String,
    pods: u32,
}

/// Whether a pod may run on Fargate.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Fargate<'a> {
    eligible: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vcpu: Option<f64>,
    #[serde(rename = "memoryGiB", skip_serializing_if = "Option::is_none")]
    memory_gib: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
}

const SCHEMA: &str = "stowage.dev/explain/v1";

/// The plan as a whole.
pub(super) fn whole<'a>(told: &'a Told<'a>, explanation: &'a Explanation) -> Whole<'a> {
    Whole {
        schema_version: SCHEMA,
        hourly_cost: told.answer.solution.cost.dollars(),
        lower_bound: told.answer.solution.kept_bound().dollars(),
        nodes: explanation.nodes.iter().map(|story| of_node(told, story)).collect(),
        shadow_prices: shadow(told, &explanation.prices),
        rules: rules(told, &explanation.rules),
        explain_seconds: (told.seconds * 1e3).round() / 1e3,
    }
}

/// One node.
pub(super) fn node<'a>(told: &'a Told<'a>, at: usize, story: &'a NodeStory) -> OneNode<'a> {
    let pods = &told.answer.solution.new_nodes[at].pods;
    OneNode {
        schema_version: SCHEMA,
        name: &told.names[at],
        pods: pods.iter().map(|pod| told.pod(*pod)).collect(),
        node: of_node(told, story),
    }
}

fn of_node<'a>(told: &'a Told<'a>, story: &'a NodeStory) -> Node<'a> {
    let problem = told.problem();
    let like = &told.answer.solution.new_nodes[story.nodes[0] as usize];
    let offering = told.answer.offering(like);
    let name = |resource: ResourceId| resource_name(problem, resource);
    let (by, resource, pod) = match &story.binding {
        Binding::Resource(resource) => ("resource", Some(name(*resource)), None),
        Binding::HostRule(pod) => ("host-rule", None, Some(told.pod(*pod))),
        Binding::Nothing => ("nothing", None, None),
    };
    Node {
        names: story.nodes.iter().map(|at| told.names[*at as usize].as_str()).collect(),
        node_pool: &told.answer.pool(like).name,
        instance_type: &told.answer.instance_type(like).name,
        zone: &offering.zone,
        capacity_type: &offering.capacity_type,
        price: like.price.dollars(),
        binding: BoundBy { by, resource, pod },
        fills: story
            .fills
            .iter()
            .map(|fill| Filled {
                resource: name(fill.resource),
                pods: amount::quantity(name(fill.resource), fill.pods),
                daemon_sets: amount::quantity(name(fill.resource), fill.daemons),
                allocatable: amount::quantity(name(fill.resource), fill.of),
                share: rounded(fill.share()),
            })
            .collect(),
        cheaper: story.cheaper.iter().map(|c| other(told, c)).collect(),
        smaller: story.smaller.as_ref().map(|c| other(told, c)),
        tally: story
            .tally
            .iter()
            .map(|t| Counted {
                obstacle: words::hurdle_sort(t.sort),
                says: words::hurdle_count(problem, t.sort),
                kinds: t.kinds,
            })
            .collect(),
    }
}

fn other<'a>(told: &'a Told<'a>, cheaper: &'a Cheaper) -> Other<'a> {
    let problem = told.problem();
    let of_type = &problem.types[cheaper.instance_type.index()];
    let offering = cheaper.offering.and_then(|at| of_type.offerings.get(at as usize));
    let (lacks, holds) = match &cheaper.hurdle {
        Hurdle::Room { lacks, holds, .. } => {
            let named = lacks.iter().map(|(id, amount)| {
                let name = resource_name(problem, *id);
                (name, amount::quantity(name, *amount))
            });
            (named.collect(), Some(*holds))
        }
        _ => (BTreeMap::new(), None),
    };
    Other {
        node_pool: pool_name(problem, cheaper.pool),
        instance_type: &of_type.name,
        zone: offering.map(|o| o.zone.as_str()),
        capacity_type: offering.map(|o| o.capacity_type.as_str()),
        saves: (cheaper.saves > Price::ZERO).then(|| cheaper.saves.dollars()),
        obstacle: words::hurdle_sort(cheaper.hurdle.sort()),
        says: words::hurdle(problem, cheaper),
        lacks,
        holds,
    }
}

fn shadow<'a>(told: &'a Told<'a>, prices: &'a Prices) -> Shadow<'a> {
    let problem = told.problem();
    Shadow {
        proves: prices.bound.dollars(),
        lower_bound: prices.best_bound.dollars(),
        all_pods: prices.gross.dollars(),
        existing_nodes: prices.existing.dollars(),
        fargate: (prices.routes > Price::ZERO).then(|| prices.routes.dollars()),
        commitments: (prices.quotas > Price::ZERO).then(|| prices.quotas.dollars()),
        resources: prices
            .resources
            .iter()
            .map(|price| {
                let (unit, base) = words::unit(problem, price.resource);
                let name = resource_name(problem, price.resource);
                Priced {
                    resource: name,
                    unit,
                    price: rounded(price.each * base),
                    least: rounded(price.least * base),
                    most: rounded(price.most * base),
                    amount: amount::quantity(name, price.amount),
                    value: price.value.dollars(),
                }
            })
            .collect(),
        host_rules: prices
            .host_rules
            .iter()
            .map(|rule| HostRule {
                pods: words::pods(problem, rule.pod, rule.pods),
                count: rule.pods,
                per_node: rule.share,
                value: rule.value.dollars(),
            })
            .collect(),
    }
}

fn rules(told: &Told<'_>, rules: &Rules) -> RuleList {
    let solved = |m: &Measure| Solved {
        hourly_cost: m.cost.dollars(),
        lower_bound: m.bound.dollars(),
        unplaced: m.unplaced,
    };
    let measured = |rule: &RuleCost| Measured {
        sort: words::rule_sort(&rule.rule),
        rule: words::rule(told.problem(), &rule.rule),
        without: solved(&rule.without),
        costs: rule.costs.map(|c| Figures {
            bound_falls: c.bound.dollars(),
            plan_falls: c.plan.dollars(),
            proven_at_least: c.at_least.dollars(),
            proven_at_most: c.at_most.dollars(),
        }),
    };
    RuleList {
        base: (!rules.measured.is_empty()).then(|| solved(&rules.base)),
        measured: rules.measured.iter().map(measured).collect(),
        left_out: rules.left_out,
    }
}

/// One pod that is not planned for, with what is to be told of it all the same.
pub(super) fn placed(story: &by_policy::Story) -> PlacedPod<'_> {
    PlacedPod { schema_version: SCHEMA, pod: story.name(), fargate_verdict: by_policy::document(story) }
}

/// One pod.
pub(super) fn pod<'a>(
    told: &'a Told<'a>,
    story: &'a PodStory,
    on_fargate: Option<&'a by_policy::Story>,
) -> OnePod<'a> {
    let problem = told.problem();
    let mut reasons = Vec::new();
    let mut hints = Vec::new();
    let place = match &story.place {
        Place::New { node, share, of } => Where {
            on: "new-node",
            node: Some(&told.names[*node as usize]),
            share: Some(rounded(*share)),
            of: of.map(|id| resource_name(problem, id)),
        },
        Place::Existing(node) => Where {
            on: "existing-node",
            node: Some(&problem.nodes[node.index()].name),
            share: None,
            of: None,
        },
        Place::Routed(_) => Where { on: "fargate", node: None, share: None, of: None },
        Place::Nowhere(why) => {
            reasons = why.iter().map(|r| sentence(problem, r)).collect();
            hints = why.iter().filter_map(|r| hint(problem, r)).collect();
            Where { on: "nowhere", node: None, share: None, of: None }
        }
    };
    let refused = |r: &Refusal| Refused {
        obstacle: words::unfit_sort(&r.why),
        says: words::unfit(problem, &r.why),
        kinds: r.count,
    };
    OnePod {
        schema_version: SCHEMA,
        pod: told.pod(story.pod),
        place,
        node_pools: story
            .pools
            .iter()
            .map(|p| Pool {
                node_pool: pool_name(problem, p.pool),
                kinds: p.kinds,
                fit: p.fit,
                refused: p.refused.iter().map(refused).collect(),
            })
            .collect(),
        existing_nodes: story
            .nodes
            .iter()
            .map(|n| Existing {
                obstacle: words::unfit_sort(&n.why),
                says: words::unfit(problem, &n.why),
                nodes: n.nodes,
                example: &problem.nodes[n.example.index()].name,
            })
            .collect(),
        fargate: fargate(told, story.pod),
        fargate_verdict: on_fargate.map(by_policy::document),
        cheapest: story.cheapest.map(|c| alone(told, c.pool, c.instance_type, c.offering, c.price)),
        reasons,
        hints,
        remedies: story
            .remedies
            .iter()
            .map(|r| Remedied { without: words::rule(problem, &r.rule), pods: r.pods })
            .collect(),
    }
}

fn fargate<'a>(told: &'a Told<'a>, pod: stowage_solver::PodId) -> Option<Fargate<'a>> {
    let verdict = told.answer.fargate.verdict(pod.index())?;
    let route = told.problem().specs[told.answer.pod(pod).spec.index()].route;
    Some(match verdict {
        Ok(fit) => Fargate {
            eligible: true,
            profile: Some(&fit.profile),
            vcpu: Some(f64::from(fit.shape.cpu_millis) / 1e3),
            memory_gib: Some(f64::from(fit.shape.memory_mib) / 1024.0),
            price: route.map(|route| route.price.dollars()),
            reasons: Vec::new(),
        },
        Err(why) => Fargate {
            eligible: false,
            profile: None,
            vcpu: None,
            memory_gib: None,
            price: None,
            reasons: why.iter().map(ToString::to_string).collect(),
        },
    })
}

fn alone<'a>(told: &'a Told<'a>, pool: PoolId, of_type: TypeId, offering: u32, price: Price) -> Alone<'a> {
    let problem = told.problem();
    let of_type = &problem.types[of_type.index()];
    let offering = &of_type.offerings[offering as usize];
    Alone {
        node_pool: reason::pool_name(problem, pool),
        instance_type: &of_type.name,
        zone: &offering.zone,
        capacity_type: &offering.capacity_type,
        cost: price.dollars(),
    }
}

/// Six digits after the point: what prices have.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
