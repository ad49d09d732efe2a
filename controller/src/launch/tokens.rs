//! Client tokens of fleets, by which EC2 knows that it is asked again for the same.
//!
//! EC2 answers a token that it knows as it did the first time. So a fleet that was answered with nothing launched needs another
//! token: with the same one, what was in the way would be in the way for ever.
//!
//! # Invariants
//! - A claim's next token is used only when EC2 has said that nothing was launched with the last. So of all its tokens one at
//!   most has a machine, whoever else has tried before.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// How often a launch was answered with nothing, by claim.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Arc<Mutex<BTreeMap<String, u32>>>);

impl Tokens {
    /// The token of a claim's next try.
    pub fn of(&self, claim: &str, uid: &str) -> String {
        match self.with(|all| all.get(claim).copied()) {
            None => uid.to_owned(),
            Some(tries) => format!("{uid}-{tries}"),
        }
    }

    /// EC2 has said that it launched nothing for the last.
    pub fn spent(&self, claim: &str) {
        self.with(|all| *all.entry(claim.to_owned()).or_default() += 1);
    }

    /// Forgets all claims but those of which this holds.
    pub fn keep(&self, is_there: impl Fn(&str) -> bool) {
        self.with(|all| all.retain(|claim, _| is_there(claim)));
    }

    fn with<T>(&self, f: impl FnOnce(&mut BTreeMap<String, u32>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
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
        tokens.keep(|claim| claim != "a");
        assert_eq!(next(), "u");
    }
}
