//! Names of the stages of a solve, as its progress tells them: words for people, and what benches tell time apart by.

/// Folding pods into classes, and enumerating bin kinds.
pub const FOLDING: &str = "folding pods into classes";
/// Dealing classes that rules concern over zones and other domains.
pub const DEALING: &str = "dealing classes over domains";
/// Filling existing nodes.
pub const FILLING: &str = "filling existing nodes";
/// The resource bound.
pub const BOUNDING: &str = "bounding";
/// Constructions and repairs.
pub const PACKING: &str = "packing";
/// Column generation: the master LP over the patterns so far.
pub const MASTER: &str = "weighing patterns";
/// Column generation: pricing, which finds patterns worth more than they cost.
pub const PRICING: &str = "finding patterns";
/// Column generation: rounding the LP's solution, completed and repaired.
pub const ROUNDING: &str = "rounding to whole nodes";
/// Column generation: Farley's bound from the LP's prices.
pub const PROVING: &str = "proving the bound";
/// Choosing alternatives, and handing out pods by name.
pub const HANDING_OUT: &str = "naming nodes and pods";
/// The independent check of the plan.
pub const CHECKING: &str = "checking the plan";
/// Explaining: why new nodes are what they are.
pub const COMPARING: &str = "comparing nodes with cheaper ones";
/// Explaining: solving again without each of the rules.
pub const MEASURING: &str = "measuring rules";
