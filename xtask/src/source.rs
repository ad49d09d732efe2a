//! Reading and writing files of facts.

use std::fs::{self, File};
use std::io::{BufReader, Read, Write};
use std::path::Path;

use anyhow::Context;
use flate2::read::MultiGzDecoder;
use flate2::{Compression, GzBuilder};
use serde::de::DeserializeOwned;

/// Reads a JSON file, gzipped where its name says so.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let naming = || format!("cannot read {}", path.display());
    let file = BufReader::new(File::open(path).with_context(naming)?);
    let mut bytes = Vec::new();
    let mut reader: Box<dyn Read> = if path.extension().is_some_and(|e| e == "gz") {
        Box::new(MultiGzDecoder::new(file))
    } else {
        Box::new(file)
    };
    reader.read_to_end(&mut bytes).with_context(naming)?;
    serde_json::from_slice(&bytes).with_context(naming)
}

/// Writes a gzipped file whose bytes depend on the text alone: no time and no name in the header.
pub(crate) fn write_gzipped(path: &Path, text: &str) -> anyhow::Result<()> {
    let naming = || format!("cannot write {}", path.display());
    let mut encoder = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes()).with_context(naming)?;
    let packed = encoder.finish().with_context(naming)?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(naming)?;
    }
    fs::write(path, &packed).with_context(naming)?;
    eprintln!("{}: {} bytes, {} unpacked", path.display(), packed.len(), text.len());
    Ok(())
}
