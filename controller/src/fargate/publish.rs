//! Verdicts and holds from replica to replica: written by the one that leads, into `ConfigMaps`, and followed by all others.
//!
//! # Invariants
//! - What did not change is not written again, but every few minutes: so that verdicts do not grow too old to be followed.
//! - A hold counts as published some time after everything was written that was known when it began.
//! - Nothing is written before what stands there was read: the holds of a leader outlive it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams};
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt as _, watcher};
use stowage_fargate::{DOCUMENT_BYTES, Document, Part, Parts, VERDICTS_KEY, VERDICTS_LABEL};
use tokio::sync::{Mutex, watch};
use tracing::{debug, warn};

use super::state::{State, seconds};
use crate::answer::is_gone;
use crate::operate::lease::{Leader, Leading};
use crate::shared::Shared;

/// How old what is written may grow, in seconds: a third of the age at which verdicts are not followed any more.
const AGAIN: u64 = 300;
/// How long followers have to see what was written, in seconds. A watch takes milliseconds.
const SEEN: u64 = 10;
/// And what is no matter of pods being lost: a pod that is made anew too early waits once more.
const LIKELY_SEEN: u64 = 2;
/// Writings that are remembered.
const MOST: usize = 32;
/// How long a call may take.
const LIMIT: Duration = Duration::from_secs(20);

/// What was written.
#[derive(Debug, Default)]
struct Written {
    /// By number: digest, and when.
    parts: BTreeMap<u32, (u64, u64)>,
    /// Whether what stands beside was looked for.
    tidied: bool,
    /// Which writings of everything have succeeded, and when they ended.
    whole: VecDeque<(u64, u64)>,
}

/// Writes.
#[derive(Clone, Debug)]
pub(crate) struct Publisher {
    state: State,
    maps: Api<ConfigMap>,
    /// What the names of the `ConfigMaps` begin with.
    prefix: String,
    written: Arc<Mutex<Written>>,
    /// How many writings were begun.
    begun: Arc<AtomicU64>,
    /// Verdicts that changed of late, by word of their workloads: when they were written, if they were.
    fresh: Shared<BTreeMap<String, Option<u64>>>,
    /// Whether what was written before was read.
    read: watch::Sender<bool>,
}

/// What selects the `ConfigMaps`.
fn selector() -> String {
    format!("{}={}", VERDICTS_LABEL.0, VERDICTS_LABEL.1)
}

/// The parts that are to be written now.
fn due<'p>(parts: &'p Parts, written: &BTreeMap<u32, (u64, u64)>, now: u64) -> Vec<&'p Part> {
    let is_due = |part: &&Part| {
        written
            .get(&part.number)
            .is_none_or(|(digest, at)| *digest != part.digest || at.saturating_add(AGAIN) <= now)
    };
    parts.all.iter().filter(is_due).collect()
}

impl Publisher {
    pub(crate) fn new(state: State, maps: Api<ConfigMap>, prefix: String) -> Self {
        let (fresh, read) = (Shared::default(), watch::Sender::new(false));
        Self { state, maps, prefix, written: Arc::default(), begun: Arc::default(), fresh, read }
    }

    /// Waits until what was written before was read.
    pub(crate) async fn read(&self) -> Result<()> {
        let mut read = self.read.subscribe();
        let waited = tokio::time::timeout(LIMIT, read.wait_for(|read| *read)).await;
        waited.context("the verdicts of who led before are not read in time")??;
        Ok(())
    }

    /// The verdict on the workload of this word has changed.
    pub(crate) fn changed(&self, word: String) {
        self.fresh.with(|fresh| fresh.insert(word, None));
    }

    /// Whether all replicas are likely to know by `now` what the verdict on the workload of this word is.
    pub(crate) fn is_known(&self, word: &str, now: u64) -> bool {
        let seen = |at: &Option<u64>| at.is_some_and(|at| at.saturating_add(LIKELY_SEEN) <= now);
        self.fresh.with(|fresh| fresh.get(word).is_none_or(seen))
    }

    /// Writes what has changed; says how many verdicts found no room.
    pub(crate) async fn publish(&self) -> Result<usize> {
        self.read().await?;
        let mut written = self.written.lock().await;
        let contained: Vec<String> = self.fresh.with(|fresh| {
            fresh.iter().filter(|(_, at)| at.is_none()).map(|(word, _)| word.clone()).collect()
        });
        let which = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let started = seconds();
        let parts = self.state.cache(|cache| cache.write(started, DOCUMENT_BYTES))?;
        for part in due(&parts, &written.parts, started) {
            let name = format!("{}-{}", self.prefix, part.number);
            let (label, value) = VERDICTS_LABEL;
            let map = ConfigMap {
                metadata: ObjectMeta {
                    name: Some(name.clone()),
                    labels: Some(BTreeMap::from([(label.to_owned(), value.to_owned())])),
                    ..ObjectMeta::default()
                },
                data: Some(BTreeMap::from([(VERDICTS_KEY.to_owned(), part.json.clone())])),
                ..ConfigMap::default()
            };
            let how = PatchParams::apply("stowage").force();
            let patch = Patch::Apply(&map);
            let write = self.maps.patch(&name, &how, &patch);
            tokio::time::timeout(LIMIT, write).await.context("verdicts are not written in time")??;
            written.parts.insert(part.number, (part.digest, started));
        }
        let extra = written.parts.len() > parts.all.len();
        if extra || !written.tidied {
            tokio::time::timeout(LIMIT, self.tidy(parts.all.len())).await.context("in time")??;
            written.parts.retain(|number, _| parts.all.iter().any(|part| part.number == *number));
            written.tidied = true;
        }
        let ended = seconds();
        written.whole.push_back((which, ended));
        self.fresh.with(|fresh| {
            fresh.retain(|_, at| at.is_none_or(|at| at.saturating_add(SEEN) > ended));
            fresh.extend(contained.into_iter().map(|word| (word, Some(ended))));
        });
        if written.whole.len() > MOST {
            written.whole.pop_front();
        }
        Ok(parts.left_out)
    }

    /// Deletes what stands there beside so many parts.
    async fn tidy(&self, parts: usize) -> Result<()> {
        for map in self.maps.list(&ListParams::default().labels(&selector())).await? {
            let name = map.name_any();
            let number = name.strip_prefix(&self.prefix).and_then(|rest| rest.strip_prefix('-'));
            let number = number.and_then(|number| number.parse::<usize>().ok());
            if number.is_none_or(|number| number < parts) {
                continue;
            }
            match self.maps.delete(&name, &DeleteParams::default()).await {
                Err(error) if !is_gone(&error) => return Err(error.into()),
                _ => debug!(name, "verdicts need fewer parts"),
            }
        }
        Ok(())
    }

    /// How many writings were begun so far: what is known now is in the next one.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Whether all replicas know by `now` what was known when so many writings were begun.
    pub(crate) async fn is_published(&self, begun: u64, now: u64) -> bool {
        let written = self.written.lock().await;
        written.whole.iter().any(|(which, ended)| *which > begun && ended.saturating_add(SEEN) <= now)
    }
}

/// Follows what the leader writes, until the task is dropped.
pub(crate) async fn follow(publisher: Publisher, leading: Leading) {
    let Publisher { state, maps, read, .. } = publisher;
    let events = watcher(maps, Config::default().labels(&selector())).default_backoff();
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        let map = match event {
            Ok(Event::InitApply(map) | Event::Apply(map)) => map,
            Ok(Event::InitDone) => {
                read.send_replace(true);
                continue;
            }
            Ok(_) => continue,
            Err(error) => {
                warn!(%error, "verdicts cannot be followed");
                continue;
            }
        };
        // Who leads knows better, once it has read what was there before it.
        if matches!(leading.now(), Leader::Us { .. }) && *read.borrow() {
            continue;
        }
        let Some(json) = map.data.as_ref().and_then(|data| data.get(VERDICTS_KEY)) else { continue };
        match Document::parse(json) {
            Ok(document) => {
                if document.dropped > 0 {
                    warn!(
                        name = map.name_any(),
                        dropped = document.dropped,
                        "verdicts that cannot be understood"
                    );
                }
                state.change_cache(|cache| cache.apply(&[document]));
            }
            Err(error) => warn!(name = map.name_any(), error, "verdicts cannot be read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_news_is_written_every_few_minutes_only() {
        let part = |number, digest| Part { number, json: String::new(), digest };
        let parts = Parts { all: vec![part(0, 5), part(1, 6)], left_out: 0 };
        let numbers = |written: &[(u32, (u64, u64))], now| {
            let written = written.iter().copied().collect();
            due(&parts, &written, now).iter().map(|part| part.number).collect::<Vec<_>>()
        };
        assert_eq!(numbers(&[], 100), [0, 1]);
        assert_eq!(numbers(&[(0, (5, 90)), (1, (7, 90))], 100), [1]);
        assert_eq!(numbers(&[(0, (5, 90)), (1, (6, 90))], 100), [0_u32; 0]);
        assert_eq!(numbers(&[(0, (5, 90)), (1, (6, 100))], 90 + AGAIN), [0]);
    }
}
