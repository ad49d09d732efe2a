//! Objects that suites begin with.

use serde_json::{Value, json};

/// A NodePool of ordinary machines, bought on demand, of the class `default`.
pub fn node_pool(name: &str) -> Value {
    json!({
        "apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": name},
        "spec": {
            "template": {"spec": {
                "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"},
                "requirements": [
                    {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]},
                    {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]},
                    {"key": "karpenter.k8s.aws/instance-category", "operator": "In", "values": ["c", "m", "r"]},
                ],
            }},
            "disruption": {"consolidateAfter": "0s"},
        },
    })
}

/// A Deployment in the namespace `default`, of pods that end at once.
pub fn deployment(name: &str, replicas: usize, cpu: &str, memory: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [
                    {"name": "web", "image": "web", "resources": {"requests": {"cpu": cpu, "memory": memory}}},
                ],
            }},
        },
    })
}
