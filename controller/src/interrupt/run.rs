//! The loop that waits for messages, and does what they ask for.
//!
//! ```text
//! find ─▶ receive ten, wait up to 20 s ─▶ act, side by side ─▶ delete those that are dealt with
//!   ▲         └─ ten came: what else is there now, several tens at once
//!   └─ the queue is gone
//! ```

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::{FutureExt as _, StreamExt as _};
use k8s_openapi::jiff::Timestamp;
use stowage_aws::{LETTERS_AT_ONCE, Letter, Queue, Queues, Refused};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::act::{Complaints, Deed, Known, Owner, Seen, deeds, gone_by};
use super::message::{Kind, Message, parse};
use super::oust::{Ending, Ousted, Ouster, Said};
use super::trouble::Trouble;
use crate::launch::run::Shortages;
use crate::market::now;
use crate::operate::interruptions::Interruptions;
use crate::time::until;

/// Batches of messages that are dealt with at the same time; more are left in the queue until one is done.
const BATCHES: usize = 10;

/// Batches that are asked for at the same time in a storm.
const AT_ONCE: usize = 4;

/// Machines of one batch that are seen to side by side.
const SIDE_BY_SIDE: usize = 20;

/// How soon SQS is asked again where it has refused, and how late at most.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// How long until the whole cluster is known: a machine of ours must not count as nobody's.
const UNTIL_KNOWN: Duration = Duration::from_millis(200);

/// What somebody can do who does not let us.
const REMEDY: &str =
    "allow sqs:GetQueueUrl, sqs:ReceiveMessage and sqs:DeleteMessage for it: deploy/iam/interruptions.json";

/// Who waits for messages.
#[derive(Clone)]
pub struct Listener {
    /// Where queues are found.
    pub queues: Queues,
    /// The name of ours.
    pub name: String,
    /// To do it with.
    pub ouster: Ouster,
    /// What lately could not be had.
    pub shortages: Shortages,
    /// What is measured.
    pub measured: Interruptions,
    /// What was dealt with of late.
    pub memory: Memory,
}

/// What is remembered of messages.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    seen: Arc<Mutex<Seen>>,
    complaints: Arc<Mutex<Complaints>>,
}

impl Listener {
    /// Listens until the task is dropped.
    pub async fn run(self) {
        let (mut trouble, mut pause) = (Trouble::default(), FIRST_PAUSE);
        let mut queue = None::<Queue>;
        let mut working = JoinSet::new();
        loop {
            if !self.ouster.cluster.is_synced() {
                tokio::time::sleep(UNTIL_KNOWN).await;
                continue;
            }
            while working.len() >= BATCHES {
                report(working.join_next().await);
            }
            while let Some(ended) = working.try_join_next() {
                report(Some(ended));
            }
            let Some(letters) = self.next(&mut queue, &mut trouble).await else {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
                continue;
            };
            pause = FIRST_PAUSE;
            let Some(queue) = &queue else { continue };
            let mut storm = letters.len() >= LETTERS_AT_ONCE;
            self.begin(&mut working, queue, letters);
            while storm && working.len() < BATCHES {
                storm = false;
                let more = (0..AT_ONCE).map(|_| queue.receive_now());
                // What is refused now is refused again by the next call, which says so.
                for letters in futures::future::join_all(more).await.into_iter().flatten() {
                    storm |= letters.len() >= LETTERS_AT_ONCE;
                    self.begin(&mut working, queue, letters);
                }
            }
        }
    }

    /// Begins to deal with messages.
    fn begin(&self, working: &mut JoinSet<()>, queue: &Queue, letters: Vec<Letter>) {
        if !letters.is_empty() {
            let (listener, queue) = (self.clone(), queue.clone());
            working.spawn(async move { listener.handle(&queue, letters).await });
        }
    }

    /// The next messages; `None` where there are none to be had.
    async fn next(&self, queue: &mut Option<Queue>, trouble: &mut Trouble) -> Option<Vec<Letter>> {
        let found = match queue.take() {
            Some(known) => known,
            None => match self.queues.find(&self.name).await {
                Ok(Some(found)) => found,
                Ok(None) => {
                    self.measured.readable(false);
                    trouble.missing(
                        "there is no queue of this name: interruptions are not heard of",
                        &self.name,
                    );
                    return None;
                }
                Err(refused) => {
                    self.refused(trouble, &refused);
                    return None;
                }
            },
        };
        match found.receive().await {
            Ok(letters) => {
                self.measured.readable(true);
                trouble.over("interruptions are heard of again");
                *queue = Some(found);
                Some(letters)
            }
            Err(refused) => {
                // One that is gone may be made again, under another address.
                if !refused.is_gone() {
                    *queue = Some(found);
                }
                self.refused(trouble, &refused);
                None
            }
        }
    }

    fn refused(&self, trouble: &mut Trouble, refused: &Refused) {
        self.measured.readable(false);
        trouble.refused("the queue cannot be read: interruptions are not heard of", refused, REMEDY);
    }

    /// Does what messages ask for, and deletes those for which that was done.
    async fn handle(&self, queue: &Queue, letters: Vec<Letter>) {
        let began = Instant::now();
        let mut read = Vec::with_capacity(letters.len());
        for letter in &letters {
            match parse(&letter.body) {
                Ok(message) => read.push((letter, message)),
                Err(why) => {
                    self.measured.received("malformed");
                    if with(&self.memory.complaints, |all| all.is_new(&letter.body)) {
                        warn!(id = letter.id, %why, "a message cannot be read, and is deleted");
                    }
                }
            }
        }
        let failed = self.act(&read).await;
        for (letter, message) in &read {
            self.measured.received(message.kind.name());
            if message.kind != Kind::NoOp {
                self.measured.waited(waited(letter, message).as_secs_f64());
            }
        }
        let done: Vec<&str> = letters
            .iter()
            .filter(|letter| failed.iter().all(|id| *id != letter.id))
            .map(|letter| letter.receipt.as_str())
            .collect();
        match queue.delete(&done).await {
            Ok(count) => self.measured.deleted(count),
            // They come again, and are known then.
            Err(refused) => warn!(%refused, count = done.len(), "messages were dealt with, and not deleted"),
        }
        let seconds = began.elapsed().as_secs_f64();
        debug!(messages = letters.len(), failed = failed.len(), seconds, "messages were dealt with");
    }

    /// Does what messages ask for. Returns the ids of those for which that could not be done: they come again.
    async fn act<'l>(&self, read: &[(&'l Letter, Message)]) -> Vec<&'l str> {
        let everything = || read.iter().map(|(letter, _)| letter.id.as_str()).collect();
        let Some(snapshot) = self.ouster.cluster.snapshot() else { return everything() };
        let known = Known::of(&snapshot);
        // The same may have come in another batch, or twice in this one.
        let at = Instant::now();
        let mut todo = Vec::new();
        for (letter, message) in read {
            let ending = gone_by(message, Timestamp::now()).map_or(Ending::Drained, Ending::Taken);
            let new = deeds(message, &known)
                .into_iter()
                .filter(|deed| with(&self.memory.seen, |seen| seen.begin(message.kind, deed.machine, at)));
            todo.extend(new.map(|deed| (letter.id.as_str(), message.kind, ending, deed)));
        }
        // First of all: whoever plans for the pods of these must know.
        let short = todo.iter().filter_map(|(.., deed)| deed.away.as_ref());
        self.shortages.with(|all| short.for_each(|key| all.mark(now(), key)));
        let work = todo.into_iter().map(|(letter, kind, ending, deed)| {
            async move {
                match self.deed(kind, ending, &deed).await {
                    Ok(()) => None,
                    Err(error) => {
                        with(&self.memory.seen, |seen| seen.failed(kind, deed.machine));
                        let (claim, error) = (&deed.owner.claim.metadata.name, format!("{error:#}"));
                        warn!(
                            claim,
                            error,
                            kind = kind.name(),
                            "a NodeClaim that is interrupted could not be deleted"
                        );
                        Some(letter)
                    }
                }
            }
            .boxed()
        });
        let work: Vec<_> = work.collect();
        let failed = futures::stream::iter(work).buffer_unordered(SIDE_BY_SIDE);
        failed.filter_map(async |failed| failed).collect().await
    }

    async fn deed(&self, kind: Kind, ending: Ending, deed: &Deed<'_>) -> Result<()> {
        let (reason, note) = deed.event;
        let mut said = vec![Said { warns: deed.ends, reason, note: note.to_owned() }];
        if !deed.ends {
            info!(claim = deed.owner.claim.metadata.name, kind = kind.name(), "EC2 says of a machine");
        } else if self.ouster.oust(deed.owner, ending, kind.name()).await? == Ousted::Deleted {
            let note = format!("Its machine is interrupted ({}): the NodeClaim is deleted", kind.name());
            said.push(Said::warning("TerminatingOnInterruption", note));
        }
        // Nobody waits for events.
        let (ouster, claim) = (self.ouster.clone(), deed.owner.claim.clone());
        let node = deed.owner.node.map(str::to_owned);
        tokio::spawn(async move {
            ouster.tell(Owner { claim: &claim, node: node.as_deref() }, &said);
        });
        Ok(())
    }
}

/// For how long a message was on its way.
fn waited(letter: &Letter, message: &Message) -> Duration {
    let sent = letter.sent.and_then(|at| Timestamp::from_millisecond(at).ok());
    // EventBridge states whole seconds, SQS thousandths: of one moment, the closer.
    let start = sent.or(message.start);
    start.map_or(Duration::ZERO, |start| until(start, Timestamp::now()))
}

fn report(ended: Option<Result<(), tokio::task::JoinError>>) {
    if let Some(Err(error)) = ended {
        warn!(%error, "dealing with messages has ended: they come again");
    }
}

fn with<S, T>(shared: &Mutex<S>, f: impl FnOnce(&mut S) -> T) -> T {
    f(&mut shared.lock().unwrap_or_else(PoisonError::into_inner))
}
