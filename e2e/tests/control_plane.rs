//! The harness itself: a control plane that comes up, works, and goes away.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use serde_json::{Value, json};
use stowage_e2e::{ControlPlane, Options};

fn node() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "one", "labels": {"kubernetes.io/hostname": "one"}},
        "status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "10"}},
    })
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "web", "image": "web", "resources": {"requests": {"cpu": "1"}}}]},
    })
}

/// Command lines of running processes that name this folder.
fn running_in(folder: &Path) -> BTreeSet<String> {
    let folder = folder.to_string_lossy().into_owned();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = processes.filter_map(|p| fs::read(p.path().join("cmdline")).ok());
    lines.map(|l| String::from_utf8_lossy(&l).replace('\0', " ")).filter(|l| l.contains(&folder)).collect()
}

#[test]
fn a_pod_is_bound_and_nothing_is_left_behind() {
    let options = Options { scheduler: Some(Options::scheduler()), ..Options::default() };
    let plane = ControlPlane::start(&options).unwrap();
    let client = plane.client();

    let (bound, is_bound) = mpsc::channel();
    let (opened, is_open) = mpsc::channel();
    let watcher = client.clone();
    let watch = thread::spawn(move || {
        watcher.watch(
            "/api/v1/pods",
            || opened.send(()).unwrap(),
            |_, pod| match pod["spec"]["nodeName"].as_str() {
                Some(node) => bound.send(node.to_owned()).is_err(),
                None => true,
            },
        )
    });
    is_open.recv().unwrap();
    client.create("/api/v1/nodes", &node()).unwrap();
    client.create("/api/v1/namespaces/default/pods", &pod()).unwrap();
    assert_eq!(is_bound.recv().unwrap(), "one");

    let folder = plane.logs().to_owned();
    assert!(plane.kubeconfig().starts_with(&folder));
    assert!(!running_in(&folder).is_empty());
    drop(plane);
    assert_eq!(running_in(&folder), BTreeSet::new());
    assert!(!folder.exists());
    watch.join().unwrap().unwrap();
}

#[test]
fn controllers_run_where_asked_for() {
    let plane = ControlPlane::start(&Options { controller_manager: true, ..Options::default() }).unwrap();
    let client = plane.client();
    // The controller manager makes this one in every namespace.
    let made = "/api/v1/namespaces/default/configmaps/kube-root-ca.crt";
    let (seen, is_seen) = mpsc::channel();
    let (opened, is_open) = mpsc::channel();
    let watcher = client.clone();
    thread::spawn(move || {
        let opened = || opened.send(()).unwrap();
        watcher.watch("/api/v1/namespaces/default/configmaps", opened, |_, object| {
            seen.send(object["metadata"]["name"].clone()).is_ok()
        })
    });
    is_open.recv().unwrap();
    if client.get(made).is_err() {
        assert_eq!(is_seen.recv().unwrap(), "kube-root-ca.crt");
    }
}
