//! Bytes are refused, or become a snapshot that lowers (or is refused) the same way twice.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use stowage_cluster::{LowerOptions, ReadOptions, Source, lower, read};
use stowage_pricing::Catalog;

/// Every kind and every field that is read.
const EVERYTHING: &str = include_str!("../../cluster/tests/everything.json");

/// What an edit puts in the place of something else.
const TOKENS: [&str; 24] = [
    "null",
    "true",
    "-1",
    "0",
    "1e30",
    "18446744073709551616",
    "\"\"",
    "\"-1\"",
    "\"9Pi\"",
    "\"1n\"",
    "\"In\"",
    "\"Gt\"",
    "\"Exists\"",
    "[]",
    "{}",
    "[null]",
    "[{}]",
    "\"a/b\"",
    "\"web-0\"",
    "\"\\u0000\"",
    ",",
    "}",
    "&a [*a]",
    "!!binary x",
];

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    Catalog::parse(include_bytes!("../../cluster/tests/catalog.json"), "catalog.json").expect("a catalogue")
});

/// The snapshot that has everything, with a value replaced for every three bytes: where (two), and by what.
fn edited(edits: &[u8]) -> Vec<u8> {
    let mut text = EVERYTHING.to_owned();
    for edit in edits.chunks_exact(3).take(16) {
        let cuts: Vec<usize> =
            text.char_indices().filter(|(_, c)| ":,[]{}".contains(*c)).map(|(at, _)| at).collect();
        let Some(last) = cuts.len().checked_sub(1).filter(|last| *last > 0) else { break };
        let at = usize::from(u16::from_le_bytes([edit[0], edit[1]])) % last;
        text.replace_range(cuts[at] + 1..cuts[at + 1], TOKENS[usize::from(edit[2]) % TOKENS.len()]);
    }
    text.into_bytes()
}

fuzz_target!(|data: &[u8]| {
    let Some((mode, rest)) = data.split_first() else { return };
    let bytes = match mode % 4 {
        1 => edited(rest),
        // The same text, read as YAML.
        3 => [b"---\n", edited(rest).as_slice()].concat(),
        _ => rest.to_vec(),
    };
    let source = [Source { name: "in", bytes: &bytes }];
    let strict = ReadOptions { skip_invalid: false, max_unpacked: 1 << 22 };
    let lenient = ReadOptions { skip_invalid: true, ..strict.clone() };
    let Ok(snapshot) = read(&source, &strict).or_else(|_| read(&source, &lenient)) else { return };
    let options = LowerOptions { in_flight: mode & 4 == 0, ..LowerOptions::default() };
    let once = lower(&snapshot, &CATALOG, &options).map(|l| (l.problem, l.notes));
    let twice = lower(&snapshot, &CATALOG, &options).map(|l| (l.problem, l.notes));
    assert_eq!(once, twice);
    let Ok((problem, _)) = once else { return };
    for pod in &problem.pods {
        assert!(pod.spec.index() < problem.specs.len() && pod.labels.index() < problem.label_sets.len());
    }
});
