//! Caps of policies, counted exactly: what is granted at admission is taken at once, and given back if no pod comes of it.
//!
//! ```text
//! admission ─▶ reserve ─▶ open ──seen in the index──▶ held ──gone──▶ free
//!                          └──not seen in time──────────────────────▶ free
//! ```
//!
//! At admission a pod may have no name yet, so a reservation is known by a ticket; the pod that is seen later takes over the
//! oldest open ticket of its workload.
//!
//! One ledger counts for one caller. Where several replicas answer admissions, each counts against a part of the cap that is
//! its own ([`share`]), and what the parts sum up to is the cap: no part is above, so the whole is not.
//!
//! # Invariants
//! - What is open and held together is never above the cap by anything that was granted. Pods that are there without a grant
//!   count, too, and can be above: then nothing is granted.
//! - A grant is refused only if it would be above the cap.
//! - The same ticket twice is one grant.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use stowage_solver::Price;

use crate::policy::{Caps, PolicyId};

/// For how many seconds a reservation waits for its pod. The API server answers a request within a minute; the rest is for
/// the watch to catch up.
pub const UNSEEN_FOR: u64 = 120;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// By this policy,
    pub policy: &'a PolicyId,
    /// for a pod of the workload of this word,
    pub workload: &'a str,
    /// known by this: namespace and name, or where it has none yet the id of its admission.
    pub ticket: &'a str,
    /// What it costs an hour.
    pub price: Price,
    /// Whether only to ask.
    pub dry_run: bool,
}

/// Which cap is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Full {
    /// That of pods.
    Pods,
    /// That of dollars an hour.
    Cost,
    /// The policy is not known here.
    Unknown,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pods => "spec.caps.maxPods is reached",
            Self::Cost => "spec.caps.maxHourlyCost is reached",
            Self::Unknown => "the policy is not known yet",
        })
    }
}

#[derive(Clone, Debug)]
struct Hold {
    workload: Box<str>,
    price: Price,
    /// When it was granted; `None` once its pod was seen.
    open_since: Option<u64>,
}

#[derive(Clone, Debug, Default)]
struct Account {
    cap: Caps,
    holds: BTreeMap<Box<str>, Hold>,
    /// Open tickets by workload, the oldest first.
    open: BTreeSet<(Box<str>, u64, Box<str>)>,
    spend: Price,
}

impl Account {
    fn room_for(&self, price: Price) -> Result<(), Full> {
        if self.cap.pods.is_some_and(|most| self.holds.len() >= most as usize) {
            return Err(Full::Pods);
        }
        if self.cap.hourly.is_some_and(|most| self.spend + price > most) {
            return Err(Full::Cost);
        }
        Ok(())
    }

    fn put(&mut self, key: &str, hold: Hold) {
        self.remove(key);
        self.spend += hold.price;
        if let Some(at) = hold.open_since {
            self.open.insert((hold.workload.clone(), at, key.into()));
        }
        self.holds.insert(key.into(), hold);
    }

    fn remove(&mut self, key: &str) -> Option<Hold> {
        let hold = self.holds.remove(key)?;
        self.spend = self.spend - hold.price;
        if let Some(at) = hold.open_since {
            self.open.remove(&(hold.workload.clone(), at, key.into()));
        }
        Some(hold)
    }
}

/// What is granted and held, by policy.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    accounts: BTreeMap<PolicyId, Account>,
}

impl Ledger {
    /// The policies that there are, with their caps, or this one's part of them. What is held by others is forgotten.
    pub fn set(&mut self, caps: &BTreeMap<PolicyId, Caps>) {
        self.accounts.retain(|id, _| caps.contains_key(id));
        for (id, cap) in caps {
            self.accounts.entry(id.clone()).or_default().cap = *cap;
        }
    }

    /// Takes room for a pod.
    ///
    /// # Errors
    /// Says which cap is reached.
    pub fn reserve(&mut self, request: &Request<'_>, now: u64) -> Result<(), Full> {
        let account = self.accounts.get_mut(request.policy).ok_or(Full::Unknown)?;
        if account.holds.contains_key(request.ticket) {
            return Ok(());
        }
        account.room_for(request.price)?;
        if !request.dry_run {
            let workload = request.workload.into();
            let hold = Hold { workload, price: request.price, open_since: Some(now) };
            account.put(request.ticket, hold);
        }
        Ok(())
    }

    /// A routed pod is there: it takes over its ticket, or the oldest open one of its workload. One without a ticket is
    /// counted as well, whatever the cap. Pods of policies that there are not are nobody's.
    pub fn seen(&mut self, policy: &PolicyId, workload: &str, pod: &str, price: Price) {
        let Some(account) = self.accounts.get_mut(policy) else { return };
        let held = account.holds.get(pod);
        if held.is_some_and(|hold| hold.open_since.is_none()) {
            return;
        }
        let own = held.is_some().then(|| pod.to_owned());
        let ticket = own.or_else(|| {
            let from: (Box<str>, u64, Box<str>) = (workload.into(), 0, "".into());
            let first = account.open.range(from..).next().filter(|(of, _, _)| **of == *workload);
            first.map(|(_, _, ticket)| ticket.to_string())
        });
        let granted = ticket.and_then(|ticket| account.remove(&ticket));
        // What it was granted at stays: the cap was kept with that.
        let price = granted.map_or(price, |hold| hold.price);
        account.put(pod, Hold { workload: workload.into(), price, open_since: None });
    }

    /// A routed pod is gone, or runs no longer.
    pub fn gone(&mut self, policy: &PolicyId, pod: &str) {
        if let Some(account) = self.accounts.get_mut(policy) {
            account.remove(pod);
        }
    }

    /// Gives back what was granted and never seen in time; says how many.
    pub fn expire(&mut self, now: u64) -> usize {
        let mut count = 0;
        for account in self.accounts.values_mut() {
            let late = |(_, at, _): &&(Box<str>, u64, Box<str>)| now.saturating_sub(*at) > UNSEEN_FOR;
            let late: Vec<Box<str>> =
                account.open.iter().filter(late).map(|(_, _, key)| key.clone()).collect();
            count += late.len();
            for key in late {
                account.remove(&key);
            }
        }
        count
    }

    /// How many pods a policy has, those granted included, and what they cost an hour.
    pub fn used(&self, policy: &PolicyId) -> (usize, Price) {
        self.accounts.get(policy).map_or((0, Price::ZERO), |a| (a.holds.len(), a.spend))
    }
}

/// The part of a cap that is the replica's own, of so many replicas: the parts of all sum up to the cap.
///
/// ```
/// use stowage_fargate::{Caps, share};
///
/// let cap = Caps { pods: Some(10), hourly: None };
/// let parts: Vec<_> = (0..3).map(|at| share(cap, at, 3).pods).collect();
/// assert_eq!(parts, [Some(4), Some(3), Some(3)]);
/// ```
pub fn share(cap: Caps, replica: u32, of: u32) -> Caps {
    let (at, of) = (u64::from(replica), u64::from(of.max(1)));
    if at >= of {
        return Caps { pods: Some(0), hourly: Some(Price::ZERO) };
    }
    let part = |whole: u64| whole / of + u64::from(at < whole % of);
    Caps {
        pods: cap.pods.map(|n| part(u64::from(n)) as u32),
        hourly: cap.hourly.map(|p| Price::from_micros(part(p.micros().max(0) as u64) as i64)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id() -> PolicyId {
        PolicyId { namespace: None, name: "p".to_owned() }
    }

    fn ledger(pods: Option<u32>, hourly: Option<i64>) -> Ledger {
        let mut ledger = Ledger::default();
        let cap = Caps { pods, hourly: hourly.map(Price::from_micros) };
        ledger.set(&BTreeMap::from([(id(), cap)]));
        ledger
    }

    fn ask(ledger: &mut Ledger, ticket: &str, micros: i64, now: u64) -> Result<(), Full> {
        let price = Price::from_micros(micros);
        let request = Request { policy: &id(), workload: "w", ticket, price, dry_run: false };
        ledger.reserve(&request, now)
    }

    #[test]
    fn caps_are_reached_exactly() {
        let mut pods = ledger(Some(2), None);
        let granted: Vec<_> = ["a", "b", "c"].map(|t| ask(&mut pods, t, 1, 0)).into();
        assert_eq!(granted, [Ok(()), Ok(()), Err(Full::Pods)]);
        let mut cost = ledger(None, Some(10));
        assert_eq!(ask(&mut cost, "a", 6, 0), Ok(()));
        assert_eq!(ask(&mut cost, "b", 5, 0), Err(Full::Cost));
        assert_eq!(ask(&mut cost, "c", 4, 0), Ok(()));
        assert_eq!(cost.used(&id()), (2, Price::from_micros(10)));
        assert_eq!(ask(&mut ledger(Some(0), None), "a", 0, 0), Err(Full::Pods));
        assert_eq!(ask(&mut Ledger::default(), "a", 0, 0), Err(Full::Unknown));
    }

    #[test]
    fn a_dry_run_takes_nothing_and_a_ticket_counts_once() {
        let mut one = ledger(Some(1), None);
        let dry = Request { policy: &id(), workload: "w", ticket: "a", price: Price::ZERO, dry_run: true };
        assert_eq!((one.reserve(&dry, 0), one.used(&id()).0), (Ok(()), 0));
        assert_eq!((ask(&mut one, "a", 1, 0), ask(&mut one, "a", 1, 1)), (Ok(()), Ok(())));
        assert_eq!(one.used(&id()).0, 1);
    }

    #[test]
    fn what_comes_of_a_reservation() {
        let mut one = ledger(Some(1), None);
        // Never seen: given back, but not too soon.
        ask(&mut one, "uid-1", 7, 0).unwrap();
        assert_eq!((one.expire(UNSEEN_FOR), one.expire(UNSEEN_FOR + 1)), (0, 1));
        // Seen under its name, and twice: held until it is gone.
        ask(&mut one, "uid-2", 7, 200).unwrap();
        one.seen(&id(), "w", "shop/web-1", Price::from_micros(9));
        one.seen(&id(), "w", "shop/web-1", Price::from_micros(9));
        assert_eq!((one.expire(10_000), one.used(&id())), (0, (1, Price::from_micros(7))));
        one.gone(&id(), "shop/web-1");
        one.gone(&id(), "shop/web-1");
        assert_eq!(one.used(&id()), (0, Price::ZERO));
        // A pod of another workload takes nobody's ticket.
        ask(&mut one, "uid-3", 7, 300).unwrap();
        one.seen(&id(), "other", "shop/x", Price::from_micros(9));
        assert_eq!(one.used(&id()).0, 2);
        assert_eq!(ask(&mut one, "uid-4", 7, 300), Err(Full::Pods));
    }

    #[derive(Clone, Debug)]
    enum Event {
        Ask(u8),
        See,
        Go(u8),
        Wait(u8),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            3 => (1_u8..20).prop_map(Event::Ask),
            2 => Just(Event::See),
            1 => any::<u8>().prop_map(Event::Go),
            1 => any::<u8>().prop_map(Event::Wait),
        ]
    }

    proptest! {
        /// Pods come of grants in any order, or never, and go; what there is, is never above the cap, and a refusal means
        /// that one more would be.
        #[test]
        fn never_above_the_cap(
            events in prop::collection::vec(event(), 0..200),
            most in 0_u32..6,
            dollars in 0_i64..60,
        ) {
            let mut ledger = ledger(Some(most), Some(dollars));
            // What is true: granted and not seen (ticket, price, when), and pods.
            let mut open: Vec<(String, i64, u64)> = Vec::new();
            let mut pods: BTreeMap<String, i64> = BTreeMap::new();
            let mut now = 0_u64;
            for (at, event) in events.into_iter().enumerate() {
                match event {
                    Event::Ask(price) => {
                        let ticket = format!("t{at}");
                        let price = i64::from(price);
                        let spend: i64 = open.iter().map(|o| o.1).chain(pods.values().copied()).sum();
                        let fits = open.len() + pods.len() < most as usize && spend + price <= dollars;
                        let granted = ask(&mut ledger, &ticket, price, now).is_ok();
                        prop_assert_eq!(granted, fits);
                        if granted {
                            open.push((ticket, price, now));
                        }
                    }
                    Event::See if !open.is_empty() => {
                        // All are of one workload, so which ticket a pod takes is not said: the oldest.
                        let oldest = (0..open.len()).min_by_key(|i| (open[*i].2, open[*i].0.clone())).unwrap();
                        let (ticket, price, _) = open.remove(oldest);
                        let pod = format!("pod-of-{ticket}");
                        ledger.seen(&id(), "w", &pod, Price::from_micros(price));
                        pods.insert(pod, price);
                    }
                    Event::Go(which) if !pods.is_empty() => {
                        let pod = pods.keys().nth(which as usize % pods.len()).unwrap().clone();
                        ledger.gone(&id(), &pod);
                        pods.remove(&pod);
                    }
                    Event::Wait(seconds) => {
                        now += u64::from(seconds);
                        ledger.expire(now);
                        open.retain(|(_, _, since)| now - since <= UNSEEN_FOR);
                    }
                    _ => {}
                }
                let spend: i64 = open.iter().map(|o| o.1).chain(pods.values().copied()).sum();
                prop_assert_eq!(ledger.used(&id()), (open.len() + pods.len(), Price::from_micros(spend)));
                prop_assert!(ledger.used(&id()).0 <= most as usize && spend <= dollars);
            }
        }

        /// Replicas that each keep to their part keep to the cap together, and can reach it.
        #[test]
        fn parts_sum_up_to_the_cap(pods in 0_u32..1000, micros in 0_i64..1_000_000, of in 1_u32..9) {
            let cap = Caps { pods: Some(pods), hourly: Some(Price::from_micros(micros)) };
            let parts: Vec<Caps> = (0..of).map(|at| share(cap, at, of)).collect();
            prop_assert_eq!(parts.iter().filter_map(|c| c.pods).sum::<u32>(), pods);
            prop_assert_eq!(parts.iter().filter_map(|c| c.hourly).sum::<Price>(), Price::from_micros(micros));
        }
    }
}
