//! The choice of a profile, against one that tries everything.

use proptest::prelude::*;
use stowage_fargate::{Labels, ways};
use stowage_pricing::fargate::{PROFILE_LABEL, Profile, ProfileSelector, choose_profile};

/// Keys and values that may be tried, those that are made up for patterns included.
const KEYS: [&str; 6] = ["a", "b", "ab", "a0", "b0", "stowage.dev/fargate"];
const VALUES: [&str; 6] = ["x", "y", "xy", "x0", "0", "true"];

/// The fewest labels with which a pod goes to this profile, found by trying all sets of up to three.
fn fewest(profiles: &[Profile], goal: &str, labels: &Labels) -> Option<usize> {
    let mut one: Vec<(String, String)> = KEYS
        .iter()
        .filter(|k| !labels.contains_key(**k))
        .flat_map(|k| VALUES.iter().map(|v| ((*k).to_owned(), (*v).to_owned())))
        .collect();
    if !labels.contains_key(PROFILE_LABEL) {
        one.push((PROFILE_LABEL.to_owned(), goal.to_owned()));
    }
    let goes = |add: &[&(String, String)]| {
        let mut all = labels.clone();
        all.extend(add.iter().map(|pair| (*pair).clone()));
        let distinct = all.len() == labels.len() + add.len();
        distinct && choose_profile(profiles, "web", &all).is_some_and(|p| p.name == goal)
    };
    if goes(&[]) {
        return Some(0);
    }
    if one.iter().any(|a| goes(&[a])) {
        return Some(1);
    }
    let pairs = || one.iter().enumerate().flat_map(|(i, a)| one[i + 1..].iter().map(move |b| (i, a, b)));
    if pairs().any(|(_, a, b)| goes(&[a, b])) {
        return Some(2);
    }
    let three = pairs().any(|(i, a, b)| one[i + 1..].iter().any(|c| c > b && goes(&[a, b, c])));
    three.then_some(3)
}

fn pattern(of: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(of).prop_map(str::to_owned)
}

fn selector() -> impl Strategy<Value = ProfileSelector> {
    let pair = (pattern(&["a", "b", "a*", "?", "ab", "b?"]), pattern(&["x", "y", "x*", "?", "*"]));
    (pattern(&["web", "w*", "db", "???"]), prop::collection::btree_map(pair.0, pair.1, 0..3))
        .prop_map(|(namespace, labels)| ProfileSelector { namespace, labels })
}

fn profiles() -> impl Strategy<Value = Vec<Profile>> {
    prop::collection::vec(prop::collection::vec(selector(), 1..3), 1..4).prop_map(|all| {
        let named = |(name, selectors): (&str, Vec<ProfileSelector>)| Profile {
            name: name.to_owned(),
            selectors,
            subnets: Vec::new(),
        };
        ["p", "q", "r"].into_iter().zip(all).map(named).collect()
    })
}

fn own() -> impl Strategy<Value = Labels> {
    let key = prop_oneof![4 => pattern(&["a", "b", "ab", "c"]), 1 => Just(PROFILE_LABEL.to_owned())];
    let labels = prop::collection::btree_map(key, pattern(&["x", "y", "xy", "p", "q"]), 0..3);
    labels.prop_map(|labels| labels.into_iter().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Each way leads where it says and changes nothing that is there. Where up to three labels lead somewhere, a way is found;
    /// where none is needed, none is added.
    #[test]
    fn ways_lead_where_they_say(profiles in profiles(), labels in own()) {
        let found = ways(&profiles, "web", &labels);
        for way in &found {
            prop_assert!(way.add.keys().all(|key| !labels.contains_key(key)));
            let mut all = labels.clone();
            all.extend(way.add.clone());
            let chosen = choose_profile(&profiles, "web", &all).map(|p| p.name.as_str());
            prop_assert_eq!(chosen, Some(way.profile.name.as_str()));
        }
        for profile in &profiles {
            let way = found.iter().find(|way| way.profile.name == profile.name);
            let fewest = fewest(&profiles, &profile.name, &labels);
            match (way, fewest) {
                (Some(way), Some(0)) => prop_assert!(way.add.is_empty(), "{:?}", way.add),
                // One for each that is asked for, and the profile's name.
                (Some(way), _) => prop_assert!(way.add.len() <= 3, "{:?}", way.add),
                (None, Some(n)) => prop_assert!(false, "{n} labels lead to {}", profile.name),
                (None, None) => {}
            }
        }
        let lengths: Vec<usize> = found.iter().map(|way| way.add.len()).collect();
        prop_assert!(lengths.is_sorted());
    }
}
