//! `DescribeInstanceTypes`: what each type is made of.

use serde::Deserialize;
use serde_json::Value;

use super::{Answer, AnswerError, PassedOver, elements, pages};
use crate::embedded;
use crate::facts::{Device, TypeFacts};

const CALL: &str = "DescribeInstanceTypes";

/// The facts of every type that Linux or Windows nodes can run on, by name. Others (macOS, 32-bit, paravirtual) are left
/// out; types that lack what a node needs to know are passed over.
///
/// EC2 does not say how many branch interfaces a type has, nor its network bandwidth as a number: for types that the
/// embedded facts know, those are filled in.
///
/// # Errors
/// Where the bytes are no such answer.
pub fn parse(bytes: &[u8]) -> Result<Answer<Vec<TypeFacts>>, AnswerError> {
    let described = elements::<Described>(pages(bytes, CALL)?, CALL, "InstanceTypes", "InstanceType")?;
    let mut passed_over = described.passed_over;
    let known = embedded::type_facts().unwrap_or_default();
    let mut found = Vec::with_capacity(described.found.len());
    for described in described.found {
        let name = described.instance_type.clone();
        match described.facts() {
            Ok(Some(mut facts)) => {
                if let Ok(at) = known.binary_search_by(|k| k.name.cmp(&facts.name)) {
                    facts.branch_interfaces = known[at].branch_interfaces;
                    facts.network_mbps = known[at].network_mbps;
                }
                found.push(facts);
            }
            Ok(None) => {}
            Err(why) => passed_over.push(PassedOver { what: super::quoted(&name), why }),
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found.dedup_by(|a, b| a.name == b.name);
    Ok(Answer { found, passed_over, complete: described.complete })
}

/// The facts of one element of an answer; `None` where no Linux or Windows node runs on it.
///
/// # Errors
/// Says what the element lacks.
pub fn read_one(element: Value) -> Result<Option<TypeFacts>, String> {
    serde_json::from_value::<Described>(element).map_err(|error| error.to_string())?.facts()
}

/// What is read of an element.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    instance_type: String,
    #[serde(default)]
    bare_metal: bool,
    #[serde(default)]
    ebs_info: EbsInfo,
    gpu_info: Option<GpuInfo>,
    #[serde(default)]
    hypervisor: String,
    inference_accelerator_info: Option<InferenceInfo>,
    instance_storage_info: Option<StorageInfo>,
    memory_info: Memory,
    network_info: NetworkInfo,
    neuron_info: Option<NeuronInfo>,
    #[serde(default)]
    nitro_enclaves_support: String,
    processor_info: ProcessorInfo,
    #[serde(default)]
    supported_usage_classes: Vec<String>,
    #[serde(default)]
    supported_virtualization_types: Vec<String>,
    #[serde(rename = "VCpuInfo")]
    vcpu_info: VcpuInfo,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct EbsInfo {
    attachment_limit_type: String,
    ebs_optimized_info: Option<EbsOptimized>,
    ebs_optimized_support: String,
    maximum_ebs_attachments: Option<u32>,
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
    #[serde(default)]
    name: String,
    #[serde(default = "aws")]
    manufacturer: String,
    #[serde(default)]
    count: u32,
    #[serde(default)]
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

#[derive(Default, Deserialize)]
struct Memory {
    #[serde(rename = "SizeInMiB")]
    mib: u64,
}

#[derive(Deserialize)]
struct StorageInfo {
    #[serde(rename = "TotalSizeInGB", default)]
    total_gb: u64,
    #[serde(rename = "NvmeSupport", default)]
    nvme_support: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkInfo {
    #[serde(default)]
    default_network_card_index: usize,
    efa_info: Option<EfaInfo>,
    #[serde(default)]
    encryption_in_transit_supported: bool,
    ipv4_addresses_per_interface: u32,
    network_cards: Vec<NetworkCard>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct EfaInfo {
    #[serde(default)]
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
    #[serde(default)]
    manufacturer: String,
    supported_architectures: Vec<String>,
    #[serde(default)]
    supported_features: Vec<String>,
    #[serde(rename = "SustainedClockSpeedInGhz")]
    clock_ghz: Option<f64>,
}

#[derive(Deserialize)]
struct VcpuInfo {
    #[serde(rename = "DefaultVCpus")]
    default_vcpus: u32,
}

impl Described {
    fn facts(self) -> Result<Option<TypeFacts>, String> {
        let architecture =
            self.processor_info.supported_architectures.iter().find_map(|a| match a.as_str() {
                "x86_64" => Some("amd64"),
                "arm64" => Some("arm64"),
                _ => None,
            });
        let Some(architecture) = architecture else { return Ok(None) };
        if !self.supported_virtualization_types.iter().any(|v| v == "hvm") {
            return Ok(None);
        }
        if self.vcpu_info.default_vcpus == 0 || self.memory_info.mib == 0 {
            return Err("has no vCPUs or no memory".to_owned());
        }
        let network = self.network_info;
        let cards: Vec<u32> = network.network_cards.iter().map(|c| c.maximum_network_interfaces).collect();
        let interfaces =
            cards.get(network.default_network_card_index).ok_or("has no default network card")?;
        let storage = self.instance_storage_info;
        let ebs = self.ebs_info;
        let shares = ebs.attachment_limit_type != "dedicated";
        Ok(Some(TypeFacts {
            vcpus: self.vcpu_info.default_vcpus,
            memory_mib: self.memory_info.mib,
            architecture: architecture.to_owned(),
            cpu_manufacturer: self.processor_info.manufacturer,
            clock_mhz: self.processor_info.clock_ghz.map(|ghz| (ghz * 1000.0).round() as u32),
            hypervisor: self.hypervisor,
            bare_metal: self.bare_metal,
            spot: self.supported_usage_classes.iter().any(|class| class == "spot"),
            gpu: of_one_model(self.gpu_info.map(|info| info.gpus)),
            accelerator: of_one_model(self.inference_accelerator_info.map(|info| info.accelerators)),
            neuron: of_one_model(self.neuron_info.map(|info| info.neuron_devices)),
            local_disk_gb: storage.as_ref().map_or(0, |s| s.total_gb),
            local_disk_nvme: storage.is_some_and(|s| s.nvme_support != "unsupported"),
            // What the EBS CSI driver takes for types that it does not know.
            ebs_attachments: ebs.maximum_ebs_attachments.unwrap_or(27),
            ebs_shares_slots: shares,
            ebs_mbps: (ebs.ebs_optimized_support == "default")
                .then_some(ebs.ebs_optimized_info)
                .flatten()
                .map(|info| info.maximum_mbps),
            interfaces: *interfaces,
            ipv4_per_interface: network.ipv4_addresses_per_interface,
            efa_interfaces: network.efa_info.map_or(0, |efa| efa.maximum_efa_interfaces),
            branch_interfaces: 0,
            network_mbps: None,
            encrypts_in_transit: network.encryption_in_transit_supported,
            nitro_enclaves: self.nitro_enclaves_support == "supported",
            nested_virtualization: self
                .processor_info
                .supported_features
                .iter()
                .any(|feature| feature == "nested-virtualization"),
            cards: if cards.len() > 1 { cards } else { Vec::new() },
            name: self.instance_type,
        }))
    }
}

/// The devices of a list as one: a label can name one model only, so of several models just the number is kept, under the
/// first one's maker. No type has several yet.
fn of_one_model(devices: Option<Vec<Recorded>>) -> Option<Device> {
    let devices = devices?;
    let count = devices.iter().map(|d| d.count).fold(0, u32::saturating_add);
    let several = devices.len() > 1;
    devices.into_iter().next().map(|device| Device {
        name: if several { String::new() } else { device.name },
        manufacturer: device.manufacturer,
        count,
        memory_mib: device.memory_info.mib,
        cores: device.core_info.map_or(0, |cores| cores.count),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As EC2 describes an m5d.large, shortened; and types that cannot be used.
    const ANSWER: &str = r#"{"InstanceTypes": [
        {"InstanceType": "m5d.large", "BareMetal": false, "Hypervisor": "nitro", "NitroEnclavesSupport": "unsupported",
         "EbsInfo": {"AttachmentLimitType": "shared", "MaximumEbsAttachments": 26, "EbsOptimizedSupport": "default",
                     "EbsOptimizedInfo": {"BaselineBandwidthInMbps": 650, "MaximumBandwidthInMbps": 4750}},
         "InstanceStorageInfo": {"NvmeSupport": "required", "TotalSizeInGB": 75},
         "MemoryInfo": {"SizeInMiB": 8192},
         "NetworkInfo": {"DefaultNetworkCardIndex": 0, "EncryptionInTransitSupported": false,
                         "Ipv4AddressesPerInterface": 10,
                         "NetworkCards": [{"MaximumNetworkInterfaces": 3, "NetworkCardIndex": 0}]},
         "ProcessorInfo": {"Manufacturer": "Intel", "SupportedArchitectures": ["x86_64"],
                           "SustainedClockSpeedInGhz": 3.1},
         "SupportedUsageClasses": ["on-demand", "spot"], "SupportedVirtualizationTypes": ["hvm"],
         "VCpuInfo": {"DefaultVCpus": 2}, "AFieldOfTheYear2031": {"Deep": [1]}},
        {"InstanceType": "q1.large", "Hypervisor": "nitro", "MemoryInfo": {"SizeInMiB": 4096},
         "NetworkInfo": {"Ipv4AddressesPerInterface": 4, "NetworkCards": [{"MaximumNetworkInterfaces": 2}]},
         "ProcessorInfo": {"SupportedArchitectures": ["riscv64", "arm64"]},
         "SupportedVirtualizationTypes": ["hvm"], "VCpuInfo": {"DefaultVCpus": 2}},
        {"InstanceType": "mac2.metal", "MemoryInfo": {"SizeInMiB": 16384},
         "NetworkInfo": {"Ipv4AddressesPerInterface": 4, "NetworkCards": [{"MaximumNetworkInterfaces": 2}]},
         "ProcessorInfo": {"SupportedArchitectures": ["arm64_mac"]},
         "SupportedVirtualizationTypes": ["hvm"], "VCpuInfo": {"DefaultVCpus": 8}},
        {"InstanceType": "broken.large", "MemoryInfo": {"SizeInMiB": -1}},
        {"InstanceType": "cardless.large", "MemoryInfo": {"SizeInMiB": 1},
         "NetworkInfo": {"Ipv4AddressesPerInterface": 4, "NetworkCards": []},
         "ProcessorInfo": {"SupportedArchitectures": ["x86_64"]},
         "SupportedVirtualizationTypes": ["hvm"], "VCpuInfo": {"DefaultVCpus": 8}}]}"#;

    #[test]
    fn a_known_type_is_as_embedded() {
        let answer = parse(ANSWER.as_bytes()).unwrap();
        let embedded = embedded::type_facts().unwrap().iter().find(|f| f.name == "m5d.large");
        assert_eq!(Some(&answer.found[0]), embedded);
        assert!(answer.complete);
    }

    #[test]
    fn unknown_types_are_kept_and_unusable_ones_named() {
        let answer = parse(ANSWER.as_bytes()).unwrap();
        let names: Vec<&str> = answer.found.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["m5d.large", "q1.large"]);
        let q1 = &answer.found[1];
        assert_eq!((q1.architecture.as_str(), q1.ebs_attachments, q1.network_mbps), ("arm64", 27, None));
        let passed_over: Vec<String> = answer.passed_over.iter().map(ToString::to_string).collect();
        assert!(passed_over[0].starts_with("broken.large: invalid value: integer `-1`"), "{passed_over:?}");
        assert_eq!(passed_over[1], "cardless.large: has no default network card");
    }
}
