//! Settings of kubelet that an `EC2NodeClass` has: whether kubelet would start with them.
//!
//! Settings that are not known here pass: kubelet's configuration grows with Kubernetes.
//!
//! compat: karpenter-provider-aws v1.14, validation of `spec.kubelet`. Source of signals: Kubernetes, "Node-pressure Eviction".

use std::collections::BTreeMap;

use serde_json::Value;
use stowage_api::Quantity;

/// What kubelet can keep back.
const KEPT: [&str; 4] = ["cpu", "memory", "ephemeral-storage", "pid"];
/// What it evicts pods for.
const SIGNALS: [&str; 6] = [
    "memory.available",
    "nodefs.available",
    "nodefs.inodesFree",
    "imagefs.available",
    "imagefs.inodesFree",
    "pid.available",
];

/// What is wrong with settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Kubelet would refuse it.
    Invalid(String),
    /// It is the controller's to set.
    Unsupported(String),
}

/// Looks at all settings; the first that is wrong, by name.
///
/// # Errors
/// What is wrong, for people to read.
pub fn check(settings: &BTreeMap<String, Value>) -> Result<(), Wrong> {
    if settings.contains_key("registerWithTaints") {
        return Err(Wrong::Unsupported(
            "spec.kubelet.registerWithTaints is not for EC2NodeClasses: put taints into the template of the NodePool"
                .to_owned(),
        ));
    }
    let wrong = settings.iter().find_map(|(name, value)| of_one(name, value));
    wrong.or_else(|| of_pairs(settings)).map_or(Ok(()), |why| Err(Wrong::Invalid(why)))
}

fn of_one(name: &str, value: &Value) -> Option<String> {
    let at = format!("spec.kubelet.{name}");
    match name {
        "kubeReserved" | "systemReserved" => entries(&at, value, &KEPT, amount),
        "evictionHard" | "evictionSoft" => {
            entries(&at, value, &SIGNALS, |text| match text.strip_suffix('%') {
                Some(share) => share.parse::<f64>().ok().filter(|s| (0.0..=100.0).contains(s)).map(drop),
                None => amount(text),
            })
        }
        "evictionSoftGracePeriod" => {
            entries(&at, value, &SIGNALS, |text| crate::settings::duration(text).ok().map(drop))
        }
        "maxPods" if value.is_string() => {
            Some(format!("{at} is an expression, and only whole numbers are taken"))
        }
        "maxPods" | "podsPerCore" | "evictionMaxPodGracePeriod" => value
            .as_u64()
            .is_none()
            .then(|| format!("{at} is {value}, and has to be a whole number of at least 0")),
        "imageGCHighThresholdPercent" | "imageGCLowThresholdPercent" => value
            .as_u64()
            .is_none_or(|share| share > 100)
            .then(|| format!("{at} is {value}, and has to be a whole number from 0 to 100")),
        "clusterDNS" => value
            .as_array()
            .is_none_or(|all| !all.iter().all(Value::is_string))
            .then(|| format!("{at} has to be a list of addresses")),
        "cpuCFSQuota" => {
            value.as_bool().is_none().then(|| format!("{at} is {value}, and has to be true or false"))
        }
        _ => None,
    }
}

/// A quantity that is not below zero.
fn amount(text: &str) -> Option<()> {
    text.parse::<Quantity>().ok().filter(|_| !text.trim_start().starts_with('-')).map(drop)
}

/// The first entry of a map that has another key, or a value that is none.
fn entries(at: &str, value: &Value, keys: &[&str], is_read: impl Fn(&str) -> Option<()>) -> Option<String> {
    let Some(map) = value.as_object() else { return Some(format!("{at} has to be a map")) };
    map.iter().find_map(|(key, value)| {
        if !keys.contains(&key.as_str()) {
            return Some(format!("{at} has {key}, and kubelet knows {}", keys.join(", ")));
        }
        // YAML makes numbers of some amounts.
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        is_read(&text).is_none().then(|| format!("{at} has {value} for {key}, which is no amount"))
    })
}

fn of_pairs(settings: &BTreeMap<String, Value>) -> Option<String> {
    let number = |name: &str| settings.get(name).and_then(Value::as_u64);
    if let (Some(high), Some(low)) =
        (number("imageGCHighThresholdPercent"), number("imageGCLowThresholdPercent"))
        && high <= low
    {
        return Some(format!(
            "spec.kubelet.imageGCHighThresholdPercent is {high}, and has to be above imageGCLowThresholdPercent, {low}"
        ));
    }
    let keys = |name: &str| {
        let of = settings.get(name).and_then(Value::as_object);
        of.map(|map| map.keys().map(String::as_str).collect::<Vec<_>>()).unwrap_or_default()
    };
    let (soft, grace) = (keys("evictionSoft"), keys("evictionSoftGracePeriod"));
    let lacks =
        |of: &[&str], other: &[&str]| of.iter().find(|key| !other.contains(*key)).map(|k| (*k).to_owned());
    if let Some(signal) = lacks(&soft, &grace) {
        return Some(format!("spec.kubelet.evictionSoft has {signal}, and evictionSoftGracePeriod has not"));
    }
    lacks(&grace, &soft)
        .map(|signal| format!("spec.kubelet.evictionSoftGracePeriod has {signal}, and evictionSoft has not"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(settings: Value) -> Result<(), Wrong> {
        check(&serde_json::from_value(settings).expect("a map"))
    }

    #[test]
    fn settings_that_kubelet_takes_pass() {
        for good in [
            json!({}),
            json!({"maxPods": 110, "podsPerCore": 0, "clusterDNS": ["10.0.0.10"], "cpuCFSQuota": true}),
            json!({"kubeReserved": {"cpu": "100m", "memory": "1Gi", "pid": 100}, "systemReserved": {"cpu": 1}}),
            json!({"evictionHard": {"memory.available": "5%", "nodefs.available": "1Gi"}}),
            json!({"evictionSoft": {"pid.available": "5%"}, "evictionSoftGracePeriod": {"pid.available": "1m30s"}}),
            json!({"imageGCHighThresholdPercent": 85, "imageGCLowThresholdPercent": 80, "evictionMaxPodGracePeriod": 60}),
            json!({"aSettingOfTomorrow": {"x": [1]}}),
        ] {
            assert_eq!(of(good.clone()), Ok(()), "{good}");
        }
    }

    #[test]
    fn settings_that_kubelet_would_refuse_are_named() {
        for (bad, named) in [
            (json!({"maxPods": -1}), "maxPods is -1"),
            (json!({"maxPods": "vcpus * 10"}), "maxPods is an expression"),
            (json!({"podsPerCore": 1.5}), "podsPerCore is 1.5"),
            (json!({"kubeReserved": {"gpu": "1"}}), "kubeReserved has gpu, and kubelet knows cpu"),
            (json!({"kubeReserved": {"cpu": "-1"}}), "\"-1\" for cpu"),
            (json!({"systemReserved": {"memory": "much"}}), "systemReserved has \"much\""),
            (json!({"systemReserved": []}), "systemReserved has to be a map"),
            (json!({"evictionHard": {"memory.free": "1Gi"}}), "evictionHard has memory.free"),
            (json!({"evictionHard": {"memory.available": "101%"}}), "\"101%\""),
            (json!({"evictionSoft": {"pid.available": "5%"}}), "evictionSoft has pid.available, and"),
            (
                json!({"evictionSoftGracePeriod": {"pid.available": "1m"}}),
                "evictionSoftGracePeriod has pid.available",
            ),
            (json!({"evictionSoftGracePeriod": {"pid.available": "soon"}}), "\"soon\""),
            (json!({"imageGCHighThresholdPercent": 101}), "from 0 to 100"),
            (json!({"imageGCHighThresholdPercent": 80, "imageGCLowThresholdPercent": 80}), "has to be above"),
            (json!({"clusterDNS": "10.0.0.10"}), "a list of addresses"),
        ] {
            let Err(Wrong::Invalid(why)) = of(bad.clone()) else { panic!("{bad}") };
            assert!(why.contains(named), "{why}");
        }
        let taints = of(json!({"registerWithTaints": []}));
        assert!(matches!(taints, Err(Wrong::Unsupported(why)) if why.contains("NodePool")));
    }
}
