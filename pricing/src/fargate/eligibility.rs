//! Whether a pod can run on Fargate: every rule of EKS, each with its reason.
//!
//! Source: EKS user guide, "Simplify compute management with AWS Fargate" (considerations) and "Define which Pods use AWS
//! Fargate when launched".

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::profile::{Profile, choose_profile};
use super::shape::{MAX_DISK_GIB, PodRequest, Shape, TooLarge};
use crate::aws::offerings::Subnet;

/// Where a volume of a pod comes from, as far as Fargate cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VolumeSource {
    /// `emptyDir`, `configMap`, `secret`, `projected`, `downwardAPI`.
    Kubernetes,
    /// A claim that is bound to an EFS file system that was there before.
    StaticEfs,
    /// A claim that is not bound yet, or was provisioned for it.
    Dynamic,
    /// An EBS volume.
    Ebs,
    /// A Lustre file system.
    Lustre,
    /// A folder of the node.
    HostPath,
    /// Anything else.
    Other,
}

/// What about a pod decides whether it can run on Fargate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a field of a pod that stands for itself")]
pub struct PodTraits {
    /// Namespace.
    pub namespace: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// What it asks for.
    pub request: PodRequest,
    /// A `DaemonSet` owns it.
    pub of_daemon_set: bool,
    /// A container is privileged.
    pub privileged: bool,
    /// It uses the node's network.
    pub host_network: bool,
    /// It shares the node's processes or inter-process communication.
    pub host_namespaces: bool,
    /// A container has a port of the node.
    pub host_port: bool,
    /// Names of resources that it asks for beside CPU, memory and disk: `nvidia.com/gpu`.
    pub extended_resources: BTreeSet<String>,
    /// It runs on no amd64 node.
    pub refuses_amd64: bool,
    /// It runs on no Linux node.
    pub refuses_linux: bool,
    /// It runs on spot only.
    pub refuses_on_demand: bool,
    /// Keys of other node labels that it needs and Fargate's nodes do not have.
    pub missing_labels: BTreeSet<String>,
    /// The zones that it may run in, where it says; empty where it does not.
    pub zones: BTreeSet<String>,
    /// It must be spread.
    pub must_spread: bool,
    /// It must, or must not, be near other pods.
    pub must_be_near_or_far: bool,
    /// Its volumes.
    pub volumes: BTreeSet<VolumeSource>,
    /// It is marked not to be disrupted.
    pub do_not_disrupt: bool,
    /// A `Job` owns it that leaves finished pods lying.
    pub of_job_without_ttl: bool,
    /// A load balancer finds it by its node.
    pub behind_instance_targets: bool,
}

/// Why a pod cannot run on Fargate, or should not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ineligible {
    /// No profile takes it.
    NoProfile,
    /// A `DaemonSet` owns it.
    DaemonSet,
    /// It is privileged.
    Privileged,
    /// It uses the node's network.
    HostNetwork,
    /// It shares namespaces of the node.
    HostNamespaces,
    /// It uses a port of the node.
    HostPort,
    /// It asks for a resource that Fargate has none of.
    Resource(String),
    /// It needs arm64.
    Architecture,
    /// It needs Windows.
    OperatingSystem,
    /// It needs spot.
    Spot,
    /// It needs a node label.
    Label(String),
    /// It has a volume that Fargate cannot mount.
    Volume(VolumeSource),
    /// It must be spread.
    Spread,
    /// It has rules on pods that it is near to.
    Affinity,
    /// Its profile has subnets in other zones, or in zones that are not known.
    Zone {
        /// The profile.
        profile: String,
    },
    /// It is too large.
    TooLarge(TooLarge),
    /// It must not be disrupted, and Fargate patches by replacing pods.
    DoNotDisrupt,
    /// It would be billed after it has finished.
    FinishedJob,
    /// Load balancers reach Fargate pods by address only.
    InstanceTargets,
    /// Rules of other pods ask where it is.
    Concerned,
}

impl fmt::Display for Ineligible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProfile => f.write_str("no Fargate profile selects it"),
            Self::DaemonSet => f.write_str("Fargate runs no DaemonSets"),
            Self::Privileged => f.write_str("Fargate runs no privileged containers"),
            Self::HostNetwork => f.write_str("Fargate has no host network"),
            Self::HostNamespaces => f.write_str("Fargate shares no processes of the host"),
            Self::HostPort => f.write_str("Fargate has no host ports"),
            Self::Resource(name) => write!(f, "Fargate has no {}", name.chars().take(80).collect::<String>()),
            Self::Architecture => f.write_str("Fargate on EKS has no arm64"),
            Self::OperatingSystem => f.write_str("Fargate on EKS has no Windows"),
            Self::Spot => f.write_str("Fargate on EKS has no spot"),
            Self::Label(key) => {
                write!(f, "Fargate's nodes have no label {}", key.chars().take(80).collect::<String>())
            }
            Self::Concerned => {
                f.write_str("rules of other pods ask where it is, and on Fargate nobody knows")
            }
            Self::Volume(VolumeSource::Dynamic) => {
                f.write_str("a claim is not bound to an EFS file system that was there before")
            }
            Self::Volume(VolumeSource::Ebs) => f.write_str("Fargate mounts no EBS volumes"),
            Self::Volume(VolumeSource::Lustre) => f.write_str("Fargate mounts no FSx for Lustre"),
            Self::Volume(VolumeSource::HostPath) => f.write_str("Fargate has no folders of the host"),
            Self::Volume(_) => f.write_str("Fargate cannot mount one of its volumes"),
            Self::Spread => f.write_str("Fargate does not honour topologySpreadConstraints"),
            Self::Affinity => f.write_str("Fargate does not honour pod affinity and anti-affinity"),
            Self::Zone { profile } => {
                write!(f, "Fargate profile {profile} may place it outside of the zones that it needs")
            }
            Self::TooLarge(TooLarge::Cpu) => f.write_str("it asks for more than 16 vCPUs"),
            Self::TooLarge(TooLarge::Memory) => f.write_str("it asks for more than 120 GiB less 256 MiB"),
            Self::TooLarge(TooLarge::Disk) => write!(f, "it asks for more than {MAX_DISK_GIB} GiB of disk"),
            Self::DoNotDisrupt => f.write_str("it must not be disrupted, and Fargate replaces pods to patch"),
            Self::FinishedJob => {
                f.write_str("its Job sets no ttlSecondsAfterFinished, so it would be billed when done")
            }
            Self::InstanceTargets => {
                f.write_str("a load balancer finds it by its node, and Fargate pods only by address")
            }
        }
    }
}

/// Where and how a pod would run on Fargate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fit {
    /// The profile that takes it.
    pub profile: String,
    /// What is provisioned and billed.
    pub shape: Shape,
}

/// Whether a pod can run on Fargate with these profiles; `subnets` tell their zones.
///
/// ```
/// use stowage_pricing::fargate::{PodTraits, Profile, ProfileSelector, eligible};
///
/// let profiles = [Profile {
///     name: "jobs".into(),
///     selectors: vec![ProfileSelector { namespace: "jobs".into(), ..Default::default() }],
///     subnets: vec![],
/// }];
/// let mut pod = PodTraits { namespace: "jobs".into(), ..Default::default() };
/// assert_eq!(eligible(&pod, &profiles, &[]).map(|fit| fit.shape.cpu_millis), Ok(250));
/// pod.host_port = true;
/// pod.privileged = true;
/// let why = eligible(&pod, &profiles, &[]).unwrap_err();
/// assert_eq!(why[0].to_string(), "Fargate runs no privileged containers");
/// assert_eq!(why.len(), 2);
/// ```
///
/// # Errors
/// Every reason why not.
pub fn eligible(pod: &PodTraits, profiles: &[Profile], subnets: &[Subnet]) -> Result<Fit, Vec<Ineligible>> {
    let profile = choose_profile(profiles, &pod.namespace, &pod.labels);
    let mut why: Vec<Ineligible> = [
        (profile.is_none(), Ineligible::NoProfile),
        (pod.of_daemon_set, Ineligible::DaemonSet),
        (pod.privileged, Ineligible::Privileged),
        (pod.host_network, Ineligible::HostNetwork),
        (pod.host_namespaces, Ineligible::HostNamespaces),
        (pod.host_port, Ineligible::HostPort),
        (pod.refuses_amd64, Ineligible::Architecture),
        (pod.refuses_linux, Ineligible::OperatingSystem),
        (pod.refuses_on_demand, Ineligible::Spot),
        (pod.must_spread, Ineligible::Spread),
        (pod.must_be_near_or_far, Ineligible::Affinity),
        (pod.do_not_disrupt, Ineligible::DoNotDisrupt),
        (pod.of_job_without_ttl, Ineligible::FinishedJob),
        (pod.behind_instance_targets, Ineligible::InstanceTargets),
    ]
    .into_iter()
    .filter(|(is, _)| *is)
    .map(|(_, reason)| reason)
    .collect();
    why.extend(pod.missing_labels.iter().cloned().map(Ineligible::Label));
    why.extend(pod.extended_resources.iter().cloned().map(Ineligible::Resource));
    let mountable = [VolumeSource::Kubernetes, VolumeSource::StaticEfs];
    why.extend(pod.volumes.iter().filter(|v| !mountable.contains(v)).copied().map(Ineligible::Volume));
    if let Some(profile) = profile.filter(|_| !pod.zones.is_empty()) {
        let known = profile.zones(subnets).filter(|zones| !zones.is_empty());
        if !known.is_some_and(|zones| zones.is_subset(&pod.zones)) {
            why.push(Ineligible::Zone { profile: profile.name.clone() });
        }
    }
    let shape = Shape::for_pod(pod.request);
    if let Err(too_large) = &shape {
        why.extend(too_large.iter().copied().map(Ineligible::TooLarge));
    }
    match (profile, shape) {
        (Some(profile), Ok(shape)) if why.is_empty() => Ok(Fit { profile: profile.name.clone(), shape }),
        _ => Err(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fargate::ProfileSelector;

    fn profiles() -> Vec<Profile> {
        let selectors = vec![ProfileSelector { namespace: "web".to_owned(), labels: BTreeMap::new() }];
        vec![Profile { name: "web".to_owned(), selectors, subnets: vec!["s-a".to_owned(), "s-b".to_owned()] }]
    }

    fn subnets() -> Vec<Subnet> {
        [("s-a", "a"), ("s-b", "b")]
            .map(|(id, zone)| Subnet {
                id: id.to_owned(),
                zone: zone.to_owned(),
                zone_id: String::new(),
                free_addresses: None,
            })
            .to_vec()
    }

    fn plain() -> PodTraits {
        PodTraits { namespace: "web".to_owned(), ..PodTraits::default() }
    }

    fn zones(of: &[&str]) -> BTreeSet<String> {
        of.iter().map(|z| (*z).to_owned()).collect()
    }

    #[test]
    fn a_plain_pod_fits() {
        let volumes = BTreeSet::from([VolumeSource::Kubernetes, VolumeSource::StaticEfs]);
        let pod = PodTraits { volumes, zones: zones(&["a", "b", "c"]), ..plain() };
        let fit = eligible(&pod, &profiles(), &subnets()).unwrap();
        assert_eq!((fit.profile.as_str(), fit.shape.memory_mib), ("web", 512));
    }

    /// One pod for each rule, and its reason.
    #[test]
    fn every_rule_has_its_reason() {
        let large = |cpu_millis, memory_gib: u64, disk_gib: u64| PodRequest {
            cpu_millis,
            memory_bytes: memory_gib << 30,
            disk_bytes: disk_gib << 30,
        };
        let cases = [
            (PodTraits { namespace: "db".to_owned(), ..plain() }, "no Fargate profile selects it"),
            (PodTraits { of_daemon_set: true, ..plain() }, "Fargate runs no DaemonSets"),
            (PodTraits { privileged: true, ..plain() }, "Fargate runs no privileged containers"),
            (PodTraits { host_network: true, ..plain() }, "Fargate has no host network"),
            (PodTraits { host_port: true, ..plain() }, "Fargate has no host ports"),
            (PodTraits { host_namespaces: true, ..plain() }, "Fargate shares no processes of the host"),
            (PodTraits { missing_labels: zones(&["disk"]), ..plain() }, "Fargate's nodes have no label disk"),
            (
                PodTraits { extended_resources: zones(&["nvidia.com/gpu"]), ..plain() },
                "Fargate has no nvidia.com/gpu",
            ),
            (PodTraits { refuses_amd64: true, ..plain() }, "Fargate on EKS has no arm64"),
            (PodTraits { refuses_linux: true, ..plain() }, "Fargate on EKS has no Windows"),
            (PodTraits { refuses_on_demand: true, ..plain() }, "Fargate on EKS has no spot"),
            (PodTraits { must_spread: true, ..plain() }, "Fargate does not honour topologySpreadConstraints"),
            (
                PodTraits { must_be_near_or_far: true, ..plain() },
                "Fargate does not honour pod affinity and anti-affinity",
            ),
            (
                PodTraits { zones: zones(&["a"]), ..plain() },
                "Fargate profile web may place it outside of the zones that it needs",
            ),
            (PodTraits { request: large(17_000, 1, 0), ..plain() }, "it asks for more than 16 vCPUs"),
            (
                PodTraits { request: large(0, 120, 0), ..plain() },
                "it asks for more than 120 GiB less 256 MiB",
            ),
            (PodTraits { request: large(0, 1, 200), ..plain() }, "it asks for more than 175 GiB of disk"),
            (
                PodTraits { do_not_disrupt: true, ..plain() },
                "it must not be disrupted, and Fargate replaces pods to patch",
            ),
            (
                PodTraits { of_job_without_ttl: true, ..plain() },
                "its Job sets no ttlSecondsAfterFinished, so it would be billed when done",
            ),
            (
                PodTraits { behind_instance_targets: true, ..plain() },
                "a load balancer finds it by its node, and Fargate pods only by address",
            ),
        ];
        for (pod, expected) in cases {
            let why = eligible(&pod, &profiles(), &subnets()).unwrap_err();
            assert_eq!(why.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
        }
        for (volume, expected) in [
            (VolumeSource::Dynamic, "a claim is not bound to an EFS file system that was there before"),
            (VolumeSource::Ebs, "Fargate mounts no EBS volumes"),
            (VolumeSource::Lustre, "Fargate mounts no FSx for Lustre"),
            (VolumeSource::HostPath, "Fargate has no folders of the host"),
            (VolumeSource::Other, "Fargate cannot mount one of its volumes"),
        ] {
            let pod = PodTraits { volumes: BTreeSet::from([volume]), ..plain() };
            assert_eq!(eligible(&pod, &profiles(), &subnets()).unwrap_err()[0].to_string(), expected);
        }
    }

    #[test]
    fn a_zone_that_is_not_known_is_no_zone_that_is_needed() {
        let pod = PodTraits { zones: zones(&["a", "b"]), ..plain() };
        assert!(eligible(&pod, &profiles(), &subnets()).is_ok());
        assert!(eligible(&pod, &profiles(), &subnets()[..1]).is_err());
        assert!(eligible(&plain(), &profiles(), &[]).is_ok());
    }

    #[test]
    fn all_reasons_are_given() {
        let pod = PodTraits {
            of_daemon_set: true,
            host_network: true,
            refuses_amd64: true,
            ..PodTraits::default()
        };
        assert_eq!(eligible(&pod, &[], &[]).unwrap_err().len(), 4);
    }
}
