//! What the integration tests share.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::io::Write;
use std::sync::LazyLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use stowage_cluster::{ReadError, ReadOptions, Snapshot, Source, read};
use stowage_pricing::Catalog;

/// Two types in two zones.
pub const CATALOG: &str = include_str!("../catalog.json");

pub fn catalog() -> &'static Catalog {
    static PARSED: LazyLock<Catalog> =
        LazyLock::new(|| Catalog::parse(CATALOG.as_bytes(), "catalog.json").expect("a catalogue"));
    &PARSED
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

pub fn read_bytes(bytes: &[u8]) -> Result<Snapshot, ReadError> {
    read(&[Source { name: "in.json", bytes }], &ReadOptions::default())
}

/// The error that `bytes` cause.
pub fn error(bytes: &[u8]) -> String {
    read_bytes(bytes).map(|s| s.pods.len()).expect_err("should not be read").to_string()
}

/// A list of these items.
pub fn list(items: &str) -> String {
    format!(r#"{{"apiVersion": "v1", "kind": "List", "items": [{items}]}}"#)
}

/// A pod called `web` with this spec.
pub fn pod(spec: &str) -> String {
    format!(r#"{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "web"}}, "spec": {spec}}}"#)
}
