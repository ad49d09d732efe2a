//! Fargate profiles: which pods EKS sends to Fargate, and into which zones.
//!
//! Source: EKS user guide, "Define which Pods use AWS Fargate when launched".

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::aws::offerings::Subnet;
use crate::aws::{Answer, AnswerError, PassedOver, pages};
use crate::glob::fits_glob;

/// Label of a pod: the profile that is to take it.
pub const PROFILE_LABEL: &str = "eks.amazonaws.com/fargate-profile";

/// Selectors that a profile has at most.
pub const MAX_SELECTORS: usize = 5;
/// Labels that a selector has at most.
pub const MAX_LABELS: usize = 5;

/// A profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// What it takes: pods that fit one of these.
    pub selectors: Vec<ProfileSelector>,
    /// Subnets that its pods run in.
    pub subnets: Vec<String>,
}

/// A namespace, and labels that must all be there; with `*` and `?`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileSelector {
    /// Namespace.
    #[serde(default)]
    pub namespace: String,
    /// Labels, keys and values.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

impl ProfileSelector {
    /// Whether it takes a pod.
    pub fn takes(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        let found =
            |key: &str, value: &str| labels.iter().any(|(k, v)| fits_glob(key, k) && fits_glob(value, v));
        fits_glob(&self.namespace, namespace) && self.labels.iter().all(|(key, value)| found(key, value))
    }
}

impl Profile {
    /// Whether it takes a pod.
    pub fn takes(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        self.selectors.iter().any(|s| s.takes(namespace, labels))
    }

    /// The zones of its subnets; `None` where one of them is unknown.
    pub fn zones(&self, subnets: &[Subnet]) -> Option<BTreeSet<String>> {
        let zone = |id: &String| subnets.iter().find(|s| s.id == *id).map(|s| s.zone.clone());
        self.subnets.iter().map(zone).collect()
    }
}

/// The profile that takes a pod: the one that its label names, if that takes it; without the label, of those that do the
/// first by name.
///
/// ```
/// use std::collections::BTreeMap;
/// use stowage_pricing::fargate::{Profile, ProfileSelector, choose_profile};
///
/// let profile = |name: &str, namespace: &str| Profile {
///     name: name.into(),
///     selectors: vec![ProfileSelector { namespace: namespace.into(), labels: BTreeMap::new() }],
///     subnets: Vec::new(),
/// };
/// let profiles = [profile("z", "batch-*"), profile("b", "batch-?")];
/// let chosen = |namespace: &str| choose_profile(&profiles, namespace, &BTreeMap::new()).map(|p| p.name.as_str());
/// assert_eq!([chosen("batch-1"), chosen("batch-10"), chosen("web")], [Some("b"), Some("z"), None]);
/// ```
pub fn choose_profile<'p>(
    profiles: &'p [Profile],
    namespace: &str,
    labels: &BTreeMap<String, String>,
) -> Option<&'p Profile> {
    let named = labels.get(PROFILE_LABEL);
    profiles
        .iter()
        .filter(|p| named.is_none_or(|name| *name == p.name) && p.takes(namespace, labels))
        .min_by(|a, b| a.name.cmp(&b.name))
}

/// The active profiles of answers of `DescribeFargateProfile`, one for each, by name.
///
/// # Errors
/// Where the bytes are no such answers.
pub fn parse_profiles(bytes: &[u8]) -> Result<Answer<Vec<Profile>>, AnswerError> {
    const CALL: &str = "DescribeFargateProfile";
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Described {
        fargate_profile_name: String,
        #[serde(default)]
        selectors: Vec<ProfileSelector>,
        #[serde(default)]
        subnets: Vec<String>,
        #[serde(default)]
        status: String,
    }
    let mut answer = Answer { found: Vec::new(), passed_over: Vec::new(), complete: true };
    for (at, mut page) in pages(bytes, CALL)?.into_iter().enumerate() {
        let Some(profile) = page.remove("fargateProfile") else {
            let problem = "has no fargateProfile: is it the answer to another call?".to_owned();
            return Err(AnswerError::Unreadable { call: CALL, problem });
        };
        let read = serde_json::from_value::<Described>(profile);
        let (what, why) = match read {
            Ok(of) if !matches!(of.status.as_str(), "" | "ACTIVE") => {
                (of.fargate_profile_name, format!("is {}", crate::aws::quoted(&of.status)))
            }
            Ok(of) if of.selectors.len() > MAX_SELECTORS => {
                (of.fargate_profile_name, format!("has more than {MAX_SELECTORS} selectors"))
            }
            Ok(of) if of.selectors.iter().any(|s| s.labels.len() > MAX_LABELS) => {
                (of.fargate_profile_name, format!("has a selector with more than {MAX_LABELS} labels"))
            }
            Ok(of) => {
                answer.found.push(Profile {
                    name: of.fargate_profile_name,
                    selectors: of.selectors,
                    subnets: of.subnets,
                });
                continue;
            }
            Err(error) => (format!("answer {at}"), error.to_string()),
        };
        answer.passed_over.push(PassedOver { what, why });
    }
    answer.found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn selector(namespace: &str, of: &[(&str, &str)]) -> ProfileSelector {
        ProfileSelector { namespace: namespace.to_owned(), labels: labels(of) }
    }

    #[test]
    fn all_labels_must_be_there_wildcards_or_not() {
        let tiers = selector("prod-*", &[("tier", "web-?"), ("team*", "*")]);
        for (namespace, of, takes) in [
            ("prod-eu", &[("tier", "web-1"), ("team.io/name", "a")][..], true),
            ("prod-eu", &[("tier", "web-10"), ("team.io/name", "a")], false),
            ("prod-eu", &[("tier", "web-1")], false),
            ("prod", &[("tier", "web-1"), ("team", "")], false),
            ("staging", &[("tier", "web-1"), ("team", "a")], false),
        ] {
            assert_eq!(tiers.takes(namespace, &labels(of)), takes, "{namespace} {of:?}");
        }
        // No regular expressions.
        assert!(!selector("prod.*", &[]).takes("prod-eu", &labels(&[])));
    }

    #[test]
    fn the_label_names_a_profile_that_must_take_the_pod_too() {
        let profiles = ["b", "a", "c"].map(|name| Profile {
            name: name.to_owned(),
            selectors: vec![selector(if name == "c" { "other" } else { "web" }, &[])],
            subnets: Vec::new(),
        });
        let chosen =
            |of: &[(&str, &str)]| choose_profile(&profiles, "web", &labels(of)).map(|p| p.name.clone());
        assert_eq!(chosen(&[]).as_deref(), Some("a"));
        assert_eq!(chosen(&[(PROFILE_LABEL, "b")]).as_deref(), Some("b"));
        assert_eq!(chosen(&[(PROFILE_LABEL, "c")]), None);
    }

    #[test]
    fn profiles_are_read_and_their_zones_found() {
        let answer = parse_profiles(
            br#"{"fargateProfile": {"fargateProfileName": "web", "status": "ACTIVE", "subnets": ["subnet-a", "subnet-b"],
                    "selectors": [{"namespace": "web", "labels": {"fargate": "yes"}}], "podExecutionRoleArn": "arn"}}
                {"fargateProfile": {"fargateProfileName": "old", "status": "DELETING"}}
                {"fargateProfile": {"fargateProfileName": "wide", "selectors": [{}, {}, {}, {}, {}, {}]}}
                {"fargateProfile": {"fargateProfileName": "deep", "selectors": [{"namespace": "x",
                    "labels": {"a": "", "b": "", "c": "", "d": "", "e": "", "f": ""}}]}}
                {"fargateProfile": {"selectors": []}}"#,
        )
        .unwrap();
        assert_eq!(answer.found.len(), 1);
        let said: Vec<String> = answer.passed_over.iter().map(ToString::to_string).collect();
        assert_eq!(
            said[..3],
            [
                "old: is DELETING",
                "wide: has more than 5 selectors",
                "deep: has a selector with more than 5 labels",
            ]
        );
        assert!(said[3].starts_with("answer 4: missing field"));
        let subnet = |id: &str, zone: &str| Subnet {
            id: id.to_owned(),
            zone: zone.to_owned(),
            zone_id: String::new(),
            free_addresses: None,
        };
        let zones =
            |subnets: &[Subnet]| answer.found[0].zones(subnets).map(|z| z.into_iter().collect::<Vec<_>>());
        assert_eq!(
            zones(&[subnet("subnet-a", "z1"), subnet("subnet-b", "z2")]),
            Some(vec!["z1".to_owned(), "z2".to_owned()])
        );
        assert_eq!(zones(&[subnet("subnet-a", "z1")]), None);
    }
}
