//! Which rules a cluster exercises: those that its pending pods, nodes or `NodePool`s state.

mod cluster;
mod device;
mod pod;
mod topology;

use std::collections::BTreeSet;

use serde_json::Value;

use super::plan::Plan;
use crate::case::Case;

/// Every rule, in words, and how to see it in a pending pod.
type OfPod = (&'static str, fn(&Value, &Case) -> bool);

/// Every rule, in words, and how to see it in a cluster.
type OfCase = (&'static str, fn(&Case) -> bool);

/// Every rule, in words, and how to see it in a plan.
type OfPlan = (&'static str, fn(&Plan) -> bool);

const ZONE: &str = "topology.kubernetes.io/zone";
const HOST: &str = "kubernetes.io/hostname";
pub(super) const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn hard(pod: &Value) -> impl Iterator<Item = &Value> {
    list(&pod["spec"]["topologySpreadConstraints"]).filter(|c| c["whenUnsatisfiable"] == "DoNotSchedule")
}

fn anti(pod: &Value) -> impl Iterator<Item = &Value> {
    list(&pod["spec"]["affinity"]["podAntiAffinity"][REQUIRED])
}

fn near(pod: &Value) -> impl Iterator<Item = &Value> {
    list(&pod["spec"]["affinity"]["podAffinity"][REQUIRED])
}

fn terms(pod: &Value) -> impl Iterator<Item = &Value> {
    list(&pod["spec"]["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"])
}

fn expressions(pod: &Value) -> impl Iterator<Item = &Value> {
    terms(pod).flat_map(|t| list(&t["matchExpressions"]))
}

fn running(case: &Case) -> impl Iterator<Item = &Value> {
    case.of_kind("Pod").filter(|pod| pod["spec"]["nodeName"].is_string())
}

fn alike(a: &Value, b: &Value) -> bool {
    a["metadata"]["namespace"] == b["metadata"]["namespace"]
        && a["metadata"]["labels"]["app"] == b["metadata"]["labels"]["app"]
}

fn claims<'a>(pod: &'a Value, case: &'a Case) -> impl Iterator<Item = &'a Value> {
    list(&pod["spec"]["volumes"]).filter_map(move |volume| {
        case.of_kind("PersistentVolumeClaim").find(|claim| {
            claim["metadata"]["namespace"] == pod["metadata"]["namespace"]
                && claim["metadata"]["name"] == volume["persistentVolumeClaim"]["claimName"]
        })
    })
}

/// Storage classes of the claims of a pod that are not bound.
fn unbound<'a>(pod: &'a Value, case: &'a Case) -> impl Iterator<Item = &'a Value> {
    claims(pod, case).filter(|c| c["spec"]["volumeName"].is_null()).map(|c| &c["spec"]["storageClassName"])
}

/// Whether a pod has a claim that this object is, or is made from.
fn names(pod: &Value, object: &Value, by: &str) -> bool {
    pod["metadata"]["namespace"] == object["metadata"]["namespace"]
        && list(&pod["spec"]["resourceClaims"]).any(|r| r[by] == object["metadata"]["name"])
}

/// What the claims of a pod ask for.
fn asked<'a>(pod: &'a Value, case: &'a Case) -> impl Iterator<Item = &'a Value> {
    let made = case.of_kind("ResourceClaimTemplate").filter(|t| names(pod, t, "resourceClaimTemplateName"));
    let named = case.of_kind("ResourceClaim").filter(|c| names(pod, c, "resourceClaimName"));
    made.map(|t| &t["spec"]["spec"]["devices"]).chain(named.map(|c| &c["spec"]["devices"]))
}

/// Requests without alternatives.
fn exact<'a>(pod: &'a Value, case: &'a Case) -> impl Iterator<Item = &'a Value> {
    asked(pod, case).flat_map(|d| list(&d["requests"])).map(|r| &r["exactly"])
}

/// Whether a volume of a pod says by this label where it is.
fn is_bound_by(pod: &Value, case: &Case, key: &str) -> bool {
    claims(pod, case).any(|claim| {
        case.of_kind("PersistentVolume").any(|volume| {
            volume["metadata"]["name"] == claim["spec"]["volumeName"]
                && list(&volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"])
                    .any(|term| list(&term["matchExpressions"]).any(|e| e["key"] == key))
        })
    })
}

/// Whether a selector selects a pod, namespaces aside.
fn selects(selector: &Value, pod: &Value) -> bool {
    let label = |key: &Value| key.as_str().map_or(&Value::Null, |key| &pod["metadata"]["labels"][key]);
    let equal = selector["matchLabels"].as_object().into_iter().flatten();
    let mut equal = equal.map(|(key, value)| pod["metadata"]["labels"][key] == *value);
    let mut holds = list(&selector["matchExpressions"]).map(|e| {
        let (value, among) = (label(&e["key"]), |value: &Value| list(&e["values"]).any(|v| v == value));
        match e["operator"].as_str() {
            Some("In") => among(value),
            Some("NotIn") => !among(value),
            Some("Exists") => !value.is_null(),
            _ => value.is_null(),
        }
    });
    equal.all(|holds| holds) && holds.all(|holds| holds)
}

fn pool_requirements(pool: &Value) -> impl Iterator<Item = &Value> {
    list(&pool["spec"]["template"]["spec"]["requirements"])
}

fn has_min_values(case: &Case) -> bool {
    case.of_kind("NodePool").any(|pool| pool_requirements(pool).any(|r| r["minValues"].is_u64()))
}

fn is_tainted(pool: &Value) -> bool {
    list(&pool["spec"]["template"]["spec"]["taints"]).any(|taint| taint["effect"] != "PreferNoSchedule")
}

fn is_unloved(spec: &Value) -> bool {
    list(&spec["taints"]).any(|taint| taint["effect"] == "PreferNoSchedule")
}

fn zones_for_sale(case: &Case) -> impl Iterator<Item = &Value> {
    let requirements =
        list(&case.catalog).flat_map(|t| list(&t["offerings"])).flat_map(|o| list(&o["Requirements"]));
    requirements.filter(|r| r["key"] == ZONE).map(|r| &r["values"][0])
}

/// Pods without a node, whether or not they are planned for.
fn waits(case: &Case) -> impl Iterator<Item = &Value> {
    case.of_kind("Pod").filter(|pod| pod["spec"]["nodeName"].is_null())
}

/// Rules that pods state.
fn of_pods() -> impl Iterator<Item = &'static OfPod> {
    [topology::SPREAD, topology::AFFINITY, pod::PODS, pod::VOLUMES, device::PODS].into_iter().flatten()
}

/// Rules that clusters state.
fn of_cases() -> impl Iterator<Item = &'static OfCase> {
    [cluster::VOLUMES, cluster::CASES, device::CASES].into_iter().flatten()
}

/// Rules that show in the plan.
const OF_PLANS: &[OfPlan] = &[
    ("priority: pods that take the place of others", |plan| !plan.preempting.is_empty()),
    ("pods that fit nowhere", |plan| !plan.unplaced.is_empty()),
    ("pods that minValues leaves without a node", |plan| !plan.too_narrow.is_empty()),
];

/// Names of all rules that clusters are to exercise.
pub(crate) fn all() -> Vec<&'static str> {
    let of_pods = of_pods().map(|(name, _)| *name);
    let of_cases = of_cases().map(|(name, _)| *name);
    of_pods.chain(of_cases).chain(OF_PLANS.iter().map(|(name, _)| *name)).collect()
}

/// Names of the rules that a cluster exercises.
pub(crate) fn exercised(case: &Case, plan: &Plan) -> BTreeSet<&'static str> {
    let of_pods = of_pods().filter(|(_, states)| case.pending().any(|pod| states(pod, case)));
    let of_cases = of_cases().filter(|(_, states)| states(case));
    let of_plan = OF_PLANS.iter().filter(|(_, shows)| shows(plan));
    let names = of_pods.map(|(name, _)| *name).chain(of_cases.map(|(name, _)| *name));
    names.chain(of_plan.map(|(name, _)| *name)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::plan::plan;
    use super::*;
    use crate::generate::generate;

    #[test]
    fn seeds_exercise_every_rule_and_most_pods_have_a_place() {
        let (mut seen, mut reasons) = (BTreeSet::new(), BTreeMap::<String, usize>::new());
        let (mut placed, mut unplaced, mut extra) = (0, 0, 0);
        for seed in 1..=300 {
            let case = generate(seed);
            let plan = plan(&case).unwrap();
            seen.extend(exercised(&case, &plan));
            placed += plan.placed.len();
            unplaced += plan.unplaced.len();
            extra += plan.launchable.len();
            for why in plan.unplaced.values() {
                *reasons.entry(why.chars().take(60).collect()).or_default() += 1;
            }
        }
        println!("{placed} placed, {unplaced} not, {extra} extra nodes, {reasons:#?}");
        let never: Vec<_> = all().into_iter().filter(|rule| !seen.contains(rule)).collect();
        assert_eq!(never, Vec::<&str>::new());
        // Pods that are urgent, or whose runtime class or device is not to be had, have none on purpose.
        assert!(2 * placed > 3 * unplaced, "{placed} placed, {unplaced} not");
    }
}
