//! Replacements that nobody waits for: whoever asked for them has ended since, and they have joined without starting up.
//!
//! Such a node is neither empty nor out of date nor unneeded, as it never takes pods: nothing else would ever take it away, and
//! each change of who leads would leave one more.

use stowage_api::StatusCondition;
use stowage_api::crd::condition::INITIALIZED;
use stowage_api::well_known::REPLACES;
use stowage_cluster::disrupt::{Refusal, Standing};
use stowage_pricing::Timestamp;

use super::queue::PATIENCE;
use super::simulate::Needed;

/// NodeClaims to drop, by name and uid: made in the place of others so long ago that whoever waited for them would have given up,
/// and without a pod that runs, is to run or may come to run there.
pub fn orphans(standings: &[Standing<'_>], needed: &Needed, now: Timestamp) -> Vec<(String, String)> {
    let (_, patience, _) = PATIENCE;
    let orphan = |standing: &Standing<'_>| {
        let (claim, node) = (standing.claim?, standing.node);
        let made = claim.metadata.creation_timestamp.as_ref()?.parse::<Timestamp>().ok()?;
        let replaces = claim.metadata.annotations.contains_key(REPLACES);
        let started = StatusCondition::holds(&claim.status.conditions, INITIALIZED);
        let goes = claim.metadata.is_terminating() || node.metadata.is_terminating();
        // What is under way here counts as nominated, as do nodes that pods of others were promised.
        let awaited = standing.refused.contains(&Refusal::Nominated)
            || needed.nodes.contains(&node.metadata.name)
            || !standing.pods.is_empty();
        let old = now.seconds_since(made) >= patience.as_secs();
        (replaces && !started && !goes && !awaited && old)
            .then(|| (claim.metadata.name.clone(), claim.metadata.uid.clone()))
    };
    standings.iter().filter_map(orphan).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;
    use stowage_cluster::disrupt::{Moment, standings};
    use stowage_cluster::{Index, Kind};

    use super::*;

    /// A node with its claim: minutes since that was made, whether it is a replacement, and its conditions.
    fn put(index: &mut Index, name: &str, minutes: u32, replaces: bool, conditions: &[&str]) {
        let conditions: Vec<_> =
            conditions.iter().map(|kind| json!({"type": kind, "status": "True"})).collect();
        let annotations = if replaces { json!({REPLACES: "old"}) } else { json!({}) };
        let claim = json!({
            "metadata": {
                "name": format!("claim-{name}"), "uid": format!("uid-{name}"), "annotations": annotations,
                "creationTimestamp": format!("2026-07-01T10:{:02}:00Z", 30 - minutes),
            },
            "status": {"nodeName": name, "conditions": conditions},
        });
        index.apply(Kind::NodeClaim, &claim.to_string()).expect("a claim");
        index.apply(Kind::Node, &json!({"metadata": {"name": name}}).to_string()).expect("a node");
    }

    #[test]
    fn replacements_of_one_that_is_gone_do_not_stay_where_they_never_start() {
        let mut index = Index::default();
        put(&mut index, "stuck", 10, true, &["Registered"]);
        put(&mut index, "young", 9, true, &["Registered"]);
        put(&mut index, "started", 20, true, &["Registered", "Initialized"]);
        put(&mut index, "ordinary", 20, false, &["Registered"]);
        put(&mut index, "under-way", 20, true, &["Registered"]);
        put(&mut index, "needed", 20, true, &["Registered"]);
        put(&mut index, "used", 20, true, &["Registered"]);
        let pod = json!({
            "metadata": {"name": "web", "namespace": "default"}, "spec": {"nodeName": "used"},
            "status": {"phase": "Running"},
        });
        index.apply(Kind::Pod, &pod.to_string()).expect("a pod");
        let now: Timestamp = "2026-07-01T10:30:00Z".parse().expect("a moment");
        let nominated = BTreeSet::from(["under-way".to_owned()]);
        let moment = Moment { now: Some(now), nominated, ..Moment::default() };
        let snapshot = index.snapshot();
        let needed = Needed { nodes: BTreeSet::from(["needed".to_owned()]), ..Needed::default() };
        let found = orphans(&standings(&snapshot, &moment), &needed, now);
        assert_eq!(found, [("claim-stuck".to_owned(), "uid-stuck".to_owned())]);
    }
}
