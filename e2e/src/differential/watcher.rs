//! What the API server says of pods, as it says it.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::Value;

use crate::client::Client;

/// The scheduler answers in milliseconds; volumes take a second or two. Who waits longer waits in vain.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the scheduler has done with a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The node that it is bound to.
    pub(crate) node: Option<String>,
    /// Why it was refused last.
    pub(crate) refused: Option<String>,
    /// The node that it is nominated to.
    pub(crate) nominated: Option<String>,
}

impl Seen {
    /// Whether the scheduler has tried.
    pub(crate) fn is_decided(&self) -> bool {
        self.node.is_some() || self.refused.is_some()
    }
}

/// Follows all pods of a cluster, by uid.
#[derive(Clone, Debug)]
pub(crate) struct Watcher {
    state: Arc<(Mutex<HashMap<String, Seen>>, Condvar)>,
}

impl Watcher {
    /// Starts to follow, in a thread that ends with the API server.
    pub(crate) fn start(client: &Client) -> Result<Self> {
        let watcher = Self { state: Arc::default() };
        let (ours, client) = (watcher.clone(), client.clone());
        let (opened, is_open) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let opened = || _ = opened.send(());
            client.watch("/api/v1/pods", opened, |event, pod| {
                ours.take(event, &pod);
                true
            })
        });
        if is_open.recv_timeout(PATIENCE).is_err() {
            bail!("pods cannot be watched");
        }
        Ok(watcher)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Seen>> {
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, event: &str, pod: &Value) {
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        let mut pods = self.lock();
        if event == "DELETED" {
            pods.remove(&uid);
        } else {
            let refused = pod["status"]["conditions"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|c| {
                    c["type"] == "PodScheduled" && c["status"] == "False" && c["reason"] != "SchedulingGated"
                })
                .map(|c| {
                    format!(
                        "{}: {}",
                        c["reason"].as_str().unwrap_or_default(),
                        c["message"].as_str().unwrap_or_default()
                    )
                });
            let text = |value: &Value| value.as_str().map(str::to_owned);
            let (node, nominated) =
                (text(&pod["spec"]["nodeName"]), text(&pod["status"]["nominatedNodeName"]));
            pods.insert(uid, Seen { node, refused, nominated });
        }
        self.state.1.notify_all();
    }

    /// Waits until `ready` says so of what is seen of these pods, in their order.
    ///
    /// # Errors
    /// Where that takes too long.
    pub(crate) fn wait(
        &self,
        uids: &[String],
        what: &str,
        ready: impl Fn(&[Seen]) -> bool,
    ) -> Result<Vec<Seen>> {
        let started = Instant::now();
        let mut pods = self.lock();
        loop {
            let seen: Vec<Seen> = uids.iter().map(|uid| pods.get(uid).cloned().unwrap_or_default()).collect();
            if ready(&seen) {
                return Ok(seen);
            }
            let Some(left) = PATIENCE.checked_sub(started.elapsed()) else {
                bail!("waited {} s for {what}: {seen:?}", PATIENCE.as_secs());
            };
            pods = self.state.1.wait_timeout(pods, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
