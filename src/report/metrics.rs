//! `metrics`: the wide table that people load first, one row per (task, model) in the order of `generations`.
//! A pure function from rows to a record batch; the report command writes it as `metrics.parquet`.

use crate::join::{EXACT_MATCH, F1, Joined};
use crate::store::rows::{GenerationRow, JudgementRow, ScoreRow, TaskRow};
use anyhow::{Context, Result, ensure};
use arrow::array::{ArrayRef, Float64Array, Int32Array, LargeStringArray};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use std::sync::Arc;

/// Joins tasks, answers and scores.
///
/// Scores are in 0..10, `<evaluator>_raw` is in the evaluator's own unit, latencies are in ms, and null means that
/// there is no value; an answer that is not in the judge's sample has no `judge`. An evaluator named like another column is an error,
/// and so are two rows with the same key.
pub fn metrics(
    tasks: &[TaskRow],
    generations: &[GenerationRow],
    scores: &[ScoreRow],
    judgements: &[JudgementRow],
) -> Result<RecordBatch> {
    let joined = Joined::new(tasks, generations, scores, judgements)?;
    let task = |read: fn(&TaskRow) -> &str| text(joined.tasks.iter().map(|task| task.map(read)));
    let score = |name: &str| match joined.scorer(name) {
        Some(column) => numbers(column.normalized()),
        None => numbers(vec![None; generations.len()]),
    };
    let mut columns: Vec<(String, ArrayRef)> = Vec::new();
    let mut add = |name: &str, values: ArrayRef| columns.push((name.to_owned(), values));

    add("task_id", text(generations.iter().map(|row| Some(row.task_id.as_str()))));
    add("model", text(generations.iter().map(|row| Some(row.model.as_str()))));
    add("dataset", task(|task| &task.dataset));
    add("task_type", task(|task| &task.task_type));
    add("input", task(|task| &task.input));
    add("reference", task(|task| &task.reference));
    add("output", text(generations.iter().map(|row| row.output.as_deref())));
    add(F1, score(F1));
    add(EXACT_MATCH, score(EXACT_MATCH));
    for evaluator in joined.evaluators() {
        add(evaluator.name, numbers(evaluator.normalized()));
        add(&format!("{}_raw", evaluator.name), numbers(evaluator.raw()));
    }
    add("judge", numbers(joined.judge().unwrap_or_else(|| vec![None; generations.len()])));
    add("prompt_tokens", integers(generations.iter().map(|row| row.prompt_tokens)));
    add("output_tokens", integers(generations.iter().map(|row| row.output_tokens)));
    add("finish_reason", text(generations.iter().map(|row| row.finish_reason.as_deref())));
    add("latency_ms", numbers(generations.iter().map(|row| row.latency_ms).collect()));
    add("error", text(generations.iter().map(|row| row.error.as_deref())));

    batch(columns)
}

fn batch(columns: Vec<(String, ArrayRef)>) -> Result<RecordBatch> {
    for (index, (name, _)) in columns.iter().enumerate() {
        ensure!(
            columns[..index].iter().all(|(earlier, _)| earlier != name),
            "the metrics table would have two columns `{name}`: give the evaluator of that name another node key"
        );
    }
    let is_key = |name: &str| matches!(name, "task_id" | "model");
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, values)| Field::new(name.as_str(), values.data_type().clone(), !is_key(name)))
        .collect();
    let arrays = columns.into_iter().map(|(_, values)| values).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).context("the metrics table cannot be built")
}

// Large offsets: this table is written as one batch, and a million articles exceed what 32-bit offsets can address.
fn text<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<LargeStringArray>())
}

fn numbers(values: Vec<Option<f64>>) -> ArrayRef {
    Arc::new(Float64Array::from(values))
}

fn integers(values: impl Iterator<Item = Option<i32>>) -> ArrayRef {
    Arc::new(values.collect::<Int32Array>())
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
