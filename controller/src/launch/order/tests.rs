use serde_json::{Value, json};
use stowage_pricing::Settings;

use super::*;

fn catalog() -> Catalog {
    Catalog::embedded("us-east-1", &Settings::default()).expect("a region")
}

fn claim(requirements: &Value) -> NodeClaim {
    serde_json::from_value(json!({"metadata": {"name": "c"}, "spec": {"requirements": requirements}}))
        .expect("a claim")
}

fn is_in(key: &str, values: &[&str]) -> Value {
    json!({"key": key, "operator": "In", "values": values})
}

/// A claim as the planner makes it.
fn planned(types: &[&str], zone: &str, capacity_type: &str) -> NodeClaim {
    claim(&json!([
        is_in(INSTANCE_TYPE, types),
        is_in("topology.kubernetes.io/zone", &[zone]),
        is_in("karpenter.sh/capacity-type", &[capacity_type]),
        is_in("karpenter.sh/nodepool", &["default"]),
        is_in("team", &["a"]),
    ]))
}

fn class() -> Ec2NodeClass {
    let arch = |arch: &str| json!([{"key": "kubernetes.io/arch", "operator": "In", "values": [arch]}]);
    serde_json::from_value(json!({"metadata": {"name": "al2023"}, "status": {
        "subnets": [
            {"id": "subnet-a1", "zone": "us-east-1a"}, {"id": "subnet-a2", "zone": "us-east-1a"},
            {"id": "subnet-b", "zone": "us-east-1b"},
        ],
        "amis": [{"id": "ami-arm", "requirements": arch("arm64")}, {"id": "ami-x86", "requirements": arch("amd64")}],
    }}))
    .expect("a class")
}

fn plain(claim: &NodeClaim) -> Result<Order, NothingToOrder> {
    order(claim, &class(), &catalog(), &BTreeMap::new(), &|_, _| false)
}

fn types(order: &Order) -> Vec<&str> {
    order.images.iter().flat_map(|i| &i.ways).map(|w| w.instance_type.as_str()).collect()
}

#[test]
fn a_planned_claim_becomes_ways_by_price_with_an_image_each() {
    let order = plain(&planned(&["m7i.large", "m6i.large", "m7g.large"], "us-east-1a", "on-demand"))
        .expect("an order");
    assert_eq!(order.capacity_type, "on-demand");
    let images: Vec<(&str, Vec<&str>)> = order
        .images
        .iter()
        .map(|i| (i.image.as_str(), i.ways.iter().map(|w| w.instance_type.as_str()).collect()))
        .collect();
    assert_eq!(images, [("ami-arm", vec!["m7g.large"]), ("ami-x86", vec!["m6i.large", "m7i.large"])]);
    let ways: Vec<&Way> = order.images.iter().flat_map(|i| &i.ways).collect();
    assert!(ways.iter().all(|w| w.zone == "us-east-1a" && w.subnet == "subnet-a1" && w.price > 0.0));
}

/// Interfaces for the fabric, and the number of pods that images do not find out by themselves, stand in the template.
#[test]
fn types_that_are_set_up_differently_have_templates_of_their_own() {
    let types = ["p4d.24xlarge", "g4dn.8xlarge", "m7i.large"];
    let of = |claim: &NodeClaim, class: &Ec2NodeClass, catalog: &Catalog| {
        let order = order(claim, class, catalog, &BTreeMap::new(), &|_, _| false).expect("an order");
        order.images.iter().map(|i| (i.ways[0].instance_type.clone(), i.efa, i.pods)).collect::<Vec<_>>()
    };
    let name = |at: usize| types[at].to_owned();
    let mut claim = planned(&types, "us-east-1a", "on-demand");
    assert_eq!(of(&claim, &class(), &catalog()), [(name(2), 0, None)]);
    claim.spec.resources.requests = [(EFA.to_owned(), "1".parse().expect("an amount"))].into_iter().collect();
    assert_eq!(
        of(&claim, &class(), &catalog()),
        [(name(2), 0, None), (name(1), 1, None), (name(0), 4, None)],
        "by price; those without are not planned for it"
    );
    let mut stated = class();
    stated.spec.network_interfaces =
        Some(serde_json::from_value(json!([{"networkCardIndex": 0, "deviceIndex": 0}])).expect("a list"));
    assert_eq!(of(&claim, &stated, &catalog()), [(name(2), 0, None)], "the class says what there is");

    let mut settings = Settings::default();
    settings.nodes.reserved_interfaces = 1;
    let crowded = Catalog::embedded("us-east-1", &settings).expect("a region");
    let claim = planned(&["m7i.large", "m7i.xlarge"], "us-east-1a", "on-demand");
    let pods: Vec<_> = of(&claim, &class(), &crowded).into_iter().map(|(.., pods)| pods).collect();
    assert_eq!(
        pods,
        [Some(20), Some(44)],
        "two and three interfaces of ten and fifteen addresses, and two pods of the host"
    );
    let mut stated = class();
    stated.spec.kubelet = Some(serde_json::from_value(json!({"maxPods": 30})).expect("a kubelet"));
    assert_eq!(of(&claim, &stated, &crowded), [("m7i.large".to_owned(), 0, None)]);
}

#[test]
fn the_subnet_with_the_most_free_addresses_is_taken_and_a_full_one_never() {
    let claim = planned(&["m7i.large"], "us-east-1a", "on-demand");
    let subnet = |free: &[(&str, i64)]| {
        let free = free.iter().map(|(id, n)| ((*id).to_owned(), *n)).collect();
        order(&claim, &class(), &catalog(), &free, &|_, _| false)
            .map(|order| order.images[0].ways[0].subnet.clone())
    };
    assert_eq!(subnet(&[("subnet-a1", 5), ("subnet-a2", 9)]).as_deref(), Ok("subnet-a2"));
    assert_eq!(subnet(&[("subnet-a1", 9), ("subnet-a2", 9)]).as_deref(), Ok("subnet-a1"));
    assert_eq!(
        subnet(&[("subnet-a1", 0), ("subnet-a2", 0)]),
        Err(NothingToOrder::NoSubnet { class: "al2023".to_owned(), zones: vec!["us-east-1a".to_owned()] })
    );
}

#[test]
fn an_open_claim_is_launched_as_spot_where_that_is_cheaper_and_never_as_something_exotic() {
    let open = claim(&json!([
        is_in("karpenter.sh/capacity-type", &["spot", "on-demand"]),
        is_in("karpenter.k8s.aws/instance-category", &["g", "m"]),
    ]));
    let order = plain(&open).expect("an order");
    assert_eq!(order.capacity_type, "spot");
    let catalog = catalog();
    let chosen: BTreeSet<&str> = types(&order).into_iter().collect();
    assert!(
        (2..=MOST_TYPES).contains(&chosen.len()),
        "dearer than on demand, spot is left out: {}",
        chosen.len()
    );
    assert!(catalog.types.iter().filter(|t| chosen.contains(t.name.as_str())).all(|t| !is_exotic(t)));

    let gpu = plain(&planned(&["g5.xlarge", "m7i.48xlarge"], "us-east-1a", "on-demand")).expect("an order");
    assert_eq!(types(&gpu), ["g5.xlarge", "m7i.48xlarge"], "what was planned is meant");
}

#[test]
fn a_choice_that_is_counted_on_is_not_narrowed() {
    let mut requirement = is_in("karpenter.k8s.aws/instance-category", &["g", "m"]);
    requirement["minValues"] = json!(2);
    let order = plain(&claim(&json!([requirement, is_in("karpenter.sh/capacity-type", &["on-demand"])])));
    let order = order.expect("an order");
    let chosen: BTreeSet<&str> = types(&order).into_iter().collect();
    assert_eq!(chosen.len(), MOST_TYPES);
    assert_eq!(chosen.iter().filter(|t| t.starts_with('g')).count(), 1, "{chosen:?}");
}

#[test]
fn what_cannot_be_had_is_said() {
    assert_eq!(plain(&planned(&["m99.large"], "us-east-1a", "on-demand")), Err(NothingToOrder::NoOffering));
    let without = Ec2NodeClass {
        status: stowage_api::Ec2NodeClassStatus { amis: vec![], ..class().status },
        ..class()
    };
    let claim = planned(&["m7i.large"], "us-east-1a", "on-demand");
    assert_eq!(
        order(&claim, &without, &catalog(), &BTreeMap::new(), &|_, _| false),
        Err(NothingToOrder::NoImage { class: "al2023".to_owned(), example: "m7i.large".to_owned() })
    );
    let far = planned(&["m7i.large"], "us-east-1c", "on-demand");
    assert_eq!(
        plain(&far).map_err(|e| e.to_string()),
        Err("EC2NodeClass al2023 has no subnet in us-east-1c".to_owned())
    );
}

#[test]
fn a_reservation_is_used_where_the_class_has_selected_it() {
    let catalog = with_reservation("default");
    let selecting = |id: &str| {
        let mut class = class();
        class.status.capacity_reservations =
            vec![stowage_api::SelectedReservation { id: id.to_owned(), ..Default::default() }];
        class
    };
    let any = claim(&json!([
        is_in(INSTANCE_TYPE, &["m7i.large"]),
        is_in("topology.kubernetes.io/zone", &["us-east-1a"])
    ]));
    let of = |class: &Ec2NodeClass, catalog: &Catalog| {
        let order = order(&any, class, catalog, &BTreeMap::new(), &|_, _| false).expect("an order");
        (order.capacity_type, order.images[0].reservation.clone())
    };
    assert_eq!(of(&selecting("cr-1"), &catalog), ("reserved".to_owned(), Some("cr-1".to_owned())));
    assert_eq!(of(&selecting("cr-2"), &catalog), ("spot".to_owned(), None));
    assert_eq!(of(&class(), &catalog), ("spot".to_owned(), None));
    // Blocks are bought in another way.
    assert_eq!(of(&selecting("cr-1"), &with_reservation("capacity-block")), ("spot".to_owned(), None));
}

/// The catalogue with m7i.large held in us-east-1a, too.
fn with_reservation(kind: &str) -> Catalog {
    let mut catalog = catalog();
    let of = catalog.types.iter_mut().find(|of| of.name == "m7i.large").expect("a type");
    let mut held = of.offerings.iter().find(|o| o.zone() == "us-east-1a").expect("an offering").clone();
    let one = |key: &str, value: &str| stowage_pricing::Requirement {
        key: key.to_owned(),
        operator: Operator::In,
        values: vec![value.to_owned()],
    };
    let others = held.requirements.iter().filter(|r| r.key != "karpenter.sh/capacity-type").cloned();
    held.requirements = others
        .chain([
            one("karpenter.sh/capacity-type", RESERVED),
            one(RESERVATION, "cr-1"),
            one("karpenter.k8s.aws/capacity-reservation-type", kind),
        ])
        .collect();
    of.offerings.push(held);
    catalog
}
