//! The verdicts of all workloads, of bounded size, to be asked at each admission.
//!
//! What is asked for is remembered by a counter for each verdict, so that many may ask at once; where there are too many
//! verdicts, those go that were not asked for the longest.
//!
//! # Invariants
//! - Never more verdicts than the limit. A verdict takes at most some 6 KB, mostly a few hundred bytes: 20,000 of them some
//!   10 MB, 120 MB at most.
//! - A workload that is not there has no verdict, and stays on nodes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::hold::{Hold, Holds};
use crate::shared::{Document, MAX_LABELS, MAX_WORD};
use crate::verdict::{Before, Verdict, Why};
use crate::workload::Workload;

/// Verdicts that are kept where nothing else is said.
pub const DEFAULT_LIMIT: usize = 20_000;
/// Reasons of rules that are kept, and how long each may be, in bytes.
const MAX_REASONS: usize = 8;
const MAX_REASON: usize = 200;

#[derive(Debug)]
struct Entry {
    verdict: Arc<Verdict>,
    asked: AtomicU64,
}

/// Verdicts by workload, and what the guard holds on nodes.
#[derive(Debug)]
pub struct Cache {
    entries: BTreeMap<Box<str>, Entry>,
    holds: Holds,
    limit: usize,
    clock: AtomicU64,
    evicted: u64,
}

impl Default for Cache {
    fn default() -> Self {
        Self::new(DEFAULT_LIMIT)
    }
}

impl Cache {
    /// For so many verdicts; one at least.
    pub fn new(limit: usize) -> Self {
        Self {
            entries: BTreeMap::new(),
            holds: Holds::default(),
            limit: limit.max(1),
            clock: AtomicU64::new(0),
            evicted: 0,
        }
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    /// The verdict on a workload.
    pub fn get(&self, workload: &Workload) -> Option<&Arc<Verdict>> {
        let entry = self.entries.get(workload.word().as_str())?;
        entry.asked.store(self.tick(), Ordering::Relaxed);
        Some(&entry.verdict)
    }

    /// The latest verdict on another template of the same owner.
    pub fn latest_of_owner(&self, workload: &Workload) -> Option<&Arc<Verdict>> {
        if !workload.has_owner() {
            return None;
        }
        let (owner, own) = (workload.owner_word(), workload.word());
        let from: Box<str> = owner.as_str().into();
        let all = self.entries.range(from..).take_while(|(word, _)| word.starts_with(&owner));
        let others = all.filter(|(word, _)| ***word != *own);
        let latest = others.max_by_key(|(_, entry)| entry.verdict.looked)?;
        latest.1.asked.store(self.tick(), Ordering::Relaxed);
        Some(&latest.1.verdict)
    }

    /// What was known before a look: the verdict on the workload, or else the latest on another template of its owner. Bare
    /// pods have no owner: what was found for one says nothing of another.
    pub fn before(&self, workload: &Workload) -> Before<'_> {
        if let Some(entry) = self.entries.get(workload.word().as_str()) {
            return Before::Same(&entry.verdict);
        }
        self.latest_of_owner(workload).map_or(Before::Nothing, |verdict| Before::OtherTemplate(verdict))
    }

    /// Keeps a verdict. One that names more than a verdict can is not kept.
    pub fn put(&mut self, workload: &Workload, verdict: Verdict) {
        self.put_word(workload.word(), verdict);
    }

    fn put_word(&mut self, word: String, mut verdict: Verdict) {
        let labels = verdict.found.target.as_ref().map_or(0, |target| target.labels.len());
        if word.len() > MAX_WORD || labels > MAX_LABELS {
            return;
        }
        shorten(&mut verdict.why);
        shorten(&mut verdict.found.why);
        let asked = AtomicU64::new(self.tick());
        self.entries.insert(word.into_boxed_str(), Entry { verdict: Arc::new(verdict), asked });
        self.shrink();
    }

    /// What keeps a workload on nodes, whatever its verdict is.
    pub fn held(&self, workload: &Workload, now: u64) -> Option<Hold> {
        self.holds.of(workload, now)
    }

    /// Keeps a workload on nodes, be there a verdict on it or not; `None` where that is so already.
    pub fn hold(&mut self, workload: &Workload, now: u64) -> Option<Hold> {
        self.holds.begin(workload, now)
    }

    /// How many workloads are kept on nodes.
    pub fn holds(&self, now: u64) -> usize {
        self.holds.iter().filter(|(_, hold)| hold.lasts(now)).count()
    }

    /// Forgets verdicts that were not looked at for so many seconds, whose workloads are gone, and holds that are long over.
    pub fn forget_older(&mut self, seconds: u64, now: u64) {
        self.entries.retain(|_, entry| entry.verdict.age(now) <= seconds);
        self.holds.forget(now);
    }

    /// Where there are too many, lets a sixteenth go at once, so that a look over all is rare.
    fn shrink(&mut self) {
        if self.entries.len() <= self.limit {
            return;
        }
        let excess = self.entries.len() - self.limit + self.limit / 16;
        let mut asked: Vec<u64> = self.entries.values().map(|e| e.asked.load(Ordering::Relaxed)).collect();
        asked.sort_unstable();
        let Some(bar) = asked.get(excess).copied() else { return };
        let before = self.entries.len();
        self.entries.retain(|_, entry| entry.asked.load(Ordering::Relaxed) >= bar);
        self.evicted += (before - self.entries.len()) as u64;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many had to go for others.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// All of them: word of the workload, and verdict.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Verdict)> {
        self.entries.iter().map(|(word, entry)| (&**word, &*entry.verdict))
    }

    /// Whether the workload of this word, as [`Self::iter`] says it, is kept on nodes.
    pub fn is_held(&self, word: &str, now: u64) -> bool {
        let owner = word.split_inclusive('@').next().unwrap_or_default();
        self.holds.iter_of([owner, word]).any(|hold| hold.lasts(now))
    }

    /// What is asked for most comes first: for what is written for others.
    pub(crate) fn by_use(&self) -> Vec<(&str, &Verdict)> {
        let mut all: Vec<(u64, &str, &Verdict)> = self
            .entries
            .iter()
            .map(|(word, entry)| (entry.asked.load(Ordering::Relaxed), &**word, &*entry.verdict))
            .collect();
        all.sort_unstable_by_key(|(asked, word, _)| (std::cmp::Reverse(*asked), *word));
        all.into_iter().map(|(_, word, verdict)| (word, verdict)).collect()
    }

    pub(crate) fn all_holds(&self) -> impl Iterator<Item = (&str, Hold)> {
        self.holds.iter()
    }

    /// Takes over what another one wrote, all documents of it, where that is newer than what is known here. A workload that was
    /// to go to Fargate when a document was written that would speak of it and does not, goes to nodes from now on. The later
    /// document counts before the earlier.
    pub fn apply(&mut self, documents: &[Document]) {
        let mut documents: Vec<&Document> = documents.iter().collect();
        documents.sort_by_key(|document| document.at);
        for document in documents {
            self.entries.retain(|word, entry| {
                let untold = document.is_about(word) && !document.verdicts.contains_key(&**word);
                let told = entry.verdict.is_told() && entry.verdict.looked <= document.at;
                !(untold && told)
            });
            for (word, verdict) in &document.verdicts {
                let known = self.entries.get(&**word).map(|entry| &entry.verdict);
                let newer =
                    |known: &Arc<Verdict>| (known.looked, known.since) < (verdict.looked, verdict.since);
                if known.is_none_or(newer) {
                    self.put_word(word.to_string(), verdict.clone());
                }
            }
            for (word, hold) in &document.holds {
                self.holds.put(word.to_string(), *hold);
            }
        }
    }
}

fn shorten(why: &mut Why) {
    if let Why::Forbidden(reasons) = why {
        reasons.truncate(MAX_REASONS);
        for reason in reasons.iter_mut().filter(|reason| reason.len() > MAX_REASON) {
            *reason = reason.chars().take(MAX_REASON / 4).collect();
        }
    }
}
