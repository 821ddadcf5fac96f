//! The answers of a run in an order of their own, so that the order of the tables' rows changes no digit of a signal.

use crate::join::Joined;
use crate::store::rows::{GenerationRow, ScoreRow, TaskRow};
use anyhow::{Context, Result};
use std::collections::{BTreeMap, BTreeSet};

/// An answer beside its task.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// What was asked.
    pub task: &'a TaskRow,
    /// What came back.
    pub generation: &'a GenerationRow,
}

impl<'a> Answer<'a> {
    /// The text that is judged, or why there is none.
    pub fn output(&self) -> Result<&'a str, String> {
        match (&self.generation.output, &self.generation.error) {
            (Some(output), None) => Ok(output),
            (_, Some(error)) => Err(format!("there is no answer: {error}")),
            (None, None) => Err("there is no answer".to_owned()),
        }
    }

    /// `qa` or `summarization`.
    #[must_use]
    pub fn task_type(&self) -> &'a str {
        &self.task.task_type
    }
}

/// The answers by task and model, with the scores beside them.
#[derive(Debug, Clone)]
pub struct Answers<'a> {
    /// Sorted by task id, then by model.
    pub rows: Vec<Answer<'a>>,
    scores: BTreeMap<&'a str, Vec<Option<f64>>>,
}

impl<'a> Answers<'a> {
    /// Joins the tables; two rows with the same key, and an answer to no task, are errors that name them.
    pub fn join(tasks: &'a [TaskRow], generations: &'a [GenerationRow], scores: &'a [ScoreRow]) -> Result<Self> {
        let joined = Joined::new(tasks, generations, scores)?;
        let mut order: Vec<usize> = (0..generations.len()).collect();
        order.sort_unstable_by_key(|&row| (&generations[row].task_id, &generations[row].model));
        let answer = |&row: &usize| {
            let generation = &generations[row];
            let task = joined.tasks[row].with_context(|| {
                format!(
                    "`{}` answered task `{}`, which the tasks table does not hold\nhint: run `poq generate` again",
                    generation.model, generation.task_id
                )
            })?;
            Ok(Answer { task, generation })
        };
        let column = |values: &[Option<f64>]| order.iter().map(|&row| values[row]).collect();
        Ok(Self {
            rows: order.iter().map(answer).collect::<Result<_>>()?,
            scores: joined.scorers.iter().map(|scorer| (scorer.name, column(&scorer.normalized()))).collect(),
        })
    }

    /// Normalised scores of a scorer in 0..10, one per answer; none if it has scored nothing.
    #[must_use]
    pub fn scorer(&self, key: &str) -> Option<&[Option<f64>]> {
        self.scores.get(key).map(Vec::as_slice)
    }

    /// The scores of these scorers for one answer, in the order of the keys, missing ones left out.
    #[must_use]
    pub fn scores(&self, keys: &[&str], row: usize) -> Vec<f64> {
        keys.iter().filter_map(|key| self.scorer(key)?[row]).collect()
    }

    /// Task types that have answers, sorted.
    #[must_use]
    pub fn task_types(&self) -> Vec<&'a str> {
        let types: BTreeSet<&str> = self.rows.iter().map(Answer::task_type).collect();
        types.into_iter().collect()
    }

    /// Answers to tasks of one type.
    #[must_use]
    pub fn of_type(&self, task_type: &str) -> Vec<usize> {
        (0..self.rows.len()).filter(|&row| self.rows[row].task_type() == task_type).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples::{answer, failed_answer, score, task};

    #[test]
    fn rows_stand_by_task_and_model_whatever_order_they_came_in() {
        let tasks = [task("2"), task("1")];
        let generations = [answer("2", "a"), answer("1", "b"), answer("1", "a")];
        let scores = [score("1", "b", "e", Some(3.0)), score("2", "a", "e", Some(7.0))];
        let answers = Answers::join(&tasks, &generations, &scores).expect("joins");
        let keys: Vec<(&str, &str)> =
            answers.rows.iter().map(|row| (&*row.generation.task_id, &*row.generation.model)).collect();
        assert_eq!(keys, [("1", "a"), ("1", "b"), ("2", "a")]);
        assert_eq!(answers.scorer("e"), Some(&[None, Some(3.0), Some(7.0)][..]));
        assert_eq!(answers.scores(&["e", "nobody"], 1), [3.0]);
    }

    #[test]
    fn an_answer_to_no_task_is_named() {
        let error = Answers::join(&[task("1")], &[answer("9", "m")], &[]).expect_err("refused").to_string();
        assert!(error.contains("`m`") && error.contains("`9`"), "{error}");
    }

    #[test]
    fn a_failed_answer_says_why() {
        let (tasks, generations) = ([task("1")], [failed_answer("1", "m")]);
        let answers = Answers::join(&tasks, &generations, &[]).expect("joins");
        assert_eq!(answers.rows[0].output(), Err("there is no answer: the prompt is too long".to_owned()));
    }
}
