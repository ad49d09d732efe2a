//! One of several replicas leads: a Lease says which.
//!
//! ```text
//!            free, or not renewed for its duration
//!  standby ───────────────────────────────────────▶ leads ── renews every few seconds
//!     ▲                                               │
//!     └────────────── given back on the way out ◀─────┘  cannot renew in time: the process ends
//! ```
//!
//! # Invariants
//! - Clocks of machines are not compared: a lease is old when *this* process has seen no change of it for its duration.
//! - Who leads and cannot renew says so before anyone else may lead.
//!
//! compat: karpenter v1.14 by way of client-go's `leaderelection`: name, durations, and a holder of `<pod>_<suffix>`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::answer::is_conflict;

/// So long does a lease hold without being renewed.
const HOLDS: Duration = Duration::from_secs(15);
/// Who cannot renew for so long stops leading; well before the lease ends.
const GIVE_UP: Duration = Duration::from_secs(10);
/// How often a lease is renewed, and looked at by others.
const EVERY: Duration = Duration::from_secs(2);

/// Annotation of the lease: where other replicas reach its holder.
const ADDRESS: &str = "stowage.dev/address";

/// Who leads, as far as this replica knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Leader {
    /// Nobody knows.
    #[default]
    Nobody,
    /// Another one.
    Other {
        /// What it is called.
        identity: String,
        /// Where it is reached, if it says so: `10.0.3.7:8443`.
        address: Option<String>,
    },
    /// This one, until then at least.
    Us {
        /// Until then.
        until: Instant,
    },
}

/// Who leads, for whoever wants to know.
#[derive(Clone, Debug)]
pub struct Leading {
    identity: String,
    address: Option<String>,
    leader: watch::Sender<Leader>,
}

impl Leading {
    /// For a replica that is called this, and is reached there.
    pub fn new(identity: String, address: Option<String>) -> Self {
        Self { identity, address, leader: watch::channel(Leader::Nobody).0 }
    }

    /// What this replica is called.
    pub fn identity(&self) -> String {
        self.identity.clone()
    }

    /// Who leads.
    pub fn now(&self) -> Leader {
        self.leader.borrow().clone()
    }

    /// This is how it is now.
    pub fn set(&self, leader: Leader) {
        self.leader.send_replace(leader);
    }
}

/// A replica that wants to lead.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Leases of its namespace.
    pub leases: Api<Lease>,
    /// Name of the lease.
    pub name: String,
    /// Who it is.
    pub identity: String,
    /// Where it says who leads.
    pub leading: Leading,
}

/// What a candidate last saw of the lease.
#[derive(Clone, Debug)]
struct Seen {
    version: Option<String>,
    at: Instant,
}

/// What to do about a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It is ours: renew it.
    Renew,
    /// Nobody holds it, or who did is gone: take it.
    Take,
    /// Somebody holds it.
    Wait,
}

/// What to do about a lease that was last seen to change `unchanged` ago.
fn step(spec: &LeaseSpec, identity: &str, unchanged: Duration) -> Step {
    let held =
        Duration::from_secs(spec.lease_duration_seconds.unwrap_or_default().max(0).unsigned_abs().into());
    match spec.holder_identity.as_deref() {
        None | Some("") => Step::Take,
        Some(holder) if holder == identity => Step::Renew,
        Some(_) if unchanged > held => Step::Take,
        Some(_) => Step::Wait,
    }
}

/// The lease as its holder writes it at `now`.
fn written(old: Option<&LeaseSpec>, identity: &str, now: Timestamp) -> LeaseSpec {
    let old = old.cloned().unwrap_or_default();
    let same = old.holder_identity.as_deref() == Some(identity);
    let changes = old.lease_transitions.unwrap_or_default();
    LeaseSpec {
        holder_identity: Some(identity.to_owned()),
        lease_duration_seconds: Some(HOLDS.as_secs() as i32),
        acquire_time: if same { old.acquire_time } else { Some(MicroTime(now)) },
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(if same { changes } else { changes.saturating_add(1) }),
        ..LeaseSpec::default()
    }
}

impl Candidate {
    /// Waits until this replica leads; returns since when, at the least.
    pub async fn lead(&self) -> Instant {
        let mut seen = Seen { version: None, at: Instant::now() };
        loop {
            let asked = Instant::now();
            match tokio::time::timeout(GIVE_UP, self.attempt(&mut seen)).await {
                Ok(Ok(true)) => {
                    info!(lease = self.name, identity = self.identity, "leads");
                    return asked;
                }
                Ok(Ok(false)) => debug!(lease = self.name, "another replica leads"),
                Ok(Err(error)) => {
                    warn!(lease = self.name, error = format!("{error:#}"), "cannot ask for the lease");
                }
                Err(_) => {
                    warn!(lease = self.name, "the API server does not answer: cannot ask for the lease");
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Renews the lease, held since `renewed`, until it is lost. To be called once this replica leads; whatever it does must
    /// end with this.
    pub async fn hold(&self, mut renewed: Instant) {
        let mut seen = Seen { version: None, at: Instant::now() };
        loop {
            tokio::time::sleep(EVERY).await;
            // Others count from when the lease was written, which is after this and may be long before the answer.
            let asked = Instant::now();
            let left = GIVE_UP.saturating_sub(asked.duration_since(renewed));
            match tokio::time::timeout(left, self.attempt(&mut seen)).await {
                Ok(Ok(true)) => renewed = asked,
                Ok(Ok(false)) => {
                    warn!(lease = self.name, "another replica has taken the lease");
                    return;
                }
                Ok(Err(error)) => warn!(error = format!("{error:#}"), "cannot renew the lease"),
                Err(_) => warn!("the API server does not answer: cannot renew the lease"),
            }
            if renewed.elapsed() >= GIVE_UP {
                return;
            }
        }
    }

    /// Gives the lease back, so that another replica leads at once.
    pub async fn release(&self) {
        let given = async {
            let Some(mut lease) = self.leases.get_opt(&self.name).await? else { return Ok(()) };
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_deref() == Some(&self.identity) {
                spec.holder_identity = Some(String::new());
                spec.lease_duration_seconds = Some(1);
                spec.renew_time = Some(MicroTime(Timestamp::now()));
                self.leases.replace(&self.name, &PostParams::default(), &lease).await?;
            }
            Ok::<(), kube::Error>(())
        };
        match tokio::time::timeout(EVERY, given).await {
            Ok(Ok(())) => info!(lease = self.name, "gave the lease back"),
            Ok(Err(error)) => warn!(%error, "the lease was not given back: it runs out by itself"),
            Err(_) => warn!("the lease was not given back: it runs out by itself"),
        }
    }

    /// Takes or renews the lease, and says whether it is ours now.
    async fn attempt(&self, seen: &mut Seen) -> Result<bool> {
        let asked = Instant::now();
        let leads = self.try_for(seen).await?;
        if leads {
            // Who cannot renew gives up then.
            self.leading.set(Leader::Us { until: asked + GIVE_UP });
        }
        Ok(leads)
    }

    async fn try_for(&self, seen: &mut Seen) -> Result<bool> {
        let Some(mut lease) = self.leases.get_opt(&self.name).await? else {
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            let mut lease = Lease { metadata, spec: Some(written(None, &self.identity, Timestamp::now())) };
            self.say_where(&mut lease);
            return won(self.leases.create(&PostParams::default(), &lease).await);
        };
        if seen.version != lease.metadata.resource_version {
            *seen = Seen { version: lease.metadata.resource_version.clone(), at: Instant::now() };
        }
        let spec = lease.spec.clone().unwrap_or_default();
        if step(&spec, &self.identity, seen.at.elapsed()) == Step::Wait {
            let address = lease.metadata.annotations.as_ref().and_then(|all| all.get(ADDRESS)).cloned();
            let identity = spec.holder_identity.unwrap_or_default();
            self.leading.set(Leader::Other { identity, address });
            return Ok(false);
        }
        lease.spec = Some(written(Some(&spec), &self.identity, Timestamp::now()));
        self.say_where(&mut lease);
        // With the version that was read: of two who take it at once, one is refused.
        won(self.leases.replace(&self.name, &PostParams::default(), &lease).await)
    }
}

impl Candidate {
    /// Where the holder is reached; what its predecessor said is wrong now.
    fn say_where(&self, lease: &mut Lease) {
        let annotations = lease.metadata.annotations.get_or_insert_with(BTreeMap::new);
        match &self.leading.address {
            Some(address) => drop(annotations.insert(ADDRESS.to_owned(), address.clone())),
            None => drop(annotations.remove(ADDRESS)),
        }
    }
}

/// Whether a write of a lease went through; somebody else may have been first.
fn won(written: kube::Result<Lease>) -> Result<bool> {
    match written {
        Ok(_) => Ok(true),
        Err(error) if is_conflict(&error) => Ok(false),
        Err(other) => Err(other.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(holder: &str) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            lease_transitions: Some(3),
            acquire_time: Some(MicroTime(Timestamp::UNIX_EPOCH)),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_is_taken_when_nobody_holds_it_any_more() {
        let seconds = Duration::from_secs;
        assert_eq!(step(&LeaseSpec::default(), "me", seconds(0)), Step::Take);
        assert_eq!(step(&held_by(""), "me", seconds(0)), Step::Take);
        assert_eq!(step(&held_by("me"), "me", seconds(60)), Step::Renew);
        assert_eq!(step(&held_by("other"), "me", seconds(15)), Step::Wait);
        assert_eq!(step(&held_by("other"), "me", seconds(16)), Step::Take);
        let odd = LeaseSpec { lease_duration_seconds: Some(-5), ..held_by("other") };
        assert_eq!(step(&odd, "me", seconds(1)), Step::Take);
    }

    #[test]
    fn a_change_of_hands_is_counted_and_a_renewal_is_not() {
        let now = Timestamp::UNIX_EPOCH + k8s_openapi::jiff::SignedDuration::from_secs(100);
        let taken = written(Some(&held_by("other")), "me", now);
        assert_eq!((taken.lease_transitions, taken.acquire_time), (Some(4), Some(MicroTime(now))));
        let renewed = written(Some(&held_by("me")), "me", now);
        assert_eq!(renewed.lease_transitions, Some(3));
        assert_eq!(renewed.acquire_time, Some(MicroTime(Timestamp::UNIX_EPOCH)));
        assert_eq!(renewed.renew_time, Some(MicroTime(now)));
    }

    /// An API server where the lease is ours; each of these calls is answered, late or with an error, and none after them.
    fn candidate(answers: Vec<(Duration, u16)>) -> Candidate {
        let mut answers = answers.into_iter();
        let service = tower::service_fn(move |_: http::Request<kube::client::Body>| {
            let next = answers.next();
            async move {
                let Some((late, code)) = next else { return std::future::pending().await };
                tokio::time::sleep(late).await;
                let lease = Lease {
                    metadata: ObjectMeta { name: Some("lease".to_owned()), ..ObjectMeta::default() },
                    spec: Some(held_by("me")),
                };
                let body = serde_json::to_vec(&lease).unwrap();
                let answer = http::Response::builder().status(code).body(kube::client::Body::from(body));
                Ok::<_, std::convert::Infallible>(answer.unwrap())
            }
        });
        let client = kube::Client::new(service, "stowage");
        let leases = Api::namespaced(client, "stowage");
        let leading = Leading::new("me".to_owned(), None);
        Candidate { leases, name: "lease".to_owned(), identity: "me".to_owned(), leading }
    }

    /// After how many seconds it leads no longer.
    async fn held(answers: Vec<(Duration, u16)>) -> u64 {
        let start = Instant::now();
        candidate(answers).hold(start).await;
        start.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn who_cannot_renew_ends_before_another_may_lead() {
        let seconds = Duration::from_secs;
        assert_eq!(held(vec![]).await, 10);
        // An error that comes late leaves less time for the next try, not more.
        assert_eq!(held(vec![(seconds(7), 500)]).await, 11);
        // Read at two, written at some moment until six: others may count from two.
        assert_eq!(held(vec![(seconds(2), 200), (seconds(2), 200)]).await, 12);
    }
}
