//! All answers about a region: fresh ones as they are kept, the others asked for anew, side by side.

use std::collections::BTreeMap;
use std::sync::Arc;

use stowage_pricing::Timestamp;
use stowage_pricing::aws::AnswerError;
use tokio::sync::mpsc;

use crate::ask::ask;
use crate::call::Call;
use crate::session::{Session, configured_region};
use crate::store::{Kept, Store};

/// What is wished for.
#[derive(Clone, Copy, Debug)]
pub struct Wish<'a> {
    /// The region; that of AWS's own configuration where none is given.
    pub region: Option<&'a str>,
    /// Where answers are kept.
    pub store: &'a Store,
    /// Seconds after which an answer is asked for anew; [`Call::holds`] where not given. Zero asks for all.
    pub most_age: Option<u64>,
    /// Whether nothing is asked for, whatever its age.
    pub offline: bool,
    /// Whether services that have no endpoint inside a network are out of reach: what they say is not asked for.
    pub isolated: bool,
    /// Now.
    pub now: Timestamp,
}

/// The last good answer to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// When it was asked for.
    pub asked: Timestamp,
    /// Its pages as JSON, one after the other.
    pub answer: Vec<u8>,
}

/// What is known of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readings {
    /// The region.
    pub region: String,
    /// The last good answers.
    pub answers: BTreeMap<Call, Reading>,
    /// Why a call that was asked anew brought none.
    pub failures: BTreeMap<Call, AnswerError>,
    /// What is wrong with what is kept.
    pub remarks: Vec<String>,
}

/// Why nothing is known of a region.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Nobody says which.
    #[error("no region is given\nhint: give --region, or set AWS_REGION or the region of the AWS profile")]
    NoRegion,
    /// No answer came, and there is no old one.
    #[error(
        "AWS told nothing of {region}, and nothing is kept of it: {why}\nhint: is AWS within reach, and are there \
         credentials? `aws sts get-caller-identity` looks in the same places"
    )]
    Nothing {
        /// The region.
        region: String,
        /// What the first call that failed said.
        why: String,
    },
    /// Nothing is kept, and nothing was to be asked.
    #[error("nothing is kept of {region}\nhint: ask AWS once, without --offline")]
    NothingKept {
        /// The region.
        region: String,
    },
    /// Something that no catalogue can do without is not known.
    #[error("{call} of {region} are not known: {why}")]
    Missing {
        /// What.
        call: Call,
        /// The region.
        region: String,
        /// Why not.
        why: String,
    },
    /// An answer cannot be read.
    #[error("{call} of {region}: {why}")]
    Unreadable {
        /// Of which call.
        call: Call,
        /// The region.
        region: String,
        /// What is wrong.
        why: String,
    },
    /// The system does not let us wait for answers.
    #[error("cannot wait for answers of AWS: {0}")]
    System(String),
}

/// What a task tells.
enum Event {
    /// A page has come.
    Page,
    /// The last page has come, or none will.
    Done(Call, Result<Vec<u8>, AnswerError>),
}

/// Reads a region; `tell` hears how many pages have come so far.
///
/// # Errors
/// Where no region is given or configured. That answers are missing is no error yet.
pub fn read(wish: &Wish<'_>, tell: &mut dyn FnMut(u64)) -> Result<Readings, Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Trouble::System(error.to_string()))?;
    runtime.block_on(read_all(wish, tell))
}

async fn read_all(wish: &Wish<'_>, tell: &mut dyn FnMut(u64)) -> Result<Readings, Trouble> {
    let region = match wish.region {
        Some(region) => region.to_owned(),
        None => configured_region().await.ok_or(Trouble::NoRegion)?,
    };
    let mut readings =
        Readings { region, answers: BTreeMap::new(), failures: BTreeMap::new(), remarks: Vec::new() };
    let stale = readings.take_kept(wish);
    if !stale.is_empty() {
        readings.ask(wish, stale, tell).await;
    }
    Ok(readings)
}

impl Readings {
    /// Takes what is kept; says what is to be asked for anew.
    fn take_kept(&mut self, wish: &Wish<'_>) -> Vec<Call> {
        let mut stale = Vec::new();
        for call in Call::ALL {
            let kept = wish.store.last(&self.region, call).unwrap_or_else(|damage| {
                self.remarks.push(damage);
                None
            });
            let holds = wish.most_age.unwrap_or_else(|| call.holds());
            let fresh = kept.as_ref().is_some_and(|kept| wish.now.seconds_since(kept.asked) < holds);
            let out_of_reach = wish.offline || (wish.isolated && call.leaves_network());
            if !fresh && !out_of_reach {
                stale.push(call);
            }
            if let Some(Kept { asked, answer }) = kept {
                self.answers.insert(call, Reading { asked, answer });
            }
        }
        stale
    }

    /// Asks side by side, and keeps each answer as soon as it is whole.
    async fn ask(&mut self, wish: &Wish<'_>, calls: Vec<Call>, tell: &mut dyn FnMut(u64)) {
        let session = Arc::new(Session::open(&self.region).await);
        let (events, mut told) = mpsc::unbounded_channel();
        for call in calls {
            let (session, events, now) = (Arc::clone(&session), events.clone(), wish.now);
            // Should the task end without an answer, this is why.
            let problem = "the task that asked has ended".to_owned();
            self.failures.insert(call, AnswerError::NoAnswer { call: call.name(), problem });
            tokio::spawn(async move {
                // That nobody listens any more is no matter.
                let page = || drop(events.send(Event::Page));
                let answer = ask(&session, call, now, &page).await;
                drop(events.send(Event::Done(call, answer)));
            });
        }
        drop(events);
        let mut pages = 0;
        while let Some(event) = told.recv().await {
            match event {
                Event::Page => {
                    pages += 1;
                    tell(pages);
                }
                Event::Done(call, answer) => self.take(wish, call, answer),
            }
        }
    }

    fn take(&mut self, wish: &Wish<'_>, call: Call, answer: Result<Vec<u8>, AnswerError>) {
        match answer {
            Ok(answer) => {
                let kept = Kept { asked: wish.now, answer };
                if let Err(problem) = wish.store.keep(&self.region, call, &kept) {
                    self.remarks.push(problem);
                }
                self.answers.insert(call, Reading { asked: kept.asked, answer: kept.answer });
                self.failures.remove(&call);
            }
            Err(error) => {
                self.failures.insert(call, error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::store;

    const NOON: Timestamp = Timestamp::from_seconds(1_784_548_800);

    fn readings() -> Readings {
        let (answers, failures) = (BTreeMap::new(), BTreeMap::new());
        Readings { region: "eu-west-1".to_owned(), answers, failures, remarks: Vec::new() }
    }

    #[test]
    fn what_is_old_is_asked_for_and_kept_until_an_answer_comes() {
        let store = store("read");
        let kept = Kept { asked: NOON, answer: b"{}".to_vec() };
        for call in [Call::InstanceTypes, Call::SpotPrices] {
            store.keep("eu-west-1", call, &kept).unwrap();
        }
        let two_hours_on = NOON.plus_seconds(7_200);
        let wish = Wish {
            region: None,
            store: &store,
            most_age: None,
            offline: false,
            isolated: false,
            now: two_hours_on,
        };
        let mut of = readings();
        let stale = of.take_kept(&wish);
        assert!(!stale.contains(&Call::InstanceTypes) && stale.contains(&Call::SpotPrices), "{stale:?}");
        assert_eq!(stale.len(), Call::ALL.len() - 1);
        assert_eq!(readings().take_kept(&Wish { most_age: Some(0), ..wish }).len(), Call::ALL.len());
        assert!(readings().take_kept(&Wish { offline: true, ..wish }).is_empty());
        let inside = readings().take_kept(&Wish { isolated: true, most_age: Some(0), ..wish });
        assert!(inside.contains(&Call::SpotPrices) && !inside.contains(&Call::OnDemandPrices), "{inside:?}");

        let refused = AnswerError::NoAnswer { call: "DescribeSpotPriceHistory", problem: "no".to_owned() };
        of.take(&wish, Call::SpotPrices, Err(refused.clone()));
        assert_eq!((of.answers[&Call::SpotPrices].asked, &of.failures[&Call::SpotPrices]), (NOON, &refused));
        of.take(&wish, Call::SpotPrices, Ok(b"{\"SpotPriceHistory\": []}".to_vec()));
        assert_eq!(of.answers[&Call::SpotPrices].asked, two_hours_on);
        assert!(of.failures.is_empty() && of.remarks.is_empty());
    }
}
