//! Filling what is paid for already, before anything is bought.

use crate::model::{Model, admits};
use crate::pack::Pattern;
use crate::pack::fill::{Bin, Filler};
use crate::topology::Item;

/// Fills existing nodes in the order of their names with the most valuable items; `left` goes down by what was placed.
/// Returns what each node got, by index into the problem's nodes.
pub(crate) fn fill_existing(
    model: &Model<'_>,
    items: &[Item],
    left: &mut [u32],
    values: &[f64],
    filler: &mut Filler,
) -> Vec<(usize, Pattern)> {
    let mut out = Vec::new();
    let mut room = model.node_room.clone();
    let mut states = model.rules.of_node.clone();
    // Higher priorities first: kube-scheduler's queue does the same.
    let mut priorities: Vec<i32> = items.iter().map(|i| model.spec(i.class as usize).priority).collect();
    priorities.sort_unstable_by(|a, b| b.cmp(a));
    priorities.dedup();
    for priority in priorities {
        for &node in &model.node_order {
            let usable: Vec<u32> = (0..items.len())
                .filter(|at| {
                    let item = &items[*at];
                    let spec = model.spec(item.class as usize);
                    left[*at] > 0
                        && spec.priority == priority
                        && model.fits(item.class as usize, &room[node])
                        && admits_item(model, node, item)
                })
                .map(|at| at as u32)
                .collect();
            if usable.is_empty() {
                continue;
            }
            let bin = Bin { room: &room[node], state: &states[node], items: &usable };
            let filled = filler.best(model, items, bin, left, values);
            for (item, count) in &filled.pattern {
                let class = items[*item as usize].class;
                left[*item as usize] -= count;
                for (room, need) in room[node].iter_mut().zip(&model.requests[class as usize]) {
                    *room -= need * i64::from(*count);
                }
                model.rules.add(class, *count, &mut states[node]);
            }
            if !filled.pattern.is_empty() {
                out.push((node, filled.pattern));
            }
        }
    }
    out
}

/// Whether an existing node is in the item's domain and lets its pods in.
fn admits_item(model: &Model<'_>, node: usize, item: &Item) -> bool {
    let node = &model.problem.nodes[node];
    item.domain.iter().all(|(key, value)| node.labels.get(key) == value.as_ref())
        && admits(node, model.spec(item.class as usize))
}
