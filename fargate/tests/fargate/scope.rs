//! What the webhook is asked about.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};
use stowage_fargate::{Labels, Mode, Policies, Policy, Scope, Selector, registration};

use crate::{labels, policies, policy};

fn select(pairs: &[(&str, &str)]) -> Value {
    json!({"mode": "Always", "podSelector": {"matchLabels": labels(pairs)}})
}

fn written(scopes: &[Scope]) -> Vec<(String, String)> {
    let word = |selector: &Selector| selector.to_label_selector().to_string();
    scopes.iter().map(|s| (word(&s.namespaces), word(&s.pods))).collect()
}

#[test]
fn scopes_are_no_wider_than_policies_need() {
    assert_eq!(policies(vec![policy(None, "p", json!({"mode": "Never"}))]).scopes(), []);
    let one = policies(vec![policy(Some("shop"), "p", select(&[("tier", "batch")]))]).scopes();
    let batch = r#"{"matchExpressions":[{"key":"tier","operator":"In","values":["batch"]}]}"#;
    let shop =
        r#"{"matchExpressions":[{"key":"kubernetes.io/metadata.name","operator":"In","values":["shop"]}]}"#;
    assert_eq!(written(&one), [(shop.to_owned(), batch.to_owned())]);
    // A wide policy beside it: what both have in common, and the other namespaces but those of the system.
    let wide = json!({
        "mode": "Always", "namespaceSelector": {"matchLabels": {"team": "b"}},
        "podSelector": {"matchLabels": {"tier": "batch", "size": "s"}},
    });
    let two =
        policies(vec![policy(Some("shop"), "p", select(&[("tier", "batch")])), policy(None, "q", wide)]);
    let rest = json!({"matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "shop", "stowage"]},
        {"key": "team", "operator": "In", "values": ["b"]},
    ]});
    let both = json!({"matchExpressions": [
        {"key": "size", "operator": "In", "values": ["s"]}, {"key": "tier", "operator": "In", "values": ["batch"]}]});
    assert_eq!(
        written(&two.scopes()),
        [(shop.to_owned(), batch.to_owned()), (rest.to_string(), both.to_string())]
    );
}

#[test]
fn the_registration_is_before_eks_and_never_stands_in_the_way() {
    let scopes = policies(vec![policy(Some("shop"), "p", select(&[]))]).scopes();
    let object = registration(&scopes, "stowage-webhook", "stowage", "Y2E=");
    assert!(object["metadata"]["name"].as_str().unwrap() < "0500-amazon-eks-fargate-mutation.amazonaws.com");
    let webhook = &object["webhooks"][0];
    assert_eq!(webhook["objectSelector"], json!({}));
    for (field, value) in [
        ("failurePolicy", json!("Ignore")),
        ("timeoutSeconds", json!(1)),
        ("sideEffects", json!("NoneOnDryRun")),
        ("reinvocationPolicy", json!("Never")),
    ] {
        assert_eq!(webhook[field], value);
    }
    assert_eq!(webhook["rules"][0]["operations"], json!(["CREATE"]));
    assert_eq!(registration(&[], "s", "n", "")["webhooks"], json!([]));
}

proptest! {
    /// Every pod that a policy may send to Fargate is in one scope, and no pod is in two.
    #[test]
    fn every_pod_is_asked_about_once(
        picks in prop::collection::vec((0_u8..4, 0_u8..3, 0_u8..3, 0_u8..3, any::<bool>()), 0..30),
    ) {
        let spaces = ["shop", "bank", "kube-system", "stowage"];
        let all: Vec<Policy> = picks.iter().enumerate().map(|(at, (place, a, b, team, never))| {
            let some = |pairs: [(&'static str, u8); 2]| -> Labels {
                let pairs = pairs.into_iter().filter(|(_, n)| *n > 0);
                pairs.map(|(k, n)| (k.to_owned(), n.to_string())).collect()
            };
            let mut spec = json!({
                "mode": if *never { "Never" } else { "Always" },
                "podSelector": {"matchLabels": some([("a", *a), ("b", *b)])},
            });
            if *place == 0 && *team > 0 {
                spec["namespaceSelector"] = json!({"matchLabels": {"team": team.to_string()}});
            }
            let namespace = (*place > 0).then(|| spaces[*place as usize - 1]);
            policy(namespace, &format!("p{at}"), spec)
        }).collect();
        let namespaces: BTreeMap<String, Labels> = spaces.iter().enumerate()
            .map(|(at, name)| ((*name).to_owned(), labels(&[("team", if at == 0 { "1" } else { "2" })]))).collect();
        let (all, _) = Policies::new(all, namespaces.clone(), "stowage");
        let scopes = all.scopes();
        for (name, of) in &namespaces {
            let mut of = of.clone();
            of.insert("kubernetes.io/metadata.name".to_owned(), name.clone());
            for (a, b) in [("1", "1"), ("1", "2"), ("2", "0"), ("0", "0")] {
                let pod = labels(&[("a", a), ("b", b)]);
                let asked = scopes.iter().filter(|s| s.namespaces.matches(&of) && s.pods.matches(&pod)).count();
                prop_assert!(asked <= 1, "{asked} for {name} {pod:?}");
                let ruled = all.ruling(name, &pod).is_some_and(|p| p.mode != Mode::Never);
                prop_assert!(!ruled || asked == 1, "{name} {pod:?}");
            }
        }
    }
}
