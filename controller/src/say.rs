//! Events on pods: where they will go, or why nowhere.
//!
//! The same is not said twice within two minutes, as Karpenter does.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use stowage_cluster::{Pod, Snapshot};
use tracing::warn;

/// How long nothing is said twice.
const QUIET: Duration = Duration::from_mins(2);

/// The most that an event may say, in bytes.
const LONGEST: usize = 1000;

/// Events that are sent side by side.
const SIDE_BY_SIDE: usize = 20;

/// What there is to say of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// It is expected on the node, or the machine of the claim, of this name.
    Expected(String),
    /// It fits nowhere, because.
    Nowhere(String),
}

/// Who says it.
pub(crate) struct Voice {
    recorder: Recorder,
    /// What was last said of each pod, and when.
    said: HashMap<String, (Said, Instant)>,
}

impl Voice {
    pub(crate) fn new(client: Client) -> Self {
        let reporter = Reporter { controller: "stowage".to_owned(), instance: None };
        Self { recorder: Recorder::new(client, reporter), said: HashMap::new() }
    }

    /// Says it of pods by `namespace/name`, as far as it is news. What cannot be said is logged, and holds nobody up.
    pub(crate) async fn say(&mut self, of: &[(&str, Said)], snapshot: &Snapshot) {
        let now = Instant::now();
        self.said.retain(|_, (_, at)| now.duration_since(*at) < QUIET);
        let news: HashMap<&str, &Said> = of
            .iter()
            .filter(|(pod, said)| self.said.get(*pod).is_none_or(|(last, _)| last != said))
            .map(|(pod, said)| (*pod, said))
            .collect();
        let events = snapshot.pods.iter().filter_map(|pod| {
            let said = *news.get(pod.key().as_str())?;
            Some((reference(pod), event(said)))
        });
        let recorder = &self.recorder;
        let failed = futures::stream::iter(events)
            .map(|(regarding, event)| async move { recorder.publish(&event, &regarding).await.err() })
            .buffer_unordered(SIDE_BY_SIDE)
            .filter_map(async |error| error)
            .collect::<Vec<_>>()
            .await;
        if let Some(error) = failed.first() {
            warn!(%error, count = failed.len(), "events could not be written");
        }
        self.said.extend(news.into_iter().map(|(pod, said)| (pod.to_owned(), (said.clone(), now))));
    }
}

fn reference(pod: &Pod) -> ObjectReference {
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
    let (type_, reason, note) = match said {
        Said::Expected(node) => {
            (EventType::Normal, "Nominated", format!("Pod should schedule on: nodeclaim or node {node}"))
        }
        Said::Nowhere(why) => (EventType::Warning, "FailedScheduling", format!("Fits no node: {why}")),
    };
    let action = "Provisioning".to_owned();
    Event { type_, reason: reason.to_owned(), note: Some(cut(note)), action, secondary: None }
}

/// As much of a text as an event may hold.
fn cut(mut text: String) -> String {
    if text.len() > LONGEST {
        let end = (0..=LONGEST - '…'.len_utf8()).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_reasons_are_cut_to_what_an_event_holds() {
        assert_eq!(cut("short".to_owned()), "short");
        for long in ["x".repeat(5_000), "ü".repeat(5_000)] {
            let cut = cut(long);
            assert!(cut.len() <= LONGEST && cut.len() > LONGEST - 4 && cut.ends_with('…'));
        }
    }

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
