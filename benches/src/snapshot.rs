//! A workload as the Kubernetes List that `kubectl get -o json` would print of it, without its white space.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::Workload;
use crate::service::Service;

/// Writes the snapshot: a `NodePool` that allows every instance type on demand, two `DaemonSets`, and the pending pods.
///
/// # Errors
/// Where `out` cannot be written.
pub fn write(workload: &Workload, out: &mut impl Write) -> io::Result<()> {
    out.write_all(br#"{"apiVersion":"v1","kind":"List","items":["#)?;
    write!(out, "\n{}", node_pool())?;
    write!(out, ",\n{}", daemon_set("aws-node", 50, 64))?;
    write!(out, ",\n{}", daemon_set("log-shipper", 100, 200))?;
    for service in &workload.services {
        let template = Template::of(service);
        for replica in 0..service.replicas {
            out.write_all(b",\n")?;
            template.write(replica, out)?;
        }
    }
    out.write_all(b"\n]}\n")
}

fn node_pool() -> Value {
    json!({"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "default"}, "spec": {"template": {"spec": {
        "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"},
        "requirements": [{"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]}],
    }}}})
}

fn daemon_set(name: &str, cpu_millis: u64, memory_mib: u64) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name, "namespace": "kube-system"}, "spec": {
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {
            "tolerations": [{"operator": "Exists"}],
            "containers": [container(name, cpu_millis, memory_mib)],
        }},
    }})
}

fn container(name: &str, cpu_millis: u64, memory_mib: u64) -> Value {
    let (cpu, memory) = (format!("{cpu_millis}m"), format!("{memory_mib}Mi"));
    json!({"name": name, "image": format!("registry/{name}:v1"), "resources": {
        "requests": {"cpu": cpu, "memory": memory},
    }})
}

/// The text of a service's pods, cut where a pod's own name goes: a hundred thousand pods are written in well under a
/// second that way.
struct Template {
    pieces: Vec<String>,
    prefix: String,
}

/// Stands for a pod's own name; no other text of a pod has a `#`.
const NAME: &str = "#name#";

impl Template {
    fn of(service: &Service) -> Self {
        let replica_set = format!("{}-7d4b9c6f58", service.name);
        let text = pod(service, &replica_set).to_string();
        Self { pieces: text.split(NAME).map(str::to_owned).collect(), prefix: replica_set }
    }

    fn write(&self, replica: usize, out: &mut impl Write) -> io::Result<()> {
        for (at, piece) in self.pieces.iter().enumerate() {
            if at > 0 {
                write!(out, "{}-{replica:05}", self.prefix)?;
            }
            out.write_all(piece.as_bytes())?;
        }
        Ok(())
    }
}

fn pod(service: &Service, replica_set: &str) -> Value {
    let name = service.name.as_str();
    let selector = json!({"matchLabels": {"app": name}});
    let mut spec = json!({
        "containers": [container(name, service.cpu_millis, service.memory_mib)],
    });
    if service.zone_spread {
        spec["topologySpreadConstraints"] = json!([{
            "maxSkew": 1,
            "topologyKey": "topology.kubernetes.io/zone",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": selector,
        }]);
    }
    if service.one_a_node {
        let term = json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": selector});
        spec["affinity"] =
            json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": NAME,
            "namespace": service.namespace,
            "uid": format!("uid-{NAME}"),
            "labels": {"app": name},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": replica_set, "uid": format!("uid-{replica_set}"), "controller": true}],
        },
        "spec": spec,
        "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]},
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_pod_is_there_once() {
        let workload = Workload::new(1_000, 1);
        let list: Value = serde_json::from_slice(&workload.to_json()).unwrap();
        let items = list["items"].as_array().unwrap();
        let pods: Vec<&Value> = items.iter().filter(|item| item["kind"] == "Pod").collect();
        let names: BTreeSet<String> = pods
            .iter()
            .map(|p| format!("{}/{}", p["metadata"]["namespace"], p["metadata"]["name"]))
            .collect();
        assert_eq!((items.len(), pods.len(), names.len(), workload.pods()), (1_003, 1_000, 1_000, 1_000));
        assert!(!list.to_string().contains('#'));
    }

    #[test]
    fn rules_are_those_of_the_service() {
        let workload = Workload::new(1_000, 1);
        let list: Value = serde_json::from_slice(&workload.to_json()).unwrap();
        for service in &workload.services {
            let mut pods = list["items"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|i| i["metadata"]["labels"]["app"] == service.name);
            let spec = &pods.next().unwrap()["spec"];
            assert_eq!(
                spec.get("topologySpreadConstraints").is_some(),
                service.zone_spread,
                "{}",
                service.name
            );
            assert_eq!(spec.get("affinity").is_some(), service.one_a_node, "{}", service.name);
            assert_eq!(
                spec["containers"][0]["resources"]["requests"]["cpu"],
                format!("{}m", service.cpu_millis)
            );
            assert_eq!(1 + pods.count(), service.replicas);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        assert_eq!(Workload::new(500, 3).to_json(), Workload::new(500, 3).to_json());
        assert_ne!(Workload::new(500, 3).to_json(), Workload::new(500, 4).to_json());
    }

    #[test]
    fn a_pod_is_about_as_long_as_one_that_kubectl_prints_without_white_space() {
        let bytes = Workload::new(10_000, Workload::SEED).to_json().len();
        assert!((600..800).contains(&(bytes / 10_000)), "{} bytes a pod", bytes / 10_000);
    }
}
