//! Ends pods that are asked to end, as the kubelets of their nodes do: nothing else would.

use std::thread;

use anyhow::{Context, Result};

use crate::client::Client;

/// Starts it, in a thread that ends with the API server.
pub(crate) fn start(client: &Client) -> Result<()> {
    let client = client.clone();
    let (opened, is_open) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let opened = || _ = opened.send(());
        client.watch("/api/v1/pods", opened, |event, pod| {
            let meta = &pod["metadata"];
            let asked = meta["deletionTimestamp"].is_string() && pod["spec"]["nodeName"].is_string();
            // What has a finalizer is to stay as it is.
            if event == "MODIFIED"
                && asked
                && meta["finalizers"].is_null()
                && let (Some(namespace), Some(name)) = (meta["namespace"].as_str(), meta["name"].as_str())
                && let Err(error) = client.delete(&format!("/api/v1/namespaces/{namespace}/pods/{name}"))
            {
                // Whoever waits for its room waits in vain, and says so.
                eprintln!("a pod does not end: {error:#}");
            }
            true
        })
    });
    is_open.recv().context("pods cannot be watched")
}
