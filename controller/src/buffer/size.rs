//! For how many pods a buffer keeps room.
//!
//! compat: karpenter v1.14: the larger of `replicas` and the percentage, then no more than `limits` hold; `limits` alone say
//! how many.

use std::collections::BTreeMap;

use stowage_api::Quantity;
use stowage_api::crd::CapacityBufferSpec;
use stowage_api::well_known::CPU;

/// For so many pods, where the workload has `scale` of them and each asks for this much, in base units.
///
/// # Errors
/// A limit that is no quantity.
pub(super) fn count(
    spec: &CapacityBufferSpec,
    scale: Option<i64>,
    asked: &BTreeMap<&str, i64>,
) -> Result<u64, String> {
    let of_scale = spec.percentage.zip(scale).filter(|(_, scale)| *scale > 0).map(|(percent, scale)| {
        let exact = i128::from(percent.max(0)) * i128::from(scale);
        u64::try_from((exact + 99) / 100).unwrap_or(u64::MAX)
    });
    let stated = spec.replicas.map(|count| u64::try_from(count).unwrap_or_default());
    let wanted = of_scale.into_iter().chain(stated).max();
    let mut most = None::<u64>;
    for (resource, limit) in spec.limits.iter().flatten() {
        let limit: Quantity = limit.quantity().map_err(|error| format!("spec.limits.{resource}: {error}"))?;
        let each = asked.get(resource.as_str()).copied().filter(|each| *each > 0);
        let Some(each) = each else { continue };
        let limit = if resource == CPU { limit.floor_millis() } else { limit.floor_units() };
        let fit = u64::try_from(limit / each).unwrap_or_default();
        most = Some(most.map_or(fit, |most| most.min(fit)));
    }
    Ok(match (wanted, most) {
        (Some(wanted), Some(most)) => wanted.min(most),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => 0,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(spec: Value, scale: Option<i64>) -> u64 {
        let asked = BTreeMap::from([("cpu", 1_500), ("memory", 1 << 30), ("pods", 1)]);
        count(&serde_json::from_value(spec).expect("a spec"), scale, &asked).expect("a count")
    }

    #[test]
    fn the_larger_wish_holds_within_the_limits() {
        for (spec, scale, expected) in [
            (json!({"replicas": 3}), None, 3),
            (json!({"percentage": 20}), Some(11), 3),
            (json!({"percentage": 1}), Some(5), 1),
            (json!({"percentage": 0}), Some(5), 0),
            (json!({"percentage": 50}), Some(0), 0),
            (json!({"percentage": 50}), None, 0),
            (json!({"percentage": 50, "replicas": 2}), Some(10), 5),
            (json!({"percentage": 50, "replicas": 7}), Some(10), 7),
            (json!({"replicas": 7, "limits": {"cpu": "6"}}), None, 4),
            (json!({"replicas": 7, "limits": {"cpu": "60", "memory": "2Gi"}}), None, 2),
            (json!({"limits": {"cpu": "6"}}), None, 4),
            (json!({"limits": {"cpu": "1"}}), None, 0),
            (json!({"limits": {"nvidia.com/gpu": 8}}), None, 0),
            (json!({"replicas": 2, "limits": {"nvidia.com/gpu": 8}}), None, 2),
            (json!({}), Some(3), 0),
            (json!({"percentage": i32::MAX}), Some(i64::MAX), u64::MAX),
        ] {
            assert_eq!(of(spec.clone(), scale), expected, "{spec} of {scale:?}");
        }
    }
}
