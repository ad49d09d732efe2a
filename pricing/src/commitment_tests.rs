//! Bills worked out by hand.

use super::*;

fn reserved(id: &str, instance_type: &str, count: u32, zone: Option<&str>) -> ReservedInstances {
    ReservedInstances {
        id: id.to_owned(),
        instance_type: instance_type.to_owned(),
        count,
        zone: zone.map(str::to_owned),
        hourly: 0.06,
        end: None,
    }
}

fn plan(id: &str, kind: PlanKind, commitment: f64, rates: &[(&str, f64)]) -> SavingsPlan {
    SavingsPlan {
        id: id.to_owned(),
        kind,
        commitment,
        rates: rates.iter().map(|(name, rate)| ((*name).to_owned(), *rate)).collect(),
        end: None,
    }
}

fn family(family: &str) -> PlanKind {
    PlanKind::Ec2Instance { family: family.to_owned(), region: "us-east-1".to_owned() }
}

/// us-east-1 of July 2026: m7i.large $0.1008, m7i.xlarge $0.2016, m7i.medium does not exist, r7i.large $0.1323.
fn nodes(instance_type: &str, zone: &str, count: u32) -> Nodes {
    let on_demand = match instance_type {
        "m7i.large" => 0.1008,
        "m7i.xlarge" => 0.2016,
        "m7i.2xlarge" => 0.4032,
        "r7i.large" => 0.1323,
        "g5.xlarge" => 1.006,
        "g5.2xlarge" => 1.212,
        _ => panic!("{instance_type}"),
    };
    Nodes { instance_type: instance_type.to_owned(), zone: zone.to_owned(), count, on_demand }
}

fn bill(reserved: &[ReservedInstances], plans: &[SavingsPlan], nodes: &[Nodes]) -> [f64; 3] {
    let commitments = Commitments { reserved_instances: reserved.to_vec(), savings_plans: plans.to_vec() };
    let bill = commitments.bill(nodes);
    let mut turned = Commitments {
        reserved_instances: reserved.iter().rev().cloned().collect(),
        savings_plans: plans.iter().rev().cloned().collect(),
    }
    .bill(&nodes.iter().rev().cloned().collect::<Vec<_>>());
    assert_eq!(bill, turned, "order matters");
    turned.unused = (turned.unused * 1e6).round() / 1e6;
    [bill.on_demand, bill.committed, turned.unused]
}

/// On demand, committed, unused.
fn same(actual: [f64; 3], expected: [f64; 3]) {
    let close = actual.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-8);
    assert!(close, "{actual:?} is not {expected:?}");
}

#[test]
fn zonal_ones_hold_in_their_zone_and_size_only() {
    let ri = [reserved("ri", "m7i.large", 2, Some("a"))];
    same(bill(&ri, &[], &[nodes("m7i.large", "a", 1)]), [0.0, 0.12, 0.06]);
    same(bill(&ri, &[], &[nodes("m7i.large", "b", 1)]), [0.1008, 0.12, 0.12]);
    same(bill(&ri, &[], &[nodes("m7i.xlarge", "a", 1)]), [0.2016, 0.12, 0.12]);
}

/// A large is 4 units and an xlarge 8: three large ones cover one and a half.
#[test]
fn regional_ones_cover_sizes_of_their_family_by_units() {
    let ri = [reserved("ri", "m7i.large", 3, None)];
    same(bill(&ri, &[], &[nodes("m7i.xlarge", "a", 2)]), [0.1008, 0.18, 0.0]);
    same(bill(&ri, &[], &[nodes("r7i.large", "a", 1)]), [0.1323, 0.18, 0.18]);
    // The small one first: then 8 of the 16 units of a 2xlarge.
    let mixed = [nodes("m7i.2xlarge", "a", 1), nodes("m7i.large", "b", 1)];
    same(bill(&ri, &[], &mixed), [0.2016, 0.18, 0.0]);
    // Two purchases meet in one node.
    let two = [reserved("ri-1", "m7i.large", 1, None), reserved("ri-2", "m7i.large", 1, None)];
    same(bill(&two, &[], &[nodes("m7i.xlarge", "a", 1)]), [0.0, 0.12, 0.0]);
}

#[test]
fn some_families_do_not_exchange_sizes() {
    let ri = [reserved("ri", "g5.xlarge", 2, None)];
    same(bill(&ri, &[], &[nodes("g5.2xlarge", "a", 1)]), [1.212, 0.12, 0.12]);
    same(bill(&ri, &[], &[nodes("g5.xlarge", "b", 3)]), [1.006, 0.12, 0.0]);
}

/// A plan of $0.12 at $0.07 a node covers one node and 5/7 of the next: 2/7 of $0.1008 is $0.0288.
#[test]
fn a_plan_covers_part_of_a_node() {
    let sp = [plan("sp", PlanKind::Compute, 0.12, &[("m7i.large", 0.07)])];
    let [on_demand, committed, unused] = bill(&[], &sp, &[nodes("m7i.large", "a", 3)]);
    same([on_demand, committed, unused], [0.1296, 0.12, 0.0]);
    same(bill(&[], &sp, &[nodes("m7i.large", "a", 1)]), [0.0, 0.12, 0.05]);
}

/// Reserved first, then the family's plan, then the compute plan; and there what saves the most.
#[test]
fn the_order_is_aws_s() {
    let ri = [reserved("ri", "m7i.large", 1, None)];
    let sp = [
        plan("a-compute", PlanKind::Compute, 0.1, &[("m7i.large", 0.07), ("r7i.large", 0.08)]),
        plan("b-family", family("m7i"), 0.05, &[("m7i.large", 0.05), ("r7i.large", 0.01)]),
    ];
    let fleet = [nodes("m7i.large", "a", 3), nodes("r7i.large", "a", 1)];
    // One m7i reserved, one by its family's plan; of $0.1 the r7i takes 0.08 (40 % off) before the m7i (31 %): left are
    // 0.02 of 0.07 for the last m7i, so 5/7 of 0.1008 = 0.072 is paid.
    same(bill(&ri, &sp, &fleet), [0.072, 0.21, 0.0]);
}

/// Two fleets for the same pods: a planner that looks at list prices takes the cheaper one, and pays more.
#[test]
fn ignoring_a_commitment_is_dearer() {
    let sp = [plan("sp", family("r7i"), 0.2, &[("r7i.large", 0.08)])];
    let by_list_price = [nodes("m7i.large", "a", 2)];
    let by_commitment = [nodes("r7i.large", "a", 2)];
    let list = |nodes: &[Nodes]| nodes.iter().map(|n| n.on_demand * f64::from(n.count)).sum::<f64>();
    assert!(list(&by_list_price) < list(&by_commitment));
    let total = |nodes: &[Nodes]| bill(&[], &sp, nodes)[..2].iter().sum::<f64>();
    assert!((total(&by_list_price) - 0.4016).abs() < 1e-9);
    assert!((total(&by_commitment) - 0.2).abs() < 1e-9);
}

#[test]
fn what_is_left_is_offered() {
    let commitments = Commitments {
        reserved_instances: vec![reserved("ri", "m7i.xlarge", 2, None)],
        savings_plans: vec![plan("sp", PlanKind::Compute, 0.1, &[("m7i.large", 0.08), ("m7i.xlarge", 0.3)])],
    };
    let left = commitments.budget().after(&[nodes("m7i.large", "a", 1)]);
    let offers = left.offers("m7i.large", "b", 0.1008);
    let expected = [
        CommittedOffer { id: "ri".to_owned(), whole: 3, partial: None },
        CommittedOffer { id: "sp".to_owned(), whole: 1, partial: Some(0.0756) },
    ];
    assert_eq!(offers, expected);
    // Half of a second xlarge is covered; and a rate above the list price is no offer.
    let offers = left.offers("m7i.xlarge", "b", 0.2016);
    assert_eq!(offers, [CommittedOffer { id: "ri".to_owned(), whole: 1, partial: Some(0.1008) }]);
    assert!(left.offers("c7i.large", "b", 0.08925).is_empty());
}

#[test]
fn what_has_ended_or_is_elsewhere_is_left_out() {
    let noon: Timestamp = "2026-07-20T12:00:00Z".parse().unwrap();
    let mut ended = reserved("old", "m7i.large", 1, None);
    ended.end = Some(noon);
    let mut runs = reserved("new", "m7i.large", 1, None);
    runs.end = Some(noon.plus_seconds(1));
    let commitments = Commitments {
        reserved_instances: vec![ended, runs],
        savings_plans: vec![plan("here", family("m7i"), 1.0, &[]), plan("any", PlanKind::Compute, 1.0, &[])],
    };
    let there = commitments.in_force(noon, "eu-west-1");
    assert_eq!(there.reserved_instances[0].id, "new");
    assert_eq!(there.savings_plans.iter().map(|p| p.id.as_str()).collect::<Vec<_>>(), ["any"]);
    assert_eq!(commitments.in_force(noon, "us-east-1").savings_plans.len(), 2);
}

#[test]
fn files_round_trip_and_bad_ones_say_so() {
    let commitments = Commitments {
        reserved_instances: vec![reserved("ri", "m7i.large", 1, Some("us-east-1a"))],
        savings_plans: vec![plan("sp", family("m7i"), 1.0, &[("m7i.large", 0.05)])],
    };
    let text = serde_json::to_vec(&commitments).unwrap();
    assert_eq!(Commitments::parse(&text, "c.json"), Ok(commitments));
    let error = |text: &str| Commitments::parse(text.as_bytes(), "c.json").unwrap_err();
    assert!(error(r#"{"reservedInstance": []}"#).contains("unknown field `reservedInstance`"));
    let negative = r#"{"savingsPlans": [{"id": "sp", "kind": "compute", "commitment": -1}]}"#;
    assert_eq!(
        error(negative),
        "commitments c.json: sp: commitment is -1; write dollars an hour, zero or more, and at most a million"
    );
    let huge = Commitments {
        reserved_instances: vec![ReservedInstances {
            hourly: 1e300,
            ..reserved("x", "m7i.48xlarge", u32::MAX, None)
        }],
        savings_plans: vec![plan("y", PlanKind::Compute, 1e300, &[("m7i.large", 1e-300)])],
    };
    let _ = huge.bill(&[Nodes { count: u32::MAX, on_demand: 1e300, ..nodes("m7i.large", "a", 1) }]);
}
