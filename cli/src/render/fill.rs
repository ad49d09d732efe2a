//! How full nodes are, in the resources worth a column, and the forms in which that is written: percent, amounts, bars.

use std::fmt::Write as _;

use stowage_solver::{ResourceId, Resources};

use super::grid::Cell;
use super::look::{Look, Style};
use crate::answer::Answer;
use stowage_cluster::words::amount;

/// How much of something is taken.
#[derive(Clone, Copy, Default)]
struct Fill {
    used: i64,
    of: i64,
}

impl Fill {
    fn add(&mut self, resource: Option<ResourceId>, used: &Resources, of: &Resources) {
        let Some(id) = resource else { return };
        self.used = self.used.saturating_add(used.get(id));
        self.of = self.of.saturating_add(of.get(id));
    }

    fn share(self) -> f64 {
        if self.of == 0 { 0.0 } else { self.used as f64 / self.of as f64 }
    }
}

/// Which resources get a column: CPU, memory, and the first kind of device that anything asks for.
pub(super) struct Measured {
    cpu: Option<ResourceId>,
    memory: Option<ResourceId>,
    pub(super) device: Option<(ResourceId, &'static str)>,
}

impl Measured {
    pub(super) fn of(answer: &Answer) -> Self {
        let title = |name: &String| {
            let device = name.split_once('/')?.1;
            [("gpu", "GPU"), ("neuron", "NEURON"), ("gaudi", "GAUDI")]
                .into_iter()
                .find(|(kind, _)| device.starts_with(kind))
        };
        let mut devices =
            answer.problem.resources.iter().enumerate().filter_map(|(at, name)| Some((at, title(name)?.1)));
        let device = devices.next().map(|(at, title)| (ResourceId::of(at), title));
        Self { cpu: answer.resource("cpu"), memory: answer.resource("memory"), device }
    }
}

/// How full something is in each measured resource.
#[derive(Clone, Copy, Default)]
pub(super) struct Fills {
    cpu: Fill,
    memory: Fill,
    device: Fill,
}

impl Fills {
    pub(super) fn add(&mut self, measured: &Measured, used: &Resources, of: &Resources) {
        self.cpu.add(measured.cpu, used, of);
        self.memory.add(measured.memory, used, of);
        self.device.add(measured.device.as_ref().map(|d| d.0), used, of);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in
            [(&mut self.cpu, other.cpu), (&mut self.memory, other.memory), (&mut self.device, other.device)]
        {
            mine.used = mine.used.saturating_add(theirs.used);
            mine.of = mine.of.saturating_add(theirs.of);
        }
    }

    /// The cells of CPU, memory and devices; the fullest, which is what limits the node, stands out.
    pub(super) fn cells(&self, form: Form, device: bool) -> Vec<Cell> {
        let mut fills = vec![("cpu", self.cpu), ("memory", self.memory)];
        if device {
            fills.push(("", self.device));
        }
        let fullest = fills.iter().map(|(_, f)| f.share()).fold(0.0, f64::max);
        let cell = |(resource, fill): (&str, Fill)| {
            let style = if fill.of > 0 && fill.share() >= fullest { Style::Good } else { Style::Plain };
            Cell::new(&form.fill(resource, fill), style)
        };
        fills.into_iter().map(cell).collect()
    }
}

/// How shares are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    /// Cells of a bar; none where zero.
    pub(super) bar: usize,
    /// Whether the amounts stand beside the percentage.
    pub(super) amounts: bool,
}

impl Form {
    pub(super) const PERCENT: Self = Self { bar: 0, amounts: false };

    /// Forms to try, the roomiest first.
    pub(super) fn ladder(look: &Look) -> &'static [Self] {
        const BARS: &[Form] = &[
            Form { bar: 16, amounts: true },
            Form { bar: 10, amounts: true },
            Form { bar: 12, amounts: false },
            Form { bar: 8, amounts: false },
            Form { bar: 5, amounts: false },
            Form::PERCENT,
        ];
        const PLAIN: &[Form] = &[Form { bar: 0, amounts: true }, Form::PERCENT];
        if look.bars { BARS } else { PLAIN }
    }

    fn fill(self, resource: &str, fill: Fill) -> String {
        if fill.of == 0 {
            return "-".to_owned();
        }
        let share = fill.share().clamp(0.0, 1.0);
        let mut out = String::new();
        if self.bar > 0 {
            // Something used shows at least one cell; a bar is full only where nothing is left.
            let cells = ((share * self.bar as f64) as usize).max(usize::from(fill.used > 0)).min(self.bar);
            out.extend(std::iter::repeat_n('█', cells));
            out.extend(std::iter::repeat_n('░', self.bar - cells));
            out.push(' ');
        }
        let percent = (share * 100.0) as u32;
        let _ = write!(out, "{percent:>3}%");
        if self.amounts {
            let (used, of) = (amount::human(resource, fill.used), amount::human(resource, fill.of));
            let used = match (used.split_once(' '), of.split_once(' ')) {
                (Some((number, a)), Some((_, b))) if a == b => number.to_owned(),
                _ => used,
            };
            let _ = write!(out, " {:>13}", format!("{used}/{of}"));
        }
        out
    }
}
