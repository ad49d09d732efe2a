//! Fields of a `NodePool` that nobody looks at: misspelt, or of a newer version.
//!
//! The API server keeps them, so that a roll-back loses nothing; a typing mistake must not stay unseen for that.

use stowage_api::crd::{NodeOverlaySpec, NodePoolSpec, Other};

/// Paths of fields that this version does not know, in the order of the object.
pub fn of_pool(spec: &NodePoolSpec) -> Vec<String> {
    let template = &spec.template;
    let mut found = Vec::new();
    let mut put = |path: &str, other: &Other| found.extend(other.keys().map(|key| format!("{path}.{key}")));
    put("spec", &spec.other);
    put("spec.template", &template.other);
    put("spec.template.metadata", &template.metadata.other);
    put("spec.template.spec", &template.spec.other);
    for (at, requirement) in template.spec.requirements.iter().enumerate() {
        put(&format!("spec.template.spec.requirements[{at}]"), &requirement.other);
    }
    put("spec.template.spec.nodeClassRef", &template.spec.node_class_ref.other);
    put("spec.disruption", &spec.disruption.other);
    for (at, budget) in spec.disruption.budgets.iter().enumerate() {
        put(&format!("spec.disruption.budgets[{at}]"), &budget.other);
    }
    found
}

/// The same of a `NodeOverlay`.
pub fn of_overlay(spec: &NodeOverlaySpec) -> Vec<String> {
    let own = spec.other.keys().map(|key| format!("spec.{key}"));
    let required = spec.requirements.iter().enumerate().flat_map(|(at, requirement)| {
        requirement.other.keys().map(move |key| format!("spec.requirements[{at}].{key}"))
    });
    own.chain(required).collect()
}

/// What to say of them: at most the first few. Nothing where there are none.
pub fn words(unknown: &[String]) -> String {
    const MOST: usize = 10;
    let listed = unknown.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = unknown.len().saturating_sub(MOST);
    match (unknown.len(), more) {
        (0, _) => String::new(),
        (_, 0) => format!("not known to this version, and not looked at: {listed}"),
        (_, more) => format!("not known to this version, and not looked at: {listed} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_fields_are_named_with_their_path() {
        let spec = json!({
            "wieght": 3,
            "template": {
                "metadata": {"label": {}},
                "spec": {
                    "requirements": [{"key": "a", "operator": "Exists", "minValue": 2}],
                    "nodeClassRef": {"group": "g", "kind": "k", "name": "n", "namespace": "x"},
                    "expireafter": "1h",
                },
            },
            "disruption": {"consolidateAfter": "0s", "budgets": [{"nodes": "1", "reason": "Empty"}]},
        });
        let found = of_pool(&serde_json::from_value(spec).expect("a spec"));
        assert_eq!(
            found,
            [
                "spec.wieght",
                "spec.template.metadata.label",
                "spec.template.spec.expireafter",
                "spec.template.spec.requirements[0].minValue",
                "spec.template.spec.nodeClassRef.namespace",
                "spec.disruption.budgets[0].reason",
            ]
        );
        assert!(words(&found).ends_with("not looked at: spec.wieght, spec.template.metadata.label, spec.template.spec.expireafter, spec.template.spec.requirements[0].minValue, spec.template.spec.nodeClassRef.namespace, spec.disruption.budgets[0].reason"));
        assert_eq!(words(&[]), "");
        assert!(words(&vec!["a".to_owned(); 12]).ends_with("and 2 more"));
    }
}
