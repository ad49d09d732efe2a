//! Kinds on which a pod all alone leaves too few values are taken from its gate.

use std::collections::HashMap;
use std::rc::Rc;

use fixedbitset::FixedBitSet;

use super::{Alone, AloneKey, Choice, Found, MOST_PLACES, Places};
use crate::arrangement::Pods;
use crate::model::Model;

impl Model<'_> {
    /// Takes the kinds from each class's gate on which one of its pods alone would leave too few values.
    pub(crate) fn narrow_gates(&mut self) {
        if self.variety.choices.is_empty() {
            return;
        }
        let mut ids = HashMap::new();
        // Classes of one size that rules tie alike are narrowed alike.
        let mut known = HashMap::<(u32, u32, Vec<i64>), (Rc<Alone>, u32)>::new();
        for class in 0..self.classes.classes.len() {
            let gate = self.gate_of[class];
            let like = (gate, self.variety.tie_of(class), self.requests[class].clone());
            if let Some((alone, gate)) = known.get(&like) {
                self.variety.alone.push(Rc::clone(alone));
                self.gate_of[class] = *gate;
                continue;
            }
            let (kinds, alone) = self.wide_enough(&vec![(class as u32, 1)], gate);
            let alone = Rc::new(alone);
            self.variety.alone.push(Rc::clone(&alone));
            let mut id = gate;
            if kinds != self.gates[gate as usize] {
                let next = self.gates.len() as u32;
                id = *ids.entry((gate, kinds)).or_insert_with_key(|(gate, kinds)| {
                    self.gates.push(kinds.clone());
                    self.gate_specs.push(self.gate_specs[*gate as usize].clone());
                    next
                });
                self.gate_of[class] = id;
            }
            known.insert(like, (alone, id));
        }
    }

    /// The same for a team that was just made.
    pub(crate) fn narrow_team(&mut self, team: u32) {
        if self.variety.choices.is_empty() {
            return;
        }
        let gate = self.gate_of[team as usize];
        let (kinds, alone) = self.wide_enough(&vec![(team, 1)], gate);
        self.gates[gate as usize] = kinds;
        self.variety.alone.push(Rc::new(alone));
    }

    /// Of a gate, the kinds that leave enough values with these pods; and where that may be relaxed, how many those pods
    /// leave.
    fn wide_enough(&self, pods: &Pods, gate: u32) -> (FixedBitSet, Alone) {
        let mut known = HashMap::<AloneKey, (bool, Found)>::new();
        // By variant and place, where only these decide.
        let mut of_seat: Vec<Option<bool>> = vec![None; self.variety.choices.len() * MOST_PLACES];
        let mut kinds = self.gates[gate as usize].clone();
        for at in self.gates[gate as usize].ones() {
            let kind = &self.kinds.kinds[at];
            let Some(choice) = self.variety.choice(kind) else { continue };
            let (row, place) = self.variety.seats[at];
            let Some(place) = place else {
                kinds.set(at, false);
                continue;
            };
            let seat = kind.variant as usize * MOST_PLACES + usize::from(place);
            let enough = of_seat[seat].unwrap_or_else(|| {
                let key = self.alone_key(choice, kind.variant, (row, place), pods);
                let (enough, _) = known.entry(key).or_insert_with(|| self.leaves_enough(choice, at, pods));
                if key.2 == u32::MAX {
                    of_seat[seat] = Some(*enough);
                }
                *enough
            });
            kinds.set(at, enough);
        }
        let relaxed = |(variant, ..): &AloneKey| {
            self.variety.choices[*variant as usize].as_ref().is_some_and(Choice::relaxes)
        };
        let alone = known.into_iter().filter(|(key, _)| relaxed(key)).map(|(key, (_, found))| (key, found));
        (kinds, alone.collect())
    }

    /// Whether pods alone leave enough values on a kind; and where that may be relaxed, how many.
    fn leaves_enough(&self, choice: &Choice, kind: usize, pods: &Pods) -> (bool, Found) {
        let Some(kept) = self.keep(kind as u32) else { return (true, Found::new()) };
        let held = self.held(kept, pods);
        if !choice.relaxes() {
            return (choice.is_enough(&held), Found::new());
        }
        let found = choice.found(&held);
        let enough = choice.demands.iter().zip(&found).all(|(d, found)| d.relax || *found >= d.least);
        (enough, found)
    }

    /// What decides how many values pods alone leave on a kind, beside the pods.
    pub(super) fn alone_key(&self, choice: &Choice, variant: u32, own: (u32, u8), pods: &Pods) -> AloneKey {
        let members = pods.iter().flat_map(|(class, _)| self.members(*class));
        let ties = members.map(|(class, _)| &choice.ties[self.variety.tie_of(class as usize) as usize]);
        let mut tied = false;
        let places = ties.fold(Places::MAX, |places, tie| {
            tied |= tie.tied;
            places & tie.alike[own.1 as usize]
        });
        (variant, places, if tied { own.0 } else { u32::MAX })
    }
}
