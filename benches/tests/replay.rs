//! A small cluster through simulated hours: consolidation never costs more than none, and leaves what has settled alone.
//!
//! Every plan and every step passes the verifier on the cluster as it is then, or the replay fails.

use std::sync::LazyLock;

use stowage_benches::Workload;
use stowage_benches::replay::{Outcome, Pattern, Policy, Settings, market, run};
use stowage_cluster::{LowerOptions, ReadOptions, Source, lower, read};
use stowage_pricing::{Catalog, Settings as Pricing};
use stowage_solver::Problem;

static WORKLOAD: LazyLock<Problem> = LazyLock::new(|| {
    let catalog = Catalog::embedded("us-east-1", &Pricing::default()).expect("us-east-1 is embedded");
    let bytes = Workload::new(60, Workload::SEED).to_json();
    let source = Source { name: "made-up snapshot", bytes: &bytes };
    let snapshot = read(&[source], &ReadOptions::default()).expect("what the generator writes can be read");
    let mut problem =
        lower(&snapshot, &catalog, &LowerOptions::default()).expect("it can be lowered").problem;
    market(&mut problem);
    // A few families are enough to choose from.
    problem
        .types
        .retain(|of_type| ["m6i.", "c6i.", "r6i."].iter().any(|family| of_type.name.starts_with(family)));
    problem
});

fn replayed(pattern: Pattern, policy: Policy, hours: u32) -> Outcome {
    let settings = Settings { minutes: hours * 60, tick: 60, bound_every: 4, ..Settings::default() };
    run(&WORKLOAD, pattern, 1, policy, &settings).expect("nothing breaks a rule")
}

#[test]
fn consolidation_costs_no_more_than_none_and_no_less_than_the_bound() {
    let [nobody, stowage] =
        [Policy::Nobody, Policy::Stowage].map(|policy| replayed(Pattern::Days, policy, 24));
    assert_eq!((nobody.moved(), nobody.unplaced, stowage.unplaced), (0, 0, 0));
    let costs = (stowage.dollars(60), nobody.dollars(60));
    assert!(costs.0 < costs.1, "{costs:?}");
    for (at, bound) in &stowage.bounds {
        assert!(*bound <= stowage.hourly[*at], "{bound} at look {at}");
    }
    assert!(stowage.removed > 0, "nothing was taken away");
}

#[test]
fn the_same_days_give_the_same_figures() {
    let twice = [(); 2].map(|()| replayed(Pattern::Days, Policy::Stowage, 6));
    assert_eq!(twice[0], twice[1]);
}

/// As many pods of everything as ever, of which one now and then is replaced.
#[test]
fn a_steady_week_sees_no_disruption_once_the_fleet_has_settled() {
    let week = replayed(Pattern::Steady, Policy::Stowage, 7 * 24);
    let (first, later) = week.evictions.split_at(24);
    assert_eq!(later.iter().sum::<u32>(), 0, "{later:?} after {first:?}");
    assert_eq!(week.unplaced, 0);
}

/// What single days come to is a matter of luck: which pods end next nobody knows.
#[test]
fn days_cost_less_than_with_karpenters_method_and_no_more_pods_are_moved() {
    let of = |policy: Policy| -> (f64, u32) {
        let days = [1, 2, 3].map(|seed| {
            let settings = Settings { minutes: 48 * 60, tick: 60, bound_every: 0, ..Settings::default() };
            run(&WORKLOAD, Pattern::Days, seed, policy, &settings).expect("nothing breaks a rule")
        });
        (days.iter().map(|day| day.dollars(60)).sum(), days.iter().map(Outcome::moved).sum())
    };
    let (karpenter, stowage) = (of(Policy::Karpenter), of(Policy::Stowage));
    assert!(stowage.0 < karpenter.0 && stowage.1 <= karpenter.1, "{stowage:?} against {karpenter:?}");
}
