//! The SDK's types as the JSON that the API's own names make: as much of it as the pricing crate reads.
//!
//! Where AWS says nothing, nothing is written.

use aws_sdk_ec2::primitives::{DateTime, DateTimeFormat};
use aws_sdk_ec2::types::{
    CapacityReservation, EbsInfo, GpuInfo, InferenceAcceleratorInfo, InstanceTypeInfo, InstanceTypeOffering,
    NetworkInfo, NeuronInfo, ProcessorInfo, ReservedInstances, SpotPrice, Subnet,
};
use aws_sdk_savingsplans::types::{SavingsPlan, SavingsPlanRate};
use serde_json::{Value, json};

/// A list, each element by its row.
pub(crate) fn rows<T>(of: &[T], row: impl Fn(&T) -> Value) -> Value {
    Value::Array(of.iter().map(row).map(without_nulls).collect())
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let said = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(said.map(|(name, value)| (name, without_nulls(value))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

/// The words of an enumeration; those that this SDK does not know are kept.
macro_rules! word {
    ($of:expr) => {
        $of.as_ref().map(|value| value.as_str())
    };
}

macro_rules! words {
    ($of:expr) => {
        $of.iter().map(|value| value.as_str()).collect::<Vec<_>>()
    };
}

fn moment(of: Option<&DateTime>) -> Option<String> {
    of.and_then(|at| at.fmt(DateTimeFormat::DateTime).ok())
}

pub(crate) fn instance_type(of: &InstanceTypeInfo) -> Value {
    let storage = of
        .instance_storage_info
        .as_ref()
        .map(|s| json!({"TotalSizeInGB": s.total_size_in_gb, "NvmeSupport": word!(s.nvme_support)}));
    json!({
        "InstanceType": word!(of.instance_type),
        "BareMetal": of.bare_metal,
        "Hypervisor": word!(of.hypervisor),
        "NitroEnclavesSupport": word!(of.nitro_enclaves_support),
        "SupportedUsageClasses": words!(of.supported_usage_classes()),
        "SupportedVirtualizationTypes": words!(of.supported_virtualization_types()),
        "VCpuInfo": of.v_cpu_info.as_ref().map(|v| json!({"DefaultVCpus": v.default_v_cpus})),
        "MemoryInfo": of.memory_info.as_ref().map(|m| json!({"SizeInMiB": m.size_in_mib})),
        "InstanceStorageInfo": storage,
        "ProcessorInfo": of.processor_info.as_ref().map(processor),
        "EbsInfo": of.ebs_info.as_ref().map(ebs),
        "NetworkInfo": of.network_info.as_ref().map(network),
        "GpuInfo": of.gpu_info.as_ref().map(gpus),
        "InferenceAcceleratorInfo": of.inference_accelerator_info.as_ref().map(accelerators),
        "NeuronInfo": of.neuron_info.as_ref().map(neurons),
    })
}

fn processor(of: &ProcessorInfo) -> Value {
    json!({
        "Manufacturer": of.manufacturer,
        "SupportedArchitectures": words!(of.supported_architectures()),
        "SupportedFeatures": words!(of.supported_features()),
        "SustainedClockSpeedInGhz": of.sustained_clock_speed_in_ghz,
    })
}

fn ebs(of: &EbsInfo) -> Value {
    let optimized = of.ebs_optimized_info.as_ref();
    json!({
        "AttachmentLimitType": word!(of.attachment_limit_type),
        "MaximumEbsAttachments": of.maximum_ebs_attachments,
        "EbsOptimizedSupport": word!(of.ebs_optimized_support),
        "EbsOptimizedInfo": optimized.map(|o| json!({"MaximumBandwidthInMbps": o.maximum_bandwidth_in_mbps})),
    })
}

fn network(of: &NetworkInfo) -> Value {
    let card = |maximum: Option<i32>, index: Option<i32>| json!({"MaximumNetworkInterfaces": maximum, "NetworkCardIndex": index});
    let cards = of.network_cards().iter().map(|c| card(c.maximum_network_interfaces, c.network_card_index));
    let efa = of.efa_info.as_ref();
    json!({
        "DefaultNetworkCardIndex": of.default_network_card_index,
        "EfaInfo": efa.map(|e| json!({"MaximumEfaInterfaces": e.maximum_efa_interfaces})),
        "EncryptionInTransitSupported": of.encryption_in_transit_supported,
        "Ipv4AddressesPerInterface": of.ipv4_addresses_per_interface,
        "NetworkCards": cards.collect::<Vec<_>>(),
    })
}

fn memory(mib: Option<i32>) -> Value {
    json!({"SizeInMiB": mib})
}

fn gpus(of: &GpuInfo) -> Value {
    let gpu = of.gpus().iter().map(|gpu| {
        json!({
            "Name": gpu.name, "Manufacturer": gpu.manufacturer, "Count": gpu.count,
            "MemoryInfo": gpu.memory_info.as_ref().map(|m| memory(m.size_in_mib)),
        })
    });
    json!({"Gpus": gpu.collect::<Vec<_>>()})
}

fn accelerators(of: &InferenceAcceleratorInfo) -> Value {
    let accelerator = of.accelerators().iter().map(|a| {
        json!({
            "Name": a.name, "Manufacturer": a.manufacturer, "Count": a.count,
            "MemoryInfo": a.memory_info.as_ref().map(|m| memory(m.size_in_mib)),
        })
    });
    json!({"Accelerators": accelerator.collect::<Vec<_>>()})
}

fn neurons(of: &NeuronInfo) -> Value {
    let device = of.neuron_devices().iter().map(|d| {
        json!({
            "Name": d.name, "Count": d.count,
            "CoreInfo": d.core_info.as_ref().map(|c| json!({"Count": c.count})),
            "MemoryInfo": d.memory_info.as_ref().map(|m| memory(m.size_in_mib)),
        })
    });
    json!({"NeuronDevices": device.collect::<Vec<_>>()})
}

pub(crate) fn offering(of: &InstanceTypeOffering) -> Value {
    json!({
        "InstanceType": word!(of.instance_type),
        "LocationType": word!(of.location_type),
        "Location": of.location,
    })
}

pub(crate) fn subnet(of: &Subnet) -> Value {
    json!({
        "SubnetId": of.subnet_id,
        "AvailabilityZone": of.availability_zone,
        "AvailabilityZoneId": of.availability_zone_id,
        "AvailableIpAddressCount": of.available_ip_address_count,
        "State": word!(of.state),
    })
}

pub(crate) fn spot_price(of: &SpotPrice) -> Value {
    json!({
        "InstanceType": word!(of.instance_type),
        "AvailabilityZone": of.availability_zone,
        "ProductDescription": word!(of.product_description),
        "SpotPrice": of.spot_price,
        "Timestamp": moment(of.timestamp.as_ref()),
    })
}

pub(crate) fn capacity_reservation(of: &CapacityReservation) -> Value {
    json!({
        "CapacityReservationId": of.capacity_reservation_id,
        "InstanceType": of.instance_type,
        "AvailabilityZone": of.availability_zone,
        "AvailabilityZoneId": of.availability_zone_id,
        "InstancePlatform": word!(of.instance_platform),
        "Tenancy": word!(of.tenancy),
        "TotalInstanceCount": of.total_instance_count,
        "AvailableInstanceCount": of.available_instance_count,
        "State": word!(of.state),
        "EndDate": moment(of.end_date.as_ref()),
        "ReservationType": word!(of.reservation_type),
        "Interruptible": of.interruptible,
    })
}

pub(crate) fn reserved_instances(of: &ReservedInstances) -> Value {
    let charges = of.recurring_charges().iter();
    let charges = charges.map(|c| json!({"Amount": c.amount, "Frequency": word!(c.frequency)}));
    json!({
        "ReservedInstancesId": of.reserved_instances_id,
        "InstanceType": word!(of.instance_type),
        "InstanceCount": of.instance_count,
        "ProductDescription": word!(of.product_description),
        "State": word!(of.state),
        "InstanceTenancy": word!(of.instance_tenancy),
        "AvailabilityZone": of.availability_zone,
        "FixedPrice": of.fixed_price,
        "UsagePrice": of.usage_price,
        "CurrencyCode": word!(of.currency_code),
        "Duration": of.duration,
        "RecurringCharges": charges.collect::<Vec<_>>(),
        "End": moment(of.end.as_ref()),
    })
}

/// A plan, with what it is called for, and its rates beside it: they are answers of their own.
pub(crate) fn savings_plan(of: &SavingsPlan) -> Value {
    json!({
        "savingsPlanId": of.savings_plan_id,
        "savingsPlanType": word!(of.savings_plan_type),
        "commitment": of.commitment,
        "currency": word!(of.currency),
        "state": word!(of.state),
        "ec2InstanceFamily": of.ec2_instance_family,
        "region": of.region,
        "end": of.end,
    })
}

pub(crate) fn savings_plan_rate(of: &SavingsPlanRate) -> Value {
    let properties = of.properties().iter();
    let properties = properties.map(|p| json!({"name": word!(p.name), "value": p.value}));
    json!({
        "rate": of.rate,
        "currency": word!(of.currency),
        "productType": word!(of.product_type),
        "usageType": of.usage_type,
        "properties": properties.collect::<Vec<_>>(),
    })
}

/// An element of the Price List, without the offers for years: nobody reads them, and they are most of it. What is no
/// JSON stays as it is, for the parser to name.
pub(crate) fn product(text: &str) -> Value {
    let Ok(mut element) = serde_json::from_str::<Value>(text) else { return text.into() };
    if let Some(terms) = element.get_mut("terms").and_then(Value::as_object_mut) {
        terms.retain(|kind, _| kind != "Reserved");
    }
    element
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::types::{
        ArchitectureType, EbsOptimizedInfo, InstanceType, MemoryInfo, NetworkCardInfo, VCpuInfo,
        VirtualizationType,
    };
    use stowage_pricing::aws::{instance_types, spot_history};
    use stowage_pricing::facts;

    use super::*;

    fn page(list: &str, rows: &Value) -> Vec<u8> {
        serde_json::to_vec(&json!({list: rows})).unwrap()
    }

    /// As EC2 describes an m5.large, and as the facts compiled in have it.
    #[test]
    fn a_type_comes_through_to_the_facts() {
        let described = InstanceTypeInfo::builder()
            .instance_type(InstanceType::from("m5.large"))
            .bare_metal(false)
            .hypervisor("nitro".into())
            .nitro_enclaves_support("unsupported".into())
            .supported_usage_classes("on-demand".into())
            .supported_usage_classes("spot".into())
            .supported_virtualization_types(VirtualizationType::Hvm)
            .v_cpu_info(VCpuInfo::builder().default_v_cpus(2).build())
            .memory_info(MemoryInfo::builder().size_in_mib(8192).build())
            .processor_info(
                ProcessorInfo::builder()
                    .manufacturer("Intel")
                    .supported_architectures(ArchitectureType::X8664)
                    .sustained_clock_speed_in_ghz(3.1)
                    .build(),
            )
            .ebs_info(
                EbsInfo::builder()
                    .attachment_limit_type("shared".into())
                    .maximum_ebs_attachments(27)
                    .ebs_optimized_support("default".into())
                    .ebs_optimized_info(EbsOptimizedInfo::builder().maximum_bandwidth_in_mbps(4750).build())
                    .build(),
            )
            .network_info(
                NetworkInfo::builder()
                    .default_network_card_index(0)
                    .ipv4_addresses_per_interface(10)
                    .network_cards(NetworkCardInfo::builder().maximum_network_interfaces(3).build())
                    .build(),
            )
            .build();
        let answer =
            instance_types::parse(&page("InstanceTypes", &rows(&[described], instance_type))).unwrap();
        let known = facts::embedded().unwrap().iter().find(|f| f.name == "m5.large");
        assert_eq!((answer.found.first(), answer.passed_over), (known, Vec::new()));
    }

    #[test]
    fn what_is_not_said_is_not_written() {
        let of = rows(&[Subnet::builder().subnet_id("subnet-1").build()], subnet);
        assert_eq!(of, json!([{"SubnetId": "subnet-1"}]));
    }

    #[test]
    fn a_spot_price_keeps_its_moment_and_unknown_words() {
        let price = SpotPrice::builder()
            .instance_type(InstanceType::from("x99.large"))
            .availability_zone("eu-west-1a")
            .product_description("Linux/UNIX".into())
            .spot_price("0.05")
            .timestamp(DateTime::from_secs(1_784_548_800))
            .build();
        let answer = spot_history::parse(&page("SpotPriceHistory", &rows(&[price], spot_price))).unwrap();
        let of = answer.found[&("x99.large".to_owned(), "eu-west-1a".to_owned())];
        assert_eq!((of.price, of.since.seconds()), (0.05, 1_784_548_800));
    }

    #[test]
    fn offers_for_years_are_left_out_of_products_and_nothing_else() {
        let text = r#"{"product": {"new": 1}, "terms": {"OnDemand": {"a": {}}, "Reserved": {"b": {}}}, "version": "x"}"#;
        let expected = json!({"product": {"new": 1}, "terms": {"OnDemand": {"a": {}}}, "version": "x"});
        assert_eq!(product(text), expected);
        assert_eq!(product("{cut"), json!("{cut"));
    }
}
