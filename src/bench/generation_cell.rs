//! One cell of a sweep over an LLM: the sample's prompts answered greedily, each with the same number of tokens, so that every
//! cell does equal work and the answers of two cells can be compared.

use crate::executor::Quit;
use crate::generate::outcome::Totals;
use crate::generate::{Batching, Generator, Prompter, Request};
use crate::model::device;
use crate::model::provider::Provider;
use crate::model::registry::{Model, Registry};
use crate::profile::machine;
use crate::settings::Generation;
use crate::store::rows::{GenerationRow, TaskRow};
use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Prompts of the untimed pass.
const WARM_UP: usize = 4;

/// What a cell measures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GenerationRequest {
    /// Node key of the LLM.
    pub model: String,
    /// Who computes.
    pub provider: Provider,
    /// In which arithmetic, as its export has it.
    pub precision: String,
    /// Decode slots.
    pub batch_size: usize,
    /// Prompt tokens per pass.
    pub batch_tokens: usize,
    /// Threads of its session.
    pub threads: usize,
    /// Prompts of the sample.
    pub prompts: usize,
    /// Tokens of every answer.
    pub new_tokens: usize,
    /// Seed of the sample.
    pub seed: u64,
    /// Timed passes.
    pub repeats: usize,
    /// Whether decode steps are replayed as CUDA graphs.
    pub cuda_graphs: bool,
}

/// What a cell came to. Figures of a pass are those of the last one, for every pass does the same.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GenerationResult {
    /// Wall time of each pass, in seconds.
    pub seconds: Vec<f64>,
    /// Tokens of the prompts.
    pub prompt_tokens: usize,
    /// Tokens of them that were read; shared beginnings count once.
    pub prompt_tokens_read: usize,
    /// Prompt tokens read per second of reading, over all passes.
    pub prompt_tokens_read_per_s: f64,
    /// Tokens generated.
    pub output_tokens: usize,
    /// Time of an answer, first token and decoding, in ms, over all passes.
    pub latency_ms: Percentiles,
    /// Time to its first token, likewise.
    pub first_token_ms: Percentiles,
    /// Most answers that decoded together.
    pub decoded_together: usize,
    /// Share of the slots that held a row.
    pub slot_use: f64,
    /// Most keys and values held at once, in MiB.
    pub kv_cache_mb: f64,
    /// Greedy choices that were near ties.
    pub near_ties: usize,
    /// Highest resident memory of the cell's process, in MB.
    pub peak_memory_mb: Option<f64>,
    /// Most memory of the GPU that was seen taken after a pass, in MB, whatever else is on the card included.
    pub peak_device_memory_mb: Option<f64>,
    /// Every answer as decoded, in the order of the sample.
    pub answers: Vec<String>,
}

/// Percentiles of some times.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
}

impl Percentiles {
    /// By nearest rank: each is one of the values. NaN for none.
    #[must_use]
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).max(1);
            values.get(rank - 1).copied().unwrap_or(f64::NAN)
        };
        Self { p50: at(50), p95: at(95), p99: at(99) }
    }
}

/// Measures an LLM on the sample.
pub fn measure(
    registry: &Registry,
    model: &Model,
    request: &GenerationRequest,
    tasks: &[TaskRow],
    quit: &Quit,
) -> Result<GenerationResult> {
    let settings = settings(request);
    let prompter = Prompter::open(registry, model, &settings)?;
    let requests: Vec<Request> = tasks.iter().map(|task| prompter.request(task)).collect::<Result<_>>()?;
    let mut generator = Generator::open(registry, model, prompter, request.threads)?;
    let batching = Batching::of(&settings);
    generator.answer_all(&requests[..requests.len().min(WARM_UP)], batching, quit)?;
    let (mut seconds, mut latency_ms, mut first_token_ms) = (Vec::new(), Vec::new(), Vec::new());
    let (mut reading, mut read_tokens) = (0.0, 0);
    let (mut totals, mut rows, mut peak_device) = (Totals::default(), Vec::new(), None);
    for _ in 0..request.repeats.max(1) {
        (totals, rows) = generator.answer_all(&requests, batching, quit)?;
        let expected = rows.len() * request.new_tokens;
        ensure!(totals.output_tokens == expected, "{} tokens instead of {expected}", totals.output_tokens);
        seconds.push((totals.elapsed.as_secs_f64() * 1e6).round() / 1e6);
        latency_ms.extend(rows.iter().filter_map(|row| row.latency_ms));
        first_token_ms.extend(rows.iter().filter_map(|row| row.first_token_ms));
        reading += totals.prefill.as_secs_f64();
        read_tokens += totals.read_tokens;
        peak_device = peak_device.max(device::bytes_taken(model.provider)?);
    }
    if let Some(why) = generator.cuda_graphs().and_then(|graphs| graphs.given_up) {
        bail!("CUDA graphs were given up: {why}");
    }
    let together = rows.iter().filter_map(|row| row.batch_rows).max().unwrap_or_default();
    Ok(GenerationResult {
        seconds,
        prompt_tokens: totals.prompt_tokens,
        prompt_tokens_read: totals.read_tokens,
        prompt_tokens_read_per_s: read_tokens as f64 / reading,
        output_tokens: totals.output_tokens,
        latency_ms: Percentiles::of(latency_ms),
        first_token_ms: Percentiles::of(first_token_ms),
        decoded_together: together.unsigned_abs() as usize,
        slot_use: totals.slot_use(),
        kv_cache_mb: machine::megabytes(totals.kv_bytes),
        near_ties: totals.near_ties,
        peak_memory_mb: machine::peak_memory_mb(),
        peak_device_memory_mb: peak_device.map(machine::megabytes),
        answers: in_order(&requests, rows),
    })
}

/// Those of a run, but greedy and of one length.
fn settings(request: &GenerationRequest) -> Generation {
    Generation {
        provider: request.provider,
        cuda_graphs: request.cuda_graphs,
        batch_size: request.batch_size,
        batch_tokens: request.batch_tokens,
        max_new_tokens: request.new_tokens,
        min_new_tokens: request.new_tokens,
        temperature: 0.0,
        ..Generation::default()
    }
}

/// Rows come as they finish, which depends on the cell.
fn in_order(requests: &[Request], rows: Vec<GenerationRow>) -> Vec<String> {
    let mut answers: HashMap<String, String> =
        rows.into_iter().map(|row| (row.task_id, row.output_raw.unwrap_or_default())).collect();
    requests.iter().map(|request| answers.remove(&request.task_id).unwrap_or_default()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values() {
        let hundred = Percentiles::of((1..=100).rev().map(f64::from).collect());
        assert_eq!(hundred, Percentiles { p50: 50.0, p95: 95.0, p99: 99.0 });
        assert_eq!(Percentiles::of(vec![2.0]), Percentiles { p50: 2.0, p95: 2.0, p99: 2.0 });
        assert!(Percentiles::of(Vec::new()).p50.is_nan());
    }
}
