//! What ends a command early: one clear line, a hint where something can be done, and an exit code.

use std::fmt::{self, Write as _};
use std::io::IsTerminal;
use std::process::ExitCode;

use crate::render::look::{Look, Style};
use crate::terminal::{self, ColorChoice};
use crate::text::safe;

/// Exit codes, stable for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It was done.
    Done,
    /// Some pods fit nowhere, and `--strict` was given.
    Unschedulable,
    /// Bad usage or input.
    BadInput,
    /// A defect of Stowage itself.
    Defect,
    /// Ctrl-C ended the search; what was found until then has been printed.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Unschedulable => 1,
            Exit::BadInput => 2,
            Exit::Defect => 70,
            // As a shell reports a program that SIGINT (2) ended: 128 + 2.
            Exit::Interrupted => 130,
        })
    }
}

/// An error for people.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    message: String,
    hint: Option<String>,
    exit: Exit,
}

impl Failure {
    /// Bad usage or input. A last line of the message that begins with `hint: ` becomes the hint.
    pub(crate) fn new(message: impl fmt::Display) -> Self {
        let message = message.to_string();
        let (message, hint) = match message.rsplit_once("\nhint: ") {
            Some((message, hint)) => (message.to_owned(), Some(hint.to_owned())),
            None => (message, None),
        };
        Self { message, hint, exit: Exit::BadInput }
    }

    /// A defect of Stowage, not of its input.
    pub(crate) fn defect(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Defect, ..Self::new(message) }
    }

    /// Adds what can be done about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Prints it to standard error, and says with what to exit.
    pub(crate) fn report(&self, color: ColorChoice) -> Exit {
        let look = Look {
            width: usize::MAX,
            color: terminal::color(color, std::io::stderr().is_terminal()),
            bars: false,
        };
        terminal::complain(&self.text(&look));
        self.exit
    }

    fn text(&self, look: &Look) -> String {
        let mut text = format!("{} {}\n", look.paint(Style::Bad, "error:"), safe(&one_line(&self.message)));
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "{} {}", look.paint(Style::Good, "hint:"), safe(&one_line(hint)));
        }
        text
    }
}

/// Parsers below may answer in several lines; an error of ours is one.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_and_its_hint_another() {
        let look = Look { width: 80, color: false, bars: false };
        let failure = Failure::new("bad thing\n  at \u{1b}[2Jline 3").hint("do better");
        assert_eq!(failure.text(&look), "error: bad thing; at \\u{1b}[2Jline 3\nhint: do better\n");
        assert_eq!(Failure::new("bad thing\nhint: do better"), Failure::new("bad thing").hint("do better"));
    }
}
