//! Names that Kubernetes, Karpenter and the AWS provider agree on: labels, taints, annotations, resources, drivers.
//!
//! Every such name that Stowage uses stands here once.

/// Label: CPU architecture, as `amd64`.
pub const ARCH: &str = "kubernetes.io/arch";
/// Label: operating system, as `linux`.
pub const OS: &str = "kubernetes.io/os";
/// Label: host name, unique to a node.
pub const HOSTNAME: &str = "kubernetes.io/hostname";
/// Label: availability zone.
pub const ZONE: &str = "topology.kubernetes.io/zone";
/// Label: region.
pub const REGION: &str = "topology.kubernetes.io/region";
/// Label: availability zone id, as `use1-az1`.
pub const ZONE_ID: &str = "topology.k8s.aws/zone-id";
/// Label: instance type.
pub const INSTANCE_TYPE: &str = "node.kubernetes.io/instance-type";
/// Label: Windows build.
pub const WINDOWS_BUILD: &str = "node.kubernetes.io/windows-build";
/// Label that every Namespace carries: its name.
pub const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// Older names for stable node labels, and the EBS driver's own: (alias, stable name). kubelet, the cloud controller
/// and the EBS driver set them beside the stable ones on every node.
pub const ALIASES: [(&str, &str); 6] = [
    ("beta.kubernetes.io/arch", ARCH),
    ("beta.kubernetes.io/instance-type", INSTANCE_TYPE),
    ("beta.kubernetes.io/os", OS),
    ("failure-domain.beta.kubernetes.io/region", REGION),
    ("failure-domain.beta.kubernetes.io/zone", ZONE),
    (EBS_ZONE, ZONE),
];

/// The stable name of a label: itself, unless it is one of [`ALIASES`].
pub fn stable(key: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == key).map_or(key, |(_, stable)| stable)
}

/// Label: `NodePool` of a node.
pub const NODE_POOL: &str = "karpenter.sh/nodepool";
/// Label: capacity type, one of [`ON_DEMAND`], [`SPOT`], [`RESERVED`].
pub const CAPACITY_TYPE: &str = "karpenter.sh/capacity-type";
/// Label: `true` once a node has joined and carries its `NodeClaim`'s labels and taints.
pub const REGISTERED: &str = "karpenter.sh/registered";
/// Label: `true` once a node is ready for pods.
pub const INITIALIZED: &str = "karpenter.sh/initialized";
/// Label: `EC2NodeClass` of a node.
pub const EC2_NODE_CLASS: &str = "karpenter.k8s.aws/ec2nodeclass";
/// Label of nodes of EKS's own node groups: the image that they were launched from.
pub const NODE_GROUP_IMAGE: &str = "eks.amazonaws.com/nodegroup-image";

/// Value of [`CAPACITY_TYPE`].
pub const ON_DEMAND: &str = "on-demand";
/// Value of [`CAPACITY_TYPE`].
pub const SPOT: &str = "spot";
/// Value of [`CAPACITY_TYPE`].
pub const RESERVED: &str = "reserved";

/// Label domains whose keys only Karpenter and the AWS provider define, subdomains included.
pub const RESTRICTED_DOMAINS: [&str; 3] = ["karpenter.sh", "karpenter.k8s.aws", "topology.k8s.aws"];

/// Whether a label's domain is one of [`RESTRICTED_DOMAINS`] or ends in one: no user gives such a label a value of
/// their own.
pub fn is_restricted(key: &str) -> bool {
    key.split_once('/').is_some_and(|(domain, _)| RESTRICTED_DOMAINS.iter().any(|r| domain.ends_with(r)))
}

/// Label: instance category, as `m`.
pub const INSTANCE_CATEGORY: &str = "karpenter.k8s.aws/instance-category";
/// Label: instance family, as `m7i`.
pub const INSTANCE_FAMILY: &str = "karpenter.k8s.aws/instance-family";
/// Label: instance generation, as `7`.
pub const INSTANCE_GENERATION: &str = "karpenter.k8s.aws/instance-generation";
/// Label: instance size, as `large`.
pub const INSTANCE_SIZE: &str = "karpenter.k8s.aws/instance-size";
/// Label: vCPUs.
pub const INSTANCE_CPU: &str = "karpenter.k8s.aws/instance-cpu";
/// Label: CPU manufacturer, as `intel`.
pub const INSTANCE_CPU_MANUFACTURER: &str = "karpenter.k8s.aws/instance-cpu-manufacturer";
/// Label: sustained CPU clock speed, MHz.
pub const INSTANCE_CPU_CLOCK_SPEED: &str = "karpenter.k8s.aws/instance-cpu-sustained-clock-speed-mhz";
/// Label: memory, MiB.
pub const INSTANCE_MEMORY: &str = "karpenter.k8s.aws/instance-memory";
/// Label: EBS bandwidth, megabits a second.
pub const INSTANCE_EBS_BANDWIDTH: &str = "karpenter.k8s.aws/instance-ebs-bandwidth";
/// Label: network bandwidth, megabits a second.
pub const INSTANCE_NETWORK_BANDWIDTH: &str = "karpenter.k8s.aws/instance-network-bandwidth";
/// Label: hypervisor, as `nitro`.
pub const INSTANCE_HYPERVISOR: &str = "karpenter.k8s.aws/instance-hypervisor";
/// Label: whether traffic between instances is encrypted in transit.
pub const INSTANCE_ENCRYPTION_IN_TRANSIT: &str = "karpenter.k8s.aws/instance-encryption-in-transit-supported";
/// Label: whether the type is a flex type.
pub const INSTANCE_CAPABILITY_FLEX: &str = "karpenter.k8s.aws/instance-capability-flex";
/// Label: local `NVMe` storage, GiB.
pub const INSTANCE_LOCAL_NVME: &str = "karpenter.k8s.aws/instance-local-nvme";
/// Label: GPU name.
pub const INSTANCE_GPU_NAME: &str = "karpenter.k8s.aws/instance-gpu-name";
/// Label: GPU manufacturer.
pub const INSTANCE_GPU_MANUFACTURER: &str = "karpenter.k8s.aws/instance-gpu-manufacturer";
/// Label: GPUs.
pub const INSTANCE_GPU_COUNT: &str = "karpenter.k8s.aws/instance-gpu-count";
/// Label: memory of one GPU, MiB.
pub const INSTANCE_GPU_MEMORY: &str = "karpenter.k8s.aws/instance-gpu-memory";
/// Label: accelerator name.
pub const INSTANCE_ACCELERATOR_NAME: &str = "karpenter.k8s.aws/instance-accelerator-name";
/// Label: accelerator manufacturer.
pub const INSTANCE_ACCELERATOR_MANUFACTURER: &str = "karpenter.k8s.aws/instance-accelerator-manufacturer";
/// Label: accelerators.
pub const INSTANCE_ACCELERATOR_COUNT: &str = "karpenter.k8s.aws/instance-accelerator-count";
/// Label: tenancy, `default` or `dedicated`.
pub const INSTANCE_TENANCY: &str = "karpenter.k8s.aws/instance-tenancy";
/// Label: whether the type can run Nitro enclaves.
pub const NITRO_SANDBOX: &str = "karpenter.k8s.aws/nitro-sandbox";
/// Value of [`INSTANCE_TENANCY`]: hardware shared with other accounts.
pub const DEFAULT_TENANCY: &str = "default";
/// Label: capacity reservation of a reserved offering.
pub const CAPACITY_RESERVATION_ID: &str = "karpenter.k8s.aws/capacity-reservation-id";
/// Label: type of the capacity reservation, `default` or `capacity-block`.
pub const CAPACITY_RESERVATION_TYPE: &str = "karpenter.k8s.aws/capacity-reservation-type";
/// Label: whether AWS may take the capacity of the reservation back.
pub const CAPACITY_RESERVATION_INTERRUPTIBLE: &str = "karpenter.k8s.aws/capacity-reservation-interruptible";
/// Label: placement group that a node is launched into.
pub const PLACEMENT_GROUP_ID: &str = "karpenter.k8s.aws/placement-group-id";
/// Label: partition of the placement group.
pub const PLACEMENT_GROUP_PARTITION: &str = "karpenter.k8s.aws/placement-group-partition";

/// Annotation: keeps a pod or node from being moved voluntarily.
pub const DO_NOT_DISRUPT: &str = "karpenter.sh/do-not-disrupt";
/// Annotation: what it costs to delete a pod, compared with others of its workload.
pub const POD_DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// Annotation: hash of the `NodePool` template that a `NodeClaim` was made from.
pub const NODE_POOL_HASH: &str = "karpenter.sh/nodepool-hash";
/// Annotation: version of that hash.
pub const NODE_POOL_HASH_VERSION: &str = "karpenter.sh/nodepool-hash-version";
/// Annotation: hash of the `EC2NodeClass` that a machine was launched by.
pub const NODE_CLASS_HASH: &str = "karpenter.k8s.aws/ec2nodeclass-hash";
/// Annotation: version of that hash.
pub const NODE_CLASS_HASH_VERSION: &str = "karpenter.k8s.aws/ec2nodeclass-hash-version";

/// Domain of annotations of our own.
pub const OWN_DOMAIN: &str = "stowage.dev/";
/// Annotation of `NodeClaims`: those that go when its node takes pods, with commas between.
pub const REPLACES: &str = "stowage.dev/replaces";
/// Annotation: dollars an hour that a node costs beside its instance.
pub const NODE_COST: &str = "stowage.dev/node-cost";
/// Annotation: the least vCPUs of a node.
pub const MIN_NODE_CPU: &str = "stowage.dev/min-node-cpu";
/// Annotation: the most vCPUs of a node.
pub const MAX_NODE_CPU: &str = "stowage.dev/max-node-cpu";
/// Annotation: the least advertised memory of a node.
pub const MIN_NODE_MEMORY: &str = "stowage.dev/min-node-memory";
/// Annotation: the most advertised memory of a node.
pub const MAX_NODE_MEMORY: &str = "stowage.dev/max-node-memory";

/// Taint: the node is about to be removed.
pub const TAINT_DISRUPTED: &str = "karpenter.sh/disrupted";
/// Taint: the node has joined, and its labels and taints are not set yet.
pub const TAINT_UNREGISTERED: &str = "karpenter.sh/unregistered";
/// Taint: cordoned.
pub const TAINT_UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Taint: kubelet is not ready.
pub const TAINT_NOT_READY: &str = "node.kubernetes.io/not-ready";
/// Taint: kubelet is not heard of.
pub const TAINT_UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// Taint: the cloud controller has not seen the node yet.
pub const TAINT_UNINITIALIZED: &str = "node.cloudprovider.kubernetes.io/uninitialized";
/// Taint: the disk is nearly full.
pub const TAINT_DISK_PRESSURE: &str = "node.kubernetes.io/disk-pressure";
/// Taint: memory is nearly full.
pub const TAINT_MEMORY_PRESSURE: &str = "node.kubernetes.io/memory-pressure";
/// Taint: process ids are nearly used up.
pub const TAINT_PID_PRESSURE: &str = "node.kubernetes.io/pid-pressure";
/// Taint: no route to the node yet.
pub const TAINT_NETWORK_UNAVAILABLE: &str = "node.kubernetes.io/network-unavailable";

/// Whether a node sheds a taint by itself while it starts: such taints are not held against a Karpenter node that is not
/// initialized. Those of readiness gates for nodes have a prefix of their own.
///
/// compat: karpenter v1.14, `KnownEphemeralTaints`.
pub fn is_starting_taint(key: &str) -> bool {
    [TAINT_NOT_READY, TAINT_UNREACHABLE, TAINT_UNREGISTERED, TAINT_UNINITIALIZED].contains(&key)
        || key.starts_with("readiness.k8s.io/")
}

/// Resource: CPU, in cores.
pub const CPU: &str = "cpu";
/// Resource: memory, in bytes.
pub const MEMORY: &str = "memory";
/// Resource: local disk, in bytes.
pub const EPHEMERAL_STORAGE: &str = "ephemeral-storage";
/// Resource: number of pods.
pub const PODS: &str = "pods";
/// Prefix of the resources of pre-allocated huge pages, in bytes.
pub const HUGEPAGES_PREFIX: &str = "hugepages-";
/// Resource: EBS volumes that can be attached.
pub const EBS_SLOTS: &str = "attachable-volumes-aws-ebs";
/// Pseudo-resource of `NodePool` limits: number of nodes.
pub const NODES: &str = "nodes";
/// Resource: NVIDIA GPUs.
pub const NVIDIA_GPU: &str = "nvidia.com/gpu";
/// Resource: AMD GPUs.
pub const AMD_GPU: &str = "amd.com/gpu";
/// Resource: AWS Neuron devices.
pub const NEURON: &str = "aws.amazon.com/neuron";
/// Resource: AWS Neuron cores.
pub const NEURON_CORE: &str = "aws.amazon.com/neuroncore";
/// Resource: Habana Gaudi accelerators.
pub const GAUDI: &str = "habana.ai/gaudi";
/// Resource: branch network interfaces.
pub const POD_ENI: &str = "vpc.amazonaws.com/pod-eni";
/// Resource: private addresses on Windows nodes.
pub const PRIVATE_IPV4_ADDRESS: &str = "vpc.amazonaws.com/PrivateIPv4Address";
/// Resource: Elastic Fabric Adapters.
pub const EFA: &str = "vpc.amazonaws.com/efa";

/// Whether a resource is counted in bytes, and so is best shown with a binary suffix.
pub fn is_bytes(resource: &str) -> bool {
    resource == MEMORY || resource == EPHEMERAL_STORAGE || resource.starts_with(HUGEPAGES_PREFIX)
}

/// Annotations that make a storage class the default one, where they are `true`; the second is the older.
pub const DEFAULT_CLASS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];
/// Provisioner of storage classes that make no volumes: theirs are made by hand.
pub const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// Label of nodes by which the EBS driver says where it can attach volumes.
pub const EBS_ZONE: &str = "topology.ebs.csi.aws.com/zone";

/// Drivers and in-tree provisioners of EBS volumes.
pub const EBS_DRIVERS: [&str; 3] = ["ebs.csi.aws.com", "ebs.csi.eks.amazonaws.com", "kubernetes.io/aws-ebs"];

/// Annotation of Services: whether their load balancer finds pods by `instance` or `ip`.
pub const LOAD_BALANCER_TARGETS: &str = "service.beta.kubernetes.io/aws-load-balancer-nlb-target-type";
/// Annotation of Services: the sort of their load balancer; `nlb-ip` finds pods by address.
pub const LOAD_BALANCER_TYPE: &str = "service.beta.kubernetes.io/aws-load-balancer-type";
/// Annotation of `CSINode`s: the drivers of old, whose work is done by newer ones on the node; commas between.
pub const MIGRATED_PLUGINS: &str = "storage.alpha.kubernetes.io/migrated-plugins";
/// Annotation of `NodeClaim`s: by when the machine has to be gone.
pub const TERMINATION_TIMESTAMP: &str = "karpenter.sh/nodeclaim-termination-timestamp";
/// Annotations of others that are read.
pub const READ_ANNOTATIONS: [&str; 10] = [
    DO_NOT_DISRUPT,
    LOAD_BALANCER_TARGETS,
    LOAD_BALANCER_TYPE,
    MIGRATED_PLUGINS,
    NODE_CLASS_HASH,
    NODE_CLASS_HASH_VERSION,
    NODE_POOL_HASH,
    NODE_POOL_HASH_VERSION,
    POD_DELETION_COST,
    TERMINATION_TIMESTAMP,
];
/// The scheduler of pods that Fargate runs: EKS gives it to them when they are created.
pub const FARGATE_SCHEDULER: &str = "fargate-scheduler";
/// Label of Fargate's nodes: [`FARGATE`].
pub const COMPUTE_TYPE: &str = "eks.amazonaws.com/compute-type";
/// Value of [`COMPUTE_TYPE`].
pub const FARGATE: &str = "fargate";
/// Drivers of EFS file systems.
pub const EFS_DRIVER: &str = "efs.csi.aws.com";
/// Driver of `FSx` for Lustre.
pub const LUSTRE_DRIVER: &str = "fsx.csi.aws.com";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_have_stable_names() {
        assert_eq!(stable("beta.kubernetes.io/arch"), ARCH);
        assert_eq!(stable("topology.ebs.csi.aws.com/zone"), ZONE);
        assert_eq!(stable(ZONE), ZONE);
        assert_eq!(stable("team"), "team");
    }

    #[test]
    fn restricted_domains_include_subdomains() {
        assert!(is_restricted(INSTANCE_FAMILY));
        assert!(is_restricted("compatibility.karpenter.sh/provider"));
        assert!(is_restricted(ZONE_ID));
        assert!(!is_restricted(ZONE));
        assert!(!is_restricted("karpenter.sh"));
        assert!(!is_restricted("team"));
    }
}
