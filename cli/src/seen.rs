//! What a cluster has shown, from files: capacity that could not be had, and memory that nodes really have.

use std::fs;
use std::path::Path;

use stowage_cluster::{Snapshot, learn};
use stowage_pricing::{Catalog, CatalogSource, LearntCapacity, Unavailable};

use crate::catalog::now;
use crate::failure::Failure;
use crate::input;
use crate::text::count;

/// Takes out of a catalogue what a file says cannot be had now; what to know of that.
///
/// # Errors
/// Where the file cannot be used.
pub(crate) fn hide_unavailable(path: Option<&Path>, catalog: &mut Catalog) -> Result<Vec<String>, Failure> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let file = input::read(path)?;
    let away = Unavailable::parse(&file.bytes, &file.name, now()).map_err(Failure::new)?;
    let hidden = away.hide_in(catalog, now());
    let mut remarks = vec![match hidden {
        0 => format!("{}: no error or shift in it holds now for an offering of the catalogue", file.name),
        _ => format!("{}: {} cannot be had now: not bought", file.name, count(hidden, "offering")),
    }];
    let elsewhere = away.shifted_elsewhere(catalog, now());
    if let Some(first) = elsewhere.first() {
        remarks.push(format!(
            "{}: no offering of the catalogue is in {first}{}, so the shift changes nothing (zone ids are known where \
             the account's subnets are)",
            file.name,
            if elsewhere.len() > 1 { format!(" and {} more", elsewhere.len() - 1) } else { String::new() }
        ));
    }
    Ok(remarks)
}

/// What nodes were seen to have: in earlier runs, where a file says so, and by the snapshot, which is added to the file.
///
/// A catalogue file states memory itself: with one, only what a file of earlier runs is asked for counts.
///
/// # Errors
/// Where the file cannot be read or written.
pub(crate) fn learnt(
    path: Option<&Path>,
    snapshot: &Snapshot,
    catalog: &Catalog,
) -> Result<LearntCapacity, Failure> {
    let mut learnt = LearntCapacity::default();
    let Some(path) = path else {
        if !matches!(catalog.source, CatalogSource::File { .. }) {
            learn(snapshot, &mut learnt, now());
        }
        return Ok(learnt);
    };
    let name = path.display();
    match fs::read_to_string(path) {
        Ok(text) => {
            let read = LearntCapacity::from_json(&text);
            learnt = read.map_err(|error| Failure::new(format!("{name}: {error}")))?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Failure::new(format!("cannot read {name}: {error}"))),
    }
    learnt.sweep(now());
    learn(snapshot, &mut learnt, now());
    // As a whole: whoever is stopped while writing leaves the old one.
    let unfinished = path.with_extension(format!("{}.part", std::process::id()));
    let written = fs::write(&unfinished, learnt.to_json()).and_then(|()| fs::rename(&unfinished, path));
    written.map_err(|error| Failure::new(format!("cannot write {name}: {error}")))?;
    Ok(learnt)
}
