//! A cell's row of the table, and back.

use super::cell::{CellRequest, CellResult};
use crate::model::provider::Precision;
use crate::report::statistics::agreement;
use crate::score::Execution;
use crate::store::rows::BenchRow;
use anyhow::Result;

/// The table row of a cell; the first f32 cell of a model is what its others are compared with.
#[must_use]
pub fn row(request: &CellRequest, result: Result<CellResult>, baseline: &mut Option<Vec<Option<f64>>>) -> BenchRow {
    let Execution { provider, precision, workers, threads, batch_size, batch_tokens } = request.execution;
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    let (result, error) = match result {
        Ok(result) => (Some(result), None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    if let (None, Some(result), Precision::F32) = (&baseline, &result, precision) {
        *baseline = Some(result.scores.clone());
    }
    let compared = baseline.as_ref().zip(result.as_ref()).map(|(expected, result)| {
        (largest_difference(expected, &result.scores), agreement(expected, &result.scores).spearman)
    });
    let seconds = result.as_ref().map(|result| median(&result.seconds));
    let figure = |read: fn(&CellResult) -> f64| result.as_ref().map(read);
    BenchRow {
        model: request.model.clone(),
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
        padding_waste: figure(|result| result.padding_waste),
        busy_share: figure(|result| result.busy_share),
        largest_difference_vs_f32: compared.and_then(|(largest, _)| largest),
        spearman_vs_f32: compared.and_then(|(_, spearman)| spearman),
        error,
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

/// The middle value; NaN for none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_compared_has_no_difference() {
        let scores = [Some(0.5), None, Some(0.25)];
        assert_eq!(largest_difference(&scores, &[Some(0.75), Some(9.0), Some(0.25)]), Some(0.25));
        assert_eq!(largest_difference(&scores, &[None, Some(1.0), None]), None);
        assert_eq!(largest_difference(&[], &[]), None);
    }

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert!((median(&[4.0, 1.0, 3.0, 2.0]) - 2.5).abs() < 1e-12 && (median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-12);
        assert!(median(&[]).is_nan());
    }
}
