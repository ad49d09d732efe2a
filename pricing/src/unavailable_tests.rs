//! Errors, expiry and shifts.

use super::*;
use crate::catalog::Settings;

const NOON: Timestamp = Timestamp::from_seconds(1_784_548_800);

fn spot(name: &str) -> OfferingKey {
    OfferingKey::new(name, "us-east-1a", "spot")
}

#[test]
fn repeated_errors_keep_it_away_for_longer() {
    let mut u = Unavailable::default();
    let key = spot("m7i.large");
    let mut now = NOON;
    for seconds in [180, 360, 720, 1_440, 2_880, 2_880] {
        u.mark(now, &key);
        assert!(u.is_away(now.plus_seconds(seconds - 1), &key), "{seconds}");
        now = now.plus_seconds(seconds);
        assert!(!u.is_away(now, &key), "{seconds}");
    }
    // After as long again without an error it is as if nothing had been.
    now = now.plus_seconds(2_880);
    u.mark(now, &key);
    assert!(!u.is_away(now.plus_seconds(180), &key));
}

#[test]
fn errors_of_launches_under_way_do_not_add_up() {
    let mut u = Unavailable::default();
    for second in 0..60 {
        u.mark(NOON.plus_seconds(second), &spot("m7i.large"));
    }
    assert!(!u.is_away(NOON.plus_seconds(180), &spot("m7i.large")));
}

#[test]
fn a_family_is_away_after_three_of_its_types() {
    let mut u = Unavailable::default();
    u.mark(NOON, &spot("m7i.large"));
    u.mark(NOON, &spot("m7i.xlarge"));
    assert!(!u.is_away(NOON, &spot("m7i.48xlarge")));
    u.mark(NOON, &spot("m7i.2xlarge"));
    assert!(u.is_away(NOON, &spot("m7i.48xlarge")));
    assert!(!u.is_away(NOON, &spot("m7i-flex.large")));
    assert!(!u.is_away(NOON, &OfferingKey::new("m7i.48xlarge", "us-east-1b", "spot")));
    assert!(!u.is_away(NOON, &OfferingKey::new("m7i.48xlarge", "us-east-1a", "on-demand")));
    u.launched(&spot("m7i.48xlarge"));
    assert!(!u.is_away(NOON, &spot("m7i.4xlarge")));
    assert!(u.is_away(NOON, &spot("m7i.large")), "it failed itself");
}

#[test]
fn the_generation_tells_of_every_change() {
    let mut u = Unavailable::default();
    let mut last = u.generation();
    let mut changed = |u: &Unavailable, yes: bool| {
        assert_eq!(u.generation() != last, yes);
        last = u.generation();
    };
    u.mark(NOON, &spot("m7i.large"));
    changed(&u, true);
    assert_eq!(u.sweep(NOON.plus_seconds(10)), Some(NOON.plus_seconds(180)));
    changed(&u, false);
    assert_eq!(u.sweep(NOON.plus_seconds(180)), None);
    changed(&u, true);
    u.sweep(NOON.plus_seconds(200));
    changed(&u, false);
    u.sweep(NOON.plus_seconds(360));
    changed(&u, true);
    assert_eq!(u.size(), 0);
    u.launched(&spot("m7i.large"));
    changed(&u, false);
    u.shift("use1-az1", Some(NOON.plus_seconds(60)));
    changed(&u, true);
    u.shift("use1-az1", Some(NOON.plus_seconds(60)));
    changed(&u, false);
    assert_eq!(u.sweep(NOON), Some(NOON.plus_seconds(60)));
    changed(&u, false);
    u.sweep(NOON.plus_seconds(60));
    changed(&u, true);
    u.shift_back("use1-az1");
    changed(&u, false);
}

#[test]
fn a_catalogue_loses_what_is_away() {
    let whole = Catalog::embedded("us-east-1", &Settings::default()).unwrap();
    let hidden = |u: &Unavailable| {
        let mut catalog = whole.clone();
        let count = u.hide_in(&mut catalog, NOON);
        let away = catalog.types.iter().flat_map(|t| &t.offerings).filter(|o| !o.available).count();
        assert_eq!(count, away);
        count
    };
    let mut u = Unavailable::default();
    assert_eq!(hidden(&u), 0);
    u.mark(NOON, &spot("m7i.large"));
    u.mark(NOON, &OfferingKey::new("x99.large", "us-east-1a", "spot"));
    assert_eq!(hidden(&u), 1);
    u.shift("us-east-1b", None);
    let of_b = |o: &&Offering| o.zone() == "us-east-1b";
    let in_b = whole.types.iter().flat_map(|t| &t.offerings).filter(of_b).count();
    assert_eq!(hidden(&u), 1 + in_b);
    u.shift_back("us-east-1b");
    u.mark_capacity_type(NOON, "spot");
    let all_spot =
        whole.types.iter().flat_map(|t| &t.offerings).filter(|o| o.capacity_type() == "spot").count();
    assert_eq!(hidden(&u), all_spot);
}

#[test]
fn codes() {
    assert_eq!(CapacityFault::of_code("InsufficientInstanceCapacity"), Some(CapacityFault::Offering));
    assert_eq!(CapacityFault::of_code("InsufficientFreeAddressesInSubnet"), Some(CapacityFault::Subnet));
    assert_eq!(CapacityFault::of_code("UnauthorizedOperation"), None);
}

#[test]
fn it_survives_a_restart() {
    let mut u = Unavailable::default();
    for name in ["m7i.large", "m7i.xlarge", "m7i.2xlarge"] {
        u.mark(NOON, &spot(name));
    }
    u.mark_capacity_type(NOON, "spot");
    u.shift("us-east-1b", None);
    let text = serde_json::to_string(&u).unwrap();
    assert_eq!(serde_json::from_str::<Unavailable>(&text).unwrap(), u);
    assert_eq!(serde_json::from_str::<Unavailable>("{}").unwrap(), Unavailable::default());
}
