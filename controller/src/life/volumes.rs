//! Which volumes a node that goes has still to let go of. Pure.
//!
//! compat: karpenter v1.14, `pkg/controllers/node/termination`: those of pods that stay with the node are not waited for.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use stowage_cluster::Snapshot;

use super::drain::stays;

/// How many volumes are still attached to a node, but for those of pods that stay.
pub fn attached(snapshot: &Snapshot, node: &str, pods: &[Pod], now: Timestamp) -> usize {
    let kept: HashSet<(String, String)> =
        pods.iter().filter(|pod| stays(pod, now)).flat_map(claims_of).collect();
    let volumes: HashSet<&str> = snapshot
        .claims
        .iter()
        .filter(|claim| {
            let namespace = claim.metadata.namespace.clone().unwrap_or_default();
            kept.contains(&(namespace, claim.metadata.name.clone()))
        })
        .filter_map(|claim| claim.spec.volume_name.as_deref())
        .collect();
    let here = snapshot.attachments.iter().filter(|attachment| attachment.spec.node_name == node);
    here.filter(|a| !volumes.contains(a.spec.source.persistent_volume_name.as_str())).count()
}

/// Claims of volumes that a pod names: (namespace, name).
fn claims_of(pod: &Pod) -> Vec<(String, String)> {
    let namespace = pod.namespace().unwrap_or_default();
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    let named = volumes.iter().filter_map(|volume| match &volume.persistent_volume_claim {
        Some(claim) => Some(claim.claim_name.clone()),
        None => volume.ephemeral.as_ref().map(|_| format!("{}-{}", pod.name_any(), volume.name)),
    });
    named.map(|name| (namespace.clone(), name)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use stowage_cluster::{Index, Kind};

    use super::*;

    /// A claim for a volume that is attached to a node.
    fn volume(index: &mut Index, claim: &str, node: &str) {
        let bound = json!({
            "metadata": {"namespace": "default", "name": claim}, "spec": {"volumeName": format!("pv-{claim}")},
        });
        index.apply(Kind::PersistentVolumeClaim, &bound.to_string()).expect("a claim");
        let attached = json!({
            "metadata": {"name": format!("attached-{claim}")},
            "spec": {"nodeName": node, "source": {"persistentVolumeName": format!("pv-{claim}")}},
        });
        index.apply(Kind::VolumeAttachment, &attached.to_string()).expect("an attachment");
    }

    fn left(metadata: &Value, phase: &str, named: &Value) -> usize {
        let mut index = Index::default();
        volume(&mut index, "db-0", "ip-1");
        volume(&mut index, "db-1", "ip-2");
        let mut pod = json!({
            "metadata": {"namespace": "default", "name": "db"},
            "spec": {"containers": [], "volumes": [named]}, "status": {"phase": phase},
        });
        for (key, value) in metadata.as_object().expect("fields") {
            pod["metadata"][key] = value.clone();
        }
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        let now = "2026-07-01T10:00:00Z".parse().expect("a moment");
        attached(&index.snapshot(), "ip-1", &[pod], now)
    }

    #[test]
    fn volumes_of_a_pod_that_has_just_ended_are_waited_for() {
        let claimed = json!({"name": "data", "persistentVolumeClaim": {"claimName": "db-0"}});
        let going = json!({"deletionTimestamp": "2026-07-01T10:00:20Z"});
        for phase in ["Succeeded", "Failed"] {
            assert_eq!(left(&going, phase, &claimed), 1, "kubelet has not unmounted it yet");
            assert_eq!(left(&json!({}), phase, &claimed), 1);
        }
        assert_eq!(left(&going, "Running", &claimed), 1);
    }

    #[test]
    fn volumes_of_pods_that_stay_are_not_waited_for() {
        let claimed = json!({"name": "data", "persistentVolumeClaim": {"claimName": "db-0"}});
        let stuck = json!({"deletionTimestamp": "2026-07-01T09:58:59Z"});
        let mirror = json!({"annotations": {"kubernetes.io/config.mirror": "x"}});
        assert_eq!(left(&stuck, "Running", &claimed), 0);
        assert_eq!(left(&mirror, "Running", &claimed), 0);
        assert_eq!(left(&mirror, "Running", &json!({"name": "data", "emptyDir": {}})), 1, "another one's");
        let own = json!({"name": "0", "ephemeral": {}});
        assert_eq!(left(&mirror, "Running", &own), 0, "a claim that is called after pod and volume");
    }
}
