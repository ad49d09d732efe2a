//! Launching: a fleet of one, for where and as what a machine can be had. What it is says its [launch template](crate::Template).
//!
//! # Invariants
//! - A fleet that is asked for twice with one token is launched once.
//! - A capacity error is no failure of the call: it comes back with where it happened, beside what was launched.

use std::collections::BTreeMap;

use aws_sdk_ec2::operation::create_fleet::builders::CreateFleetFluentBuilder;
use aws_sdk_ec2::types::{
    CreateFleetError, DefaultTargetCapacityType, FleetLaunchTemplateConfigRequest,
    FleetLaunchTemplateOverridesRequest, FleetLaunchTemplateSpecificationRequest,
    FleetOnDemandAllocationStrategy, FleetType, InstanceType, LaunchTemplateSpecification,
    OnDemandOptionsRequest, ResourceType, SpotAllocationStrategy, SpotOptionsRequest, Tag, TagSpecification,
    TargetCapacitySpecificationRequest,
};

use crate::ec2::{Ec2, Refused};

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
    /// Handed on to EC2 as it is.
    pub context: Option<String>,
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
    /// Launches one machine, in whichever of the ways EC2 has.
    ///
    /// # Errors
    /// Where the call as a whole fails. That there is no capacity is no error.
    pub async fn launch(&self, fleet: &Fleet) -> Result<Launched, Refused> {
        let call = self.request(fleet).client_token(&fleet.token);
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

    /// Whether EC2 would let this fleet be launched.
    ///
    /// # Errors
    /// Why it would not.
    pub async fn try_launch(&self, fleet: &Fleet) -> Result<(), Refused> {
        let answer = self.request(fleet).dry_run(true).send().await;
        Refused::of_trial("CreateFleet", answer.as_ref().err())
    }

    /// Whether EC2 would let a machine be run from this template.
    ///
    /// # Errors
    /// Why it would not.
    pub async fn try_run(
        &self,
        template: &str,
        way: &FleetWay,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), Refused> {
        let template =
            LaunchTemplateSpecification::builder().launch_template_name(template).version("$Latest").build();
        let mut call = self
            .client
            .run_instances()
            .dry_run(true)
            .min_count(1)
            .max_count(1)
            .launch_template(template)
            .instance_type(InstanceType::from(way.instance_type.as_str()));
        for kind in [ResourceType::Instance, ResourceType::Volume] {
            call = call.tag_specifications(tagged(kind, tags));
        }
        let answer = call.send().await;
        Refused::of_trial("RunInstances", answer.as_ref().err())
    }

    fn request(&self, fleet: &Fleet) -> CreateFleetFluentBuilder {
        let kind =
            if fleet.spot { DefaultTargetCapacityType::Spot } else { DefaultTargetCapacityType::OnDemand };
        let mut call = self
            .client
            .create_fleet()
            .r#type(FleetType::Instant)
            .set_context(fleet.context.clone())
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
        call
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

pub(crate) fn tagged(kind: ResourceType, tags: &BTreeMap<String, String>) -> TagSpecification {
    let tags = tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
    TagSpecification::builder().resource_type(kind).set_tags(Some(tags.collect())).build()
}
