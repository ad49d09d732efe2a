//! `stowage plan`: read, lower, solve, print.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use stowage_api::{Quantity, well_known};
use stowage_cluster::{
    LowerOptions, Lowered, Note, ReadOptions, Snapshot, Source, list_nominated, lower, read,
};
use stowage_pricing::{Catalog, CatalogSource, Commitments, FargateRates};
use stowage_solver::{NewNode, Options, Solution, TypeId, Violation, solve};

use crate::answer::{Answer, Quantities};
use crate::args::{Effort, Form, MinValuesPolicy, PlanArgs, Planning, PreferencePolicy, Shown};
use crate::catalog::{Loaded, now};
use crate::consolidate;
use crate::document;
use crate::failure::{Exit, Failure};
use crate::input::{self, Input};
use crate::interrupt::Interrupt;
use crate::preference;
use crate::progress::Progress;
use crate::render::{self, Show};
use crate::replay;
use crate::seen;
use crate::terminal::{self, ColorChoice};
use crate::text::{count, thousands};

/// Kinds that a plan does not read, and explanations do.
const POLICIES: [&str; 2] = ["FargatePolicy", "ClusterFargatePolicy"];
/// So many malformed objects are listed; nobody reads more.
const INVALID_LISTED: usize = 50;

/// Who wants to see the sources of a snapshot once it was read: for what planning does not read.
pub(crate) type See<'a> = &'a mut dyn FnMut(&[Source<'_>], &ReadOptions, &Snapshot) -> Result<(), Failure>;

/// What a plan was made from.
pub(crate) struct Ground {
    pub(crate) snapshot: Snapshot,
    pub(crate) catalog: Catalog,
    pub(crate) options: LowerOptions,
    /// What Fargate costs, planned with or not; `None` where nobody knows.
    pub(crate) rates: Option<FargateRates>,
}

/// A solved cluster.
pub(crate) struct Planned {
    /// The plan, with what output needs beside it.
    pub(crate) answer: Answer,
    /// What it was made from.
    pub(crate) ground: Ground,
    /// Whether Ctrl-C ended the search.
    pub(crate) interrupted: bool,
}

/// Runs the command.
///
/// # Errors
/// Where input cannot be used or output cannot be written.
pub(crate) fn run(args: &PlanArgs, color: ColorChoice) -> Result<Exit, Failure> {
    if args.consolidate {
        return consolidate_nodes(args, color);
    }
    let Planned { answer, interrupted, .. } = planned(&args.planning, args.dump_problem.as_deref(), None)?;
    print(&answer, args, color)?;
    Ok(match (interrupted, args.strict && !answer.is_complete()) {
        (true, _) => Exit::Interrupted,
        (false, true) => Exit::Unschedulable,
        (false, false) => Exit::Done,
    })
}

/// Reads and plans a cluster; the problem goes to `dump` first.
///
/// # Errors
/// Where input cannot be used.
pub(crate) fn planned(
    args: &Planning,
    dump: Option<&Path>,
    see: Option<See<'_>>,
) -> Result<Planned, Failure> {
    let Prepared { ground, mut lowered, remarks, of_fargate, progress } = prepared(args, dump, see)?;
    let (snapshot, catalog) = (&ground.snapshot, &ground.catalog);
    let interrupt = Interrupt::listen();
    let started = Instant::now();
    let mut tell = |stage, done, of| progress.tell(stage, done, of);
    let diversity = args.nodes.diversity();
    let options = Options { diversity, ..solve_options(args.gap.as_f64(), args.effort) };
    let solved = solve(&lowered.problem, &options, interrupt.flag(), &mut tell);
    let solve_seconds = started.elapsed().as_secs_f64();
    let interrupted = interrupt.finish();
    drop(progress);

    let mut solution = solved.map_err(|violations| defect(&violations))?;
    list_nominated(&mut lowered.problem, &mut solution, &lowered.nominated);
    let mut answer = Answer {
        allocatable: allocatable(&solution, &lowered.allocatable),
        problem: lowered.problem,
        solution,
        fargate: lowered.fargate,
        notes: Vec::new(),
        prices: prices(catalog),
        commitments: lowered.commitments,
        asked_gap: args.gap.as_f64(),
        wanted_types: usize::from(args.nodes.spot_diversity),
        solve_seconds,
    };
    answer.notes = notes(&answer, &lowered.notes, snapshot, catalog, interrupted);
    answer.notes.extend(remarks);
    answer.notes.extend(of_fargate);
    Ok(Planned { answer, ground, interrupted })
}

/// A cluster that is read and lowered.
struct Prepared {
    ground: Ground,
    lowered: Lowered,
    /// What to know of prices and capacity, and of Fargate.
    remarks: Vec<String>,
    of_fargate: Vec<String>,
    progress: Progress,
}

/// Reads and lowers a cluster; the problem goes to `dump` first.
fn prepared(args: &Planning, dump: Option<&Path>, see: Option<See<'_>>) -> Result<Prepared, Failure> {
    let more = [&args.source.catalog, &args.commitments, &args.unavailable].into_iter().flatten();
    input::once(args.snapshots.iter().chain(more).chain(args.fargate.files()))?;
    let progress = Progress::start();
    progress.tell("reading", 0, 0);
    let Loaded { mut catalog, mut remarks, fargate: live_rates, commitments: paid_for } =
        args.source.load(&progress)?;
    let snapshot = capture(args, see)?;
    remarks.extend(seen::hide_unavailable(args.unavailable.as_deref(), &mut catalog)?);
    progress.tell("preparing", 0, 0);
    // Machines without a Node only count against limits: a plan names none but Nodes that can be looked up.
    let preferences = match args.preference_policy {
        PreferencePolicy::Respect => stowage_cluster::PreferencePolicy::Respect,
        PreferencePolicy::Ignore => stowage_cluster::PreferencePolicy::Ignore,
    };
    let min_values = match args.min_values_policy {
        MinValuesPolicy::Strict => stowage_cluster::MinValuesPolicy::Strict,
        MinValuesPolicy::BestEffort => stowage_cluster::MinValuesPolicy::BestEffort,
    };
    let rates = args.fargate.rates(&catalog, live_rates);
    let (fargate, of_fargate) = args.fargate.options(&snapshot, &catalog, rates)?;
    let commitments = commitments(args, &catalog, paid_for, &mut remarks)?;
    let options = LowerOptions {
        fargate,
        nodes: args.nodes.settings(),
        preferences,
        min_values,
        schedulers: args.scheduler_name.clone(),
        default_spread: args.default_spread.iter().map(|spread| spread.0.clone()).collect(),
        commitments,
        learnt: seen::learnt(args.learnt.as_deref(), &snapshot, &catalog)?,
        ..LowerOptions::default()
    };
    let lowered = lower(&snapshot, &catalog, &options).map_err(Failure::new)?;
    if let Some(path) = dump {
        replay::write(path, &lowered.problem)?;
    }
    let ground = Ground { snapshot, catalog, options, rates };
    Ok(Prepared { ground, lowered, remarks, of_fargate, progress })
}

/// What a plan that breaks a rule is told as.
fn defect(violations: &[Violation]) -> Failure {
    let first = violations.first().map_or("", |v| v.what.as_str());
    Failure::defect(format!("the planner made a plan that breaks a rule, and refuses to print it: {first}"))
        .hint("this is a defect of Stowage: please report it with the file that --dump-problem FILE writes")
}

/// Plans which nodes need not be, and prints that.
fn consolidate_nodes(args: &PlanArgs, color: ColorChoice) -> Result<Exit, Failure> {
    let Prepared { ground, lowered, remarks, progress, .. } =
        prepared(&args.planning, args.dump_problem.as_deref(), None)?;
    let Ground { snapshot, catalog, options, .. } = ground;
    let of_lowering: Vec<String> = lowered.notes.iter().map(ToString::to_string).collect();
    let interrupt = Interrupt::listen();
    let planned = consolidate::plan(
        &snapshot,
        &catalog,
        &options.commitments,
        lowered,
        &args.aims,
        &interrupt,
        &progress,
    );
    let interrupted = interrupt.finish();
    drop(progress);
    let mut answer = planned.map_err(|violations| defect(&violations))?;
    answer.notes.extend(of_lowering);
    answer.notes.extend(remarks);
    let mut out = Vec::new();
    let written = match args.output {
        Form::Table => {
            out = consolidate::report(&answer, &terminal::stdout_look(color)).into_bytes();
            Ok(())
        }
        Form::Json => document::write_json(&consolidate::document(&answer), &mut out),
        Form::Yaml => document::write_yaml(&consolidate::document(&answer), &mut out),
    };
    written.map_err(|error| Failure::defect(format!("the plan cannot be written as a document: {error}")))?;
    terminal::print(&out)?;
    let left = answer.found.pending.unplaced.len();
    Ok(match (interrupted, args.strict && left > 0) {
        (true, _) => Exit::Interrupted,
        (false, true) => Exit::Unschedulable,
        (false, false) => Exit::Done,
    })
}

/// The solver's options.
pub(crate) fn solve_options(gap: f64, effort: Effort) -> Options {
    let effort = match effort {
        Effort::Quick => stowage_solver::Effort::Quick,
        Effort::Balanced => stowage_solver::Effort::Balanced,
        Effort::Thorough => stowage_solver::Effort::Thorough,
    };
    Options { gap, effort, ..Options::default() }
}

fn capture(args: &Planning, see: Option<See<'_>>) -> Result<Snapshot, Failure> {
    let inputs =
        args.snapshots.iter().map(|path| input::snapshot(path)).collect::<Result<Vec<Input>, _>>()?;
    let sources: Vec<_> = inputs.iter().map(|i| Source { name: &i.name, bytes: &i.bytes }).collect();
    let options = ReadOptions { skip_invalid: args.skip_invalid, ..ReadOptions::default() };
    let snapshot = read(&sources, &options).map_err(Failure::new)?;
    if let Some(see) = see {
        see(&sources, &options, &snapshot)?;
    }
    Ok(snapshot)
}

/// What is paid for already, as far as it is in force now and for the catalogue's region: what a file says, else what AWS
/// said where it was asked.
fn commitments(
    args: &Planning,
    catalog: &Catalog,
    live: Option<Commitments>,
    remarks: &mut Vec<String>,
) -> Result<Commitments, Failure> {
    let Some(path) = &args.commitments else { return Ok(live.unwrap_or_default()) };
    let file = input::read(path)?;
    let all = Commitments::parse(&file.bytes, &file.name).map_err(Failure::new)?;
    let region = catalog.types.iter().flat_map(|of| &of.offerings).find_map(|o| o.region());
    remarks
        .extend(all.idle(catalog, now()).into_iter().map(|why| format!("commitments {}: {why}", file.name)));
    Ok(all.in_force(now(), region.unwrap_or_default()))
}

/// What pods may use of the types that the plan buys, in the catalogue's own quantities.
fn allocatable(solution: &Solution, of_types: &[BTreeMap<String, Quantity>]) -> BTreeMap<u32, Quantities> {
    let used: BTreeSet<TypeId> = solution.new_nodes.iter().map(|node| node.instance_type).collect();
    let exact = |of: TypeId| {
        let amounts = of_types.get(of.index())?.iter();
        Some((of.0, amounts.map(|(name, amount)| (name.clone(), amount.to_string())).collect()))
    };
    used.into_iter().filter_map(exact).collect()
}

/// Where the prices come from, for people.
fn prices(catalog: &Catalog) -> String {
    match &catalog.source {
        CatalogSource::Embedded { region, price_date, .. } => {
            format!("on-demand prices of {region}, {price_date}")
        }
        CatalogSource::Answers { region, as_of, .. } => {
            format!("prices of {region} as AWS told them at {as_of}")
        }
        CatalogSource::File { name } => format!("prices of {name}"),
    }
}

/// Nodes that can be launched as less than `minValues` asks for, in one sentence for each label.
fn relaxed(answer: &Answer) -> Vec<String> {
    let mut by_demand = BTreeMap::<(&str, &str, u32), (usize, u32)>::new();
    for node in &answer.solution.new_nodes {
        for relaxed in &node.relaxed {
            let demand = (answer.pool(node).name.as_str(), relaxed.key.as_str(), relaxed.least);
            let (nodes, fewest) = by_demand.entry(demand).or_insert((0, u32::MAX));
            (*nodes, *fewest) = (*nodes + 1, relaxed.found.min(*fewest));
        }
    }
    let sentence = |((pool, key, least), (nodes, fewest)): ((&str, &str, u32), (usize, u32))| {
        let nodes = count(nodes, "node");
        format!(
            "minValues {least} for {key} is relaxed for {nodes} of NodePool {pool}: {fewest} left at the least"
        )
    };
    by_demand.into_iter().map(sentence).collect()
}

/// What the reader must know, the most important first.
fn notes(
    answer: &Answer,
    lowered: &[Note],
    snapshot: &Snapshot,
    catalog: &Catalog,
    interrupted: bool,
) -> Vec<String> {
    let mut notes = Vec::new();
    if interrupted {
        notes.push("interrupted: this is the best plan found until then".to_owned());
    }
    notes.extend(preference::notes(&answer.problem, &answer.solution));
    notes.extend(relaxed(answer));
    for note in lowered {
        match note {
            Note::EstimatedPrices { .. } => notes.push(estimates(answer, catalog)),
            Note::Invalid { .. } => {
                notes.extend(
                    snapshot.invalid.iter().take(INVALID_LISTED).map(|error| format!("left out: {error}")),
                );
                let more = snapshot.invalid.len().saturating_sub(INVALID_LISTED);
                if more > 0 {
                    notes.push(format!("left out: {} more", count(more, "malformed object")));
                }
            }
            Note::Ignored { kind, count } if POLICIES.contains(&kind.as_str()) => notes.push(format!(
                "not planned with: {count} {kind}; `stowage explain pod` says what becomes of a pod by it"
            )),
            other => notes.push(other.to_string()),
        }
    }
    notes.extend(licences(answer, catalog));
    notes
}

/// What to know of nodes of Windows: a file's prices may be theirs, AWS's are taken for Linux.
///
/// compat: karpenter-provider-aws v1.14 prices all nodes so.
fn licences(answer: &Answer, catalog: &Catalog) -> Option<String> {
    let is_windows = |node: &&NewNode| {
        answer.instance_type(node).labels.get(well_known::OS).is_some_and(|system| system == "windows")
    };
    let nodes = answer.solution.new_nodes.iter().filter(is_windows).count();
    let priced = nodes > 0 && !matches!(catalog.source, CatalogSource::File { .. });
    priced.then(|| {
        let nodes = count(nodes, "node");
        format!("{nodes} of Windows at the price of Linux: what AWS asks for the licence is neither in cost nor bound")
    })
}

fn estimates(answer: &Answer, catalog: &Catalog) -> String {
    let how = match &catalog.source {
        CatalogSource::Embedded { spot_price_share, .. }
        | CatalogSource::Answers { spot_price_share, .. } => {
            format!("spot prices are estimated at {spot_price_share} of on-demand (--spot-price-share)")
        }
        CatalogSource::File { .. } => "some prices of the catalogue are estimated".to_owned(),
    };
    let new = answer.solution.new_nodes.len();
    match answer.estimated_nodes() {
        0 => format!("{how}; no new node has such a price"),
        n if n == new => format!("{how}: those of all new nodes, marked ~"),
        n => format!(
            "{how}: those of {} of {} new nodes, marked ~",
            thousands(n as u64),
            thousands(new as u64)
        ),
    }
}

fn print(answer: &Answer, args: &PlanArgs, color: ColorChoice) -> Result<(), Failure> {
    let mut out = Vec::new();
    let show = Show {
        pods: args.show.contains(&Shown::Pods),
        alternatives: args.show.contains(&Shown::Alternatives),
    };
    let written = match args.output {
        Form::Table => {
            out = render::report(answer, show, &terminal::stdout_look(color)).into_bytes();
            Ok(())
        }
        Form::Json => document::write_json(&document::of(answer, show), &mut out),
        Form::Yaml => document::write_yaml(&document::of(answer, show), &mut out),
    };
    written.map_err(|error| Failure::defect(format!("the plan cannot be written as a document: {error}")))?;
    terminal::print(&out)
}
