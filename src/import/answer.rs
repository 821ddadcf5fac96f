//! One imported row, checked by itself: which columns it may have, what stands for an absent one, what is refused.

use crate::dataset::TaskType;
use crate::digest::{hex, sha256_fields};
use crate::store::foreign::{Place, Record};
use crate::store::rows::TaskRow;
use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Every column that is read.
pub const COLUMNS: [&str; 9] =
    ["input", "reference", "references", "model", "output", "task_id", "task_type", "dataset", "latency_ms"];

/// Data set of rows that name none.
const DEFAULT_DATASET: &str = "imported";

/// A row that is sound in itself.
pub struct Answer {
    /// Where it stands in its file.
    pub place: Place,
    /// The task it answers.
    pub task: TaskRow,
    /// Who answered.
    pub model: String,
    /// What was answered, letter for letter; null when there is no answer.
    pub output: Option<String>,
    /// How long it took, in ms; null when unknown.
    pub latency_ms: Option<f64>,
}

impl Answer {
    /// Checks a record; the error names its place and the field.
    pub fn from_record(record: &Record, default_task_type: Option<TaskType>) -> Result<Self> {
        Ok(Self {
            place: record.place,
            task: task(record, default_task_type)?,
            model: record.full_text("model")?.to_string(),
            output: output(record)?,
            latency_ms: latency(record)?,
        })
    }
}

/// The task type of this name, or an error that lists both.
pub fn task_type(name: &str) -> Result<TaskType> {
    TaskType::from_name(name).with_context(|| format!("`task_type` must be `qa` or `summarization`; it is `{name}`"))
}

fn task(record: &Record, default_task_type: Option<TaskType>) -> Result<TaskRow> {
    let input = record.full_text("input")?;
    let references = references(record)?;
    let task_type = match (record.optional_text("task_type")?, default_task_type) {
        (Some(name), _) => task_type(name).with_context(|| record.place.to_string())?,
        (None, Some(default)) => default,
        (None, None) => bail!(
            "{}: the field `task_type` is missing\nhint: pass --task-type qa or --task-type summarization",
            record.place
        ),
    };
    Ok(TaskRow {
        task_id: task_id(record)?.unwrap_or_else(|| derived_id(input, &references)),
        dataset: record.optional_text("dataset")?.unwrap_or(DEFAULT_DATASET).into(),
        task_type: task_type.name().into(),
        input: input.into(),
        question: None,
        context: None,
        reference: references[0].clone(),
        references,
    })
}

/// `reference` first, then the members of `references`, none twice.
fn references(record: &Record) -> Result<Vec<String>> {
    let first = record.optional_text("reference")?;
    let others = record.optional_texts("references")?;
    if first.is_none() && others.is_none() {
        bail!("{}: the fields `reference` and `references` are both missing; one is needed", record.place);
    }
    let mut references: Vec<String> = Vec::new();
    for text in first.into_iter().chain(others.into_iter().flatten()) {
        if !references.iter().any(|known| known == text) {
            references.push(text.into());
        }
    }
    if references.is_empty() {
        bail!("{}: `references` is an empty list", record.place);
    }
    Ok(references)
}

/// The row's own id; a whole number is as good a name as a text.
fn task_id(record: &Record) -> Result<Option<String>> {
    match record.fields.get("task_id") {
        Some(Value::Number(number)) if number.is_i64() || number.is_u64() => Ok(Some(number.to_string())),
        _ => Ok(record.optional_text("task_id")?.map(str::to_string)),
    }
}

fn derived_id(input: &str, references: &[String]) -> String {
    let fields = std::iter::once(input).chain(references.iter().map(String::as_str)).map(str::as_bytes);
    hex(&sha256_fields(fields)[..8])
}

/// Null is a failed answer; a file that leaves the column out altogether is a mistake.
fn output(record: &Record) -> Result<Option<String>> {
    match record.fields.get("output") {
        Some(Value::Null) => Ok(None),
        _ => record.text("output").map(|text| Some(text.to_string())),
    }
}

fn latency(record: &Record) -> Result<Option<f64>> {
    let latency = record.optional_number("latency_ms")?;
    if let Some(ms) = latency
        && ms < 0.0
    {
        bail!("{}: `latency_ms` must not be negative; it is {ms}", record.place);
    }
    Ok(latency)
}
