//! Instance profiles for the roles that `EC2NodeClasses` name: one each, named after cluster, class and role.
//!
//! A class that names another role gets another profile. Those that nothing uses any more are removed, an hour after they
//! were made at the earliest; profiles that users made are never touched, as they stand under another path.
//!
//! compat: karpenter-provider-aws v1.14: path, tags, what is collected and when. The hash in the name is this program's own.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt as _;
use sha2::{Digest as _, Sha256};
use stowage_api::crd::Ec2NodeClass;
use stowage_aws::Profile;

use crate::launch::template;

/// A profile that is not used is left alone for so long, in seconds: its first machine may be on its way.
const PROTECTED: i64 = 60 * 60;

/// Where profiles of a cluster stand.
pub fn path(region: &str, cluster: &str) -> String {
    format!("/karpenter/{region}/{cluster}/")
}

/// Where the profiles of a class stand.
pub fn path_of(class: &Ec2NodeClass, region: &str, cluster: &str) -> String {
    format!("{}{}/", path(region, cluster), class.uid().unwrap_or_default())
}

/// The name of the profile of a class for its role.
pub fn name(class: &Ec2NodeClass, role: &str, region: &str, cluster: &str) -> String {
    let of = [region, &class.uid().unwrap_or_default(), role].join("\n");
    let digest = Sha256::digest(of.as_bytes());
    let hash = digest.iter().take(8).fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte));
    format!("{cluster}_{hash}")
}

/// Tags of the profiles of a class.
pub fn tags(class: &Ec2NodeClass, region: &str, cluster: &str) -> BTreeMap<String, String> {
    let mut tags = template::tags(class, cluster);
    tags.insert("topology.kubernetes.io/region".to_owned(), region.to_owned());
    tags
}

/// The role's name, where a class gives it with its path or as an ARN.
pub fn role(spec: &str) -> &str {
    spec.rsplit('/').next().unwrap_or(spec)
}

/// Profiles of a cluster that nothing uses: neither a class nor a machine, `now` in seconds since 1970.
pub fn unused<'p>(all: &'p [Profile], used: &BTreeSet<String>, now: i64) -> Vec<&'p Profile> {
    let is_old = |profile: &&Profile| now - profile.created >= PROTECTED;
    all.iter().filter(is_old).filter(|profile| !used.contains(&profile.name)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn class(uid: &str) -> Ec2NodeClass {
        serde_json::from_value(json!({
            "apiVersion": "karpenter.k8s.aws/v1", "kind": "EC2NodeClass",
            "metadata": {"name": "default", "uid": uid},
            "spec": {"amiSelectorTerms": [], "subnetSelectorTerms": [], "securityGroupSelectorTerms": [],
                     "role": "nodes", "tags": {"team": "a"}},
        }))
        .expect("a class")
    }

    #[test]
    fn a_profile_is_of_one_class_and_one_role() {
        let of = |uid: &str, role: &str| name(&class(uid), role, "us-east-1", "shop");
        assert!(of("1", "nodes").starts_with("shop_") && of("1", "nodes").len() <= "shop_".len() + 20);
        assert_eq!(of("1", "nodes"), of("1", "nodes"));
        assert_ne!(of("1", "nodes"), of("2", "nodes"));
        assert_ne!(of("1", "nodes"), of("1", "others"));
        assert_eq!(path_of(&class("1-2"), "us-east-1", "shop"), "/karpenter/us-east-1/shop/1-2/");
        let tags = tags(&class("1"), "us-east-1", "shop");
        assert_eq!(tags["topology.kubernetes.io/region"], "us-east-1");
        assert_eq!((tags["team"].as_str(), tags["kubernetes.io/cluster/shop"].as_str()), ("a", "owned"));
        assert_eq!(role("arn:aws:iam::123456789012:role/eks/nodes"), "nodes");
    }

    #[test]
    fn only_old_profiles_that_nothing_uses_go() {
        let profile = |name: &str, created| Profile { name: name.to_owned(), created, ..Profile::default() };
        let all = [profile("used", 0), profile("new", 3_601), profile("old", 3_600)];
        let used = BTreeSet::from(["used".to_owned()]);
        let gone: Vec<&str> = unused(&all, &used, 7_200).iter().map(|p| p.name.as_str()).collect();
        assert_eq!(gone, ["old"]);
    }
}
