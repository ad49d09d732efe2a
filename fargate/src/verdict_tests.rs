use proptest::prelude::*;

use super::*;

fn target() -> Target {
    Target {
        profile: "p".to_owned(),
        labels: Labels::new(),
        shape: Shape { cpu_millis: 250, memory_mib: 512, disk_gib: 20 },
        price: Price::from_micros(12_343),
        needs: Needs::default(),
    }
}

fn finding(side: Side, lead: Option<u32>) -> Finding {
    Finding {
        policy: (PolicyId::default(), 1),
        target: Some(target()),
        side,
        why: Why::Cost,
        nodes: Some(OnNodes::Bought(Price::from_micros(20_000))),
        jointly: None,
        lead_percent: lead,
        together: 1,
    }
}

fn looks(leads: &[(Side, u32)]) -> Vec<Side> {
    let mut verdict = Verdict::after(Before::Nothing, finding(Side::Ec2, Some(50)), 0, Steadiness::default());
    let mut sides = Vec::new();
    for (at, (side, lead)) in leads.iter().enumerate() {
        let found = finding(*side, Some(*lead));
        verdict = Verdict::after(Before::Same(&verdict), found, at as u64 + 1, Steadiness::default());
        sides.push(verdict.side);
    }
    sides
}

#[test]
fn a_side_must_be_better_by_much_and_for_long() {
    use Side::{Ec2, Fargate};
    assert_eq!(looks(&[(Fargate, 50), (Fargate, 50), (Fargate, 50)]), [Ec2, Ec2, Fargate]);
    assert_eq!(looks(&[(Fargate, 50), (Fargate, 50), (Ec2, 1), (Fargate, 50)]), [Ec2; 4]);
    assert_eq!(looks(&[(Fargate, 9); 10]), [Ec2; 10]);
    assert_eq!(looks(&[(Fargate, 50), (Fargate, 50), (Fargate, 9), (Fargate, 50)]), [Ec2; 4]);
}

#[test]
fn another_template_needs_one_look() {
    let old = Verdict::after(Before::Nothing, finding(Side::Ec2, Some(50)), 0, Steadiness::default());
    let next = |lead| {
        let found = finding(Side::Fargate, Some(lead));
        Verdict::after(Before::OtherTemplate(&old), found, 9, Steadiness::default()).side
    };
    assert_eq!((next(50), next(9)), (Side::Fargate, Side::Ec2));
}

#[test]
fn what_is_no_matter_of_price_changes_at_once() {
    let old = Verdict::after(Before::Nothing, finding(Side::Fargate, Some(50)), 0, Steadiness::default());
    let forbidden = Finding {
        target: None,
        why: Why::Forbidden(vec!["Fargate has no host ports".to_owned()]),
        ..finding(Side::Ec2, None)
    };
    let now = Verdict::after(Before::Same(&old), forbidden, 5, Steadiness::default());
    assert_eq!((now.side, now.since), (Side::Ec2, 5));
    assert!(now.to_string().contains("no host ports"));
    let other_policy = Finding { policy: (PolicyId::default(), 2), ..finding(Side::Ec2, Some(1)) };
    assert_eq!(Verdict::after(Before::Same(&old), other_policy, 5, Steadiness::default()).side, Side::Ec2);
}

#[test]
fn a_verdict_says_what_nodes_would_have_cost() {
    let verdict = Verdict::after(Before::Nothing, finding(Side::Fargate, Some(50)), 0, Steadiness::default());
    assert_eq!(
        verdict.to_string(),
        "Fargate, as 0.25 vCPU and 0.5 GB of profile p for $0.012343 an hour; nodes would cost $0.02 an hour \
         for each pod"
    );
    assert_eq!(verdict.saved(), Some(Price::from_micros(7_657)));
    // Together with others it would cost less there, so less is saved.
    let jointly = Finding { jointly: Some(Price::from_micros(15_000)), ..verdict.found.clone() };
    let both = Verdict { found: jointly, ..verdict.clone() };
    assert!(both.to_string().ends_with("for each pod, and $0.015 together with others on Fargate"), "{both}");
    assert_eq!(both.saved(), Some(Price::from_micros(2_657)));
    // Nothing is saved on nodes, nor where there is no place on them.
    assert_eq!(Verdict { side: Side::Ec2, ..verdict.clone() }.saved(), None);
    let nowhere = Finding { nodes: Some(OnNodes::NoPlace), ..verdict.found.clone() };
    assert_eq!(Verdict { found: nowhere, ..verdict }.saved(), None);
}

proptest! {
    /// Whatever is found, the side changes no more often than once in as many looks as it takes.
    #[test]
    fn verdicts_do_not_flap(found in prop::collection::vec((any::<bool>(), 0_u32..100), 1..60)) {
        let leads: Vec<(Side, u32)> =
            found.into_iter().map(|(f, l)| (if f { Side::Fargate } else { Side::Ec2 }, l)).collect();
        let sides = looks(&leads);
        let changes = sides.windows(2).filter(|w| w[0] != w[1]).count();
        prop_assert!(changes <= sides.len() / 3, "{sides:?}");
    }
}
