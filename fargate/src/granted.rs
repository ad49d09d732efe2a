//! Grants that are written down ahead of use, so that who leads next knows how much may be under way.
//!
//! A grant is known to its leader alone until the pod is stored and seen, and that takes up to two minutes. Should the leader
//! die meanwhile, its successor would grant the same room again. So a leader grants up to a level only that it has written
//! before, in blocks, and a successor counts that level as used until it has seen everything that its predecessor granted.
//!
//! # Invariants
//! - What is under way and there by grants of a leader is never above the level that it has written last.
//! - While a lower level is being written, the lower one holds: whether it was written is known only when the answer comes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stowage_solver::Price;

use crate::policy::{Caps, PolicyId};

/// The largest document that is read, in bytes: what a `ConfigMap` holds.
const MAX_BYTES: usize = 1 << 20;
/// The version of what is written.
const VERSION: u32 = 1;
/// The smallest block, in pods and micro-dollars an hour; larger caps have blocks of a quarter. Large blocks are written
/// seldom and have room for pods that come all at once, as those of a rollout do; small ones would leave a successor more room
/// in its first two minutes.
const LEAST_BLOCK: Level = Level { pods: 64, micros: 4_000_000 };
const BLOCKS: u32 = 4;

/// So many pods, and so many micro-dollars an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// Pods.
    pub pods: u32,
    /// Micro-dollars an hour.
    pub micros: i64,
}

impl Level {
    /// Above all that can be.
    pub(crate) const ENDLESS: Self = Self { pods: u32::MAX, micros: i64::MAX };

    pub(crate) fn one(price: Price) -> Self {
        Self::of_alike(price, 1)
    }

    pub(crate) fn of_alike(price: Price, pods: u32) -> Self {
        Self { pods, micros: price.micros().saturating_mul(i64::from(pods)) }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self { pods: self.pods.saturating_add(other.pods), micros: self.micros.saturating_add(other.micros) }
    }

    pub(crate) fn less(self, other: Self) -> Self {
        Self { pods: self.pods.saturating_sub(other.pods), micros: self.micros.saturating_sub(other.micros) }
    }

    pub(crate) fn max(self, other: Self) -> Self {
        Self { pods: self.pods.max(other.pods), micros: self.micros.max(other.micros) }
    }

    pub(crate) fn min(self, other: Self) -> Self {
        Self { pods: self.pods.min(other.pods), micros: self.micros.min(other.micros) }
    }

    /// A cap, where what is not capped is endless.
    pub(crate) fn of(cap: Caps) -> Self {
        Self { pods: cap.pods.unwrap_or(u32::MAX), micros: cap.hourly.map_or(i64::MAX, Price::micros) }
    }

    /// The level to have written where this much is used of a cap: a block ahead.
    fn ahead(self, cap: Self) -> Self {
        self.plus(block(cap)).min(cap)
    }
}

/// A block of a cap.
fn block(cap: Level) -> Level {
    Level { pods: cap.pods / BLOCKS, micros: cap.micros / i64::from(BLOCKS) }.max(LEAST_BLOCK)
}

/// How far one policy may be granted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ahead {
    /// What is written for certain.
    written: Level,
    /// The lowest of what was asked to be written since; whether it was, is not known.
    asked: Option<Level>,
}

impl Ahead {
    /// Up to here may be granted.
    pub(crate) fn level(self) -> Level {
        self.asked.map_or(self.written, |asked| asked.min(self.written))
    }

    /// What should be written for so much that is used of a cap; the same as before while that will do.
    pub(crate) fn wanted(self, used: Level, cap: Level) -> Level {
        let (goal, block) = (used.ahead(cap), block(cap));
        let settle = |goal: i64, used: i64, block: i64, written: i64| {
            // Not again for each pod: when half of the block is used up, or two blocks are unused.
            let short = written < goal && written.saturating_sub(used) < (block + 1) / 2;
            let long = written.saturating_sub(goal) > block;
            if short || long { goal } else { written }
        };
        let pods = |n: u32| i64::from(n);
        Level {
            pods: settle(pods(goal.pods), pods(used.pods), pods(block.pods), pods(self.written.pods)) as u32,
            micros: settle(goal.micros, used.micros, block.micros, self.written.micros),
        }
    }

    pub(crate) fn ask(&mut self, level: Level) {
        self.asked = Some(self.asked.map_or(level, |asked| asked.min(level)));
    }

    pub(crate) fn wrote(&mut self, level: Level) {
        *self = Self { written: level, asked: None };
    }

    pub(crate) fn is_written(self, level: Level) -> bool {
        self.asked.is_none() && self.written == level
    }
}

/// What a leader has granted at most, by policy with a cap: what stands in the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantedUpTo {
    /// Which leader that is: each counts one further than the one before.
    pub epoch: u64,
    /// How far it may have gone.
    pub levels: BTreeMap<PolicyId, Level>,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    version: u32,
    epoch: u64,
    levels: BTreeMap<String, Level>,
}

impl GrantedUpTo {
    /// As JSON.
    ///
    /// # Errors
    /// Never: what is written are texts and numbers.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let levels = self.levels.iter().map(|(id, level)| (id.word(), *level)).collect();
        serde_json::to_string(&Wire { version: VERSION, epoch: self.epoch, levels })
    }

    /// From JSON.
    ///
    /// # Errors
    /// What is wrong with it, for a log. Who cannot read it takes over as if nothing stood there: that grants nothing until
    /// all pods of the predecessor have been seen.
    pub fn parse(json: &str) -> Result<Self, String> {
        if json.len() > MAX_BYTES {
            return Err(format!("has {} bytes, and at most {MAX_BYTES} are read", json.len()));
        }
        let wire: Wire = serde_json::from_str(json).map_err(|error| error.to_string())?;
        if wire.version != VERSION {
            return Err(format!("is of version {}, and only {VERSION} is known", wire.version));
        }
        let level = |(word, level): (String, Level)| match PolicyId::from_word(&word) {
            Some(id) if level.micros >= 0 => Ok((id, level)),
            _ => Err(format!("levels.{word:.80}: is no level of a policy")),
        };
        let levels = wire.levels.into_iter().map(level).collect::<Result<_, String>>()?;
        Ok(Self { epoch: wire.epoch, levels })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn levels_are_read_as_they_were_written_and_nothing_else_is() {
        let id = PolicyId { namespace: Some("shop".to_owned()), name: "p".to_owned() };
        let one = GrantedUpTo { epoch: 3, levels: [(id, Level { pods: 5, micros: 70 })].into() };
        let json = one.to_json().unwrap();
        assert_eq!(GrantedUpTo::parse(&json), Ok(one));
        for (from, to) in
            [("\"version\":1", "\"version\":2"), ("shop/p", "shop"), ("70", "-70"), ("5", "-5"), ("{", "[")]
        {
            assert!(GrantedUpTo::parse(&json.replacen(from, to, 1)).is_err(), "{from} {to}");
        }
        assert!(GrantedUpTo::parse(&" ".repeat(2 << 20)).is_err());
    }

    #[test]
    fn while_a_lower_level_is_being_written_the_lower_one_holds() {
        let mut ahead = Ahead::default();
        ahead.ask(Level { pods: 8, micros: 0 });
        assert_eq!(ahead.level().pods, 0);
        ahead.wrote(Level { pods: 8, micros: 0 });
        assert_eq!(ahead.level().pods, 8);
        ahead.ask(Level { pods: 2, micros: 0 });
        ahead.ask(Level { pods: 6, micros: 0 });
        assert_eq!(ahead.level().pods, 2);
        ahead.wrote(Level { pods: 6, micros: 0 });
        assert_eq!(ahead.level().pods, 6);
    }

    proptest! {
        /// What is written lets one more be granted below the cap, is never above the cap, and is written for half a block at
        /// a time, not for each pod.
        #[test]
        fn blocks_are_ahead_and_seldom(cap in 0_u32..1_000) {
            let most = Level { pods: cap, micros: i64::MAX };
            let (mut ahead, mut writes) = (Ahead::default(), 0);
            for pods in (0..=cap).chain((0..=cap).rev()) {
                let used = Level { pods, micros: 0 };
                let wanted = ahead.wanted(used, most);
                writes += u32::from(!ahead.is_written(wanted));
                ahead.wrote(wanted);
                prop_assert!(wanted.pods <= cap);
                prop_assert!(wanted.pods > pods || pods == cap, "{wanted:?} for {pods}");
                prop_assert!(wanted.pods <= pods + 2 * block(most).pods, "{wanted:?} for {pods}");
            }
            prop_assert!(writes <= 3 * cap / block(most).pods + 2, "{writes} for {cap}");
        }
    }
}
