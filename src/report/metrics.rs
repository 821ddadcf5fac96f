//! `metrics`: the wide table that people load first, one row per (task, model) in the order of `generations`.
//! A pure function from rows to a record batch; the report command writes it as `metrics.parquet`.

use crate::join::{EXACT_MATCH, F1, Joined};
use crate::store::catalogue::Described;
use crate::store::rows::TaskRow;
use anyhow::{Context, Result, ensure};
use arrow::array::{ArrayRef, Float64Array, Int32Array, LargeStringArray};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use std::sync::Arc;

/// The columns in their order, for `results/README.md`. `<evaluator>` stands for the node key of each evaluator.
pub const COLUMNS: [Described; 17] = [
    Described::new("task_id", "LargeUtf8", "", "The task that was answered."),
    Described::new("model", "LargeUtf8", "", "Node key of the inference node that answered."),
    Described::new("dataset", "LargeUtf8", "", "`tasks.dataset`; null where the answer's task is not in `tasks`."),
    Described::new(
        "task_type",
        "LargeUtf8",
        "",
        "`tasks.task_type`: `qa` or `summarization`; null where `dataset` is.",
    ),
    Described::new("input", "LargeUtf8", "", "`tasks.input`: what was asked; null where `dataset` is."),
    Described::new(
        "reference",
        "LargeUtf8",
        "",
        "`tasks.reference`: the answer that was expected; null where `dataset` is.",
    ),
    Described::new("output", "LargeUtf8", "", "`generations.output`: the answer; null when the row failed."),
    Described::new(
        F1,
        "Float64",
        POINTS,
        "F1 over tokens, from `scores.normalized`; null when the answer has no score.",
    ),
    Described::new(
        EXACT_MATCH,
        "Float64",
        POINTS,
        "0 or 10, from `scores.normalized`; null when the answer has no score.",
    ),
    Described::new(
        "<evaluator>",
        "Float64",
        POINTS,
        "Score by the evaluator of that name, from `scores.normalized`: a place among the answers of this run, not a grade; \
         null when the answer has no score.",
    ),
    Described::new(
        "<evaluator>_raw",
        "Float64",
        "the scorer's own",
        "The same as the evaluator gave it, from `scores.raw`; null when the answer has no score.",
    ),
    Described::new(
        "judge",
        "Float64",
        POINTS,
        "The LLM judge's grade, from `judgements.score`; null when the answer is not in the judge's sample, when it could \
         not be graded, and in a run without judge.",
    ),
    Described::new("prompt_tokens", "Int32", "count", "`generations.prompt_tokens`; null where it is null there."),
    Described::new("output_tokens", "Int32", "count", "`generations.output_tokens`; null where it is null there."),
    Described::new("finish_reason", "LargeUtf8", "", "`generations.finish_reason`; null where it is null there."),
    Described::new(
        "latency_ms",
        "Float64",
        "ms",
        "`generations.latency_ms`, of rows that shared the machine: costs come from `profile`; null where it is null there.",
    ),
    Described::new(
        "error",
        "LargeUtf8",
        "",
        "Why there is no answer, from `generations.error`; null when there is an answer.",
    ),
];

const POINTS: &str = "points, 0 to 10";

/// The table of joined tasks, answers and scores.
///
/// Scores are in 0..10, `<evaluator>_raw` is in the evaluator's own unit, latencies are in ms, and null means that
/// there is no value; an answer that is not in the judge's sample has no `judge`. An evaluator named like another column is an error.
pub fn metrics(joined: &Joined) -> Result<RecordBatch> {
    let generations = joined.generations;
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
