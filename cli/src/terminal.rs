//! The edge to the terminal: what it can show, and writing to it without a panic when the reader has gone.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;

use crate::failure::Failure;
use crate::render::look::Look;

/// Columns where nobody says how many there are, as in a pipe.
const PIPED_WIDTH: usize = 100;
/// Narrower than this nothing can be laid out.
const LEAST_WIDTH: usize = 40;
/// Wider than this a line is hard to follow.
const MOST_WIDTH: usize = 240;

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set
    #[default]
    Auto,
    /// Also in pipes and files
    Always,
    /// Nowhere
    Never,
}

/// Whether a stream takes colour; see <https://no-color.org>.
pub(crate) fn color(choice: ColorChoice, is_terminal: bool) -> bool {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty());
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            is_terminal && set("NO_COLOR").is_none() && set("TERM").is_none_or(|t| t != "dumb")
        }
    }
}

/// How standard output may look.
pub(crate) fn stdout_look(choice: ColorChoice) -> Look {
    let is_terminal = io::stdout().is_terminal();
    let columns =
        std::env::var("COLUMNS").ok().and_then(|c| c.trim().parse::<usize>().ok()).filter(|c| *c > 0);
    let terminal =
        || terminal_size::terminal_size().filter(|_| is_terminal).map(|(width, _)| usize::from(width.0));
    let width = columns.or_else(terminal).unwrap_or(PIPED_WIDTH).clamp(LEAST_WIDTH, MOST_WIDTH);
    Look { width, color: color(choice, is_terminal), bars: is_terminal || choice == ColorChoice::Always }
}

/// Writes to standard output. A reader that has left, as `head` does, is no error.
///
/// # Errors
/// Whatever else goes wrong, such as a full disk.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Writes to standard error; nobody is left to hear of a failure there.
pub(crate) fn complain(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
