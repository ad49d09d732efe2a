//! What a pod asks of its node, counted as kube-scheduler counts it.
//!
//! compat: `PodRequests` of k8s.io/component-helpers v0.35, then rounded up as the scheduler's `Resource` does: CPU to
//! milli-cores, everything else to whole units.

use std::collections::BTreeMap;

use stowage_api::{Quantity, well_known};

use crate::object::{Container, PodSpec};

/// A resource of which a pod asks for more than [`Quantity::MAX_UNITS`].
#[derive(Debug)]
pub(crate) struct Absurd {
    pub(crate) resource: String,
}

type Nanos<'a> = BTreeMap<&'a str, i128>;

/// What a pod of this spec asks for, in base units (milli-cores for CPU, units for all else); nothing of what it asks for
/// more of than there can be.
///
/// ```
/// let spec: stowage_cluster::object::PodSpec = serde_json::from_str(
///     r#"{"containers": [{"resources": {"requests": {"cpu": "500m", "memory": "1Ki"}}}]}"#,
/// )?;
/// let asked = stowage_cluster::asked_for(&spec);
/// assert_eq!((asked["cpu"], asked["memory"], asked["pods"]), (500, 1024, 1));
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn asked_for(spec: &PodSpec) -> BTreeMap<&str, i64> {
    pod_requests(spec).unwrap_or_default()
}

/// What a pod may use at most, in the units of [`asked_for`]: what its containers' limits add up to, for the resources that they
/// name. Nothing where that is too much to be counted.
pub fn allowed_for(spec: &PodSpec) -> BTreeMap<&str, i64> {
    let mut total = total(spec, |container| {
        container.resources.limits.iter().map(|(resource, amount)| (resource, amount.nanos())).collect()
    });
    for (resource, amount) in spec.resources.limits.iter() {
        total.insert(resource, amount.nanos());
    }
    let all: Result<_, Absurd> =
        total.into_iter().map(|(resource, nanos)| Ok((resource, base_units(resource, nanos)?))).collect();
    all.unwrap_or_default()
}

/// Requests in base units (milli-cores for CPU, units for all else), one of the resource `pods` included.
pub(crate) fn pod_requests(spec: &PodSpec) -> Result<BTreeMap<&str, i64>, Absurd> {
    let mut total = total(spec, of);
    for (resource, amount) in spec.resources.requests.iter() {
        let pod_level = [well_known::CPU, well_known::MEMORY].contains(&resource);
        if pod_level || resource.starts_with(well_known::HUGEPAGES_PREFIX) {
            total.insert(resource, amount.nanos());
        }
    }
    add(&mut total, &spec.overhead.iter().map(|(resource, amount)| (resource, amount.nanos())).collect());
    total.insert(well_known::PODS, Quantity::from_units(1).nanos());
    total.into_iter().map(|(resource, nanos)| Ok((resource, base_units(resource, nanos)?))).collect()
}

/// What the containers of a pod state, together.
fn total<'s>(spec: &'s PodSpec, of: impl Fn(&'s Container) -> Nanos<'s>) -> Nanos<'s> {
    let mut total = Nanos::new();
    for container in &spec.containers {
        add(&mut total, &of(container));
    }
    // Init containers run one after another, each beside the sidecars started before it.
    let (mut sidecars, mut peak) = (Nanos::new(), Nanos::new());
    for container in &spec.init_containers {
        let mut now = of(container);
        if container.sidecar {
            add(&mut total, &now);
            add(&mut sidecars, &now);
            raise(&mut peak, &sidecars);
        } else {
            add(&mut now, &sidecars);
            raise(&mut peak, &now);
        }
    }
    raise(&mut total, &peak);
    total
}

fn of(container: &Container) -> Nanos<'_> {
    let resources = &container.resources;
    let stated = resources.limits.iter().chain(resources.requests.iter());
    stated.map(|(resource, amount)| (resource, amount.nanos())).collect()
}

fn add<'a>(into: &mut Nanos<'a>, more: &Nanos<'a>) {
    for (resource, nanos) in more {
        *into.entry(resource).or_insert(0) += nanos;
    }
}

fn raise<'a>(into: &mut Nanos<'a>, floor: &Nanos<'a>) {
    for (resource, nanos) in floor {
        let have = into.entry(resource).or_insert(0);
        *have = (*have).max(*nanos);
    }
}

fn base_units(resource: &str, nanos: i128) -> Result<i64, Absurd> {
    const UNIT: i128 = 1_000_000_000;
    if nanos > i128::from(Quantity::MAX_UNITS) * UNIT {
        return Err(Absurd { resource: resource.to_owned() });
    }
    let grain = if resource == well_known::CPU { UNIT / 1000 } else { UNIT };
    Ok(((nanos + grain - 1) / grain) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(spec: &str) -> Vec<(String, i64)> {
        let spec: PodSpec = serde_json::from_str(spec).expect("a pod spec");
        pod_requests(&spec).expect("sensible").into_iter().map(|(r, n)| (r.to_owned(), n)).collect()
    }

    fn expect(spec: &str, expected: &[(&str, i64)]) {
        let expected: Vec<_> = expected.iter().map(|(r, n)| ((*r).to_owned(), *n)).collect();
        assert_eq!(requests(spec), expected, "{spec}");
    }

    #[test]
    fn containers_add_up_and_limits_stand_in_for_requests() {
        expect(
            r#"{"containers": [
                {"resources": {"requests": {"cpu": "100m", "memory": "1Ki"}, "limits": {"cpu": "4"}}},
                {"resources": {"limits": {"cpu": "250m", "nvidia.com/gpu": 1}}}, {}]}"#,
            &[("cpu", 350), ("memory", 1024), ("nvidia.com/gpu", 1), ("pods", 1)],
        );
        expect("{}", &[("pods", 1)]);
    }

    #[test]
    fn the_sum_is_rounded_up_not_its_parts() {
        expect(
            r#"{"containers": [{"resources": {"requests": {"cpu": "0.5m", "memory": "0.5"}}},
                               {"resources": {"requests": {"cpu": "0.6m", "memory": "0.5"}}}]}"#,
            &[("cpu", 2), ("memory", 1), ("pods", 1)],
        );
    }

    #[test]
    fn init_containers_count_at_their_peak_beside_the_sidecars_before_them() {
        // 1 runs all along; the peak is the sidecars 0.2 + 0.3 with the last init container's 2.
        expect(
            r#"{"containers": [{"resources": {"requests": {"cpu": 1}}}],
                "initContainers": [
                    {"resources": {"requests": {"cpu": "2100m"}}},
                    {"restartPolicy": "Always", "resources": {"requests": {"cpu": "200m"}}},
                    {"restartPolicy": "Always", "resources": {"requests": {"cpu": "300m"}}},
                    {"resources": {"requests": {"cpu": 2}}}]}"#,
            &[("cpu", 2500), ("pods", 1)],
        );
        // Here what runs in the end is more: 1 + 0.5.
        expect(
            r#"{"containers": [{"resources": {"requests": {"cpu": 1}}}],
                "initContainers": [{"restartPolicy": "Always", "resources": {"requests": {"cpu": "500m"}}},
                                   {"resources": {"requests": {"cpu": "900m"}}}]}"#,
            &[("cpu", 1500), ("pods", 1)],
        );
    }

    #[test]
    fn pod_level_resources_replace_and_overhead_adds() {
        expect(
            r#"{"containers": [{"resources": {"requests": {"cpu": 1, "memory": "1Gi", "example.com/x": 2}}}],
                "resources": {"requests": {"cpu": 3, "hugepages-2Mi": "4Mi", "example.com/x": 9}},
                "overhead": {"cpu": "250m", "memory": "1Mi"}}"#,
            &[
                ("cpu", 3250),
                ("example.com/x", 2),
                ("hugepages-2Mi", 4 << 20),
                ("memory", (1 << 30) + (1 << 20)),
                ("pods", 1),
            ],
        );
    }

    #[test]
    fn absurd_sums_are_refused() {
        let spec: PodSpec = serde_json::from_str(
            r#"{"containers": [{"resources": {"requests": {"memory": "8Pi"}}},
                               {"resources": {"requests": {"memory": "1"}}}]}"#,
        )
        .expect("a pod spec");
        assert_eq!(pod_requests(&spec).expect_err("absurd").resource, "memory");
    }
}
