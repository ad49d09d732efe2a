//! Whatever is done to a snapshot, reading and lowering it end in a value or an error.

mod common;

use common::{catalog, gzip};
use proptest::prelude::*;
use stowage_cluster::{LowerOptions, Lowered, ReadOptions, Source, lower, read};

/// Every kind and every field that is read.
const EVERYTHING: &str = include_str!("everything.json");

/// What is put in the place of something else.
const TOKENS: [&str; 20] = [
    "null",
    "true",
    "-1",
    "0",
    "1e30",
    "18446744073709551616",
    "\"\"",
    "\"-1\"",
    "\"9Pi\"",
    "\"In\"",
    "\"Gt\"",
    "[]",
    "{}",
    "[null]",
    "\"a/b\"",
    "\"web-0\"",
    ",",
    "}",
    "\u{0}",
    "\"\\u0000\"",
];

/// Reads and lowers, and checks what holds for every snapshot that can be.
fn try_it(bytes: &[u8]) -> Result<Option<Lowered>, TestCaseError> {
    let mut last = None;
    for skip_invalid in [false, true] {
        let options = ReadOptions { skip_invalid, max_unpacked: 1 << 20 };
        let Ok(snapshot) = read(&[Source { name: "in", bytes }], &options) else { continue };
        for in_flight in [false, true] {
            let Ok(lowered) =
                lower(&snapshot, catalog(), &LowerOptions { in_flight, ..LowerOptions::default() })
            else {
                continue;
            };
            let problem = &lowered.problem;
            for pod in &problem.pods {
                prop_assert!(
                    pod.spec.index() < problem.specs.len() && pod.labels.index() < problem.label_sets.len()
                );
            }
            for id in problem.specs.iter().flat_map(|s| s.requests.iter()).map(|(id, _)| id) {
                prop_assert!(id.index() < problem.resources.len());
            }
            let again = lower(&snapshot, catalog(), &LowerOptions { in_flight, ..LowerOptions::default() })
                .map(|l| l.problem);
            prop_assert_eq!(again.as_ref(), Ok(problem));
            for note in &lowered.notes {
                prop_assert!(!note.to_string().is_empty());
            }
            last = Some(lowered);
        }
    }
    Ok(last)
}

/// Where the values of a JSON text begin and end: after each colon, comma or bracket, up to the next.
fn values(text: &str) -> Vec<(usize, usize)> {
    let cuts: Vec<usize> =
        text.char_indices().filter(|(_, c)| ":,[]{}".contains(*c)).map(|(at, _)| at).collect();
    cuts.windows(2).map(|pair| (pair[0] + 1, pair[1])).filter(|(from, to)| from < to).collect()
}

#[test]
fn the_whole_snapshot_is_read() {
    let lowered = try_it(EVERYTHING.as_bytes()).expect("holds").expect("is lowered");
    assert_eq!((lowered.problem.pods.len(), lowered.problem.nodes.len()), (2, 2));
    assert!(lowered.notes.len() > 4, "{:?}", lowered.notes);
    // Changing values of it reaches every kind.
    assert!(values(EVERYTHING).len() > 300);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn with_values_replaced(edits in prop::collection::vec((any::<prop::sample::Index>(), 0..TOKENS.len()), 1..6), yaml in any::<bool>()) {
        let mut text = EVERYTHING.to_owned();
        for (at, token) in edits {
            let spots = values(&text);
            let (from, to) = spots[at.index(spots.len())];
            text.replace_range(from..to, TOKENS[token]);
        }
        // YAML knows JSON too, but for the first document's first bytes.
        let text = if yaml { format!("---\n{text}") } else { text };
        try_it(text.as_bytes())?;
    }

    #[test]
    fn with_bytes_replaced(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = EVERYTHING.as_bytes().to_vec();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        try_it(&bytes)?;
    }

    #[test]
    fn cut_off_anywhere(end in any::<prop::sample::Index>(), packed in any::<bool>()) {
        let whole = if packed { gzip(EVERYTHING.as_bytes()) } else { EVERYTHING.as_bytes().to_vec() };
        let end = end.index(whole.len().saturating_sub(2));
        prop_assert!(try_it(&whole[..end])?.is_none());
    }

    #[test]
    fn of_anything(text in any::<String>(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        try_it(text.as_bytes())?;
        try_it(&bytes)?;
        try_it(&[&[0x1f, 0x8b][..], &bytes].concat())?;
    }

    #[test]
    fn order_of_objects_changes_nothing_but_order(seed in any::<u64>()) {
        let mut lines: Vec<&str> = EVERYTHING.lines().collect();
        let end = lines.len() - 1;
        let mut items: Vec<String> = lines.drain(1..end).map(|l| l.trim_end_matches(',').to_owned()).collect();
        let count = items.len();
        for at in (1..count).rev() {
            items.swap(at, (seed >> (at % 60)) as usize % (at + 1));
        }
        let shuffled = format!("{}{}{}", lines[0], items.join(","), lines[1]);
        let (a, b) = (try_it(EVERYTHING.as_bytes())?, try_it(shuffled.as_bytes())?);
        let sorted = |l: Option<Lowered>| l.map(|l| {
            let mut pods: Vec<_> = l.problem.pods.iter().map(|p| (p.name.clone(), l.problem.specs[p.spec.index()].clone())).collect();
            pods.sort();
            (pods, l.problem.resources, l.problem.pools, l.notes.len())
        });
        prop_assert_eq!(sorted(a), sorted(b));
    }
}
