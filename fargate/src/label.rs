//! Which profile a pod is to go to, and which labels it needs for that.
//!
//! EKS asks profiles, by name, which of their selectors a pod fits. A pod is sent to one of them by the labels that a selector
//! of it asks for; where a profile that comes before it takes the pod with these labels, too, by the label that names the
//! profile as well.
//!
//! # Invariants
//! - A label that the pod has is never changed.
//! - With the labels of a choice, EKS sends the pod to the profile of the choice.
//! - One label at most is added for each that a selector asks for, and none where one of the pod fits. Of several ways the one
//!   with the fewest labels is the best; of those with as few, that to the first profile by name.
//! - Labels that controllers tell their pods by are never added.

use std::collections::{BTreeMap, BTreeSet};

use stowage_pricing::fargate::{PROFILE_LABEL, Profile, ProfileSelector, choose_profile};
use stowage_pricing::fits_glob;

use crate::policy::Labels;

/// The label that is suggested where no profile takes a pod.
pub const SUGGESTED_LABEL: (&str, &str) = ("stowage.dev/fargate", "true");

/// A profile, and what a pod needs for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice<'p> {
    /// The profile.
    pub profile: &'p Profile,
    /// Labels to be added.
    pub add: Labels,
}

/// Labels that make a pod another one to its controller.
const CONTROLLERS: [&str; 6] = [
    "pod-template-hash",
    "rollouts-pod-template-hash",
    "controller-revision-hash",
    "controller-uid",
    "batch.kubernetes.io/controller-uid",
    "statefulset.kubernetes.io/pod-name",
];

/// Every way to a profile, the best first: one for each profile at most.
///
/// ```
/// use std::collections::BTreeMap;
/// use stowage_fargate::ways;
/// use stowage_pricing::fargate::{Profile, ProfileSelector};
///
/// let labels = |of: &[(&str, &str)]| of.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect::<BTreeMap<_, _>>();
/// let profile = Profile {
///     name: "jobs".into(),
///     selectors: vec![ProfileSelector { namespace: "prod-*".into(), labels: labels(&[("tier", "batch-?")]) }],
///     subnets: vec![],
/// };
/// let profiles = [profile];
/// assert_eq!(ways(&profiles, "prod-eu", &labels(&[]))[0].add, labels(&[("tier", "batch-0")]));
/// assert_eq!(ways(&profiles, "prod-eu", &labels(&[("tier", "batch-7")]))[0].add, labels(&[]));
/// assert!(ways(&profiles, "prod-eu", &labels(&[("tier", "web")])).is_empty());
/// ```
pub fn ways<'p>(profiles: &'p [Profile], namespace: &str, labels: &Labels) -> Vec<Choice<'p>> {
    let named = labels.get(PROFILE_LABEL);
    let mut all = Vec::new();
    for profile in profiles.iter().filter(|p| named.is_none_or(|name| *name == p.name)) {
        let ways = profile.selectors.iter().filter(|s| fits_glob(&s.namespace, namespace));
        let ways = ways.filter_map(|s| missing(s, labels));
        let settled = ways.filter_map(|add| settle(profiles, profile, namespace, labels, add));
        let best = settled.min_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        all.extend(best.map(|add| Choice { profile, add }));
    }
    all.sort_by(|a, b| (a.add.len(), &a.profile.name).cmp(&(b.add.len(), &b.profile.name)));
    all
}

/// These labels, and if need be the one that names the profile; `None` where not even that sends the pod there.
fn settle(
    profiles: &[Profile],
    profile: &Profile,
    namespace: &str,
    labels: &Labels,
    mut add: Labels,
) -> Option<Labels> {
    let goes_to = |add: &Labels| {
        let mut all = labels.clone();
        all.extend(add.iter().map(|(k, v)| (k.clone(), v.clone())));
        choose_profile(profiles, namespace, &all).is_some_and(|p| p.name == profile.name)
    };
    if goes_to(&add) {
        return Some(add);
    }
    // A name that is no label value cannot be named.
    if labels.contains_key(PROFILE_LABEL) || !is_value(&profile.name) {
        return None;
    }
    add.insert(PROFILE_LABEL.to_owned(), profile.name.clone());
    goes_to(&add).then_some(add)
}

/// What a pod lacks of what a selector asks for; `None` where that cannot be added.
fn missing(selector: &ProfileSelector, labels: &Labels) -> Option<Labels> {
    let mut add = Labels::new();
    let is_glob = |text: &str| text.contains(['*', '?']);
    // Those with a key first: one of them may be what another one with a pattern asks for. Then those with a value: what
    // they add may do for those that take any.
    let mut asked: Vec<(&String, &String)> = selector.labels.iter().collect();
    asked.sort_by_key(|(key, value)| (is_glob(key), is_glob(value)));
    for (key, value) in asked {
        let there = |of: &Labels| of.iter().any(|(k, v)| fits_glob(key, k) && fits_glob(value, v));
        if there(labels) || there(&add) {
            continue;
        }
        let taken = |key: &str| labels.contains_key(key) || add.contains_key(key);
        let key =
            made_up(key, |k| is_key(k) && !taken(k) && !CONTROLLERS.contains(&k) && k != PROFILE_LABEL)?;
        let value = made_up(value, is_value)?;
        add.insert(key, value);
    }
    Some(add)
}

/// Something that fits a pattern and is `good`; the pattern itself where it is none.
fn made_up(glob: &str, good: impl Fn(&str) -> bool) -> Option<String> {
    if !glob.contains(['*', '?']) {
        return good(glob).then(|| glob.to_owned());
    }
    let whole = [SUGGESTED_LABEL.0, SUGGESTED_LABEL.1].into_iter().filter(|_| glob == "*").map(str::to_owned);
    // A star may stand for nothing. Whether EKS thinks so is not documented, so one character is tried first.
    let fillings = ('0'..='9').flat_map(|c| {
        let some: String = glob.chars().map(|g| if matches!(g, '*' | '?') { c } else { g }).collect();
        let none: String = glob.chars().filter(|g| *g != '*').map(|g| if g == '?' { c } else { g }).collect();
        [some, none]
    });
    whole.chain(fillings).find(|made| good(made) && fits_glob(glob, made))
}

fn is_word(text: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    text.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

fn is_value(text: &str) -> bool {
    text.is_empty() || is_word(text)
}

fn is_key(text: &str) -> bool {
    let Some((domain, name)) = text.split_once('/') else { return is_word(text) };
    let part = |part: &str| {
        is_word(part) && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    domain.len() <= 253 && domain.split('.').all(part) && is_word(name)
}

/// The selector that a profile would need to take pods of this namespace: of the suggested label alone, so that whoever
/// has the profile decides by a policy which pods go.
pub fn suggested(namespace: &str) -> ProfileSelector {
    let (key, value) = SUGGESTED_LABEL;
    let labels = BTreeMap::from([(key.to_owned(), value.to_owned())]);
    ProfileSelector { namespace: namespace.to_owned(), labels }
}

/// What to say where no profile takes pods of these namespaces, whatever labels are added: the selector to create.
pub fn no_profile(namespaces: &BTreeSet<&str>) -> String {
    let (key, value) = SUGGESTED_LABEL;
    let first = namespaces.iter().next().copied().unwrap_or("*");
    let others = match namespaces.len() {
        0 | 1 => String::new(),
        more => format!(", and as many for the {} other namespaces", more - 1),
    };
    format!(
        "no Fargate profile takes its pods: create one with the selector {{namespace: {first:?}, labels: {{{key:?}: \
         {value:?}}}}}{others}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn profile(name: &str, selectors: &[(&str, &[(&str, &str)])]) -> Profile {
        let selectors = selectors.iter().map(|(namespace, of)| ProfileSelector {
            namespace: (*namespace).to_owned(),
            labels: labels(of),
        });
        Profile { name: name.to_owned(), selectors: selectors.collect(), subnets: Vec::new() }
    }

    fn best(profiles: &[Profile], of: &[(&str, &str)]) -> Option<(String, Labels)> {
        let mut all = ways(profiles, "web", &labels(of));
        (!all.is_empty()).then(|| all.remove(0)).map(|c| (c.profile.name.clone(), c.add))
    }

    #[test]
    fn what_lacks_is_added_and_nothing_else() {
        let one = [profile("p", &[("web", &[("a", "x"), ("b*", "y-?")])])];
        let add = |of: &[(&str, &str)]| best(&one, of).map(|(_, add)| add);
        assert_eq!(add(&[]), Some(labels(&[("a", "x"), ("b0", "y-0")])));
        assert_eq!(add(&[("a", "x"), ("bc", "y-z")]), Some(labels(&[])));
        assert_eq!(add(&[("bc", "other")]), Some(labels(&[("a", "x"), ("b0", "y-0")])));
        // Another value of a label that is asked for is the pod's own.
        assert_eq!(add(&[("a", "z")]), None);
        // Made up beside what is taken.
        assert_eq!(add(&[("a", "x"), ("b0", "no")]), Some(labels(&[("b", "y-0")])));
        assert_eq!(best(&[profile("p", &[("db", &[])])], &[]), None);
        let any = [profile("p", &[("*", &[("*", "*")])])];
        assert_eq!(best(&any, &[]).unwrap().1, labels(&[("stowage.dev/fargate", "true")]));
    }

    #[test]
    fn what_no_label_can_be_is_not_added() {
        for (key, value) in [
            ("a", "b c"),
            ("-a", "b"),
            ("A.b/c", "d"),
            ("a", "-*-"),
            ("pod-template-hash", "1"),
            (PROFILE_LABEL, "p"),
        ] {
            assert_eq!(best(&[profile("p", &[("web", &[(key, value)])])], &[]), None, "{key}={value}");
        }
        let long = "x".repeat(63);
        assert!(best(&[profile("p", &[("web", &[("a", &long)])])], &[]).is_some());
        // The star must stand for nothing then.
        let star = format!("{long}*");
        assert_eq!(
            best(&[profile("p", &[("web", &[("a", &star)])])], &[]).unwrap().1,
            labels(&[("a", &long)])
        );
    }

    #[test]
    fn ties_go_by_name_or_by_the_label_that_names() {
        let two = [profile("b", &[("web", &[("a", "x")])]), profile("a", &[("web", &[("a", "?")])])];
        assert_eq!(best(&two, &[]), Some(("a".to_owned(), labels(&[("a", "0")]))));
        // To have b, it must be named, as a takes what b takes.
        let to_b = ways(&two, "web", &labels(&[])).pop().unwrap();
        assert_eq!(
            (to_b.profile.name.as_str(), to_b.add),
            ("b", labels(&[("a", "x"), (PROFILE_LABEL, "b")]))
        );
        assert_eq!(best(&two, &[(PROFILE_LABEL, "b")]), Some(("b".to_owned(), labels(&[("a", "x")]))));
        assert_eq!(best(&two, &[(PROFILE_LABEL, "c")]), None);
    }

    #[test]
    fn a_condition_says_what_to_create() {
        let said = no_profile(&BTreeSet::from(["shop", "web"]));
        assert!(said.contains(r#"{namespace: "shop", labels: {"stowage.dev/fargate": "true"}}"#), "{said}");
        assert!(said.ends_with("1 other namespaces"), "{said}");
    }
}
