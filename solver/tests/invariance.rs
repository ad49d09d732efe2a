//! What should change neither plan nor bound, or only for the better, with thorough effort.
//!
//! The optimum obeys these laws; a plan and a bound that are proven to enclose it need not, where they are apart. So each
//! law comes in two: what follows from bound ≤ optimum ≤ cost holds in every case, and the law itself nearly always. What
//! makes the exceptions:
//!
//! - column generation stops before the dual prices are the best ones, and the proof is as good as the prices it is from;
//! - the bound is rounded up to a sum of prices, and another price makes that grid finer or coarser;
//! - one spread rule of one class is kept in the bound, one that counts two classes is dropped, so a class under such a
//!   rule has a looser bound once it is two;
//! - constructions take classes in turn, so two halves may be packed in another order than the whole.

#![allow(clippy::unwrap_used)] // A test fails by panicking.

mod common;

use common::random::draft;
use common::{World, plan_with};
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use stowage_solver::{Effort, Options, PodId, PodSelector, PodSpec, Price, Problem, Solution, SpecId};

const CASES: usize = 600;

fn thorough(problem: &Problem) -> Solution {
    let options = Options { effort: Effort::Thorough, max_steps: 20_000_000, ..Options::default() };
    plan_with(problem, &options)
}

/// Random clusters, in which no `NodePool` is preferred: another offer in a heavier one may well cost more.
fn clusters() -> impl Iterator<Item = Problem> {
    let mut runner = TestRunner::deterministic();
    (0..CASES).map(move |_| {
        let World(mut problem) = draft().new_tree(&mut runner).unwrap().current().world(false);
        problem.pools.iter_mut().for_each(|pool| pool.weight = 0);
        problem
    })
}

fn unplaced(solution: &Solution) -> Vec<PodId> {
    solution.unplaced.iter().map(|u| u.pod).collect()
}

/// The problem with one more type: like one there is, cheaper or dearer, in fewer zones, or twice as big.
fn with_another_type(problem: &Problem, number: usize) -> Problem {
    let mut more = problem.clone();
    let mut new = problem.types[number % problem.types.len()].clone();
    "new".clone_into(&mut new.name);
    new.labels.insert("node.kubernetes.io/instance-type".to_owned(), "new".to_owned());
    for offering in &mut new.offerings {
        offering.price = Price::from_micros(offering.price.micros() * [7, 9, 11][number % 3] / 10);
    }
    if number.is_multiple_of(2) {
        new.offerings.truncate(1);
    }
    if number % 4 < 2 {
        new.allocatable = new.allocatable.plus(&new.allocatable);
        new.capacity = new.allocatable.clone();
    }
    more.types.push(new);
    more
}

#[test]
fn a_new_offering_does_not_raise_the_bound() {
    let (mut compared, mut raised, mut lowered) = (0, 0, 0);
    for (number, problem) in clusters().enumerate() {
        let more = with_another_type(&problem, number);
        let (before, after) = (thorough(&problem), thorough(&more));
        // With more pods held, a plan may cost more.
        if unplaced(&before) != unplaced(&after) {
            continue;
        }
        assert!(after.bound <= before.cost, "{} above {}:\n{more:#?}", after.bound, before.cost);
        compared += 1;
        raised += usize::from(after.bound > before.bound);
        lowered += usize::from(after.bound < before.bound);
    }
    assert!(
        compared * 2 > CASES && lowered > 20,
        "{compared} compared, {lowered} lowered: the law is hardly tried"
    );
    assert!(raised * 30 <= compared, "{raised} of {compared} bounds were raised");
}

/// The problem with every second pod of one spec in another namespace, which every selector takes for the same; `None`
/// where no spec has two pods. So one class becomes two, and nothing else changes.
fn with_a_class_split(problem: &Problem) -> Option<Problem> {
    let of = |spec: usize| problem.pods.iter().filter(move |p| p.spec.index() == spec);
    let whole = (0..problem.specs.len()).find(|spec| of(*spec).count() > 1)?;
    let mut split = problem.clone();
    for spec in &mut split.specs {
        for selector in selectors(spec) {
            selector.namespaces.push("twin".to_owned());
        }
    }
    let half = SpecId::of(split.specs.len());
    split.specs.push(PodSpec { namespace: "twin".to_owned(), ..split.specs[whole].clone() });
    let pods = split.pods.iter_mut().filter(|p| p.spec.index() == whole);
    pods.skip(1).step_by(2).for_each(|pod| pod.spec = half);
    Some(split)
}

fn selectors(spec: &mut PodSpec) -> impl Iterator<Item = &mut PodSelector> {
    let terms = spec.affinity.iter_mut().chain(&mut spec.anti_affinity).map(|term| &mut term.selector);
    spec.spread.iter_mut().map(|spread| &mut spread.selector).chain(terms)
}

#[test]
fn splitting_a_class_changes_nothing() {
    let (mut compared, mut other_cost, mut other_bound) = (0, 0, 0);
    for problem in clusters() {
        let Some(halves) = with_a_class_split(&problem) else { continue };
        let (whole, halves) = (thorough(&problem), thorough(&halves));
        // Which of two equal pods is left over does not matter.
        if whole.unplaced.len() != halves.unplaced.len() || whole.cost == Price::ZERO {
            continue;
        }
        let (a, b) = (&whole, &halves);
        assert!(
            a.bound <= b.cost && b.bound <= a.cost,
            "{} {} {} {}:\n{problem:#?}",
            a.bound,
            a.cost,
            b.bound,
            b.cost
        );
        compared += 1;
        other_cost += usize::from(a.cost != b.cost);
        other_bound += usize::from(a.bound != b.bound);
    }
    assert!(compared * 2 > CASES, "{compared} compared: the law is hardly tried");
    assert!(other_cost * 30 <= compared, "{other_cost} of {compared} plans cost something else");
    assert!(other_bound * 30 <= compared, "{other_bound} of {compared} bounds are others");
}
