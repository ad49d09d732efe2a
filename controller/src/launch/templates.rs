//! Launch templates that are there: made when a machine needs one, removed when none has for a minute.
//!
//! # Invariants
//! - Nothing is removed while it is being asked for: making and removing a template wait for each other.
//! - A name that was removed is made again when it is needed.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use stowage_aws::{Ec2, Refused};
use tokio::sync::RwLock;
use tracing::{debug, warn};

use super::template::{Named, PREFIX};

/// A template is kept for so long after it was last needed.
const KEPT: Duration = Duration::from_mins(1);

/// More than a cluster has templates, as a rule.
const TURNS: usize = 64;

/// The templates of a cluster; shared by all that launch.
#[derive(Clone, Debug)]
pub struct Templates(Arc<Known>);

impl Default for Templates {
    fn default() -> Self {
        let turns = std::array::from_fn(|_| RwLock::default());
        Self(Arc::new(Known { used: Mutex::default(), turns, hasher: RandomState::new() }))
    }
}

#[derive(Debug)]
struct Known {
    /// When a template was last needed.
    used: Mutex<HashMap<String, Instant>>,
    /// Held by those who need a template, and alone by whoever removes it: one for all with the same hash of the name, so
    /// that hardly anybody waits for what is done to another.
    turns: [RwLock<()>; TURNS],
    hasher: RandomState,
}

impl Templates {
    /// Sees to it that a template is there.
    ///
    /// # Errors
    /// What EC2 says.
    pub async fn ensure(&self, ec2: &Ec2, named: &Named) -> Result<(), Refused> {
        let _turn = self.turn(&named.name).read().await;
        let now = Instant::now();
        if let Some(at) = self.with(|used| used.get_mut(&named.name).map(|at| std::mem::replace(at, now))) {
            debug!(template = named.name, age = ?now.duration_since(at), "a launch template is used again");
            return Ok(());
        }
        ec2.ensure_template(&named.name, &named.template).await?;
        self.with(|used| used.insert(named.name.clone(), now));
        Ok(())
    }

    /// EC2 does not know this template any more.
    pub fn forget(&self, name: &str) {
        self.with(|used| used.remove(name));
    }

    /// Learns which templates an earlier leader has left.
    pub async fn recall(&self, ec2: &Ec2, tags: &BTreeMap<String, String>) -> Result<(), Refused> {
        let now = Instant::now();
        let found = ec2.templates(tags).await?;
        let own = found.into_iter().filter(|name| name.starts_with(PREFIX));
        self.with(|used| {
            for name in own {
                used.entry(name).or_insert(now);
            }
        });
        Ok(())
    }

    /// Removes those that nobody has needed for a while.
    pub async fn collect(&self, ec2: &Ec2, now: Instant) {
        for name in self.with(|used| unused(used, now)) {
            let _turn = self.turn(&name).write().await;
            // Somebody may have needed it while this waited for its turn.
            if !self.with(|used| unused(used, now).contains(&name)) {
                continue;
            }
            match ec2.remove_template(&name).await {
                Ok(()) => self.forget(&name),
                Err(error) => {
                    // EC2 may be away: the others go another time.
                    warn!(template = name, %error, "a launch template cannot be removed");
                    return;
                }
            }
        }
    }

    /// Removes all with these tags.
    ///
    /// # Errors
    /// What EC2 says.
    pub async fn remove_all(&self, ec2: &Ec2, tags: &BTreeMap<String, String>) -> Result<(), Refused> {
        for name in ec2.templates(tags).await?.into_iter().filter(|name| name.starts_with(PREFIX)) {
            let _turn = self.turn(&name).write().await;
            ec2.remove_template(&name).await?;
            self.forget(&name);
        }
        Ok(())
    }

    fn turn(&self, name: &str) -> &RwLock<()> {
        let hash = self.0.hasher.hash_one(name);
        &self.0.turns[usize::try_from(hash % TURNS as u64).unwrap_or_default()]
    }

    fn with<T>(&self, f: impl FnOnce(&mut HashMap<String, Instant>) -> T) -> T {
        f(&mut self.0.used.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn unused(used: &HashMap<String, Instant>, now: Instant) -> Vec<String> {
    let old = used.iter().filter(|(_, at)| now.duration_since(**at) > KEPT);
    let mut names: Vec<String> = old.map(|(name, _)| name.clone()).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_go_when_nobody_has_needed_them_for_a_minute() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let used =
            HashMap::from([("a".to_owned(), at(0)), ("b".to_owned(), at(1)), ("c".to_owned(), at(100))]);
        assert_eq!(unused(&used, at(60)), Vec::<String>::new());
        assert_eq!(unused(&used, at(61)), ["a"]);
        // A clock that another thread has read later.
        assert_eq!(unused(&used, at(62)), ["a", "b"]);
    }
}
