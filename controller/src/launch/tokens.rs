//! Client tokens of fleets, by which EC2 knows that it is asked again for the same.
//!
//! EC2 answers a token that it knows as it did the first time. So a fleet that was answered with nothing launched needs another
//! token: with the same one, what was in the way would be in the way for ever.
//!
//! # Invariants
//! - A claim's next token is used only when EC2 has said that nothing was launched with the last. So of all its tokens one at
//!   most has a machine, whoever else has tried before.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::shared::Shared;

/// Launches by claim.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Shared<BTreeMap<String, Tries>>);

#[derive(Clone, Copy, Debug, Default)]
struct Tries {
    /// How often EC2 has said that it launched nothing.
    spent: u32,
    /// Since when a launch has not been answered.
    open: Option<Instant>,
    /// Since when EC2 refuses the token, as it was used before with something else.
    mismatch: Option<Instant>,
}

/// A machine shows by its tags within this time, where there is one.
///
/// Source: EC2's eventual consistency; its API guide advises to wait for up to a few minutes, and tags of a fleet are set with
/// the launch.
const SHOWS: Duration = Duration::from_mins(1);

impl Tokens {
    /// The token of a claim's next try.
    pub fn of(&self, claim: &str, uid: &str) -> String {
        match self.0.with(|all| all.get(claim).map_or(0, |tries| tries.spent)) {
            0 => uid.to_owned(),
            tries => format!("{uid}-{tries}"),
        }
    }

    /// EC2 is asked for a machine.
    pub fn asked(&self, claim: &str) {
        self.0.with(|all| {
            all.entry(claim.to_owned()).or_default().open.get_or_insert_with(Instant::now);
        });
    }

    /// EC2 has refused it, or has not answered. Where the token was used before with something else, and no machine has shown for a
    /// minute, there is none.
    pub fn refused(&self, claim: &str, mismatch: bool) {
        let known = self.0.with(|all| {
            let tries = all.entry(claim.to_owned()).or_default();
            tries.mismatch = mismatch.then(|| tries.mismatch.unwrap_or_else(Instant::now));
            tries.mismatch.is_some_and(|since| since.elapsed() >= SHOWS)
        });
        if known {
            self.spent(claim);
        }
    }

    /// EC2 has said that it launched nothing for the last.
    pub fn spent(&self, claim: &str) {
        self.0.with(|all| {
            let tries = all.entry(claim.to_owned()).or_default();
            *tries = Tries { spent: tries.spent + 1, ..Tries::default() };
        });
    }

    /// Whether a launch was asked for of late of which nobody knows what came of it.
    pub fn is_open(&self, claim: &str) -> bool {
        self.0.with(|all| {
            all.get(claim).and_then(|tries| tries.open).is_some_and(|since| since.elapsed() < SHOWS)
        })
    }

    /// Forgets all claims but those of which this holds.
    pub fn keep(&self, is_there: impl Fn(&str) -> bool) {
        self.0.with(|all| all.retain(|claim, _| is_there(claim)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_used_until_nothing_came_of_it() {
        let tokens = Tokens::default();
        let next = || tokens.of("a", "u");
        assert_eq!((next(), next()), ("u".to_owned(), "u".to_owned()), "no answer is no reason for another");
        tokens.spent("a");
        assert_eq!((next(), tokens.of("b", "v")), ("u-1".to_owned(), "v".to_owned()));
        tokens.spent("a");
        assert_eq!(next(), "u-2");
        tokens.asked("a");
        assert!(tokens.is_open("a") && !tokens.is_open("b"));
        tokens.refused("a", true);
        assert_eq!(next(), "u-2", "a machine may show yet");
        tokens.spent("a");
        assert!(!tokens.is_open("a"));
        tokens.keep(|claim| claim != "a");
        assert_eq!(next(), "u");
    }
}
