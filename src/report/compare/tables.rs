//! A run as a comparison holds it: its record, and its tables as columns over its tasks. Texts are kept as hashes, so that two
//! large runs fit into memory side by side.

use crate::digest::sha256_fields;
use crate::statistics::finite;
use crate::store::rows::{ComparedAnswer, ComparedGrade, ComparedScore, ComparedTask, ProfileRow, RewardRow};
use crate::store::run_record::RunRecord;
use anyhow::{Result, ensure};
use std::collections::BTreeMap;

/// A run to compare.
#[derive(Debug)]
pub struct Run {
    /// What it is called beside the others.
    pub label: String,
    /// Its directory as the user typed it.
    pub directory: String,
    /// Its `run.json`.
    pub record: RunRecord,
    /// Its tables.
    pub tables: Tables,
    /// Tables that are not there, or do not belong to the run as it is now.
    pub lacking: Vec<Lacking>,
    /// What a reader of its numbers should know.
    pub warnings: Vec<String>,
}

/// A table that a run lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// Name of the table.
    pub table: &'static str,
    /// Why it is not compared.
    pub reason: String,
    /// The command that makes it.
    pub command: String,
}

impl Run {
    /// What is said of a table that the run lacks.
    pub(super) fn lacks(&self, table: &str) -> Option<&Lacking> {
        self.lacking.iter().find(|lacking| lacking.table == table)
    }
}

/// A column over the tasks of a run, in the order of its table; null where it has no row.
pub(super) type Column<T> = Vec<Option<T>>;

/// SHA-256 of a text.
type Hash = [u8; 32];

/// A task.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Task {
    pub place: usize,
    /// `qa` or `summarization`.
    pub kind: String,
    /// Hash of everything that is asked and accepted.
    pub content: Hash,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub output: Option<Hash>,
    pub output_tokens: Option<i32>,
    pub at_limit: Option<bool>,
    pub prompt_cut: Option<bool>,
    pub failed: bool,
}

/// A score.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Score {
    pub raw: Option<f64>,
    pub normalized: Option<f64>,
    pub truncated: Option<bool>,
    pub failed: bool,
}

/// A judge's grade.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grade {
    pub score: Option<f64>,
    pub failed: bool,
}

/// The tables of a run. Tasks come first: rows about tasks that are not among them belong to nothing and are left out.
#[derive(Debug, Default)]
pub struct Tables {
    pub(super) tasks: BTreeMap<String, Task>,
    /// By model.
    pub(super) answers: BTreeMap<String, Column<Answer>>,
    /// By scorer, then by model.
    pub(super) scores: BTreeMap<String, BTreeMap<String, Column<Score>>>,
    /// By model.
    pub(super) grades: BTreeMap<String, Column<Grade>>,
    /// Name and place of the judge.
    pub(super) judge: Option<String>,
    /// `profile`, whole.
    pub profile: Vec<ProfileRow>,
    /// `rewards`, whole.
    pub rewards: Vec<RewardRow>,
}

impl Tables {
    /// Adds a task.
    pub fn add_task(&mut self, row: ComparedTask) -> Result<()> {
        let ComparedTask { task_id, task_type, input, references } = row;
        let texts = [&task_type, &input].into_iter().chain(&references).map(String::as_bytes);
        let content = sha256_fields(texts);
        let place = self.tasks.len();
        ensure!(!self.tasks.contains_key(&task_id), "the tasks table holds task `{task_id}` twice");
        self.tasks.insert(task_id, Task { place, kind: task_type, content });
        Ok(())
    }

    /// Adds an answer.
    pub fn add_answer(&mut self, row: &ComparedAnswer) -> Result<()> {
        let Some(place) = self.place(&row.task_id) else { return Ok(()) };
        let answer = Answer {
            output: row.output.as_ref().map(|text| sha256_fields([text.as_bytes()])),
            output_tokens: row.output_tokens,
            at_limit: row.finish_reason.as_ref().map(|reason| reason == "length"),
            prompt_cut: row.prompt_truncated,
            failed: row.error.is_some() || row.output.is_none(),
        };
        let tasks = self.tasks.len();
        let column = column(&mut self.answers, &row.model, tasks);
        put(column, place, answer, || format!("the answer of `{}` to task `{}`", row.model, row.task_id))
    }

    /// Adds a score.
    pub fn add_score(&mut self, row: &ComparedScore) -> Result<()> {
        let Some(place) = self.place(&row.task_id) else { return Ok(()) };
        let score = Score {
            raw: finite(row.raw),
            normalized: finite(row.normalized),
            truncated: row.truncated,
            failed: row.error.is_some(),
        };
        let tasks = self.tasks.len();
        let of_scorer = self.scores.entry(row.scorer.clone()).or_default();
        put(column(of_scorer, &row.model, tasks), place, score, || {
            format!("the score of `{}` for `{}` on task `{}`", row.scorer, row.model, row.task_id)
        })
    }

    /// Adds a grade.
    pub fn add_grade(&mut self, row: &ComparedGrade) -> Result<()> {
        let Some(place) = self.place(&row.task_id) else { return Ok(()) };
        if self.judge.is_none() {
            self.judge = Some(format!("{} at {}", row.judge, row.place).trim_end_matches(" at ").to_owned());
        }
        let grade = Grade { score: finite(row.score), failed: row.error.is_some() };
        let tasks = self.tasks.len();
        let column = column(&mut self.grades, &row.model, tasks);
        put(column, place, grade, || format!("the grade of `{}` on task `{}`", row.model, row.task_id))
    }

    fn place(&self, task_id: &str) -> Option<usize> {
        self.tasks.get(task_id).map(|task| task.place)
    }
}

fn column<'c, T: Clone>(columns: &'c mut BTreeMap<String, Column<T>>, name: &str, tasks: usize) -> &'c mut Column<T> {
    columns.entry(name.to_owned()).or_insert_with(|| vec![None; tasks])
}

fn put<T>(column: &mut Column<T>, place: usize, value: T, what: impl Fn() -> String) -> Result<()> {
    ensure!(column[place].replace(value).is_none(), "the run holds {} twice", what());
    Ok(())
}
