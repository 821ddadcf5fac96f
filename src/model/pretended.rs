//! A GPU for tests on machines without one: it has little memory, and keeps account of it.

use super::out_of_memory::OutOfMemory;
use anyhow::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The card.
pub(crate) struct Card {
    total: usize,
    taken: Arc<AtomicUsize>,
    /// What a prompt pass computes per token.
    pub(crate) pass_token_bytes: usize,
}

/// Bytes in use.
pub(crate) struct Taken {
    bytes: usize,
    taken: Arc<AtomicUsize>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}

impl Card {
    pub(crate) fn new(total: usize, pass_token_bytes: usize) -> Self {
        Self { total, taken: Arc::default(), pass_token_bytes }
    }

    pub(crate) fn free_and_total(&self) -> (usize, usize) {
        (self.total - self.taken.load(Ordering::SeqCst), self.total)
    }

    pub(crate) fn take(&self, bytes: usize) -> Result<Taken> {
        let (free, _) = self.free_and_total();
        if bytes > free {
            return Err(OutOfMemory(format!("{bytes} bytes asked for, {free} of {} are free", self.total)).into());
        }
        self.taken.fetch_add(bytes, Ordering::SeqCst);
        Ok(Taken { bytes, taken: Arc::clone(&self.taken) })
    }
}
