//! Which policy rules a pod, and what is refused.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use stowage_fargate::{Caps, Mode, Never, Policies, Policy};
use stowage_solver::Price;

use crate::{id, labels, policies, policy};

fn errors(spec: &Value) -> Vec<String> {
    let object = json!({"metadata": {"name": "p", "namespace": "shop"}, "spec": spec}).to_string();
    let read = Policy::of_namespace(&object);
    read.map_or_else(|wrong| wrong.errors.iter().map(ToString::to_string).collect(), |_| Vec::new())
}

#[test]
fn a_policy_is_read_with_its_defaults() {
    let read = policy(Some("shop"), "p", json!({"mode": "WhenCheaper"}));
    assert_eq!(read.mode, Mode::WhenCheaper { tolerance_percent: 0 });
    assert_eq!((read.caps, read.pending_timeout, read.recreate_per_minute), (Caps::default(), 300, None));
    assert!(read.never.contains(&Never::DoNotDisrupt) && read.never.contains(&Never::JobWithoutTtl));
    let full = policy(
        Some("shop"),
        "p",
        json!({
            "mode": "WhenCheaper", "tolerancePercent": 15, "neverRoute": ["Job"],
            "caps": {"maxPods": 3, "maxHourlyCost": "2.5"}, "pending": {"recreate": true},
            "expectedLife": {"min": "1m", "max": "12h"}, "guard": {"pendingTimeout": "3m"},
            "profiles": [{"name": "x", "selectors": [{"namespace": "sh*"}], "zones": ["a"]}],
        }),
    );
    assert_eq!(full.caps, Caps { pods: Some(3), hourly: Some(Price::from_micros(2_500_000)) });
    assert_eq!((full.min_life, full.max_life), (Some(60), Some(43_200)));
    assert_eq!((full.pending_timeout, full.recreate_per_minute), (180, Some(10)));
    assert_ne!(read.version, full.version);
}

/// What an older schema let in, or none checks.
#[test]
fn errors_name_the_object_the_field_and_the_remedy() {
    for (spec, said) in [
        (json!({"mode": "Sometimes"}), "spec.mode: \"Sometimes\" is no mode: write Never, WhenCheaper"),
        (
            json!({"mode": "Always", "tolerancePercent": 1}),
            "spec.tolerancePercent: is for the mode WhenCheaper only",
        ),
        (json!({"mode": "WhenCheaper", "tolerancePercent": -1}), "spec.tolerancePercent: is below zero"),
        (
            json!({"mode": "Always", "caps": {"maxPods": "3"}}),
            "spec.caps.maxPods: invalid type: string \"3\", expected i64",
        ),
        (json!({"mode": "Always", "caps": {"maxPods": -1}}), "spec.caps.maxPods: -1 is no number of pods"),
        (
            json!({"mode": "Always", "caps": {"maxHourlyCost": "a lot"}}),
            "spec.caps.maxHourlyCost: \"a lot\" is no",
        ),
        (
            json!({"mode": "Always", "expectedLife": {"min": "1d"}}),
            "spec.expectedLife.min: \"1d\" is no duration",
        ),
        (
            json!({"mode": "Always", "expectedLife": {"min": "2h", "max": "1h"}}),
            "spec.expectedLife: min is longer",
        ),
        (json!({"mode": "Always", "neverRoute": ["Cats"]}), "spec.neverRoute[0]: \"Cats\" is no kind"),
        (
            json!({"mode": "Always", "guard": {"pendingTimeout": "Never"}}),
            "spec.guard.pendingTimeout: \"Never\" is",
        ),
        (
            json!({"mode": "Always", "guard": {"pendingTimeout": "119s"}}),
            "spec.guard.pendingTimeout: is shorter than 2m",
        ),
        (
            json!({"mode": "Always", "pending": {"recreate": true, "perMinute": 0}}),
            "spec.pending.perMinute: is below",
        ),
        (
            json!({"mode": "Always", "podSelector": {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}}),
            "spec.podSelector.matchExpressions[0].operator: \"Gt\" is no operator",
        ),
        (
            json!({"mode": "Always", "podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}),
            "spec.podSelector.matchExpressions[0].values: In needs at least one value",
        ),
        (
            json!({"mode": "Always", "profiles": [{"name": "x", "selectors": [{"namespace": "bank"}]}]}),
            "spec.profiles[0].selectors: none is about the namespace \"shop\"",
        ),
        (
            json!({"mode": "Always", "profiles": [{"name": "x", "selectors": []}]}),
            "spec.profiles[0].selectors: a profile has 1 to 5 selectors, not 0",
        ),
    ] {
        let all = errors(&spec);
        let [one] = all.as_slice() else { panic!("{spec}: {all:?}") };
        assert!(one.starts_with(&format!("FargatePolicy shop/p: {said}")), "{one}");
    }
}

#[test]
fn what_is_no_policy_is_an_error() {
    for text in ["", "{", "[]", "7", r#"{"spec": 7}"#, r#"{"metadata": {"name": "p"}}"#] {
        assert!(Policy::of_cluster(text).is_err(), "{text}");
    }
}

#[test]
fn the_most_specific_rules() {
    let rules = |all: Vec<Policy>, of: &[(&str, &str)]| {
        policies(all).ruling("shop", &labels(of)).map(|p| p.id.word())
    };
    let selecting =
        |pairs: &[(&str, &str)]| json!({"mode": "Always", "podSelector": {"matchLabels": labels(pairs)}});
    let far = policy(None, "far", selecting(&[("a", "1"), ("b", "2")]));
    let near = policy(Some("shop"), "near", json!({"mode": "Never"}));
    let nearer = policy(Some("shop"), "nearer", selecting(&[("a", "1")]));
    let twin = policy(Some("shop"), "another", selecting(&[("a", "1")]));
    let web = [("a", "1"), ("b", "2")];
    assert_eq!(rules(vec![far.clone()], &web).as_deref(), Some("/far"));
    assert_eq!(rules(vec![far.clone(), near.clone()], &web).as_deref(), Some("shop/near"));
    assert_eq!(rules(vec![far.clone(), near.clone(), nearer.clone()], &web).as_deref(), Some("shop/nearer"));
    assert_eq!(rules(vec![nearer.clone(), twin.clone()], &web).as_deref(), Some("shop/another"));
    assert_eq!(rules(vec![far.clone()], &[("a", "1")]), None);
    let all = policies(vec![far, near, nearer, twin]);
    let pod = labels(&web);
    let told: Vec<String> = all
        .overruled([("shop", &pod), ("bank", &pod)].into_iter())
        .iter()
        .map(|o| format!("{}: {o}", o.policy))
        .collect();
    assert_eq!(
        told,
        [
            "ClusterFargatePolicy far: FargatePolicy shop/another is more specific for 1 pod that this one selects too",
            "FargatePolicy shop/near: FargatePolicy shop/another is more specific for 1 pod that this one selects too, \
             and wants something else",
            "FargatePolicy shop/nearer: FargatePolicy shop/another is more specific for 1 pod that this one selects too",
        ]
    );
    // Without a single pod, too, where both select the same.
    let same = policies(vec![
        policy(None, "a", json!({"mode": "Never"})),
        policy(None, "b", json!({"mode": "Always"})),
    ]);
    let told = same.overruled(std::iter::empty());
    assert_eq!((told.len(), &told[0].policy, told[0].contradicts), (1, &id(None, "b"), true));
}

#[test]
fn who_comes_first_and_why() {
    let of = |namespace, name: &str, key: &str| {
        let spec = json!({"mode": "Never", "podSelector": {"matchLabels": {key: "b"}}});
        policy(namespace, name, if key.is_empty() { json!({"mode": "Never"}) } else { spec })
    };
    let (own, narrow, wide) = (of(Some("shop"), "p", ""), of(None, "a", "x"), of(None, "b", ""));
    let says = |first: &Policy, second: &Policy| Policies::precedence(first, second).to_string();
    assert_eq!(says(&own, &narrow), "is of the cluster, and one of the namespace comes first");
    assert_eq!(says(&narrow, &wide), "selects by fewer requirements, 0 and not 1");
    assert_eq!(says(&of(None, "a", ""), &wide), "selects as narrowly, and comes later by name");
}

#[test]
fn all_policies_are_read_and_what_is_wrong_stands_beside() {
    let object = |name: &str, mode: &str| {
        (true, json!({"metadata": {"name": name, "namespace": "shop"}, "spec": {"mode": mode}}).to_string())
    };
    let all = [object("good", "Always"), object("wrong", "Sometimes"), (false, "[]".to_owned())];
    let (policies, errors) = Policies::read(all, BTreeMap::new(), "stowage");
    let invalid: Vec<bool> = policies.all().iter().map(|policy| policy.invalid).collect();
    assert_eq!(invalid, [false, true]);
    let named: Vec<&str> = errors.keys().map(|id| id.name.as_str()).collect();
    assert_eq!(named, ["", "wrong"]);
}

#[test]
fn system_namespaces_are_left_out_or_asked_for() {
    let with = |spec: Value| {
        let namespaces = ["shop", "kube-system", "stowage"].map(|n| (n.to_owned(), labels(&[("team", "a")])));
        Policies::new(vec![policy(None, "p", spec)], namespaces.into(), "stowage")
    };
    let rules = |all: &Policies, namespace: &str| {
        all.ruling(namespace, &labels(&[])).is_some_and(|policy| policy.mode != Mode::Never)
    };
    // Nothing said: all but those of the system.
    let (all, errors) = with(json!({"mode": "Always"}));
    assert_eq!(
        (rules(&all, "shop"), rules(&all, "kube-system"), rules(&all, "stowage")),
        (true, false, false)
    );
    assert!(rules(&all, "made-just-now"));
    assert!(errors.is_empty());
    // Selected, and not said: refused.
    let selector = json!({"matchLabels": {"team": "a"}});
    let (all, errors) = with(json!({"mode": "Always", "namespaceSelector": selector}));
    assert!(!rules(&all, "shop"));
    let said = errors[0].to_string();
    assert!(said.starts_with(
        "ClusterFargatePolicy p: spec.namespaceSelector: selects the system namespace kube-system"
    ));
    // As the message says.
    let out = json!({
        "matchLabels": {"team": "a"},
        "matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "stowage"]}],
    });
    let (all, errors) = with(json!({"mode": "Always", "namespaceSelector": out}));
    assert!(errors.is_empty() && rules(&all, "shop") && !rules(&all, "kube-system"));
    let (all, errors) =
        with(json!({"mode": "Always", "namespaceSelector": selector, "systemNamespaces": true}));
    assert!(errors.is_empty() && rules(&all, "kube-system"));
}

/// Of labels that nobody knows, `NotIn` would be as true as any.
#[test]
fn a_namespace_that_is_not_known_yet_is_not_selected_by_its_labels() {
    let selector = json!({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["secret"]}]});
    let all = policies(vec![policy(
        None,
        "p",
        json!({"mode": "Always", "namespaceSelector": selector,
        "systemNamespaces": true}),
    )]);
    let rules = |namespace: &str| all.ruling(namespace, &labels(&[])).is_some();
    assert_eq!((rules("shop"), rules("made-just-now")), (true, false));
}

/// Whoever wrote it wanted something else for these pods than what the wider policy says.
#[test]
fn an_invalid_policy_keeps_its_pods_on_nodes() {
    let wide = || policy(None, "wide", json!({"mode": "Always"}));
    let mode = |spec: Value, namespace: &str, of: &[(&str, &str)]| {
        let object = json!({"metadata": {"name": "p", "namespace": "shop"}, "spec": spec}).to_string();
        let refusing = Policy::of_namespace(&object).unwrap_err().refusing.unwrap();
        assert!(refusing.invalid);
        policies(vec![wide(), *refusing]).ruling(namespace, &labels(of)).map(|p| p.mode)
    };
    let narrow = json!({"matchLabels": {"app": "db"}});
    for spec in [
        json!({"mode": "Nevr", "podSelector": narrow}),
        json!({"mode": "Never", "podSelector": narrow, "caps": {"maxPods": "three"}}),
    ] {
        assert_eq!(mode(spec.clone(), "shop", &[("app", "db")]), Some(Mode::Never));
        assert_eq!(mode(spec.clone(), "shop", &[("app", "web")]), Some(Mode::Always));
        assert_eq!(mode(spec, "bank", &[("app", "db")]), Some(Mode::Always));
    }
    // Where not even that can be read, all pods of its namespace.
    let unreadable = json!({"mode": "Never", "podSelector": {"matchLabels": 7}});
    assert_eq!(mode(unreadable.clone(), "shop", &[("app", "web")]), Some(Mode::Never));
    assert_eq!(mode(unreadable, "bank", &[]), Some(Mode::Always));
    assert!(Policy::of_cluster("{").unwrap_err().refusing.is_none());
}

proptest! {
    /// The order in which policies come does not matter, and the ruling one is the first of those that select.
    #[test]
    fn order_does_not_matter(
        picks in prop::collection::vec((any::<bool>(), 0_u8..3, 0_u8..3), 1..8),
        shuffle in any::<prop::sample::Index>(),
    ) {
        let mut all: Vec<Policy> = picks.iter().enumerate().map(|(at, (near, a, b))| {
            let selector: Vec<(&str, &str)> =
                [("a", a), ("b", b)].into_iter().filter(|(_, n)| **n > 0).map(|(k, n)| (k, if *n == 1 { "1" } else { "2" })).collect();
            let namespace = near.then_some("shop");
            policy(namespace, &format!("p{at}"), json!({"mode": "Always", "podSelector": {"matchLabels": labels(&selector)}}))
        }).collect();
        let one = policies(all.clone());
        let at = shuffle.index(all.len());
        all.rotate_left(at);
        let other = policies(all);
        for of in [&[][..], &[("a", "1")], &[("a", "1"), ("b", "2")], &[("a", "2"), ("b", "1")]] {
            let of = labels(of);
            let ruling = one.ruling("shop", &of).map(|p| p.id.clone());
            prop_assert_eq!(&ruling, &other.ruling("shop", &of).map(|p| p.id.clone()));
            // Slow: no other that selects the pod is nearer, or as near and more specific.
            if let Some(winner) = ruling {
                let key = |p: &Policy| (p.id.namespace.is_none(), std::cmp::Reverse(p.pods.len()), p.id.clone());
                let best = one.all().iter().filter(|p| p.pods.matches(&of)).map(|p| key(p)).min().unwrap();
                prop_assert_eq!(best.2, winner);
            }
        }
    }
}
