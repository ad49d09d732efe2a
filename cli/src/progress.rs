//! A single rewritten line on standard error while something takes long, on terminals only.
//!
//! The work tells a [`Progress`] where it is; a thread of its own draws, so that the line also moves where the work
//! says nothing for a while. Nothing is drawn in the first second: most plans are done by then.

use std::io::IsTerminal;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::terminal::complain;
use crate::text::{cut, thousands};

const QUIET: Duration = Duration::from_secs(1);
const REDRAW: Duration = Duration::from_millis(100);
/// Back to the first column, and clear the line.
const CLEAR: &str = "\r\u{1b}[2K";

#[derive(Clone, Default)]
struct State {
    stage: &'static str,
    done: u64,
    of: u64,
}

/// Progress of one command. Dropping it clears the line.
pub(crate) struct Progress {
    state: Arc<Mutex<State>>,
    drawer: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Progress {
    /// Starts to watch; silent unless standard error is a terminal.
    pub(crate) fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let drawer = std::io::stderr().is_terminal().then(|| {
            let (stop, stopped) = mpsc::channel();
            let state = Arc::clone(&state);
            let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(move || {
                let started = Instant::now();
                let mut wait = QUIET;
                while stopped.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                    wait = REDRAW;
                    let now = state.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    complain(&format!("{CLEAR}{}", line(&now, started.elapsed())));
                }
                if wait == REDRAW {
                    complain(CLEAR);
                }
            });
            thread.ok().map(|thread| (stop, thread))
        });
        Self { state, drawer: drawer.flatten() }
    }

    /// Says where the work is: `done` of `of` in `stage`; zero `of` where that is not known.
    pub(crate) fn tell(&self, stage: &'static str, done: u64, of: u64) {
        if self.drawer.is_some() {
            *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State { stage, done, of };
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.drawer.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

fn line(state: &State, elapsed: Duration) -> String {
    let counted = match (state.done, state.of) {
        (0, 0) => String::new(),
        (done, 0) => format!(" {}", thousands(done)),
        (done, of) => format!(" {} of {}", thousands(done), thousands(of)),
    };
    let text = format!("{}{counted}, {:.1} s", state.stage, elapsed.as_secs_f64());
    // One column short of the usual terminal, so that the line never wraps and can be rewritten.
    cut(&text, 79).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_names_stage_count_and_time() {
        let at = |stage, done, of| line(&State { stage, done, of }, Duration::from_millis(2345));
        assert_eq!(at("reading", 0, 0), "reading, 2.3 s");
        assert_eq!(at("packing", 12_000, 50_000), "packing 12,000 of 50,000, 2.3 s");
        assert_eq!(at("packing", 7, 0), "packing 7, 2.3 s");
    }
}
