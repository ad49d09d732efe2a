//! What the report looks like at several widths, and what must hold at all of them.

use super::look::Look;
use super::{Show, report};
use crate::fixture;
use crate::text::width;

fn rich(width: usize, pods: bool) -> String {
    report(&fixture::rich(), Show { pods, ..Show::default() }, &Look { width, color: false, bars: false })
}

#[test]
fn at_60_columns() {
    insta::assert_snapshot!(rich(60, false));
}

#[test]
fn at_80_columns() {
    insta::assert_snapshot!(rich(80, false));
}

#[test]
fn at_100_columns_with_bars() {
    insta::assert_snapshot!(report(
        &fixture::rich(),
        Show::default(),
        &Look { width: 100, color: false, bars: true }
    ));
}

#[test]
fn at_200_columns_with_bars() {
    insta::assert_snapshot!(report(
        &fixture::rich(),
        Show::default(),
        &Look { width: 200, color: false, bars: true }
    ));
}

#[test]
fn with_fixed_costs() {
    let text = report(&fixture::weighed(), Show::default(), &Look { width: 80, color: false, bars: false });
    let cost = text.split("\nCost\n").nth(1).unwrap().split("\n\n").next().unwrap();
    insta::assert_snapshot!(cost, @"
                                 PER HOUR  PER MONTH
    instances                     $5.8575  $4,275.98
    fixed costs of nodes          $0.0400     $29.20
    this plan (estimated)         $5.8975  $4,305.18
    lower bound at these prices   $5.7380  $4,188.74
    gap 2.78%: within the 5% asked for
    plan, bound and gap are with the fixed costs; the table above is without
    on-demand prices of us-east-1, 2026-07-20
    ");
}

#[test]
fn with_alternatives() {
    let show = Show { alternatives: true, ..Show::default() };
    let at = |width| {
        let text = report(&fixture::rich(), show, &Look { width, color: false, bars: false });
        text.split("\nAlternatives\n").nth(1).unwrap().split("\n\n").next().unwrap().to_owned()
    };
    insta::assert_snapshot!(at(100), @"
    NODES  TYPE         ZONE        CAPACITY   TYPES  ZONES  NEXT BEST
        2  m7i.2xlarge  us-east-1a  on-demand      2      2  m7i.2xlarge us-east-1b on-demand $0.4032
        1  m7i.2xlarge  us-east-1b  on-demand      2      2  m7i.2xlarge us-east-1a on-demand $0.4032
        1  r7i.large    us-east-1a  spot           1      1  m7i.2xlarge us-east-1a on-demand $0.4032
        1  g6.12xlarge  us-east-1b  on-demand      1      1  -
    types with the same capacity type, and zones, of the least flexible node of the line; -o json
    lists all
    ");
    insta::assert_snapshot!(at(60), @"
    NODES  TYPE         ZONE        CAPACITY   TYPES  ZONES
        2  m7i.2xlarge  us-east-1a  on-demand      2      2
        1  m7i.2xlarge  us-east-1b  on-demand      2      2
        1  r7i.large    us-east-1a  spot           1      1
        1  g6.12xlarge  us-east-1b  on-demand      1      1
    types with the same capacity type, and zones, of the least
    flexible node of the line; -o json lists all
    ");
    assert!((56..120).all(|columns| at(columns).lines().all(|line| width(line) <= columns)));
}

#[test]
fn with_every_pod() {
    insta::assert_snapshot!(rich(100, true));
}

#[test]
fn with_nothing_to_plan() {
    let look = Look { width: 80, color: false, bars: false };
    insta::assert_snapshot!(report(&fixture::empty(), Show::default(), &look), @"No pending pods: nothing to plan");
}

#[test]
fn no_line_is_wider_than_asked_for() {
    for columns in 56..=200 {
        for bars in [false, true] {
            let text =
                report(&fixture::rich(), Show::default(), &Look { width: columns, color: false, bars });
            for line in text.lines() {
                assert!(width(line) <= columns, "{} columns at {columns}: {line}", width(line));
            }
        }
    }
}

#[test]
fn colour_adds_only_escape_codes_and_leaves_none_without() {
    let plain = rich(100, true);
    let colored = report(
        &fixture::rich(),
        Show { pods: true, ..Show::default() },
        &Look { width: 100, color: true, bars: false },
    );
    assert!(!plain.contains('\u{1b}') && colored.contains('\u{1b}'));
    let mut stripped = String::new();
    for part in colored.split('\u{1b}') {
        // A code runs to its letter m; what stands before the first one is text.
        stripped
            .push_str(part.strip_prefix('[').and_then(|p| p.split_once('m')).map_or(part, |(_, text)| text));
    }
    assert_eq!(stripped, plain);
}
