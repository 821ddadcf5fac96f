//! A cell's row of the table, and back.

use super::cell::{CellRequest, CellResult};
use super::generation_cell::{GenerationRequest, GenerationResult};
use crate::model::provider::Precision;
use crate::profile::{EVALUATOR, INFERENCE};
use crate::score::Execution;
use crate::statistics::{agreement, median};
use crate::store::rows::BenchRow;
use anyhow::Result;

/// The table row of a cell; the first f32 cell of a model is what its others are compared with.
#[must_use]
pub fn row(request: &CellRequest, result: Result<CellResult>, baseline: &mut Option<Vec<Option<f64>>>) -> BenchRow {
    let Execution { provider, precision, workers, threads, batch_size, batch_tokens } = request.execution;
    let (result, error) = split(result);
    if let (None, Some(result), Precision::F32) = (&baseline, &result, precision) {
        *baseline = Some(result.scores.clone());
    }
    let compared = baseline.as_ref().zip(result.as_ref()).map(|(expected, result)| {
        (largest_difference(expected, &result.scores), agreement(expected, &result.scores).spearman)
    });
    let seconds = result.as_ref().and_then(|result| median(&result.seconds));
    let figure = |read: fn(&CellResult) -> f64| result.as_ref().map(read);
    BenchRow {
        provider: provider.name().to_owned(),
        precision: precision.name().to_owned(),
        workers: count(workers),
        threads: count(threads),
        batch_size: count(batch_size),
        batch_tokens: count(batch_tokens),
        texts: result.as_ref().map_or(0, |result| result.texts as i64),
        tokens: result.as_ref().map_or(0, |result| result.tokens as i64),
        repeats: count(request.repeats),
        seconds,
        texts_per_s: result.as_ref().zip(seconds).map(|(result, seconds)| result.texts as f64 / seconds),
        tokens_per_s: result.as_ref().zip(seconds).map(|(result, seconds)| result.tokens as f64 / seconds),
        latency_ms_p50: figure(|result| result.latency_ms_p50),
        latency_ms_p95: figure(|result| result.latency_ms_p95),
        latency_ms_p99: figure(|result| result.latency_ms_p99),
        peak_memory_mb: result.as_ref().and_then(|result| result.peak_memory_mb),
        peak_device_memory_mb: result.as_ref().and_then(|result| result.peak_device_memory_mb),
        padding_waste: figure(|result| result.padding_waste),
        busy_share: figure(|result| result.busy_share),
        largest_difference_vs_f32: compared.and_then(|(largest, _)| largest),
        spearman_vs_f32: compared.and_then(|(_, spearman)| spearman),
        error,
        ..BenchRow::unmeasured(EVALUATOR.to_owned(), request.model.clone())
    }
}

/// The table row of an LLM's cell; its answers are compared with those of the model's first cell that worked.
#[must_use]
pub fn generation_row(
    request: &GenerationRequest,
    result: Result<GenerationResult>,
    baseline: &mut Option<Vec<String>>,
) -> BenchRow {
    let (result, error) = split(result);
    let unmeasured = BenchRow {
        provider: request.provider.name().to_owned(),
        precision: request.precision.clone(),
        threads: count(request.threads),
        batch_size: count(request.batch_size),
        batch_tokens: count(request.batch_tokens),
        repeats: count(request.repeats),
        new_tokens: Some(count(request.new_tokens)),
        error,
        ..BenchRow::unmeasured(INFERENCE.to_owned(), request.model.clone())
    };
    let Some(result) = result else { return unmeasured };
    let expected = baseline.get_or_insert_with(|| result.answers.clone());
    let different = expected.iter().zip(&result.answers).filter(|(a, b)| a != b).count();
    let seconds = median(&result.seconds);
    BenchRow {
        texts: result.answers.len() as i64,
        tokens: result.output_tokens as i64,
        seconds,
        texts_per_s: seconds.map(|seconds| result.answers.len() as f64 / seconds),
        tokens_per_s: seconds.map(|seconds| result.output_tokens as f64 / seconds),
        latency_ms_p50: Some(result.latency_ms.p50),
        latency_ms_p95: Some(result.latency_ms.p95),
        latency_ms_p99: Some(result.latency_ms.p99),
        peak_memory_mb: result.peak_memory_mb,
        peak_device_memory_mb: result.peak_device_memory_mb,
        decoded_together: Some(count(result.decoded_together)),
        prompt_tokens: Some(result.prompt_tokens as i64),
        prompt_tokens_read: Some(result.prompt_tokens_read as i64),
        prompt_tokens_read_per_s: Some(result.prompt_tokens_read_per_s),
        first_token_ms_p50: Some(result.first_token_ms.p50),
        first_token_ms_p95: Some(result.first_token_ms.p95),
        first_token_ms_p99: Some(result.first_token_ms.p99),
        slot_use: Some(result.slot_use),
        kv_cache_mb: Some(result.kv_cache_mb),
        near_ties: Some(result.near_ties as i64),
        different_answers: Some(different as i64),
        ..unmeasured
    }
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// What came of a cell, and why nothing did.
fn split<T>(result: Result<T>) -> (Option<T>, Option<String>) {
    match result {
        Ok(result) => (Some(result), None),
        Err(error) => (None, Some(format!("{error:#}"))),
    }
}

/// Largest difference of the scores that both have; none when there is no such pair.
fn largest_difference(expected: &[Option<f64>], scores: &[Option<f64>]) -> Option<f64> {
    let both = expected.iter().zip(scores).filter_map(|(a, b)| a.as_ref().zip(b.as_ref()));
    both.map(|(a, b)| (a - b).abs()).reduce(f64::max)
}

/// How the cell of a row was run.
pub fn execution(row: &BenchRow) -> Result<Execution> {
    let provider = serde_json::from_value(row.provider.clone().into())?;
    let precision = serde_json::from_value(row.precision.clone().into())?;
    let count = |n: i32| n.unsigned_abs() as usize;
    Ok(Execution {
        provider,
        precision,
        workers: count(row.workers),
        threads: count(row.threads),
        batch_size: count(row.batch_size),
        batch_tokens: count(row.batch_tokens),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::generation_cell::Percentiles;
    use crate::model::provider::Provider;

    #[test]
    fn what_cannot_be_compared_has_no_difference() {
        let scores = [Some(0.5), None, Some(0.25)];
        assert_eq!(largest_difference(&scores, &[Some(0.75), Some(9.0), Some(0.25)]), Some(0.25));
        assert_eq!(largest_difference(&scores, &[None, Some(1.0), None]), None);
        assert_eq!(largest_difference(&[], &[]), None);
    }

    #[test]
    fn answers_are_held_against_the_first_cell_that_worked() {
        let request = GenerationRequest {
            model: "m".into(),
            provider: Provider::Cpu,
            precision: "f32".into(),
            batch_size: 8,
            batch_tokens: 512,
            threads: 2,
            prompts: 2,
            new_tokens: 4,
            seed: 1,
            repeats: 3,
            cuda_graphs: false,
        };
        let times = Percentiles { p50: 1.0, p95: 2.0, p99: 3.0 };
        let result = |answers: [&str; 2]| GenerationResult {
            seconds: vec![4.0, 2.0, 1.0],
            prompt_tokens: 100,
            prompt_tokens_read: 60,
            prompt_tokens_read_per_s: 30.0,
            output_tokens: 8,
            latency_ms: times,
            first_token_ms: times,
            decoded_together: 2,
            slot_use: 1.0,
            kv_cache_mb: 1.0,
            near_ties: 1,
            peak_memory_mb: None,
            peak_device_memory_mb: None,
            answers: answers.map(str::to_owned).to_vec(),
        };
        let mut baseline = None;
        let mut different = |result| generation_row(&request, result, &mut baseline).different_answers;
        assert_eq!(different(Err(anyhow::anyhow!("killed"))), None);
        assert_eq!(different(Ok(result(["a", "b"]))), Some(0));
        assert_eq!(different(Ok(result(["a", "c"]))), Some(1));
        let row = generation_row(&request, Ok(result(["a", "b"])), &mut baseline);
        assert_eq!((row.different_answers, row.tokens_per_s, row.texts_per_s), (Some(0), Some(4.0), Some(1.0)));
        let failed = generation_row(&request, Err(anyhow::anyhow!("killed")), &mut baseline);
        assert_eq!((failed.tokens_per_s, failed.error.as_deref()), (None, Some("killed")));
    }
}
