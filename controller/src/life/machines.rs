//! Machines that many look at, or end, at the same time: EC2 is asked for all of them at once.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex as Quick, PoisonError};
use std::time::{Duration, Instant};

use stowage_aws::{Ec2, Machine, Refused};
use tokio::sync::Mutex;

/// How long an answer is good.
const FRESH: Duration = Duration::from_secs(2);

/// For so long ends of machines are gathered.
///
/// compat: karpenter v1.14 waits for a tenth of a second, too.
const GATHER: Duration = Duration::from_millis(100);

/// The machines that somebody looks at.
#[derive(Clone, Debug)]
pub struct Machines {
    ec2: Ec2,
    wanted: Arc<Quick<BTreeSet<String>>>,
    answer: Arc<Mutex<Option<Answer>>>,
    ending: Arc<Quick<BTreeSet<String>>>,
    /// What came of the end of those for whom another has asked.
    ended: Arc<Mutex<HashMap<String, Result<(), Refused>>>>,
}

#[derive(Debug)]
struct Answer {
    at: Instant,
    asked: BTreeSet<String>,
    found: HashMap<String, Machine>,
}

impl Machines {
    /// None yet.
    pub fn new(ec2: Ec2) -> Self {
        Self {
            ec2,
            wanted: Arc::default(),
            answer: Arc::default(),
            ending: Arc::default(),
            ended: Arc::default(),
        }
    }

    /// The machine of this id, as it was two seconds ago or later; `None` where EC2 knows none.
    ///
    /// # Errors
    /// What EC2 says.
    pub async fn get(&self, id: &str) -> Result<Option<Machine>, Refused> {
        self.wanted(|wanted| wanted.insert(id.to_owned()));
        // Whoever comes while somebody asks waits, and finds the answer.
        let mut answer = self.answer.lock().await;
        let good = answer.as_ref().is_some_and(|a| a.at.elapsed() < FRESH && a.asked.contains(id));
        if !good {
            let asked = self.wanted(|wanted| wanted.clone());
            let ids: Vec<String> = asked.iter().cloned().collect();
            let at = Instant::now();
            let found = self.ec2.machines_by_id(&ids).await?;
            let found = found.into_iter().map(|machine| (machine.id.clone(), machine)).collect();
            *answer = Some(Answer { at, asked, found });
        }
        Ok(answer.as_ref().and_then(|a| a.found.get(id)).cloned())
    }

    /// Ends a machine, together with those that others end within a tenth of a second.
    ///
    /// # Errors
    /// What EC2 says, of whichever of them.
    pub async fn end(&self, id: &str) -> Result<(), Refused> {
        self.ending(|ending| ending.insert(id.to_owned()));
        tokio::time::sleep(GATHER).await;
        // Whoever comes while somebody asks waits, and finds what came of it, or asks for all that have come since.
        let mut ended = self.ended.lock().await;
        if let Some(known) = ended.remove(id) {
            return known;
        }
        let ids: Vec<String> = self.ending(std::mem::take).into_iter().collect();
        let answer = self.ec2.terminate(&ids).await;
        ended.extend(ids.into_iter().map(|other| (other, answer.clone())));
        ended.remove(id).unwrap_or(Ok(()))
    }

    /// Nobody looks at this one any more.
    pub fn forget(&self, id: &str) {
        self.wanted(|wanted| wanted.remove(id));
    }

    fn ending<T>(&self, f: impl FnOnce(&mut BTreeSet<String>) -> T) -> T {
        f(&mut self.ending.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn wanted<T>(&self, f: impl FnOnce(&mut BTreeSet<String>) -> T) -> T {
        f(&mut self.wanted.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
