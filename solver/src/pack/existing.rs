//! Filling what is paid for already, before anything is bought.

use crate::model::{Model, admits};
use crate::pack::fill::{Bin, Filler};
use crate::pack::{Pattern, Shelf};
use crate::stock::{Lot, Stock};

/// Fills existing nodes in the order of their names with the most valuable items; `left` goes down by what was placed.
/// Returns what each node got, by index into the problem's nodes.
pub(crate) fn fill_existing(
    model: &Model<'_>,
    stock: &Stock,
    left: &mut Vec<u32>,
    values: &[f64],
    filler: &mut Filler,
) -> Vec<(usize, Pattern)> {
    let mut out = Vec::new();
    if model.node_order.is_empty() {
        return out;
    }
    let mut shelf = Shelf::new(stock, std::mem::take(left));
    let mut room = model.node_room.clone();
    let mut states = model.rules.of_node.clone();
    // Higher priorities first: kube-scheduler's queue does the same.
    let mut priorities: Vec<i32> = stock.lots.iter().map(|lot| lot.priority).collect();
    priorities.sort_unstable_by(|a, b| b.cmp(a));
    priorities.dedup();
    for priority in priorities {
        for &node in &model.node_order {
            let usable: Vec<u32> = (0..stock.lots.len() as u32)
                .filter(|at| {
                    let lot = &stock.lots[*at as usize];
                    shelf.total(*at) > 0
                        && lot.priority == priority
                        && lot.need.iter().zip(&room[node]).all(|(need, have)| need <= have)
                        && admits_lot(model, node, lot)
                })
                .collect();
            if usable.is_empty() {
                continue;
            }
            let bin = Bin { room: &room[node], state: &states[node], lots: &usable, kept: None };
            let filled = filler.best(model, stock, bin, &shelf, values);
            for (item, count) in &filled.pattern {
                shelf.take(stock, *item, *count);
                for (room, need) in room[node].iter_mut().zip(stock.need(*item)) {
                    *room -= need * i64::from(*count);
                }
                model.rules.add(stock.items[*item as usize].class, *count, &mut states[node]);
            }
            if !filled.pattern.is_empty() {
                out.push((node, filled.pattern));
            }
        }
    }
    *left = shelf.left;
    out
}

/// Whether an existing node is in the lot's domain and lets its pods in.
fn admits_lot(model: &Model<'_>, node: usize, lot: &Lot) -> bool {
    let node = &model.problem.nodes[node];
    lot.domain.iter().all(|(key, value)| node.labels.get(key) == value.as_ref())
        // Rules on labels and taints are the gate's, so any class of it tells.
        && model.gate_specs[lot.gate as usize].iter().all(|spec| admits(node, spec))
}
