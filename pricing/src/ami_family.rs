//! Families of machine images, and how each differs in what it leaves to pods.
//!
//! compat: karpenter-provider-aws v1.14, `FeatureFlags` and `DefaultBlockDeviceMappings` in `pkg/providers/amifamily`.

/// Families of machine images: each has its own way to start kubelet, and its own disks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AmiFamily {
    /// Amazon Linux 2.
    Al2,
    /// Amazon Linux 2023.
    #[default]
    Al2023,
    /// Bottlerocket.
    Bottlerocket,
    /// Windows Server, with the build that nodes are labelled with.
    Windows(WindowsYear),
    /// Images of one's own.
    Custom,
}

/// Releases of Windows Server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WindowsYear {
    /// 2019.
    Y2019,
    /// 2022.
    Y2022,
    /// 2025.
    Y2025,
}

impl WindowsYear {
    /// The build, as the label `node.kubernetes.io/windows-build` has it.
    pub const fn build(self) -> &'static str {
        match self {
            Self::Y2019 => "10.0.17763",
            Self::Y2022 => "10.0.20348",
            Self::Y2025 => "10.0.26100",
        }
    }
}

impl AmiFamily {
    /// As `spec.amiFamily` spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Al2 => "AL2",
            Self::Al2023 => "AL2023",
            Self::Bottlerocket => "Bottlerocket",
            Self::Windows(WindowsYear::Y2019) => "Windows2019",
            Self::Windows(WindowsYear::Y2022) => "Windows2022",
            Self::Windows(WindowsYear::Y2025) => "Windows2025",
            Self::Custom => "Custom",
        }
    }

    /// The family of a name, as `spec.amiFamily` and the front of an alias spell it; in any case.
    pub fn of_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "al2" => Self::Al2,
            "al2023" => Self::Al2023,
            "bottlerocket" => Self::Bottlerocket,
            "windows2019" => Self::Windows(WindowsYear::Y2019),
            "windows2022" => Self::Windows(WindowsYear::Y2022),
            "windows2025" => Self::Windows(WindowsYear::Y2025),
            "custom" => Self::Custom,
            _ => return None,
        })
    }

    /// Whether pods are limited by the addresses of the instance's interfaces.
    pub(crate) const fn limits_pods_by_addresses(self) -> bool {
        !matches!(self, Self::Windows(_))
    }

    /// Whether kubelet's own memory is reserved for as many pods as there are addresses, whatever the limit on pods.
    pub(crate) const fn reserves_for_all_addresses(self) -> bool {
        !matches!(self, Self::Bottlerocket | Self::Windows(_))
    }

    /// Whether `podsPerCore` is honoured.
    pub(crate) const fn knows_pods_per_core(self) -> bool {
        !matches!(self, Self::Bottlerocket)
    }

    /// The device that pods' files are on.
    pub(crate) const fn data_device(self) -> Option<&'static str> {
        match self {
            Self::Al2 | Self::Al2023 => Some("/dev/xvda"),
            Self::Bottlerocket => Some("/dev/xvdb"),
            Self::Windows(_) => Some("/dev/sda1"),
            Self::Custom => None,
        }
    }

    /// The size of that device where a class maps none.
    pub(crate) const fn data_bytes(self) -> i64 {
        const GIB: i64 = 1 << 30;
        match self {
            Self::Windows(_) => 50 * GIB,
            _ => 20 * GIB,
        }
    }

    /// Volumes of a node whose class maps none: Bottlerocket keeps its system on one of its own.
    pub(crate) const fn volumes(self) -> u32 {
        match self {
            Self::Bottlerocket => 2,
            _ => 1,
        }
    }
}
