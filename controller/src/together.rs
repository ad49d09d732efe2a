//! Questions that many ask at the same time, asked together.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use stowage_aws::Refused;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::shared::Shared;

/// For so long questions are gathered.
///
/// compat: karpenter v1.14 gathers them for 35 ms to a second.
const GATHER: Duration = Duration::from_millis(100);

/// Questions about things that have names, all of one sort.
#[derive(Debug)]
pub(crate) struct Together<A> {
    gathering: Shared<Gathering>,
    /// Answers for whom another has asked.
    answered: Arc<Mutex<HashMap<String, Answer<A>>>>,
}

/// Names that are asked about next, and since when there are any.
#[derive(Debug, Default)]
struct Gathering {
    names: BTreeSet<String>,
    since: Option<Instant>,
}

/// `None`: there is nothing of that name.
type Answer<A> = Result<Option<A>, Refused>;

impl<A> Clone for Together<A> {
    fn clone(&self) -> Self {
        Self { gathering: self.gathering.clone(), answered: Arc::clone(&self.answered) }
    }
}

impl<A> Default for Together<A> {
    fn default() -> Self {
        Self { gathering: Shared::default(), answered: Arc::default() }
    }
}

impl<A: Clone> Together<A> {
    /// Asks about one, together with those that others ask about within a tenth of a second. `ask` is given all their names and
    /// how long the first of them has waited, and gives what it finds by name.
    ///
    /// # Errors
    /// What AWS says, of whichever of them.
    pub(crate) async fn ask(
        &self,
        of: &str,
        ask: impl AsyncFnOnce(&[String], Duration) -> Result<HashMap<String, A>, Refused>,
    ) -> Answer<A> {
        self.gathering.with(|all| {
            all.names.insert(of.to_owned());
            all.since.get_or_insert_with(Instant::now);
        });
        tokio::time::sleep(GATHER).await;
        // Whoever comes while somebody asks waits, and finds his answer, or asks for all that have come since.
        let mut answered = self.answered.lock().await;
        if let Some(known) = answered.remove(of) {
            return known;
        }
        let Gathering { mut names, since } = self.gathering.with(std::mem::take);
        names.insert(of.to_owned());
        let all: Vec<String> = names.into_iter().collect();
        let found = ask(&all, since.map_or(GATHER, |since| since.elapsed())).await;
        for other in all.into_iter().filter(|other| other != of) {
            let answer = found.as_ref().map(|found| found.get(&other).cloned()).map_err(Clone::clone);
            answered.insert(other, answer);
        }
        found.map(|mut found| found.remove(of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_questions_are_one() {
        let (together, calls) = (Together::<usize>::default(), Shared::<Vec<Vec<String>>>::default());
        let ask = |of: &'static str| {
            let (together, calls) = (together.clone(), calls.clone());
            async move {
                let asked = async |all: &[String], _: Duration| {
                    calls.with(|calls| calls.push(all.to_vec()));
                    let known = all.iter().filter(|name| *name != "unknown");
                    Ok(known.map(|name| (name.clone(), name.len())).collect())
                };
                together.ask(of, asked).await
            }
        };
        let (a, unknown, ccc) = tokio::join!(ask("a"), ask("unknown"), ask("ccc"));
        assert_eq!((a, unknown, ccc), (Ok(Some(1)), Ok(None), Ok(Some(3))));
        assert_eq!(ask("a").await, Ok(Some(1)), "an answer is given once");
        assert_eq!(calls.with(|calls| calls.clone()), [vec!["a", "ccc", "unknown"], vec!["a"]]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_told_to_all() {
        let together = Together::<()>::default();
        let refused = || Refused { call: "X", code: None, message: "no".to_owned() };
        let ask = |of: &'static str| together.ask(of, async |_: &[String], _: Duration| Err(refused()));
        let (a, b) = tokio::join!(ask("a"), ask("b"));
        assert_eq!((a, b), (Err(refused()), Err(refused())));
    }
}
