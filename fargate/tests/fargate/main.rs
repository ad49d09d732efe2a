//! From policies to answers: one file for each stage.
#![expect(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail the test")]
#![expect(
    clippy::needless_pass_by_value,
    clippy::unnecessary_wraps,
    reason = "helpers take and give what reads best"
)]

mod admit;
mod cache;
mod guard;
mod label;
mod ledger;
mod look;
mod policy;
mod scope;
mod status;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use stowage_fargate::{
    Before, Finding, Labels, Needs, OnNodes, Policies, Policy, PolicyId, Side, Steadiness, Target, Verdict,
    Why,
};
use stowage_pricing::fargate::{Profile, ProfileSelector, Shape};
use stowage_solver::Price;

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

pub(crate) fn profile(name: &str, namespace: &str, of: &[(&str, &str)]) -> Profile {
    let selectors = vec![ProfileSelector { namespace: namespace.to_owned(), labels: labels(of) }];
    Profile { name: name.to_owned(), selectors, subnets: Vec::new() }
}

/// A policy of the namespace `shop`, or where there is none, of the cluster.
pub(crate) fn policy(namespace: Option<&str>, name: &str, spec: Value) -> Policy {
    let object = json!({"metadata": {"name": name, "namespace": namespace}, "spec": spec}).to_string();
    let read = if namespace.is_some() { Policy::of_namespace(&object) } else { Policy::of_cluster(&object) };
    read.unwrap_or_else(|errors| panic!("{errors:?}"))
}

pub(crate) fn policies(all: Vec<Policy>) -> Policies {
    let namespaces = [("shop", "a"), ("bank", "b"), ("kube-system", "a")]
        .map(|(n, team)| (n.to_owned(), labels(&[("team", team)])));
    Policies::new(all, BTreeMap::from(namespaces), "stowage").0
}

/// The verdict that pods go to this profile, by this policy.
pub(crate) fn to_fargate(policy: &Policy, profile: &str, at: u64) -> Verdict {
    let found = Finding {
        policy: (policy.id.clone(), policy.version),
        target: Some(Target {
            profile: profile.to_owned(),
            labels: labels(&[("stowage.dev/fargate", "true")]),
            shape: Shape { cpu_millis: 250, memory_mib: 512, disk_gib: 20 },
            price: Price::from_micros(12_343),
            needs: Needs::default(),
        }),
        side: Side::Fargate,
        why: Why::Cost,
        nodes: Some(OnNodes::Bought(Price::from_micros(100_800))),
        jointly: None,
        lead_percent: Some(80),
        together: 1,
    };
    Verdict::after(Before::Nothing, found, at, Steadiness::default())
}

pub(crate) fn id(namespace: Option<&str>, name: &str) -> PolicyId {
    PolicyId { namespace: namespace.map(str::to_owned), name: name.to_owned() }
}
