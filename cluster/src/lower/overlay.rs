//! `NodeOverlays`: what the catalogue is to each `NodePool` once they are in it.

use stowage_api::NodePool;
use stowage_pricing::{Catalog, Overlaid, Overlay, PoolLabels};

use super::notes::Notes;
use crate::note::Note;
use crate::snapshot::Snapshot;

/// The overlays of a snapshot that can be applied; notes say which cannot, and why.
pub(super) fn applicable(
    snapshot: &Snapshot,
    catalog: &Catalog,
    pools: &[&NodePool],
    notes: &mut Notes,
) -> Vec<Overlay> {
    let mut overlays = Vec::new();
    for object in snapshot.node_overlays.iter().filter(|o| !o.metadata.is_terminating()) {
        match Overlay::of(object) {
            Ok(overlay) => overlays.push(overlay),
            Err(error) => notes.add(Note::Overlay { problem: error.to_string() }),
        }
    }
    if overlays.is_empty() {
        return overlays;
    }
    let overlaid = Overlaid::new(&overlays, &labels(pools), catalog);
    for rejected in &overlaid.rejected {
        notes.add(Note::Overlay { problem: rejected.to_string() });
    }
    overlays.retain(|overlay| overlaid.rejected.iter().all(|rejected| rejected.name != overlay.name));
    overlays
}

/// What each of `pools` sees of a catalogue: the ways in which they differ, each with the names of those who see it so;
/// `None` for the catalogue as it is.
pub(super) fn seen(
    overlays: &[Overlay],
    catalog: &Catalog,
    pools: &[&NodePool],
) -> Vec<(Option<Catalog>, Vec<String>)> {
    let overlaid = Overlaid::new(overlays, &labels(pools), catalog);
    let mut ways: Vec<(Option<Catalog>, Vec<String>)> = Vec::new();
    for pool in pools {
        let name = &pool.metadata.name;
        let own = overlaid.changes(name).then(|| overlaid.for_pool(name, catalog));
        match ways.iter_mut().find(|(known, _)| *known == own) {
            Some((_, names)) => names.push(name.clone()),
            None => ways.push((own, vec![name.clone()])),
        }
    }
    if ways.is_empty() { vec![(None, Vec::new())] } else { ways }
}

fn labels(pools: &[&NodePool]) -> Vec<PoolLabels> {
    let of = |pool: &&NodePool| PoolLabels {
        name: pool.metadata.name.clone(),
        labels: pool.spec.template.metadata.labels.clone(),
    };
    pools.iter().map(of).collect()
}
