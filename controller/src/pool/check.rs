//! What is wrong with a `NodePool` that the schema cannot tell, or that an older schema let in.
//!
//! compat: karpenter v1.14, `NodePool.RuntimeValidate`.

use std::collections::BTreeSet;

use stowage_api::crd::{NodePoolSpec, Requirement, Taint};
use stowage_api::well_known::{
    CAPACITY_TYPE, DEFAULT_TENANCY, HOSTNAME, INSTANCE_TENANCY, NODE_POOL, ON_DEMAND, RESERVED, SPOT,
    is_restricted, stable,
};

/// Labels whose values are known, all of them.
const CLOSED: [(&str, &[&str]); 2] =
    [(CAPACITY_TYPE, &[ON_DEMAND, RESERVED, SPOT]), (INSTANCE_TENANCY, &[DEFAULT_TENANCY, "dedicated"])];

const OPERATORS: [&str; 8] = ["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "Gte", "Lte"];

/// All that is wrong, each with its field and what to do. Nothing where nothing is.
pub fn problems(spec: &NodePoolSpec) -> Vec<String> {
    let template = &spec.template;
    let mut found = Vec::new();
    for (key, value) in &template.metadata.labels {
        let field = format!("spec.template.metadata.labels[{key}]");
        if key == NODE_POOL || !may_be_named(key) {
            found.push(format!("{field}: this label is set by the provisioner; take it out"));
        }
        found.extend(name(key).map(|why| format!("{field}: the key {why}")));
        found.extend(label_value(value).map(|why| format!("{field}: the value {value:?} {why}")));
    }
    let mut pairs = BTreeSet::new();
    let lists = [("taints", &template.spec.taints), ("startupTaints", &template.spec.startup_taints)];
    for (list, at, taint) in lists.iter().flat_map(|(n, l)| l.iter().enumerate().map(move |(i, t)| (n, i, t)))
    {
        let field = format!("spec.template.spec.{list}[{at}]");
        found.extend(taint_problems(taint).into_iter().map(|why| format!("{field}: {why}")));
        if !pairs.insert((&taint.key, &taint.effect)) {
            found.push(format!(
                "{field}: {}:{} stands in the taints twice; a node can carry it only once",
                taint.key, taint.effect
            ));
        }
    }
    for (at, requirement) in template.spec.requirements.iter().enumerate() {
        let field = format!("spec.template.spec.requirements[{at}] ({})", requirement.key);
        found.extend(requirement_problems(requirement).into_iter().map(|why| format!("{field}: {why}")));
    }
    found
}

/// Whether users may name a label: the documented ones of restricted domains, and all others but the host's name.
fn may_be_named(key: &str) -> bool {
    key != HOSTNAME && (!is_restricted(key) || DOCUMENTED.contains(&key) || key.starts_with(INSTANCE))
}

const INSTANCE: &str = "karpenter.k8s.aws/instance-";
const DOCUMENTED: [&str; 9] = [
    CAPACITY_TYPE,
    stowage_api::well_known::ZONE_ID,
    stowage_api::well_known::EC2_NODE_CLASS,
    stowage_api::well_known::NITRO_SANDBOX,
    stowage_api::well_known::CAPACITY_RESERVATION_ID,
    stowage_api::well_known::CAPACITY_RESERVATION_TYPE,
    stowage_api::well_known::CAPACITY_RESERVATION_INTERRUPTIBLE,
    stowage_api::well_known::PLACEMENT_GROUP_ID,
    stowage_api::well_known::PLACEMENT_GROUP_PARTITION,
];

fn taint_problems(taint: &Taint) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(name(&taint.key).map(|why| format!("the key {:?} {why}", taint.key)));
    if !taint.value.is_empty() {
        found.extend(name(&taint.value).map(|why| format!("the value {:?} {why}", taint.value)));
    }
    if !["NoSchedule", "PreferNoSchedule", "NoExecute", ""].contains(&taint.effect.as_str()) {
        found.push(format!("{:?} is no effect: NoSchedule, PreferNoSchedule or NoExecute", taint.effect));
    }
    found
}

fn requirement_problems(requirement: &Requirement) -> Vec<String> {
    let (key, operator, values) =
        (stable(&requirement.key), requirement.operator.as_str(), &requirement.values);
    let mut found = Vec::new();
    if key == NODE_POOL || !may_be_named(key) {
        found.push("no requirement may be on this label; take it out".to_owned());
    }
    found.extend(name(key).map(|why| format!("the key {why}")));
    if !OPERATORS.contains(&operator) {
        found.push(format!("{operator:?} is no operator: {}", OPERATORS.join(", ")));
    }
    for value in values {
        found.extend(label_value(value).map(|why| format!("the value {value:?} {why}")));
    }
    let least = requirement.min_values.unwrap_or_default();
    let enough = |count: usize| i64::try_from(count).is_ok_and(|count| count >= least);
    match operator {
        "In" if values.is_empty() => found.push("operator In needs at least one value".to_owned()),
        "In" if !enough(values.len()) => {
            found.push(format!("minValues is {least}, and there are {} values to choose from", values.len()));
        }
        "In" => {
            if let Some((_, known)) = CLOSED.iter().find(|(label, _)| *label == key) {
                let good = values.iter().filter(|v| known.contains(&v.as_str())).count();
                if good == 0 {
                    found.push(format!(
                        "none of {} is one of its values: {}",
                        values.join(", "),
                        known.join(", ")
                    ));
                } else if !enough(good) {
                    found.push(format!(
                        "minValues is {least}, and {good} of the values are any: {}",
                        known.join(", ")
                    ));
                }
            }
        }
        "Gt" | "Lt" | "Gte" | "Lte" => {
            let whole = |v: &String| v.parse::<u64>().is_ok_and(|n| i64::try_from(n).is_ok());
            if values.len() != 1 || !values.iter().all(whole) {
                found.push(format!(
                    "operator {operator} needs exactly one value, a whole number of at least 0"
                ));
            }
        }
        _ => {}
    }
    found
}

/// What is wrong with the name of a label or taint: a word of 63 characters, and a domain before it where there is a slash.
fn name(text: &str) -> Option<&'static str> {
    let (domain, word) = text.split_once('/').map_or((None, text), |(domain, word)| (Some(domain), word));
    let part = |p: &str| {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        p.bytes().next().is_some_and(inner)
            && p.bytes().last().is_some_and(inner)
            && p.bytes().all(|b| inner(b) || b == b'-')
    };
    if domain.is_some_and(|d| d.len() > 253 || !d.split('.').all(part)) {
        return Some("has before its slash what is no DNS name in lower case");
    }
    (word.is_empty() || label_value(word).is_some())
        .then_some("must be 1 to 63 letters, digits, -, _ or ., with a letter or digit at both ends")
}

fn label_value(text: &str) -> Option<&'static str> {
    let ends = text.bytes().next().into_iter().chain(text.bytes().last()).all(|b| b.is_ascii_alphanumeric());
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (text.len() > 63 || !ends || !text.bytes().all(good))
        .then_some("must be at most 63 letters, digits, -, _ or ., with a letter or digit at both ends")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn found(template: Value) -> Vec<String> {
        let mut template = template;
        template["spec"]["nodeClassRef"] = json!({"group": "g", "kind": "k", "name": "n"});
        if template["spec"].get("requirements").is_none() {
            template["spec"]["requirements"] = json!([]);
        }
        problems(&serde_json::from_value(json!({"template": template})).expect("a NodePool's spec"))
    }

    fn of_requirement(key: &str, operator: &str, values: &[&str], least: Option<u64>) -> String {
        let mut requirement = json!({"key": key, "operator": operator, "values": values});
        if let Some(least) = least {
            requirement["minValues"] = json!(least);
        }
        found(json!({"spec": {"requirements": [requirement]}})).join("; ")
    }

    #[test]
    fn what_is_right_has_no_problems() {
        let found = found(json!({
            "metadata": {"labels": {"team": "a", "example.com/tier": "", "karpenter.k8s.aws/instance-family": "m7i"}},
            "spec": {
                "taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoExecute"}],
                "startupTaints": [{"key": "node.cilium.io/agent-not-ready", "value": "true", "effect": "NoExecute"}],
                "requirements": [
                    {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["spot", "typo"]},
                    {"key": "karpenter.k8s.aws/instance-cpu", "operator": "Gt", "values": ["3"]},
                    {"key": "topology.k8s.aws/zone-id", "operator": "In", "values": ["use1-az1"]},
                    {"key": "beta.kubernetes.io/arch", "operator": "Exists"},
                ],
            },
        }));
        assert_eq!(found, Vec::<String>::new());
    }

    #[test]
    fn each_problem_names_its_field_and_what_to_do() {
        let of = |template| found(template).join("; ");
        let labels = |labels: Value| of(json!({"metadata": {"labels": labels}}));
        for (found, says) in [
            (
                labels(json!({"karpenter.sh/nodepool": "a"})),
                "spec.template.metadata.labels[karpenter.sh/nodepool]: this label is set",
            ),
            (labels(json!({"kubernetes.io/hostname": "a"})), "take it out"),
            (labels(json!({"-a": "b"})), "the key must be 1 to 63"),
            (labels(json!({"A.b/c": "b"})), "no DNS name in lower case"),
            (labels(json!({"a": "b-"})), "the value \"b-\" must be at most 63"),
            (
                of(json!({"spec": {"taints": [{"key": "a", "effect": "Never"}]}})),
                "spec.template.spec.taints[0]: \"Never\" is no effect",
            ),
            (
                of(json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}],
                    "startupTaints": [{"key": "a", "value": "b", "effect": "NoSchedule"}]}})),
                "spec.template.spec.startupTaints[0]: a:NoSchedule stands in the taints twice",
            ),
            (
                of_requirement("karpenter.sh/nodepool", "Exists", &[], None),
                "spec.template.spec.requirements[0] (karpenter.sh/nodepool): no requirement",
            ),
            (
                of_requirement("karpenter.sh/registered", "Exists", &[], None),
                "no requirement may be on this label",
            ),
            (of_requirement("a", "Near", &["b"], None), "\"Near\" is no operator: In, NotIn"),
            (of_requirement("a", "In", &[], None), "operator In needs at least one value"),
            (of_requirement("a", "In", &["b"], Some(2)), "minValues is 2, and there are 1 values"),
            (
                of_requirement("karpenter.sh/capacity-type", "In", &["sport"], None),
                "none of sport is one of its values: on-demand, reserved, spot",
            ),
            (
                of_requirement("karpenter.sh/capacity-type", "In", &["spot", "x"], Some(2)),
                "minValues is 2, and 1 of the values",
            ),
            (of_requirement("a", "Gt", &["-1"], None), "operator Gt needs exactly one value"),
            (of_requirement("a", "Lte", &["1", "2"], None), "operator Lte needs exactly one value"),
        ] {
            assert!(found.contains(says), "{says} in {found:?}");
        }
    }
}
