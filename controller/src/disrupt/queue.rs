//! Commands that are under way: what goes is marked, what comes is waited for, then what goes is deleted.
//!
//! ```text
//! chosen (taint, condition) ─▶ replacements asked for ─▶ all of them take pods ─▶ NodeClaims deleted ─▶ gone
//!       └───────────────────────────┴── one is lost, or it takes too long ─▶ marks taken off again
//! ```
//!
//! A deletion that is refused is tried again, and so is one that a budget of its pods holds up for now, as long as there is
//! patience.
//!
//! What is known here is known nowhere else, and nothing is lost with it: whoever takes over finds the marks of commands
//! that nobody carries out, and takes them off. Pure; [`super::hands`] does what is decided here.
//!
//! # Invariants
//! - A node that was sent on its way counts as going until its NodeClaim is gone, whatever a watch that lags behind says.
//!
//! compat: karpenter v1.14, `pkg/controllers/disruption/queue.go`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use stowage_api::crd::condition::{DISRUPTION_REASON, INITIALIZED};
use stowage_api::well_known::TAINT_DISRUPTED;
use stowage_api::{NodeClaim, StatusCondition};
use stowage_cluster::Snapshot;
use stowage_cluster::disrupt::{Moment, Standing};

use super::command::{Candidate, Command, Hindrance, Replacement};
use crate::time::doubled;

/// How long replacements may take: so long for each node of the command, within these bounds.
pub(super) const PATIENCE: (Duration, Duration, Duration) =
    (Duration::from_millis(80), Duration::from_mins(10), Duration::from_hours(1));

/// How soon a deletion that was refused is tried again: so soon after the first time, half as often after each that follows, and
/// so seldom at most.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// How long a node rests whose replacement has failed: so long after the first time, twice as long after each that follows, and
/// so long at most. Else a fleet whose new nodes never start would grow by a node in each round.
const REST: (Duration, Duration) = (Duration::from_mins(5), Duration::from_hours(4));

/// Commands that are under way, and nodes that were sent on their way.
#[derive(Debug, Default)]
pub struct Queue {
    under_way: Vec<UnderWay>,
    gone: Vec<Gone>,
    /// By uid of the NodeClaim: the node, how often what was to come in its place failed, and when that was last.
    failed: HashMap<String, (String, u32, Instant)>,
}

/// A command whose replacements are waited for.
#[derive(Clone, Debug)]
pub struct UnderWay {
    /// What was decided.
    pub command: Command,
    /// NodeClaims of its replacements, in their order.
    pub made: Vec<String>,
    /// Whether what its replacements cost has been set against what went.
    pub counted: bool,
    since: Instant,
    /// How often candidates could not be sent on their way, and until when that is not tried again.
    refused: Option<(u32, Instant)>,
}

/// A node that was sent on its way, and where its pods are to run.
#[derive(Clone, Debug)]
struct Gone {
    candidate: Candidate,
    homes: Vec<(String, Home)>,
}

/// Where a pod is to run.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Home {
    Node(String),
    /// The node of this claim.
    Claim(String),
}

/// What comes next for a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// These replacements do not take pods yet.
    Wait(Vec<String>),
    /// What goes may go.
    Go,
    /// It is to be taken back, because.
    Fail(String),
}

impl UnderWay {
    fn step(&self, claims: &HashMap<&str, &NodeClaim>, now: Instant) -> Step {
        let mut waiting = Vec::new();
        for name in &self.made {
            match claims.get(name.as_str()).filter(|claim| !claim.metadata.is_terminating()) {
                None => return Step::Fail(format!("the replacement {name} is lost")),
                Some(claim) if StatusCondition::holds(&claim.status.conditions, INITIALIZED) => {}
                Some(_) => waiting.push(name.clone()),
            }
        }
        let late = self.is_late(now);
        match (waiting.first(), self.refused) {
            (Some(first), _) if late => {
                Step::Fail(format!("{first} takes no pods after {} s", self.patience().as_secs()))
            }
            (Some(_), _) => Step::Wait(waiting),
            (None, Some(_)) if late => {
                let claims = self.command.candidates.iter().map(|of| of.claim.as_str()).collect::<Vec<_>>();
                let after = self.patience().as_secs();
                Step::Fail(format!("{} could not be deleted within {after} s", claims.join(", ")))
            }
            (None, Some((_, next))) if now < next => Step::Wait(Vec::new()),
            (None, _) => Step::Go,
        }
    }

    fn patience(&self) -> Duration {
        let nodes = self.command.candidates.len() + self.made.len();
        let (each, least, most) = PATIENCE;
        (each * u32::try_from(nodes).unwrap_or(u32::MAX)).clamp(least, most)
    }

    fn is_late(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= self.patience()
    }

    fn homes(&self) -> Vec<(String, Home)> {
        let there = self.command.moves.iter().map(|(pod, node)| (pod.clone(), Home::Node(node.clone())));
        let coming = self.command.replacements.iter().zip(&self.made).flat_map(|(replacement, made)| {
            let pods = match replacement {
                Replacement::Planned(wanted) => wanted.pods.as_slice(),
                Replacement::Static(_) => &[],
            };
            pods.iter().map(|pod| (pod.clone(), Home::Claim(made.clone())))
        });
        there.chain(coming).collect()
    }
}

impl Queue {
    /// A command whose candidates are marked, and whose replacements were asked for.
    pub fn add(&mut self, command: Command, made: Vec<String>, since: Instant) {
        self.under_way.push(UnderWay { command, made, counted: false, since, refused: None });
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }

    /// Forgets nodes that are gone.
    pub fn forget(&mut self, snapshot: &Snapshot) {
        let uids: BTreeSet<&str> = snapshot.node_claims().map(|c| c.metadata.uid.as_str()).collect();
        self.gone.retain(|gone| uids.contains(gone.candidate.uid.as_str()));
        self.failed.retain(|uid, _| uids.contains(uid.as_str()));
    }

    /// What was to come in the place of a node failed, or it could not be marked: it rests.
    pub fn failed(&mut self, candidate: &Candidate, now: Instant) {
        let (_, times, at) =
            self.failed.entry(candidate.uid.clone()).or_insert_with(|| (candidate.node.clone(), 0, now));
        (*times, *at) = (times.saturating_add(1), now);
    }

    /// Nodes that rest, by name.
    pub fn resting(&self, now: Instant) -> BTreeSet<String> {
        let rests = |times: u32, at: Instant| now.saturating_duration_since(at) < doubled(times, REST);
        let all = self.failed.values().filter(|(_, times, at)| rests(*times, *at));
        all.map(|(node, ..)| node.clone()).collect()
    }

    /// Commands that are to go on or to be taken back, and what is still waited for. What is named is under way no more; where
    /// it goes on, its candidates count as gone. `overtaken` says why a command must not go on, in the cluster as it is by now.
    pub fn turn(
        &mut self,
        snapshot: &Snapshot,
        now: Instant,
        overtaken: impl Fn(&Command) -> Option<Hindrance>,
    ) -> Vec<(UnderWay, Step)> {
        let claims: HashMap<&str, &NodeClaim> =
            snapshot.node_claims().map(|claim| (claim.metadata.name.as_str(), claim)).collect();
        let mut out = Vec::new();
        let mut left = Vec::new();
        for of in std::mem::take(&mut self.under_way) {
            let step = match of.step(&claims, now) {
                Step::Go => match overtaken(&of.command) {
                    None => Step::Go,
                    Some(Hindrance::Passing(_)) if !of.is_late(now) => Step::Wait(Vec::new()),
                    Some(hindrance) => Step::Fail(hindrance.into_why()),
                },
                other => other,
            };
            match &step {
                Step::Wait(_) => left.push(of.clone()),
                Step::Go => {
                    let homes = of.homes();
                    self.gone.extend(of.command.candidates.iter().map(|candidate| {
                        let own = homes.iter().filter(|(pod, _)| candidate.pods.contains(pod)).cloned();
                        Gone { candidate: candidate.clone(), homes: own.collect() }
                    }));
                }
                Step::Fail(_) => {}
            }
            out.push((of, step));
        }
        self.under_way = left;
        out
    }

    /// Some candidates of a command could not be sent on their way: they are under way still, which is tried again.
    pub fn refused(&mut self, mut of: UnderWay, candidates: Vec<Candidate>, now: Instant) {
        self.gone.retain(|gone| candidates.iter().all(|candidate| candidate.uid != gone.candidate.uid));
        let before = of.refused.map_or(0, |(times, _)| times);
        if before == 0 {
            // Patience with this is another than that with what was launched.
            of.since = now;
        }
        let times = before.saturating_add(1);
        of.refused = Some((times, now + doubled(times, AGAIN)));
        of.command.candidates = candidates;
        self.under_way.push(of);
    }

    fn candidates(&self) -> impl Iterator<Item = &Candidate> {
        let chosen = self.under_way.iter().flat_map(|of| &of.command.candidates);
        chosen.chain(self.gone.iter().map(|gone| &gone.candidate))
    }

    /// NodeClaims that go, by name.
    pub fn leaving(&self) -> BTreeSet<String> {
        self.candidates().map(|candidate| candidate.claim.clone()).collect()
    }

    /// Whether a command is about this NodeClaim or Node.
    pub fn is_about(&self, claim: Option<&str>, node: &str) -> bool {
        self.candidates().any(|of| Some(of.claim.as_str()) == claim || of.node == node)
    }

    /// Where pods of nodes that go are to run, as far as that is a node already: by `namespace/name`. A pod that runs elsewhere by
    /// now is another one of its name, as those of `StatefulSets` are: nobody has promised that one anything.
    pub fn promised(&self, snapshot: &Snapshot) -> BTreeMap<String, String> {
        let all = self.promises(snapshot);
        if all.is_empty() {
            return BTreeMap::new();
        }
        let homes: HashMap<String, &str> = self
            .candidates()
            .flat_map(|of| of.pods.iter().map(|pod| (pod.clone(), of.node.as_str())))
            .collect();
        let still = snapshot.pods().filter_map(|pod| {
            let key = pod.key();
            let to = all.get(&key)?;
            (pod.node.as_deref() == homes.get(&key).copied()).then(|| (key, to.clone()))
        });
        still.collect()
    }

    fn promises(&self, snapshot: &Snapshot) -> BTreeMap<String, String> {
        let nodes: HashMap<&str, &str> = snapshot
            .node_claims()
            .map(|claim| (claim.metadata.name.as_str(), claim.status.node_name.as_str()))
            .collect();
        let homes = self.under_way.iter().flat_map(UnderWay::homes);
        let all = homes.chain(self.gone.iter().flat_map(|gone| gone.homes.iter().cloned()));
        all.filter_map(|(pod, home)| match home {
            Home::Node(node) => Some((pod, node)),
            Home::Claim(claim) => {
                let node = nodes.get(claim.as_str()).filter(|node| !node.is_empty())?;
                Some((pod, (*node).to_owned()))
            }
        })
        .collect()
    }

    /// What is to be known of nodes when it is asked which of them may go: those that go, and those that their pods go to.
    pub fn moment(&self, snapshot: &Snapshot, now: stowage_pricing::Timestamp) -> Moment {
        let promised = self.promised(snapshot);
        let mut nominated: BTreeSet<String> = promised.values().cloned().collect();
        // What was asked for goes nowhere before it was of use.
        let made: BTreeSet<&str> =
            self.under_way.iter().flat_map(|of| &of.made).map(String::as_str).collect();
        let coming = snapshot.node_claims().filter(|claim| made.contains(claim.metadata.name.as_str()));
        nominated.extend(coming.map(|claim| claim.status.node_name.clone()));
        let leaving = self.candidates().map(|candidate| candidate.node.clone()).collect();
        Moment { now: Some(now), nominated, leaving, resting: self.resting(Instant::now()) }
    }

    /// Nodes with the marks of a command that nobody carries out: who led before has ended in the midst of it, or could not
    /// take them off. (NodeClaim, Node.)
    pub fn stray(&self, standings: &[Standing<'_>]) -> Vec<(String, String)> {
        let of = |standing: &Standing<'_>| {
            let (claim, node) = (standing.claim?, standing.node);
            let chosen = StatusCondition::find(&claim.status.conditions, DISRUPTION_REASON).is_some()
                || node.spec.taints.iter().any(|taint| taint.key == TAINT_DISRUPTED);
            let goes = claim.metadata.is_terminating() || node.metadata.is_terminating();
            let ours = self.is_about(Some(&claim.metadata.name), &node.metadata.name);
            (chosen && !goes && !ours).then(|| (claim.metadata.name.clone(), node.metadata.name.clone()))
        };
        standings.iter().filter_map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use stowage_cluster::disrupt::{Reason, standings};
    use stowage_cluster::{Index, Kind};

    use super::*;
    use crate::claim::Choice;
    use crate::decide::Wanted;

    fn candidate(name: &str) -> Candidate {
        Candidate {
            claim: name.to_owned(),
            uid: format!("uid-{name}"),
            node: format!("node-{name}"),
            pool: "default".to_owned(),
            price: Some(1.0),
            pods: vec![format!("default/web-{name}")],
        }
    }

    fn command(name: &str) -> Command {
        let wanted = Wanted {
            pool: "default".to_owned(),
            choice: Choice::default(),
            pods: vec![format!("default/web-{name}")],
            node: json!({}),
            price: 0.75,
        };
        Command {
            reason: Reason::Drifted,
            kind: "",
            candidates: vec![candidate(name)],
            replacements: vec![Replacement::Planned(Box::new(wanted))],
            moves: Vec::new(),
        }
    }

    fn claim(name: &str, conditions: &[&str], going: bool) -> (Kind, Value) {
        let conditions: Vec<Value> =
            conditions.iter().map(|kind| json!({"type": kind, "status": "True"})).collect();
        let going = going.then_some("2026-07-01T10:00:00Z");
        (
            Kind::NodeClaim,
            json!({
                "metadata": {"name": name, "uid": format!("uid-{name}"), "deletionTimestamp": going},
                "status": {"nodeName": format!("node-{name}"), "conditions": conditions},
            }),
        )
    }

    fn node(name: &str, tainted: bool) -> (Kind, Value) {
        let taints =
            if tainted { json!([{"key": TAINT_DISRUPTED, "effect": "NoSchedule"}]) } else { json!([]) };
        (Kind::Node, json!({"metadata": {"name": format!("node-{name}")}, "spec": {"taints": taints}}))
    }

    fn snapshot(objects: &[(Kind, Value)]) -> std::sync::Arc<Snapshot> {
        let mut index = Index::default();
        for (kind, object) in objects {
            index.apply(*kind, &object.to_string()).expect("an object");
        }
        index.snapshot()
    }

    fn steps(queue: &mut Queue, objects: &[(Kind, Value)], now: Instant) -> Vec<Step> {
        queue.turn(&snapshot(objects), now, |_| None).into_iter().map(|(_, step)| step).collect()
    }

    #[test]
    fn what_goes_waits_for_what_comes() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        queue.add(command("a"), vec!["new".to_owned()], start);
        let launching = [claim("a", &[], false), claim("new", &["Launched"], false)];
        assert_eq!(steps(&mut queue, &launching, start), [Step::Wait(vec!["new".to_owned()])]);
        let ready = [claim("a", &[], false), claim("new", &["Launched", "Initialized"], false)];
        assert_eq!(steps(&mut queue, &ready, start), [Step::Go]);
        assert!(queue.is_empty() && queue.leaving().contains("a"), "it goes until it is gone");
        let on = |node: &str| (Kind::Pod, json!({"metadata": {"name": "web-a"}, "spec": {"nodeName": node}}));
        let with = |pod: (Kind, Value)| snapshot(&[ready.to_vec(), vec![pod]].concat());
        assert_eq!(queue.promised(&with(on("node-a")))["default/web-a"], "node-new");
        assert!(
            queue.promised(&with(on("node-x"))).is_empty(),
            "another pod of that name has come up elsewhere"
        );
        queue.forget(&snapshot(&ready[1..]));
        assert_eq!(queue.leaving().len(), 0);
    }

    #[test]
    fn what_was_overtaken_does_not_go() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        queue.add(command("a"), vec!["new".to_owned()], start);
        let ready = [claim("a", &[], false), claim("new", &["Launched", "Initialized"], false)];
        let why = "pod default/late has come to node-a";
        let found = queue.turn(&snapshot(&ready), start, |_| Some(Hindrance::Lasting(why.to_owned())));
        assert_eq!(found[0].1, Step::Fail(why.to_owned()));
        assert!(queue.is_empty() && queue.leaving().is_empty());
    }

    #[test]
    fn what_passes_is_waited_for_as_long_as_there_is_patience() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        queue.add(command("a"), vec!["new".to_owned()], start);
        let ready = snapshot(&[claim("a", &[], false), claim("new", &["Launched", "Initialized"], false)]);
        let held_up = |_: &Command| Some(Hindrance::Passing("a budget is spent".to_owned()));
        let mut step = |after, hindrance: &dyn Fn(&Command) -> Option<Hindrance>| {
            let found = queue.turn(&ready, start + Duration::from_secs(after), hindrance);
            found.into_iter().map(|(_, step)| step).collect::<Vec<_>>()
        };
        assert_eq!(step(1, &held_up), [Step::Wait(Vec::new())]);
        assert_eq!(step(2, &|_| None), [Step::Go]);
        queue.add(command("a"), vec!["new".to_owned()], start);
        let late = queue.turn(&ready, start + Duration::from_mins(10), held_up);
        assert_eq!(late[0].1, Step::Fail("a budget is spent".to_owned()));
    }

    #[test]
    fn a_deletion_that_is_refused_is_tried_again_and_then_given_up() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        queue.add(command("a"), vec!["new".to_owned()], start);
        let ready = snapshot(&[claim("a", &[], false), claim("new", &["Launched", "Initialized"], false)]);
        let after = |seconds| start + Duration::from_secs(seconds);
        let turn = |queue: &mut Queue, seconds| queue.turn(&ready, after(seconds), |_| None).remove(0);
        for (refused, early, due) in [(5, 5, 6), (6, 7, 8), (8, 11, 12)] {
            let (of, step) = turn(&mut queue, refused);
            assert_eq!(step, Step::Go);
            queue.refused(of, vec![candidate("a")], after(refused));
            assert!(!queue.is_empty() && queue.leaving().contains("a"), "it is under way still");
            assert_eq!(turn(&mut queue, early).1, Step::Wait(Vec::new()), "at {early}, not before {due}");
        }
        // Ten minutes from when it was first refused.
        let (_, step) = turn(&mut queue, 604);
        assert_eq!(step, Step::Go, "what was launched for it is there for longer");
        queue.add(command("a"), vec!["new".to_owned()], after(700));
        let (of, _) = turn(&mut queue, 700);
        queue.refused(of, vec![candidate("a")], after(700));
        let (of, step) = turn(&mut queue, 1_300);
        assert_eq!(step, Step::Fail("a could not be deleted within 600 s".to_owned()));
        assert_eq!(of.made, ["new"]);
        assert!(queue.is_empty() && queue.leaving().is_empty());
    }

    #[test]
    fn nodes_whose_replacements_fail_rest_longer_and_longer() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        let after = |minutes| start + Duration::from_mins(minutes);
        queue.failed(&candidate("a"), start);
        let rests = |queue: &Queue, minutes| queue.resting(after(minutes)).contains("node-a");
        assert!(rests(&queue, 4) && !rests(&queue, 5));
        queue.failed(&candidate("a"), after(5));
        assert!(rests(&queue, 14) && !rests(&queue, 15));
        for _ in 0..40 {
            queue.failed(&candidate("a"), start);
        }
        assert!(rests(&queue, 239) && !rests(&queue, 240));
        queue.forget(&snapshot(&[]));
        assert!(!rests(&queue, 0), "it is gone");
    }

    #[test]
    fn a_lost_or_late_replacement_ends_a_command() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        let late = start + Duration::from_mins(10);
        for (claims, now) in [
            (vec![claim("a", &[], false)], start),
            (vec![claim("a", &[], false), claim("new", &["Launched"], true)], start),
            (vec![claim("a", &[], false), claim("new", &["Launched"], false)], late),
        ] {
            queue.add(command("a"), vec!["new".to_owned()], start);
            let found = steps(&mut queue, &claims, now);
            assert!(matches!(&found[..], [Step::Fail(_)]), "{found:?}");
            assert!(queue.is_empty() && queue.leaving().is_empty());
        }
    }

    #[test]
    fn marks_of_nobody_are_found() {
        let mut queue = Queue::default();
        queue.add(command("ours"), vec!["new".to_owned()], Instant::now());
        let cluster = snapshot(&[
            claim("ours", &["DisruptionReason"], false),
            node("ours", true),
            claim("tainted", &[], false),
            node("tainted", true),
            claim("said", &["DisruptionReason"], false),
            node("said", false),
            claim("going", &["DisruptionReason"], true),
            node("going", true),
            claim("plain", &[], false),
            node("plain", false),
        ]);
        let standings = standings(&cluster, &Moment::default());
        let stray: Vec<String> = queue.stray(&standings).into_iter().map(|(claim, _)| claim).collect();
        assert_eq!(stray, ["said", "tainted"]);
    }
}
