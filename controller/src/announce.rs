//! Events on objects: what is done to them, and why. The same is not said twice within two minutes, as Karpenter does.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use stowage_api::crd::Condition;
use stowage_api::crd::condition::{self, FALSE, READY};
use tokio::sync::mpsc;
use tracing::warn;

/// How long nothing is said twice.
const QUIET: Duration = Duration::from_mins(2);

/// The most that an event may say, in bytes.
const LONGEST: usize = 1000;

/// Events that are sent side by side.
const SIDE_BY_SIDE: usize = 20;

/// Events that may wait to be sent. More than that come only where the API server takes none.
const WAITING: usize = 50_000;

/// How long sending one may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Who says it. What is to be said waits in a queue, so that nobody is held up by it.
#[derive(Clone)]
pub struct Announcer {
    queue: mpsc::Sender<(ObjectReference, Event)>,
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

/// Conditions that say something else than they did.
pub(crate) fn news<'a>(old: &'a [Condition], new: &'a [Condition]) -> impl Iterator<Item = &'a Condition> {
    let was = |kind: &str| condition::find(old, kind).map(|c| (&c.status, &c.message));
    new.iter().filter(move |c| was(&c.kind) != Some((&c.status, &c.message)))
}

/// An event for each of these that says that something is wrong. What follows for the object as a whole is not said again.
pub(crate) fn bad_news(
    of: &ObjectReference,
    old: &[Condition],
    new: &[Condition],
) -> Vec<(ObjectReference, Event)> {
    let bad = news(old, new).filter(|c| c.status == FALSE && c.kind != READY);
    bad.map(|c| (of.clone(), warning(&c.reason, c.message.clone()))).collect()
}

impl Announcer {
    /// Says it through this client, in a task of its own that ends with the last who may say something.
    pub fn new(client: Client) -> Self {
        let reporter = Reporter { controller: "stowage".to_owned(), instance: None };
        let recorder = Recorder::new(client, reporter);
        let (queue, waiting) = mpsc::channel(WAITING);
        tokio::spawn(send(recorder, waiting));
        Self { queue, said: Arc::default() }
    }

    /// Says it of one object.
    pub(crate) fn tell(&self, of: ObjectReference, event: Event) {
        self.tell_all([(of, event)]);
    }

    /// Says it, as far as it is news. What cannot be said is logged.
    pub(crate) fn tell_all(&self, all: impl IntoIterator<Item = (ObjectReference, Event)>) {
        self.forget();
        let news = all.into_iter().filter(|(of, event)| self.is_news(of, event));
        let lost = news.filter_map(|news| self.queue.try_send(news).err()).count();
        if lost > 0 {
            warn!(count = lost, "events are left out: the API server takes none");
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

/// Sends what comes, side by side.
async fn send(recorder: Recorder, mut waiting: mpsc::Receiver<(ObjectReference, Event)>) {
    let all = futures::stream::poll_fn(move |cx| waiting.poll_recv(cx));
    let recorder = &recorder;
    all.for_each_concurrent(SIDE_BY_SIDE, async |(of, event)| {
        match tokio::time::timeout(LIMIT, recorder.publish(&event, &of)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, reason = event.reason, "an event could not be written"),
            Err(_) => warn!(reason = event.reason, "an event could not be written in time"),
        }
    })
    .await;
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
