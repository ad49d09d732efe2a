//! How nodes are set up: what of an `EC2NodeClass` decides how much of an instance pods may use.
//!
//! # Invariants
//! - What is not stated is as Karpenter has it by default: Amazon Linux 2023, one 20 GiB volume, kubelet's own reserves.
//! - What a class says and cannot be used is named ([`Unused`]), and the default stands in for it.

use std::collections::BTreeMap;
use std::fmt;

use stowage_api::{Ec2NodeClass, Ec2NodeClassSpec, IntOrText, Kubelet, Quantity};

use crate::ami_family::AmiFamily;
use crate::facts::TypeFacts;
use crate::share::Share;

/// The amount of something below which pods are evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threshold {
    /// An amount.
    Amount(Quantity),
    /// A share of what there is; all of it means no threshold.
    Share(Share),
}

impl Threshold {
    fn parse(text: &str) -> Option<Self> {
        if text.trim().ends_with('%') {
            return text.trim().parse().ok().map(Self::Share);
        }
        text.parse::<Quantity>().ok().filter(|q| !q.is_negative()).map(Self::Amount)
    }

    /// In bytes, of `capacity` bytes.
    pub(crate) fn bytes(self, capacity: i64) -> i64 {
        match self {
            Self::Amount(amount) => amount.ceil_units(),
            // compat: kubelet takes 100 % for no threshold.
            Self::Share(all) if all == Share::from_millionths(1_000_000) => 0,
            Self::Share(share) => share.of_rounded_up(capacity.max(0) as u64) as i64,
        }
    }
}

/// What kubelet can reserve.
const RESERVED: [&str; 4] = ["cpu", "memory", "ephemeral-storage", "pid"];

/// What kubelet can evict for. Only room in memory and on kubelet's disk takes anything from pods.
const SIGNALS: [&str; 8] = [
    "memory.available",
    "nodefs.available",
    "nodefs.inodesFree",
    "imagefs.available",
    "imagefs.inodesFree",
    "containerfs.available",
    "containerfs.inodesFree",
    "pid.available",
];

/// A volume that each node starts with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// `/dev/xvda`.
    pub device: String,
    /// Whether kubelet's files are on it.
    pub root: bool,
    /// Its size, where stated.
    pub size: Option<Quantity>,
}

/// A network interface that each node starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its card.
    pub card: u32,
    /// Its place on the card.
    pub device: u32,
    /// Whether it has no address.
    pub efa_only: bool,
}

/// How nodes are set up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent settings, each a flag of its own")]
pub struct NodeConfig {
    /// Family of the image.
    pub ami_family: AmiFamily,
    /// Pods at most.
    pub max_pods: Option<u32>,
    /// Pods for each vCPU at most; zero sets no limit.
    pub pods_per_core: u32,
    /// What kubelet reserves for itself, where it is not Karpenter's formula.
    pub kube_reserved: BTreeMap<String, Quantity>,
    /// What kubelet reserves for the system.
    pub system_reserved: BTreeMap<String, Quantity>,
    /// Free memory below which pods are evicted.
    pub evict_memory: Option<Threshold>,
    /// Free disk below which pods are evicted.
    pub evict_disk: Option<Threshold>,
    /// Volumes; none leaves them to the family.
    pub disks: Vec<Disk>,
    /// Whether instance stores become one volume for pods.
    pub raid0: bool,
    /// Interfaces; `None` leaves them to the instance type.
    pub interfaces: Option<Vec<Interface>>,
    /// Interfaces kept from pods on every node (Karpenter's setting `RESERVED_ENIS`).
    pub reserved_interfaces: u32,
    /// Whether the VPC CNI gives each slot of an interface sixteen addresses. Karpenter cannot see this: a node class says
    /// its effect with `maxPods`.
    pub prefix_delegation: bool,
    /// Whether time-outs of tracked connections are set, which Xen cannot do.
    pub connection_tracking: bool,
    /// Whether virtual machines are to run on the nodes.
    pub nested_virtualization: bool,
    /// Share of an instance's advertised memory that its hypervisor, firmware and kernel keep (Karpenter's setting
    /// `VM_MEMORY_OVERHEAD_PERCENT`, whose default of 7.5 % this is).
    pub vm_memory_overhead: Share,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            ami_family: AmiFamily::default(),
            max_pods: None,
            pods_per_core: 0,
            kube_reserved: BTreeMap::new(),
            system_reserved: BTreeMap::new(),
            evict_memory: None,
            evict_disk: None,
            disks: Vec::new(),
            raid0: false,
            interfaces: None,
            reserved_interfaces: 0,
            prefix_delegation: false,
            connection_tracking: false,
            nested_virtualization: false,
            vm_memory_overhead: Share::from_millionths(75_000),
        }
    }
}

/// Something that a class says and that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unused {
    /// The field: `spec.kubelet.maxPods`.
    pub field: String,
    /// What it says.
    pub value: String,
}

impl fmt::Display for Unused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.field, self.value)
    }
}

/// Why nodes so set up do not run on an instance type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Misfit {
    /// Amazon Linux 2023 does not start on first-generation Graviton.
    A1OnAl2023,
    /// Windows has no build for arm64.
    ArmWindows,
    /// The class lists interfaces that the type does not have.
    Interfaces,
    /// The class sets time-outs that only Nitro instances know.
    ConnectionTracking,
    /// The type runs no virtual machines.
    NestedVirtualization,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A1OnAl2023 => "Amazon Linux 2023 does not run on a1",
            Self::ArmWindows => "Windows does not run on arm64",
            Self::Interfaces => "it has fewer network cards or interfaces than networkInterfaces lists",
            Self::ConnectionTracking => "connectionTracking needs a Nitro instance",
            Self::NestedVirtualization => "it has no nested virtualization",
        })
    }
}

impl NodeConfig {
    /// What a class says, on top of `base`, and what of it cannot be used.
    ///
    /// ```
    /// use stowage_pricing::{AmiFamily, NodeConfig};
    ///
    /// let class = serde_json::from_str(r#"{"spec": {"amiSelectorTerms": [{"alias": "bottlerocket@latest"}],
    ///     "kubelet": {"maxPods": 58, "kubeReserved": {"cpu": "vcpus * 10"}}}}"#)?;
    /// let (config, unused) = NodeConfig::of(&class, &NodeConfig::default());
    /// assert_eq!((config.ami_family, config.max_pods), (AmiFamily::Bottlerocket, Some(58)));
    /// assert_eq!(unused[0].to_string(), r#"spec.kubelet.kubeReserved.cpu: "vcpus * 10""#);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn of(class: &Ec2NodeClass, base: &Self) -> (Self, Vec<Unused>) {
        let mut config = base.clone();
        let mut unused = Vec::new();
        let spec = &class.spec;
        let mut pass_over = |field: &str, value: &str| {
            unused.push(Unused { field: field.to_owned(), value: value.chars().take(80).collect() });
        };
        match family(spec) {
            Some(Ok(family)) => config.ami_family = family,
            Some(Err((field, name))) => pass_over(field, name),
            None => {}
        }
        if let Some(policy) = spec.instance_store_policy.as_deref().filter(|p| !p.is_empty()) {
            config.raid0 = policy == "RAID0";
            if !config.raid0 {
                pass_over("spec.instanceStorePolicy", policy);
            }
        }
        let mappings = spec.block_device_mappings.iter();
        config.disks = mappings
            .map(|m| Disk {
                device: m.device_name.clone().unwrap_or_default(),
                root: m.root_volume,
                size: m.ebs.volume_size,
            })
            .collect();
        config.interfaces = spec.network_interfaces.as_ref().map(|interfaces| {
            let one = |i: &stowage_api::NetworkInterface| Interface {
                card: i.network_card_index,
                device: i.device_index,
                efa_only: i.is_efa_only(),
            };
            interfaces.iter().map(one).collect()
        });
        config.connection_tracking = spec.connection_tracking.is_some();
        config.nested_virtualization = spec.cpu_options.nested_virtualization.as_deref() == Some("enabled");
        if let Some(kubelet) = &spec.kubelet {
            config.take_kubelet(kubelet, &mut pass_over);
        }
        (config, unused)
    }

    fn take_kubelet(&mut self, kubelet: &Kubelet, pass_over: &mut impl FnMut(&str, &str)) {
        match &kubelet.max_pods {
            Some(IntOrText::Int(most)) => self.max_pods = Some(*most),
            Some(IntOrText::Text(expression)) => pass_over("spec.kubelet.maxPods", expression),
            None => {}
        }
        self.pods_per_core = kubelet.pods_per_core.unwrap_or_default();
        for (section, stated, into) in [
            ("kubeReserved", &kubelet.kube_reserved, &mut self.kube_reserved),
            ("systemReserved", &kubelet.system_reserved, &mut self.system_reserved),
        ] {
            for (name, text) in stated {
                match text.parse::<Quantity>() {
                    Ok(amount) if !amount.is_negative() && RESERVED.contains(&name.as_str()) => {
                        into.insert(name.clone(), amount);
                    }
                    _ => pass_over(&format!("spec.kubelet.{section}.{name}"), text),
                }
            }
        }
        for (signal, text) in &kubelet.eviction_hard {
            if !SIGNALS.contains(&signal.as_str()) {
                pass_over(&format!("spec.kubelet.evictionHard.{signal}"), text);
            }
        }
        for (signal, into) in
            [("memory.available", &mut self.evict_memory), ("nodefs.available", &mut self.evict_disk)]
        {
            let Some(text) = kubelet.eviction_hard.get(signal) else { continue };
            *into = Threshold::parse(text);
            if into.is_none() {
                pass_over(&format!("spec.kubelet.evictionHard.{signal}"), text);
            }
        }
    }

    /// Whether nodes so set up run on a type.
    ///
    /// compat: karpenter-provider-aws v1.14, `pkg/providers/instancetype/compatibility`.
    ///
    /// # Errors
    /// Says why not.
    pub fn runs_on(&self, facts: &TypeFacts) -> Result<(), Misfit> {
        let misfits = [
            (self.ami_family == AmiFamily::Al2023 && facts.name.starts_with("a1."), Misfit::A1OnAl2023),
            (
                matches!(self.ami_family, AmiFamily::Windows(_)) && facts.architecture != "amd64",
                Misfit::ArmWindows,
            ),
            (!self.interfaces_fit(facts), Misfit::Interfaces),
            (self.connection_tracking && facts.hypervisor != "nitro", Misfit::ConnectionTracking),
            (self.nested_virtualization && !facts.nested_virtualization, Misfit::NestedVirtualization),
        ];
        misfits.into_iter().find(|(is, _)| *is).map_or(Ok(()), |(_, misfit)| Err(misfit))
    }

    fn interfaces_fit(&self, facts: &TypeFacts) -> bool {
        let Some(interfaces) = &self.interfaces else { return true };
        let of_card = |card: u32| {
            if facts.cards.is_empty() {
                (card == 0).then_some(facts.interfaces)
            } else {
                facts.cards.get(card as usize).copied()
            }
        };
        let efa = interfaces.iter().filter(|i| i.efa_only).count();
        interfaces.iter().all(|i| of_card(i.card).is_some_and(|room| i.device < room))
            && efa <= facts.efa_interfaces as usize
    }

    /// Size of the volume that pods' files are on.
    ///
    /// compat: karpenter-provider-aws v1.14, `ephemeralStorage` in `pkg/providers/instancetype/types.go`.
    pub(crate) fn data_volume(&self, facts: &TypeFacts) -> Quantity {
        let standard = || Quantity::from_bytes(self.ami_family.data_bytes());
        if self.raid0 && facts.local_disk_gb > 0 {
            let gigabytes = i64::try_from(facts.local_disk_gb).unwrap_or(i64::MAX);
            return Quantity::from_units(gigabytes.saturating_mul(1_000_000_000));
        }
        if let Some(size) = self.disks.iter().find(|d| d.root).and_then(|d| d.size) {
            return size;
        }
        let disk = match self.ami_family.data_device() {
            Some(device) => self.disks.iter().find(|d| d.device == device),
            None => self.disks.last(),
        };
        disk.and_then(|d| d.size).unwrap_or_else(standard)
    }

    /// Volumes of a new node beside the one that it boots from.
    pub(crate) fn other_volumes(&self) -> u32 {
        let volumes = if self.disks.is_empty() { self.ami_family.volumes() } else { self.disks.len() as u32 };
        volumes.saturating_sub(1)
    }

    /// EFA interfaces that pods can ask for.
    pub(crate) fn efa_interfaces(&self, facts: &TypeFacts) -> u32 {
        match &self.interfaces {
            Some(interfaces) => interfaces.iter().filter(|i| i.efa_only).count() as u32,
            None => facts.efa_interfaces,
        }
    }

    /// Interfaces of the default card that take a place there and have no address.
    pub(crate) fn addressless_interfaces(&self) -> u32 {
        let interfaces = self.interfaces.iter().flatten();
        interfaces.filter(|i| i.efa_only && i.card == 0).count() as u32
    }
}

/// The family that a class names; else the one of its alias. An unknown one comes back with its field.
fn family(spec: &Ec2NodeClassSpec) -> Option<Result<AmiFamily, (&'static str, &str)>> {
    let read = |field, name| AmiFamily::of_name(name).ok_or((field, name));
    if let Some(name) = spec.ami_family.as_deref().filter(|n| !n.is_empty()) {
        return Some(read("spec.amiFamily", name));
    }
    let alias = spec.ami_selector_terms.iter().find_map(|term| term.alias.as_deref())?;
    let name = alias.split('@').next().unwrap_or(alias);
    Some(read("spec.amiSelectorTerms.alias", name))
}

#[cfg(test)]
#[path = "node_config_tests.rs"]
mod tests;
