//! What EC2 says of its types, zones and prices, as far as Stowage uses it: the shape of the embedded data files.
//!
//! `cargo xtask catalogue` writes these from larger sources; [`crate::Catalog::embedded`] reads them. Field names are
//! the files' format, so a renamed field needs the files built again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One instance type, as `DescribeInstanceTypes` and the VPC limit tables describe it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are independent facts, each a flag in EC2's own answer"
)]
pub struct TypeFacts {
    /// Name: `m7i.large`.
    pub name: String,
    /// Default number of vCPUs.
    pub vcpus: u32,
    /// Advertised memory.
    pub memory_mib: u64,
    /// `amd64` or `arm64`.
    pub architecture: String,
    /// Maker of the processor: `Intel`.
    pub cpu_manufacturer: String,
    /// Sustained clock speed of the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_mhz: Option<u32>,
    /// `nitro` or `xen`; bare metal has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hypervisor: String,
    /// Whether it is a whole machine.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bare_metal: bool,
    /// Whether it is sold as spot.
    #[serde(default, skip_serializing_if = "is_default")]
    pub spot: bool,
    /// GPUs, all of one model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Device>,
    /// Inference accelerators, all of one model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<Device>,
    /// Neuron devices (Inferentia and Trainium), all of one model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neuron: Option<Device>,
    /// Instance store in all, in GB (10⁹ bytes).
    #[serde(default, skip_serializing_if = "is_default")]
    pub local_disk_gb: u64,
    /// Whether the instance store is on `NVMe`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub local_disk_nvme: bool,
    /// EBS volumes that can be attached, the root volume included; where shared, what is left beside the first network
    /// interface and the instance store.
    pub ebs_attachments: u32,
    /// Whether network interfaces count against [`Self::ebs_attachments`].
    #[serde(default, skip_serializing_if = "is_default")]
    pub ebs_shares_slots: bool,
    /// Bandwidth to EBS at most, where EBS optimisation is on by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ebs_mbps: Option<u32>,
    /// Network interfaces on the default network card.
    pub interfaces: u32,
    /// IPv4 addresses of an interface.
    pub ipv4_per_interface: u32,
    /// Elastic Fabric Adapter interfaces.
    #[serde(default, skip_serializing_if = "is_default")]
    pub efa_interfaces: u32,
    /// Branch interfaces for pods with their own security groups; zero where the type has no trunking.
    #[serde(default, skip_serializing_if = "is_default")]
    pub branch_interfaces: u32,
    /// Sustained network bandwidth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_mbps: Option<u32>,
    /// Whether traffic between such instances is encrypted by the hardware.
    #[serde(default, skip_serializing_if = "is_default")]
    pub encrypts_in_transit: bool,
    /// Whether Nitro enclaves can run on it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub nitro_enclaves: bool,
    /// Whether virtual machines can run on it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub nested_virtualization: bool,
    /// Network interfaces of each network card, where there are several cards; the default card is the first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cards: Vec<u32>,
}

/// The embedded facts of every type, by name.
///
/// # Errors
/// Where they are damaged: a defect of the build.
pub fn embedded() -> Result<&'static [TypeFacts], crate::Error> {
    crate::embedded::type_facts()
}

/// Devices of one model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Device {
    /// Model: `H100`.
    pub name: String,
    /// Maker: `NVIDIA`.
    pub manufacturer: String,
    /// Whole devices; zero where the instance has a part of one.
    pub count: u32,
    /// Memory of each.
    pub memory_mib: u64,
    /// Cores of each, for Neuron devices.
    #[serde(default, skip_serializing_if = "is_default")]
    pub cores: u32,
}

/// Which types are offered in which zones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ZoneFacts {
    /// Every type offered anywhere, sorted.
    pub types: Vec<String>,
    /// Region → zone → positions in `types`, as [`write_ranges`] puts them.
    pub regions: BTreeMap<String, BTreeMap<String, String>>,
}

/// On-demand prices.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PriceFacts {
    /// Where they were taken from.
    pub source: String,
    /// Day they were taken, as `2026-07-20`.
    pub date: String,
    /// Region → type → price of an hour of Linux (dollars, yuan in China).
    pub regions: BTreeMap<String, BTreeMap<String, f64>>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Ascending positions as ranges: `[0, 1, 2, 5]` is `0-2,5`.
pub fn write_ranges(positions: &[usize]) -> String {
    let mut out = Vec::new();
    let mut rest = positions;
    while let Some((&first, _)) = rest.split_first() {
        let run = rest.iter().enumerate().take_while(|(i, at)| **at == first + i).count();
        out.push(if run == 1 { first.to_string() } else { format!("{first}-{}", first + run - 1) });
        rest = &rest[run..];
    }
    out.join(",")
}

/// The positions of ranges that [`write_ranges`] wrote; `None` where it did not, or one reaches `limit`.
pub fn read_ranges(ranges: &str, limit: usize) -> Option<Vec<usize>> {
    let mut out = Vec::new();
    for range in ranges.split(',').filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        if last >= limit {
            return None;
        }
        out.extend(first..=last);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_round_trip() {
        for positions in [vec![], vec![3], vec![0, 1, 2, 5], vec![1, 3, 4, 9, 10, 11]] {
            let text = write_ranges(&positions);
            assert_eq!(read_ranges(&text, 12), Some(positions), "{text}");
        }
        assert_eq!(write_ranges(&[0, 1, 2, 5]), "0-2,5");
    }

    #[test]
    fn ranges_beyond_the_list_are_refused() {
        assert_eq!(read_ranges("0-12", 12), None);
        assert_eq!(read_ranges("7,x", 12), None);
        assert_eq!(read_ranges("0-99999999999999999999", 12), None);
    }
}
