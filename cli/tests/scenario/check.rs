//! Compares a plan with what is expected of it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::expect::{Counts, Expect, On, OneOrMore};
use super::plan::{NewNode, Place, Plan};

/// Dollars that differ by less are equal.
const CENT_OF_A_CENT: f64 = 1e-6;

/// What of an error message is not as expected.
pub(super) fn error(expected: &OneOrMore, message: &str) -> Vec<String> {
    let missing = expected.all().iter().filter(|words| !message.contains(words.as_str()));
    missing.map(|words| format!("the error does not say {words:?} but: {}", message.trim())).collect()
}

/// What of a plan is not as expected.
pub(super) fn plan(expect: &Expect, plan: &Plan, objects: &[Value]) -> Vec<String> {
    let (places, twice) = plan.places(objects);
    let mut check = Check { plan, places, mismatches: twice };
    check.always();
    check.counts(expect);
    check.waiting(expect);
    for (pattern, on) in &expect.on {
        check.on(pattern, on);
    }
    check.groups(expect);
    check.fargate(expect);
    check.money(expect);
    check.beside(expect);
    check.mismatches
}

struct Check<'p> {
    plan: &'p Plan,
    places: BTreeMap<&'p str, Place<'p>>,
    mismatches: Vec<String>,
}

impl<'p> Check<'p> {
    fn wrong(&mut self, what: String) {
        self.mismatches.push(what);
    }

    fn equal<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, found: &T, expected: Option<&T>) {
        if let Some(expected) = expected
            && found != expected
        {
            self.wrong(format!("{what}: {found:?}, expected {expected:?}"));
        }
    }

    /// What holds for every plan.
    fn always(&mut self) {
        let summary = &self.plan.summary;
        let listed = self.places.len() + self.plan.unschedulable.len();
        let nodes = self.plan.new_nodes.iter().map(|n| n.price);
        let cost: f64 = nodes.chain(self.plan.fargate.iter().map(|f| f.price)).sum();
        if listed != summary.pending_pods {
            self.wrong(format!("{listed} pods are in the lists, {} are pending", summary.pending_pods));
        }
        if summary.new_nodes != self.plan.new_nodes.len() {
            self.wrong(format!("{} new nodes in the summary, others in the list", summary.new_nodes));
        }
        if (cost - summary.hourly_cost).abs() > CENT_OF_A_CENT {
            self.wrong(format!(
                "new nodes and Fargate cost {cost} together, the summary says {}",
                summary.hourly_cost
            ));
        }
        if summary.lower_bound > summary.hourly_cost + CENT_OF_A_CENT {
            self.wrong(format!(
                "the bound {} is above the cost {}",
                summary.lower_bound, summary.hourly_cost
            ));
        }
    }

    fn counts(&mut self, expect: &Expect) {
        let plan = self.plan;
        self.equal("pending pods", &plan.summary.pending_pods, expect.pending.as_ref());
        self.equal("pods placed", &self.places.len(), expect.placed.as_ref());
        self.equal("new nodes", &plan.new_nodes.len(), expect.nodes.as_ref());
        let by = |of: fn(&NewNode) -> &String| {
            let mut counts = BTreeMap::<String, usize>::new();
            for node in &plan.new_nodes {
                *counts.entry(of(node).clone()).or_default() += 1;
            }
            counts
        };
        self.equal("new nodes by zone", &by(|n| &n.zone), expect.zones.as_ref());
        self.equal("new nodes by type", &by(|n| &n.instance_type), expect.types.as_ref());
        self.equal("new nodes by pool", &by(|n| &n.node_pool), expect.pools.as_ref());
        let mut drawn = BTreeMap::<String, usize>::new();
        for name in plan.new_nodes.iter().filter_map(|n| n.commitment.as_ref()) {
            *drawn.entry(name.clone()).or_default() += 1;
        }
        self.equal("new nodes by commitment", &drawn, expect.commitments.as_ref());
        self.equal("new nodes by capacity type", &by(|n| &n.capacity_type), expect.capacity_types.as_ref());
    }

    /// Pods that fit nowhere: those that are expected, for the reasons expected, and no others.
    fn waiting(&mut self, expect: &Expect) {
        let mut named = BTreeSet::new();
        for (pattern, reasons) in &expect.unschedulable {
            for pod in self.meant(pattern) {
                named.insert(pod);
                let Some(waiting) = self.plan.unschedulable.iter().find(|u| u.pod == pod) else {
                    self.wrong(format!("{pod}: placed, expected to wait"));
                    continue;
                };
                let told = |words: &String| waiting.reasons.iter().any(|r| r.contains(words.as_str()));
                for words in reasons.all().iter().filter(|words| !told(words)) {
                    self.wrong(format!(
                        "{pod}: no reason says {words:?} but: {}",
                        waiting.reasons.join("; ")
                    ));
                }
            }
        }
        if expect.placed.is_none() {
            let unexpected = self.plan.unschedulable.iter().filter(|u| !named.contains(u.pod.as_str()));
            let told = unexpected.map(|u| format!("{} waits: {}", u.pod, u.reasons.join("; ")));
            self.mismatches.extend(told.collect::<Vec<_>>());
        }
    }

    fn on(&mut self, pattern: &str, on: &On) {
        for (pod, place) in self.placed(pattern) {
            let attributes = [
                ("node", place.node, &on.node),
                ("type", place.of_type, &on.of_type),
                ("zone", place.zone, &on.zone),
                ("pool", place.pool, &on.pool),
                ("capacity type", place.capacity_type, &on.capacity_type),
            ];
            for (what, found, expected) in attributes {
                if let Some(expected) = expected
                    && !expected.all().iter().any(|e| e == found)
                {
                    self.wrong(format!(
                        "{pod}: its {what} is {found}, expected {}",
                        expected.all().join(" or ")
                    ));
                }
            }
            self.equal(&format!("{pod} is on a new node"), &place.new.is_some(), on.new.as_ref());
        }
    }

    fn groups(&mut self, expect: &Expect) {
        let node: fn(&Place<'p>) -> &'p str = |place| place.node;
        let zone: fn(&Place<'p>) -> &'p str = |place| place.zone;
        for (what, groups, of) in [("node", &expect.together, node), ("zone", &expect.same_zone, zone)] {
            for group in groups {
                let found = self.domains(group, of);
                if found.len() > 1 {
                    self.wrong(format!(
                        "{}: on one {what} each, expected on the same: {found:?}",
                        group.join(", ")
                    ));
                }
            }
        }
        for (what, groups, of) in [("node", &expect.apart, node), ("zone", &expect.different_zones, zone)] {
            for group in groups {
                for (domain, pods) in self.domains(group, of).into_iter().filter(|(_, pods)| pods.len() > 1) {
                    self.wrong(format!("{}: all on {what} {domain}, expected apart", pods.join(", ")));
                }
            }
        }
        let of_type: fn(&Place<'p>) -> &'p str = |place| place.of_type;
        let pool: fn(&Place<'p>) -> &'p str = |place| place.pool;
        let capacity_type: fn(&Place<'p>) -> &'p str = |place| place.capacity_type;
        for (what, counts, of) in [
            ("node", &expect.per_node, node),
            ("zone", &expect.per_zone, zone),
            ("type", &expect.per_type, of_type),
            ("pool", &expect.per_pool, pool),
            ("capacity type", &expect.per_capacity_type, capacity_type),
        ] {
            for (pattern, expected) in counts {
                let domains = self.domains(std::slice::from_ref(pattern), of);
                let found: BTreeMap<String, usize> =
                    domains.into_iter().map(|(domain, pods)| (domain.to_owned(), pods.len())).collect();
                let mut sizes: Vec<usize> = found.values().copied().collect();
                sizes.sort_unstable_by(|a, b| b.cmp(a));
                let expected = match expected {
                    Counts::By(by) if *by != found => format!("{by:?}"),
                    Counts::Any(any) if *any != sizes => format!("{any:?}"),
                    _ => continue,
                };
                self.wrong(format!("{pattern} by {what}: {found:?}, expected {expected}"));
            }
        }
    }

    fn money(&mut self, expect: &Expect) {
        let summary = &self.plan.summary;
        for (what, found, expected) in [
            ("cost", Some(summary.hourly_cost), expect.cost),
            ("bound", Some(summary.lower_bound), expect.bound),
            ("weighed cost", summary.weighed.as_ref().map(|w| w.hourly_cost), expect.weighed_cost),
        ] {
            if let Some(expected) = expected
                && found.is_none_or(|found| (found - expected).abs() > CENT_OF_A_CENT)
            {
                let found = found.map_or_else(|| "none".to_owned(), |f| f.to_string());
                self.wrong(format!("{what}: {found}, expected {expected}"));
            }
        }
        self.equal("status", &summary.status, expect.status.as_ref());
        for (field, expected) in &expect.spot {
            let found = summary.spot.as_ref().map_or(&Value::Null, |spot| &spot[field]);
            if found != expected {
                self.wrong(format!("{field} of spot: {found}, expected {expected}"));
            }
        }
    }

    /// Notes, DaemonSets, alternatives, labels.
    fn beside(&mut self, expect: &Expect) {
        let notes = &self.plan.notes;
        for words in expect.notes.iter().filter(|words| !notes.iter().any(|n| n.contains(words.as_str()))) {
            self.wrong(format!("no note says {words:?} but: {notes:?}"));
        }
        let serious = |note: &&String| note.starts_with("not honoured") || note.starts_with("left out");
        for note in notes.iter().filter(serious) {
            if !expect.notes.iter().any(|words| note.contains(words.as_str())) {
                self.wrong(format!("an unexpected note: {note}"));
            }
        }
        for (pattern, expected) in &expect.daemon_sets {
            for (pod, place) in self.placed(pattern) {
                let found = place.new.map_or(&[][..], |n| n.daemon_sets.as_slice());
                if found != expected {
                    self.wrong(format!("DaemonSets beside {pod}: {found:?}, expected {expected:?}"));
                }
            }
        }
        for (pattern, expected) in &expect.labels {
            for (pod, place) in self.placed(pattern) {
                let found = place.new.map(|n| &n.labels);
                if found != Some(expected) {
                    self.wrong(format!("labels of the node of {pod}: {found:?}, expected {expected:?}"));
                }
            }
        }
        for (pattern, expected) in &expect.alternatives {
            for (pod, place) in self.placed(pattern) {
                let found = place.new.map_or(&[][..], |n| n.alternatives.as_slice());
                if found != expected {
                    self.wrong(format!(
                        "alternatives of the node of {pod}: {found:?}, expected {expected:?}"
                    ));
                }
            }
        }
    }

    /// Pods on Fargate: what is provisioned for them, what that costs, and a node.
    fn fargate(&mut self, expect: &Expect) {
        for (pattern, expected) in &expect.fargate {
            for (pod, place) in self.placed(pattern) {
                let Some(found) = place.fargate else {
                    self.wrong(format!("{pod}: on {}, expected on Fargate", place.node));
                    continue;
                };
                for (what, found, expected) in [
                    ("vCPUs", Some(found.vcpu), expected.vcpu),
                    ("GiB", Some(found.memory_gib), expected.memory_gib),
                    ("price", Some(found.price), expected.price),
                    ("cost of a node", found.ec2_cost, expected.node),
                ] {
                    if let Some(expected) = expected
                        && found.is_none_or(|found| (found - expected).abs() > CENT_OF_A_CENT)
                    {
                        self.wrong(format!("{pod} on Fargate: {what} {found:?}, expected {expected}"));
                    }
                }
            }
        }
    }

    /// The pods of a group by domain.
    fn domains(
        &mut self,
        group: &[String],
        of: fn(&Place<'p>) -> &'p str,
    ) -> BTreeMap<&'p str, Vec<&'p str>> {
        let mut domains = BTreeMap::<&str, Vec<&str>>::new();
        for pattern in group {
            for (pod, place) in self.placed(pattern) {
                domains.entry(of(&place)).or_default().push(pod);
            }
        }
        domains
    }

    /// The placed pods that a pattern means; those that wait are told elsewhere.
    fn placed(&mut self, pattern: &str) -> Vec<(&'p str, Place<'p>)> {
        let meant = self.meant(pattern);
        meant.into_iter().filter_map(|pod| Some((pod, self.places.get(pod)?.clone()))).collect()
    }

    /// The pending pods that a pattern means; one that means none is a mistake.
    fn meant(&mut self, pattern: &str) -> Vec<&'p str> {
        let full = if pattern.contains('/') || pattern == "*" {
            pattern.to_owned()
        } else {
            format!("default/{pattern}")
        };
        let means = |pod: &&str| match full.strip_suffix('*') {
            Some(start) => pod.starts_with(start),
            None => *pod == full,
        };
        let waiting = self.plan.unschedulable.iter().map(|u| u.pod.as_str());
        let meant: Vec<&'p str> = self.places.keys().copied().chain(waiting).filter(means).collect();
        if meant.is_empty() {
            self.wrong(format!("{pattern}: no pending pod of this name"));
        }
        meant
    }
}
