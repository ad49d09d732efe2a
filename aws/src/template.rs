//! Launch templates: what a machine is, whatever its type and wherever it stands.
//!
//! # Invariants
//! - A template's name says what is in it, so that one that is there already is used, and none is ever changed.

use std::collections::BTreeMap;

use aws_sdk_ec2::error::ProvideErrorMetadata as _;
use aws_sdk_ec2::operation::create_launch_template::builders::CreateLaunchTemplateFluentBuilder;
use aws_sdk_ec2::types::{
    CapacityReservationPreference, CapacityReservationTarget, ConnectionTrackingSpecificationRequest, Filter,
    LaunchTemplateBlockDeviceMappingRequest, LaunchTemplateCapacityReservationSpecificationRequest,
    LaunchTemplateCpuOptionsRequest, LaunchTemplateEbsBlockDeviceRequest, LaunchTemplateHttpTokensState,
    LaunchTemplateIamInstanceProfileSpecificationRequest, LaunchTemplateInstanceMetadataEndpointState,
    LaunchTemplateInstanceMetadataOptionsRequest, LaunchTemplateInstanceMetadataProtocolIpv6,
    LaunchTemplateInstanceNetworkInterfaceSpecificationRequest, LaunchTemplatePlacementRequest,
    LaunchTemplateTagSpecificationRequest, LaunchTemplatesMonitoringRequest,
    NestedVirtualizationSpecification, RequestLaunchTemplateData, ResourceType, Tag, VolumeType,
};

use crate::ec2::{Ec2, Refused};
use crate::fleet::tagged;

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
    /// Interfaces that the user wants; with none, one on the first card.
    pub interfaces: Vec<Interface>,
    /// Whether machines have an IPv6 address, for clusters of IPv6.
    pub ipv6: bool,
    /// Prefixes of addresses that the first interface starts with.
    pub prefixes: Option<i32>,
    /// How long connections are tracked.
    pub tracking: Option<Tracking>,
    /// Whether machines can run virtual machines; what the type does where nothing is said.
    pub nested_virtualization: Option<bool>,
    /// Id of the placement group.
    pub placement_group: Option<String>,
    /// Or its name.
    pub placement_group_name: Option<String>,
    /// Id of the capacity reservation that it is for; without one, none is used by chance.
    pub reservation: Option<String>,
    /// Tags of the template itself, and of what comes of it that a fleet cannot tag.
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

/// A network interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Interface {
    /// Network card.
    pub card: i32,
    /// Place on the card.
    pub device: i32,
    /// What it is for.
    pub kind: InterfaceKind,
}

/// What a network interface is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub enum InterfaceKind {
    /// The network.
    #[default]
    Network,
    /// The network, and the Elastic Fabric Adapter.
    Efa,
    /// The Elastic Fabric Adapter alone: it has no address.
    EfaOnly,
}

/// How long connections are tracked, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Tracking {
    /// An idle TCP connection.
    pub tcp_established: Option<i32>,
    /// An idle flow of UDP with answers.
    pub udp_stream: Option<i32>,
    /// An idle flow of UDP without.
    pub udp: Option<i32>,
}

impl Ec2 {
    /// Makes a launch template, unless there is one of its name.
    ///
    /// # Errors
    /// What EC2 says.
    pub async fn ensure_template(&self, name: &str, template: &Template) -> Result<(), Refused> {
        match self.template_request(name, template).client_token(name).send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("InvalidLaunchTemplateName.AlreadyExistsException") => Ok(()),
            Err(error) => Err(Refused::of("CreateLaunchTemplate", &error)),
        }
    }

    /// Whether EC2 would let this template be made.
    ///
    /// # Errors
    /// Why it would not.
    pub async fn try_template(&self, name: &str, template: &Template) -> Result<(), Refused> {
        let answer = self.template_request(name, template).dry_run(true).send().await;
        Refused::of_trial("CreateLaunchTemplate", answer.as_ref().err())
    }

    fn template_request(&self, name: &str, template: &Template) -> CreateLaunchTemplateFluentBuilder {
        let call = self.client.create_launch_template().launch_template_name(name);
        let call = call.launch_template_data(template.data());
        if template.tags.is_empty() {
            return call;
        }
        call.tag_specifications(tagged(ResourceType::LaunchTemplate, &template.tags))
    }

    /// Names of launch templates with all of these tags.
    ///
    /// # Errors
    /// What EC2 says.
    pub async fn templates(&self, tags: &BTreeMap<String, String>) -> Result<Vec<String>, Refused> {
        let filter = |(key, value): (&String, &String)| {
            Filter::builder().name(format!("tag:{key}")).values(value).build()
        };
        let filters = tags.iter().map(filter).collect();
        let call = self.client.describe_launch_templates().set_filters(Some(filters));
        // As many as EC2 gives in a page.
        let mut pages = call.into_paginator().page_size(200).send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| Refused::of("DescribeLaunchTemplates", &error))?;
            found.extend(
                page.launch_templates().iter().filter_map(|of| of.launch_template_name().map(str::to_owned)),
            );
        }
        found.sort();
        Ok(found)
    }

    /// Removes a launch template. One that is not there is no error.
    ///
    /// # Errors
    /// What EC2 says.
    pub async fn remove_template(&self, name: &str) -> Result<(), Refused> {
        let ended = self.client.delete_launch_template().launch_template_name(name).send().await;
        match ended.map_err(|error| Refused::of("DeleteLaunchTemplate", &error)) {
            Err(refused) if !refused.is_gone() => Err(refused),
            _ => Ok(()),
        }
    }
}

impl Template {
    fn data(&self) -> RequestLaunchTemplateData {
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
        let grouped = self.placement_group.is_some() || self.placement_group_name.is_some();
        let placement = LaunchTemplatePlacementRequest::builder()
            .set_group_id(self.placement_group.clone())
            .set_group_name(self.placement_group_name.clone());
        let placement = grouped.then(|| placement.build());
        // Fleets tag machines and disks themselves.
        let tagged = [ResourceType::NetworkInterface, ResourceType::SpotInstancesRequest].map(|kind| {
            let tags = self.tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
            LaunchTemplateTagSpecificationRequest::builder()
                .resource_type(kind)
                .set_tags(Some(tags.collect()))
                .build()
        });
        let disks = self.disks.iter().map(Disk::mapping).collect();
        RequestLaunchTemplateData::builder()
            .image_id(&self.image)
            .user_data(&self.user_data)
            .set_iam_instance_profile(profile)
            .set_network_interfaces(Some(self.interfaces()))
            .set_cpu_options(self.cpu_options())
            .set_placement(placement)
            .capacity_reservation_specification(self.capacity())
            .set_block_device_mappings(Some(disks))
            .metadata_options(metadata)
            .set_monitoring(monitoring)
            .set_tag_specifications((!self.tags.is_empty()).then(|| tagged.to_vec()))
            .build()
    }

    /// Groups and addresses stand on the interfaces: EC2 takes them in one place only.
    fn interfaces(&self) -> Vec<LaunchTemplateInstanceNetworkInterfaceSpecificationRequest> {
        let first = [Interface::default()];
        let all = if self.interfaces.is_empty() { &first[..] } else { &self.interfaces };
        all.iter().map(|of| self.interface(*of)).collect()
    }

    fn interface(&self, of: Interface) -> LaunchTemplateInstanceNetworkInterfaceSpecificationRequest {
        let mut out = LaunchTemplateInstanceNetworkInterfaceSpecificationRequest::builder()
            .device_index(of.device)
            .network_card_index(of.card);
        for group in &self.security_groups {
            out = out.groups(group);
        }
        match of.kind {
            InterfaceKind::Network => {}
            InterfaceKind::Efa => out = out.interface_type("efa"),
            InterfaceKind::EfaOnly => return out.interface_type("efa-only").build(),
        }
        if let Some(tracking) = self.tracking {
            let request = ConnectionTrackingSpecificationRequest::builder()
                .set_tcp_established_timeout(tracking.tcp_established)
                .set_udp_stream_timeout(tracking.udp_stream)
                .set_udp_timeout(tracking.udp);
            out = out.connection_tracking_specification(request.build());
        }
        if (of.card, of.device) == (0, 0) {
            // EC2 refuses public addresses where there are several interfaces.
            let public = self.public_address.filter(|_| self.interfaces.len() < 2);
            out = out.set_associate_public_ip_address(public);
            if self.ipv6 {
                out = out.ipv6_address_count(1).primary_ipv6(true).set_ipv6_prefix_count(self.prefixes);
            } else {
                out = out.set_ipv4_prefix_count(self.prefixes);
            }
        }
        out.build()
    }

    fn cpu_options(&self) -> Option<LaunchTemplateCpuOptionsRequest> {
        let nested = if self.nested_virtualization? {
            NestedVirtualizationSpecification::Enabled
        } else {
            NestedVirtualizationSpecification::Disabled
        };
        Some(LaunchTemplateCpuOptionsRequest::builder().nested_virtualization(nested).build())
    }

    fn capacity(&self) -> LaunchTemplateCapacityReservationSpecificationRequest {
        let request = LaunchTemplateCapacityReservationSpecificationRequest::builder();
        match &self.reservation {
            Some(id) => request
                .capacity_reservation_preference(CapacityReservationPreference::CapacityReservationsOnly)
                .capacity_reservation_target(
                    CapacityReservationTarget::builder().capacity_reservation_id(id).build(),
                ),
            None => request.capacity_reservation_preference(CapacityReservationPreference::None),
        }
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
