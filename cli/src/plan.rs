//! `stowage plan`: read, lower, solve, print.

use stowage_solver::Price;

use crate::answer::Answer;
use crate::args::{Form, PlanArgs, Shown};
use crate::document;
use crate::failure::{Exit, Failure};
use crate::render::{self, Show};
use crate::terminal::{self, ColorChoice};

/// Runs the command.
///
/// # Errors
/// Where input cannot be used or output cannot be written.
pub(crate) fn run(args: &PlanArgs, color: ColorChoice) -> Result<Exit, Failure> {
    let _ = (args, color, Price::ZERO);
    Err(Failure::defect("not built yet"))
}

fn print(answer: &Answer, args: &PlanArgs, color: ColorChoice) -> Result<(), Failure> {
    let mut out = Vec::new();
    let written = match args.output {
        Form::Table => {
            let show = Show { pods: args.show.contains(&Shown::Pods) };
            out = render::report(answer, show, &terminal::stdout_look(color)).into_bytes();
            Ok(())
        }
        Form::Json => document::write_json(&document::of(answer), &mut out),
        Form::Yaml => document::write_yaml(&document::of(answer), &mut out),
    };
    written.map_err(|error| Failure::defect(format!("the plan cannot be written as a document: {error}")))?;
    terminal::print(&out)
}
