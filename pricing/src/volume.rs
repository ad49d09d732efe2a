//! How many EBS volumes pods can attach to a node, by instance type.
//!
//! ```text
//! dedicated   EC2's figure                     − root volume − other volumes of the AMI or node class
//! shared      EC2's figure − (interfaces − 1)  − root volume − other volumes of the AMI or node class
//! ```
//!
//! EC2's figure for a shared limit already leaves out the first network interface, instance-store disks and GPUs.
//!
//! # Invariants
//! - Never zero: kubelet reads a limit of zero as none at all, so the EBS CSI driver reports at least one.
//!
//! compat: aws-ebs-csi-driver, `pkg/driver/node.go` (`getVolumesLimit`) and `pkg/cloud/limits`, v1.64.

use crate::embedded;
use crate::facts::TypeFacts;

/// The most that the driver grants on Xen, where Linux names no more devices; EC2's own figure there is 40.
const MOST_ON_XEN: u32 = 39;

/// Beyond this, a bare-metal figure is that of an EBS card of its own, though EC2 calls it shared: the driver lists 48
/// such types, all of them with 39 and more, and no other metal type goes beyond 31.
const MOST_SHARED_ON_METAL: u32 = 31;

/// Interfaces that the VPC CNI attaches to a new node before any pod needs them: the primary one and a warm one.
const INTERFACES_AT_START: u32 = 2;

/// How many volumes an instance type takes, and whether network interfaces count against it.
///
/// ```
/// use stowage_pricing::AttachLimit;
///
/// let m5 = AttachLimit::of_type("m5.large")?.expect("a known type");
/// assert!(m5.shares_with_interfaces());
/// assert_eq!(m5.for_pods(1, 0), 26); // 27, less the root volume
/// assert_eq!(m5.for_pods(3, 0), 24); // two more interfaces take two slots
/// assert_eq!(m5.for_pods(3, 1), 23); // and so does a data volume of the node class
///
/// let m7i = AttachLimit::of_type("m7i.large")?.expect("a known type");
/// assert_eq!([m7i.for_pods(1, 0), m7i.for_pods(3, 0)], [31, 31]);
/// # Ok::<(), stowage_pricing::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttachLimit {
    /// Volumes in all, the root volume included, with one interface attached.
    attachments: u32,
    /// Interfaces that the type can have, where they count.
    shared_interfaces: Option<u32>,
}

impl AttachLimit {
    /// From the facts of a type.
    pub fn of(facts: &TypeFacts) -> Self {
        let xen = facts.hypervisor == "xen";
        let own_card = facts.bare_metal && facts.ebs_attachments > MOST_SHARED_ON_METAL;
        let shares = facts.ebs_shares_slots && !xen && !own_card;
        Self {
            attachments: if xen { facts.ebs_attachments.min(MOST_ON_XEN) } else { facts.ebs_attachments },
            shared_interfaces: shares.then_some(facts.interfaces),
        }
    }

    /// Of a type by name, from the embedded facts; `None` where it is unknown.
    ///
    /// # Errors
    /// Where the embedded data is damaged.
    pub fn of_type(name: &str) -> Result<Option<Self>, crate::Error> {
        Ok(embedded::type_facts()?.iter().find(|facts| facts.name == name).map(Self::of))
    }

    /// Whether each further network interface takes the place of a volume.
    pub const fn shares_with_interfaces(self) -> bool {
        self.shared_interfaces.is_some()
    }

    /// Volumes that pods can attach beside the root volume and `other_volumes` of the node, while `interfaces` are
    /// attached (branch interfaces of pods take no slot). At least one.
    pub fn for_pods(self, interfaces: u32, other_volumes: u32) -> u32 {
        let interfaces = self.shared_interfaces.map_or(0, |most| interfaces.min(most).saturating_sub(1));
        self.attachments.saturating_sub(interfaces).saturating_sub(1).saturating_sub(other_volumes).max(1)
    }

    /// As [`Self::for_pods`] on a new node, which starts with the primary interface and a warm one: what the EBS CSI
    /// driver reports when it starts, and goes on reporting.
    pub fn on_a_new_node(self, other_volumes: u32) -> u32 {
        self.for_pods(INTERFACES_AT_START, other_volumes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> AttachLimit {
        AttachLimit::of_type(name).unwrap().unwrap()
    }

    /// Figures of the driver's own table, less the root volume and, where shared, one further interface.
    #[test]
    fn agrees_with_the_driver() {
        for (name, shared, slots) in [
            ("m5.large", true, 25),
            ("m5d.large", true, 24),
            ("g4dn.xlarge", true, 23),
            ("g5.48xlarge", true, 7),
            ("d3en.12xlarge", true, 1),
            ("inf1.24xlarge", true, 9),
            ("c7gd.metal", true, 29),
            ("m7i.large", false, 31),
            ("p5.48xlarge", false, 63),
            ("m7i.metal-24xl", false, 38),
            ("c8a.metal-48xl", false, 78),
            ("x8i.metal-48xl", false, 63),
            ("m4.large", false, 38),
            ("t2.micro", false, 38),
        ] {
            let limit = of(name);
            assert_eq!((limit.shares_with_interfaces(), limit.on_a_new_node(0)), (shared, slots), "{name}");
        }
    }

    #[test]
    fn interfaces_beyond_what_the_type_has_take_nothing() {
        assert_eq!(of("m5.large").for_pods(u32::MAX, 0), 24);
        assert_eq!(of("m5.large").for_pods(0, 0), 26);
        assert_eq!(of("d3en.12xlarge").for_pods(8, u32::MAX), 1);
    }

    #[test]
    fn unknown_types_have_no_limit() {
        assert_eq!(AttachLimit::of_type("m99.large").unwrap(), None);
    }
}
