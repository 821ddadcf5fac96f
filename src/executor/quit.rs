//! The request to stop: set by Ctrl-C, read between batches, so that what is computed is written first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The error of work that a quit request ended.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// A flag shared by everything that can stop early.
#[derive(Debug, Clone, Default)]
pub struct Quit(Arc<AtomicBool>);

impl Quit {
    /// Asks for a stop; returns whether one had been asked for before.
    #[allow(clippy::must_use_candidate)] // most callers only ask
    pub fn request(&self) -> bool {
        self.0.swap(true, Ordering::Relaxed)
    }

    /// An error if a stop was asked for.
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.requested() { Err(Interrupted) } else { Ok(()) }
    }

    /// Whether a stop was asked for.
    #[must_use]
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
