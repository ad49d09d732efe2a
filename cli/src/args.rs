//! The command line as types.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use stowage_pricing::Share;

use crate::terminal::ColorChoice;

/// Plan, explain and price the nodes of a captured Kubernetes cluster on AWS.
#[derive(Debug, Parser)]
#[command(name = "stowage", version, about, propagate_version = true, max_term_width = 110)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,

    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    pub(crate) color: ColorChoice,
}

/// What Stowage can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Plan nodes for the pending pods of a captured cluster
    Plan(PlanArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: Shell,
    },
}

/// Options of `stowage plan`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Make a snapshot of a cluster with
  kubectl get pods,nodes,pvc,pv,storageclasses,csinodes,daemonsets,namespaces,priorityclasses,nodepools,nodeclaims,\
ec2nodeclasses -A -o json > snapshot.json

Exit codes: 0 planned, 1 some pods are unschedulable (with --strict), 2 bad usage or input, 130 interrupted.")]
pub(crate) struct PlanArgs {
    /// Files with Kubernetes objects: JSON or YAML, plain or gzipped; `-` is standard input
    ///
    /// Several files are read as one cluster.
    #[arg(required = true, value_name = "SNAPSHOT")]
    pub(crate) snapshots: Vec<PathBuf>,

    /// AWS region whose embedded instance types and prices are used [default: us-east-1]
    #[arg(long, value_name = "REGION", help_heading = "Instance types and prices")]
    pub(crate) region: Option<String>,

    /// File of instance types and prices to use instead of the embedded ones
    #[arg(long, value_name = "FILE", help_heading = "Instance types and prices")]
    pub(crate) catalog: Option<PathBuf>,

    /// Share of memory that the hypervisor and kernel keep of what EC2 advertises [default: 7.5%]
    #[arg(long, value_name = "SHARE", help_heading = "Instance types and prices")]
    pub(crate) vm_memory_overhead_percent: Option<Share>,

    /// Spot price to assume, as a share of the on-demand price [default: 35%]
    #[arg(long, value_name = "SHARE", help_heading = "Instance types and prices")]
    pub(crate) spot_price_share: Option<Share>,

    /// Stop searching at this distance to the proven lower bound: 0.02 or 2%
    #[arg(long, value_name = "SHARE", default_value = "2%")]
    pub(crate) gap: Share,

    /// Form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    pub(crate) output: Form,

    /// Show more than the summary: every pod by name
    #[arg(long, value_name = "WHAT", value_enum)]
    pub(crate) show: Vec<Shown>,

    /// Exit with 1 where a pod is unschedulable
    #[arg(long)]
    pub(crate) strict: bool,

    /// Leave malformed objects out, and list them, instead of failing
    #[arg(long)]
    pub(crate) skip_invalid: bool,
}

/// Forms of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// For people
    #[default]
    Table,
    /// For programs
    Json,
    /// For programs, and people who review
    Yaml,
}

/// What can be shown beyond the summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shown {
    /// Every pod by name, and every existing node that receives some
    Pods,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Args::command().debug_assert();
    }
}
