//! Words for what the solver names: rules, obstacles, prices of resources.

use stowage_solver::explain::{Binding, Cheaper, Hurdle, HurdleSort, PodRule, Rule, Unfit};
use stowage_solver::{PodId, Problem, ResourceId, TopologyKey};

use crate::text::count;
use stowage_cluster::words::amount;
use stowage_cluster::words::reason::{pool_name, resource_name};

/// Pods by one of them: `shop/web-0 and 5 more`.
pub(super) fn pods(problem: &Problem, pod: PodId, pods: u32) -> String {
    let name = pod_name(problem, pod);
    match pods {
        0 | 1 => name.to_owned(),
        n => format!("{name} and {} more", crate::text::thousands(u64::from(n) - 1)),
    }
}

fn pod_name(problem: &Problem, pod: PodId) -> &str {
    problem.pods.get(pod.index()).map_or("?", |p| p.name.as_str())
}

/// A node label as people call it.
pub(super) fn label(problem: &Problem, key: &str) -> String {
    if key == problem.zone_key { "zone".to_owned() } else { key.to_owned() }
}

fn domains(problem: &Problem, key: &TopologyKey) -> String {
    match key {
        TopologyKey::Host => "host".to_owned(),
        TopologyKey::Label(key) => label(problem, key),
    }
}

/// The sort of a rule, for programs.
pub(super) fn rule_sort(rule: &Rule) -> &'static str {
    match rule {
        Rule::Spread(_) => "spread",
        Rule::AntiAffinity(_) => "anti-affinity",
        Rule::Affinity(_) => "affinity",
        Rule::NodeConstraint { .. } => "node-constraint",
        Rule::Limits(_) => "limits",
        Rule::Weights => "weights",
        Rule::Daemon(_) => "daemon-set",
        Rule::MaxPods(_) => "max-pods",
    }
}

/// A rule by name: `zone spread of shop/web-0 and 5 more`.
pub(super) fn rule(problem: &Problem, rule: &Rule) -> String {
    let between = |what: &str, r: &PodRule| {
        format!("{} {what} of {}", domains(problem, &r.key), pods(problem, r.pod, r.pods))
    };
    match rule {
        Rule::Spread(r) => between("spread", r),
        Rule::AntiAffinity(r) => between("anti-affinity", r),
        Rule::Affinity(r) => between("affinity", r),
        Rule::NodeConstraint { source, wanted, pod, pods: n } => {
            format!("{source} of {}: {wanted}", pods(problem, *pod, *n))
        }
        Rule::Limits(pool) => format!("limits of NodePool {}", pool_name(problem, *pool)),
        Rule::Weights => "weights of NodePools".to_owned(),
        Rule::Daemon(daemon) => {
            let name = problem.daemons.get(daemon.index()).map_or("?", |d| d.name.as_str());
            format!("DaemonSet {name}")
        }
        Rule::MaxPods(_) => "how many pods a node may run".to_owned(),
    }
}

/// What keeps another pod off a node.
pub(super) fn binding(problem: &Problem, binding: &Binding) -> String {
    match binding {
        Binding::Resource(resource) => {
            format!("full, no {} for another pod", resource_name(problem, *resource))
        }
        Binding::HostRule(pod) => {
            format!("full, a rule between pods of one host keeps more like {} away", pod_name(problem, *pod))
        }
        Binding::Nothing => "not full, there are no more pods of these".to_owned(),
    }
}

/// The sort of an obstacle, for programs.
pub(super) fn hurdle_sort(sort: HurdleSort) -> &'static str {
    match sort {
        HurdleSort::Taint => "taint",
        HurdleSort::Constraint => "node-constraint",
        HurdleSort::HostPort => "host-port",
        HurdleSort::MinValues => "min-values",
        HurdleSort::Room(_) => "room",
        HurdleSort::Domain => "domain",
        HurdleSort::Limit => "limit",
        HurdleSort::Spent => "spent",
        HurdleSort::Weight => "weight",
        HurdleSort::NotSold => "not-sold",
        HurdleSort::Nothing => "none",
    }
}

/// A count of obstacles of one sort: `lack memory`.
pub(super) fn hurdle_count(problem: &Problem, sort: HurdleSort) -> String {
    match sort {
        HurdleSort::Taint => "have a taint".to_owned(),
        HurdleSort::Constraint => "are excluded by the pods' node constraints".to_owned(),
        HurdleSort::HostPort => "have a host port taken".to_owned(),
        HurdleSort::MinValues => "are of a NodePool whose minValues ask for a wider choice".to_owned(),
        HurdleSort::Room(resource) => format!("lack {}", resource_name(problem, resource)),
        HurdleSort::Domain => "are in another domain".to_owned(),
        HurdleSort::Limit => "are over a limit".to_owned(),
        HurdleSort::Spent => "draw on commitments that are spent".to_owned(),
        HurdleSort::Weight => "are of a lighter NodePool".to_owned(),
        HurdleSort::NotSold => "are not sold there".to_owned(),
        HurdleSort::Nothing => "would do".to_owned(),
    }
}

/// What keeps the pods of a node off something cheaper, as a clause.
pub(super) fn hurdle(problem: &Problem, cheaper: &Cheaper) -> String {
    let of_pods = |pod: &PodId, n: &u32| pods(problem, *pod, *n);
    match &cheaper.hurdle {
        Hurdle::Taint { taint, pod, pods } => {
            format!("taint {taint} is not tolerated by {}", of_pods(pod, pods))
        }
        Hurdle::Constraint { source, wanted, pod, pods } => {
            format!("{source} of {} wants {wanted}", of_pods(pod, pods))
        }
        Hurdle::HostPort { pod, pods } => format!("DaemonSets take a host port of {}", of_pods(pod, pods)),
        Hurdle::MinValues => {
            "the pods leave a narrower choice of what to launch than minValues of its NodePool ask for"
                .to_owned()
        }
        Hurdle::Room { lacks, holds, of } => {
            let lacks: Vec<String> = lacks
                .iter()
                .map(|(resource, amount)| amount::phrase(resource_name(problem, *resource), *amount))
                .collect();
            let holds = match (holds, of) {
                (0, 1) => "its pod".to_owned(),
                (0, _) => format!("none of {}", count(*of as usize, "pod")),
                _ => format!("{holds} of {}", count(*of as usize, "pod")),
            };
            let would = if *of == 1 { "does not hold" } else { "would hold" };
            format!("lacks {}; {would} {holds}", listed(&lacks))
        }
        Hurdle::Domain { label: key, value, pod } => {
            let value = value.as_deref().unwrap_or("nodes without it");
            format!("pods such as {} were dealt to {} {value}", pod_name(problem, *pod), label(problem, key))
        }
        Hurdle::Limit { resource } => {
            let what = resource.map_or("nodes", |r| resource_name(problem, r));
            format!("the limit on {what} of NodePool {} leaves no room", pool_name(problem, cheaper.pool))
        }
        Hurdle::Spent { quota } => format!("{quota} is spent"),
        Hurdle::Weight { weight, own } => {
            format!("NodePool {} has weight {weight}, this one {own}", pool_name(problem, cheaper.pool))
        }
        Hurdle::Pool { requirement } => {
            format!("NodePool {} requires {requirement}", pool_name(problem, cheaper.pool))
        }
        Hurdle::NotSold => "not sold in this zone with this capacity type".to_owned(),
        Hurdle::Nothing => "would do: the search did not find it".to_owned(),
    }
}

/// `a`, `a and b`, `a, b and c`.
fn listed(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Why something does not take a pod, as a clause about kinds or nodes.
pub(super) fn unfit(problem: &Problem, why: &Unfit) -> String {
    match why {
        Unfit::Taint(taint) => format!("have the taint {taint}, which is not tolerated"),
        Unfit::Constraint { source, wanted } => format!("do not have {wanted} ({source})"),
        Unfit::HostPort => "have a host port taken that the pod needs".to_owned(),
        Unfit::MinValues(key) => format!("leave too few values of {key} to choose from (minValues)"),
        Unfit::Room(resource) => format!("have too little {}", resource_name(problem, *resource)),
        Unfit::Closed => "take no new pods".to_owned(),
        Unfit::Pods => "would do, but for rules between pods, or pods that the plan puts there".to_owned(),
    }
}

/// The same for programs.
pub(super) fn unfit_sort(why: &Unfit) -> &'static str {
    match why {
        Unfit::Taint(_) => "taint",
        Unfit::Constraint { .. } => "node-constraint",
        Unfit::HostPort => "host-port",
        Unfit::MinValues(_) => "min-values",
        Unfit::Room(_) => "room",
        Unfit::Closed => "closed",
        Unfit::Pods => "pods",
    }
}

/// The unit that a resource is priced in: its name, and how many base units it is.
pub(super) fn unit(problem: &Problem, resource: ResourceId) -> (String, f64) {
    let name = resource_name(problem, resource);
    match name {
        "cpu" => ("vCPU".to_owned(), 1000.0),
        "memory" | "ephemeral-storage" | "storage" => ("GiB".to_owned(), (1u64 << 30) as f64),
        "pods" => ("pod".to_owned(), 1.0),
        _ if name.starts_with("hugepages-") => ("GiB".to_owned(), (1u64 << 30) as f64),
        _ => (name.rsplit('/').next().unwrap_or(name).to_owned(), 1.0),
    }
}
