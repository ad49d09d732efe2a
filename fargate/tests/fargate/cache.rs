//! The cache: its bound, what others are told, and what it makes of bad input.

use proptest::prelude::*;
use serde_json::json;
use stowage_fargate::{Before, Cache, Root, Side, Taken, Verdict, Workload};

use crate::{policy, to_fargate};

fn workload(name: &str, template: &str) -> Workload {
    let root = Root::Controller("Deployment".to_owned(), name.to_owned());
    Workload { namespace: "shop".to_owned(), root, template: template.to_owned() }
}

fn verdict(at: u64) -> Verdict {
    to_fargate(&policy(Some("shop"), "p", json!({"mode": "WhenCheaper"})), "jobs", at)
}

#[test]
fn those_go_that_were_not_asked_for_the_longest() {
    let mut cache = Cache::new(100);
    for n in 0..100 {
        cache.put(&workload(&format!("w{n}"), "t"), verdict(n));
    }
    assert!(cache.get(&workload("w0", "t")).is_some());
    for n in 100..1_000 {
        cache.put(&workload(&format!("w{n}"), "t"), verdict(n));
        assert!(cache.len() <= 100);
        assert!(cache.get(&workload("w0", "t")).is_some(), "w0 is asked for all the time");
    }
    assert!(cache.get(&workload("w1", "t")).is_none() && cache.evicted() >= 900);
}

#[test]
fn another_template_is_another_workload_but_not_unknown() {
    let mut cache = Cache::default();
    cache.put(&workload("web", "1"), verdict(5));
    cache.put(&workload("web", "2"), verdict(7));
    cache.put(&workload("web-b", "1"), verdict(9));
    assert!(matches!(cache.before(&workload("web", "1")), Before::Same(v) if v.looked == 5));
    assert!(matches!(cache.before(&workload("web", "3")), Before::OtherTemplate(v) if v.looked == 7));
    assert!(matches!(cache.before(&workload("we", "1")), Before::Nothing));
}

#[test]
fn what_is_written_is_read_by_another_one() {
    let mut cache = Cache::default();
    for n in 0..50 {
        cache.put(&workload(&format!("w{n}"), "t"), verdict(n));
    }
    cache.change(&workload("w7", "t"), |v| v.hold(100));
    let (json, left_out) = cache.to_json(60, 1 << 20).unwrap();
    assert_eq!(left_out, 0);
    let mut other = Cache::default();
    assert_eq!(other.take(&json), Taken { read: 50, dropped: 0 });
    for (word, mine) in cache.iter() {
        let theirs = other.get_word(word).unwrap();
        assert_eq!((mine.side, &mine.why, mine.target()), (theirs.side, &theirs.why, theirs.target()));
        assert_eq!(
            (mine.looked, mine.held_until, mine.strikes),
            (theirs.looked, theirs.held_until, theirs.strikes)
        );
        assert_eq!(mine.found.policy, theirs.found.policy);
    }
    // What is no longer said is no longer so, unless it was found later.
    other.put(&workload("before", "t"), verdict(60));
    other.put(&workload("later", "t"), verdict(61));
    other.take(&json);
    assert!(other.get(&workload("before", "t")).is_none());
    assert!(other.change(&workload("later", "t"), |_| ()).is_some());
    other = Cache::default();
    other.take(&json);
    // The older does not undo the newer.
    other.put(&workload("w1", "t"), verdict(500));
    other.take(&json);
    assert_eq!(other.get(&workload("w1", "t")).unwrap().looked, 500);
    assert_eq!(other.to_json(60, 1 << 20).unwrap().0.len(), json.len() + 4);
}

#[test]
fn ten_thousand_verdicts_fit_little_room_and_a_limit_is_kept() {
    let mut cache = Cache::default();
    for n in 0..10_000 {
        cache.put(&workload(&format!("workload-{n}"), "5d4f7c9b"), verdict(n));
    }
    let (json, left_out) = cache.to_json(60, 900 << 10).unwrap();
    assert!(json.len() <= 900 << 10);
    let mut other = Cache::default();
    let taken = other.take(&json);
    assert_eq!((taken.read + left_out, taken.dropped), (10_000, 0));
    assert!(taken.read > 4_000, "{}", taken.read);
    // Those that were asked for last.
    assert!(other.get(&workload("workload-9999", "5d4f7c9b")).is_some());
}

#[test]
fn bad_input_is_passed_over_and_counted() {
    let mut cache = Cache::default();
    cache.put(&workload("web", "1"), verdict(5));
    let (json, _) = cache.to_json(60, 1 << 20).unwrap();
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    let good = document["verdicts"]["shop/Deployment/web@1"].clone();
    let mut broken = Vec::new();
    for (field, value) in [
        ("p", json!("no-slash")),
        ("p", json!(7)),
        ("w", json!("Because")),
        ("s", json!([1, 2])),
        ("s", json!([-1, 2, 3, 4, 5, 6])),
        ("t", json!(["", {}, [1, 2, 3], 4])),
        ("t", json!(["p", {}, [1, 2, 3], -4])),
        ("t", json!(null)),
        ("f", json!("yes")),
    ] {
        let mut one = good.clone();
        one[field] = value;
        broken.push(one);
    }
    let mut all = serde_json::Map::new();
    for (n, one) in broken.iter().enumerate() {
        all.insert(format!("shop/Deployment/w{n}@1"), one.clone());
    }
    all.insert("no word".to_owned(), good.clone());
    all.insert("shop/Deployment/fine@1".to_owned(), good);
    let mut other = Cache::default();
    let taken = other.take(&json!({"version": 1, "at": 60, "verdicts": all}).to_string());
    assert_eq!(taken, Taken { read: 1, dropped: broken.len() + 1 });
    for text in ["", "{}", "[]", "null", r#"{"version": 2, "at": 1, "verdicts": {}}"#, r#"{"version": 1}"#] {
        assert_eq!(other.take(text), Taken { read: 0, dropped: 1 }, "{text}");
    }
    assert_eq!(other.take(&" ".repeat(2 << 20)).dropped, 1);
    assert_eq!(other.len(), 1);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}", cut in any::<prop::sample::Index>(), byte in any::<char>()) {
        let mut cache = Cache::default();
        cache.take(&text);
        cache.put(&workload("web", "1"), verdict(5));
        let (json, _) = cache.to_json(60, 1 << 20).unwrap();
        let mut damaged: Vec<char> = json.chars().collect();
        let at = cut.index(damaged.len());
        damaged[at] = byte;
        let mut other = Cache::default();
        let taken = other.take(&damaged.into_iter().collect::<String>());
        prop_assert!(taken.read + taken.dropped >= 1);
        prop_assert!(other.iter().all(|(_, v)| v.side == Side::Ec2 || v.target().is_some()));
    }
}
