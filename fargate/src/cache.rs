//! The verdicts of all workloads, of bounded size, to be asked at each admission.
//!
//! What is asked for is remembered by a counter for each verdict, so that many may ask at once; where there are too many
//! verdicts, those go that were not asked for the longest.
//!
//! # Invariants
//! - Never more verdicts than the limit. A verdict takes at most some 4 KB, mostly a few hundred bytes: 20,000 of them some
//!   10 MB, 80 MB at most.
//! - A workload that is not there has no verdict, and stays on nodes. So only what goes to Fargate, or is held on nodes by the
//!   guard, is written for others.
//! - Whatever is read, nothing panics: entries that cannot be understood are passed over and counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use stowage_pricing::fargate::Shape;
use stowage_solver::Price;

use crate::policy::{Labels, PolicyId};
use crate::verdict::{Before, Finding, OnNodes, Side, Target, Verdict, Why};
use crate::workload::Workload;

/// Verdicts that are kept where nothing else is said.
pub const DEFAULT_LIMIT: usize = 20_000;
/// The most that is read: a `ConfigMap` holds no more than 1 MiB.
const MAX_BYTES: usize = 1 << 20;
/// The longest name of a workload: namespace, kind, name and template, as Kubernetes limits them.
const MAX_WORD: usize = 63 + 63 + 253 + 63 + 3;
/// Reasons of rules that are kept, and how long each may be.
const MAX_REASONS: usize = 8;
const MAX_REASON: usize = 200;
/// Labels that a target may have: those of a selector, and the one that names the profile.
const MAX_LABELS: usize = 6;
/// The version of what is written.
const VERSION: u32 = 1;

#[derive(Debug)]
struct Entry {
    verdict: Arc<Verdict>,
    asked: AtomicU64,
}

/// Verdicts by workload.
#[derive(Debug)]
pub struct Cache {
    entries: BTreeMap<Box<str>, Entry>,
    limit: usize,
    clock: AtomicU64,
    evicted: u64,
}

impl Default for Cache {
    fn default() -> Self {
        Self::new(DEFAULT_LIMIT)
    }
}

/// What reading verdicts has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Verdicts that were read.
    pub read: usize,
    /// Entries that could not be understood.
    pub dropped: usize,
}

impl Cache {
    /// For so many verdicts; one at least.
    pub fn new(limit: usize) -> Self {
        Self { entries: BTreeMap::new(), limit: limit.max(1), clock: AtomicU64::new(0), evicted: 0 }
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::Relaxed)
    }

    /// The verdict on a workload.
    pub fn get(&self, workload: &Workload) -> Option<&Arc<Verdict>> {
        self.get_word(&workload.word())
    }

    /// The verdict on the workload of this word.
    pub fn get_word(&self, word: &str) -> Option<&Arc<Verdict>> {
        let entry = self.entries.get(word)?;
        entry.asked.store(self.tick(), Ordering::Relaxed);
        Some(&entry.verdict)
    }

    /// What was known before a look: the verdict on the workload, or else the latest on another template of it.
    pub fn before(&self, workload: &Workload) -> Before<'_> {
        if let Some(entry) = self.entries.get(workload.word().as_str()) {
            return Before::Same(&entry.verdict);
        }
        let owner = workload.owner_word();
        let from: Box<str> = owner.as_str().into();
        let others = self.entries.range(from..).take_while(|(word, _)| word.starts_with(&owner));
        let latest = others.max_by_key(|(_, entry)| entry.verdict.looked);
        latest.map_or(Before::Nothing, |(_, entry)| Before::OtherTemplate(&entry.verdict))
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

    /// Changes the verdict on a workload; nothing where there is none. Says what `change` says.
    pub fn change<T>(&mut self, workload: &Workload, change: impl FnOnce(&mut Verdict) -> T) -> Option<T> {
        let entry = self.entries.get_mut(workload.word().as_str())?;
        Some(change(Arc::make_mut(&mut entry.verdict)))
    }

    /// Forgets verdicts that were not looked at for so many seconds: their workloads are gone.
    pub fn forget_older(&mut self, seconds: u64, now: u64) {
        self.entries.retain(|_, entry| entry.verdict.age(now) <= seconds || now < entry.verdict.held_until);
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

    /// What others must know as of `now`, in at most so many bytes, and how many verdicts were left out for want of room: those
    /// that were not asked for the longest.
    ///
    /// # Errors
    /// Never: what is written are texts and numbers.
    pub fn to_json(&self, now: u64, most: usize) -> Result<(String, usize), serde_json::Error> {
        let mut wanted: Vec<(&str, &Entry)> =
            self.entries.iter().filter(|(_, e)| is_told(&e.verdict)).map(|(word, e)| (&**word, e)).collect();
        wanted.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.asked.load(Ordering::Relaxed)));
        let head = format!("{{\"version\":{VERSION},\"at\":{now},\"verdicts\":{{");
        let (mut left, mut lines) = (most.saturating_sub(head.len() + 2), BTreeMap::new());
        let mut out = 0;
        for (word, entry) in wanted {
            let key = serde_json::to_string(word)?;
            let value = serde_json::to_string(&Wire::of(&entry.verdict))?;
            let size = key.len() + value.len() + 2;
            if size > left {
                out += 1;
                continue;
            }
            left -= size;
            lines.insert(key, value);
        }
        let lines: Vec<String> = lines.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
        Ok((format!("{head}{}}}}}", lines.join(",")), out))
    }

    /// Takes over what another one wrote, where it is newer than what is known here. A workload that was to go to Fargate when
    /// that was written, and of which it says nothing, goes to nodes from now on.
    pub fn take(&mut self, json: &str) -> Taken {
        #[derive(Deserialize)]
        struct Document<'a> {
            version: u32,
            at: u64,
            #[serde(borrow)]
            verdicts: BTreeMap<String, &'a RawValue>,
        }
        let unread = Taken { read: 0, dropped: 1 };
        if json.len() > MAX_BYTES {
            return unread;
        }
        let document = match serde_json::from_str::<Document<'_>>(json) {
            Ok(document) if document.version == VERSION => document,
            _ => return unread,
        };
        self.entries.retain(|word, entry| {
            let verdict = &entry.verdict;
            verdict.looked > document.at || !is_told(verdict) || document.verdicts.contains_key(&**word)
        });
        let mut taken = Taken::default();
        for (word, raw) in document.verdicts {
            let verdict = serde_json::from_str::<Wire>(raw.get()).ok().and_then(Wire::into_verdict);
            let Some(verdict) = verdict.filter(|_| is_word(&word)) else {
                taken.dropped += 1;
                continue;
            };
            taken.read += 1;
            let known = self.entries.get(word.as_str()).map(|e| &e.verdict);
            if known.is_none_or(|known| (known.looked, known.since) < (verdict.looked, verdict.since)) {
                self.put_word(word, verdict);
            }
        }
        taken
    }
}

/// Whether others must know it: of whom they know nothing, they leave to nodes.
fn is_told(verdict: &Verdict) -> bool {
    verdict.side == Side::Fargate || verdict.held_until > 0
}

fn shorten(why: &mut Why) {
    if let Why::Forbidden(reasons) = why {
        reasons.truncate(MAX_REASONS);
        for reason in reasons {
            if reason.len() > MAX_REASON {
                *reason = reason.chars().take(MAX_REASON / 4).collect();
            }
        }
    }
}

/// Whether this is what [`Workload::word`] writes.
fn is_word(word: &str) -> bool {
    word.len() <= MAX_WORD && word.matches('/').count() >= 2 && word.contains('@')
}

/// A verdict as it is written: short names, as there are thousands.
#[derive(Serialize, Deserialize)]
struct Wire {
    /// Policy and its version.
    p: String,
    v: u64,
    /// Profile, labels, shape and price on Fargate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    t: Option<(String, Labels, [u32; 3], i64)>,
    /// Whether it goes to Fargate, and why.
    f: bool,
    w: String,
    /// What nodes cost; below zero where there is no place. Nothing is room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<i64>,
    /// Since, looked, against, held until, strikes, together.
    s: (u64, u64, u32, u64, u32, u32),
}

impl Wire {
    fn of(verdict: &Verdict) -> Self {
        let found = &verdict.found;
        let shape = |s: Shape| [s.cpu_millis, s.memory_mib, s.disk_gib];
        Self {
            p: found.policy.0.word(),
            v: found.policy.1,
            t: found
                .target
                .as_ref()
                .map(|t| (t.profile.clone(), t.labels.clone(), shape(t.shape), t.price.micros())),
            f: verdict.side == Side::Fargate,
            w: verdict.why.word().to_owned(),
            n: found.nodes.map(|nodes| nodes.price().map_or(-1, Price::micros)),
            s: (
                verdict.since,
                verdict.looked,
                verdict.against,
                verdict.held_until,
                verdict.strikes,
                found.together,
            ),
        }
    }

    fn into_verdict(self) -> Option<Verdict> {
        let target = self.t.map(|(profile, labels, [cpu_millis, memory_mib, disk_gib], micros)| {
            let shape = Shape { cpu_millis, memory_mib, disk_gib };
            let sound = labels.len() <= MAX_LABELS && micros >= 0 && !profile.is_empty();
            sound.then_some(Target { profile, labels, shape, price: Price::from_micros(micros) })
        });
        let target = match target {
            Some(read) => Some(read?),
            None => None,
        };
        let side = if self.f { Side::Fargate } else { Side::Ec2 };
        if side == Side::Fargate && target.is_none() {
            return None;
        }
        let why = Why::from_word(&self.w)?;
        let (since, looked, against, held_until, strikes, together) = self.s;
        let nodes = self.n.map(|micros| match micros {
            0 => OnNodes::Room,
            n if n < 0 => OnNodes::NoPlace,
            n => OnNodes::Bought(Price::from_micros(n)),
        });
        let found = Finding {
            policy: (PolicyId::from_word(&self.p)?, self.v),
            target,
            side,
            why: why.clone(),
            nodes,
            lead_percent: None,
            together,
        };
        Some(Verdict { found, side, why, since, looked, against, held_until, strikes })
    }
}
