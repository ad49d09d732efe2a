//! The command line as types.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use stowage_cluster::disrupt::Payback;
use stowage_cluster::object::{SpreadConstraint, Unsatisfiable};
use stowage_pricing::Share;
use stowage_solver::SavingFloor;

use crate::catalog::{CatalogArgs, Source};
use crate::fargate_args::FargateArgs;
use crate::node_args::NodeArgs;
use crate::prices::PricesArgs;
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
    /// Say why a plan is as it is: what fills its nodes, what resources are worth, what rules cost
    Explain(Box<ExplainArgs>),
    /// Solve a problem that `plan --dump-problem` wrote, check the plan and print its sums
    Replay(ReplayArgs),
    /// List the instance types that a plan may use, with what pods can use of them and their prices
    Catalog(CatalogArgs),
    /// Compare what instance types cost, by zone and capacity type, for a vCPU, a GiB and a GPU
    Prices(PricesArgs),
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
  kubectl get pods,nodes,pvc,pv,storageclasses,csinodes,daemonsets,namespaces,priorityclasses,runtimeclasses,nodepools,nodeclaims,\
ec2nodeclasses,poddisruptionbudgets -A -o json > snapshot.json

Exit codes: 0 planned, 1 some pods are unschedulable (with --strict), 2 bad usage or input, 130 interrupted.")]
pub(crate) struct PlanArgs {
    /// The cluster, and how to plan it.
    #[command(flatten)]
    pub(crate) planning: Planning,

    /// Form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    pub(crate) output: Form,

    /// Show more than the summary
    #[arg(long, value_name = "WHAT", value_enum)]
    pub(crate) show: Vec<Shown>,

    /// Exit with 1 where a pod is unschedulable
    #[arg(long)]
    pub(crate) strict: bool,

    /// Plan which nodes that are there need not be, once pending pods have their places: steps that pay for themselves
    #[arg(long)]
    pub(crate) consolidate: bool,

    /// What steps of --consolidate aim for.
    #[command(flatten)]
    pub(crate) aims: ConsolidateArgs,

    /// Write the packing problem to a file first, for `stowage replay` and for bug reports
    ///
    /// It holds what decides where pods go: names, labels, requests and rules; no environment, no secrets.
    #[arg(long, value_name = "FILE")]
    pub(crate) dump_problem: Option<PathBuf>,
}

/// What steps of a consolidation aim for.
#[derive(Debug, clap::Args)]
pub(crate) struct ConsolidateArgs {
    /// The least that a step saves: dollars an hour, a share of what its nodes cost, or both with a comma between
    #[arg(long, value_name = "DOLLARS,SHARE", default_value = "0.005,5%", requires = "consolidate")]
    pub(crate) saving_floor: SavingFloor,

    /// Within what time a step pays for the pods that it moves, each taken to cost a tenth of a cent: 10m, 2h, or Never for any. Up to twelve times that where nodes have been quiet for days
    #[arg(long, value_name = "TIME", default_value = "10m", requires = "consolidate")]
    pub(crate) payback: Payback,
}

/// What every command that plans a cluster takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Planning {
    /// Files with Kubernetes objects: JSON or YAML, plain or gzipped; `-` is standard input
    ///
    /// Several files are read as one cluster.
    #[arg(required = true, value_name = "SNAPSHOT")]
    pub(crate) snapshots: Vec<PathBuf>,

    /// Where instance types and prices come from.
    #[command(flatten)]
    pub(crate) source: Source,

    /// What holds for new nodes.
    #[command(flatten)]
    pub(crate) nodes: NodeArgs,

    /// Whether pods may run on Fargate.
    #[command(flatten)]
    pub(crate) fargate: FargateArgs,

    /// Reserved instances and savings plans, which are paid for already: nodes that run use them first, then new ones
    ///
    /// JSON; docs/pricing.md has the form.
    #[arg(long, value_name = "FILE", help_heading = crate::catalog::PRICES)]
    pub(crate) commitments: Option<PathBuf>,

    /// Capacity errors and zonal shifts: what could not be had lately, and is not planned with until that has expired
    ///
    /// JSON; docs/pricing.md has the form.
    #[arg(long, value_name = "FILE", help_heading = crate::catalog::PRICES)]
    pub(crate) unavailable: Option<PathBuf>,

    /// Keep the memory that nodes were seen to have in this file, from run to run: read, added to, and written again
    ///
    /// It takes the place of the guess (--vm-memory-overhead-percent). Without the file, what the snapshot's own nodes show
    /// does, except with --catalog, which states memory itself.
    #[arg(long, value_name = "FILE", help_heading = crate::catalog::PRICES)]
    pub(crate) learnt: Option<PathBuf>,

    /// What becomes of preferences: preferred affinity, soft spread, soft taints
    #[arg(long, value_name = "POLICY", value_enum, default_value_t)]
    pub(crate) preference_policy: PreferencePolicy,

    /// What becomes of pods that leave less to choose from than minValues of a NodePool asks for
    #[arg(long, value_name = "POLICY", value_enum, ignore_case = true, default_value_t)]
    pub(crate) min_values_policy: MinValuesPolicy,

    /// Spread of workloads that state none: NODE-LABEL=SKEW, or NODE-LABEL=SKEW:ScheduleAnyway
    ///
    /// As `defaultConstraints` in the configuration of kube-scheduler. Can be given several times.
    #[arg(long, value_name = "SPREAD")]
    pub(crate) default_spread: Vec<DefaultSpread>,

    /// Plan for pods of this scheduler too, beside those of the default one
    #[arg(long, value_name = "NAME")]
    pub(crate) scheduler_name: Vec<String>,

    /// Stop searching at this distance to the proven lower bound: 0.02 or 2%
    #[arg(long, value_name = "SHARE", default_value = "2%")]
    pub(crate) gap: Share,

    /// How hard to try
    #[arg(long, value_name = "EFFORT", value_enum, default_value_t)]
    pub(crate) effort: Effort,

    /// Leave malformed objects out, and list them, instead of failing
    #[arg(long)]
    pub(crate) skip_invalid: bool,
}

/// Options of `stowage explain`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_long_help = "\
Plans the cluster as `stowage plan` does with the same options, and says why the plan is as it is.

A snapshot called `node` or `pod` is written ./node or ./pod."
)]
pub(crate) struct ExplainArgs {
    /// One of the things in the plan.
    #[command(subcommand)]
    pub(crate) what: Option<Explained>,

    /// How to explain the plan as a whole.
    #[command(flatten)]
    pub(crate) common: Explaining,
}

/// What can be explained on its own.
#[derive(Debug, Subcommand)]
pub(crate) enum Explained {
    /// Explain one new node: what fills it, and why it is nothing cheaper
    Node {
        /// The name that the plan gives it, such as default-0
        #[arg(value_name = "NAME")]
        name: String,
        /// How.
        #[command(flatten)]
        common: Explaining,
    },
    /// Explain one pending pod: where it goes and why, or what keeps it off and what would let it in
    ///
    /// Where the snapshot has policies for Fargate, or what a controller has recorded of them, also what they make of the pod,
    /// pending or not: docs/inputs.md has the commands that capture them.
    Pod {
        /// Namespace and name; without a namespace, default
        #[arg(value_name = "NAMESPACE/NAME")]
        name: String,
        /// How.
        #[command(flatten)]
        common: Explaining,
    },
}

/// How to explain.
#[derive(Debug, clap::Args)]
pub(crate) struct Explaining {
    /// The cluster, and how to plan it.
    #[command(flatten)]
    pub(crate) planning: Planning,

    /// Solve again without each of so many rules, to tell what it costs; 0 for none
    #[arg(long, value_name = "COUNT", default_value_t = 12)]
    pub(crate) rules: usize,

    /// Form of the output
    #[arg(short, long, value_name = "FORM", value_enum, default_value_t)]
    pub(crate) output: Form,
}

/// Options of `stowage replay`.
#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArgs {
    /// A problem written by `stowage plan --dump-problem`; `-` is standard input
    #[arg(value_name = "PROBLEM")]
    pub(crate) problem: PathBuf,

    /// Stop searching at this distance to the proven lower bound: 0.02 or 2%
    #[arg(long, value_name = "SHARE", default_value = "2%")]
    pub(crate) gap: Share,

    /// How hard to try
    #[arg(long, value_name = "EFFORT", value_enum, default_value_t)]
    pub(crate) effort: Effort,
}

/// A spread constraint of the scheduler's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DefaultSpread(pub(crate) SpreadConstraint);

impl FromStr for DefaultSpread {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (rest, policy) = text.split_once(':').unwrap_or((text, "DoNotSchedule"));
        let when_unsatisfiable = match policy {
            "DoNotSchedule" => Unsatisfiable::DoNotSchedule,
            "ScheduleAnyway" => Unsatisfiable::ScheduleAnyway,
            other => return Err(format!("`{other}` is neither DoNotSchedule nor ScheduleAnyway")),
        };
        let (key, skew) = rest.rsplit_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| {
            "a spread is a node label and a skew, as topology.kubernetes.io/zone=1".to_owned()
        })?;
        let max_skew = skew.parse().ok().filter(|skew| *skew > 0);
        let max_skew = max_skew.ok_or_else(|| format!("skew `{skew}` is no whole number above 0"))?;
        let topology_key = key.to_owned();
        Ok(Self(SpreadConstraint {
            topology_key,
            max_skew,
            when_unsatisfiable,
            ..SpreadConstraint::default()
        }))
    }
}

/// What becomes of preferences of pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PreferencePolicy {
    /// Kept where that can be, also at a cost; given up one at a time where it cannot
    #[default]
    Respect,
    /// Not looked at
    Ignore,
}

/// What becomes of pods for which `minValues` cannot be met.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum MinValuesPolicy {
    /// They wait
    #[default]
    Strict,
    /// They have a node with less to choose from, and a note says so
    #[value(alias = "BestEffort")]
    BestEffort,
}

/// How hard to try to make a plan cheaper. Each counts steps, not seconds, so that plans do not depend on the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Effort {
    /// A good plan at once
    Quick,
    /// Search until the gap is reached
    #[default]
    Balanced,
    /// Search on, whatever the gap, for as cheap a plan as can be found
    Thorough,
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
    /// What else each new node could be launched as: other types, zones and capacity types
    Alternatives,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Args::command().debug_assert();
    }

    #[test]
    fn a_floor_is_dollars_or_a_share_or_both() {
        let of = |text: &str| text.parse::<super::SavingFloor>().map(|f| (f.price.micros(), f.share));
        assert_eq!(of("0.005,5%"), Ok((5000, 50)));
        assert_eq!((of("$0.02"), of("2.5%"), of("0")), (Ok((20_000, 0)), Ok((0, 25)), Ok((0, 0))));
        for bad in ["", "much", "101%", "-1", "-5%", "1,,2"] {
            assert!(of(bad).is_err(), "{bad}");
        }
        let time = |text: &str| text.parse::<super::Payback>().map(|p| p.0);
        assert_eq!((time("2h"), time("Never"), time("never")), (Ok(Some(7200)), Ok(None), Ok(None)));
        assert!(time("soon").is_err());
    }

    #[test]
    fn a_default_spread_is_a_label_a_skew_and_a_policy() {
        let of = |text: &str| text.parse::<super::DefaultSpread>().map(|s| s.0);
        let zone = of("topology.kubernetes.io/zone=3:ScheduleAnyway").expect("a spread");
        assert_eq!((zone.topology_key.as_str(), zone.max_skew), ("topology.kubernetes.io/zone", 3));
        assert_eq!(zone.when_unsatisfiable, super::Unsatisfiable::ScheduleAnyway);
        assert_eq!(of("rack=1").map(|s| s.when_unsatisfiable), Ok(super::Unsatisfiable::DoNotSchedule));
        for bad in ["", "rack", "=1", "rack=0", "rack=-1", "rack=1:Sometimes"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}
