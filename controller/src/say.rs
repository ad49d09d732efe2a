//! What pods are told: where they will go, or why nowhere.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::Event;
use stowage_cluster::{Pod, Snapshot};

use crate::announce::{Announcer, normal, warning};

/// What there is to say of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// It is expected on the node, or the machine of the claim, of this name.
    Expected(String),
    /// It fits nowhere, because.
    Nowhere(String),
}

/// Says it of pods by `namespace/name`.
pub(crate) fn say(announcer: &Announcer, of: &[(&str, Said)], snapshot: &Snapshot) {
    let said: HashMap<&str, &Said> = of.iter().map(|(pod, said)| (*pod, said)).collect();
    let events = snapshot.pods().filter_map(|pod| {
        let said = *said.get(pod.key().as_str())?;
        Some((reference(pod), event(said)))
    });
    announcer.tell_all(events);
}

/// What an event on a pod is about.
pub(crate) fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: Some(pod.namespace.to_string()),
        name: Some(pod.name.to_string()),
        uid: Some(pod.uid.to_string()),
        ..ObjectReference::default()
    }
}

fn event(said: &Said) -> Event {
    match said {
        Said::Expected(node) => {
            normal("Nominated", format!("Pod should schedule on: nodeclaim or node {node}"))
        }
        Said::Nowhere(why) => warning("FailedScheduling", format!("Fits no node: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use kube::runtime::events::EventType;

    use super::*;

    #[test]
    fn events_have_the_reasons_that_tools_look_for() {
        let of = |said| {
            let event = event(&said);
            (event.reason, matches!(event.type_, EventType::Warning))
        };
        assert_eq!(of(Said::Expected("a".to_owned())), ("Nominated".to_owned(), false));
        assert_eq!(of(Said::Nowhere("no".to_owned())), ("FailedScheduling".to_owned(), true));
    }
}
