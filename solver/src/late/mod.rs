//! Latecomers: pods that packing left over, each tried as kube-scheduler would try a pod that comes last.
//!
//! Packing decides many pods at once, and is strict where that asks for it: it deals domains before it knows where
//! `NodePool` limits end, and counts on an empty node to join at any moment. A pod that it leaves may still have a place.
//! So one after the other is held against every node there is, old and new, with all rules as they stand then; and where
//! none takes it, against one more node of each kind that the limits allow. For a pod that must share a node with others a
//! new node may become a bigger one.
//!
//! Nodes are bought first, while spread over hosts still counts an empty one; once nothing more is bought, the nodes that
//! are there are all there are.

mod outlook;
mod yard;

use std::cmp::Reverse;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::alternatives::Alternatives;
use crate::arrangement::Arrangement;
use crate::model::{Model, copies};
use crate::pack::{Budget, add_to};
use crate::topology::is_gregarious;
use outlook::{Offers, Outlook};
use yard::{Site, Yard};

/// Looks at a pod and a node, at most: tens of milliseconds.
const LOOKS: u64 = 2_000_000;

/// What is left to try.
struct Late<'m> {
    model: &'m Model<'m>,
    offers: &'m Offers,
    yard: Yard<'m>,
    left: Vec<u32>,
    looks: u64,
    /// Made when first asked for.
    choices: Option<Alternatives<'m>>,
}

/// The arrangement with places for pods that `packed` leaves over, and what it leaves of the limits; `None` where there is
/// no place for any.
pub(crate) fn admit(
    model: &mut Model<'_>,
    packed: &Arrangement,
    budget: &Budget,
    cancel: &AtomicBool,
) -> Option<(Arrangement, Budget)> {
    let mut classes: Vec<usize> = (0..packed.left.len())
        .filter(|class| packed.left[*class] > 0 && model.spec(*class).blocked.is_none())
        .collect();
    classes.sort_by_key(|class| (Reverse(model.spec(*class).priority), *class));
    if classes.is_empty() {
        return None;
    }
    let offers = Offers::of(model, &classes);
    let yard = Yard::of(model, packed);
    let mut budget = budget.clone();
    let mut late = Late { model, offers: &offers, yard, left: packed.left.clone(), looks: 0, choices: None };
    let mut any = false;
    for buying in [true, false] {
        // A pod that finds a place may be what another waits for.
        while !cancel.load(Ordering::Relaxed) {
            let mut moved = false;
            for &class in &classes {
                moved |= late.try_class(class, buying, &mut budget);
            }
            any |= moved;
            if !moved || late.looks > LOOKS {
                break;
            }
        }
    }
    any.then(|| {
        let routed = packed.routed.clone();
        (Arrangement { routed, ..late.yard.settle(late.left) }, budget)
    })
}

impl Late<'_> {
    /// Places pods of a class while one finds a place. Whether any did.
    fn try_class(&mut self, class: usize, buying: bool, budget: &mut Budget) -> bool {
        let mut any = false;
        while self.left[class] > 0 && self.looks <= LOOKS && self.worth_a_look(class, buying, budget) {
            self.looks += self.yard.places.len() as u64;
            let outlook = Outlook::of(self.model, &self.yard, self.offers, class);
            let place = (0..self.yard.places.len()).find(|at| self.takes(&outlook, class, *at, buying));
            let place = place.or_else(|| buying.then(|| self.buy(&outlook, class, budget)).flatten());
            let place = place.or_else(|| buying.then(|| self.trade_up(&outlook, class, budget)).flatten());
            let Some(place) = place else { break };
            // Where no rule counts it, a pod changes nothing for the next of its class but the room.
            let alike = if outlook.is_free() {
                let alike = copies(&self.model.requests[class], &self.yard.places[place].room)
                    .min(self.model.rules.allowance(class as u32, &self.yard.places[place].state))
                    .min(self.left[class]);
                self.yard.most_varied(class, place, alike).max(1)
            } else {
                1
            };
            self.yard.put(self.model, place, class, alike);
            self.left[class] -= alike;
            any = true;
        }
        any
    }

    /// Whether any node has room for the pod, rules between pods aside.
    fn worth_a_look(&mut self, class: usize, buying: bool, budget: &Budget) -> bool {
        let model = self.model;
        self.looks += 1;
        let on_place =
            |at: usize| model.fits(class, &self.yard.places[at].room) && self.yard.admits(class, at);
        let kinds = &model.kinds.kinds;
        let gate = &model.gates[model.gate_of[class] as usize];
        (0..self.yard.places.len()).any(on_place)
            || buying
                && gate.ones().any(|at| {
                    model.fits(class, &model.kinds.shapes[kinds[at].shape as usize].room)
                        && budget.allows(model, &kinds[at]) > 0
                })
    }

    /// Whether a place takes one more pod of a class.
    fn takes(&self, outlook: &Outlook<'_>, class: usize, at: usize, buying: bool) -> bool {
        let place = &self.yard.places[at];
        self.model.fits(class, &place.room)
            && self.yard.admits(class, at)
            && self.model.rules.lets_in(class as u32, &place.state, buying)
            && outlook.allows(at, |key| self.yard.label(at, key))
    }

    /// Makes a new node one that has room for one more pod: the cheapest way, for pods that must share a node with others.
    fn trade_up(&mut self, outlook: &Outlook<'_>, class: usize, budget: &mut Budget) -> Option<usize> {
        let model = self.model;
        if !is_gregarious(model.spec(class)) {
            return None;
        }
        let choices = self.choices.get_or_insert_with(|| Alternatives::of(model));
        let mut best: Option<(i64, usize, u32)> = None;
        for (at, place) in self.yard.places.iter().enumerate() {
            let Site::New(own) = place.site else { continue };
            self.looks += 1;
            if !model.rules.lets_in(class as u32, &place.state, true)
                || !outlook.allows(at, |key| self.yard.label(at, key))
            {
                continue;
            }
            let mut pods = place.pods.clone();
            add_to(&mut pods, class as u32, 1);
            let kinds = &model.kinds.kinds;
            let own = &kinds[own as usize];
            self.looks += kinds.len() as u64 / 8;
            let other = choices.holding(&pods, place.kind()?, own.variant).into_iter();
            let other =
                other.map(|kind| kind as usize).find(|kind| budget.allows_instead(model, own, &kinds[*kind]));
            let other = other.filter(|kind| model.is_varied(*kind as u32, pods.iter().copied()));
            if let Some(other) = other {
                let more = kinds[other].price - own.price;
                if best.is_none_or(|(known, ..)| more < known) {
                    best = Some((more, at, other as u32));
                }
            }
        }
        let (_, at, kind) = best?;
        let own = self.yard.places[at].kind()?;
        budget.take(model, &model.kinds.kinds[own as usize], -1);
        budget.take(model, &model.kinds.kinds[kind as usize], 1);
        self.yard.change(at, kind);
        Some(at)
    }

    /// Opens one more node for a pod: of the heaviest `NodePool`s that can, the cheapest for what it will hold.
    fn buy(&mut self, outlook: &Outlook<'_>, class: usize, budget: &mut Budget) -> Option<usize> {
        let model = self.model;
        let next = self.yard.places.len();
        let empty = crate::host_rule::HostState::default();
        let together = model.rules.allowance(class as u32, &empty).min(self.left[class]);
        if together == 0 {
            return None;
        }
        // Pods that must share a node with others of their own are best bought a node that holds them all.
        let gregarious = is_gregarious(model.spec(class));
        let mut best = None;
        for at in model.gates[model.gate_of[class] as usize].ones() {
            let kind = &model.kinds.kinds[at];
            let room = &model.kinds.shapes[kind.shape as usize].room;
            let held = copies(&model.requests[class], room).min(together);
            let kept = model.keep(at as u32);
            let held = kept.map_or(held, |kept| model.most_varied(&kept, class as u32, held));
            if held == 0
                || budget.allows(model, kind) == 0
                || !outlook.allows(next, |key| model.kinds.label(kind, key))
            {
                continue;
            }
            let weight = model.problem.pools[kind.pool.index()].weight;
            let crowd = if gregarious { held } else { 0 };
            let each = kind.price.max(1) as f64 / f64::from(held);
            let better = |(w, c, e): (i32, u32, f64)| {
                (weight, crowd).cmp(&(w, c)).then(e.total_cmp(&each)) == std::cmp::Ordering::Greater
            };
            if best.is_none_or(|(key, _)| better(key)) {
                best = Some(((weight, crowd, each), at));
            }
        }
        let (_, at) = best?;
        budget.take(model, &model.kinds.kinds[at], 1);
        self.yard.open(at as u32);
        Some(next)
    }
}
