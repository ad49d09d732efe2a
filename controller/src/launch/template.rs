//! The launch template of a machine: what its `EC2NodeClass` says, and what it is told when it starts.
//!
//! Templates are named after what is in them, so that the same is found again by any replica, and a change makes a new one.
//!
//! compat: karpenter-provider-aws v1.14: the prefix of the name, and tags by which launch templates are found.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use stowage_api::Quantity;
use stowage_api::crd::{BlockDeviceMapping, Ec2NodeClass, Ec2NodeClassSpec, MetadataOptions};
use stowage_api::well_known::NODE_POOL;
use stowage_aws::{Disk, Interface, InterfaceKind, Metadata, Template, Tracking};
use stowage_pricing::AmiFamily;

/// What names of launch templates begin with.
pub(super) const PREFIX: &str = "karpenter.k8s.aws/";

/// A template and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub template: Template,
}

/// What the machines of a template have in common.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Their class.
    pub class: &'a Ec2NodeClass,
    /// Family of their image.
    pub family: AmiFamily,
    /// Id of their image.
    pub image: &'a str,
    /// What they are told, not encoded yet.
    pub user_data: &'a str,
    /// Name of the cluster.
    pub cluster: &'a str,
    /// Whether the cluster's addresses are of IPv6.
    pub ipv6: bool,
    /// Id of the capacity reservation that they are for.
    pub reservation: Option<&'a str>,
    /// Interfaces for the Elastic Fabric Adapter, where their pods ask for such and their class says nothing.
    pub efa: i32,
    /// The `NodePool` that first needs it.
    pub pool: &'a str,
}

/// The template of such machines.
pub fn template(wanted: Wanted<'_>) -> Named {
    let Wanted { class, family, image, user_data, cluster, .. } = wanted;
    let spec = &class.spec;
    let status = class.status.clone().unwrap_or_default();
    let disks = if spec.block_device_mappings.is_empty() {
        default_disks(family)
    } else {
        spec.block_device_mappings.iter().filter_map(disk).collect()
    };
    let mut template = Template {
        image: image.to_owned(),
        user_data: STANDARD.encode(user_data),
        instance_profile: status.instance_profile,
        security_groups: status.security_groups.into_iter().map(|group| group.id).collect(),
        disks,
        metadata: metadata(&spec.metadata_options),
        detailed_monitoring: spec.detailed_monitoring,
        public_address: spec.associate_public_ip_address,
        interfaces: interfaces(spec, wanted.efa),
        ipv6: wanted.ipv6,
        prefixes: spec.ip_prefix_count,
        tracking: spec.connection_tracking.as_ref().map(|of| Tracking {
            tcp_established: of.tcp_established_timeout,
            udp_stream: of.udp_stream_timeout,
            udp: of.udp_timeout,
        }),
        nested_virtualization: spec
            .cpu_options
            .as_ref()
            .and_then(|of| of.nested_virtualization.as_deref())
            .map(|word| word == "enabled"),
        placement_group: spec.placement_group_selector.as_ref().and_then(|of| of.id.clone()),
        placement_group_name: spec.placement_group_selector.as_ref().and_then(|of| of.name.clone()),
        reservation: wanted.reservation.map(str::to_owned),
        tags: BTreeMap::new(),
    };
    template.security_groups.sort();
    // Of two clusters of an account each has its own, however alike: who may use and remove them hangs on their tags.
    let content = serde_json::to_vec(&(cluster, &template)).unwrap_or_default();
    let digest = Sha256::digest(&content);
    let half = digest.iter().take(16).fold(0_u128, |sum, byte| sum << 8 | u128::from(*byte));
    let name = format!("{PREFIX}{half:032x}");
    // Not part of the name: what is launched does not depend on them.
    template.tags = tags(class, cluster);
    template.tags.insert(NODE_POOL.to_owned(), wanted.pool.to_owned());
    Named { name, template }
}

/// The interfaces that a class states; else so many for the Elastic Fabric Adapter.
///
/// compat: karpenter-provider-aws v1.14: where a pod asks for such interfaces, a machine has all that its type can have.
fn interfaces(spec: &Ec2NodeClassSpec, efa: i32) -> Vec<Interface> {
    let all = spec.network_interfaces.iter().flatten();
    let mut out: Vec<Interface> = all
        .map(|of| Interface {
            card: of.network_card_index,
            device: of.device_index,
            kind: if of.interface_type == "efa-only" {
                InterfaceKind::EfaOnly
            } else {
                InterfaceKind::Network
            },
        })
        .collect();
    if out.is_empty() {
        // On each card one. The first place of the first card is every machine's own; on the others it is kept free.
        out.extend((0..efa).map(|card| Interface {
            card,
            device: i32::from(card > 0),
            kind: InterfaceKind::Efa,
        }));
    }
    out.sort_unstable();
    out
}

/// Tags of all that is made for an `EC2NodeClass`: the user's, and those by which it is found.
pub fn tags(class: &Ec2NodeClass, cluster: &str) -> BTreeMap<String, String> {
    let mut tags = class.spec.tags.clone();
    tags.insert(format!("kubernetes.io/cluster/{cluster}"), "owned".to_owned());
    tags.insert("eks:eks-cluster-name".to_owned(), cluster.to_owned());
    let name = class.metadata.name.clone().unwrap_or_default();
    tags.insert("karpenter.k8s.aws/ec2nodeclass".to_owned(), name);
    tags
}

fn metadata(options: &MetadataOptions) -> Metadata {
    Metadata {
        enabled: options.http_endpoint != "disabled",
        ipv6: options.http_protocol_ipv6 == "enabled",
        hops: i32::try_from(options.http_put_response_hop_limit).unwrap_or(1),
        token_required: options.http_tokens != "optional",
    }
}

/// The disks of images of a family, where an `EC2NodeClass` names none.
fn default_disks(family: AmiFamily) -> Vec<Disk> {
    let of = |device: &str, gib: i32| Disk {
        device: device.to_owned(),
        gib: Some(gib),
        kind: Some("gp3".to_owned()),
        encrypted: Some(true),
        delete_on_termination: Some(true),
        ..Disk::default()
    };
    match family {
        AmiFamily::Al2 | AmiFamily::Al2023 => vec![of("/dev/xvda", 20)],
        AmiFamily::Bottlerocket => vec![of("/dev/xvda", 4), of("/dev/xvdb", 20)],
        AmiFamily::Windows(_) => vec![of("/dev/sda1", 50)],
        AmiFamily::Custom => Vec::new(),
    }
}

fn disk(mapping: &BlockDeviceMapping) -> Option<Disk> {
    let ebs = mapping.ebs.as_ref()?;
    let gib = |size: &str| {
        let bytes = size.parse::<Quantity>().ok()?.ceil_units();
        i32::try_from(bytes.checked_add((1 << 30) - 1)? >> 30).ok()
    };
    let number = |n: Option<i64>| n.and_then(|n| i32::try_from(n).ok());
    Some(Disk {
        device: mapping.device_name.clone().unwrap_or_default(),
        gib: ebs.volume_size.as_deref().and_then(gib),
        kind: ebs.volume_type.clone(),
        iops: number(ebs.iops),
        throughput: number(ebs.throughput),
        encrypted: ebs.encrypted,
        kms_key: ebs.kms_key_id.clone(),
        delete_on_termination: ebs.delete_on_termination,
        snapshot: ebs.snapshot_id.clone(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn class(spec: &Value) -> Ec2NodeClass {
        let mut all = json!({
            "amiSelectorTerms": [], "subnetSelectorTerms": [], "securityGroupSelectorTerms": [],
        });
        for (key, value) in spec.as_object().into_iter().flatten() {
            all[key] = value.clone();
        }
        serde_json::from_value(json!({
            "apiVersion": "karpenter.k8s.aws/v1", "kind": "EC2NodeClass", "metadata": {"name": "default"}, "spec": all,
            "status": {"instanceProfile": "nodes", "securityGroups": [{"id": "sg-2"}, {"id": "sg-1"}]},
        }))
        .expect("a class")
    }

    fn of(spec: &Value, user_data: &str) -> Named {
        template(Wanted {
            class: &class(spec),
            family: AmiFamily::Al2023,
            image: "ami-1",
            user_data,
            cluster: "shop",
            ipv6: false,
            reservation: None,
            efa: 0,
            pool: "default",
        })
    }

    #[test]
    fn a_template_is_named_after_what_is_in_it() {
        let plain = of(&json!({}), "hello");
        assert!(plain.name.starts_with("karpenter.k8s.aws/") && plain.name.len() == PREFIX.len() + 32);
        assert_eq!(plain.name, of(&json!({"tags": {"team": "a"}}), "hello").name, "tags are no part of it");
        assert_ne!(plain.name, of(&json!({}), "bye").name);
        assert_ne!(plain.name, of(&json!({"detailedMonitoring": true}), "hello").name);
        assert_eq!(plain.template.security_groups, ["sg-1", "sg-2"]);
        assert_eq!(plain.template.user_data, "aGVsbG8=");
        assert_eq!(
            plain.template.metadata,
            Metadata { enabled: true, ipv6: false, hops: 1, token_required: true }
        );
    }

    #[test]
    fn the_fabric_has_an_interface_on_each_card_unless_the_class_says_which_there_are() {
        let card = |card, device| Interface { card, device, kind: InterfaceKind::Efa };
        assert_eq!(interfaces(&class(&json!({})).spec, 2), [card(0, 0), card(1, 1)]);
        let stated = json!({"networkInterfaces": [{"networkCardIndex": 0, "deviceIndex": 0, "interfaceType": "interface"}]});
        assert_eq!(interfaces(&class(&stated).spec, 2), [Interface::default()]);
        assert_eq!(interfaces(&class(&json!({})).spec, 0), []);
    }

    #[test]
    fn what_a_class_says_of_its_machines_is_in_their_template() {
        let of = of(
            &json!({
                "networkInterfaces": [
                    {"networkCardIndex": 1, "deviceIndex": 1, "interfaceType": "efa-only"},
                    {"networkCardIndex": 0, "deviceIndex": 0, "interfaceType": "interface"},
                ],
                "ipPrefixCount": 2, "cpuOptions": {"nestedVirtualization": "enabled"},
                "connectionTracking": {"udpTimeout": 30}, "placementGroupSelector": {"name": "close"},
            }),
            "",
        );
        let template = of.template;
        let first = Interface::default();
        assert_eq!(
            template.interfaces,
            [first, Interface { card: 1, device: 1, kind: InterfaceKind::EfaOnly }]
        );
        assert_eq!((template.prefixes, template.nested_virtualization), (Some(2), Some(true)));
        assert_eq!(template.tracking, Some(Tracking { udp: Some(30), ..Tracking::default() }));
        assert_eq!(template.placement_group_name.as_deref(), Some("close"));
        assert_eq!(template.tags["karpenter.sh/nodepool"], "default");
    }

    #[test]
    fn disks_are_the_users_or_those_of_the_family() {
        let gib = |named: &Named| {
            named.template.disks.iter().map(|d| (d.device.clone(), d.gib)).collect::<Vec<_>>()
        };
        assert_eq!(gib(&of(&json!({}), "")), [("/dev/xvda".to_owned(), Some(20))]);
        let own = of(
            &json!({"blockDeviceMappings": [
                {"deviceName": "/dev/xvda", "ebs": {"volumeSize": "100G", "volumeType": "gp3", "iops": 4000}},
                {"deviceName": "/dev/xvdc", "ebs": {"snapshotID": "snap-1"}},
            ]}),
            "",
        );
        assert_eq!(gib(&own), [("/dev/xvda".to_owned(), Some(94)), ("/dev/xvdc".to_owned(), None)]);
        assert_eq!(own.template.disks[0].iops, Some(4000));
        assert_eq!(own.template.disks[1].snapshot.as_deref(), Some("snap-1"));
    }

    #[test]
    fn what_is_made_is_found_again_by_its_tags() {
        let tags = tags(&class(&json!({"tags": {"team": "a"}})), "shop");
        assert_eq!(
            tags.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(),
            [
                "eks:eks-cluster-name=shop",
                "karpenter.k8s.aws/ec2nodeclass=default",
                "kubernetes.io/cluster/shop=owned",
                "team=a",
            ]
        );
    }
}
