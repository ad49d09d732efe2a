//! Every pod by name, under the node that it goes to.

use super::look::{Look, Style};
use super::section;
use crate::answer::Answer;
use crate::money;
use crate::text::{safe, wrap};
use stowage_solver::PodId;

/// How many other instance types are named for a node.
const ALTERNATIVES: usize = 5;

/// Writes the list of all placed pods; those without a place stand with their reasons.
pub(super) fn render(answer: &Answer, look: &Look, out: &mut String) {
    section("Pods", Style::Bold, look, out);
    for (name, node) in answer.node_names().iter().zip(&answer.solution.new_nodes) {
        let (kind, offering) = (answer.instance_type(node), answer.offering(node));
        let mark = if offering.estimated { "~" } else { "" };
        let price = money::each(node.price);
        title(
            name,
            &format!("{}, {}, {}, {mark}{price} an hour", kind.name, offering.zone, offering.capacity_type),
            look,
            out,
        );
        let others: Vec<_> = node.types_in_place(&answer.problem).collect();
        if !others.is_empty() {
            let names = others.iter().take(ALTERNATIVES);
            let names = names.map(|id| answer.problem.types[id.index()].name.as_str());
            let mut names = names.collect::<Vec<_>>().join(", ");
            if others.len() > ALTERNATIVES {
                names = format!("{names} and {} more", others.len() - ALTERNATIVES);
            }
            wrap(out, &format!("would do as well: {}", safe(&names)), look.width, "    ", "      ");
        }
        list(answer, &node.pods, out);
    }
    for placement in &answer.solution.placements {
        title(&answer.existing(placement).name, "existing", look, out);
        list(answer, &placement.pods, out);
    }
    if !answer.solution.routed.is_empty() {
        let pods: Vec<PodId> = answer.solution.routed.iter().map(|routed| routed.pod).collect();
        title("Fargate", "a machine for each pod", look, out);
        list(answer, &pods, out);
    }
}

fn title(name: &str, what: &str, look: &Look, out: &mut String) {
    out.push_str("  ");
    out.push_str(&look.paint(Style::Bold, &safe(name)));
    out.push_str("  ");
    out.push_str(&look.paint(Style::Dim, &safe(what)));
    out.push('\n');
}

fn list(answer: &Answer, pods: &[PodId], out: &mut String) {
    for pod in pods {
        out.push_str("    ");
        out.push_str(&safe(&answer.pod(*pod).name));
        out.push('\n');
    }
}
