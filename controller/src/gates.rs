//! Feature gates: what is switched on, as Karpenter's one text says it, `NodeOverlay=true,StaticCapacity=true`.
//!
//! compat: karpenter v1.14, `pkg/operator/options`: a gate that is not named keeps its default, and one that is unknown is
//! passed over. What is no such text is refused.

use std::str::FromStr;

/// Which features are switched on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Gates {
    /// Nodes that are unhealthy for long are replaced.
    pub node_repair: bool,
    /// Capacity that is reserved is used first.
    pub reserved_capacity: bool,
    /// Spot nodes may be replaced by cheaper spot nodes.
    pub spot_to_spot_consolidation: bool,
    /// `NodeOverlays` change prices and resources.
    pub node_overlay: bool,
    /// `NodePools` with `replicas` keep that many nodes.
    pub static_capacity: bool,
    /// `CapacityBuffers` keep room free.
    pub capacity_buffer: bool,
    /// Gates of the text that this version does not know.
    pub unknown: Vec<String>,
}

impl Default for Gates {
    fn default() -> Self {
        Self {
            node_repair: false,
            reserved_capacity: true,
            spot_to_spot_consolidation: false,
            node_overlay: false,
            static_capacity: false,
            capacity_buffer: false,
            unknown: Vec::new(),
        }
    }
}

impl FromStr for Gates {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut gates = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| format!("{part}: write NAME=true or NAME=false, with commas between"))?;
            let on = match value.trim() {
                "true" | "True" | "TRUE" | "t" | "T" | "1" => true,
                "false" | "False" | "FALSE" | "f" | "F" | "0" => false,
                other => return Err(format!("{part}: {other} is neither true nor false")),
            };
            let gate = match name.trim() {
                "NodeRepair" => &mut gates.node_repair,
                "ReservedCapacity" => &mut gates.reserved_capacity,
                "SpotToSpotConsolidation" => &mut gates.spot_to_spot_consolidation,
                "NodeOverlay" => &mut gates.node_overlay,
                "StaticCapacity" => &mut gates.static_capacity,
                "CapacityBuffer" => &mut gates.capacity_buffer,
                other => {
                    gates.unknown.push(other.to_owned());
                    continue;
                }
            };
            *gate = on;
        }
        Ok(gates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_are_read_as_the_chart_writes_them() {
        let gates: Gates = "NodeOverlay=true, CapacityBuffer=1,ReservedCapacity=false,FromTheFuture=true"
            .parse()
            .expect("gates");
        let expected = Gates {
            node_overlay: true,
            capacity_buffer: true,
            reserved_capacity: false,
            unknown: vec!["FromTheFuture".to_owned()],
            ..Gates::default()
        };
        assert_eq!(gates, expected);
        assert_eq!("".parse(), Ok(Gates::default()));
    }

    #[test]
    fn what_says_nothing_clear_is_refused() {
        for text in ["NodeOverlay", "NodeOverlay=yes", "=,", "true"] {
            assert!(text.parse::<Gates>().is_err(), "{text}");
        }
    }
}
