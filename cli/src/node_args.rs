//! Options about the nodes to be, shared by every command that plans.

use stowage_api::{Dollars, NodeSettings, Quantity};

const NODES: &str = "New nodes";

/// What is said of all new nodes whose `NodePool` does not say it.
#[derive(Debug, Default, clap::Args)]
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
}
