//! Pods on Fargate: what is provisioned for them, what that costs, and what nodes would.

use super::grid::{Align, Cell, Grid};
use super::look::Look;
use crate::answer::Answer;
use crate::money;
use crate::text;
use stowage_pricing::fargate::Shape;

/// Writes the table of shapes.
pub(super) fn render(answer: &Answer, look: &Look, out: &mut String) {
    let solution = &answer.solution;
    let mut grid = Grid::new(2);
    grid.name("SHAPE").column("PODS", Align::Right).column("EACH", Align::Right);
    grid.column("TOGETHER", Align::Right).column("A NODE ALONE", Align::Right);
    for (shape, price, count) in answer.on_fargate() {
        let alone = solution.routed.iter().filter(|routed| {
            routed.price == price && answer.fargate_fit(routed.pod).is_some_and(|fit| fit.shape == shape)
        });
        let alone: Option<Vec<_>> = alone.map(|routed| routed.node.map(|(_, price)| price)).collect();
        let range = alone.and_then(|all| Some((*all.iter().min()?, *all.iter().max()?)));
        let range = match range {
            None => "none".to_owned(),
            Some((least, most)) if least == most => money::each(least),
            Some((least, most)) => format!("{} to {}", money::each(least), money::each(most)),
        };
        let row: Vec<Cell> = vec![
            words(shape).into(),
            text::thousands(u64::from(count)).into(),
            money::each(price).into(),
            money::hourly(price * count).into(),
            range.into(),
        ];
        grid.row(row);
    }
    grid.render(look, out);
    let bill = match solution.without_routes {
        Some(without) => format!(
            "with nodes alone these pods and all others would cost {} an hour (quick effort), here {}",
            money::hourly(without),
            money::hourly(solution.cost)
        ),
        None => "nodes alone would not hold all pods that this plan holds".to_owned(),
    };
    text::wrap(out, &bill, look.width, "  ", "  ");
}

/// `0.5 vCPU, 1 GiB`.
pub(crate) fn words(shape: Shape) -> String {
    let cpu = f64::from(shape.cpu_millis) / 1e3;
    let memory = f64::from(shape.memory_mib) / 1024.0;
    let disk = if shape.disk_gib > 20 { format!(", {} GiB disk", shape.disk_gib) } else { String::new() };
    format!("{cpu} vCPU, {memory} GiB{disk}")
}
