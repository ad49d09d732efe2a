//! Services in a chain: the second wants to be near the first, the third near the second.
//!
//! By chance that is drawn in fewer than one cluster of a hundred, so it is made in every twentieth.

use std::collections::BTreeSet;

use serde_json::json;

use crate::case::Case;

/// One cluster of so many has a chain.
const EVERY: u64 = 20;

/// Makes a chain of the first three services of a cluster, where none of its pods wants to be near others already.
pub(super) fn add(seed: u64, case: &mut Case) {
    let near_others = case.pending().any(|pod| pod["spec"]["affinity"]["podAffinity"].is_object());
    if !seed.is_multiple_of(EVERY) || near_others {
        return;
    }
    let app = |pod: &serde_json::Value| pod["metadata"]["labels"]["app"].as_str().map(str::to_owned);
    let apps: Vec<String> = case.pending().filter_map(app).collect::<BTreeSet<_>>().into_iter().collect();
    for pair in apps.windows(2).take(2) {
        let [first, second] = pair else { continue };
        let term = json!({
            "topologyKey": "topology.kubernetes.io/zone",
            "labelSelector": {"matchLabels": {"app": first}},
            "namespaceSelector": {},
        });
        let waiting =
            case.objects.iter_mut().filter(|o| o["kind"] == "Pod" && o["spec"]["nodeName"].is_null());
        for pod in waiting.filter(|pod| app(pod).as_ref() == Some(second)) {
            pod["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] =
                json!([term]);
        }
    }
}
