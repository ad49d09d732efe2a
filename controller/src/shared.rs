//! What several loops know together.

use std::sync::{Arc, Mutex, PoisonError};

/// A value that several loops look at and change, a moment each: nobody waits for anything while he has it.
#[derive(Debug, Default)]
pub(crate) struct Shared<T>(Arc<Mutex<T>>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Shared<T> {
    /// Looks at it, or notes something. A panic of another leaves it as it was: changes are single calls.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
