//! The cluster as it is now: an index that watches feed, and snapshots of it.
//!
//! ```text
//! list and watch of each kind ─▶ Index::apply, ::remove ─▶ Index ─▶ Index::snapshot ─▶ Arc<Snapshot>
//!                  (one after the other, each kind on its own)
//! ```
//!
//! # Invariants
//! - An index equals the snapshot that [`crate::read()`] makes of the same objects, however their events were mixed.
//!   Its vectors are in the order of namespace and name.
//! - A malformed object counts as one that is not there, and stands in [`Snapshot::invalid`] until it is mended or gone.
//! - While a kind is listed again, what was known of it stays; what the list did not name goes when the list ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::decode::{Decoded, Decoder, Object, named};
use crate::error::{ObjectError, Position};
use crate::kind::Kind;
use crate::snapshot::Snapshot;

/// After so many changes, what no object shares any more is looked for and forgotten.
const SWEEP_EVERY: usize = 10_000;

/// Namespace and name; the namespace is empty for kinds of the whole cluster.
type Key = (Arc<str>, Box<str>);

fn key(kind: Kind, namespace: &str, name: &str) -> Key {
    let namespace = match (kind.is_namespaced(), namespace) {
        (false, _) => "",
        (true, "") => "default",
        (true, stated) => stated,
    };
    (namespace.into(), name.into())
}

/// The objects of a cluster, kept up to date.
///
/// ```
/// use stowage_cluster::{Index, Kind};
///
/// let mut index = Index::default();
/// index.apply(Kind::Pod, r#"{"metadata": {"name": "web-0", "namespace": "shop"}}"#)?;
/// let before = index.snapshot();
/// index.remove(Kind::Pod, "shop", "web-0");
/// assert_eq!((before.pods.len(), index.snapshot().pods.len()), (1, 0));
/// # Ok::<(), Box<stowage_cluster::ObjectError>>(())
/// ```
#[derive(Debug, Default)]
pub struct Index {
    kinds: BTreeMap<Kind, Store>,
    decoder: Decoder,
    changes: usize,
    /// Made for readers when the first of them asks, and good until something changes.
    snapshot: Option<Arc<Snapshot>>,
}

/// The objects of one kind.
#[derive(Debug, Default)]
struct Store {
    objects: BTreeMap<Key, Result<Object, Box<ObjectError>>>,
    /// What the list that is being read has named so far.
    listing: Option<BTreeSet<Key>>,
    listed: bool,
}

impl Index {
    /// Takes in an object that is new or has changed, as the JSON of the API server, and says whether it could be read.
    ///
    /// # Errors
    /// What is wrong with it. The index holds the object as malformed then, and an older state of it is gone.
    pub fn apply(&mut self, kind: Kind, json: &str) -> Result<(), Box<ObjectError>> {
        let (key, object) = match self.decoder.decode(kind, json) {
            Ok(Decoded { namespace, name, object }) => ((namespace, name), Ok(object)),
            Err(fault) => {
                let position =
                    Position { source: "the API server".into(), document: None, items: Vec::new() };
                let error = Box::new(fault.at(json, kind.name(), &position));
                let Some((namespace, name)) = named(json) else { return Err(error) };
                (key(kind, namespace.as_deref().unwrap_or_default(), &name), Err(error))
            }
        };
        self.change();
        let told = object.as_ref().map(drop).map_err(Clone::clone);
        let store = self.kinds.entry(kind).or_default();
        if let Some(listing) = &mut store.listing {
            listing.insert(key.clone());
        }
        store.objects.insert(key, object);
        told
    }

    /// Takes out an object that is gone. One that is not there is no error: a list may have shown it gone already.
    pub fn remove(&mut self, kind: Kind, namespace: &str, name: &str) {
        let key = key(kind, namespace, name);
        let Some(store) = self.kinds.get_mut(&kind) else { return };
        if let Some(listing) = &mut store.listing {
            listing.remove(&key);
        }
        if store.objects.remove(&key).is_some() {
            self.change();
        }
    }

    /// A list of all objects of a kind begins. What [`Index::apply`] does not name until [`Index::end_list`] is gone.
    pub fn begin_list(&mut self, kind: Kind) {
        self.kinds.entry(kind).or_default().listing = Some(BTreeSet::new());
    }

    /// The list of a kind is complete.
    pub fn end_list(&mut self, kind: Kind) {
        let store = self.kinds.entry(kind).or_default();
        store.listed = true;
        let Some(named) = store.listing.take() else { return };
        let before = store.objects.len();
        store.objects.retain(|key, _| named.contains(key));
        if store.objects.len() < before {
            self.change();
        }
    }

    /// Whether each of these kinds was listed to its end at least once: until then, what is not in the index may well be
    /// in the cluster.
    pub fn is_synced(&self, kinds: &[Kind]) -> bool {
        kinds.iter().all(|kind| self.kinds.get(kind).is_some_and(|store| store.listed))
    }

    /// How many objects of a kind there are, malformed ones included.
    pub fn count(&self, kind: Kind) -> usize {
        self.kinds.get(&kind).map_or(0, |store| store.objects.len())
    }

    /// The cluster as of now, which nothing that happens later changes. Costs nothing where nothing has changed since
    /// the last one, and else a copy of what pods do not share.
    pub fn snapshot(&mut self) -> Arc<Snapshot> {
        let kinds = &self.kinds;
        Arc::clone(self.snapshot.get_or_insert_with(|| {
            let mut out = Snapshot::default();
            if let Some(pods) = kinds.get(&Kind::Pod) {
                out.pods.reserve_exact(pods.objects.len());
            }
            for object in kinds.values().flat_map(|store| store.objects.values()) {
                match object {
                    Ok(object) => object.add_to(&mut out),
                    Err(error) => out.invalid.push(error.as_ref().clone()),
                }
            }
            Arc::new(out)
        }))
    }

    fn change(&mut self) {
        self.snapshot = None;
        self.changes += 1;
        if self.changes.is_multiple_of(SWEEP_EVERY) {
            self.decoder.sweep();
        }
    }
}
