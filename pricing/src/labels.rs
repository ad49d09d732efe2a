//! The `karpenter.k8s.aws/instance-*` labels of a type, from its facts.
//!
//! compat: values are spelled as karpenter-provider-aws v1.14 does (`pkg/providers/instancetype/types.go`), because
//! `NodePool`s and pods in the wild select on them: names in lower case with dashes, counts and sizes as plain integers, a
//! label left out where EC2 says nothing (clock speed: 0), the hypervisor of bare metal empty.

use std::collections::BTreeMap;

use stowage_api::well_known as keys;

use crate::ami_family::AmiFamily;
use crate::facts::TypeFacts;
use crate::node_config::NodeConfig;

/// Every label that this type's nodes have whatever the zone and capacity type; architecture, operating system and type
/// name are not among them, because the catalogue says those in fields of their own.
pub(crate) fn labels(facts: &TypeFacts, config: &NodeConfig) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    let mut put = |key: &str, value: String| {
        labels.insert(key.to_owned(), value);
    };
    if let Some((category, generation)) = category_and_generation(&facts.name) {
        put(keys::INSTANCE_CATEGORY, category.to_owned());
        put(keys::INSTANCE_GENERATION, generation.to_owned());
    }
    if let Some((family, size)) = facts.name.split_once('.') {
        put(keys::INSTANCE_FAMILY, family.to_owned());
        put(keys::INSTANCE_SIZE, size.to_owned());
        put(keys::INSTANCE_CAPABILITY_FLEX, family.contains("-flex").to_string());
    }
    put(keys::INSTANCE_CPU, facts.vcpus.to_string());
    put(keys::INSTANCE_CPU_MANUFACTURER, kebab(&facts.cpu_manufacturer));
    put(keys::INSTANCE_MEMORY, facts.memory_mib.to_string());
    put(keys::INSTANCE_HYPERVISOR, facts.hypervisor.clone());
    put(keys::INSTANCE_ENCRYPTION_IN_TRANSIT, facts.encrypts_in_transit.to_string());
    // Where EC2 says nothing, Karpenter's label says 0.
    put(keys::INSTANCE_CPU_CLOCK_SPEED, facts.clock_mhz.unwrap_or_default().to_string());
    put(keys::NITRO_SANDBOX, facts.nitro_enclaves.to_string());
    // Dedicated hardware is another offering, at another price, and not in the catalogue.
    put(keys::INSTANCE_TENANCY, keys::DEFAULT_TENANCY.to_owned());
    if let Some(mbps) = facts.ebs_mbps {
        put(keys::INSTANCE_EBS_BANDWIDTH, mbps.to_string());
    }
    if let Some(mbps) = facts.network_mbps {
        put(keys::INSTANCE_NETWORK_BANDWIDTH, mbps.to_string());
    }
    if facts.local_disk_nvme && facts.local_disk_gb > 0 {
        put(keys::INSTANCE_LOCAL_NVME, facts.local_disk_gb.to_string());
    }
    if let Some(gpu) = facts.gpu.as_ref().filter(|g| !g.name.is_empty()) {
        put(keys::INSTANCE_GPU_NAME, kebab(&gpu.name));
        put(keys::INSTANCE_GPU_MANUFACTURER, kebab(&gpu.manufacturer));
        put(keys::INSTANCE_GPU_COUNT, gpu.count.to_string());
        put(keys::INSTANCE_GPU_MEMORY, gpu.memory_mib.to_string());
    }
    // Inferentia is listed as both; as a Neuron device it is counted the way its drivers count.
    let accelerator = facts.neuron.as_ref().or(facts.accelerator.as_ref());
    if let Some(accelerator) = accelerator.filter(|a| !a.name.is_empty()) {
        put(keys::INSTANCE_ACCELERATOR_NAME, kebab(&accelerator.name));
        put(keys::INSTANCE_ACCELERATOR_MANUFACTURER, kebab(&accelerator.manufacturer));
        put(keys::INSTANCE_ACCELERATOR_COUNT, accelerator.count.to_string());
    }
    if let AmiFamily::Windows(year) = config.ami_family {
        put(keys::WINDOWS_BUILD, year.build().to_owned());
    }
    labels
}

/// `m7i.large` is category `m` of generation `7`, `u-6tb1.112xlarge` category `u` of generation `1`: letters, then
/// perhaps a size in terabytes, then digits. `None` for names of another make.
fn category_and_generation(name: &str) -> Option<(&str, &str)> {
    let (family, _) = name.split_once('.')?;
    let (category, rest) = family.split_at(family.bytes().take_while(u8::is_ascii_lowercase).count());
    let rest = match rest.strip_prefix('-') {
        Some(size) => size.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("tb")?,
        None => rest,
    };
    let generation = &rest[..rest.bytes().take_while(u8::is_ascii_digit).count()];
    (!category.is_empty() && !generation.is_empty()).then_some((category, generation))
}

fn kebab(name: &str) -> String {
    name.to_lowercase().replace(' ', "-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Device;

    #[test]
    fn categories_and_generations() {
        for (name, expected) in [
            ("m7i.large", Some(("m", "7"))),
            ("m7i-flex.large", Some(("m", "7"))),
            ("u-6tb1.112xlarge", Some(("u", "1"))),
            ("u7in-16tb.224xlarge", Some(("u", "7"))),
            ("p6-b200.48xlarge", Some(("p", "6"))),
            ("hpc7a.96xlarge", Some(("hpc", "7"))),
            ("x2iedn.xlarge", Some(("x", "2"))),
            ("mac-m4.metal", None),
            ("m7i", None),
            (".large", None),
        ] {
            assert_eq!(category_and_generation(name), expected, "{name}");
        }
    }

    #[test]
    fn labels_of_a_gpu_type() {
        let facts = TypeFacts {
            name: "g6e.xlarge".to_owned(),
            vcpus: 4,
            memory_mib: 32768,
            cpu_manufacturer: "AMD".to_owned(),
            hypervisor: "nitro".to_owned(),
            local_disk_gb: 250,
            local_disk_nvme: true,
            gpu: Some(Device {
                name: "RTX PRO 4500".to_owned(),
                manufacturer: "NVIDIA".to_owned(),
                count: 1,
                memory_mib: 45776,
                cores: 0,
            }),
            ..TypeFacts::default()
        };
        let shown: Vec<String> = labels(&facts, &NodeConfig::default())
            .into_iter()
            .map(|(key, value)| {
                format!(
                    "{}={value}",
                    key.trim_start_matches("karpenter.k8s.aws/").trim_start_matches("instance-")
                )
            })
            .collect();
        let expected = [
            "capability-flex=false",
            "category=g",
            "cpu=4",
            "cpu-manufacturer=amd",
            "cpu-sustained-clock-speed-mhz=0",
            "encryption-in-transit-supported=false",
            "family=g6e",
            "generation=6",
            "gpu-count=1",
            "gpu-manufacturer=nvidia",
            "gpu-memory=45776",
            "gpu-name=rtx-pro-4500",
            "hypervisor=nitro",
            "local-nvme=250",
            "memory=32768",
            "size=xlarge",
            "tenancy=default",
            "nitro-sandbox=false",
        ];
        assert_eq!(shown, expected);
    }
}
