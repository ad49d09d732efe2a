//! The domains that a class could use, with what is there for it: offerings and free room.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use fixedbitset::FixedBitSet;

use crate::model::{GateId, Model, admits, copies};
use crate::stock::Domain;

/// A domain that a class could use.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) domain: Domain,
    pub(super) kinds: Rc<FixedBitSet>,
    /// How many pods existing nodes there could take, each node looked at alone.
    pub(super) free: u32,
    /// How many it may get in all: what existing nodes take where nothing can be bought.
    pub(super) most: u32,
}

/// What classes of one size and gate have in common.
struct Ground {
    /// The cheapest first; domains where nothing can be bought last.
    domains: Vec<(Domain, Rc<FixedBitSet>)>,
    /// Existing nodes that hold at least one pod: node, how many, position of its domain.
    nodes: Vec<(usize, u32, usize)>,
    /// Whether every domain offers the same at the same price.
    alike: OnceCell<bool>,
}

/// What a ground depends on: gate, requests, keys.
type Key = (GateId, Vec<i64>, BTreeSet<String>);

/// Domains by class, worked out once for classes that are alike.
#[derive(Default)]
pub(super) struct Grounds(HashMap<Key, Rc<Ground>>);

impl Grounds {
    /// The domains in which a class has a kind or a node, the cheapest first.
    pub(super) fn candidates(
        &mut self,
        model: &mut Model<'_>,
        class: usize,
        keys: &BTreeSet<String>,
    ) -> Vec<Candidate> {
        let ground = self.ground(model, class, keys);
        let none = |(domain, kinds): &(Domain, Rc<FixedBitSet>)| {
            let most = if kinds.is_clear() { 0 } else { u32::MAX };
            Candidate { domain: Rc::clone(domain), kinds: Rc::clone(kinds), free: 0, most }
        };
        let mut out: Vec<Candidate> = ground.domains.iter().map(none).collect();
        for (node, most, at) in &ground.nodes {
            let most = (*most).min(model.rules.allowance(class as u32, &model.rules.of_node[*node]));
            let candidate = &mut out[*at];
            candidate.free = candidate.free.saturating_add(most);
            if candidate.most != u32::MAX {
                candidate.most = candidate.free;
            }
        }
        out
    }

    /// Whether all domains of a class offer the same at the same price: then it does not matter which a pod is in.
    pub(super) fn alike(&mut self, model: &mut Model<'_>, class: usize, keys: &BTreeSet<String>) -> bool {
        let ground = self.ground(model, class, keys);
        *ground.alike.get_or_init(|| {
            let offer = |kinds: &FixedBitSet| {
                let kinds = kinds.ones().map(|at| &model.kinds.kinds[at]);
                let mut offer: Vec<_> = kinds
                    .map(|k| (k.variant, k.instance_type, k.shape, k.price, k.draws.as_slice()))
                    .collect();
                offer.sort_unstable();
                offer
            };
            let offers: Vec<_> = ground.domains.iter().map(|(_, kinds)| offer(kinds)).collect();
            offers.windows(2).all(|pair| pair[0] == pair[1])
        })
    }

    fn ground(&mut self, model: &mut Model<'_>, class: usize, keys: &BTreeSet<String>) -> Rc<Ground> {
        let key = (model.gate_of[class], model.requests[class].clone(), keys.clone());
        Rc::clone(self.0.entry(key).or_insert_with(|| Rc::new(Ground::of(model, class, keys))))
    }
}

impl Ground {
    fn of(model: &mut Model<'_>, class: usize, keys: &BTreeSet<String>) -> Self {
        let feasible = model.feasible(class);
        let columns: Vec<(String, Vec<String>, Vec<u32>)> = keys
            .iter()
            .map(|key| {
                let (values, of_kind) = model.kinds.values_of(key);
                (key.clone(), values.to_vec(), of_kind.to_vec())
            })
            .collect();
        let total = model.kinds.kinds.len();
        let mut by_ids = HashMap::<Vec<u32>, (i64, FixedBitSet)>::new();
        for at in feasible.ones() {
            let ids: Vec<u32> = columns.iter().map(|(_, _, of_kind)| of_kind[at]).collect();
            let price = model.kinds.kinds[at].price;
            let entry = by_ids.entry(ids).or_insert_with(|| (price, FixedBitSet::with_capacity(total)));
            entry.0 = entry.0.min(price);
            entry.1.insert(at);
        }
        let mut by_domain = BTreeMap::<Domain, (i64, FixedBitSet)>::new();
        for (ids, offer) in by_ids {
            let value = |(column, id): (&(String, Vec<String>, Vec<u32>), u32)| {
                (column.0.clone(), id.checked_sub(1).map(|at| column.1[at as usize].clone()))
            };
            by_domain.insert(columns.iter().zip(ids).map(value).collect(), offer);
        }
        let spec = model.spec(class);
        let mut homes = Vec::new();
        for (at, node) in model.problem.nodes.iter().enumerate() {
            let most = copies(&model.requests[class], &model.node_room[at]);
            if most > 0 && admits(node, spec) {
                let domain: Domain = keys.iter().map(|k| (k.clone(), node.labels.get(k).cloned())).collect();
                by_domain
                    .entry(Rc::clone(&domain))
                    .or_insert_with(|| (i64::MAX, FixedBitSet::with_capacity(total)));
                homes.push((at, most, domain));
            }
        }
        let mut order: Vec<(i64, Domain, FixedBitSet)> =
            by_domain.into_iter().map(|(domain, (price, kinds))| (price, domain, kinds)).collect();
        order.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        let domains: Vec<(Domain, Rc<FixedBitSet>)> =
            order.into_iter().map(|(_, domain, kinds)| (domain, Rc::new(kinds))).collect();
        let position: HashMap<Domain, usize> =
            domains.iter().enumerate().map(|(at, (domain, _))| (Rc::clone(domain), at)).collect();
        let nodes = homes.into_iter().map(|(at, most, domain)| (at, most, position[&domain])).collect();
        Self { domains, nodes, alike: OnceCell::new() }
    }
}
