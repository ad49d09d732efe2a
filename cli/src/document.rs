//! The plan as a document, `stowage.dev/plan/v1`: what `-o json` and `-o yaml` print.
//!
//! Other programs read it, so names, order and meaning of the fields are stable; see `docs/plan.md`. Some fields
//! exist only where there is something to say: `weighed`, `commitments`, `preferences` and `spot` in the summary, `fixedCost`,
//! `commitment`, `covered` and `estimated` on a node, and `notes` at the end.

use std::collections::BTreeMap;
use std::io;

use serde::Serialize;
use stowage_cluster::Commitment;
use stowage_pricing::CoverUnit;
use stowage_solver::{Alternative, NewNode, Price, Resources, Routed, Status};

use crate::answer::{Answer, Quantities};
use crate::render::Show;
use crate::text;
use stowage_cluster::words::{amount, reason};

/// The document.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Document<'a> {
    schema_version: &'static str,
    summary: Summary<'a>,
    new_nodes: Vec<New<'a>>,
    existing_nodes: Vec<Existing<'a>>,
    fargate: Vec<OnFargate<'a>>,
    unschedulable: Vec<Unschedulable<'a>>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    notes: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    pending_pods: usize,
    new_nodes: usize,
    hourly_cost: f64,
    lower_bound: f64,
    gap: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    weighed: Option<Weighed>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    commitments: Vec<Committed<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preferences: Option<Preferences>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spot: Option<Spot>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fargate: Option<Fargate>,
    status: &'static str,
    solve_seconds: f64,
}

/// The bill with the fixed costs of nodes in it, and without what commitments cover: what was planned for.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Weighed {
    hourly_cost: f64,
    lower_bound: f64,
    gap: Option<f64>,
}

/// What is left of a commitment beside the nodes that run, and what of that new nodes use.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Committed<'a> {
    name: &'a str,
    unit: &'static str,
    free: f64,
    used: f64,
    unused: f64,
}

/// What became of preferences. Sums are with the fixed costs of nodes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Preferences {
    pods: usize,
    given_up: usize,
    lower_bound: f64,
    gap: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hourly_cost_without: Option<f64>,
}

/// How flexible the spot nodes are.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spot {
    nodes: usize,
    least_types: usize,
    wanted_types: usize,
    nodes_below: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    premium: Option<f64>,
}

/// Another way to launch a node: a type, and the zones in which it has one price.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LaunchOption<'a> {
    instance_type: &'a str,
    capacity_type: &'a str,
    zones: Vec<&'a str>,
    price: f64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    estimated: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct New<'a> {
    name: String,
    node_pool: &'a str,
    instance_type: &'a str,
    zone: &'a str,
    capacity_type: &'a str,
    price: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    fixed_cost: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    commitment: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    covered: Option<f64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    estimated: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    min_values_relaxed: Vec<Relaxed<'a>>,
    alternatives: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    launch_options: Option<Vec<LaunchOption<'a>>>,
    allocatable: Quantities,
    requests: Quantities,
    daemon_sets: Vec<&'a str>,
    pods: Vec<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Relaxed<'a> {
    key: &'a str,
    min_values: u32,
    found: u32,
}

#[derive(Serialize)]
struct Existing<'a> {
    name: &'a str,
    pods: Vec<&'a str>,
}

/// A pod on Fargate, and the node that would hold it alone.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OnFargate<'a> {
    pod: &'a str,
    profile: &'a str,
    vcpu: f64,
    #[serde(rename = "memoryGiB")]
    memory_gib: f64,
    #[serde(rename = "diskGiB")]
    disk_gib: u32,
    price: f64,
    ec2_type: Option<&'a str>,
    ec2_cost: Option<f64>,
}

/// What Fargate takes of the bill.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Fargate {
    pods: usize,
    hourly_cost: f64,
    /// The whole bill, fixed costs of nodes included, of a plan with nodes alone.
    hourly_cost_without: Option<f64>,
}

#[derive(Serialize)]
struct Unschedulable<'a> {
    pod: &'a str,
    reasons: Vec<String>,
}

/// Builds the document of an answer.
pub(crate) fn of(answer: &Answer, show: Show) -> Document<'_> {
    let (problem, solution) = (&answer.problem, &answer.solution);
    let new_nodes = answer.node_names().into_iter().zip(&solution.new_nodes).map(|(name, node)| {
        let (kind, offering) = (answer.instance_type(node), answer.offering(node));
        New {
            name,
            node_pool: &answer.pool(node).name,
            instance_type: &kind.name,
            zone: &offering.zone,
            capacity_type: &offering.capacity_type,
            price: node.price.dollars(),
            fixed_cost: (node.fixed_cost > Price::ZERO).then(|| node.fixed_cost.dollars()),
            commitment: answer.drawn(node),
            covered: (node.rebate > Price::ZERO).then(|| node.rebate.dollars()),
            estimated: offering.estimated,
            labels: node.chosen_labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect(),
            min_values_relaxed: node
                .relaxed
                .iter()
                .map(|r| Relaxed { key: &r.key, min_values: r.least, found: r.found })
                .collect(),
            alternatives: node
                .types_in_place(problem)
                .map(|id| problem.types[id.index()].name.as_str())
                .collect(),
            launch_options: show.alternatives.then(|| launch_options(answer, node)),
            allocatable: answer
                .allocatable
                .get(&node.instance_type.0)
                .cloned()
                .unwrap_or_else(|| quantities(answer, &kind.allocatable)),
            requests: quantities(answer, &answer.node_requests(node)),
            daemon_sets: node.daemons.iter().map(|id| problem.daemons[id.index()].name.as_str()).collect(),
            pods: node.pods.iter().map(|id| answer.pod(*id).name.as_str()).collect(),
        }
    });
    Document {
        schema_version: "stowage.dev/plan/v1",
        summary: summary(answer),
        new_nodes: new_nodes.collect(),
        existing_nodes: solution
            .placements
            .iter()
            .map(|p| Existing {
                name: &answer.existing(p).name,
                pods: p.pods.iter().map(|id| answer.pod(*id).name.as_str()).collect(),
            })
            .collect(),
        fargate: solution.routed.iter().filter_map(|routed| on_fargate(answer, routed)).collect(),
        unschedulable: solution
            .unplaced
            .iter()
            .map(|u| Unschedulable {
                pod: &answer.pod(u.pod).name,
                reasons: u.reasons.iter().map(|r| reason::sentence(problem, r)).collect(),
            })
            .collect(),
        notes: &answer.notes,
    }
}

fn on_fargate<'a>(answer: &'a Answer, routed: &Routed) -> Option<OnFargate<'a>> {
    let fit = answer.fargate_fit(routed.pod)?;
    let of_type = |node: &Alternative| answer.problem.types[node.instance_type.index()].name.as_str();
    Some(OnFargate {
        pod: &answer.pod(routed.pod).name,
        profile: &fit.profile,
        vcpu: f64::from(fit.shape.cpu_millis) / 1e3,
        memory_gib: f64::from(fit.shape.memory_mib) / 1024.0,
        disk_gib: fit.shape.disk_gib,
        price: routed.price.dollars(),
        ec2_type: routed.node.as_ref().map(|(node, _)| of_type(node)),
        ec2_cost: routed.node.as_ref().map(|(_, price)| price.dollars()),
    })
}

/// The alternatives of a node, those that differ in nothing but the zone in one entry each: cheapest first.
fn launch_options<'a>(answer: &'a Answer, node: &NewNode) -> Vec<LaunchOption<'a>> {
    let mut options = Vec::<LaunchOption<'a>>::new();
    let mut known = BTreeMap::new();
    for alternative in node.alternatives.iter() {
        let of_type = &answer.problem.types[alternative.instance_type.index()];
        let offering = alternative.offering(&answer.problem);
        let same = (alternative.instance_type, &offering.capacity_type, offering.price, offering.estimated);
        let at = *known.entry(same).or_insert(options.len());
        if at == options.len() {
            options.push(LaunchOption {
                instance_type: &of_type.name,
                capacity_type: &offering.capacity_type,
                zones: Vec::new(),
                price: offering.price.dollars(),
                estimated: offering.estimated,
            });
        }
        options[at].zones.push(&offering.zone);
    }
    options
}

fn committed<'a>(answer: &'a Answer, of: &Commitment) -> Committed<'a> {
    let quota = &answer.problem.quotas[of.quota.index()];
    let (unit, each) = match of.unit {
        CoverUnit::Node => ("node", 1.0),
        // AWS counts a `large` as four.
        CoverUnit::QuarterSize => ("normalized unit", 4.0),
        CoverUnit::NanoDollar => ("dollar an hour", 1e9),
    };
    let used = answer.units_drawn(of.quota);
    let shown = |units: i64| units as f64 / each;
    Committed {
        name: &quota.name,
        unit,
        free: shown(quota.units),
        used: shown(used),
        unused: shown(quota.units.saturating_sub(used)),
    }
}

fn spot(answer: &Answer) -> Option<Spot> {
    let nodes = answer.spot_nodes();
    let least_types = nodes.iter().map(|(_, types)| *types).min()?;
    let premium = answer.solution.premium;
    Some(Spot {
        nodes: nodes.len(),
        least_types,
        wanted_types: answer.wanted_types,
        nodes_below: nodes.iter().filter(|(_, types)| *types < answer.wanted_types).count(),
        premium: (premium != Price::ZERO).then(|| premium.dollars()),
    })
}

fn summary(answer: &Answer) -> Summary<'_> {
    let solution = &answer.solution;
    let shown = |gap: f64| gap.is_finite().then(|| (gap * 1e6).round() / 1e6);
    let weighed = (solution.fixed_cost() > Price::ZERO || solution.rebate() > Price::ZERO).then(|| Weighed {
        hourly_cost: solution.cost.dollars(),
        lower_bound: solution.bound.dollars(),
        gap: shown(solution.gap()),
    });
    Summary {
        pending_pods: answer.problem.pods.len(),
        new_nodes: solution.new_nodes.len(),
        hourly_cost: solution.instance_cost().dollars(),
        lower_bound: solution.instance_bound.dollars(),
        gap: shown(solution.instance_gap()),
        weighed,
        commitments: answer.commitments.iter().map(|of| committed(answer, of)).collect(),
        preferences: solution.preferences.as_ref().map(|p| Preferences {
            pods: p.pods,
            given_up: p.given_up.len(),
            lower_bound: p.bound.dollars(),
            gap: shown(solution.kept_gap()),
            hourly_cost_without: p.without.map(Price::dollars),
        }),
        spot: spot(answer),
        fargate: (!solution.routed.is_empty()).then(|| Fargate {
            pods: solution.routed.len(),
            hourly_cost: solution.route_cost().dollars(),
            hourly_cost_without: solution.without_routes.map(Price::dollars),
        }),
        status: match solution.status {
            // The best plan with fixed costs need not be that without.
            Status::Optimal if solution.instance_gap() <= 1e-6 => "optimal",
            Status::Optimal | Status::WithinGap => "within-gap",
            Status::BudgetSpent => "budget-spent",
        },
        solve_seconds: (answer.solve_seconds * 1e3).round() / 1e3,
    }
}

/// Exact quantities. Attach slots stay out: they are counted by disk, not by pod, and no catalogue states them.
fn quantities(answer: &Answer, amounts: &Resources) -> Quantities {
    let names = &answer.problem.resources;
    let known = amounts.iter().filter_map(|(id, base)| Some((names.get(id.index())?, base)));
    known
        .filter(|(name, _)| {
            !name.starts_with("attachable-volumes-") && !stowage_cluster::stands_for_devices(name)
        })
        .map(|(name, base)| (name.clone(), amount::quantity(name, base)))
        .collect::<BTreeMap<_, _>>()
}

/// The document as indented JSON.
///
/// # Errors
/// Only those of writing.
pub(crate) fn write_json(document: &impl Serialize, out: &mut dyn io::Write) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(&mut *out, Guarded::default());
    document.serialize(&mut serializer)?;
    out.write_all(b"\n")
}

/// The document as YAML.
///
/// # Errors
/// Only those of writing.
pub(crate) fn write_yaml(document: &impl Serialize, out: &mut dyn io::Write) -> io::Result<()> {
    let options = serde_saphyr::ser_options! { prefer_block_scalars: false };
    let text = serde_saphyr::to_string_with_options(document, options).map_err(io::Error::other)?;
    out.write_all(text.as_bytes())
}

/// Pretty JSON that also escapes what JSON lets through but a terminal would obey, such as C1 control codes.
#[derive(Default)]
struct Guarded<'a>(serde_json::ser::PrettyFormatter<'a>);

impl serde_json::ser::Formatter for Guarded<'_> {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(text::is_unsafe) {
            let (before, after) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            let mut chars = after.chars();
            for unit in chars.next().into_iter().flat_map(|c| c.encode_utf16(&mut [0; 2]).to_vec()) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = chars.as_str();
        }
        writer.write_all(rest.as_bytes())
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }
    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }
    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }
    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }
    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }
    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }
    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }
    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn json(answer: &Answer) -> String {
        let mut out = Vec::new();
        write_json(&of(answer, Show::default()), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn yaml(answer: &Answer) -> String {
        let mut out = Vec::new();
        write_yaml(&of(answer, Show::default()), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    /// The rich answer with fewer of everything that repeats.
    fn short() -> Answer {
        let mut answer = fixture::rich();
        answer.solution.new_nodes.truncate(4);
        answer.solution.new_nodes.drain(1..3);
        for node in &mut answer.solution.new_nodes {
            node.pods.truncate(2);
        }
        answer.solution.placements.truncate(1);
        answer.solution.unplaced.drain(..2);
        answer.solution.cost = answer.solution.instance_cost();
        answer.solution.bound = Price::from_micros(440_000);
        answer.solution.instance_bound = answer.solution.bound;
        answer
    }

    #[test]
    fn as_json() {
        insta::assert_snapshot!(json(&short()));
    }

    #[test]
    fn as_yaml() {
        insta::assert_snapshot!(yaml(&short()));
    }

    #[test]
    fn both_forms_say_the_same() {
        let from_json: serde_json::Value = serde_json::from_str(&json(&fixture::rich())).unwrap();
        let from_yaml: serde_json::Value = serde_saphyr::from_str(&yaml(&fixture::rich())).unwrap();
        assert_eq!(from_json, from_yaml);
    }

    #[test]
    fn nothing_to_plan_has_every_list() {
        let value: serde_json::Value = serde_json::from_str(&json(&fixture::empty())).unwrap();
        for list in ["newNodes", "existingNodes", "fargate", "unschedulable"] {
            assert_eq!(value[list], serde_json::json!([]), "{list}");
        }
        assert_eq!(value["summary"]["gap"], 0.0);
        assert_eq!(value["summary"]["status"], "optimal");
    }

    #[test]
    fn fixed_costs_stand_beside_the_bill_for_instances() {
        let value = |answer: &Answer| serde_json::from_str::<serde_json::Value>(&json(answer)).unwrap();
        let (plain, weighed) = (value(&fixture::rich()), value(&fixture::weighed()));
        assert_eq!(plain["summary"]["weighed"], serde_json::Value::Null);
        assert_eq!(plain["summary"]["hourlyCost"], weighed["summary"]["hourlyCost"]);
        assert_eq!(weighed["summary"]["weighed"]["hourlyCost"], 5.897_505);
        assert_eq!(weighed["summary"]["weighed"]["lowerBound"], 5.738);
        assert_eq!(weighed["newNodes"][0]["fixedCost"], 0.01);
        assert!(weighed["newNodes"][4].get("fixedCost").is_none());
    }

    #[test]
    fn alternatives_are_listed_in_full_where_asked_for() {
        let answer = fixture::rich();
        let show = Show { alternatives: true, ..Show::default() };
        let value = serde_json::to_value(of(&answer, show)).unwrap();
        assert_eq!(
            value["newNodes"][3]["launchOptions"],
            serde_json::json!([{"instanceType": "m7i.2xlarge", "capacityType": "on-demand",
                "zones": ["us-east-1a", "us-east-1b"], "price": 0.4032}])
        );
        assert_eq!(value["newNodes"][4]["launchOptions"], serde_json::json!([]));
        assert_eq!(
            value["summary"]["spot"],
            serde_json::json!({"nodes": 1, "leastTypes": 1, "wantedTypes": 15, "nodesBelow": 1})
        );
    }

    #[test]
    fn an_unknown_gap_is_null() {
        let mut answer = fixture::rich();
        answer.solution.instance_bound = Price::ZERO;
        let value: serde_json::Value = serde_json::from_str(&json(&answer)).unwrap();
        assert_eq!(value["summary"]["gap"], serde_json::Value::Null);
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped_and_reads_back() {
        let mut answer = fixture::rich();
        answer.problem.pods[0].name = "shop/\u{9b}2J\u{202e}\u{1b}日本".to_owned();
        for text in [json(&answer), yaml(&answer)] {
            assert!(!text.chars().any(|c| c != '\n' && c.is_control()), "{text}");
        }
        assert!(!json(&answer).contains('\u{202e}'), "nor does JSON reverse the text that follows");
        let value: serde_json::Value = serde_json::from_str(&json(&answer)).unwrap();
        assert_eq!(value["newNodes"][0]["pods"][0], "shop/\u{9b}2J\u{202e}\u{1b}日本");
    }
}
