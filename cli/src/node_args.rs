//! Options about the nodes to be, shared by every command that plans.

use stowage_api::well_known::SPOT;
use stowage_api::{Dollars, NodeSettings, Quantity};
use stowage_pricing::Share;
use stowage_solver::Diversity;

const NODES: &str = "New nodes";
/// What Karpenter asks for before it replaces one spot node by a cheaper one: with fewer types to choose from, the cheapest
/// is soon the one that is interrupted.
const SPOT_DIVERSITY: u8 = 15;

/// What is said of all new nodes whose `NodePool` does not say it.
#[derive(Debug, clap::Args)]
pub(crate) struct NodeArgs {
    /// Dollars an hour that each new node costs beside its instance: root volume, public IPv4, licences of agents
    ///
    /// Plans, lower bound and gap then weigh prices with it. A NodePool's annotation stowage.dev/node-cost goes before.
    #[arg(long, value_name = "DOLLARS", help_heading = NODES)]
    pub(crate) node_cost: Option<Dollars>,

    /// Buy no nodes with fewer vCPUs [NodePool annotation: stowage.dev/min-node-cpu]
    #[arg(long, value_name = "CPUS", help_heading = NODES)]
    pub(crate) min_node_cpu: Option<Quantity>,

    /// Buy no nodes with more vCPUs [NodePool annotation: stowage.dev/max-node-cpu]
    #[arg(long, value_name = "CPUS", help_heading = NODES)]
    pub(crate) max_node_cpu: Option<Quantity>,

    /// Buy no nodes with less advertised memory, such as 16Gi [NodePool annotation: stowage.dev/min-node-memory]
    #[arg(long, value_name = "BYTES", help_heading = NODES)]
    pub(crate) min_node_memory: Option<Quantity>,

    /// Buy no nodes with more advertised memory [NodePool annotation: stowage.dev/max-node-memory]
    #[arg(long, value_name = "BYTES", help_heading = NODES)]
    pub(crate) max_node_memory: Option<Quantity>,

    /// As how many instance types each spot node should be launchable, its own included: 1 to 60
    #[arg(long, value_name = "TYPES", default_value_t = SPOT_DIVERSITY, help_heading = NODES,
        value_parser = clap::value_parser!(u8).range(1..=60))]
    pub(crate) spot_diversity: u8,

    /// Spend up to this share of the plan's cost to reach it: 0.01 or 1%
    #[arg(long, value_name = "SHARE", default_value = "0%", help_heading = NODES)]
    pub(crate) prefer_diversity: Share,
}

impl NodeArgs {
    /// As lowering takes them.
    pub(crate) const fn settings(&self) -> NodeSettings {
        NodeSettings {
            cost: self.node_cost,
            min_cpu: self.min_node_cpu,
            max_cpu: self.max_node_cpu,
            min_memory: self.min_node_memory,
            max_memory: self.max_node_memory,
        }
    }

    /// As the solver takes them.
    pub(crate) fn diversity(&self) -> Option<Diversity> {
        (self.prefer_diversity > Share::ZERO).then(|| Diversity {
            capacity_type: SPOT.to_owned(),
            types: usize::from(self.spot_diversity),
            premium: self.prefer_diversity.as_f64(),
        })
    }
}
