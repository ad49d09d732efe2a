//! Shapes: what the claims of a pod ask for together, each distinct one once.

use std::collections::{BTreeSet, HashMap};

use super::demand::{Demands, Verdict};
use crate::lower::notes::Notes;
use crate::note::Rule;
use crate::object::{AllocationMode, ExactRequest, ResourceClaimSpec};
use crate::snapshot::Pod;

/// How many devices a claim may have: `AllocationResultsMaxSize` of `resource.k8s.io/v1`.
pub(super) const MOST_DEVICES: u64 = 32;

/// How many requests and devices the claims of a pod may have together; far above what any node has.
const MOST_OF_POD: u64 = 256;

/// What a request asks for.
#[derive(Clone, Debug)]
pub(super) struct Want {
    /// Its own name among alternatives; empty where there are none.
    pub(super) name: String,
    pub(super) demand: u32,
    /// Of all that there are, where `all` is set, this says nothing.
    pub(super) count: u64,
    pub(super) all: bool,
    /// Whether it only watches over devices, and takes none.
    pub(super) admin: bool,
}

/// A request: the first of its alternatives that can be had.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) name: String,
    pub(super) alternatives: Vec<Want>,
}

/// A claim.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) asks: Vec<Ask>,
    /// Names of the requests (none for all), and the attribute of which their devices have one value.
    pub(super) alike: Vec<(Vec<String>, String)>,
}

/// What the claims of a pod ask for.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) claims: Vec<Claim>,
}

impl Shape {
    /// Everything that is asked for, alternatives included.
    pub(super) fn wants(&self) -> impl Iterator<Item = &Want> {
        self.claims.iter().flat_map(|c| &c.asks).flat_map(|a| &a.alternatives)
    }

    /// Whether it is numbers of devices, and nothing else.
    pub(super) fn is_plain(&self) -> bool {
        self.claims.iter().all(|claim| {
            let plain = |want: &Want| want.admin || !want.all;
            let single = |ask: &Ask| ask.alternatives.len() == 1 && ask.alternatives.iter().all(plain);
            claim.alike.is_empty() && claim.asks.iter().all(single)
        })
    }
}

/// All shapes.
#[derive(Default)]
pub(super) struct Shapes<'s> {
    pub(super) all: Vec<Shape>,
    ids: HashMap<Vec<&'s ResourceClaimSpec>, Result<u32, String>>,
}

impl<'s> Shapes<'s> {
    /// The shape of a pod's claims.
    ///
    /// # Errors
    /// Why nothing can meet them, wherever.
    pub(super) fn of(
        &mut self,
        claims: &[&'s ResourceClaimSpec],
        demands: &mut Demands<'s>,
        notes: &mut Notes,
        pod: &Pod,
    ) -> Result<u32, String> {
        if claims.iter().flat_map(|c| wants(c)).any(|want| want.capacity) {
            notes.not_honoured(Rule::DeviceShares, || pod.key());
        }
        if let Some(known) = self.ids.get(claims) {
            return known.clone();
        }
        let shape = claims.iter().map(|claim| lower(claim, demands)).collect::<Result<Vec<_>, _>>();
        let id = shape.and_then(|claims| {
            let shape = Shape { claims };
            let devices: u64 = shape.wants().map(|want| 1 + want.count).sum();
            if devices > MOST_OF_POD {
                return Err(format!("its claims ask for more than {MOST_OF_POD} devices"));
            }
            self.all.push(shape);
            Ok(self.all.len() as u32 - 1)
        });
        self.ids.insert(claims.to_vec(), id.clone());
        id
    }

    /// By shape: the others that may want the same devices, where one of the two is composed.
    pub(super) fn apart(&self, demands: &Demands<'_>) -> Vec<BTreeSet<u32>> {
        let mut apart = vec![BTreeSet::new(); self.all.len()];
        let takes: Vec<BTreeSet<u32>> = self
            .all
            .iter()
            .map(|shape| shape.wants().filter(|w| !w.admin).map(|w| w.demand).collect())
            .collect();
        for answer in &demands.answers {
            let suits = |demand: &u32| answer[*demand as usize] == Verdict::Yes;
            let rivals: Vec<u32> =
                (0..takes.len()).filter(|at| takes[*at].iter().any(suits)).map(|at| at as u32).collect();
            for composed in rivals.iter().filter(|at| !self.all[**at as usize].is_plain()) {
                for other in rivals.iter().filter(|other| *other != composed) {
                    apart[*composed as usize].insert(*other);
                    apart[*other as usize].insert(*composed);
                }
            }
        }
        apart
    }
}

fn wants(claim: &ResourceClaimSpec) -> impl Iterator<Item = &ExactRequest> {
    claim.devices.requests.iter().flat_map(|r| r.exact().into_iter().chain(&r.first_available))
}

fn lower<'s>(claim: &'s ResourceClaimSpec, demands: &mut Demands<'s>) -> Result<Claim, String> {
    let mut asks = Vec::new();
    for request in &claim.devices.requests {
        let mut alternatives = Vec::new();
        match request.exact() {
            Some(exact) => alternatives.push(want(exact, String::new(), demands)?),
            None => {
                for alternative in &request.first_available {
                    alternatives.push(want(alternative, alternative.name.clone(), demands)?);
                }
            }
        }
        if alternatives.is_empty() {
            return Err(format!("request {} is of a kind that is not known", request.name));
        }
        asks.push(Ask { name: request.name.clone(), alternatives });
    }
    let mut alike = Vec::new();
    for constraint in &claim.devices.constraints {
        let Some(attribute) = &constraint.match_attribute else {
            return Err("a claim has a constraint of a kind that is not known".to_owned());
        };
        alike.push((constraint.requests.clone(), attribute.clone()));
    }
    let least = |ask: &Ask| ask.alternatives.iter().map(|w| w.count).min().unwrap_or(0);
    if asks.iter().map(least).sum::<u64>() > MOST_DEVICES {
        return Err(format!("a claim asks for more than {MOST_DEVICES} devices, which none may have"));
    }
    Ok(Claim { asks, alike })
}

fn want<'s>(request: &'s ExactRequest, name: String, demands: &mut Demands<'s>) -> Result<Want, String> {
    if request.device_class_name.is_empty() {
        return Err("a request names no device class".to_owned());
    }
    let all = request.allocation_mode == AllocationMode::All;
    // Alternatives that a claim could never have are left for the search to pass over.
    let count = if all { 0 } else { request.count.clamp(1, MOST_DEVICES + 1) };
    Ok(Want { name, demand: demands.of(request)?, count, all, admin: request.admin_access })
}
