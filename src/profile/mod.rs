//! What a node costs: latency, throughput and memory, measured alone on the machine (Section 4.3).
//!
//! Inference nodes are timed one prompt at a time (and with more at once, where that is asked for), evaluators at their own
//! batch size; warm-up calls come first. Nothing
//! else should run meanwhile.

pub mod cost;
pub mod machine;

use crate::executor::{Interrupted, Quit, milliseconds};
use crate::generate::{Batching, Generator, Request};
use crate::model::device;
use crate::score::{Evaluator, Pair};
use crate::store::rows::{GenerationRow, ProfileRow};
use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

/// Node type of LLMs.
pub const INFERENCE: &str = "inference";

/// Node type of evaluators.
pub const EVALUATOR: &str = "evaluator";

/// Longest latency per sample that percentiles tell apart: an hour, in microseconds. The mean has no such limit.
const LONGEST_US: u64 = 3_600_000_000;

/// Where a node runs unless it says otherwise.
pub const DEVICE: &str = "cpu";

/// Latencies per sample of one node.
pub struct Measurement {
    /// Where it ran.
    pub device: String,
    batch_size: usize,
    samples: usize,
    /// Latencies of all samples, added up.
    latency: Duration,
    /// Rows and time of each timed call; empty where samples ran side by side and do not stand for themselves.
    calls: Vec<(usize, Duration)>,
    /// Wall time: less than the latencies where samples ran side by side.
    elapsed: Duration,
    tokens: usize,
    /// Latency per sample in microseconds, one entry per sample.
    histogram: Histogram<u64>,
    peak_memory_mb: Option<f64>,
    /// Most bytes of the GPU that were taken after a call.
    peak_device_bytes: Option<usize>,
}

impl Measurement {
    fn new(batch_size: usize) -> Result<Self> {
        let histogram =
            Histogram::new_with_bounds(1, LONGEST_US, 3).context("a histogram of an hour; this is a bug")?;
        Ok(Self {
            device: DEVICE.to_owned(),
            batch_size,
            samples: 0,
            latency: Duration::ZERO,
            calls: Vec::new(),
            elapsed: Duration::ZERO,
            tokens: 0,
            histogram,
            peak_memory_mb: None,
            peak_device_bytes: None,
        })
    }

    /// Adds a timed call of `rows` samples; each is charged an equal share.
    fn record(&mut self, rows: usize, elapsed: Duration, tokens: usize) {
        self.samples += rows;
        self.latency += elapsed;
        self.calls.push((rows, elapsed));
        self.elapsed += elapsed;
        self.tokens += tokens;
        self.note(elapsed.as_nanos() / (rows.max(1) as u128 * 1000), rows);
    }

    /// Takes note of how many bytes of the GPU are taken. What a call takes, ONNX Runtime's arena keeps until after it.
    fn note_device(&mut self, taken: Option<usize>) {
        self.peak_device_bytes = self.peak_device_bytes.max(taken);
    }

    /// Adds a sample that ran side by side with others.
    fn record_one_of_many(&mut self, latency: Duration, tokens: usize) {
        self.samples += 1;
        self.latency += latency;
        self.tokens += tokens;
        self.note(latency.as_micros(), 1);
    }

    fn note(&mut self, micros: u128, rows: usize) {
        self.histogram.saturating_record_n(u64::try_from(micros).unwrap_or(LONGEST_US), rows as u64);
    }

    /// A row without a measurement, to be filled in by what is known.
    pub fn empty_row(node_type: &str, node: &str) -> Result<ProfileRow> {
        Ok(Self::new(1)?.row(node_type, node))
    }

    /// Standard error of the mean latency per sample, in ms: calls are the independent observations, weighted by their rows. Null
    /// for fewer than two.
    fn standard_error_ms(&self) -> Option<f64> {
        let (calls, samples) = (self.calls.len() as f64, self.samples as f64);
        let mean = milliseconds(self.latency) / samples;
        let squares: f64 =
            self.calls.iter().map(|(rows, time)| (milliseconds(*time) - mean * *rows as f64).powi(2)).sum();
        (calls >= 2.0).then(|| (squares * calls / (calls - 1.0)).sqrt() / samples)
    }

    /// The table row; the cost norm is filled in once the whole pool is known.
    #[must_use]
    pub fn row(&self, node_type: &str, node: &str) -> ProfileRow {
        let percentile = |p: f64| Some(self.histogram.value_at_quantile(p) as f64 / 1e3);
        let seconds = self.elapsed.as_secs_f64();
        ProfileRow {
            node_type: node_type.to_owned(),
            node: node.to_owned(),
            device: self.device.clone(),
            batch_size: i32::try_from(self.batch_size).unwrap_or(i32::MAX),
            samples: self.samples as i64,
            latency_ms_mean: Some(milliseconds(self.latency) / self.samples.max(1) as f64),
            latency_ms_p50: percentile(0.50),
            latency_ms_p95: percentile(0.95),
            latency_ms_p99: percentile(0.99),
            latency_ms_stderr: self.standard_error_ms(),
            throughput: Some(self.samples as f64 / seconds),
            tokens_per_s: Some(self.tokens as f64 / seconds),
            peak_memory_mb: self.peak_memory_mb,
            peak_device_memory_mb: self.peak_device_bytes.map(machine::megabytes),
            cost_norm: 0.0,
            source: "measured".to_owned(),
        }
    }
}

/// Times a decoder at batch one over the requests, after the warm-up. A request that fails ends the measurement: a mean
/// over some of the prompts would not be comparable between nodes.
pub fn measure_generator(
    generator: &mut Generator,
    requests: &[Request],
    batching: Batching,
    warmup: usize,
    quit: &Quit,
) -> Result<Measurement> {
    let mut measurement = Measurement::new(1)?;
    generator.provider().name().clone_into(&mut measurement.device);
    for (i, request) in requests.iter().cycle().take(warmup).chain(requests).enumerate() {
        let started = Instant::now();
        let (_, rows) = generator.answer_all(std::slice::from_ref(request), batching, quit)?;
        let elapsed = started.elapsed();
        measurement.note_device(device::bytes_taken(generator.provider())?);
        if i >= warmup {
            measurement.record(1, elapsed, rows.iter().map(output_tokens).sum());
        }
    }
    measurement.peak_memory_mb = machine::peak_memory_mb();
    Ok(measurement)
}

/// Times a decoder with `batching.slots` rows at once, after the warm-up. A sample's latency is its own: from the beginning
/// of the prompt pass that read it to its last token, waiting for a slot left out.
pub fn measure_generator_batched(
    generator: &mut Generator,
    requests: &[Request],
    batching: Batching,
    warmup: usize,
    quit: &Quit,
) -> Result<Measurement> {
    let mut measurement = Measurement::new(batching.slots)?;
    generator.provider().name().clone_into(&mut measurement.device);
    generator.answer_all(&requests[..warmup.min(requests.len())], batching, quit)?;
    let started = Instant::now();
    let (_, rows) = generator.answer_all(requests, batching, quit)?;
    measurement.elapsed = started.elapsed();
    measurement.note_device(device::bytes_taken(generator.provider())?);
    for row in &rows {
        let latency = row.latency_ms.context("an answer without a latency; this is a bug")?;
        measurement.record_one_of_many(Duration::from_secs_f64(latency / 1e3), output_tokens(row));
    }
    measurement.peak_memory_mb = machine::peak_memory_mb();
    Ok(measurement)
}

fn output_tokens(row: &GenerationRow) -> usize {
    row.output_tokens.unwrap_or(0).unsigned_abs() as usize
}

/// Times an evaluator over the pairs, `batch_size` of them at a time, after the warm-up. A pair that fails ends the
/// measurement.
pub fn measure_evaluator(
    evaluator: &mut Evaluator,
    pairs: &[Pair],
    batch_size: usize,
    warmup: usize,
    quit: &Quit,
) -> Result<Measurement> {
    let mut measurement = Measurement::new(batch_size)?;
    let identity = evaluator.identity().clone();
    let batches: Vec<&[Pair]> = pairs.chunks(batch_size).collect();
    for (i, batch) in batches.iter().cycle().take(warmup).chain(&batches).enumerate() {
        let started = Instant::now();
        let (jobs, _) = identity.jobs(batch);
        let totals = evaluator.compute(jobs.into_iter(), quit, |done| {
            done.into_iter().find_map(|row| row.result.err()).map_or(Ok(()), |error| bail!("{error}"))
        })?;
        let elapsed = started.elapsed();
        if totals.interrupted {
            return Err(Interrupted.into());
        }
        if i >= warmup {
            measurement.note_device(device::bytes_taken(evaluator.provider())?);
            measurement.record(batch.len(), elapsed, totals.tokens);
        }
    }
    measurement.peak_memory_mb = machine::peak_memory_mb();
    Ok(measurement)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_and_samples_side_by_side_have_no_standard_error() {
        let mut measurement = Measurement::new(8).expect("histogram");
        measurement.record(8, Duration::from_millis(80), 10);
        assert_eq!(measurement.row(EVALUATOR, "node").latency_ms_stderr, None);
        let mut measurement = Measurement::new(8).expect("histogram");
        (1..9).for_each(|ms| measurement.record_one_of_many(Duration::from_millis(ms), 10));
        assert_eq!(measurement.row(INFERENCE, "node").latency_ms_stderr, None);
    }

    #[test]
    fn means_and_percentiles_are_those_of_the_recorded_latencies() {
        let mut measurement = Measurement::new(2).expect("histogram");
        for ms in 1..=100 {
            measurement.record(2, Duration::from_millis(ms * 2), 10);
        }
        let row = measurement.row(EVALUATOR, "node");
        assert_eq!((row.samples, row.batch_size), (200, 2));
        let close = |value: Option<f64>, expected: f64| value.is_some_and(|v| (v / expected - 1.0).abs() < 2e-3);
        assert!(close(row.latency_ms_mean, 50.5), "{row:?}");
        assert!(close(row.latency_ms_p50, 50.0), "{row:?}");
        assert!(close(row.latency_ms_p95, 95.0), "{row:?}");
        assert!(close(row.latency_ms_p99, 99.0), "{row:?}");
        // A hundred calls of two rows: the standard deviation of 1 to 100 ms over the root of a hundred.
        assert!(close(row.latency_ms_stderr, 29.011_491_975_882_016 / 10.0), "{row:?}");
        assert!(close(row.throughput, 1000.0 / 50.5) && close(row.tokens_per_s, 1000.0 / 10.1), "{row:?}");
    }
}
