//! Words for why a pod is on Fargate or on nodes, a line or two for each part of it.

use stowage_cluster::words::kept::lasting;
use stowage_fargate::{
    Billed, Finding, Mode, OnNodes, Policy, Root, Side, Steadiness, Target, Verdict, Why, Workload,
    no_profile,
};
use stowage_pricing::Timestamp;

use super::story::{Recorded, Story};
use crate::money::each;
use crate::render::shape_words;
use crate::text::count;

/// A part's name, and what is to be said of it. Where there is no name, it belongs to the part before.
pub(super) type Line = (&'static str, String);

/// All there is to say.
pub(super) fn lines(story: &Story) -> Vec<Line> {
    let mut lines = Vec::new();
    policies(story, &mut lines);
    lines.push(("workload", workload(story)));
    if let Some(group) = &story.group
        && let Some(life) = group.life.expected()
    {
        lines.push(("runs", format!("for {}; a node is paid for while it starts as well", lasting(life))));
    }
    if let Some(found) = &story.found {
        if let Some(text) = on_fargate(story, found) {
            lines.push(("Fargate", text));
        }
        if let Some(nodes) = found.nodes {
            lines.push(("nodes", on_nodes(nodes, found)));
        }
        lines.push(("verdict", verdict(story, found)));
    } else if story.group.is_some() {
        lines.push(("verdict", "none: it was interrupted".to_owned()));
    }
    if let Some(recorded) = &story.recorded {
        lines.push(("recorded", record(story, recorded)));
    }
    if let Some(hold) = story.hold {
        let until = moment(hold.until);
        let again =
            if hold.strikes > 1 { format!(", {} times in a row", hold.strikes) } else { String::new() };
        lines.push((
            "held",
            format!("on nodes until {until}, as Fargate did not start its pods in time{again}"),
        ));
    }
    lines.push(("pod", pod(story)));
    lines.extend(story.warnings.iter().map(|warning| ("warning", warning.clone())));
    lines
}

/// A moment as people read it.
pub(super) fn moment(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(i64::try_from(seconds).unwrap_or(i64::MAX))
}

/// What a policy wants.
fn wants(policy: &Policy) -> String {
    let mut text = policy.mode.word().to_owned();
    if let Mode::WhenCheaper { tolerance_percent: percent @ 1.. } = policy.mode {
        text = format!("{text}, up to {percent}% dearer");
    }
    text
}

fn caps(policy: &Policy) -> String {
    let pods = policy.caps.pods.map(|pods| count(pods as usize, "pod"));
    let cost = policy.caps.hourly.map(|price| format!("{price} an hour"));
    let all: Vec<String> = pods.into_iter().chain(cost).collect();
    if all.is_empty() { String::new() } else { format!("; at most {}", all.join(" and ")) }
}

fn policies(story: &Story, lines: &mut Vec<Line>) {
    let Some(policy) = &story.policy else {
        let text = match story.policies {
            0 => "none: the snapshot holds neither FargatePolicies nor ClusterFargatePolicies".to_owned(),
            1 => "none: that of the snapshot does not select it".to_owned(),
            n => format!("none: of {n} in the snapshot none selects it"),
        };
        lines.push(("policy", text));
        return;
    };
    if policy.invalid {
        let text = format!("{} selects it, and keeps it on nodes until it is mended", policy.id);
        lines.push(("policy", text));
        lines.extend(story.errors.iter().map(|error| ("", format!("{}: {}", error.field, error.problem))));
    } else {
        lines.push(("policy", format!("{}: {}{}", policy.id, wants(policy), caps(policy))));
    }
    for (other, why) in &story.overruled {
        let differs = if other.mode == policy.mode { "" } else { "; it wants something else" };
        let what = if other.invalid { "invalid".to_owned() } else { wants(other) };
        lines.push(("", format!("not {} ({what}): it {why}{differs}", other.id)));
    }
}

/// An owner as people write it: `Deployment web`.
pub(super) fn owner(workload: &Workload) -> String {
    match &workload.root {
        Root::Controller(kind, name) => format!("{kind} {name}"),
        Root::DaemonSet(name) => format!("DaemonSet {name}"),
        Root::Node => "a pod of its node".to_owned(),
        Root::Bare => "a bare pod, and those that are alike".to_owned(),
    }
}

fn workload(story: &Story) -> String {
    let Some(workload) = &story.workload else {
        return "not known: add the Job of the pod to the snapshot (kubectl get jobs)".to_owned();
    };
    let mut text = format!("{}, template {}", owner(workload), workload.template);
    let Some(group) = &story.group else { return text };
    let parts =
        [(group.waiting.len(), "waits", "wait"), (group.on_fargate.0, "is on Fargate", "are on Fargate")];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(n, ..)| *n > 0)
        .map(|(n, one, many)| format!("{n} {}", if *n == 1 { one } else { many }))
        .collect();
    if !parts.is_empty() {
        text = format!("{text}; of its pods {}", parts.join(" and "));
    }
    if group.pod != story.pod.name {
        text = format!("{text}; the newest, {}, is looked at", group.pod);
    }
    let others = story.policy.as_ref().filter(|policy| policy.id != group.policy.id);
    if others.is_some() {
        text = format!("{text}, which {} rules", group.policy.id);
    }
    text
}

/// On what, by which profile and for how much.
fn target(target: &Target) -> String {
    let labels: Vec<String> = target.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let with =
        if labels.is_empty() { String::new() } else { format!(", with the label {}", labels.join(", ")) };
    format!(
        "{} an hour for {}, by profile {}{with}",
        each(target.price),
        shape_words(target.shape),
        target.profile
    )
}

fn on_fargate(story: &Story, found: &Finding) -> Option<String> {
    match (&found.target, &found.why) {
        (Some(of), _) => Some(target(of)),
        (None, Why::Forbidden(why)) => Some(format!("not possible: {}", why.join("; "))),
        (None, Why::NoProfile) => {
            let stated = story.policy.as_ref().is_some_and(|policy| !policy.profiles.is_empty());
            if !story.profiles_known && !stated {
                return Some(
                    "no profile is known: name them in spec.profiles of the policy, add FargateProfiles to the snapshot, \
                     or give --fargate-profiles FILE"
                        .to_owned(),
                );
            }
            let namespace = story.workload.as_ref().map(|workload| workload.namespace.as_str());
            Some(no_profile(&namespace.into_iter().collect()))
        }
        _ => None,
    }
}

fn on_nodes(nodes: OnNodes, found: &Finding) -> String {
    let alone = match (nodes, found.together) {
        (OnNodes::Room, _) => {
            "nothing: there is room on nodes that are there, or are bought anyway".to_owned()
        }
        (OnNodes::NoPlace, _) => "no place: none that is there or could be bought holds it".to_owned(),
        (OnNodes::Bought(price), 0 | 1) => {
            format!("{} an hour, which the plan costs more with it than without", each(price))
        }
        (OnNodes::Bought(price), pods) => {
            format!(
                "{} an hour for each of {pods}, which the plan costs more with them than without",
                each(price)
            )
        }
    };
    match found.jointly {
        Some(share) => {
            format!("{alone}; {} as its share, where other workloads come along", each(share))
        }
        None => alone,
    }
}

/// The side, as a place to go to.
pub(super) fn side(side: Side) -> &'static str {
    if side == Side::Fargate { "Fargate" } else { "nodes" }
}

/// What was found now.
pub(super) fn verdict(story: &Story, found: &Finding) -> String {
    let policy = story.group.as_ref().map(|group| &group.policy).or(story.policy.as_ref());
    let invalid = policy.is_some_and(|policy| policy.invalid);
    let tolerance = match policy.map(|policy| policy.mode) {
        Some(Mode::WhenCheaper { tolerance_percent: percent @ 1.. }) => {
            format!(", the tolerance of {percent}% counted")
        }
        _ => String::new(),
    };
    let cheaper = match found.lead_percent {
        None | Some(0) => "as dear or less".to_owned(),
        Some(percent) => format!("cheaper by {percent}%"),
    };
    let why = match (&found.why, found.side) {
        (Why::Forbidden(_), _) => "rules forbid Fargate".to_owned(),
        (Why::NoProfile, _) => "no profile takes it".to_owned(),
        (Why::Never, _) if invalid => "the policy cannot be understood".to_owned(),
        (Why::Never, _) => "the policy says so".to_owned(),
        (Why::Always, _) => "the policy wants it wherever that can be".to_owned(),
        (Why::Room, _) => "there is room".to_owned(),
        (Why::NoPlace, _) => "no node holds it".to_owned(),
        (Why::NoRoom, _) => "there is no room, and the policy looks no further".to_owned(),
        (Why::Cost | Why::Steady, _) => format!("{cheaper}{tolerance}"),
    };
    format!("{}: {why}", side(found.side))
}

/// What a record says.
pub(super) fn record(story: &Story, recorded: &Recorded) -> String {
    let (verdict, same) = match recorded {
        Recorded::Nothing => return "nothing, so its next pod goes to nodes".to_owned(),
        Recorded::Verdict(verdict) => (verdict, true),
        Recorded::OtherTemplate(verdict) => (verdict, false),
    };
    let mut text = format!(
        "{} since {}, looked at {} before the snapshot",
        side(verdict.side),
        moment(verdict.since),
        lasting(verdict.age(story.as_of))
    );
    if !same {
        text =
            format!("{text}, for another template; the next pod follows that if it needs and costs no more");
    }
    let ruling = story.policy.as_ref().map(|policy| (&policy.id, policy.version));
    if ruling != Some((&verdict.found.policy.0, verdict.found.policy.1)) {
        return format!("{text}; of another policy or version of it, so it is not followed");
    }
    if let Some(price) = verdict.found.price_on_nodes().filter(|_| verdict.side == Side::Fargate) {
        text = format!("{text}; nodes were {} an hour", each(price));
    }
    let turned = story.found.as_ref().is_some_and(|found| found.side != verdict.side);
    if turned || verdict.against > 0 { format!("{text}; {}", steady(verdict)) } else { text }
}

fn steady(verdict: &Verdict) -> String {
    let Steadiness { margin_percent, looks } = Steadiness::default();
    let mut text =
        format!("it changes when the other side is better by {margin_percent}% in {looks} looks in a row");
    if verdict.against > 0 {
        text = format!("{text}, as in the last {}", verdict.against);
    }
    text
}

/// Where the pod is, and what becomes of that.
fn pod(story: &Story) -> String {
    let pod = &story.pod;
    let found = story.found.as_ref().map(|found| found.side);
    if pod.on_fargate {
        let does = match (pod.over, &pod.node) {
            (true, _) => "has ended on",
            (false, Some(_)) => "runs on",
            (false, None) => "waits for",
        };
        let by = pod.profile.as_ref().map_or(String::new(), |profile| format!(" by profile {profile}"));
        let price = pod.price.map_or(String::new(), |price| format!(" for {} an hour", each(price)));
        let home = story.hold.is_some() || found == Some(Side::Ec2);
        let stays = if home { "; it stays there until it is made anew" } else { "" };
        return format!(
            "{does} Fargate{by}{price}; {}{stays}",
            bill(pod.planned.map(Billed::of), pod.billed)
        );
    }
    let to_fargate = story.hold.is_none() && found == Some(Side::Fargate);
    match &pod.node {
        Some(node) if pod.over => format!("has ended on node {node}"),
        Some(node) if to_fargate => format!("runs on node {node}, and stays there until it is made anew"),
        Some(node) => format!("runs on node {node}"),
        None if !pod.waits => "neither runs nor waits for a node now".to_owned(),
        None if to_fargate => {
            format!("waits for a node, as that is decided when a pod is made; {}", anew(story))
        }
        None => "waits for a node".to_owned(),
    }
}

/// What becomes of a pod that waits for a node and belongs on Fargate.
fn anew(story: &Story) -> &'static str {
    let by_owner = story.workload.as_ref().is_some_and(Workload::is_endless);
    match story.policy.as_ref().and_then(|policy| policy.recreate_per_minute).filter(|_| by_owner) {
        Some(_) => "by spec.pending.recreate it is deleted for its owner to make it anew",
        None if by_owner => "with spec.pending.recreate it would be made anew",
        None => "the next one that is made goes to Fargate",
    }
}

fn bill(planned: Option<Billed>, billed: Option<Billed>) -> String {
    match (planned, billed) {
        (Some(planned), Some(billed)) if planned == billed => format!("billed as planned, {billed}"),
        (Some(planned), Some(billed)) => format!("billed {billed}, and {planned} were planned"),
        (None, Some(billed)) => format!("billed {billed}"),
        (Some(planned), None) => format!("planned as {planned}; what is billed Fargate has not said"),
        (None, None) => "what is billed is not known".to_owned(),
    }
}
