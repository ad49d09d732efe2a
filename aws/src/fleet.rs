//! Launching: a launch template for what a machine is, a fleet of one for where and as what it can be had.
//!
//! # Invariants
//! - A fleet that is asked for twice with one token is launched once.
//! - A capacity error is no failure of the call: it comes back with where it happened, beside what was launched.
//! - A template's name says what is in it, so that one that is there already is used, and none is ever changed.

use std::collections::BTreeMap;

use aws_sdk_ec2::error::ProvideErrorMetadata as _;
use aws_sdk_ec2::types::{
    CreateFleetError, DefaultTargetCapacityType, FleetLaunchTemplateConfigRequest,
    FleetLaunchTemplateOverridesRequest, FleetLaunchTemplateSpecificationRequest,
    FleetOnDemandAllocationStrategy, FleetType, InstanceType, LaunchTemplateBlockDeviceMappingRequest,
    LaunchTemplateEbsBlockDeviceRequest, LaunchTemplateHttpTokensState,
    LaunchTemplateIamInstanceProfileSpecificationRequest, LaunchTemplateInstanceMetadataEndpointState,
    LaunchTemplateInstanceMetadataOptionsRequest, LaunchTemplateInstanceMetadataProtocolIpv6,
    LaunchTemplateInstanceNetworkInterfaceSpecificationRequest, LaunchTemplatesMonitoringRequest,
    OnDemandOptionsRequest, RequestLaunchTemplateData, ResourceType, SpotAllocationStrategy,
    SpotOptionsRequest, Tag, TagSpecification, TargetCapacitySpecificationRequest, VolumeType,
};

use crate::ec2::{Ec2, Refused};

/// What a machine is, whatever its type.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Template {
    /// Image.
    pub image: String,
    /// User data, in base64.
    pub user_data: String,
    /// Name of the instance profile.
    pub instance_profile: Option<String>,
    /// Security groups.
    pub security_groups: Vec<String>,
    /// Disks.
    pub disks: Vec<Disk>,
    /// The instance metadata service.
    pub metadata: Metadata,
    /// Metrics every minute.
    pub detailed_monitoring: Option<bool>,
    /// Whether it has a public address; what the subnet says where nothing is said.
    pub public_address: Option<bool>,
    /// Tags of the template itself.
    pub tags: BTreeMap<String, String>,
}

/// A disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Disk {
    /// Device: `/dev/xvda`.
    pub device: String,
    /// GiB.
    pub gib: Option<i32>,
    /// `gp3` and others.
    pub kind: Option<String>,
    /// Operations a second.
    pub iops: Option<i32>,
    /// MiB a second.
    pub throughput: Option<i32>,
    /// Whether it is encrypted.
    pub encrypted: Option<bool>,
    /// Key to encrypt it with.
    pub kms_key: Option<String>,
    /// Whether it goes with the machine.
    pub delete_on_termination: Option<bool>,
    /// Snapshot that it is made from.
    pub snapshot: Option<String>,
}

/// The instance metadata service.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Metadata {
    /// Whether it answers.
    pub enabled: bool,
    /// Whether it answers by IPv6.
    pub ipv6: bool,
    /// Hops that an answer may take.
    pub hops: i32,
    /// Whether it asks for a token.
    pub token_required: bool,
}

/// A fleet of one.
#[derive(Clone, Debug, PartialEq)]
pub struct Fleet {
    /// Whoever asks again with the same is given the same machine.
    pub token: String,
    /// `spot`, or on demand with all else.
    pub spot: bool,
    /// Templates by name, each with the ways to launch it.
    pub configs: Vec<(String, Vec<FleetWay>)>,
    /// Tags of machine, disks and fleet.
    pub tags: BTreeMap<String, String>,
}

/// One way to launch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FleetWay {
    /// Instance type.
    pub instance_type: String,
    /// Zone.
    pub zone: String,
    /// Subnet.
    pub subnet: String,
    /// Image.
    pub image: String,
}

/// What came of a fleet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Launched {
    /// Machines.
    pub machines: Vec<Started>,
    /// What could not be had.
    pub failures: Vec<Failure>,
}

/// A machine that was launched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Started {
    /// `i-0123456789abcdef0`.
    pub id: String,
    /// Instance type.
    pub instance_type: String,
    /// Zone.
    pub zone: String,
    /// Image.
    pub image: String,
}

/// A way that could not be had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// EC2's code: `InsufficientInstanceCapacity`.
    pub code: String,
    /// EC2's words.
    pub message: String,
    /// Instance type.
    pub instance_type: String,
    /// Zone.
    pub zone: String,
    /// Subnet.
    pub subnet: String,
}

impl Ec2 {
    /// Makes a launch template, unless there is one of its name.
    ///
    /// # Errors
    /// What EC2 says.
    pub async fn ensure_template(&self, name: &str, template: &Template) -> Result<(), Refused> {
        let call = self.client.create_launch_template().launch_template_name(name).client_token(name);
        let call = call.launch_template_data(template.data());
        let call = if template.tags.is_empty() {
            call
        } else {
            call.tag_specifications(tagged(ResourceType::LaunchTemplate, &template.tags))
        };
        match call.send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("InvalidLaunchTemplateName.AlreadyExistsException") => Ok(()),
            Err(error) => Err(Refused::of("CreateLaunchTemplate", &error)),
        }
    }

    /// Launches one machine, in whichever of the ways EC2 has.
    ///
    /// # Errors
    /// Where the call as a whole fails. That there is no capacity is no error.
    pub async fn launch(&self, fleet: &Fleet) -> Result<Launched, Refused> {
        let kind =
            if fleet.spot { DefaultTargetCapacityType::Spot } else { DefaultTargetCapacityType::OnDemand };
        let mut call = self
            .client
            .create_fleet()
            .r#type(FleetType::Instant)
            .client_token(&fleet.token)
            .target_capacity_specification(
                TargetCapacitySpecificationRequest::builder()
                    .total_target_capacity(1)
                    .default_target_capacity_type(kind)
                    .build(),
            );
        call = if fleet.spot {
            let strategy = SpotAllocationStrategy::PriceCapacityOptimized;
            call.spot_options(SpotOptionsRequest::builder().allocation_strategy(strategy).build())
        } else {
            let strategy = FleetOnDemandAllocationStrategy::LowestPrice;
            call.on_demand_options(OnDemandOptionsRequest::builder().allocation_strategy(strategy).build())
        };
        for (template, ways) in &fleet.configs {
            let template = FleetLaunchTemplateSpecificationRequest::builder()
                .launch_template_name(template)
                .version("$Latest")
                .build();
            let mut config =
                FleetLaunchTemplateConfigRequest::builder().launch_template_specification(template);
            for way in ways {
                config = config.overrides(
                    FleetLaunchTemplateOverridesRequest::builder()
                        .instance_type(InstanceType::from(way.instance_type.as_str()))
                        .availability_zone(&way.zone)
                        .subnet_id(&way.subnet)
                        .image_id(&way.image)
                        .build(),
                );
            }
            call = call.launch_template_configs(config.build());
        }
        for kind in [ResourceType::Instance, ResourceType::Volume, ResourceType::Fleet] {
            call = call.tag_specifications(tagged(kind, &fleet.tags));
        }
        let answer = call.send().await.map_err(|error| Refused::of("CreateFleet", &error))?;
        let machines = answer.instances().iter().flat_map(|instance| {
            let way = instance.launch_template_and_overrides().and_then(|both| both.overrides());
            let text = |found: Option<&str>| found.unwrap_or_default().to_owned();
            let zone = instance.availability_zone().or_else(|| way.and_then(|w| w.availability_zone()));
            let image = text(way.and_then(|w| w.image_id()));
            let of_type = instance.instance_type().or_else(|| way.and_then(|w| w.instance_type()));
            let of_type = text(of_type.map(InstanceType::as_str));
            let zone = text(zone);
            instance.instance_ids().iter().map(move |id| Started {
                id: id.clone(),
                instance_type: of_type.clone(),
                zone: zone.clone(),
                image: image.clone(),
            })
        });
        Ok(Launched { machines: machines.collect(), failures: answer.errors().iter().map(failure).collect() })
    }
}

fn failure(error: &CreateFleetError) -> Failure {
    let way = error.launch_template_and_overrides().and_then(|both| both.overrides());
    let text = |found: Option<&str>| found.unwrap_or_default().to_owned();
    Failure {
        code: text(error.error_code()),
        message: text(error.error_message()),
        instance_type: text(way.and_then(|w| w.instance_type()).map(InstanceType::as_str)),
        zone: text(way.and_then(|w| w.availability_zone())),
        subnet: text(way.and_then(|w| w.subnet_id())),
    }
}

fn tagged(kind: ResourceType, tags: &BTreeMap<String, String>) -> TagSpecification {
    let tags = tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
    TagSpecification::builder().resource_type(kind).set_tags(Some(tags.collect())).build()
}

impl Template {
    fn data(&self) -> RequestLaunchTemplateData {
        // Groups and addresses stand on the interface: EC2 takes them in one place only.
        let mut interface = LaunchTemplateInstanceNetworkInterfaceSpecificationRequest::builder()
            .device_index(0)
            .network_card_index(0)
            .set_associate_public_ip_address(self.public_address);
        for group in &self.security_groups {
            interface = interface.groups(group);
        }
        let metadata = LaunchTemplateInstanceMetadataOptionsRequest::builder()
            .http_endpoint(if self.metadata.enabled {
                LaunchTemplateInstanceMetadataEndpointState::Enabled
            } else {
                LaunchTemplateInstanceMetadataEndpointState::Disabled
            })
            .http_protocol_ipv6(if self.metadata.ipv6 {
                LaunchTemplateInstanceMetadataProtocolIpv6::Enabled
            } else {
                LaunchTemplateInstanceMetadataProtocolIpv6::Disabled
            })
            .http_put_response_hop_limit(self.metadata.hops)
            .http_tokens(if self.metadata.token_required {
                LaunchTemplateHttpTokensState::Required
            } else {
                LaunchTemplateHttpTokensState::Optional
            })
            .build();
        let monitoring = self
            .detailed_monitoring
            .map(|enabled| LaunchTemplatesMonitoringRequest::builder().enabled(enabled).build());
        let profile = self
            .instance_profile
            .as_ref()
            .map(|name| LaunchTemplateIamInstanceProfileSpecificationRequest::builder().name(name).build());
        let disks = self.disks.iter().map(Disk::mapping).collect();
        RequestLaunchTemplateData::builder()
            .image_id(&self.image)
            .user_data(&self.user_data)
            .set_iam_instance_profile(profile)
            .network_interfaces(interface.build())
            .set_block_device_mappings(Some(disks))
            .metadata_options(metadata)
            .set_monitoring(monitoring)
            .build()
    }
}

impl Disk {
    fn mapping(&self) -> LaunchTemplateBlockDeviceMappingRequest {
        let ebs = LaunchTemplateEbsBlockDeviceRequest::builder()
            .set_volume_size(self.gib)
            .set_volume_type(self.kind.as_deref().map(VolumeType::from))
            .set_iops(self.iops)
            .set_throughput(self.throughput)
            .set_encrypted(self.encrypted)
            .set_kms_key_id(self.kms_key.clone())
            .set_delete_on_termination(self.delete_on_termination)
            .set_snapshot_id(self.snapshot.clone())
            .build();
        LaunchTemplateBlockDeviceMappingRequest::builder().device_name(&self.device).ebs(ebs).build()
    }
}
