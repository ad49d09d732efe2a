//! Fields of a policy, checked: what the API server lets in may be of an older schema, or none at all.

use std::collections::BTreeSet;

use stowage_api::{Operator, Requirement, duration};
use stowage_pricing::fargate::{MAX_LABELS, MAX_SELECTORS, Profile, ProfileSelector};
use stowage_pricing::fits_glob;
use stowage_solver::Price;

use crate::object;
use crate::policy::{Caps, Invalid, Mode, Never, Policy, PolicyError};
use crate::selector::Selector;

/// Pods that are recreated a minute where a policy does not say.
const PER_MINUTE: i64 = 10;
/// The kinds that never go where a policy does not say.
const NEVER: [Never; 2] = [Never::DoNotDisrupt, Never::JobWithoutTtl];
/// Seconds that pods may wait on Fargate where a policy does not say.
const PENDING_TIMEOUT: u64 = 300;
/// The shortest. Fargate brings up a machine for each pod and pulls its images anew, which takes one to two minutes: sooner,
/// pods would be made anew for ever that are about to start.
const LEAST_TIMEOUT: u64 = 120;
/// A subnet that stands for a zone that a policy states: no id of a subnet begins so.
pub(crate) const ZONE: &str = "zone:";

/// What is wrong with a policy: fields, and what about them.
#[derive(Default)]
pub(crate) struct Faults(Vec<(String, String)>);

impl Faults {
    fn add(&mut self, field: impl Into<String>, problem: impl Into<String>) {
        self.0.push((field.into(), problem.into()));
    }

    /// The policy, if nothing is wrong with it; else what is, and the policy as one that keeps its pods on nodes.
    pub(crate) fn or(self, policy: Policy) -> Result<Policy, Invalid> {
        if self.0.is_empty() {
            return Ok(policy);
        }
        let error = |(field, problem)| PolicyError { policy: policy.id.clone(), field, problem };
        let errors = self.0.into_iter().map(error).collect();
        let named = !policy.id.name.is_empty();
        let refusing = named.then(|| Box::new(Policy { mode: Mode::Never, invalid: true, ..policy }));
        Err(Invalid { errors, refusing })
    }
}

/// A word of a policy for a message: no control characters, and not too long.
fn quoted(word: &str) -> String {
    format!("{:?}", word.chars().take(60).collect::<String>())
}

pub(crate) fn selector(of: &object::LabelSelector, field: &str, faults: &mut Faults) -> Selector {
    let plain =
        |key: &str, operator, values| Requirement { key: key.to_owned(), operator, values, min_values: None };
    let mut all: Vec<Requirement> =
        of.match_labels.iter().map(|(k, v)| plain(k, Operator::In, vec![v.clone()])).collect();
    for (at, expression) in of.match_expressions.iter().enumerate() {
        let field = || format!("{field}.matchExpressions[{at}]");
        let known = [Operator::In, Operator::NotIn, Operator::Exists, Operator::DoesNotExist];
        let Some(operator) = known.into_iter().find(|o| o.name() == expression.operator) else {
            let problem = format!(
                "{} is no operator: write In, NotIn, Exists or DoesNotExist",
                quoted(&expression.operator)
            );
            faults.add(format!("{}.operator", field()), problem);
            continue;
        };
        let needs = matches!(operator, Operator::In | Operator::NotIn);
        if needs == expression.values.is_empty() {
            let what = if needs { "needs at least one value" } else { "takes no values" };
            faults.add(format!("{}.values", field()), format!("{operator} {what}"));
        }
        all.push(plain(&expression.key, operator, expression.values.clone()));
    }
    Selector::new(all)
}

pub(crate) fn mode(routing: &object::Spec, faults: &mut Faults) -> Mode {
    let tolerance = routing.tolerance_percent;
    if tolerance.is_some() && routing.mode != "WhenCheaper" {
        faults.add("spec.tolerancePercent", "is for the mode WhenCheaper only: leave it out");
    }
    let tolerance_percent = u32::try_from(tolerance.unwrap_or(0)).unwrap_or_else(|_| {
        faults
            .add("spec.tolerancePercent", "is below zero: write how much more Fargate may cost, in percent");
        0
    });
    match routing.mode.as_str() {
        "Never" => Mode::Never,
        "WhenCheaper" => Mode::WhenCheaper { tolerance_percent },
        "Always" => Mode::Always,
        "WhenNoRoom" => Mode::WhenNoRoom,
        other => {
            let problem =
                format!("{} is no mode: write Never, WhenCheaper, Always or WhenNoRoom", quoted(other));
            faults.add("spec.mode", problem);
            Mode::Never
        }
    }
}

pub(crate) fn caps(caps: &object::Caps, faults: &mut Faults) -> Caps {
    let pods = caps.max_pods.and_then(|n| {
        let read = u32::try_from(n).ok();
        if read.is_none() {
            faults.add("spec.caps.maxPods", format!("{n} is no number of pods: write 0 or more"));
        }
        read
    });
    let hourly = caps.max_hourly_cost.as_deref().and_then(|text| {
        let read = dollars(text);
        if read.is_none() {
            let problem = format!(
                "{} is no amount of dollars an hour: write a number with at most six decimals, as \"2.50\"",
                quoted(text)
            );
            faults.add("spec.caps.maxHourlyCost", problem);
        }
        read
    });
    Caps { pods, hourly }
}

/// Exact dollars, as `2.50`.
fn dollars(text: &str) -> Option<Price> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits =
        |s: &str, most: usize| (1..=most).contains(&s.len()) && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole, 7) || !digits(part, 6) {
        return None;
    }
    let micros = whole.parse::<i64>().ok()? * 1_000_000 + format!("{part:0<6}").parse::<i64>().ok()?;
    Some(Price::from_micros(micros))
}

fn seconds(text: &str, field: &str, faults: &mut Faults) -> Option<u64> {
    let read = duration(text).map(|d| d.as_secs());
    if read.is_none() {
        faults.add(field, format!("{} is no duration: write one as 90s, 5m or 1h30m", quoted(text)));
    }
    read
}

pub(crate) fn life(life: &object::ExpectedLife, faults: &mut Faults) -> (Option<u64>, Option<u64>) {
    let min = life.min.as_deref().and_then(|text| seconds(text, "spec.expectedLife.min", faults));
    let max = life.max.as_deref().and_then(|text| seconds(text, "spec.expectedLife.max", faults));
    if min.zip(max).is_some_and(|(min, max)| min > max) {
        faults.add("spec.expectedLife", "min is longer than max, so no pod would ever go");
    }
    (min, max)
}

pub(crate) fn never(words: Option<&[String]>, faults: &mut Faults) -> BTreeSet<Never> {
    let Some(words) = words else { return BTreeSet::from(NEVER) };
    let mut all = BTreeSet::new();
    for (at, word) in words.iter().enumerate() {
        all.insert(match word.as_str() {
            "DoNotDisrupt" => Never::DoNotDisrupt,
            "JobWithoutTTL" => Never::JobWithoutTtl,
            "Job" => Never::Job,
            "StatefulSet" => Never::StatefulSet,
            "BarePod" => Never::BarePod,
            other => {
                let problem = format!(
                    "{} is no kind: write DoNotDisrupt, JobWithoutTTL, Job, StatefulSet or BarePod",
                    quoted(other)
                );
                faults.add(format!("spec.neverRoute[{at}]"), problem);
                continue;
            }
        });
    }
    all
}

pub(crate) fn profiles(
    terms: &[object::ProfileTerm],
    namespace: Option<&str>,
    faults: &mut Faults,
) -> Vec<Profile> {
    let mut names = BTreeSet::new();
    let mut all = Vec::new();
    for (at, term) in terms.iter().enumerate() {
        let field = format!("spec.profiles[{at}]");
        if term.name.is_empty() || !names.insert(term.name.as_str()) {
            let what = if term.name.is_empty() { "is missing" } else { "stands there twice" };
            faults
                .add(format!("{field}.name"), format!("{what}: write the name that the profile has in EKS"));
        }
        if !(1..=MAX_SELECTORS).contains(&term.selectors.len()) {
            let problem =
                format!("a profile has 1 to {MAX_SELECTORS} selectors, not {}", term.selectors.len());
            faults.add(format!("{field}.selectors"), problem);
        }
        for (number, selector) in term.selectors.iter().enumerate() {
            let field = format!("{field}.selectors[{number}]");
            if selector.namespace.is_empty() {
                faults.add(format!("{field}.namespace"), "is missing: write a namespace, or *");
            }
            if selector.labels.len() > MAX_LABELS {
                let problem =
                    format!("a selector has at most {MAX_LABELS} labels, not {}", selector.labels.len());
                faults.add(format!("{field}.labels"), problem);
            }
        }
        if let Some(own) = namespace
            && !term.selectors.is_empty()
            && !term.selectors.iter().any(|s| fits_glob(&s.namespace, own))
        {
            let problem = format!("none is about the namespace {} of this policy", quoted(own));
            faults.add(format!("{field}.selectors"), problem);
        }
        let selectors = term
            .selectors
            .iter()
            .map(|s| ProfileSelector { namespace: s.namespace.clone(), labels: s.labels.clone() });
        let subnets = term.zones.iter().map(|zone| format!("{ZONE}{zone}"));
        all.push(Profile {
            name: term.name.clone(),
            selectors: selectors.collect(),
            subnets: subnets.collect(),
        });
    }
    all
}

pub(crate) fn rate(pending: &object::Pending, faults: &mut Faults) -> Option<u32> {
    let rate = u32::try_from(pending.per_minute.unwrap_or(PER_MINUTE)).ok().filter(|n| *n > 0);
    if rate.is_none() {
        faults
            .add("spec.pending.perMinute", "is below one: leave out spec.pending.recreate to recreate none");
    }
    rate.filter(|_| pending.recreate)
}

pub(crate) fn timeout(guard: &object::Guard, faults: &mut Faults) -> u64 {
    let field = "spec.guard.pendingTimeout";
    let read = guard.pending_timeout.as_deref().and_then(|t| seconds(t, field, faults));
    if read.is_some_and(|seconds| seconds < LEAST_TIMEOUT) {
        faults.add(field, "is shorter than 2m: Fargate takes a minute or more to start a pod that is well");
    }
    read.unwrap_or(PENDING_TIMEOUT)
}
