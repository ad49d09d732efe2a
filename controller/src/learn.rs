//! What nodes really have, learnt from those of the cluster, and kept in a file beside AWS's answers.
//!
//! After a restart the nodes that are there teach it again; the file keeps what is known of types and images that have no
//! node just now. Every replica learns, so that another that begins to lead knows the same.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use stowage_cluster::learn;
use stowage_pricing::LearntCapacity;
use tracing::{info, warn};

use crate::follow::Cluster;
use crate::market::now;

/// How often nodes are looked at.
const EVERY: Duration = Duration::from_secs(10);

/// What is known, shared by who plans and who learns.
#[derive(Clone, Debug, Default)]
pub struct Learnt(Arc<Mutex<LearntCapacity>>);

impl Learnt {
    /// Looks at it, or adds to it.
    pub fn with<T>(&self, f: impl FnOnce(&mut LearntCapacity) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What a file of an earlier time says; nothing where there is none, or where it is no such file.
    pub fn open(file: &Path) -> Self {
        let read = std::fs::read_to_string(file);
        let text = match read {
            Ok(text) => text,
            Err(error) => {
                if error.kind() != ErrorKind::NotFound {
                    warn!(file = %file.display(), %error, "what was learnt of nodes cannot be read");
                }
                return Self::default();
            }
        };
        let learnt = LearntCapacity::from_json(&text).unwrap_or_else(|error| {
            warn!(file = %file.display(), %error, "what was learnt of nodes is learnt anew");
            LearntCapacity::default()
        });
        Self(Arc::new(Mutex::new(learnt)))
    }

    /// Learns from the cluster until the task is dropped.
    pub async fn keep(self, cluster: Cluster, file: PathBuf) {
        let mut kept = self.with(|learnt| learnt.generation());
        // What cannot be kept is said once.
        let mut complained = false;
        loop {
            tokio::time::sleep(EVERY).await;
            let Some(snapshot) = cluster.snapshot() else { continue };
            let (generation, known, text) = self.with(|learnt| {
                learnt.sweep(now());
                learn(&snapshot, learnt, now());
                (learnt.generation(), learnt.len(), learnt.to_json())
            });
            if generation == kept {
                continue;
            }
            info!(known, "learnt what nodes really have");
            kept = generation;
            let file = file.clone();
            match tokio::task::spawn_blocking(move || write(&file, &text)).await {
                Ok(Ok(())) => complained = false,
                Ok(Err(error)) if !complained => {
                    complained = true;
                    warn!(
                        error = format!("{error:#}"),
                        "what was learnt of nodes will be lost with this process"
                    );
                }
                Ok(Err(_)) => {}
                Err(error) => warn!(%error, "writing what was learnt of nodes has ended"),
            }
        }
    }
}

/// Writes a file as a whole: whoever is stopped while writing leaves the old one.
fn write(file: &Path, text: &str) -> Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let unfinished = file.with_extension(format!("{}.part", std::process::id()));
    std::fs::write(&unfinished, text)
        .and_then(|()| std::fs::rename(&unfinished, file))
        .with_context(|| format!("cannot write {}", file.display()))
}
