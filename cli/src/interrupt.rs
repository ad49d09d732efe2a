//! Ctrl-C while solving: the first asks for the best plan so far, the second ends the program at once.
//!
//! Before and after the solve Ctrl-C simply ends the program, as it does by default.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::SigId;
use signal_hook::consts::SIGINT;
use signal_hook::flag;

/// Turns Ctrl-C into a flag for as long as it lives.
pub(crate) struct Interrupt {
    asked: Arc<AtomicBool>,
    /// Makes the next Ctrl-C end the program; set by the first one.
    armed: Arc<AtomicBool>,
    handlers: Vec<SigId>,
}

impl Interrupt {
    /// Starts to listen. Where the system refuses, Ctrl-C keeps its default.
    pub(crate) fn listen() -> Self {
        let (asked, armed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        // Handlers run in the order of their registration: one Ctrl-C looks whether it is armed before it arms.
        let shutdown = flag::register_conditional_shutdown(SIGINT, 130, Arc::clone(&armed));
        let arm = flag::register(SIGINT, Arc::clone(&armed));
        let ask = flag::register(SIGINT, Arc::clone(&asked));
        let handlers = [shutdown, arm, ask].into_iter().filter_map(Result::ok).collect();
        Self { asked, armed, handlers }
    }

    /// The flag to hand to whoever can stop early.
    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.asked
    }

    /// Stops listening; says whether Ctrl-C was pressed.
    pub(crate) fn finish(self) -> bool {
        // A handler, once registered, keeps the default action away even after it is removed; so one stays, armed.
        self.armed.store(true, Ordering::SeqCst);
        for id in self.handlers.iter().skip(1) {
            signal_hook::low_level::unregister(*id);
        }
        self.asked.load(Ordering::SeqCst)
    }
}
