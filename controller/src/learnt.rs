//! What nodes were seen to have of memory, kept from run to run: plans count on that and not on a guess.
//!
//! ```text
//! Nodes with their NodeClaims' images ─▶ learnt ─▶ lower (types of classes that launch these images)
//!                                          └─▶ a file in the cache folder, read at the start
//! ```
//!
//! Every replica learns, so that one that begins to lead knows the same.
//!
//! # Invariants
//! - Only nodes that are there are learnt from: what a plan supposes of nodes to come teaches nothing.
//! - A file that cannot be read or written is said once, and stops nobody.

use std::fs;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stowage_cluster::{Snapshot, learn};
use stowage_pricing::{LearntCapacity, Timestamp};
use tracing::{info, warn};

use crate::follow::Cluster;
use crate::market::now;

/// How often nodes are looked at.
const EVERY: Duration = Duration::from_secs(10);

/// Name of the file.
const FILE: &str = "learnt.json";

/// What is known and does not change is written again after so long, in seconds: it is forgotten where it is not seen.
const AGAIN: u64 = 86_400;

/// What was learnt, shared by who learns, plans and launches. The default is nothing, and stays so.
#[derive(Clone, Debug, Default)]
pub struct Learnt(Arc<Mutex<Book>>);

impl Learnt {
    /// What is kept in a folder.
    pub fn open(folder: &Path) -> Self {
        Self(Arc::new(Mutex::new(Book::open(folder))))
    }

    /// Looks at it.
    pub fn with<T>(&self, f: impl FnOnce(&LearntCapacity) -> T) -> T {
        f(&self.0.lock().unwrap_or_else(PoisonError::into_inner).known)
    }

    /// Learns from the cluster until the task is dropped.
    pub async fn keep(self, cluster: Cluster) {
        let mut told = 0;
        loop {
            tokio::time::sleep(EVERY).await;
            let Some(snapshot) = cluster.snapshot() else { continue };
            let book = Arc::clone(&self.0);
            let look = move || {
                let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
                let known = book.look(&snapshot, now());
                (known.generation(), known.len())
            };
            match tokio::task::spawn_blocking(look).await {
                Ok((generation, known)) if generation != told => {
                    told = generation;
                    info!(known, "learnt what nodes really have");
                }
                Ok(_) => {}
                Err(error) => warn!(%error, "what nodes have was not looked at"),
            }
        }
    }
}

/// What was learnt, and where it is kept.
#[derive(Debug, Default)]
struct Book {
    known: LearntCapacity,
    /// The file; `None` where nothing is learnt, as types state their memory.
    path: Option<PathBuf>,
    /// The generation that is in the file, and since when.
    kept: Option<(u64, Timestamp)>,
}

impl Book {
    fn open(folder: &Path) -> Self {
        let path = folder.join(FILE);
        let read = fs::read_to_string(&path).map_or_else(
            |error| if error.kind() == ErrorKind::NotFound { Ok(None) } else { Err(error.to_string()) },
            |text| LearntCapacity::from_json(&text).map(Some).map_err(|error| error.to_string()),
        );
        let known = read.unwrap_or_else(|error| {
            warn!(file = %path.display(), error, "what nodes were seen to have is learnt anew");
            None
        });
        Self { known: known.unwrap_or_default(), path: Some(path), kept: None }
    }

    /// Learns from the nodes of a cluster, and keeps what is new.
    fn look(&mut self, snapshot: &Snapshot, now: Timestamp) -> &LearntCapacity {
        if let Some(path) = &self.path {
            self.known.sweep(now);
            learn(snapshot, &mut self.known, now);
            let generation = self.known.generation();
            let is_kept = |(of, at): (u64, Timestamp)| of == generation && now.seconds_since(at) < AGAIN;
            if !self.known.is_empty() && !self.kept.is_some_and(is_kept) {
                if let Err(error) = write(path, &self.known) {
                    warn!(file = %path.display(), %error, "what nodes were seen to have is not kept");
                }
                self.kept = Some((generation, now));
            }
        }
        &self.known
    }
}

/// As a whole: who is stopped while writing leaves the old file.
fn write(path: &Path, known: &LearntCapacity) -> Result<(), Error> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let unfinished = path.with_extension("part");
    fs::write(&unfinished, known.to_json())?;
    fs::rename(&unfinished, path)
}

#[cfg(test)]
mod tests {
    use stowage_cluster::{ReadOptions, Source, read};

    use super::*;

    const NOON: Timestamp = Timestamp::from_seconds(1_784_548_800);

    /// A folder for one test's files, empty.
    fn folder(test: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("stowage-learnt-{}-{test}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    fn cluster(memory: &str) -> Snapshot {
        let text = format!(
            r#"{{"kind": "List", "items": [
                {{"kind": "Node", "metadata": {{"name": "n1", "labels": {{"node.kubernetes.io/instance-type": "m7i.large"}}}},
                  "status": {{"capacity": {{"memory": "{memory}"}}}}}},
                {{"kind": "NodeClaim", "metadata": {{"name": "c1"}}, "spec": {{}},
                  "status": {{"nodeName": "n1", "imageID": "ami-1"}}}}]}}"#
        );
        read(&[Source { name: "cluster", bytes: text.as_bytes() }], &ReadOptions::default()).unwrap()
    }

    #[test]
    fn what_was_seen_outlives_a_restart() {
        let folder = folder("restart");
        let mut first = Book::open(&folder);
        let seen = Some("7934656Ki".parse().unwrap());
        assert_eq!(first.look(&cluster("7934656Ki"), NOON).memory("m7i.large", ["ami-1"]), seen);
        let mut second = Book::open(&folder);
        assert_eq!(second.look(&Snapshot::default(), NOON).memory("m7i.large", ["ami-1"]), seen);
        // Sixty days later nobody knows whether it is still so.
        let later = NOON.plus_seconds(61 * 86_400);
        assert!(second.look(&Snapshot::default(), later).is_empty());
    }

    #[test]
    fn a_file_is_written_where_something_is_new_or_a_day_old() {
        let folder = folder("written");
        let mut learnt = Book::open(&folder);
        learnt.look(&cluster("7934656Ki"), NOON);
        let path = folder.join(FILE);
        fs::write(&path, "gone").unwrap();
        learnt.look(&cluster("7934656Ki"), NOON.plus_seconds(60));
        assert_eq!(fs::read_to_string(&path).unwrap(), "gone");
        learnt.look(&cluster("7934000Ki"), NOON.plus_seconds(120));
        assert!(LearntCapacity::from_json(&fs::read_to_string(&path).unwrap()).is_ok());
        fs::write(&path, "gone").unwrap();
        learnt.look(&cluster("7934000Ki"), NOON.plus_seconds(120 + 86_400));
        assert!(LearntCapacity::from_json(&fs::read_to_string(&path).unwrap()).is_ok());
    }

    #[test]
    fn damage_stops_nobody() {
        let folder = folder("damage");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(FILE), "{").unwrap();
        assert!(!Book::open(&folder).look(&cluster("7934656Ki"), NOON).is_empty());
        // A file where the folder should be.
        let mut nowhere = Book::open(&folder.join(FILE));
        assert!(!nowhere.look(&cluster("7934656Ki"), NOON).is_empty());
        assert!(Book::default().look(&cluster("7934656Ki"), NOON).is_empty());
    }
}
