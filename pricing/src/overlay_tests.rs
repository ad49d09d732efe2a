//! Precedence, conflicts and adjustments.

use super::*;
use crate::catalog::Settings;

fn catalog() -> Catalog {
    let mut catalog = Catalog::embedded("us-east-1", &Settings::default()).unwrap();
    catalog.types.retain(|t| ["m7i.large", "m7g.large", "c7i.large"].contains(&t.name.as_str()));
    catalog
}

fn overlay(name: &str, weight: i32, spec: &str) -> Overlay {
    let text = format!(r#"{{"metadata": {{"name": "{name}"}}, "spec": {{"weight": {weight}, {spec}}}}}"#);
    Overlay::of(&serde_json::from_str(&text).unwrap()).unwrap()
}

fn pool(name: &str) -> PoolLabels {
    PoolLabels { name: name.to_owned(), labels: BTreeMap::from([("team".to_owned(), name.to_owned())]) }
}

/// On-demand price of a type, as `default` sees it.
fn price(overlaid: &Overlaid, name: &str) -> f64 {
    let seen = overlaid.for_pool("default", &catalog());
    seen.find(name).unwrap().cheapest(|o| o.capacity_type() == "on-demand").unwrap().price
}

fn overlaid(overlays: &[Overlay]) -> Overlaid {
    Overlaid::new(overlays, &[pool("default"), pool("other")], &catalog())
}

fn close(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-12, "{a} is not {b}");
}

const M7: &str =
    r#""requirements": [{"key": "karpenter.k8s.aws/instance-category", "operator": "In", "values": ["m"]}]"#;
const ON_DEMAND: &str =
    r#""requirements": [{"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]}]"#;

/// m7i.large is $0.1008, m7g.large $0.0816, c7i.large $0.08925.
#[test]
fn the_heavier_overlay_goes_before() {
    let half = overlay("half", 10, &format!(r#"{M7}, "priceAdjustment": "-50%""#));
    let all = overlay("all", 1, &format!(r#"{ON_DEMAND}, "price": "0.01""#));
    let outcome = overlaid(&[all, half]);
    assert!(outcome.rejected.is_empty());
    close(price(&outcome, "m7i.large"), 0.0504);
    close(price(&outcome, "c7i.large"), 0.01);
}

#[test]
fn adjustments() {
    for (change, expected) in [
        (r#""price": "0.25""#, 0.25),
        (r#""price": "0""#, 0.0),
        (r#""priceAdjustment": "+0.05""#, 0.1508),
        (r#""priceAdjustment": "-0.05""#, 0.0508),
        (r#""priceAdjustment": "-7""#, 0.0),
        (r#""priceAdjustment": "+10%""#, 0.110_88),
        (r#""priceAdjustment": "-100%""#, 0.0),
    ] {
        let outcome = overlaid(&[overlay("o", 0, &format!("{ON_DEMAND}, {change}"))]);
        close(price(&outcome, "m7i.large"), expected);
    }
}

#[test]
fn the_same_weight_conflicts_and_the_later_name_wins() {
    let of = |name: &str, spec: &str| overlay(name, 5, spec);
    let a = of("a", &format!(r#"{ON_DEMAND}, "price": "1", "capacity": {{"x.io/a": 1}}"#));
    let b = of("b", &format!(r#"{M7}, "price": "2""#));
    let outcome = overlaid(&[a, b]);
    close(price(&outcome, "m7i.large"), 2.0);
    close(price(&outcome, "c7i.large"), 0.089_25);
    assert_eq!(
        outcome.rejected[0].to_string(),
        "NodeOverlay a: b has the same weight and sets the price of m7g.large, too; give one of them another weight"
    );
    let outcome = overlaid(&[
        of("a", &format!(r#"{M7}, "capacity": {{"x.io/a": 1}}"#)),
        of("b", &format!(r#"{M7}, "capacity": {{"x.io/a": 2, "x.io/b": 2}}"#)),
    ]);
    assert_eq!(outcome.rejected[0].what, "x.io/a of m7g.large");
    // Prices and resources are apart.
    let outcome = overlaid(&[
        of("a", &format!(r#"{M7}, "price": "1""#)),
        of("b", &format!(r#"{M7}, "capacity": {{"x.io/b": 2}}"#)),
    ]);
    assert!(outcome.rejected.is_empty());
}

#[test]
fn capacity_is_of_the_type_and_resource_by_resource() {
    let one_zone = r#""requirements": [{"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["us-east-1a"]},
        {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["m7i.large"]}]"#;
    let outcome = overlaid(&[
        overlay("low", 1, &format!(r#"{one_zone}, "capacity": {{"smarter-devices/fuse": 1, "x.io/b": 1}}"#)),
        overlay(
            "high",
            2,
            &format!(r#"{one_zone}, "price": "9", "capacity": {{"smarter-devices/fuse": 20}}"#),
        ),
    ]);
    let seen = outcome.for_pool("default", &catalog());
    let m7i = seen.find("m7i.large").unwrap();
    assert_eq!(
        [&m7i.resources["smarter-devices/fuse"], &m7i.resources["x.io/b"]].map(ToString::to_string),
        ["20", "1"]
    );
    let dear: Vec<&str> = m7i.offerings.iter().filter(|o| o.price > 8.0).map(Offering::zone).collect();
    assert_eq!(dear, ["us-east-1a", "us-east-1a"]);
    assert!(m7i.offerings.iter().all(|o| o.estimated == (o.capacity_type() == "spot" && o.price < 8.0)));
    assert!(!seen.find("m7g.large").unwrap().resources.contains_key("x.io/b"));
}

#[test]
fn pools_are_told_apart_by_name_and_label() {
    for key in ["karpenter.sh/nodepool", "team"] {
        let spec = format!(
            r#""requirements": [{{"key": "{key}", "operator": "In", "values": ["default"]}}], "price": "3""#
        );
        let outcome = overlaid(&[overlay("o", 0, &spec)]);
        assert_eq!((outcome.changes("default"), outcome.changes("other")), (true, false));
        close(price(&outcome, "m7i.large"), 3.0);
    }
}

#[test]
fn numbers_and_absence() {
    let spec = |operator: &str, values: &str| {
        let key = "karpenter.k8s.aws/instance-generation";
        format!(
            r#""requirements": [{{"key": "{key}", "operator": "{operator}", "values": [{values}]}}], "price": "3""#
        )
    };
    for (operator, values, selects) in [
        ("Gt", "\"6\"", true),
        ("Gt", "\"7\"", false),
        ("Gte", "\"7\"", true),
        ("Lt", "\"7\"", false),
        ("Lte", "\"7\"", true),
        ("NotIn", "\"6\"", true),
        ("Exists", "", true),
        ("DoesNotExist", "", false),
    ] {
        let outcome = overlaid(&[overlay("o", 0, &spec(operator, values))]);
        assert_eq!(outcome.changes("default"), selects, "{operator} {values}");
    }
}

#[test]
fn what_karpenter_rejects_is_an_error() {
    let error = |spec: &str| {
        let object = serde_json::from_str(&format!(r#"{{"metadata": {{"name": "o"}}, "spec": {{{spec}}}}}"#));
        Overlay::of(&object.unwrap()).unwrap_err().to_string()
    };
    assert!(error(r#""price": "1", "priceAdjustment": "+1""#).contains("both set"));
    for text in ["-1", "1e3", "", ".", "NaN", "1 "] {
        assert!(error(&format!(r#""price": "{text}""#)).contains("spec.price is"), "{text}");
    }
    for text in ["1", "10%", "-101%", "+", "+%", "--1", "+1e9", "+inf%"] {
        assert!(
            error(&format!(r#""priceAdjustment": "{text}""#)).contains("spec.priceAdjustment is"),
            "{text}"
        );
    }
    assert!(error(r#""capacity": {"memory": "1Gi"}"#).contains("states memory"));
    assert!(error(r#""capacity": {"vpc.amazonaws.com/efa": 1}"#).contains("states vpc.amazonaws.com/efa"));
}
