//! What a run of the executor amounted to.

use super::meter::Meter;
use std::time::Duration;

/// Sums over a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Totals {
    /// Rows that came out, failed ones included.
    pub rows: usize,
    /// Rows that failed.
    pub failed: usize,
    /// Rows whose text the tokenizer cut.
    pub truncated: usize,
    /// Batches inferred.
    pub batches: usize,
    /// Tokens of all rows.
    pub tokens: usize,
    /// Tokens after padding.
    pub padded_tokens: usize,
    /// Time that workers spent inferring, summed over workers.
    pub busy: Duration,
    /// Wall time.
    pub elapsed: Duration,
    /// Workers.
    pub workers: usize,
    /// Whether a quit request ended it early.
    pub interrupted: bool,
    /// Time of each row in each stage.
    pub meter: Meter,
}

impl Totals {
    /// Adds a run that came after this one on the same workers.
    pub fn add(&mut self, next: &Self) {
        self.rows += next.rows;
        self.failed += next.failed;
        self.truncated += next.truncated;
        self.batches += next.batches;
        self.tokens += next.tokens;
        self.padded_tokens += next.padded_tokens;
        self.busy += next.busy;
        self.elapsed += next.elapsed;
        self.workers = next.workers;
        self.interrupted |= next.interrupted;
        self.meter.add(&next.meter);
    }

    /// Share of padded tokens that were padding.
    #[must_use]
    pub fn padding_waste(&self) -> f64 {
        if self.padded_tokens == 0 { 0.0 } else { 1.0 - self.tokens as f64 / self.padded_tokens as f64 }
    }

    /// Share of the workers' time spent inferring.
    #[must_use]
    pub fn busy_share(&self) -> f64 {
        let available = self.elapsed.as_secs_f64() * self.workers as f64;
        if available > 0.0 { self.busy.as_secs_f64() / available } else { 0.0 }
    }
}
