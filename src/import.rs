//! Answers made elsewhere, read from JSON lines or Parquet as the `tasks` and `generations` of a run.
//!
//! `poq import FILE --run NAME` calls `read`; `answer` checks one row, this file holds the rows against each other.

mod answer;

use crate::dataset::TaskType;
use crate::digest::{hex, sha256_fields};
use crate::store::foreign::{Place, Records};
use crate::store::rows::{GenerationRow, TaskRow};
use answer::{Answer, COLUMNS};
use anyhow::{Context, Result, bail, ensure};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// What an imported file holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Imported {
    /// One row per task, in the order of first appearance.
    pub tasks: Vec<TaskRow>,
    /// One row per answer, in file order; a null answer is a failed row.
    pub generations: Vec<GenerationRow>,
    /// Mean latency in ms over the answers of each model that came with latencies; failed rows do not count.
    pub latencies: BTreeMap<String, f64>,
    /// What the user should know and need not change.
    pub warnings: Vec<String>,
}

/// Reads a file of answers. `default_task_type` holds for rows without a `task_type`.
pub fn read(path: &Path, default_task_type: Option<&str>) -> Result<Imported> {
    let default_task_type = match default_task_type {
        Some(name) => Some(answer::task_type(name).context("the default task type is wrong")?),
        None => None,
    };
    collect(path, default_task_type).with_context(|| format!("cannot import `{}`", path.display()))
}

fn collect(path: &Path, default_task_type: Option<TaskType>) -> Result<Imported> {
    let mut records = Records::open(path, &COLUMNS)?;
    let mut collector = Collector::default();
    for record in records.by_ref() {
        collector.add(Answer::from_record(&record?, default_task_type)?)?;
    }
    ensure!(!collector.imported.generations.is_empty(), "it holds no answer");
    if !records.ignored().is_empty() {
        let names: Vec<String> = records.ignored().iter().map(|name| format!("`{name}`")).collect();
        collector.imported.warnings.push(format!("columns that poq does not know were ignored: {}", names.join(", ")));
    }
    collector.finish()
}

#[derive(Default)]
struct Collector {
    imported: Imported,
    /// Task id → index into `tasks`, and where the task was first seen.
    tasks: HashMap<String, (usize, Place)>,
    /// (task index, model) → where it was answered.
    answered: HashMap<(usize, String), Place>,
    models: BTreeMap<String, ModelTally>,
}

#[derive(Default)]
struct ModelTally {
    rows: usize,
    answers: usize,
    timed: usize,
    total_ms: f64,
}

impl Collector {
    fn add(&mut self, answer: Answer) -> Result<()> {
        let Answer { place, task, model, output, latency_ms } = answer;
        let task_id = task.task_id.clone();
        let index = match self.tasks.entry(task_id.clone()) {
            Entry::Occupied(known) => {
                let (index, first) = *known.get();
                check_same_task(&self.imported.tasks[index], first, &task, place)?;
                index
            }
            Entry::Vacant(new) => {
                self.imported.tasks.push(task);
                new.insert((self.imported.tasks.len() - 1, place)).0
            }
        };
        if let Some(first) = self.answered.insert((index, model.clone()), place) {
            bail!("{place}: model `{model}` already answered task `{task_id}` in {first}");
        }
        let tally = self.models.entry(model.clone()).or_default();
        tally.rows += 1;
        tally.answers += usize::from(output.is_some());
        if let (Some(_), Some(latency)) = (&output, latency_ms) {
            tally.timed += 1;
            tally.total_ms += latency;
        }
        self.imported.generations.push(generation(task_id, model, output, latency_ms));
        Ok(())
    }

    fn finish(self) -> Result<Imported> {
        let Self { mut imported, models, .. } = self;
        let tasks = imported.tasks.len();
        let any_timed = models.values().any(|tally| tally.timed > 0);
        for (model, tally) in models {
            let ModelTally { rows, answers, timed, total_ms } = tally;
            if rows < tasks {
                imported.warnings.push(format!("model `{model}` answers only {rows} of {tasks} tasks"));
            }
            if any_timed && timed < answers {
                imported.warnings.push(format!(
                    "model `{model}` has a latency on {timed} of {answers} answers; only these count towards its cost"
                ));
            }
            if timed > 0 {
                ensure!(total_ms > 0.0, "every `latency_ms` of model `{model}` is 0; leave the column out instead");
                imported.latencies.insert(model, total_ms / timed as f64);
            }
        }
        Ok(imported)
    }
}

fn check_same_task(known: &TaskRow, first: Place, task: &TaskRow, place: Place) -> Result<()> {
    let differing = [
        ("input", known.input != task.input),
        ("reference", known.reference != task.reference),
        ("references", known.references != task.references),
        ("task_type", known.task_type != task.task_type),
        ("dataset", known.dataset != task.dataset),
    ];
    if let Some((field, _)) = differing.into_iter().find(|(_, differs)| *differs) {
        bail!(
            "{place}: the `{field}` of task `{}` is not the one in {first}; rows of one task must agree, and different \
             tasks need a `task_id` of their own",
            task.task_id
        );
    }
    Ok(())
}

fn generation(task_id: String, model: String, output: Option<String>, latency_ms: Option<f64>) -> GenerationRow {
    let hashed = [Some(task_id.as_str()), Some(model.as_str()), output.as_deref()];
    let hash = sha256_fields(hashed.into_iter().flatten().map(str::as_bytes));
    GenerationRow {
        output: output.as_deref().map(|text| text.trim().to_string()),
        error: output.is_none().then(|| "the imported `output` is null".to_string()),
        output_raw: output,
        latency_ms,
        ..GenerationRow::unanswered(task_id, model, hex(&hash[..16]))
    }
}

#[cfg(test)]
mod tests;
