//! Makes volumes where the scheduler says, as the provisioners of CSI drivers do: it names a node on the claim, and waits
//! until the claim is bound.

use std::thread;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::client::Client;
use crate::generate::volume::volume_of;

/// Where the scheduler names the node.
const SELECTED: &str = "volume.kubernetes.io/selected-node";

/// Starts it, in a thread that ends with the API server.
pub(crate) fn start(client: &Client) -> Result<()> {
    let client = client.clone();
    let (opened, is_open) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let opened = || _ = opened.send(());
        client.watch("/api/v1/persistentvolumeclaims", opened, |event, claim| {
            if event != "DELETED"
                && claim["metadata"]["annotations"][SELECTED].is_string()
                && claim["spec"]["volumeName"].is_null()
                && let Err(error) = provision(&client, &claim)
            {
                // Whoever waits for the pod waits in vain, and says so.
                eprintln!("no volume is made: {error:#}");
            }
            true
        })
    });
    is_open.recv().context("claims cannot be watched")
}

fn provision(client: &Client, claim: &Value) -> Result<()> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (namespace, name) = (text(&claim["metadata"]["namespace"]), text(&claim["metadata"]["name"]));
    let node = client.send(
        "GET",
        &format!("/api/v1/nodes/{}", text(&claim["metadata"]["annotations"][SELECTED])),
        "",
        None,
    )?;
    let path = format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}");
    if node.status == 404
        || client.send("GET", &path, "", None)?.body["metadata"]["uid"] != claim["metadata"]["uid"]
    {
        return Ok(());
    }
    let zone = node.body["metadata"]["labels"]["topology.kubernetes.io/zone"].as_str();
    // Files are everywhere, disks are in a zone.
    let zone = zone.filter(|_| claim["spec"]["storageClassName"] != "files");
    let volume = format!("made-{}", text(&claim["metadata"]["uid"]));
    let mut object = volume_of(&volume, &namespace, &name, zone, false);
    object["spec"]["storageClassName"] = claim["spec"]["storageClassName"].clone();
    object["spec"]["claimRef"]["uid"] = claim["metadata"]["uid"].clone();
    let made = client.send("POST", "/api/v1/persistentvolumes", "application/json", Some(&object))?;
    if made.status == 409 {
        return Ok(());
    }
    let bound = json!({
        "metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
        "spec": {"volumeName": volume},
    });
    let answer = client.send("PATCH", &path, "application/merge-patch+json", Some(&bound))?;
    // The claim may be gone since.
    ensure!(matches!(answer.status, 200 | 404), "{path}: {} {}", answer.status, answer.body["message"]);
    Ok(())
}
