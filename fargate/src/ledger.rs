//! Caps of policies, counted exactly, by the one replica that leads.
//!
//! ```text
//! admission ─▶ reserve ─▶ ticket ──its pod is seen on Fargate──▶ held ──the pod is gone──▶ free
//!                           ├──its pod is seen, EKS did not take it────────────────────────▶ free
//!                           └──given back; or the watch has passed all it can have become──▶ free
//! ```
//!
//! At admission a pod has neither name nor uid. So a grant is known by the uid of its admission, and what it became is found by
//! what both know ([`PodKey`]): as many pods come of a key as were granted with it, whichever is whichever.
//!
//! A ticket that no pod came of is dropped by how far the watch has been followed, and not by a clock: a watch that is broken
//! for an hour says nothing of what was stored in that hour.
//!
//! Who takes over knows neither the tickets of its predecessor nor what was granted without asking, under a policy that had
//! no cap then. It counts what its predecessor wrote ahead ([`GrantedUpTo`]) as used, or grants nothing where nothing is
//! written, until it has seen everything that may have been granted before. Until then a pod and its ticket both count, as it
//! cannot be told from one that its predecessor granted.
//!
//! # Invariants
//! - What was granted under a cap and may still be, or become, a pod on Fargate is never above the cap, in whatever order pods
//!   are seen, gone, given back or never seen, and whoever led before. Pods that go by themselves count, and can be above: then
//!   nothing is granted.
//! - Once nothing of a predecessor is in doubt, a grant is refused only if it would be above the cap or the written level.
//! - The same ticket twice is one grant.
//! - Open tickets are at most [`MOST_TICKETS`]; what is kept of pods is in proportion to the pods that are there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use stowage_solver::Price;

use crate::account::{Account, Doubt, Hold, pods_of, tickets_of};
use crate::granted::{GrantedUpTo, Level};
use crate::json::has_all;
use crate::policies::Policies;
use crate::policy::{Caps, Labels, Mode, Policy, PolicyId};
use crate::request::{Full, Request};
use crate::sighting::{PodKey, Sighting};

/// For how many seconds after its admission a pod can be stored. The API server gives a write 34 seconds, webhooks included,
/// and a minute at most where `--request-timeout` says so; the rest is for clocks.
pub const UNSEEN_FOR: u64 = 120;
/// Open tickets that are kept: a thousand admissions a second for as long as one stays open.
pub const MOST_TICKETS: usize = 1_000 * UNSEEN_FOR as usize;

#[derive(Clone, Debug)]
struct Ticket {
    hold: Hold,
    key: PodKey,
    added: Labels,
}

/// What is granted and held, by policy.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    epoch: u64,
    leads_until: u64,
    /// Whether the epoch stands in the cluster.
    recorded: bool,
    /// How far the watch has been followed.
    watched_until: u64,
    policies: Vec<Arc<Policy>>,
    accounts: BTreeMap<PolicyId, Account>,
    /// By uid of the admission.
    tickets: BTreeMap<Box<str>, Ticket>,
    by_key: BTreeMap<PodKey, BTreeSet<(u64, Box<str>)>>,
    /// By uid of the pod.
    pods: BTreeMap<Box<str>, Hold>,
}

impl Ledger {
    /// For who begins to lead at `now`, with what its predecessor has written; `None` where nothing is written or it cannot be
    /// read. The lease of the predecessor has run out by then. Nothing is granted until policies are known ([`Self::set`]),
    /// a lease ([`Self::lead`]), and something is written ([`Self::to_write`]).
    pub fn take_over(written: Option<&GrantedUpTo>, policies: &Policies, now: u64) -> Self {
        let epoch = written.map_or(0, |w| w.epoch).saturating_add(1);
        let mut this = Self { epoch, policies: policies.all().to_vec(), ..Self::default() };
        for policy in policies.all() {
            let most = written.and_then(|w| w.levels.get(&policy.id)).copied().unwrap_or(Level::ENDLESS);
            let doubt = Some(Doubt { most, until: now.saturating_add(UNSEEN_FOR) });
            let (cap, closed) = cap(policy);
            this.accounts.insert(policy.id.clone(), Account { cap, closed, doubt, ..Account::default() });
        }
        this
    }

    /// Which leader this one is, counted from the first: what followers name when they ask.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// This one leads until then at least, as it has renewed its lease.
    pub fn lead(&mut self, until: u64) {
        self.leads_until = until;
    }

    /// The policies as they are from now on. All pods and tickets are ruled anew.
    ///
    /// Where a policy has a cap that it had not before, and any policy had none, pods may be on their way that were never asked
    /// for here: nothing is granted by it until they would have been seen.
    pub fn set(&mut self, policies: &Policies, now: u64) {
        let same = self.policies.as_slice() == policies.all();
        let unasked = self.accounts.values().any(|account| !account.is_capped());
        let doubted = self.accounts.values().any(|account| account.doubt.is_some());
        let wait = Doubt { most: Level::ENDLESS, until: now.saturating_add(UNSEEN_FOR) };
        let mut accounts = BTreeMap::new();
        for policy in policies.all() {
            let old = self.accounts.remove(&policy.id);
            let was_capped = old.as_ref().is_some_and(|old| old.is_capped() && !old.closed);
            let mut account = old.unwrap_or_default();
            (account.tickets, account.pods) = (Level::default(), Level::default());
            (account.cap, account.closed) = cap(policy);
            // What a predecessor granted under one policy may be ruled by another one now.
            if (!was_capped && unasked) || (!same && doubted) {
                account.doubt = Some(wait);
            }
            accounts.insert(policy.id.clone(), account);
        }
        self.accounts = accounts;
        self.policies = policies.all().to_vec();
        let rule = |hold: &mut Hold| {
            let ruling = policies.ruling(&hold.namespace, &hold.labels);
            hold.policy = ruling.map(|policy| policy.id.clone());
        };
        for ticket in self.tickets.values_mut() {
            rule(&mut ticket.hold);
            if let Some(tickets) = tickets_of(&mut self.accounts, &ticket.hold) {
                *tickets = tickets.plus(ticket.hold.level());
            }
        }
        for hold in self.pods.values_mut() {
            rule(hold);
            if let Some(pods) = pods_of(&mut self.accounts, hold) {
                *pods = pods.plus(hold.level());
            }
        }
    }

    /// Takes room for a pod.
    ///
    /// # Errors
    /// Says why there is none. The pod belongs on nodes then.
    pub fn reserve(&mut self, request: &Request, now: u64) -> Result<(), Full> {
        if self.tickets.contains_key(request.ticket.as_str()) {
            return Ok(());
        }
        let account = self.accounts.get(&request.policy).ok_or(Full::Unknown)?;
        if !request.by_itself {
            if now >= self.leads_until {
                return Err(Full::NotLeading);
            }
            account.room_for(request.price, 1)?;
        }
        if request.dry_run {
            return Ok(());
        }
        if self.tickets.len() >= MOST_TICKETS {
            return Err(Full::Busy);
        }
        let hold = Hold {
            policy: Some(request.policy.clone()),
            namespace: request.pod.namespace.as_str().into(),
            labels: Arc::new(request.labels.clone()),
            granted: request.price,
            at: now,
            stored: None,
            admitted: true,
        };
        if let Some(tickets) = tickets_of(&mut self.accounts, &hold) {
            *tickets = tickets.plus(hold.level());
        }
        let word: Box<str> = request.ticket.as_str().into();
        self.by_key.entry(request.pod.clone()).or_default().insert((now, word.clone()));
        let (key, added) = (request.pod.clone(), request.added.clone());
        self.tickets.insert(word, Ticket { hold, key, added });
        Ok(())
    }

    /// Whether a policy has room for so many more, one at least. Nothing is granted by that, so it is told whoever leads.
    pub fn has_room(&self, policy: &PolicyId, price: Price, pods: u32) -> bool {
        self.accounts.get(policy).is_some_and(|account| account.room_for(price, pods.max(1)).is_ok())
    }

    /// Gives a ticket back, as its answer was not or may not have been heard in time.
    pub fn release(&mut self, ticket: &str) {
        self.take(ticket);
    }

    /// A pod is there, or has changed: `ruling` is the policy that rules it by its labels, `price` what it costs. One on Fargate
    /// takes over a ticket of its key, and counts without one as well; one that EKS did not take gives its ticket back.
    pub fn seen(&mut self, pod: &Sighting, ruling: Option<&PolicyId>, price: Option<Price>) {
        let uid = pod.uid.as_str();
        let known = self.remove(uid);
        let ticket = if known.is_some() { None } else { self.ticket_of(pod, price) };
        let granted = ticket.and_then(|word| self.take(&word)).map(|ticket| ticket.hold);
        if !pod.on_fargate {
            return;
        }
        let mut hold = known.or(granted).unwrap_or_else(|| Hold {
            policy: None,
            namespace: pod.key.namespace.as_str().into(),
            labels: Arc::new(Labels::new()),
            granted: Price::ZERO,
            at: 0,
            stored: None,
            admitted: false,
        });
        if !hold.admitted {
            hold.policy = ruling.filter(|id| self.accounts.contains_key(*id)).cloned();
            if *hold.labels != pod.labels {
                hold.labels = Arc::new(pod.labels.clone());
            }
        }
        hold.stored = price.or(hold.stored);
        if let Some(pods) = pods_of(&mut self.accounts, &hold) {
            *pods = pods.plus(hold.level());
        }
        self.pods.insert(uid.into(), hold);
    }

    /// A pod is no longer there.
    pub fn gone(&mut self, uid: &str) {
        self.remove(uid);
    }

    /// All pods were listed anew, and these are there: what went while nobody watched is gone.
    pub fn listed(&mut self, uids: &BTreeSet<&str>) {
        let gone: Vec<Box<str>> = self.pods.keys().filter(|uid| !uids.contains(&***uid)).cloned().collect();
        for uid in gone {
            self.gone(&uid);
        }
    }

    /// All that was stored before this moment has been seen. Gives back what can have become nothing any more, and says how
    /// many tickets that were.
    ///
    /// How to know such a moment: write something at a time that is noted, and wait until the watch of pods has passed the
    /// `resourceVersion` of that write, by an event or a bookmark.
    pub fn expire(&mut self, watched_until: u64) -> usize {
        self.watched_until = self.watched_until.max(watched_until);
        let until = self.watched_until;
        let over = |at: u64| at.saturating_add(UNSEEN_FOR) < until;
        let late: Vec<Box<str>> =
            self.tickets.iter().filter(|(_, t)| over(t.hold.at)).map(|(word, _)| word.clone()).collect();
        for word in &late {
            self.take(word);
        }
        let settled = |hold: &&mut Hold| over(hold.at) && hold.stored.is_some() && hold.granted > Price::ZERO;
        for hold in self.pods.values_mut().filter(settled) {
            let before = hold.level();
            hold.granted = Price::ZERO;
            if let Some(pods) = pods_of(&mut self.accounts, hold) {
                *pods = pods.less(before).plus(hold.level());
            }
        }
        for account in self.accounts.values_mut() {
            account.doubt = account.doubt.filter(|doubt| doubt.until >= until);
        }
        late.len()
    }

    /// What is to be written, if anything is: in place of what stands there, and only if that is what was read or written
    /// last. Until the answer is known ([`Self::wrote`]) the lower of both levels holds; where another one has written
    /// meanwhile, this one no longer leads ([`Self::lead`] with zero).
    pub fn to_write(&mut self) -> Option<GrantedUpTo> {
        let mut levels = BTreeMap::new();
        let mut changes = !self.recorded;
        for (id, account) in self.accounts.iter_mut().filter(|(_, account)| account.is_capped()) {
            let level = account.ahead.wanted(account.used(), Level::of(account.cap));
            changes |= !account.ahead.is_written(level);
            levels.insert(id.clone(), level);
        }
        if !changes {
            return None;
        }
        for (id, level) in &levels {
            if let Some(account) = self.accounts.get_mut(id) {
                account.ahead.ask(*level);
            }
        }
        Some(GrantedUpTo { epoch: self.epoch, levels })
    }

    /// This was written.
    pub fn wrote(&mut self, written: &GrantedUpTo) {
        self.recorded = true;
        for (id, level) in &written.levels {
            if let Some(account) = self.accounts.get_mut(id) {
                account.ahead.wrote(*level);
            }
        }
    }

    /// How many pods a policy has on Fargate, those granted included, and what they cost an hour.
    pub fn used(&self, policy: &PolicyId) -> (usize, Price) {
        let all =
            self.accounts.get(policy).map(|account| account.tickets.plus(account.pods)).unwrap_or_default();
        (all.pods as usize, Price::from_micros(all.micros))
    }

    /// How many tickets wait for their pods.
    pub fn open(&self) -> usize {
        self.tickets.len()
    }

    /// Takes a ticket out.
    fn take(&mut self, word: &str) -> Option<Ticket> {
        let ticket = self.tickets.remove(word)?;
        if let Some(same) = self.by_key.get_mut(&ticket.key) {
            same.remove(&(ticket.hold.at, word.into()));
            if same.is_empty() {
                self.by_key.remove(&ticket.key);
            }
        }
        if let Some(tickets) = tickets_of(&mut self.accounts, &ticket.hold) {
            *tickets = tickets.less(ticket.hold.level());
        }
        Some(ticket)
    }

    /// Takes a pod out.
    fn remove(&mut self, uid: &str) -> Option<Hold> {
        let hold = self.pods.remove(uid)?;
        if let Some(pods) = pods_of(&mut self.accounts, &hold) {
            *pods = pods.less(hold.level());
        }
        Some(hold)
    }

    /// The ticket that a pod came of: of its key, with labels that it has; at its price if there is one, and the oldest.
    ///
    /// One that EKS did not take gives back no other's ticket: where several are left, and none of its price, they are left to
    /// the watch.
    fn ticket_of(&self, pod: &Sighting, price: Option<Price>) -> Option<Box<str>> {
        let fits = |(at, word): &'_ (u64, Box<str>)| {
            let ticket = self.tickets.get(word)?;
            let account = ticket.hold.policy.as_ref().and_then(|id| self.accounts.get(id));
            let doubted = account.is_some_and(|account| account.doubt.is_some());
            let bare = ticket.added.is_empty();
            let its = if bare { pod.on_fargate } else { has_all(&pod.labels, &ticket.added) };
            (its && !doubted).then(|| (Some(ticket.hold.granted) != price, *at, word.clone()))
        };
        let mut all: Vec<(bool, u64, Box<str>)> =
            self.by_key.get(&pod.key)?.iter().filter_map(fits).collect();
        all.sort_unstable();
        let alone = all.len() == 1;
        let (other_price, _, word) = all.into_iter().next()?;
        (pod.on_fargate || alone || !other_price).then_some(word)
    }
}

/// The cap of a policy, and whether it lets nothing go: its pods on Fargate are there and cost all the same.
fn cap(policy: &Policy) -> (Caps, bool) {
    if policy.mode == Mode::Never {
        return (Caps { pods: Some(0), hourly: None }, true);
    }
    (policy.caps, false)
}
