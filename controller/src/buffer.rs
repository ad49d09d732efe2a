//! `CapacityBuffers`: room that is kept free for pods to come (gate `CapacityBuffer`).
//!
//! ```text
//! CapacityBuffer ─▶ its PodTemplate or workload ─▶ shape and count ─▶ virtual pods ─▶ every plan
//!       ▲                                                                             │
//!       └── status: how many; is there room for them, or is it being made ◀───────────┘
//! ```
//!
//! A virtual pod is planned for like any other, and is nobody: it gets no event and no nomination, and is counted in no
//! decision.
//!
//! compat: karpenter v1.14, `pkg/controllers/capacitybuffer` and `pkg/state/virtualpods`.

mod pods;
pub mod run;
mod size;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use stowage_cluster::{Pod, Snapshot};

use crate::decide::Decision;

/// What is known of a buffer: shared by whoever looks it up with whoever plans.
#[derive(Clone, Debug)]
struct Kept {
    /// A virtual pod, all of them but for the name.
    pod: Pod,
    count: usize,
    /// What became of them in the last plan.
    outcome: Option<Outcome>,
}

/// What became of the virtual pods of a buffer in a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// There is room for so many on nodes that are there or were asked for before.
    pub fit: usize,
    /// So many need a node that was asked for now.
    pub need: usize,
    /// So many fit nowhere.
    pub failed: usize,
}

/// All buffers that room is kept for, by `namespace/name`.
#[derive(Clone, Debug, Default)]
pub struct Buffers(Arc<Mutex<BTreeMap<String, Kept>>>);

/// The virtual pods of one plan: `namespace/name` of each, and the buffer that it is of.
#[derive(Clone, Debug, Default)]
pub struct Virtual(HashMap<String, String>);

impl Virtual {
    /// Whether the pod of this `namespace/name` is one of them.
    pub fn contains(&self, pod: &str) -> bool {
        self.0.contains_key(pod)
    }
}

impl Buffers {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.with(|all| all.is_empty())
    }

    /// Puts the virtual pods into what is planned on. A pod that has the name of one keeps it.
    pub fn inject(&self, snapshot: &mut Snapshot) -> Virtual {
        let kept = self.with(|all| all.clone());
        let real = snapshot.pods().filter(|pod| pod.name.starts_with(pods::PREFIX));
        let real: HashSet<String> = real.map(Pod::key).collect();
        let mut names = HashMap::new();
        for (buffer, kept) in kept {
            for at in 0..kept.count {
                let pod = Pod { name: format!("{}{at}", kept.pod.name).into_boxed_str(), ..kept.pod.clone() };
                let key = pod.key();
                if !real.contains(&key) && names.insert(key, buffer.clone()).is_none() {
                    snapshot.pods.push(Arc::new(pod));
                }
            }
        }
        Virtual(names)
    }

    /// Takes virtual pods out of a decision, and notes what became of them.
    pub fn settle(&self, names: &Virtual, decision: &mut Decision) {
        if names.0.is_empty() {
            return;
        }
        let mut outcomes = BTreeMap::<&str, Outcome>::new();
        // Says whether it is a pod of the cluster.
        let mut real = |pod: &String, of: fn(&mut Outcome) -> &mut usize| {
            let buffer = names.0.get(pod);
            if let Some(buffer) = buffer {
                *of(outcomes.entry(buffer).or_default()) += 1;
            }
            buffer.is_none()
        };
        for wanted in &mut decision.wanted {
            wanted.pods.retain(|pod| real(pod, |o| &mut o.need));
        }
        decision.placed.retain(|(pod, _)| real(pod, |o| &mut o.fit));
        decision.unplaced.retain(|(pod, _)| real(pod, |o| &mut o.failed));
        decision.figures.pods = decision.figures.pods.saturating_sub(names.0.len());
        self.with(|all| {
            for (buffer, outcome) in outcomes {
                if let Some(kept) = all.get_mut(buffer) {
                    kept.outcome = Some(outcome);
                }
            }
        });
    }

    fn outcome(&self, buffer: &str) -> Option<Outcome> {
        self.with(|all| all.get(buffer).and_then(|kept| kept.outcome))
    }

    /// Keeps exactly these from now on: pod and count of each.
    fn set(&self, wanted: BTreeMap<String, (Pod, usize)>) {
        self.with(|all| {
            let mut old = std::mem::take(all);
            for (buffer, (pod, count)) in wanted {
                // Of another number or shape, nothing is known.
                let same = |kept: &Kept| kept.count == count && kept.pod.spec == pod.spec;
                let outcome = old.remove(&buffer).filter(same).and_then(|kept| kept.outcome);
                all.insert(buffer, Kept { pod, count, outcome });
            }
        });
    }

    fn with<T>(&self, f: impl FnOnce(&mut BTreeMap<String, Kept>) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::decide::Wanted;

    #[test]
    fn virtual_pods_are_planned_for_and_nobody_hears_of_them() {
        let template = json!({"spec": {"containers": [{"resources": {"requests": {"cpu": "1"}}}]}});
        let pod = pods::virtual_pod("shop", "room", &template).expect("a pod");
        let buffers = Buffers::default();
        buffers.set([("shop/room".to_owned(), (pod.clone(), 3))].into());
        let mut snapshot = Snapshot::default();
        // Somebody's pod happens to have such a name.
        snapshot.pods.push(Arc::new(Pod { name: "capacity-buffer-room-1".into(), ..pod.clone() }));
        let names = buffers.inject(&mut snapshot);
        let keys: Vec<String> = snapshot.pods().map(Pod::key).collect();
        assert_eq!(
            keys,
            ["shop/capacity-buffer-room-1", "shop/capacity-buffer-room-0", "shop/capacity-buffer-room-2"]
        );
        assert!(snapshot.pods().all(|pod| pod.pending() == Some(Ok(())) && pod.refused));

        let key = |at: usize| format!("shop/capacity-buffer-room-{at}");
        let wanted = Wanted {
            pool: "default".to_owned(),
            choice: crate::claim::Choice::default(),
            pods: vec!["shop/web".to_owned(), key(0)],
            node: json!({}),
            price: 1.0,
        };
        let mut decision = Decision {
            wanted: vec![wanted],
            placed: vec![(key(1), "n-1".to_owned())],
            unplaced: vec![(key(2), "too big".to_owned())],
            ..Decision::default()
        };
        buffers.settle(&names, &mut decision);
        assert_eq!(decision.wanted[0].pods, ["shop/web"]);
        assert_eq!(decision.placed, [(key(1), "n-1".to_owned())], "that one is somebody's");
        assert_eq!(decision.unplaced, []);
        assert_eq!(buffers.outcome("shop/room"), Some(Outcome { fit: 0, need: 1, failed: 1 }));
        buffers.set([("shop/room".to_owned(), (pod.clone(), 3))].into());
        assert!(buffers.outcome("shop/room").is_some(), "nothing has changed");
        buffers.set([("shop/room".to_owned(), (pod, 4))].into());
        assert_eq!(buffers.outcome("shop/room"), None);
    }
}
