//! Gathers what to know about a lowered snapshot.

use std::collections::{BTreeMap, HashSet};

use stowage_api::well_known;
use stowage_pricing::Catalog;
use stowage_solver::NodePool;

use crate::note::{Note, Rule};
use crate::snapshot::{LeftOut, Pod, Snapshot};

/// The scheduler of pods that name none.
const DEFAULT_SCHEDULER: &str = "default-scheduler";

/// Notes as they come up.
#[derive(Default)]
pub(super) struct Notes {
    notes: Vec<Note>,
    rules: BTreeMap<Rule, (usize, String)>,
}

impl Notes {
    /// What reading a snapshot left out.
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let mut this = Self::default();
        if !snapshot.invalid.is_empty() {
            this.add(Note::Invalid { count: snapshot.invalid.len() });
        }
        for (kind, count) in &snapshot.ignored {
            this.add(Note::Ignored { kind: kind.clone(), count: *count });
        }
        this
    }

    pub(super) fn add(&mut self, note: Note) {
        self.notes.push(note);
    }

    /// Counts one object that states a rule which is not honoured.
    pub(super) fn not_honoured(&mut self, rule: Rule, example: impl FnOnce() -> String) {
        let example = example();
        let (count, known) = self.rules.entry(rule).or_insert_with(|| (0, example.clone()));
        *count += 1;
        // The first by name, whatever the order of the snapshot.
        if example < *known {
            *known = example;
        }
    }

    /// The pending pods, and notes on those that have no node and still are not pending.
    pub(super) fn sort_out<'s>(&mut self, snapshot: &'s Snapshot, schedulers: &[String]) -> Vec<&'s Pod> {
        let nodes: HashSet<&str> = snapshot.nodes.iter().map(|n| n.metadata.name.as_str()).collect();
        let mut left_out = BTreeMap::<LeftOut, (usize, &Pod)>::new();
        let mut lost: Option<(usize, &Pod)> = None;
        let mut pending = Vec::new();
        let has_room = |pod: &Pod| pod.nominated.as_deref().is_some_and(|node| nodes.contains(node));
        for pod in snapshot.pods() {
            let others = |name: &str| {
                !name.is_empty() && name != DEFAULT_SCHEDULER && schedulers.iter().all(|known| known != name)
            };
            match pod.pending() {
                Some(Ok(())) if others(&pod.spec.scheduler_name) => {
                    left_out.entry(LeftOut::OtherScheduler).or_insert((0, pod)).0 += 1;
                }
                // It counts as on its node, and is listed there: see `nominated`.
                Some(Ok(())) if has_room(pod) => {}
                Some(Ok(())) => pending.push(pod),
                Some(Err(why)) => left_out.entry(why).or_insert((0, pod)).0 += 1,
                None if pod.is_bound() && !nodes.contains(pod.node.as_deref().unwrap_or_default()) => {
                    lost.get_or_insert((0, pod)).0 += 1;
                }
                None => {}
            }
        }
        for (why, (count, pod)) in left_out {
            self.add(Note::LeftOut { why, count, example: pod.key() });
        }
        if let Some((count, pod)) = lost {
            let node = pod.node.as_deref().unwrap_or_default().to_owned();
            self.add(Note::UnknownNode { count, example: pod.key(), node });
        }
        pending
    }

    /// Counts the pods among `pods` whose preferences are not looked at. `wishing` says it by spec.
    pub(super) fn preferences_ignored(&mut self, pods: &[stowage_solver::Pod], wishing: &[bool]) {
        let mut of = pods.iter().filter(|pod| wishing[pod.spec.index()]);
        if let Some(first) = of.next() {
            self.add(Note::PreferencesIgnored { count: 1 + of.count(), example: first.name.clone() });
        }
    }

    /// Whether estimated prices may decide anything.
    pub(super) fn of_prices(&mut self, catalog: &Catalog, pools: &[NodePool]) {
        let used = |capacity_type: &str| {
            pools.iter().any(|pool| {
                let mut stated = pool.requirements.iter().filter(|r| r.key == well_known::CAPACITY_TYPE);
                stated.all(|r| r.allows(Some(capacity_type)))
            })
        };
        let offerings = catalog.types.iter().flat_map(|t| &t.offerings);
        let offerings = offerings.filter(|o| o.available && o.estimated && used(o.capacity_type())).count();
        if offerings > 0 {
            self.add(Note::EstimatedPrices { offerings });
        }
    }

    /// All notes, in the order to show them.
    pub(super) fn finish(mut self) -> Vec<Note> {
        let rules = self.rules.into_iter();
        self.notes.extend(rules.map(|(rule, (count, example))| Note::NotHonoured { rule, count, example }));
        self.notes.sort();
        self.notes
    }
}
