//! Events on objects: what is done to them, and why. The same is not said twice within two minutes, as Karpenter does.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tracing::warn;

/// How long nothing is said twice.
const QUIET: Duration = Duration::from_mins(2);

/// The most that an event may say, in bytes.
const LONGEST: usize = 1000;

/// Events that are sent side by side.
const SIDE_BY_SIDE: usize = 20;

/// Who says it.
#[derive(Clone)]
pub struct Announcer {
    recorder: Recorder,
    /// What was said of late, as a digest of object, reason and words.
    said: Arc<Mutex<HashMap<u64, Instant>>>,
}

/// An event that is as it should be.
pub(crate) fn normal(reason: &str, note: impl Into<String>) -> Event {
    event(EventType::Normal, reason, note.into())
}

/// An event that somebody should look at.
pub(crate) fn warning(reason: &str, note: impl Into<String>) -> Event {
    event(EventType::Warning, reason, note.into())
}

fn event(type_: EventType, reason: &str, note: String) -> Event {
    Event {
        type_,
        reason: reason.to_owned(),
        note: Some(cut(note)),
        action: reason.to_owned(),
        secondary: None,
    }
}

impl Announcer {
    /// Says it through this client.
    pub fn new(client: Client) -> Self {
        let reporter = Reporter { controller: "stowage".to_owned(), instance: None };
        Self { recorder: Recorder::new(client, reporter), said: Arc::default() }
    }

    /// Says it of one object.
    pub(crate) async fn tell(&self, of: ObjectReference, event: Event) {
        self.tell_all([(of, event)]).await;
    }

    /// Says it, as far as it is news. What cannot be said is logged, and holds nobody up.
    pub(crate) async fn tell_all(&self, all: impl IntoIterator<Item = (ObjectReference, Event)>) {
        self.forget();
        let news: Vec<_> = all.into_iter().filter(|(of, event)| self.is_news(of, event)).collect();
        let recorder = &self.recorder;
        let failed = futures::stream::iter(news)
            .map(|(of, event)| async move { recorder.publish(&event, &of).await.err() })
            .buffer_unordered(SIDE_BY_SIDE)
            .filter_map(async |error| error)
            .collect::<Vec<_>>()
            .await;
        if let Some(error) = failed.first() {
            warn!(%error, count = failed.len(), "events could not be written");
        }
    }

    fn forget(&self) {
        let now = Instant::now();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.retain(|_, at| now.duration_since(*at) < QUIET);
    }

    fn is_news(&self, of: &ObjectReference, event: &Event) -> bool {
        let mut digest = DefaultHasher::new();
        (&of.uid, &of.kind, &of.namespace, &of.name, &event.reason, &event.note).hash(&mut digest);
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let new = !said.contains_key(&digest.finish());
        if new {
            said.insert(digest.finish(), Instant::now());
        }
        new
    }
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
}
