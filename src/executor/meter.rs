//! What the stages of the executor took, row by row, as histograms: enough for percentiles over any number of rows in a
//! fixed amount of memory.

use super::job::Done;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

/// Longest time that percentiles tell apart: an hour, in microseconds.
const LONGEST_US: u64 = 3_600_000_000;

/// Histograms of the time a row spent in each stage, in microseconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Meter {
    tokenise: Histogram<u64>,
    queue: Histogram<u64>,
    infer: Histogram<u64>,
}

/// Percentiles of one stage, in ms per row.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// Median.
    pub p50_ms: f64,
    /// 95th percentile.
    pub p95_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// Longest.
    pub max_ms: f64,
}

/// Percentiles of every stage.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StageTimes {
    /// Text to tokens.
    pub tokenise: Percentiles,
    /// Waiting between tokenising and inference.
    pub queue: Percentiles,
    /// Inference: the batch's time divided by its rows.
    pub infer: Percentiles,
}

impl Default for Meter {
    fn default() -> Self {
        let histogram =
            || Histogram::new_with_bounds(1, LONGEST_US, 2).expect("the bounds are constants; this is a bug");
        Self { tokenise: histogram(), queue: histogram(), infer: histogram() }
    }
}

impl Meter {
    /// Counts a row that went through every stage.
    pub(super) fn record<O>(&mut self, row: &Done<O>) {
        let stages = [(&mut self.tokenise, row.tokenise), (&mut self.queue, row.queue), (&mut self.infer, row.infer)];
        for (histogram, duration) in stages {
            histogram.saturating_record(microseconds(duration));
        }
    }

    /// Takes in another meter's rows.
    pub(super) fn add(&mut self, other: &Self) {
        let pairs =
            [(&mut self.tokenise, &other.tokenise), (&mut self.queue, &other.queue), (&mut self.infer, &other.infer)];
        for (mine, theirs) in pairs {
            mine.add(theirs).expect("all meters have the same bounds; this is a bug");
        }
    }

    /// Percentiles so far; zero where nothing was counted.
    #[must_use]
    pub fn stages(&self) -> StageTimes {
        StageTimes {
            tokenise: percentiles(&self.tokenise),
            queue: percentiles(&self.queue),
            infer: percentiles(&self.infer),
        }
    }
}

fn percentiles(histogram: &Histogram<u64>) -> Percentiles {
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
    Percentiles { p50_ms: at(0.50), p95_ms: at(0.95), p99_ms: at(0.99), max_ms: histogram.max() as f64 / 1e3 }
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(LONGEST_US)
}
