//! All nodes one by one, with room and pods as they stand.

use crate::arrangement::{Arrangement, NewNodes, Pods};
use crate::host_rule::HostState;
use crate::model::{Model, admits};
use crate::pack::add_to;

/// What a place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Site {
    /// Index of an existing node.
    Old(usize),
    /// The kind of a new one.
    New(u32),
}

/// A node.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) site: Site,
    pub(super) room: Vec<i64>,
    pub(super) state: HostState,
    /// Pods that the plan puts there.
    pub(super) pods: Pods,
}

impl Place {
    /// The kind of a new node.
    pub(super) fn kind(&self) -> Option<u32> {
        match self.site {
            Site::Old(_) => None,
            Site::New(kind) => Some(kind),
        }
    }
}

/// Every node, existing ones first.
pub(super) struct Yard<'m> {
    pub(super) places: Vec<Place>,
    model: &'m Model<'m>,
}

impl<'m> Yard<'m> {
    pub(super) fn of(model: &'m Model<'m>, arrangement: &Arrangement) -> Self {
        let mut this = Self { places: Vec::new(), model };
        for &node in &model.node_order {
            let pods = arrangement.on_nodes.get(&node).cloned().unwrap_or_default();
            let place = Place {
                site: Site::Old(node),
                room: model.node_room[node].clone(),
                state: model.rules.of_node[node].clone(),
                pods: Pods::new(),
            };
            this.add(place, &pods, 1);
        }
        for new in &arrangement.new {
            let place = this.empty(new.kind);
            this.add(place, &new.pods, new.copies);
        }
        this
    }

    fn empty(&self, kind: u32) -> Place {
        let shape = self.model.kinds.kinds[kind as usize].shape;
        let room = self.model.kinds.shapes[shape as usize].room.clone();
        Place { site: Site::New(kind), room, state: HostState::default(), pods: Pods::new() }
    }

    fn add(&mut self, place: Place, pods: &Pods, copies: u32) {
        let at = self.places.len();
        self.places.push(place);
        for (class, count) in pods {
            self.put(self.model, at, *class as usize, *count);
        }
        for _ in 1..copies {
            self.places.push(self.places[at].clone());
        }
    }

    /// Opens an empty node.
    pub(super) fn open(&mut self, kind: u32) {
        let place = self.empty(kind);
        self.places.push(place);
    }

    /// Makes a new node one of another kind; its pods stay.
    pub(super) fn change(&mut self, at: usize, kind: u32) {
        let mut place = self.empty(kind);
        let load = self.model.load(self.places[at].pods.iter().copied());
        for (room, load) in place.room.iter_mut().zip(load) {
            *room = room.saturating_sub(load);
        }
        let old = &mut self.places[at];
        (old.site, old.room) = (place.site, place.room);
    }

    /// Puts pods of a class on a node.
    pub(super) fn put(&mut self, model: &Model<'_>, at: usize, class: usize, count: u32) {
        let place = &mut self.places[at];
        for (room, need) in place.room.iter_mut().zip(&model.requests[class]) {
            *room = room.saturating_sub(need.saturating_mul(i64::from(count)));
        }
        model.rules.add(class as u32, count, &mut place.state);
        add_to(&mut place.pods, class as u32, count);
    }

    /// Whether a node's labels, taints and `DaemonSet`s let a pod in, and leave enough to launch the node as.
    pub(super) fn admits(&self, class: usize, at: usize) -> bool {
        let model = self.model;
        match self.places[at].site {
            Site::Old(node) => admits(&model.problem.nodes[node], model.spec(class)),
            Site::New(kind) => {
                let pods = self.places[at].pods.iter().copied().chain([(class as u32, 1)]);
                model.gates[model.gate_of[class] as usize].contains(kind as usize)
                    && (!model.variety.concerns(&model.kinds.kinds[kind as usize])
                        || model.is_varied(kind, pods))
            }
        }
    }

    /// How many pods of a class the choice of what to launch a node as lets in, of so many.
    pub(super) fn most_varied(&self, class: usize, at: usize, wanted: u32) -> u32 {
        let Site::New(kind) = self.places[at].site else { return wanted };
        let kept = self.model.keep_with(kind, self.places[at].pods.iter().copied());
        kept.map_or(wanted, |kept| self.model.most_varied(&kept, class as u32, wanted))
    }

    /// A label of a node.
    pub(super) fn label(&self, at: usize, key: &str) -> Option<&'m str> {
        match self.places[at].site {
            Site::Old(node) => self.model.problem.nodes[node].labels.get(key).map(String::as_str),
            Site::New(kind) => self.model.kinds.label(&self.model.kinds.kinds[kind as usize], key),
        }
    }

    /// Who is where, and how many of each class are left over.
    pub(super) fn settle(self, left: Vec<u32>) -> Arrangement {
        let mut arrangement = Arrangement { left, ..Arrangement::default() };
        for place in self.places.into_iter().filter(|place| !place.pods.is_empty()) {
            match place.site {
                Site::Old(node) => {
                    arrangement.on_nodes.insert(node, place.pods);
                }
                Site::New(kind) => {
                    arrangement.new.push(NewNodes { kind, pods: place.pods, copies: 1 });
                }
            }
        }
        // Equal nodes together, in a canonical order.
        arrangement.new.sort_by(|a, b| (a.kind, &a.pods).cmp(&(b.kind, &b.pods)));
        arrangement.new.dedup_by(|b, a| {
            let same = (a.kind, &a.pods) == (b.kind, &b.pods);
            a.copies += if same { b.copies } else { 0 };
            same
        });
        arrangement
    }
}
