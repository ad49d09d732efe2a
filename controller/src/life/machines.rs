//! Machines that many look at, or end, at the same time: EC2 is asked for all of them at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stowage_aws::{Ec2, Machine, Refused};
use tokio::sync::Mutex;

use crate::operate::lives::Lives;
use crate::shared::Shared;
use crate::together::Together;

/// How long an answer is good.
const FRESH: Duration = Duration::from_secs(2);

/// Tag by which the machine of a claim is found.
pub(crate) const NODE_CLAIM: &str = "karpenter.sh/nodeclaim";

/// The machines that somebody looks at.
#[derive(Clone, Debug)]
pub struct Machines {
    ec2: Ec2,
    lives: Lives,
    wanted: Shared<BTreeSet<String>>,
    answer: Arc<Mutex<Option<Answer>>>,
    /// Tags that all machines of the cluster have.
    cluster: BTreeMap<String, String>,
    of_claims: Together<Machine>,
    ending: Together<Result<(), Refused>>,
}

#[derive(Debug)]
struct Answer {
    at: Instant,
    asked: BTreeSet<String>,
    found: Result<HashMap<String, Machine>, Refused>,
}

impl Machines {
    /// None yet, of a cluster of this name.
    pub fn new(ec2: Ec2, cluster: &str, lives: Lives) -> Self {
        Self {
            ec2,
            lives,
            wanted: Shared::default(),
            answer: Arc::default(),
            cluster: BTreeMap::from([("eks:eks-cluster-name".to_owned(), cluster.to_owned())]),
            of_claims: Together::default(),
            ending: Together::default(),
        }
    }

    /// The machine of this id, as it was two seconds ago or later; `None` where EC2 knows none.
    ///
    /// # Errors
    /// What EC2 says.
    pub async fn get(&self, id: &str) -> Result<Option<Machine>, Refused> {
        self.wanted.with(|wanted| wanted.insert(id.to_owned()));
        // Whoever comes while somebody asks waits, and finds the answer.
        let mut answer = self.answer.lock().await;
        let good = answer.as_ref().is_some_and(|a| a.at.elapsed() < FRESH && a.asked.contains(id));
        if !good {
            let asked = self.wanted.with(|wanted| wanted.clone());
            let ids: Vec<String> = asked.iter().cloned().collect();
            let at = Instant::now();
            let found = self.ec2.machines_by_id(&ids).await;
            let by_id = |all: Vec<Machine>| all.into_iter().map(|m| (m.id.clone(), m)).collect();
            // A refusal is an answer, too: those who wait need not each be refused in turn.
            let at = if found.is_err() { Instant::now() } else { at };
            *answer = Some(Answer { at, asked, found: found.map(by_id) });
        }
        match answer.as_ref().map(|answer| &answer.found) {
            Some(Ok(found)) => Ok(found.get(id).cloned()),
            Some(Err(refused)) => Err(refused.clone()),
            None => Ok(None),
        }
    }

    /// The machine that was launched for a claim and is alive; `None` where there is none. Asked together with what others ask.
    ///
    /// # Errors
    /// What EC2 says.
    pub async fn of_claim(&self, claim: &str) -> Result<Option<Machine>, Refused> {
        let ask = async |claims: &[String], waited: Duration| {
            self.lives.batch("describe_instances", claims.len(), waited);
            let all = self.ec2.machines_tagged(&self.cluster, NODE_CLAIM, claims).await?;
            let alive = all.into_iter().filter(Machine::is_alive);
            Ok(alive.filter_map(|machine| Some((machine.tags.get(NODE_CLAIM)?.clone(), machine))).collect())
        };
        self.of_claims.ask(claim, ask).await
    }

    /// Ends a machine, together with those that others end.
    ///
    /// # Errors
    /// What EC2 says of it.
    pub async fn end(&self, id: &str) -> Result<(), Refused> {
        let ask = async |ids: &[String], waited: Duration| {
            self.lives.batch("terminate_instances", ids.len(), waited);
            Ok(self.ec2.terminate(ids).await.into_iter().collect())
        };
        self.ending.ask(id, ask).await?.unwrap_or(Ok(()))
    }

    /// Nobody looks at this one any more.
    pub fn forget(&self, id: &str) {
        self.wanted.with(|wanted| wanted.remove(id));
    }
}
