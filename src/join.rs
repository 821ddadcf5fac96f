//! The join of tasks, answers and scores that the metrics table, the report and the quality signals read: one entry per row
//! of `generations`, in that order, with one column per scorer. Two rows with the same key are an error here, once.

use crate::statistics::finite;
use crate::store::rows::{GenerationRow, JudgementRow, ScoreRow, TaskRow};
use anyhow::{Result, ensure};
use std::collections::HashMap;

/// Scorer key of exact match.
pub use crate::score::EXACT_MATCH;
/// Scorer key of token-level F1.
pub use crate::score::F1;

/// One scorer's verdicts, beside the answers they are about.
#[derive(Debug, Clone)]
pub struct ScorerColumn<'a> {
    /// `f1`, `exact_match` or an evaluator's node key.
    pub name: &'a str,
    /// One entry per answer; null where the scorer wrote no row.
    pub rows: Vec<Option<&'a ScoreRow>>,
}

impl ScorerColumn<'_> {
    /// e in 0..10, per answer.
    #[must_use]
    pub fn normalized(&self) -> Vec<Option<f64>> {
        self.rows.iter().map(|row| finite((*row)?.normalized)).collect()
    }

    /// s in the scorer's own unit, per answer.
    #[must_use]
    pub fn raw(&self) -> Vec<Option<f64>> {
        self.rows.iter().map(|row| finite((*row)?.raw)).collect()
    }

    /// Whether this is an evaluator, paid or not, rather than a reference measure.
    #[must_use]
    pub fn is_evaluator(&self) -> bool {
        self.name != F1 && self.name != EXACT_MATCH
    }
}

/// Answers with their tasks and scores.
#[derive(Debug, Clone)]
pub struct Joined<'a> {
    /// The answers.
    pub generations: &'a [GenerationRow],
    /// The task of each answer; null when the run's tasks do not hold it.
    pub tasks: Vec<Option<&'a TaskRow>>,
    /// Scorers in order of first appearance.
    pub scorers: Vec<ScorerColumn<'a>>,
    /// The LLM judge's row of each answer; null where it was not asked about.
    pub judged: Vec<Option<&'a JudgementRow>>,
}

impl<'a> Joined<'a> {
    /// Joins by `task_id` and (`task_id`, `model`); scores of answers that are not there are left out.
    pub fn new(
        tasks: &'a [TaskRow],
        generations: &'a [GenerationRow],
        scores: &'a [ScoreRow],
        judgements: &'a [JudgementRow],
    ) -> Result<Self> {
        let mut by_id: HashMap<&str, &TaskRow> = HashMap::with_capacity(tasks.len());
        for task in tasks {
            let earlier = by_id.insert(&task.task_id, task);
            ensure!(earlier.is_none(), "the tasks table holds task `{}` twice", task.task_id);
        }
        let mut answers: HashMap<(&str, &str), usize> = HashMap::with_capacity(generations.len());
        for (index, row) in generations.iter().enumerate() {
            let earlier = answers.insert((&row.task_id, &row.model), index);
            ensure!(
                earlier.is_none(),
                "the generations table holds the answer of `{}` to task `{}` twice",
                row.model,
                row.task_id
            );
        }
        let found = generations.iter().map(|row| by_id.get(row.task_id.as_str()).copied()).collect();
        let mut judged = vec![None; generations.len()];
        for row in judgements {
            let Some(&answer) = answers.get(&(row.task_id.as_str(), row.model.as_str())) else { continue };
            let earlier = judged[answer].replace(row);
            ensure!(
                earlier.is_none(),
                "the judgements table holds the answer of `{}` to task `{}` twice",
                row.model,
                row.task_id
            );
        }
        Ok(Self { generations, tasks: found, scorers: columns(&answers, scores)?, judged })
    }

    /// The judge's grades in 0..10, per answer; none at all where nobody judged.
    #[must_use]
    pub fn judge(&self) -> Option<Vec<Option<f64>>> {
        let grades: Vec<Option<f64>> = self.judged.iter().map(|row| finite((*row)?.score)).collect();
        self.judged.iter().any(Option::is_some).then_some(grades)
    }

    /// Words of each answer, as spaces part them: a length that means the same for every LLM, whatever its tokenizer. Null for
    /// a failed row.
    #[must_use]
    pub fn words(&self) -> Vec<Option<f64>> {
        let words = |output: &str| output.split_whitespace().count() as f64;
        self.generations.iter().map(|row| row.output.as_deref().map(words)).collect()
    }

    /// The column of a scorer, if it scored anything.
    #[must_use]
    pub fn scorer(&self, name: &str) -> Option<&ScorerColumn<'a>> {
        self.scorers.iter().find(|column| column.name == name)
    }

    /// The evaluators, those that are not paid among them, in order of first appearance.
    pub fn evaluators(&self) -> impl Iterator<Item = &ScorerColumn<'a>> {
        self.scorers.iter().filter(|column| column.is_evaluator())
    }

    /// F nodes in order of first appearance.
    #[must_use]
    pub fn models(&self) -> Vec<&'a str> {
        distinct(self.generations.iter().map(|row| row.model.as_str()))
    }

    /// Indices of the answers to tasks of one type.
    #[must_use]
    pub fn answers_of_type(&self, task_type: &str) -> Vec<usize> {
        let of_type = |index: &usize| self.tasks[*index].is_some_and(|task| task.task_type == task_type);
        (0..self.generations.len()).filter(of_type).collect()
    }
}

fn columns<'a>(answers: &HashMap<(&str, &str), usize>, scores: &'a [ScoreRow]) -> Result<Vec<ScorerColumn<'a>>> {
    let mut order: HashMap<&str, usize> = HashMap::new();
    let mut columns: Vec<ScorerColumn> = Vec::new();
    for row in scores {
        let place = *order.entry(&row.scorer).or_insert(columns.len());
        if place == columns.len() {
            columns.push(ScorerColumn { name: &row.scorer, rows: vec![None; answers.len()] });
        }
        let Some(answer) = answers.get(&(row.task_id.as_str(), row.model.as_str())) else { continue };
        let earlier = columns[place].rows[*answer].replace(row);
        ensure!(
            earlier.is_none(),
            "the scores table holds the score of `{}` for `{}` on task `{}` twice",
            row.scorer,
            row.model,
            row.task_id
        );
    }
    Ok(columns)
}

/// The values without repeats, in order of first appearance.
#[must_use]
pub fn distinct<'a>(values: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = std::collections::HashSet::new();
    values.filter(|value| seen.insert(*value)).collect()
}
