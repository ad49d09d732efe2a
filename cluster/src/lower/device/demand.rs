//! Which devices suit which request: the selectors of its class and its own, and taints.
//!
//! Kubernetes' source of truth: the structured allocator of k8s.io/dynamic-resource-allocation.

use std::collections::{BTreeMap, HashMap};

use super::inventory::{Inventory, Kind};
use crate::cel::{Fault, Program};
use crate::lower::notes::Notes;
use crate::note::Note;
use crate::object::{DeviceClass, DeviceSelector, DeviceToleration, ExactRequest};
use crate::snapshot::Snapshot;

/// Steps for all expressions and all devices: some seconds at the very worst, where a usual selector takes thirty.
const ALL_STEPS: u64 = 100_000_000;

/// What a request says of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Verdict {
    /// It does not do.
    No,
    /// It does.
    Yes,
    /// It cannot tell, and so kube-scheduler gives it nothing on such a node.
    Fault,
}

/// What requests for the same devices have in common.
#[derive(Debug)]
pub(super) struct Demand<'s> {
    pub(super) class: &'s str,
    /// Expressions of the class, then of the request.
    expressions: Vec<&'s str>,
    of_class: usize,
    tolerations: &'s [DeviceToleration],
    /// By kind of device.
    pub(super) verdicts: Vec<Verdict>,
}

impl Demand<'_> {
    /// Whether the request has selectors beside those of its class.
    pub(super) fn is_selective(&self) -> bool {
        self.expressions.len() > self.of_class
    }

    /// Whether there is a device of which it cannot tell.
    pub(super) fn falters(&self) -> bool {
        self.verdicts.contains(&Verdict::Fault)
    }
}

/// All demands.
pub(super) struct Demands<'s> {
    classes: HashMap<&'s str, &'s DeviceClass>,
    pub(super) all: Vec<Demand<'s>>,
    ids: HashMap<(&'s str, &'s [DeviceSelector], &'s [DeviceToleration]), u32>,
    programs: HashMap<&'s str, Result<Program, Fault>>,
    /// By kind of device: which demands say what of it, as the position among distinct answers.
    signatures: Vec<u32>,
    /// By signature: the verdict of each demand.
    pub(super) answers: Vec<Vec<Verdict>>,
}

impl<'s> Demands<'s> {
    pub(super) fn new(snapshot: &'s Snapshot) -> Self {
        let classes = snapshot.device_classes.iter().map(|c| (c.metadata.name.as_str(), c)).collect();
        Self {
            classes,
            all: Vec::new(),
            ids: HashMap::new(),
            programs: HashMap::new(),
            signatures: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// The demand of a request.
    ///
    /// # Errors
    /// Why nothing can meet it, wherever.
    pub(super) fn of(&mut self, request: &'s ExactRequest) -> Result<u32, String> {
        let name = request.device_class_name.as_str();
        let key = (name, request.selectors.as_slice(), request.tolerations.as_slice());
        if let Some(known) = self.ids.get(&key) {
            return Ok(*known);
        }
        let class = self.classes.get(name).ok_or_else(|| format!("device class {name} does not exist"))?;
        let selectors = class.spec.selectors.iter().chain(&request.selectors);
        let mut expressions = Vec::new();
        for (at, selector) in selectors.enumerate() {
            let own = at >= class.spec.selectors.len();
            let of = if own {
                format!("a request for device class {name}")
            } else {
                format!("device class {name}")
            };
            let Some(cel) = &selector.cel else {
                return Err(format!("{of} has a selector of a kind that is not known"));
            };
            let text = cel.expression.as_str();
            if let Err(fault) = self.programs.entry(text).or_insert_with(|| Program::parse(text)) {
                return Err(format!("{of} has a selector that cannot be read: {fault}"));
            }
            expressions.push(text);
        }
        let of_class = class.spec.selectors.len();
        let id = self.all.len() as u32;
        let tolerations = &request.tolerations;
        self.all.push(Demand { class: name, expressions, of_class, tolerations, verdicts: Vec::new() });
        self.ids.insert(key, id);
        Ok(id)
    }

    /// Holds every device against every demand.
    pub(super) fn judge(&mut self, inventory: &Inventory<'_>, notes: &mut Notes) {
        let mut steps = ALL_STEPS;
        let mut known = HashMap::<(&str, u32), Result<bool, Fault>>::new();
        let mut faults = BTreeMap::<(&str, Fault), usize>::new();
        for demand in &mut self.all {
            for (at, kind) in inventory.kinds.iter().enumerate() {
                let mut verdict = Verdict::Yes;
                for expression in &demand.expressions {
                    let answer = known.entry((expression, at as u32)).or_insert_with(|| {
                        match &self.programs[expression] {
                            Ok(program) => program.matches(kind.driver, &kind.device, &mut steps),
                            Err(fault) => Err(fault.clone()),
                        }
                    });
                    match answer {
                        Ok(true) => continue,
                        Ok(false) => verdict = Verdict::No,
                        Err(fault) => {
                            verdict = Verdict::Fault;
                            *faults.entry((demand.class, fault.clone())).or_default() += 1;
                        }
                    }
                    break;
                }
                if verdict == Verdict::Yes && !tolerated(kind, demand.tolerations) {
                    verdict = Verdict::No;
                }
                demand.verdicts.push(verdict);
            }
        }
        let mut first = BTreeMap::<&str, (usize, Fault)>::new();
        for ((class, fault), count) in faults {
            first.entry(class).or_insert((0, fault)).0 += count;
        }
        for (class, (count, fault)) in first {
            notes.add(Note::DeviceSelector { class: class.to_owned(), count, problem: fault });
        }
        self.sign(inventory.kinds.len());
    }

    /// Puts devices together that no demand tells apart.
    fn sign(&mut self, kinds: usize) {
        let mut ids = HashMap::<Vec<Verdict>, u32>::new();
        for kind in 0..kinds {
            let answer: Vec<Verdict> = self.all.iter().map(|d| d.verdicts[kind]).collect();
            let next = self.answers.len() as u32;
            let id = *ids.entry(answer.clone()).or_insert(next);
            if id == next {
                self.answers.push(answer);
            }
            self.signatures.push(id);
        }
    }

    /// What demands say of a kind of device, as a position in [`Self::answers`].
    pub(super) fn signature(&self, kind: u32) -> u32 {
        self.signatures[kind as usize]
    }

    pub(super) fn verdict(&self, demand: u32, kind: u32) -> Verdict {
        self.all[demand as usize].verdicts[kind as usize]
    }
}

/// Whether no taint of a device keeps a request away.
fn tolerated(kind: &Kind<'_>, tolerations: &[DeviceToleration]) -> bool {
    let keeps_away = |effect: &str| effect == "NoSchedule" || effect == "NoExecute";
    kind.device.taints.iter().filter(|t| keeps_away(&t.effect)).all(|taint| {
        tolerations.iter().any(|t| {
            (t.effect.is_empty() || t.effect == taint.effect)
                && (t.key == taint.key || (t.key.is_empty() && t.operator == "Exists"))
                && (t.operator == "Exists" || t.value == taint.value)
        })
    })
}
