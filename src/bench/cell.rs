//! One cell of a sweep, measured in a process of its own: a request in, what came of it out, both as JSON.

use crate::executor::{Interrupted, Quit, Totals};
use crate::model::device;
use crate::model::registry::{Model, Registry};
use crate::profile::machine;
use crate::score::{Evaluator, Execution, Pair};
use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Texts of the untimed pass.
const WARM_UP: usize = 64;

/// What a cell measures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CellRequest {
    /// Node key of the evaluator.
    pub model: String,
    /// How it is run.
    pub execution: Execution,
    /// Pairs of the sample.
    pub pairs: usize,
    /// Seed of the sample.
    pub seed: u64,
    /// Timed passes.
    pub repeats: usize,
}

/// What a cell came to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CellResult {
    /// Wall time of each pass, in seconds.
    pub seconds: Vec<f64>,
    /// Distinct texts or pairs read in a pass.
    pub texts: usize,
    /// Tokens read in a pass.
    pub tokens: usize,
    /// Median time of a text: its batch's inference divided by the batch's rows, in ms, over all passes.
    pub latency_ms_p50: f64,
    /// 95th percentile.
    pub latency_ms_p95: f64,
    /// 99th percentile.
    pub latency_ms_p99: f64,
    /// Highest resident memory of the cell's process, in MB.
    pub peak_memory_mb: Option<f64>,
    /// Most memory of the GPU that was seen taken after a pass, in MB, whatever else is on the card included.
    pub peak_device_memory_mb: Option<f64>,
    /// Share of padded tokens that were padding.
    pub padding_waste: f64,
    /// Share of the workers' time spent inferring.
    pub busy_share: f64,
    /// Raw scores of the sample's pairs; null where a pair cannot be scored.
    pub scores: Vec<Option<f64>>,
}

/// Measures an evaluator on the sample.
pub fn measure(
    registry: &Registry,
    model: &Model,
    request: &CellRequest,
    pairs: &[Pair],
    quit: &Quit,
) -> Result<CellResult> {
    let mut evaluator = Evaluator::open(registry, model, request.execution)?;
    let identity = evaluator.identity().clone();
    let (jobs, indices) = identity.jobs(pairs);
    evaluator.compute(jobs.iter().take(WARM_UP).cloned(), quit, |_| Ok(()))?;
    let mut values: Vec<Option<Vec<f32>>> = vec![None; jobs.len()];
    let (mut totals, mut seconds, mut peak_device) = (Totals::default(), Vec::new(), None);
    let mut first_error = None;
    for _ in 0..request.repeats.max(1) {
        let pass = evaluator.compute(jobs.iter().cloned(), quit, |done| {
            for row in done {
                match row.result {
                    Ok(value) => values[row.index] = Some(value),
                    Err(error) => drop(first_error.get_or_insert(error)),
                }
            }
            Ok(())
        })?;
        if pass.interrupted {
            return Err(Interrupted.into());
        }
        // What fails is fast: such a cell would win the sweep.
        if let Some(error) = first_error {
            bail!("{} of {} texts failed, the first with: {error}", pass.failed, pass.rows);
        }
        seconds.push(round(pass.elapsed));
        totals.add(&pass);
        peak_device = peak_device.max(device::bytes_taken(evaluator.provider())?);
    }
    let score = |pair: &Pair| {
        let pieces = identity.pieces(pair).ok()?;
        let values: Option<Vec<&[f32]>> = pieces.iter().map(|piece| values[indices[&piece.key]].as_deref()).collect();
        identity.rule().score(&values?).ok()
    };
    let infer = totals.meter.stages().infer;
    Ok(CellResult {
        texts: jobs.len(),
        tokens: totals.tokens / seconds.len(),
        seconds,
        latency_ms_p50: infer.p50_ms,
        latency_ms_p95: infer.p95_ms,
        latency_ms_p99: infer.p99_ms,
        peak_memory_mb: machine::peak_memory_mb(),
        peak_device_memory_mb: peak_device.map(machine::megabytes),
        padding_waste: totals.padding_waste(),
        busy_share: totals.busy_share(),
        scores: pairs.iter().map(score).collect(),
    })
}

fn round(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 1e6).round() / 1e6
}
