//! Aliases of images (`al2023@latest`, `bottlerocket@v1.20.4`): the parameters in which AWS publishes the images' ids.
//!
//! A family has several images, each for another hardware. A parameter that is not there is no mistake: not every release
//! comes for all hardware.
//!
//! compat: karpenter-provider-aws v1.14, `pkg/providers/amifamily`. Source of the paths: EKS user guide, "Retrieve recommended
//! AMI IDs"; Bottlerocket, "Finding an AMI".

use stowage_api::crd::Requirement;

/// For which hardware an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variant {
    /// Without accelerators.
    Standard,
    /// With GPUs of NVIDIA.
    Nvidia,
    /// With Neuron devices.
    Neuron,
}

/// A parameter, and which hardware the image in it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name, which is a path.
    pub path: String,
    /// Hardware.
    pub variants: &'static [Variant],
}

const STANDARD: &[Variant] = &[Variant::Standard];
const NVIDIA: &[Variant] = &[Variant::Nvidia];
const NEURON: &[Variant] = &[Variant::Neuron];
/// Images with drivers for both.
const ACCELERATED: &[Variant] = &[Variant::Neuron, Variant::Nvidia];

/// AWS stopped making images of Amazon Linux 2 here.
const AL2_ENDS: (u32, u32) = (1, 33);
/// And begins with Windows Server 2025 here.
const WINDOWS_2025_BEGINS: (u32, u32) = (1, 35);

impl Variant {
    /// What it asks of the labels of an instance type.
    pub fn requirements(self) -> Vec<Requirement> {
        let of = |key: &str, operator: &str| Requirement {
            key: format!("karpenter.k8s.aws/instance-{key}-count"),
            operator: operator.to_owned(),
            ..Requirement::default()
        };
        match self {
            Self::Standard => vec![of("accelerator", "DoesNotExist"), of("gpu", "DoesNotExist")],
            Self::Nvidia => vec![of("gpu", "Exists")],
            Self::Neuron => vec![of("accelerator", "Exists")],
        }
    }
}

/// The parameters of an alias for a version of Kubernetes.
///
/// # Errors
/// Where there is no such image, for people to read.
pub fn parameters(alias: &str, kubernetes: (u32, u32)) -> Result<Vec<Parameter>, String> {
    let (family, version) =
        alias.split_once('@').ok_or_else(|| format!("alias {alias} is not a family@version"))?;
    let (major, minor) = kubernetes;
    let k8s = format!("{major}.{minor}");
    let of = |path: String, variants| Parameter { path: format!("/aws/service/{path}/image_id"), variants };
    let is_latest = version == "latest";
    match family {
        "al2" if kubernetes >= AL2_ENDS => Err(format!(
            "alias {alias}: there are no images of Amazon Linux 2 for Kubernetes {k8s}; use al2023@latest"
        )),
        "al2" => {
            let one = |suffix: &str, name: &str, variants| {
                let name =
                    if is_latest { "recommended".to_owned() } else { format!("{name}-{k8s}-{version}") };
                of(format!("eks/optimized-ami/{k8s}/amazon-linux-2{suffix}/{name}"), variants)
            };
            Ok(vec![
                one("", "amazon-eks-node", STANDARD),
                one("-arm64", "amazon-eks-arm64-node", STANDARD),
                one("-gpu", "amazon-eks-gpu-node", ACCELERATED),
            ])
        }
        "al2023" => {
            let one = |arch: &str, variant: &str, variants| {
                let name = if is_latest {
                    "recommended".to_owned()
                } else {
                    format!("amazon-eks-node-al2023-{arch}-{variant}-{k8s}-{version}")
                };
                of(format!("eks/optimized-ami/{k8s}/amazon-linux-2023/{arch}/{variant}/{name}"), variants)
            };
            Ok(vec![
                one("x86_64", "standard", STANDARD),
                one("x86_64", "nvidia", NVIDIA),
                one("x86_64", "neuron", NEURON),
                one("arm64", "standard", STANDARD),
                one("arm64", "nvidia", NVIDIA),
            ])
        }
        "bottlerocket" => {
            let version = version.strip_prefix('v').unwrap_or(version);
            let one = |arch: &str, suffix: &str, variants| {
                of(format!("bottlerocket/aws-k8s-{k8s}{suffix}/{arch}/{version}"), variants)
            };
            Ok(vec![
                one("x86_64", "", STANDARD),
                one("arm64", "", STANDARD),
                one("x86_64", "-nvidia", ACCELERATED),
                one("arm64", "-nvidia", ACCELERATED),
            ])
        }
        "windows2019" | "windows2022" | "windows2025" => {
            let year = &family["windows".len()..];
            if year == "2025" && kubernetes < WINDOWS_2025_BEGINS {
                return Err(format!(
                    "alias {alias}: its images begin with Kubernetes 1.35, and this is {k8s}"
                ));
            }
            if !is_latest {
                return Err(format!("alias {alias}: of Windows there is {family}@latest only"));
            }
            let name = format!("Windows_Server-{year}-English-Core-EKS_Optimized-{k8s}");
            Ok(vec![of(format!("ami-windows-latest/{name}"), STANDARD)])
        }
        _ => Err(format!(
            "alias {alias}: the families are al2, al2023, bottlerocket, windows2019, windows2022 and windows2025"
        )),
    }
}

/// A version of Kubernetes as its API server states it: `1` and `35+`.
pub fn version(major: &str, minor: &str) -> Option<(u32, u32)> {
    let digits = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok();
    Some((digits(major)?, digits(minor)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(alias: &str, kubernetes: (u32, u32)) -> Vec<String> {
        let of = parameters(alias, kubernetes).expect("an alias");
        of.into_iter().map(|p| p.path.trim_start_matches("/aws/service/").to_owned()).collect()
    }

    #[test]
    fn aliases_lead_to_the_parameters_that_aws_documents() {
        assert_eq!(
            paths("al2023@latest", (1, 35))[..3],
            [
                "eks/optimized-ami/1.35/amazon-linux-2023/x86_64/standard/recommended/image_id",
                "eks/optimized-ami/1.35/amazon-linux-2023/x86_64/nvidia/recommended/image_id",
                "eks/optimized-ami/1.35/amazon-linux-2023/x86_64/neuron/recommended/image_id",
            ]
        );
        assert_eq!(
            paths("al2023@v20260107", (1, 34))[3],
            "eks/optimized-ami/1.34/amazon-linux-2023/arm64/standard/\
             amazon-eks-node-al2023-arm64-standard-1.34-v20260107/image_id"
        );
        assert_eq!(
            paths("bottlerocket@v1.20.4", (1, 30)),
            [
                "bottlerocket/aws-k8s-1.30/x86_64/1.20.4/image_id",
                "bottlerocket/aws-k8s-1.30/arm64/1.20.4/image_id",
                "bottlerocket/aws-k8s-1.30-nvidia/x86_64/1.20.4/image_id",
                "bottlerocket/aws-k8s-1.30-nvidia/arm64/1.20.4/image_id",
            ]
        );
        assert_eq!(
            paths("bottlerocket@latest", (1, 30))[0],
            "bottlerocket/aws-k8s-1.30/x86_64/latest/image_id"
        );
        assert_eq!(
            paths("al2@v20240807", (1, 29)),
            [
                "eks/optimized-ami/1.29/amazon-linux-2/amazon-eks-node-1.29-v20240807/image_id",
                "eks/optimized-ami/1.29/amazon-linux-2-arm64/amazon-eks-arm64-node-1.29-v20240807/image_id",
                "eks/optimized-ami/1.29/amazon-linux-2-gpu/amazon-eks-gpu-node-1.29-v20240807/image_id",
            ]
        );
        assert_eq!(
            paths("windows2022@latest", (1, 33)),
            ["ami-windows-latest/Windows_Server-2022-English-Core-EKS_Optimized-1.33/image_id"]
        );
    }

    #[test]
    fn what_aws_does_not_make_is_refused_with_a_remedy() {
        let refused = |alias: &str, kubernetes| parameters(alias, kubernetes).expect_err("no such image");
        assert!(refused("al2@latest", (1, 33)).ends_with("use al2023@latest"));
        assert!(parameters("al2@latest", (1, 32)).is_ok());
        assert!(refused("windows2025@latest", (1, 34)).contains("begin with Kubernetes 1.35"));
        assert!(parameters("windows2025@latest", (1, 35)).is_ok());
        for odd in ["al2023", "@", "al3@latest", "windows2022@v1", ""] {
            assert!(parameters(odd, (1, 35)).is_err(), "{odd}");
        }
    }

    #[test]
    fn versions_are_read_as_managed_clusters_state_them() {
        assert_eq!(version("1", "35"), Some((1, 35)));
        assert_eq!(version("1", "35+"), Some((1, 35)));
        assert_eq!(version("", "+"), None);
    }
}
