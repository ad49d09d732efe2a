//! The cache: its bound, what others are told, and what it makes of bad input.

use proptest::prelude::*;
use serde_json::json;
use stowage_fargate::{
    Before, Cache, DOCUMENT_BYTES, Document, Finding, MOST_DOCUMENTS, Root, Side, Steadiness, Verdict, Why,
    Workload,
};

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
    // Bare pods of a namespace have nothing to do with each other.
    let bare = |template: &str| Workload { root: Root::Bare, ..workload("", template) };
    cache.put(&bare("1"), verdict(9));
    assert!(matches!(cache.before(&bare("2")), Before::Nothing));
    assert!(matches!(cache.before(&bare("1")), Before::Same(_)));
    assert!(cache.latest_of_owner(&bare("2")).is_none());
}

/// As another replica reads them: from all documents, in any order.
fn read(cache: &Cache, now: u64, most: usize) -> Vec<Document> {
    let parts = cache.write(now, most).unwrap();
    assert!(
        parts.all.iter().all(|part| part.json.len() <= most),
        "{:?}",
        parts.all.iter().map(|p| p.json.len())
    );
    parts.all.iter().rev().map(|part| Document::parse(&part.json).unwrap()).collect()
}

#[test]
fn what_is_written_is_read_by_another_one() {
    let mut cache = Cache::default();
    for n in 0..50 {
        cache.put(&workload(&format!("w{n}"), "t"), verdict(n));
    }
    cache.hold(&workload("w7", "t"), 50);
    // Held, and of which nobody has a verdict: a guard that knows of it alone is forgotten with the leader.
    cache.hold(&workload("unseen", "t"), 50);
    let written = read(&cache, 60, DOCUMENT_BYTES);
    let mut other = Cache::default();
    other.apply(&written);
    assert_eq!((other.len(), other.holds(60)), (50, 2));
    for (word, mine) in cache.iter() {
        let theirs = other.iter().find(|(theirs, _)| *theirs == word).unwrap().1;
        assert_eq!(mine, theirs);
    }
    assert_eq!(other.held(&workload("w7", "another"), 60), cache.held(&workload("w7", "t"), 60));
    assert!(other.is_held("shop/Deployment/w7@t", 60) && !other.is_held("shop/Deployment/w8@t", 60));
    // What is no longer said is no longer so, unless it was found later.
    other.put(&workload("before", "t"), verdict(60));
    other.put(&workload("later", "t"), verdict(61));
    other.apply(&written);
    assert!(other.get(&workload("before", "t")).is_none() && other.get(&workload("later", "t")).is_some());
    // The older does not undo the newer.
    other.put(&workload("w1", "t"), verdict(500));
    other.apply(&written);
    assert_eq!(other.get(&workload("w1", "t")).unwrap().looked, 500);
}

/// A change takes three looks in a row: who leads next must know how many there were.
#[test]
fn a_change_on_its_way_is_not_lost_with_the_leader() {
    let nodes = Finding { side: Side::Ec2, lead_percent: Some(50), ..verdict(1).found };
    let to_fargate = verdict(1).found;
    let steady = Steadiness::default();
    let first = Verdict::after(Before::Nothing, nodes, 1, steady);
    let second = Verdict::after(Before::Same(&first), to_fargate.clone(), 2, steady);
    assert_eq!((second.side, second.against), (Side::Ec2, 1));
    let mut cache = Cache::default();
    cache.put(&workload("web", "1"), second);
    let mut next = Cache::default();
    next.apply(&read(&cache, 2, DOCUMENT_BYTES));
    for look in 3..5 {
        let verdict = Verdict::after(next.before(&workload("web", "1")), to_fargate.clone(), look, steady);
        // One look more is not enough, and two are.
        assert_eq!(verdict.side, if look == 3 { Side::Ec2 } else { Side::Fargate });
        next.put(&workload("web", "1"), verdict);
    }
    // The other way as well.
    let third =
        Verdict::after(Before::Same(&verdict(1)), Finding { side: Side::Ec2, ..to_fargate }, 2, steady);
    assert_eq!((third.side, &third.why), (Side::Fargate, &Why::Steady));
    cache.put(&workload("web", "1"), third.clone());
    next = Cache::default();
    next.apply(&read(&cache, 2, DOCUMENT_BYTES));
    assert_eq!(**next.get(&workload("web", "1")).unwrap(), third);
}

#[test]
fn ten_thousand_verdicts_are_told_in_several_documents() {
    let mut cache = Cache::default();
    for n in 0..10_000 {
        cache.put(&workload(&format!("workload-{n}"), "5d4f7c9b"), verdict(n));
    }
    let parts = cache.write(10_000, DOCUMENT_BYTES).unwrap();
    assert!(parts.all.len() > 1 && parts.left_out == 0, "{}", parts.all.len());
    let mut other = Cache::default();
    other.apply(&read(&cache, 10_000, DOCUMENT_BYTES));
    assert_eq!(other.len(), 10_000);
    // While the number of documents changes, the later one counts, whatever lies about of the earlier.
    let mut few = Cache::default();
    for n in 0..100 {
        few.put(&workload(&format!("workload-{n}"), "5d4f7c9b"), verdict(20_000));
    }
    let mut both = read(&few, 20_000, DOCUMENT_BYTES);
    assert_eq!(both.len(), 1);
    both.extend(read(&cache, 10_000, DOCUMENT_BYTES));
    other.apply(&both);
    assert_eq!(other.len(), 100);
    // Where there may be no more, those go that were not asked for the longest; holds never do.
    few.hold(&workload("workload-50", "5d4f7c9b"), 20_000);
    assert!(few.get(&workload("workload-7", "5d4f7c9b")).is_some());
    let parts = few.write(20_000, 700).unwrap();
    assert_eq!(parts.all.len(), MOST_DOCUMENTS as usize);
    let mut small = Cache::default();
    small.apply(&read(&few, 20_000, 700));
    assert_eq!((small.len() + parts.left_out, small.holds(20_000)), (100, 1));
    assert!(parts.left_out > 0 && small.get(&workload("workload-7", "5d4f7c9b")).is_some());
}

/// Another moment of the same is no news: documents of thousands are not written each minute for that.
#[test]
fn what_is_no_news_has_the_same_digest() {
    let mut cache = Cache::default();
    let digest = |cache: &Cache| cache.write(60, DOCUMENT_BYTES).unwrap().all[0].digest;
    for name in ["a", "b"] {
        cache.put(&workload(name, "1"), verdict(5));
    }
    let before = digest(&cache);
    let again = Verdict { looked: 500, ..verdict(5) };
    cache.put(&workload("a", "1"), again);
    cache.get(&workload("b", "1"));
    assert_eq!(digest(&cache), before);
    cache.hold(&workload("a", "1"), 60);
    let held = digest(&cache);
    assert_ne!(held, before);
    let mut other = verdict(5);
    other.found.policy.1 += 1;
    cache.put(&workload("a", "1"), other);
    assert_ne!(digest(&cache), held);
}

#[test]
fn bad_input_is_passed_over_and_counted() {
    let mut cache = Cache::default();
    cache.put(&workload("web", "1"), verdict(5));
    cache.hold(&workload("web", "1"), 5);
    let json = cache.write(60, DOCUMENT_BYTES).unwrap().all.remove(0).json;
    let document: serde_json::Value = serde_json::from_str(&json).unwrap();
    let good = document["verdicts"]["shop/Deployment/web@1"].clone();
    let mut broken = Vec::new();
    for (field, value) in [
        ("p", json!("no-slash")),
        ("p", json!(7)),
        ("w", json!("Because")),
        ("o", json!("Cost")),
        ("s", json!([1, 2])),
        ("s", json!([-1, 2, 3, 4])),
        ("t", json!(["", {}, [1, 2, 3], 4, []])),
        ("t", json!(["p", {}, [1, 2, 3], -4, []])),
        ("t", json!(["p", {}, [1, 2, 3], 4, vec!["need"; 100]])),
        ("t", json!(["p", {}, [1, 2, 3], 4, ["x".repeat(1_000)]])),
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
    let holds = json!({"shop/Deployment/web@": [1, 2], "no word": [1, 2], "shop/Deployment/x@": "soon"});
    let whole = json!({"version": 2, "at": 60, "shard": 0, "of": 1, "holds": holds, "verdicts": all});
    let read = Document::parse(&whole.to_string()).unwrap();
    assert_eq!((read.len(), read.dropped), (2, broken.len() + 3));
    let with = |field: &str, value: serde_json::Value| {
        let mut whole = whole.clone();
        whole[field] = value;
        Document::parse(&whole.to_string())
    };
    assert!(with("version", json!(1)).unwrap_err().contains("version 1"));
    for (field, value) in [("of", json!(0)), ("of", json!(1_000)), ("shard", json!(1)), ("holds", json!(7))] {
        assert!(with(field, value).is_err(), "{field}");
    }
    for text in ["", "{}", "[]", "null"] {
        assert!(Document::parse(text).is_err(), "{text}");
    }
    assert!(Document::parse(&" ".repeat(2 << 20)).unwrap_err().contains("bytes"));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".{0,200}", cut in any::<prop::sample::Index>(), byte in any::<char>()) {
        let _ = Document::parse(&text);
        let mut cache = Cache::default();
        cache.put(&workload("web", "1"), verdict(5));
        cache.hold(&workload("web", "1"), 5);
        let json = cache.write(60, DOCUMENT_BYTES).unwrap().all.remove(0).json;
        let mut damaged: Vec<char> = json.chars().collect();
        let at = cut.index(damaged.len());
        damaged[at] = byte;
        let mut other = Cache::default();
        if let Ok(document) = Document::parse(&damaged.into_iter().collect::<String>()) {
            other.apply(&[document]);
        }
        prop_assert!(other.iter().all(|(_, v)| v.side == Side::Ec2 || v.target().is_some()));
    }
}
