//! Why a pod is on Fargate or on nodes, for programs; see `docs/explain.md`.

use std::collections::BTreeMap;

use serde::Serialize;
use stowage_fargate::{Billed, Finding, Mode, OnNodes, Policy, Side, Target, Verdict, Why, Workload};
use stowage_solver::Price;

use super::story::{Asked, Recorded, Story};
use super::words;

/// `fargateVerdict` of the document.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::explain) struct Told<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<String>,
    pod: Place<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Ruling<'a>>,
    overruled: Vec<Overruled<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workload: Option<Whose<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<Found<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded: Option<Record<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<Held>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    warnings: &'a [String],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Place<'a> {
    on: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    planned: Option<Size>,
    #[serde(skip_serializing_if = "Option::is_none")]
    billed: Option<Size>,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<f64>,
}

#[derive(Serialize)]
struct Size {
    vcpu: f64,
    #[serde(rename = "memoryGiB")]
    memory_gib: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ruling<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    name: &'a str,
    mode: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tolerance_percent: Option<u32>,
    valid: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Overruled<'a> {
    #[serde(flatten)]
    policy: Ruling<'a>,
    because: String,
    contradicts: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Whose<'a> {
    namespace: &'a str,
    owner: String,
    template: &'a str,
    waiting: usize,
    on_fargate: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    looked_at: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runs_seconds: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Found<'a> {
    side: &'static str,
    why: &'static str,
    says: String,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    reasons: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    fargate: Option<There<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<Nodes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lead_percent: Option<u32>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct There<'a> {
    profile: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: &'a BTreeMap<String, String>,
    #[serde(flatten)]
    size: Size,
    price: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Nodes {
    place: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    share: Option<f64>,
    pods: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    template: &'static str,
    says: String,
    #[serde(flatten)]
    verdict: Option<Kept<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Kept<'a> {
    side: &'static str,
    why: &'static str,
    since: String,
    looked: String,
    age_seconds: u64,
    against: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    fargate: Option<There<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodes: Option<Nodes>,
}

#[derive(Serialize)]
struct Held {
    until: String,
    strikes: u32,
}

/// All there is to tell.
pub(in crate::explain) fn of(story: &Story) -> Told<'_> {
    let ruling = |policy| Ruling {
        errors: story.errors.iter().map(ToString::to_string).collect(),
        ..of_policy(policy)
    };
    Told {
        as_of: (story.as_of > 0).then(|| words::moment(story.as_of).to_string()),
        pod: place(&story.pod),
        policy: story.policy.as_deref().map(ruling),
        overruled: story
            .overruled
            .iter()
            .map(|(policy, why)| Overruled {
                policy: of_policy(policy),
                because: why.to_string(),
                contradicts: story.policy.as_ref().is_some_and(|ruling| ruling.mode != policy.mode),
            })
            .collect(),
        workload: story.workload.as_ref().map(|workload| whose(story, workload)),
        found: story.found.as_ref().map(|found| of_finding(story, found)),
        recorded: story.recorded.as_ref().map(|recorded| record(story, recorded)),
        held: story
            .hold
            .map(|hold| Held { until: words::moment(hold.until).to_string(), strikes: hold.strikes }),
        warnings: &story.warnings,
    }
}

fn place(pod: &Asked) -> Place<'_> {
    let on = match &pod.node {
        _ if pod.on_fargate => "fargate",
        Some(_) => "node",
        None => "none",
    };
    Place {
        on,
        node: pod.node.as_deref(),
        profile: pod.profile.as_deref(),
        planned: pod.planned.map(|shape| size(Billed::of(shape))),
        billed: pod.billed.map(size),
        price: pod.price.map(Price::dollars),
    }
}

fn size(of: Billed) -> Size {
    Size { vcpu: f64::from(of.cpu_millis) / 1e3, memory_gib: f64::from(of.memory_mib) / 1024.0 }
}

fn of_policy(policy: &Policy) -> Ruling<'_> {
    let namespace = policy.id.namespace.as_deref();
    Ruling {
        kind: if namespace.is_some() { "FargatePolicy" } else { "ClusterFargatePolicy" },
        namespace,
        name: &policy.id.name,
        mode: policy.mode.word(),
        tolerance_percent: match policy.mode {
            Mode::WhenCheaper { tolerance_percent } => Some(tolerance_percent),
            _ => None,
        },
        valid: !policy.invalid,
        errors: Vec::new(),
    }
}

fn whose<'a>(story: &'a Story, workload: &'a Workload) -> Whose<'a> {
    let group = story.group.as_ref();
    Whose {
        namespace: &workload.namespace,
        owner: words::owner(workload),
        template: &workload.template,
        waiting: group.map_or(0, |group| group.waiting.len()),
        on_fargate: group.map_or(0, |group| group.on_fargate.0),
        looked_at: group.map(|group| group.pod.as_str()),
        runs_seconds: group.and_then(|group| group.life.expected()),
    }
}

fn side(side: Side) -> &'static str {
    if side == Side::Fargate { "fargate" } else { "nodes" }
}

fn of_finding<'a>(story: &Story, found: &'a Finding) -> Found<'a> {
    Found {
        side: side(found.side),
        why: found.why.word(),
        says: words::verdict(story, found),
        reasons: if let Why::Forbidden(why) = &found.why { why } else { &[] },
        fargate: found.target.as_ref().map(there),
        nodes: nodes(found),
        lead_percent: found.lead_percent,
    }
}

fn there(target: &Target) -> There<'_> {
    There {
        profile: &target.profile,
        labels: &target.labels,
        size: size(Billed::of(target.shape)),
        price: target.price.dollars(),
    }
}

fn nodes(found: &Finding) -> Option<Nodes> {
    let nodes = found.nodes?;
    Some(Nodes {
        place: match nodes {
            OnNodes::Room => "room",
            OnNodes::Bought(_) => "bought",
            OnNodes::NoPlace => "none",
        },
        price: nodes.price().map(Price::dollars),
        share: found.jointly.map(Price::dollars),
        pods: found.together,
    })
}

fn record<'a>(story: &Story, recorded: &'a Recorded) -> Record<'a> {
    let kept = |verdict: &'a Verdict| Kept {
        side: side(verdict.side),
        why: verdict.why.word(),
        since: words::moment(verdict.since).to_string(),
        looked: words::moment(verdict.looked).to_string(),
        age_seconds: verdict.age(story.as_of),
        against: verdict.against,
        fargate: verdict.found.target.as_ref().map(there),
        nodes: nodes(&verdict.found),
    };
    let (template, verdict) = match recorded {
        Recorded::Verdict(verdict) => ("same", Some(kept(verdict))),
        Recorded::OtherTemplate(verdict) => ("other", Some(kept(verdict))),
        Recorded::Nothing => ("none", None),
    };
    Record { template, says: words::record(story, recorded), verdict }
}
