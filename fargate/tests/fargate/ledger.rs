//! Caps, against a world in which everything goes wrong that may: pods are stored late or never, or on nodes; they are seen in
//! any order, late, or only by a list; grants are given back; leaders die, and their last write with them or not.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};
use stowage_fargate::{
    Full, GrantedUpTo, Labels, Ledger, Level, PodKey, Policies, Policy, PolicyId, Request, Sighting,
    UNSEEN_FOR,
};
use stowage_solver::Price;

use crate::{labels, policies, policy};

fn capped(name: &str, app: &str, pods: Option<u32>, micros: Option<i64>) -> Policy {
    let dollars = micros.map(|m| format!("{}.{:06}", m / 1_000_000, m % 1_000_000));
    let caps = json!({"maxPods": pods, "maxHourlyCost": dollars});
    policy(
        Some("shop"),
        name,
        json!({"mode": "Always", "podSelector": {"matchLabels": {"app": app}}, "caps": caps}),
    )
}

fn one(pods: Option<u32>, micros: Option<i64>) -> Policies {
    policies(vec![capped("p", "web", pods, micros)])
}

fn id() -> PolicyId {
    crate::id(Some("shop"), "p")
}

fn key(name: &str) -> PodKey {
    PodKey { namespace: "shop".to_owned(), controller: "rs".to_owned(), name: name.to_owned() }
}

fn ask(ticket: &str, name: &str, micros: i64) -> Request {
    Request {
        ticket: ticket.to_owned(),
        policy: id(),
        pod: key(name),
        labels: labels(&[("app", "web")]),
        added: labels(&[("f", "t")]),
        price: Price::from_micros(micros),
        dry_run: false,
        by_itself: false,
    }
}

/// A pod of that key as it is stored: on Fargate, or labelled and left on nodes, or neither.
fn stored(uid: &str, name: &str, on_fargate: bool, labelled: bool) -> Sighting {
    let mut of: Value = json!({
        "metadata": {
            "name": format!("{name}{uid}"), "generateName": name, "namespace": "shop", "uid": uid, "labels": {"app": "web"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "r", "uid": "rs", "controller": true}],
        },
        "spec": {},
    });
    if on_fargate {
        of["spec"]["schedulerName"] = json!("fargate-scheduler");
    }
    if labelled {
        of["metadata"]["labels"]["f"] = json!("t");
    }
    Sighting::of(&of).unwrap()
}

fn see(ledger: &mut Ledger, uid: &str, name: &str, micros: i64) {
    ledger.seen(&stored(uid, name, true, true), Some(&id()), Some(Price::from_micros(micros)));
}

/// One that leads at 1,000 with nothing left to be counted, and may grant as far as its caps go.
fn leading(policies: &Policies) -> Ledger {
    let mut ledger = Ledger::take_over(None, policies, 0);
    ledger.lead(u64::MAX);
    ledger.expire(1_000);
    write(&mut ledger);
    ledger
}

fn write(ledger: &mut Ledger) {
    while let Some(levels) = ledger.to_write() {
        ledger.wrote(&levels);
    }
}

/// With as much written ahead as it asks for.
fn reserve(ledger: &mut Ledger, request: &Request, now: u64) -> Result<(), Full> {
    write(ledger);
    ledger.reserve(request, now)
}

#[test]
fn caps_are_reached_exactly() {
    let mut pods = leading(&one(Some(2), None));
    let granted: Vec<_> = ["a", "b", "c"].map(|t| reserve(&mut pods, &ask(t, "w-", 1), 1_000)).into();
    assert_eq!(granted, [Ok(()), Ok(()), Err(Full::Pods)]);
    let mut cost = leading(&one(None, Some(10)));
    assert_eq!(reserve(&mut cost, &ask("a", "w-", 6), 1_000), Ok(()));
    assert_eq!(reserve(&mut cost, &ask("b", "w-", 5), 1_000), Err(Full::Cost));
    assert_eq!(reserve(&mut cost, &ask("c", "w-", 4), 1_000), Ok(()));
    assert_eq!(cost.used(&id()), (2, Price::from_micros(10)));
    assert_eq!(reserve(&mut leading(&one(Some(0), None)), &ask("a", "w-", 0), 1_000), Err(Full::Pods));
    assert_eq!(reserve(&mut leading(&policies(vec![])), &ask("a", "w-", 0), 1_000), Err(Full::Unknown));
}

/// Webhooks are asked again with another uid, followers ask again with the same; who does not lead for certain grants nothing.
#[test]
fn a_ticket_counts_once_and_a_dry_run_not_at_all() {
    let mut ledger = leading(&one(Some(1), None));
    let dry = Request { dry_run: true, ..ask("d", "w-", 1) };
    assert_eq!((reserve(&mut ledger, &dry, 1_000), ledger.used(&id()).0), (Ok(()), 0));
    for _ in 0..2 {
        assert_eq!(reserve(&mut ledger, &ask("a", "w-", 1), 1_000), Ok(()));
    }
    assert_eq!((ledger.used(&id()).0, ledger.open()), (1, 1));
    ledger.release("a");
    ledger.release("a");
    assert_eq!(ledger.used(&id()).0, 0);
    ledger.lead(1_000);
    assert_eq!(reserve(&mut ledger, &ask("b", "w-", 1), 1_000), Err(Full::NotLeading));
}

/// A pod that is made anew under the same name is another pod, and its ticket another ticket.
#[test]
fn a_pod_of_the_same_name_is_another_one() {
    let mut ledger = leading(&one(Some(2), None));
    reserve(&mut ledger, &ask("t1", "web-0", 5), 1_000).unwrap();
    see(&mut ledger, "u1", "web-0", 5);
    see(&mut ledger, "u1", "web-0", 5);
    // Its successor is admitted and stored before the watch tells that the first is gone.
    reserve(&mut ledger, &ask("t2", "web-0", 5), 1_010).unwrap();
    assert_eq!(ledger.used(&id()).0, 2);
    assert_eq!(reserve(&mut ledger, &ask("t3", "web-0", 5), 1_010), Err(Full::Pods));
    see(&mut ledger, "u2", "web-0", 5);
    ledger.gone("u1");
    ledger.gone("u1");
    assert_eq!((ledger.used(&id()).0, ledger.open()), (1, 0));
}

#[test]
fn what_comes_of_a_ticket() {
    let mut ledger = leading(&one(Some(9), None));
    // Never stored: given back by how far the watch has come, whatever time it is.
    reserve(&mut ledger, &ask("t1", "w-", 7), 2_000).unwrap();
    assert_eq!((ledger.expire(2_000 + UNSEEN_FOR), ledger.expire(2_000 + UNSEEN_FOR + 1)), (0, 1));
    // Stored dearer than it was granted, as others have added to it: what it costs counts. Cheaper: what was granted.
    reserve(&mut ledger, &ask("t2", "w-", 7), 3_000).unwrap();
    see(&mut ledger, "u2", "w-", 9);
    assert_eq!(ledger.used(&id()), (1, Price::from_micros(9)));
    see(&mut ledger, "u2", "w-", 5);
    assert_eq!(ledger.used(&id()), (1, Price::from_micros(7)));
    // It may have taken the ticket of another one, until all that was admitted then has been seen.
    ledger.expire(3_000 + UNSEEN_FOR + 1);
    assert_eq!(ledger.used(&id()), (1, Price::from_micros(5)));
    see(&mut ledger, "u2", "w-", 7);
    // Not taken by EKS: it runs on nodes.
    reserve(&mut ledger, &ask("t3", "w-", 7), 4_000).unwrap();
    ledger.seen(&stored("u3", "w-", false, true), Some(&id()), None);
    assert_eq!((ledger.used(&id()).0, ledger.open()), (1, 0));
    // Refused, and on nodes beside one that was granted: that one's ticket is not its own.
    reserve(&mut ledger, &ask("t4", "w-", 7), 4_000).unwrap();
    ledger.seen(&stored("u4", "w-", false, false), Some(&id()), None);
    assert_eq!((ledger.used(&id()).0, ledger.open()), (2, 1));
    // Not taken, and of two tickets neither is at its price: whose it gave back could not be told.
    reserve(&mut ledger, &ask("t6", "w-", 8), 4_000).unwrap();
    ledger.seen(&stored("u6", "w-", false, true), Some(&id()), Some(Price::from_micros(1)));
    assert_eq!(ledger.open(), 2);
    ledger.seen(&stored("u7", "w-", false, true), Some(&id()), Some(Price::from_micros(8)));
    assert_eq!((ledger.used(&id()).0, ledger.open()), (2, 1));
    // Of another controller.
    see(&mut ledger, "u5", "other-", 1);
    assert_eq!((ledger.used(&id()).0, ledger.open()), (3, 1));
    // Gone while nobody watched.
    ledger.listed(&BTreeSet::from(["u5"]));
    assert_eq!(ledger.used(&id()), (2, Price::from_micros(8)));
}

#[test]
fn what_goes_by_itself_counts_and_is_never_refused() {
    let mut ledger = leading(&one(Some(1), None));
    for n in 0..3 {
        let own = Request { by_itself: true, added: Labels::new(), ..ask(&format!("t{n}"), "w-", 1) };
        assert_eq!(reserve(&mut ledger, &own, 1_000), Ok(()));
    }
    assert_eq!(reserve(&mut ledger, &ask("a", "w-", 1), 1_000), Err(Full::Pods));
    (0..3).for_each(|n| see(&mut ledger, &format!("u{n}"), "w-", 1));
    assert_eq!((ledger.used(&id()).0, ledger.open()), (3, 0));
}

/// Another policy rules them, or the same with another cap: what is there is counted anew.
#[test]
fn policies_that_change_take_their_pods_along() {
    let narrow = || capped("narrow", "web", Some(5), None);
    let wide = |pods| policy(Some("shop"), "p", json!({"mode": "Always", "caps": {"maxPods": pods}}));
    let mut ledger = leading(&policies(vec![wide(3)]));
    reserve(&mut ledger, &ask("t1", "w-", 7), 1_000).unwrap();
    see(&mut ledger, "u1", "w-", 7);
    reserve(&mut ledger, &ask("t2", "w-", 7), 1_000).unwrap();
    ledger.set(&policies(vec![wide(3), narrow()]), 1_000);
    let other = crate::id(Some("shop"), "narrow");
    assert_eq!((ledger.used(&id()).0, ledger.used(&other)), (0, (2, Price::from_micros(14))));
    // And back, with a lower cap: nothing goes, and nothing is granted.
    ledger.set(&policies(vec![wide(1)]), 1_000);
    assert_eq!(ledger.used(&id()).0, 2);
    assert_eq!(reserve(&mut ledger, &ask("t3", "w-", 7), 1_000), Err(Full::Pods));
    ledger.set(&policies(vec![wide(3)]), 1_000);
    assert_eq!(reserve(&mut ledger, &ask("t3", "w-", 7), 1_000), Ok(()));
}

/// Followers do not ask where there is no cap: once there is one, what they let go is seen first.
#[test]
fn a_cap_that_is_new_counts_what_was_never_asked_for() {
    let mut ledger = leading(&one(None, None));
    ledger.set(&one(Some(2), None), 2_000);
    assert_eq!(reserve(&mut ledger, &ask("t1", "w-", 1), 2_001), Err(Full::Settling));
    see(&mut ledger, "u1", "w-", 1);
    ledger.expire(2_000 + UNSEEN_FOR + 1);
    assert_eq!(reserve(&mut ledger, &ask("t1", "w-", 1), 2_200), Ok(()));
    assert_eq!(reserve(&mut ledger, &ask("t2", "w-", 1), 2_200), Err(Full::Pods));
    // A second policy with a cap beside the first: all were asked for, and nothing is waited for.
    let both = vec![capped("p", "web", Some(3), None), capped("q", "db", Some(1), None)];
    ledger.set(&policies(both), 2_300);
    let q = Request {
        policy: crate::id(Some("shop"), "q"),
        labels: labels(&[("app", "db")]),
        ..ask("t3", "d-", 1)
    };
    assert_eq!(reserve(&mut ledger, &q, 2_300), Ok(()));
}

/// All of a small cap is written at once, so that pods that come together all get their place; of a large one a quarter.
#[test]
fn large_caps_are_written_in_blocks() {
    let policies = one(Some(1_000), None);
    let mut ledger = Ledger::take_over(None, &policies, 0);
    ledger.lead(u64::MAX);
    ledger.expire(1_000);
    let wanted = ledger.to_write().unwrap();
    ledger.wrote(&wanted);
    let grant = |ledger: &mut Ledger, names: &str| {
        let ask = |n: &i32| ledger.reserve(&ask(&format!("{names}{n}"), "w-", 1), 1_000) == Ok(());
        (0..1_000).take_while(ask).count()
    };
    assert_eq!(grant(&mut ledger, "a"), 250);
    let wanted = ledger.to_write().unwrap();
    ledger.wrote(&wanted);
    assert_eq!(grant(&mut ledger, "b"), 250);
}

#[test]
fn who_leads_next_counts_what_was_written_until_all_of_it_was_seen() {
    let policies = one(Some(10), None);
    let mut first = leading(&policies);
    // Nothing is granted above what is written.
    let mut unwritten = Ledger::take_over(None, &policies, 0);
    unwritten.lead(u64::MAX);
    unwritten.expire(1_000);
    assert_eq!(unwritten.reserve(&ask("t", "w-", 1), 1_000), Err(Full::NotWritten));
    let written = unwritten.to_write().unwrap();
    assert_eq!((written.epoch, written.levels[&id()].pods), (1, 10));
    // Four are under way, and one of them was stored.
    for n in 0..4 {
        first.reserve(&ask(&format!("t{n}"), "w-", 1), 1_000).unwrap();
    }
    let last = GrantedUpTo { epoch: 1, levels: [(id(), Level { pods: 4, micros: 1_000 })].into() };
    let mut next = Ledger::take_over(Some(&last), &policies, 1_010);
    next.lead(u64::MAX);
    see(&mut next, "u0", "w-", 1);
    assert_eq!((next.epoch(), next.used(&id()).0), (2, 1));
    let granted =
        (0..10).filter(|n| reserve(&mut next, &ask(&format!("n{n}"), "w-", 1), 1_020).is_ok()).count();
    assert_eq!(granted, 6);
    // Its own pods come, and make no room by coming.
    (10..16).for_each(|n| see(&mut next, &format!("u{n}"), "w-", 1));
    assert_eq!(reserve(&mut next, &ask("more", "w-", 1), 1_030), Err(Full::Pods));
    // The other three were never stored, as is certain by now.
    next.expire(1_020 + UNSEEN_FOR + 1);
    let granted =
        (0..10).filter(|n| reserve(&mut next, &ask(&format!("m{n}"), "w-", 1), 1_200).is_ok()).count();
    assert_eq!(granted, 3);
    // Where nothing can be read, all of it is waited for.
    let mut blind = Ledger::take_over(None, &policies, 1_000);
    blind.lead(u64::MAX);
    assert_eq!(reserve(&mut blind, &ask("a", "w-", 1), 1_010), Err(Full::Settling));
}

#[derive(Clone, Debug)]
enum Event {
    Ask {
        key: u8,
        price: u8,
    },
    /// One that was granted is stored: where EKS took it, or not.
    Store {
        which: u8,
        taken: bool,
    },
    /// One of a refused admission is stored, on nodes.
    StoreRefused {
        key: u8,
    },
    Delete(u8),
    /// The watch tells of so many events.
    Watch(u8),
    /// The watch broke, and all is listed.
    List,
    GiveBack(u8),
    Wait(u8),
    /// A write: it is answered, lost on the way back, or lost on the way there.
    Write(u8),
    Fail,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (0_u8..2, 1_u8..9).prop_map(|(key, price)| Event::Ask { key, price }),
        5 => (any::<u8>(), prop::bool::weighted(0.8)).prop_map(|(which, taken)| Event::Store { which, taken }),
        1 => (0_u8..2).prop_map(|key| Event::StoreRefused { key }),
        2 => any::<u8>().prop_map(Event::Delete),
        4 => (0_u8..6).prop_map(Event::Watch),
        1 => Just(Event::List),
        1 => any::<u8>().prop_map(Event::GiveBack),
        // Mostly short: what takes over has two minutes in which it may go wrong.
        3 => (0_u8..8).prop_map(Event::Wait),
        1 => any::<u8>().prop_map(Event::Wait),
        4 => (0_u8..4).prop_map(Event::Write),
        1 => Just(Event::Fail),
    ]
}

/// What is true, whoever knows it.
#[derive(Default)]
struct World {
    now: u64,
    /// Granted, not given back, and not stored yet: (ticket, key, price, since).
    under_way: Vec<(String, String, i64, u64)>,
    /// On Fargate: (uid, key, price).
    pods: Vec<(String, String, i64)>,
    /// What the watch has not told yet: when it happened, and what.
    untold: Vec<(u64, Told)>,
    written: Option<GrantedUpTo>,
    made: usize,
}

enum Told {
    Seen(Box<Sighting>, i64),
    Gone(String),
}

impl World {
    /// What is on Fargate by a grant, or may yet come there.
    fn granted(&self) -> (usize, i64) {
        let may_come = self.under_way.iter().filter(|g| self.now <= g.3 + UNSEEN_FOR).map(|g| g.2);
        let all: Vec<i64> = may_come.chain(self.pods.iter().map(|p| p.2)).collect();
        (all.len(), all.iter().sum())
    }

    fn tell(&mut self, ledger: &mut Ledger, most: usize) {
        for (_, told) in self.untold.drain(..most.min(self.untold.len())) {
            match told {
                Told::Seen(pod, price) => ledger.seen(&pod, Some(&id()), Some(Price::from_micros(price))),
                Told::Gone(uid) => ledger.gone(&uid),
            }
        }
        ledger.expire(self.untold.first().map_or(self.now, |(at, _)| *at));
    }

    fn list(&mut self, ledger: &mut Ledger) {
        self.untold.clear();
        for (uid, key, price) in &self.pods {
            see(ledger, uid, key, *price);
        }
        ledger.listed(&self.pods.iter().map(|p| p.0.as_str()).collect());
        ledger.expire(self.now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// Whatever happens, in whatever order: a grant never makes it more than the cap. And once nothing is in doubt, what is
    /// counted is what is true, and a grant is refused only if it would be more.
    #[test]
    fn never_above_the_cap(
        events in prop::collection::vec(event(), 0..120),
        most in 0_u32..9,
        dollars in prop_oneof![Just(1_000_000_i64), 0_i64..60],
    ) {
        let policies = one(Some(most), Some(dollars));
        let mut world = World { now: 10_000, ..World::default() };
        let mut ledger = Ledger::take_over(None, &policies, 0);
        ledger.expire(world.now);
        for event in events {
            ledger.lead(world.now + 15);
            world.made += 1;
            let (uid, ticket) = (format!("u{}", world.made), format!("t{}", world.made));
            match event {
                Event::Ask { key, price } => {
                    let (key, price) = (format!("w{key}-"), i64::from(price));
                    if ledger.reserve(&ask(&ticket, &key, price), world.now).is_ok() {
                        world.under_way.push((ticket, key, price, world.now));
                        let (pods, micros) = world.granted();
                        prop_assert!(pods <= most as usize && micros <= dollars, "{pods} and {micros}");
                    }
                }
                Event::Store { which, taken } if !world.under_way.is_empty() => {
                    let (_, key, price, since) = world.under_way.remove(which as usize % world.under_way.len());
                    // The API server has given up on it by then.
                    if world.now <= since + UNSEEN_FOR {
                        let pod = Box::new(stored(&uid, &key, taken, true));
                        world.untold.push((world.now, Told::Seen(pod, price)));
                        if taken {
                            world.pods.push((uid, key, price));
                        }
                    }
                }
                Event::StoreRefused { key } => {
                    let pod = Box::new(stored(&uid, &format!("w{key}-"), false, false));
                    world.untold.push((world.now, Told::Seen(pod, 1)));
                }
                Event::Delete(which) if !world.pods.is_empty() => {
                    let (uid, ..) = world.pods.remove(which as usize % world.pods.len());
                    world.untold.push((world.now, Told::Gone(uid)));
                }
                Event::Watch(most) => world.tell(&mut ledger, most as usize),
                Event::List => world.list(&mut ledger),
                Event::GiveBack(which) if !world.under_way.is_empty() => {
                    let (ticket, ..) = world.under_way.remove(which as usize % world.under_way.len());
                    ledger.release(&ticket);
                }
                Event::Wait(seconds) => world.now += u64::from(seconds),
                Event::Write(fate) => {
                    if let Some(levels) = ledger.to_write() {
                        if fate > 0 {
                            world.written = Some(levels.clone());
                        }
                        if fate > 1 {
                            ledger.wrote(&levels);
                        }
                    }
                }
                Event::Fail => {
                    // The next one leads when the lease has run out, and then this one grants nothing.
                    world.now += 15;
                    prop_assert_eq!(ledger.reserve(&ask(&ticket, "w0-", 0), world.now), Err(Full::NotLeading));
                    ledger = Ledger::take_over(world.written.as_ref(), &policies, world.now);
                    world.list(&mut ledger);
                }
                _ => {}
            }
        }
        // All is told, and nothing can come any more.
        world.now += UNSEEN_FOR + 1;
        world.under_way.clear();
        world.tell(&mut ledger, usize::MAX);
        ledger.lead(u64::MAX);
        let (pods, micros) = world.granted();
        prop_assert_eq!(ledger.used(&id()), (pods, Price::from_micros(micros)));
        let fits = pods < most as usize && micros < dollars;
        prop_assert_eq!(reserve(&mut ledger, &ask("last", "w0-", 1), world.now).is_ok(), fits);
    }
}
