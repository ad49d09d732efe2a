//! `stowage explain`: plan as `stowage plan` does, then say why the plan is as it is.
//!
//! ```text
//! plan::planned ─▶ solver::explain ─▶ story ─┬─▶ document ─▶ JSON, YAML
//!          └─▶ fargate, for a pod ───────────┴─▶ table
//! ```
//!
//! Words for rules and obstacles are made in [`words`] and nowhere else; both forms say the same.

mod document;
mod fargate;
mod table;
mod words;

use std::time::Instant;

use serde::Serialize;
use stowage_solver::explain::{ExplainOptions, Place, PodStory, explain, explain_nodes, explain_pod};
use stowage_solver::{PodId, Problem};

use crate::answer::Answer;
use crate::args::{ExplainArgs, Explained, Explaining, Form};
use crate::document::{write_json, write_yaml};
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupt;
use crate::plan::{Planned, planned};
use crate::progress::Progress;
use crate::render::look::Look;
use crate::terminal::{self, ColorChoice};
use crate::{money, render};

/// Steps for each rule that is asked for: enough that `--rules` decides, not these.
const STEPS_PER_RULE: u64 = 4_000_000;
/// So many names are suggested where one is not known.
const SUGGESTED: usize = 5;

/// Runs the command.
///
/// # Errors
/// Where input cannot be used, a name is not that of a node or pod of the plan, or output cannot be written.
pub(crate) fn run(args: &ExplainArgs, color: ColorChoice) -> Result<Exit, Failure> {
    let look = terminal::stdout_look(color);
    match &args.what {
        None => whole(&args.common, &look),
        Some(Explained::Node { name, common }) => node(name, common, &look),
        Some(Explained::Pod { name, common }) => pod(name, common, &look),
    }
}

fn options(common: &Explaining) -> ExplainOptions {
    ExplainOptions {
        rules: common.rules,
        max_steps: STEPS_PER_RULE.saturating_mul(common.rules.max(1) as u64),
    }
}

fn whole(common: &Explaining, look: &Look) -> Result<Exit, Failure> {
    let Planned { answer, interrupted, .. } = planned(&common.planning, None, None)?;
    let progress = Progress::start();
    let interrupt = Interrupt::listen();
    let started = Instant::now();
    let mut tell = |stage, done, of| progress.tell(stage, done, of);
    let (problem, solution) = (&answer.problem, &answer.solution);
    let explanation = explain(problem, solution, &options(common), interrupt.flag(), &mut tell);
    let seconds = started.elapsed().as_secs_f64();
    let interrupted = interrupt.finish() || interrupted;
    drop(progress);
    let told = Told { names: answer.node_names(), answer: &answer, seconds };
    print(common.output, &document::whole(&told, &explanation), || table::whole(&told, &explanation, look))?;
    Ok(if interrupted { Exit::Interrupted } else { Exit::Done })
}

fn node(name: &str, common: &Explaining, look: &Look) -> Result<Exit, Failure> {
    let Planned { answer, interrupted, .. } = planned(&common.planning, None, None)?;
    let started = Instant::now();
    let names = answer.node_names();
    let Some(at) = names.iter().position(|n| n == name) else {
        return Err(unknown("new node", name, names.iter().map(String::as_str), "stowage plan -o json"));
    };
    let stories = explain_nodes(&answer.problem, &answer.solution, &mut |_, _, _| {});
    let story = stories.into_iter().find(|s| s.nodes.contains(&(at as u32)));
    let Some(story) = story else {
        return Err(Failure::defect(format!("new node {name} is of no kind that its NodePool offers")));
    };
    let told = Told { names, answer: &answer, seconds: started.elapsed().as_secs_f64() };
    print(common.output, &document::node(&told, at, &story), || table::node(&told, at, &story, look))?;
    Ok(if interrupted { Exit::Interrupted } else { Exit::Done })
}

fn pod(name: &str, common: &Explaining, look: &Look) -> Result<Exit, Failure> {
    let full = if name.contains('/') { name.to_owned() } else { format!("default/{name}") };
    let mut seen = fargate::Seen::new(&full);
    let Planned { answer, ground, interrupted } = planned(
        &common.planning,
        None,
        Some(&mut |sources, options, snapshot| seen.read(sources, options, snapshot)),
    )?;
    let progress = Progress::start();
    let interrupt = Interrupt::listen();
    let started = Instant::now();
    let (problem, solution) = (&answer.problem, &answer.solution);
    progress.tell("looking what belongs on Fargate", 0, 0);
    let of_snapshot = ground.snapshot.pods().find(|pod| pod.key() == full);
    let on_fargate = match of_snapshot {
        Some(pod) => fargate::tell(&seen, &ground, pod, interrupt.flag())?,
        None => None,
    };
    let Some(at) = problem.pods.iter().position(|p| p.name == full) else {
        if let Some(story) = &on_fargate {
            let interrupted = interrupt.finish() || interrupted;
            drop(progress);
            print(common.output, &document::placed(story), || table::placed(story, look))?;
            return Ok(if interrupted { Exit::Interrupted } else { Exit::Done });
        }
        let names = problem.pods.iter().map(|p| p.name.as_str());
        return Err(unknown("pending pod", &full, names, "stowage plan --show pods"));
    };
    progress.tell("looking for what would let the pod in", 0, 0);
    let story = explain_pod(problem, solution, PodId::of(at), &options(common), interrupt.flag());
    let interrupted = interrupt.finish() || interrupted;
    drop(progress);
    let Some(story) = story else {
        return Err(Failure::defect(format!("pod {full} is nowhere in the plan")));
    };
    let told = Told { names: answer.node_names(), answer: &answer, seconds: started.elapsed().as_secs_f64() };
    let document = document::pod(&told, &story, on_fargate.as_ref());
    print(common.output, &document, || table::pod(&told, &story, on_fargate.as_ref(), look))?;
    Ok(if interrupted { Exit::Interrupted } else { Exit::Done })
}

/// A plan that is being told of.
struct Told<'a> {
    answer: &'a Answer,
    /// Of new nodes.
    names: Vec<String>,
    /// Wall-clock time of the explanation, the plan not counted.
    seconds: f64,
}

impl Told<'_> {
    fn problem(&self) -> &Problem {
        &self.answer.problem
    }

    fn pod(&self, pod: PodId) -> &str {
        &self.answer.pod(pod).name
    }

    /// Whether a pod could run on Fargate: on what and for how much, or why not. Nothing where that is not planned with.
    fn on_fargate(&self, story: &PodStory) -> Vec<String> {
        let Some(verdict) = self.answer.fargate.verdict(story.pod.index()) else { return Vec::new() };
        match verdict {
            Err(why) => why.iter().map(|reason| format!("not on Fargate: {reason}")).collect(),
            Ok(fit) => {
                let spec = self.answer.pod(story.pod).spec;
                let route = self.problem().specs[spec.index()].route;
                let price = route.map(|route| format!(" for {} an hour", money::each(route.price)));
                let could = if matches!(story.place, Place::Routed(_)) {
                    "it runs there"
                } else {
                    "it could run on Fargate"
                };
                vec![format!(
                    "{could} on {}{}, by profile {}",
                    render::shape_words(fit.shape),
                    price.unwrap_or_default(),
                    fit.profile
                )]
            }
        }
    }
}

/// Complains of a name that nothing has, and suggests those that begin most alike.
fn unknown<'n>(what: &str, name: &str, known: impl Iterator<Item = &'n str>, list: &str) -> Failure {
    let alike = |other: &str| other.chars().zip(name.chars()).take_while(|(a, b)| a == b).count();
    let mut known: Vec<&str> = known.collect();
    let failure = Failure::new(format!("the plan has no {what} {name}"));
    if known.is_empty() {
        return failure.hint(format!("the plan has no {what} at all"));
    }
    known.sort_by(|a, b| alike(b).cmp(&alike(a)).then(a.len().cmp(&b.len())).then(a.cmp(b)));
    known.truncate(SUGGESTED);
    failure.hint(format!("there is {}; `{list}` lists all", known.join(", ")))
}

fn print(form: Form, document: &impl Serialize, table: impl FnOnce() -> String) -> Result<(), Failure> {
    let mut out = Vec::new();
    let written = match form {
        Form::Table => {
            out = table().into_bytes();
            Ok(())
        }
        Form::Json => write_json(document, &mut out),
        Form::Yaml => write_yaml(document, &mut out),
    };
    written.map_err(|error| {
        Failure::defect(format!("the explanation cannot be written as a document: {error}"))
    })?;
    terminal::print(&out)
}
