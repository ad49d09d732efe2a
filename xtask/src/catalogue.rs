//! From recorded AWS answers to the compact files that the `pricing` crate embeds.
//!
//! The inputs keep their sources' field names (`DescribeInstanceTypes`, the VPC resource controller's tables); only what
//! `stowage_pricing::facts` has a field for is kept. Types that no Kubernetes node runs on (macOS) are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use stowage_pricing::facts::{Device, PriceFacts, TypeFacts, ZoneFacts, write_ranges};

use crate::source::{read, write_gzipped};

/// Builds `types`, `zones` and `prices` in `out` from the files in `facts`.
pub(crate) fn build(facts: &Path, out: &Path) -> anyhow::Result<()> {
    let types: BTreeMap<String, Described> = read(&facts.join("ec2-instance-types.json.gz"))?;
    let limits: BTreeMap<String, VpcLimits> = read(&facts.join("ec2-vpc-limits.json"))?;
    let bandwidth: BTreeMap<String, u32> = read(&facts.join("ec2-network-bandwidth-mbps.json"))?;
    let offered: BTreeMap<String, BTreeMap<String, Vec<String>>> =
        read(&facts.join("ec2-zone-offerings.json.gz"))?;
    let prices: Prices = read(&facts.join("ec2-on-demand-prices.json"))?;

    let mut kept = Vec::new();
    for (name, described) in types {
        let facts = described
            .facts(&name, limits.get(&name), bandwidth.get(&name).copied())
            .with_context(|| format!("instance type {name}"))?;
        kept.extend(facts);
    }
    let zones = zone_facts(&kept, &offered);
    let prices = price_facts(&kept, prices)?;

    // One type a line, so that a reader can look at them with `zcat`, and a diff of two unpacked files tells something.
    let lines = kept.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
    write_gzipped(&out.join("types.json.gz"), &format!("[\n{}\n]\n", lines.join(",\n")))?;
    write_gzipped(&out.join("zones.json.gz"), &(serde_json::to_string_pretty(&zones)? + "\n"))?;
    write_gzipped(&out.join("prices.json.gz"), &(serde_json::to_string_pretty(&prices)? + "\n"))
}

fn zone_facts(kept: &[TypeFacts], offered: &BTreeMap<String, BTreeMap<String, Vec<String>>>) -> ZoneFacts {
    let known: BTreeSet<&str> = kept.iter().map(|t| t.name.as_str()).collect();
    let names = offered.values().flat_map(BTreeMap::values).flatten().map(String::as_str);
    let types: Vec<String> =
        names.filter(|n| known.contains(n)).collect::<BTreeSet<_>>().into_iter().map(str::to_owned).collect();
    let position: BTreeMap<&str, usize> =
        types.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
    let ranges = |names: &Vec<String>| {
        let positions: BTreeSet<usize> =
            names.iter().filter_map(|n| position.get(n.as_str()).copied()).collect();
        write_ranges(&positions.into_iter().collect::<Vec<_>>())
    };
    let regions = offered
        .iter()
        .map(|(region, zones)| {
            (region.clone(), zones.iter().map(|(zone, names)| (zone.clone(), ranges(names))).collect())
        })
        .collect();
    ZoneFacts { regions, types }
}

fn price_facts(kept: &[TypeFacts], prices: Prices) -> anyhow::Result<PriceFacts> {
    let known: BTreeSet<&str> = kept.iter().map(|t| t.name.as_str()).collect();
    let mut regions = prices.on_demand_linux;
    for (region, prices) in &mut regions {
        prices.retain(|name, _| known.contains(name.as_str()));
        let bad = prices.iter().find(|(_, price)| !(price.is_finite() && **price > 0.0));
        ensure!(bad.is_none(), "{region}: a price is not above zero: {bad:?}");
    }
    let date = prices.generated.split('T').next().unwrap_or_default().to_owned();
    ensure!(date.len() == 10, "the price file's date is {:?}", prices.generated);
    Ok(PriceFacts {
        source: "karpenter-provider-aws, compiled-in on-demand prices".to_owned(),
        date,
        regions,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Prices {
    generated: String,
    on_demand_linux: BTreeMap<String, BTreeMap<String, f64>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VpcLimits {
    branch_interfaces: u32,
    trunking: bool,
}

/// What is read of a `DescribeInstanceTypes` answer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    bare_metal: bool,
    ebs_info: EbsInfo,
    gpu_info: Option<GpuInfo>,
    #[serde(default)]
    hypervisor: String,
    inference_accelerator_info: Option<InferenceInfo>,
    instance_storage_info: Option<StorageInfo>,
    memory_info: Memory,
    network_info: NetworkInfo,
    neuron_info: Option<NeuronInfo>,
    processor_info: ProcessorInfo,
    supported_usage_classes: Vec<String>,
    supported_virtualization_types: Vec<String>,
    #[serde(rename = "VCpuInfo")]
    vcpu_info: VcpuInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EbsInfo {
    attachment_limit_type: String,
    ebs_optimized_info: Option<EbsOptimized>,
    ebs_optimized_support: String,
    maximum_ebs_attachments: u32,
}

#[derive(Deserialize)]
struct EbsOptimized {
    #[serde(rename = "MaximumBandwidthInMbps")]
    maximum_mbps: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GpuInfo {
    gpus: Vec<Recorded>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InferenceInfo {
    accelerators: Vec<Recorded>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NeuronInfo {
    neuron_devices: Vec<Recorded>,
}

/// A device, as each of the three kinds records it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Recorded {
    name: String,
    #[serde(default = "aws")]
    manufacturer: String,
    count: u32,
    memory_info: Memory,
    core_info: Option<CoreInfo>,
}

/// Neuron devices name no maker: they are all AWS's own.
fn aws() -> String {
    "AWS".to_owned()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CoreInfo {
    count: u32,
}

#[derive(Deserialize)]
struct Memory {
    #[serde(rename = "SizeInMiB")]
    mib: u64,
}

#[derive(Deserialize)]
struct StorageInfo {
    #[serde(rename = "TotalSizeInGB")]
    total_gb: u64,
    #[serde(rename = "NvmeSupport")]
    nvme_support: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkInfo {
    default_network_card_index: usize,
    efa_info: Option<EfaInfo>,
    encryption_in_transit_supported: bool,
    ipv4_addresses_per_interface: u32,
    network_cards: Vec<NetworkCard>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EfaInfo {
    maximum_efa_interfaces: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkCard {
    maximum_network_interfaces: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ProcessorInfo {
    manufacturer: String,
    supported_architectures: Vec<String>,
    #[serde(rename = "SustainedClockSpeedInGhz")]
    clock_ghz: Option<f64>,
}

#[derive(Deserialize)]
struct VcpuInfo {
    #[serde(rename = "DefaultVCpus")]
    default_vcpus: u32,
}

impl Described {
    /// The facts kept of this type; `None` where no Linux node runs on it.
    fn facts(
        self,
        name: &str,
        limits: Option<&VpcLimits>,
        network_mbps: Option<u32>,
    ) -> anyhow::Result<Option<TypeFacts>> {
        let supports = |architecture: &str| {
            self.processor_info.supported_architectures.iter().any(|a| a == architecture)
        };
        let architecture = match (supports("x86_64"), supports("arm64")) {
            (true, false) => "amd64",
            (false, true) => "arm64",
            (true, true) => bail!("runs both x86_64 and arm64"),
            (false, false) => return Ok(None),
        };
        if !self.supported_virtualization_types.iter().any(|v| v == "hvm") {
            return Ok(None);
        }
        let network = self.network_info;
        let card = network
            .network_cards
            .get(network.default_network_card_index)
            .context("has no default network card")?;
        let storage = self.instance_storage_info;
        Ok(Some(TypeFacts {
            name: name.to_owned(),
            vcpus: self.vcpu_info.default_vcpus,
            memory_mib: self.memory_info.mib,
            architecture: architecture.to_owned(),
            cpu_manufacturer: self.processor_info.manufacturer,
            clock_mhz: self.processor_info.clock_ghz.map(|ghz| (ghz * 1000.0).round() as u32),
            hypervisor: self.hypervisor,
            bare_metal: self.bare_metal,
            spot: self.supported_usage_classes.iter().any(|class| class == "spot"),
            gpu: only(self.gpu_info.map(|info| info.gpus))?,
            accelerator: only(self.inference_accelerator_info.map(|info| info.accelerators))?,
            neuron: only(self.neuron_info.map(|info| info.neuron_devices))?,
            local_disk_gb: storage.as_ref().map_or(0, |s| s.total_gb),
            local_disk_nvme: storage.is_some_and(|s| s.nvme_support != "unsupported"),
            ebs_attachments: self.ebs_info.maximum_ebs_attachments,
            ebs_shares_slots: self.ebs_info.attachment_limit_type == "shared",
            ebs_mbps: (self.ebs_info.ebs_optimized_support == "default")
                .then_some(self.ebs_info.ebs_optimized_info)
                .flatten()
                .map(|info| info.maximum_mbps),
            interfaces: card.maximum_network_interfaces,
            ipv4_per_interface: network.ipv4_addresses_per_interface,
            efa_interfaces: network.efa_info.map_or(0, |efa| efa.maximum_efa_interfaces),
            branch_interfaces: limits.filter(|l| l.trunking).map_or(0, |l| l.branch_interfaces),
            network_mbps,
            encrypts_in_transit: network.encryption_in_transit_supported,
        }))
    }
}

/// The one kind of device of a list. Labels can name only one, so a type with two kinds needs a decision first.
fn only(devices: Option<Vec<Recorded>>) -> anyhow::Result<Option<Device>> {
    let mut devices = devices.unwrap_or_default();
    ensure!(devices.len() <= 1, "has {} kinds of one device", devices.len());
    Ok(devices.pop().map(|device| Device {
        name: device.name,
        manufacturer: device.manufacturer,
        count: device.count,
        memory_mib: device.memory_info.mib,
        cores: device.core_info.map_or(0, |cores| cores.count),
    }))
}
