//! What EKS does about Fargate, as far as a cluster sees it: a stand-in of ours, as nobody else's can be had.
//!
//! ```text
//! pod ─▶ 0500-amazon-eks-fargate-mutation (TLS) ─▶ schedulerName, profile, priority
//!                                                       └─▶ fargate-scheduler ─▶ a node for it alone, bound, CapacityProvisioned
//! ```
//!
//! Source: EKS User Guide, "Define which Pods use AWS Fargate when launched" and "Understand Fargate Pod configuration
//! details"; what pods look like there.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use stowage_pricing::fargate::Profile;

use crate::aws::read_request;
use crate::client::Client;
use crate::kubelets::KWOK;
use crate::world::holds;

/// How EKS calls its own registration.
const REGISTRATION: &str = "0500-amazon-eks-fargate-mutation.amazonaws.com";
const SCHEDULER: &str = "fargate-scheduler";
const COMPUTE_TYPE: &str = "eks.amazonaws.com/compute-type";
const PROFILE: &str = "eks.amazonaws.com/fargate-profile";
/// How often pods are looked for.
const EVERY: Duration = Duration::from_millis(100);

/// EKS's part. It ends when this is dropped.
#[derive(Debug)]
pub struct Eks {
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct State {
    ended: AtomicBool,
    /// Whether there is no capacity: pods wait.
    full: AtomicBool,
    profiles: Mutex<Vec<Profile>>,
}

impl Eks {
    /// Registers the webhook and begins to run pods that these profiles take.
    ///
    /// # Errors
    /// Where it cannot be registered.
    pub fn start(client: &Client, profiles: Vec<Profile>) -> Result<Self> {
        let state = State {
            ended: AtomicBool::new(false),
            full: AtomicBool::new(false),
            profiles: Mutex::new(profiles),
        };
        let state = Arc::new(state);
        let (port, authority) = serve(&state)?;
        let registration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": REGISTRATION},
            "webhooks": [{
                "name": REGISTRATION,
                "admissionReviewVersions": ["v1"],
                "clientConfig": {"url": format!("https://127.0.0.1:{port}/mutate"), "caBundle": authority},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
                "failurePolicy": "Ignore", "sideEffects": "None", "reinvocationPolicy": "Never",
            }],
        });
        client
            .create("/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations", &registration)?;
        let (shared, client) = (Arc::clone(&state), client.clone());
        let thread = thread::spawn(move || {
            while !shared.ended.load(Ordering::Relaxed) {
                // Where the API server does not answer: the next look will tell.
                drop(schedule(&client, shared.full.load(Ordering::Relaxed)));
                thread::sleep(EVERY);
            }
        });
        Ok(Self { state, thread: Some(thread) })
    }

    /// From now on there is no capacity, or there is again.
    pub fn full(&self, full: bool) {
        self.state.full.store(full, Ordering::Relaxed);
    }

    /// These are the profiles from now on.
    pub fn profiles(&self, profiles: Vec<Profile>) {
        *self.state.profiles.lock().unwrap_or_else(PoisonError::into_inner) = profiles;
    }
}

impl Drop for Eks {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Serves the webhook on a port of loopback; gives that and the authority, in base64.
fn serve(state: &Arc<State>) -> Result<(u16, String)> {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()])?;
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes())?];
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes())?)?;
    let config = Arc::new(config);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port of loopback is free")?;
    let port = listener.local_addr()?.port();
    let state = Arc::clone(state);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (config, state) = (Arc::clone(&config), Arc::clone(&state));
            thread::spawn(move || drop(connection(stream, config, &state)));
        }
    });
    Ok((port, STANDARD.encode(certificate)))
}

fn connection(stream: TcpStream, config: Arc<ServerConfig>, state: &State) -> Result<()> {
    let mut reader = BufReader::new(StreamOwned::new(ServerConnection::new(config)?, stream));
    while let Some(body) = read_request(&mut reader)? {
        let review: Value = serde_json::from_str(&body)?;
        let profiles = state.profiles.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = mutated(&review["request"], &profiles).to_string();
        let writer = reader.get_mut();
        write!(
            writer,
            "HTTP/1.1 200 -\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{answer}",
            answer.len()
        )?;
        writer.flush()?;
    }
    Ok(())
}

/// Whether a text is as a pattern says, in which `*` is any characters and `?` is one. Source: EKS User Guide, "Fargate profile
/// wildcards".
fn is_like(pattern: &str, text: &str) -> bool {
    let Some(first) = pattern.chars().next() else { return text.is_empty() };
    let rest = &pattern[first.len_utf8()..];
    if first == '*' {
        return text.char_indices().any(|(at, _)| is_like(rest, &text[at..])) || is_like(rest, "");
    }
    let Some(head) = text.chars().next() else { return false };
    (first == '?' || first == head) && is_like(rest, &text[head.len_utf8()..])
}

/// The profile that takes a pod: the one that its label names, or else the first by name; one of whose selectors has its namespace
/// and labels that it has. Source: EKS User Guide, "Define which Pods use AWS Fargate when launched".
fn chosen<'p>(
    profiles: &'p [Profile],
    namespace: &str,
    labels: &BTreeMap<String, String>,
) -> Option<&'p Profile> {
    let takes = |profile: &&Profile| {
        profile.selectors.iter().any(|selector| {
            let has =
                |(key, value): (&String, &String)| labels.get(key).is_some_and(|own| is_like(value, own));
            is_like(&selector.namespace, namespace) && selector.labels.iter().all(has)
        })
    };
    let named = |profile: &&Profile| labels.get(PROFILE).is_none_or(|name| *name == profile.name);
    profiles.iter().filter(named).filter(takes).min_by_key(|profile| &profile.name)
}

/// What EKS makes of a pod that is being created.
fn mutated(request: &Value, profiles: &[Profile]) -> Value {
    let mut response = json!({"uid": request["uid"], "allowed": true});
    let pod = &request["object"];
    let labels: BTreeMap<String, String> =
        serde_json::from_value(pod["metadata"]["labels"].clone()).unwrap_or_default();
    let namespace = request["namespace"].as_str().unwrap_or_default();
    if let Some(profile) = chosen(profiles, namespace, &labels) {
        let mut all = labels.clone();
        all.insert(PROFILE.to_owned(), profile.name.clone());
        let patch = json!([
            {"op": "add", "path": "/metadata/labels", "value": all},
            {"op": "add", "path": "/spec/schedulerName", "value": SCHEDULER},
            {"op": "add", "path": "/spec/priorityClassName", "value": "system-node-critical"},
            {"op": "add", "path": "/spec/priority", "value": 2_000_001_000},
        ]);
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(STANDARD.encode(patch.to_string()));
    }
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
}

/// Gives each pod that waits for Fargate a node, and takes away nodes whose pods are gone.
fn schedule(client: &Client, full: bool) -> Result<()> {
    let pods = client.get("/api/v1/pods?fieldSelector=spec.schedulerName=fargate-scheduler")?;
    let pods = pods["items"].as_array().cloned().unwrap_or_default();
    let nodes = client.get(&format!("/api/v1/nodes?labelSelector={COMPUTE_TYPE}=fargate"))?;
    let nodes = nodes["items"].as_array().cloned().unwrap_or_default();
    let mut used = BTreeSet::new();
    for pod in &pods {
        let node = format!("fargate-{}", pod["metadata"]["uid"].as_str().unwrap_or_default());
        used.insert(node.clone());
        let (namespace, name) = (text(pod, "namespace"), text(pod, "name"));
        if full || pod["spec"]["nodeName"].is_string() || !pod["metadata"]["deletionTimestamp"].is_null() {
            continue;
        }
        // A pod is bound to a node that is ready: kwok does not run those that come before.
        match nodes.iter().find(|found| text(found, "name") == node) {
            Some(found) if holds(found, "Ready") => {}
            Some(_) => continue,
            None => {
                client.create("/api/v1/nodes", &machine(&node))?;
                continue;
            }
        }
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
        let provisioned = json!({"metadata": {"annotations": {"CapacityProvisioned": billed(pod)}}});
        client.patch(&path, &provisioned)?;
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        client.create(&format!("{path}/binding"), &binding)?;
    }
    for node in &nodes {
        let name = text(node, "name");
        if !used.contains(name) {
            client.delete(&format!("/api/v1/nodes/{name}"))?;
        }
    }
    Ok(())
}

/// The node of one pod.
fn machine(name: &str) -> Value {
    let amounts = json!({"cpu": "16", "memory": "120Gi", "pods": "1", "ephemeral-storage": "20Gi"});
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {(COMPUTE_TYPE): "fargate", "kubernetes.io/os": "linux", "kubernetes.io/hostname": name},
            "annotations": {(KWOK): "fake"},
        },
        "spec": {"taints": [{"key": COMPUTE_TYPE, "value": "fargate", "effect": "NoSchedule"}]},
        "status": {"capacity": amounts, "allocatable": amounts},
    })
}

/// What is billed for a pod of one container that asks for millicores or whole vCPUs, and MiB or GiB: 256 MiB more, and the
/// smallest shape that holds it. Source: EKS User Guide, "Understand Fargate Pod configuration details", its table of shapes.
fn billed(pod: &Value) -> String {
    let requests = &pod["spec"]["containers"][0]["resources"]["requests"];
    let number = |key: &str, units: [&str; 2], each: f64| {
        let text = requests[key].as_str().unwrap_or_default();
        let (small, large) =
            (text.strip_suffix(units[0]), text.strip_suffix(units[1]).filter(|_| !units[1].is_empty()));
        let of = |text: &str| text.parse::<f64>().unwrap_or_default();
        small.map(of).or_else(|| large.map(|n| of(n) * each)).unwrap_or_else(|| of(text) * each)
    };
    let (cpu, memory) =
        (number("cpu", ["m", ""], 1_000.0) / 1_000.0, number("memory", ["Mi", "Gi"], 1_024.0));
    let memory = (memory + 256.0) / 1_024.0;
    let found = SHAPES.iter().find(|(vcpu, most, _)| cpu <= *vcpu && memory <= *most);
    let (vcpu, _, sizes) = found.unwrap_or(&SHAPES[SHAPES.len() - 1]);
    let size = sizes.iter().find(|size| memory <= **size).copied();
    // From 8 vCPUs on memory comes in steps.
    let size =
        size.unwrap_or_else(|| sizes.last().map_or(memory, |last| last + (memory - last).max(0.0).ceil()));
    format!("{vcpu}vCPU {size}GB")
}

/// vCPUs, the most memory in GB, and sizes of memory; the next are a GB more each.
const SHAPES: [(f64, f64, &[f64]); 7] = [
    (0.25, 2.0, &[0.5, 1.0, 2.0]),
    (0.5, 4.0, &[1.0, 2.0, 3.0, 4.0]),
    (1.0, 8.0, &[2.0]),
    (2.0, 16.0, &[4.0]),
    (4.0, 30.0, &[8.0]),
    (8.0, 60.0, &[16.0, 20.0, 24.0, 28.0, 32.0, 36.0, 40.0, 44.0, 48.0, 52.0, 56.0, 60.0]),
    (16.0, 120.0, &[32.0, 40.0, 48.0, 56.0, 64.0, 72.0, 80.0, 88.0, 96.0, 104.0, 112.0, 120.0]),
];

fn text<'v>(object: &'v Value, key: &str) -> &'v str {
    object["metadata"][key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::is_like;

    #[test]
    fn patterns_are_those_of_eks() {
        for (pattern, text, is) in [
            ("prod*", "prod", true),
            ("prod*", "prod-a", true),
            ("*a", "prod-a", true),
            ("p?od", "prod", true),
            ("p?od", "pod", false),
            ("*-*-?", "a-b-c", true),
            ("prod", "prod-a", false),
            ("", "", true),
        ] {
            assert_eq!(is_like(pattern, text), is, "{pattern} {text}");
        }
    }
}
