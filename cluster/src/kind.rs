//! The kinds that are read, told from others of the same name by their API group.

/// A kind of objects that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is named as Kubernetes names it")]
pub enum Kind {
    Pod,
    Node,
    PersistentVolumeClaim,
    PersistentVolume,
    StorageClass,
    CsiNode,
    DaemonSet,
    Namespace,
    PriorityClass,
    RuntimeClass,
    NodePool,
    NodeClaim,
    Ec2NodeClass,
    ResourceClaim,
    ResourceClaimTemplate,
    DeviceClass,
    ResourceSlice,
    FargateProfile,
    Job,
    NodeOverlay,
    Service,
    VolumeAttachment,
    PodDisruptionBudget,
}

impl Kind {
    const TABLE: [(Self, &'static str, &'static str); 23] = [
        (Self::Pod, "Pod", ""),
        (Self::Node, "Node", ""),
        (Self::PersistentVolumeClaim, "PersistentVolumeClaim", ""),
        (Self::PersistentVolume, "PersistentVolume", ""),
        (Self::StorageClass, "StorageClass", "storage.k8s.io"),
        (Self::CsiNode, "CSINode", "storage.k8s.io"),
        (Self::DaemonSet, "DaemonSet", "apps"),
        (Self::Namespace, "Namespace", ""),
        (Self::PriorityClass, "PriorityClass", "scheduling.k8s.io"),
        (Self::RuntimeClass, "RuntimeClass", "node.k8s.io"),
        (Self::NodePool, "NodePool", "karpenter.sh"),
        (Self::NodeClaim, "NodeClaim", "karpenter.sh"),
        (Self::Ec2NodeClass, "EC2NodeClass", "karpenter.k8s.aws"),
        (Self::ResourceClaim, "ResourceClaim", "resource.k8s.io"),
        (Self::ResourceClaimTemplate, "ResourceClaimTemplate", "resource.k8s.io"),
        (Self::DeviceClass, "DeviceClass", "resource.k8s.io"),
        (Self::ResourceSlice, "ResourceSlice", "resource.k8s.io"),
        (Self::FargateProfile, "FargateProfile", "eks.services.k8s.aws"),
        (Self::Job, "Job", "batch"),
        (Self::Service, "Service", ""),
        (Self::NodeOverlay, "NodeOverlay", "karpenter.sh"),
        (Self::VolumeAttachment, "VolumeAttachment", "storage.k8s.io"),
        (Self::PodDisruptionBudget, "PodDisruptionBudget", "policy"),
    ];

    /// The kind of this name, where the API version is of its group or not stated. Other projects have a `NodePool` too.
    pub(crate) fn of(name: &str, version: &str) -> Option<Self> {
        let (kind, _, group) = Self::TABLE.iter().find(|(_, n, _)| *n == name)?;
        let stated = version.split_once('/').map_or("", |(group, _)| group);
        (version.is_empty() || stated == *group).then_some(*kind)
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::TABLE.iter().map(|(kind, ..)| *kind)
    }

    /// Its API group; empty for the core of Kubernetes.
    pub fn group(self) -> &'static str {
        Self::TABLE.iter().find(|(kind, ..)| *kind == self).map_or("", |(.., group)| group)
    }

    /// Its name, as in an object's `kind`.
    pub fn name(self) -> &'static str {
        Self::TABLE.iter().find(|(kind, ..)| *kind == self).map_or("", |(_, name, _)| name)
    }

    /// Whether its objects live in namespaces.
    pub fn is_namespaced(self) -> bool {
        matches!(
            self,
            Self::Pod
                | Self::PersistentVolumeClaim
                | Self::DaemonSet
                | Self::ResourceClaim
                | Self::ResourceClaimTemplate
                | Self::FargateProfile
                | Self::Job
                | Self::Service
                | Self::PodDisruptionBudget
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_apart_by_group() {
        assert_eq!(Kind::of("NodePool", "karpenter.sh/v1"), Some(Kind::NodePool));
        assert_eq!(Kind::of("NodePool", "hypershift.openshift.io/v1beta1"), None);
        assert_eq!(Kind::of("Pod", "v1"), Some(Kind::Pod));
        assert_eq!(Kind::of("Pod", ""), Some(Kind::Pod));
        assert_eq!(Kind::of("ReplicaSet", "apps/v1"), None);
        assert_eq!(Kind::Ec2NodeClass.name(), "EC2NodeClass");
    }
}
