//! Pods that have no place, grouped by why.

use std::collections::BTreeMap;

use stowage_solver::{PodId, Reason};

use super::Show;
use super::look::{Look, Style};
use crate::answer::Answer;
use crate::text::{count, safe, thousands, wrap};
use stowage_cluster::words::reason;

/// So many groups are spelled out; of more, the smaller ones are folded.
const LISTED: usize = 10;

/// Pods kept out by exactly the same reasons.
pub(super) struct Group<'a> {
    pub(super) reasons: &'a [Reason],
    pub(super) pods: Vec<PodId>,
}

/// All unplaced pods by reason, the largest group first.
pub(super) fn grouped(answer: &Answer) -> Vec<Group<'_>> {
    let mut by_reason = BTreeMap::<&[Reason], Vec<PodId>>::new();
    for unplaced in &answer.solution.unplaced {
        by_reason.entry(unplaced.reasons.as_slice()).or_default().push(unplaced.pod);
    }
    let mut groups: Vec<_> = by_reason.into_iter().map(|(reasons, pods)| Group { reasons, pods }).collect();
    // The sort is stable, so groups of one size keep the order of their reasons.
    groups.sort_by_key(|group| std::cmp::Reverse(group.pods.len()));
    groups
}

/// Writes the groups.
pub(super) fn render(answer: &Answer, show: Show, look: &Look, out: &mut String) {
    let groups = grouped(answer);
    let listed = if show.pods || groups.len() <= LISTED + 1 { groups.len() } else { LISTED };
    for group in &groups[..listed] {
        let names = group.pods.iter().map(|id| answer.pod(*id).name.as_str());
        let title = if show.pods {
            names.collect::<Vec<_>>().join(", ")
        } else {
            let example = names.min().unwrap_or_default();
            match group.pods.len() {
                1 => example.to_owned(),
                n => format!("{}, such as {example}", count(n, "pod")),
            }
        };
        wrap(out, &safe(&title), look.width, "  ", "  ");
        for reason in group.reasons {
            let sentence = reason::sentence(&answer.problem, reason);
            wrap(out, &safe(&sentence), look.width, "    - ", "      ");
        }
    }
    if listed < groups.len() {
        let pods: usize = groups[listed..].iter().map(|g| g.pods.len()).sum();
        let more = thousands((groups.len() - listed) as u64);
        let line = format!("and {} for {more} other reasons (all of them: --show pods)", count(pods, "pod"));
        out.push_str("  ");
        out.push_str(&look.paint(Style::Dim, &line));
        out.push('\n');
    }
}
