//! Verdicts and holds as replicas write them for each other: documents that each hold a part of them, as a `ConfigMap` holds no
//! more than 1 MiB.
//!
//! All templates of an owner, and what holds it on nodes, stand in one document, by a hash of the owner. Each document says
//! which part it is, so each can be read by itself; while the number of parts changes, the later one counts.
//!
//! # Invariants
//! - Holds come first, then the verdicts that are asked for most; what finds no room is counted, and goes to nodes.
//! - What others take for granted is not written: workloads that stay on nodes, unless a change is on its way.
//! - Whatever is read, nothing panics: entries that cannot be understood are passed over and counted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use stowage_pricing::fargate::Shape;
use stowage_solver::Price;

use crate::cache::Cache;
use crate::hash::Fnv;
use crate::hold::Hold;
use crate::needs::Needs;
use crate::policy::{Labels, PolicyId};
use crate::verdict::{Finding, OnNodes, Side, Target, Verdict, Why};

/// The label of the `ConfigMaps` in which documents stand: a key, and its value.
pub const VERDICTS_LABEL: (&str, &str) = ("stowage.dev/fargate", "verdicts");
/// Where a document stands in its `ConfigMap`.
pub const VERDICTS_KEY: &str = "verdicts";
/// How large a document may be, in bytes: a `ConfigMap` of 1 MiB less what stands around it.
pub const DOCUMENT_BYTES: usize = 900 << 10;
/// Documents at most: 20,000 verdicts of a kilobyte each.
pub const MOST_DOCUMENTS: u32 = 32;
/// The most that is read of one.
const MAX_BYTES: usize = 1 << 20;
/// The longest name of a workload: namespace, kind, name and template, as Kubernetes limits them.
pub(crate) const MAX_WORD: usize = 63 + 63 + 253 + 63 + 3;
/// Labels that a target may have: those of a selector, and the one that names the profile.
pub(crate) const MAX_LABELS: usize = 6;
/// The version of what is written.
const VERSION: u32 = 2;

/// A document to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which one it is.
    pub number: u32,
    /// What stands in it.
    pub json: String,
    /// A hash of what it says, moments of looks aside: with the same one it is news to nobody, and need be written only so that
    /// verdicts do not grow too old to be followed.
    pub digest: u64,
}

/// All documents of a cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// The documents; what stands in the cluster beside them is to be deleted.
    pub all: Vec<Part>,
    /// How many verdicts found no room.
    pub left_out: usize,
}

/// A document as it was read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    pub(crate) at: u64,
    pub(crate) shard: u32,
    pub(crate) of: u32,
    pub(crate) verdicts: BTreeMap<Box<str>, Verdict>,
    pub(crate) holds: BTreeMap<Box<str>, Hold>,
    /// Entries that could not be understood.
    pub dropped: usize,
}

/// The document of so many in which a workload stands, by its word.
fn shard(word: &str, of: u32) -> u32 {
    let mut hash = Fnv::default();
    hash.text(word.split('@').next().unwrap_or_default());
    // The low bits of FNV alone are poor.
    let mixed = hash.finish() ^ (hash.finish() >> 32);
    (mixed % u64::from(of.max(1))) as u32
}

impl Cache {
    /// What others must know as of `now`, in documents of at most so many bytes each: [`DOCUMENT_BYTES`].
    ///
    /// # Errors
    /// Never: what is written are texts and numbers.
    pub fn write(&self, now: u64, most: usize) -> Result<Parts, serde_json::Error> {
        let mut holds = Vec::new();
        for (word, hold) in self.all_holds() {
            let line = format!("{}:[{},{}]", serde_json::to_string(word)?, hold.until, hold.strikes);
            holds.push((word, line));
        }
        let mut verdicts = Vec::new();
        for (word, verdict) in self.by_use().into_iter().filter(|(_, verdict)| verdict.is_told()) {
            let key = serde_json::to_string(word)?;
            let wire = Wire::of(verdict);
            let line = format!("{key}:{}", serde_json::to_string(&wire)?);
            let news = format!("{key}:{}", serde_json::to_string(&wire.without_moments())?);
            verdicts.push((word, line, news));
        }
        let size = holds.iter().map(|(_, line)| line.len() + 1).sum::<usize>()
            + verdicts.iter().map(|(_, line, _)| line.len() + 1).sum::<usize>();
        // Parts are not equally full: a quarter is left free, where there may be that many.
        let wanted = (size / (most / 4 * 3).max(1)) as u32 + 1;
        let of = wanted.next_power_of_two().min(MOST_DOCUMENTS);
        let mut parts = Parts::default();
        for number in 0..of {
            let head = format!("{{\"version\":{VERSION},\"at\":{now},\"shard\":{number},\"of\":{of},");
            let mut left = most.saturating_sub(head.len() + "\"holds\":{},\"verdicts\":{}}".len());
            let mut keep = |line: &str| {
                let fits = line.len() < left;
                left -= if fits { line.len() + 1 } else { 0 };
                fits
            };
            let here = |word: &str| shard(word, of) == number;
            let mut held: Vec<&str> = holds
                .iter()
                .filter(|(word, line)| here(word) && keep(line))
                .map(|(_, line)| line.as_str())
                .collect();
            let mut kept = Vec::new();
            for (_, line, news) in verdicts.iter().filter(|(word, ..)| here(word)) {
                if keep(line) {
                    kept.push((line.as_str(), news.as_str()));
                } else {
                    parts.left_out += 1;
                }
            }
            // By name, and not by use: what is used more today is no news.
            held.sort_unstable();
            kept.sort_unstable();
            let mut digest = Fnv::default();
            held.iter().chain(kept.iter().map(|(_, news)| news)).for_each(|line| digest.text(line));
            let lines: Vec<&str> = kept.iter().map(|(line, _)| *line).collect();
            let json =
                format!("{head}\"holds\":{{{}}},\"verdicts\":{{{}}}}}", held.join(","), lines.join(","));
            parts.all.push(Part { number, json, digest: digest.finish() });
        }
        Ok(parts)
    }
}

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// What is wrong with it as a whole, for a log.
    pub fn parse(json: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Raw<'a> {
            version: u32,
            at: u64,
            shard: u32,
            of: u32,
            #[serde(borrow)]
            holds: BTreeMap<String, &'a RawValue>,
            #[serde(borrow)]
            verdicts: BTreeMap<String, &'a RawValue>,
        }
        if json.len() > MAX_BYTES {
            return Err(format!("has {} bytes, and at most {MAX_BYTES} are read", json.len()));
        }
        let raw: Raw<'_> = serde_json::from_str(json).map_err(|error| error.to_string())?;
        if raw.version != VERSION {
            return Err(format!("is of version {}, and only {VERSION} is known", raw.version));
        }
        if raw.shard >= raw.of || raw.of > MOST_DOCUMENTS {
            return Err(format!("says that it is part {} of {}", raw.shard, raw.of));
        }
        let mut this = Self { at: raw.at, shard: raw.shard, of: raw.of, ..Self::default() };
        for (word, raw) in raw.holds {
            match serde_json::from_str::<(u64, u32)>(raw.get()) {
                Ok((until, strikes)) if is_word(&word) => {
                    this.holds.insert(word.into_boxed_str(), Hold { until, strikes });
                }
                _ => this.dropped += 1,
            }
        }
        for (word, raw) in raw.verdicts {
            let verdict = serde_json::from_str::<Wire>(raw.get()).ok().and_then(Wire::into_verdict);
            match verdict.filter(|_| is_word(&word)) {
                Some(verdict) => {
                    this.verdicts.insert(word.into_boxed_str(), verdict);
                }
                None => this.dropped += 1,
            }
        }
        Ok(this)
    }

    /// When it was written, in seconds since 1970.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// How many verdicts and holds it tells of.
    pub fn len(&self) -> usize {
        self.verdicts.len() + self.holds.len()
    }

    /// Whether it tells of none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it would tell of the workload of this word.
    pub(crate) fn is_about(&self, word: &str) -> bool {
        shard(word, self.of) == self.shard
    }
}

/// Whether this is what [`crate::Workload::word`] writes.
fn is_word(word: &str) -> bool {
    word.len() <= MAX_WORD && word.matches('/').count() >= 2 && word.contains('@')
}

/// Profile, labels, shape, price and needs on Fargate.
type WireTarget = (String, Labels, [u32; 3], i64, Vec<String>);

/// A verdict as it is written: short names, as there are thousands.
#[derive(Serialize, Deserialize)]
struct Wire {
    /// Policy and its version.
    p: String,
    v: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    t: Option<WireTarget>,
    /// Whether it goes to Fargate, and why.
    f: bool,
    w: String,
    /// The same of what was found, where that is something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    o: Option<String>,
    /// What nodes cost; below zero where there is no place. Nothing is room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<i64>,
    /// And together with others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    j: Option<i64>,
    /// Lead in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    l: Option<u32>,
    /// Since, looked, against, together.
    s: (u64, u64, u32, u32),
}

impl Wire {
    fn of(verdict: &Verdict) -> Self {
        let found = &verdict.found;
        let shape = |s: Shape| [s.cpu_millis, s.memory_mib, s.disk_gib];
        let target = |t: &Target| {
            let needs = t.needs.words().map(str::to_owned).collect();
            (t.profile.clone(), t.labels.clone(), shape(t.shape), t.price.micros(), needs)
        };
        let other = verdict.side != found.side || verdict.why != found.why;
        let sign = if found.side == Side::Fargate { "+" } else { "-" };
        Self {
            p: found.policy.0.word(),
            v: found.policy.1,
            t: found.target.as_ref().map(target),
            f: verdict.side == Side::Fargate,
            w: verdict.why.word().to_owned(),
            o: other.then(|| format!("{sign}{}", found.why.word())),
            n: found.nodes.map(|nodes| nodes.price().map_or(-1, Price::micros)),
            j: found.jointly.map(Price::micros),
            l: found.lead_percent,
            s: (verdict.since, verdict.looked, verdict.against, found.together),
        }
    }

    /// What is said of it that is not another moment or price of the same.
    fn without_moments(self) -> Self {
        Self { n: None, j: None, l: None, s: (self.s.0, 0, self.s.2, 0), ..self }
    }

    fn into_verdict(self) -> Option<Verdict> {
        let target = match self.t {
            None => None,
            Some((profile, labels, [cpu_millis, memory_mib, disk_gib], micros, needs)) => {
                let needs = Needs::from_words(needs)?;
                if labels.len() > MAX_LABELS || micros < 0 || profile.is_empty() {
                    return None;
                }
                let shape = Shape { cpu_millis, memory_mib, disk_gib };
                Some(Target { profile, labels, shape, price: Price::from_micros(micros), needs })
            }
        };
        let side = if self.f { Side::Fargate } else { Side::Ec2 };
        if side == Side::Fargate && target.is_none() {
            return None;
        }
        let why = Why::from_word(&self.w)?;
        let (found_side, found_why) = match &self.o {
            None => (side, why.clone()),
            Some(word) => match word.strip_prefix('+') {
                Some(word) => (Side::Fargate, Why::from_word(word)?),
                None => (Side::Ec2, Why::from_word(word.strip_prefix('-')?)?),
            },
        };
        if found_side == Side::Fargate && target.is_none() {
            return None;
        }
        let (since, looked, against, together) = self.s;
        let nodes = self.n.map(|micros| match micros {
            0 => OnNodes::Room,
            n if n < 0 => OnNodes::NoPlace,
            n => OnNodes::Bought(Price::from_micros(n)),
        });
        let found = Finding {
            policy: (PolicyId::from_word(&self.p)?, self.v),
            target,
            side: found_side,
            why: found_why,
            nodes,
            jointly: self.j.map(Price::from_micros),
            lead_percent: self.l,
            together,
        };
        Some(Verdict { found, side, why, since, looked, against })
    }
}
