//! The pairs that every scorer reads: an answer beside its task, streamed from tasks and generations.

use crate::store::rows::{ScoreRow, ScoredAnswer, ScoredTask};
use anyhow::{Result, bail};
use std::iter::Peekable;
use std::sync::Arc;

/// One answer beside what it is compared with.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The task.
    pub task: Arc<ScoredTask>,
    /// Who answered.
    pub model: String,
    /// The answer, or why there is none.
    pub output: Result<String, String>,
}

impl Pair {
    fn new(task: &Arc<ScoredTask>, row: ScoredAnswer) -> Self {
        let output = match (row.output, row.error) {
            (Some(output), None) => Ok(output),
            (_, Some(error)) => Err(format!("there is no answer: {error}")),
            (None, None) => Err("there is no answer".to_owned()),
        };
        Self { task: Arc::clone(task), model: row.model, output }
    }

    /// A score row for this pair without timings.
    #[must_use]
    pub fn row(&self, scorer: &str, raw: Result<f64, String>, work_key: String) -> ScoreRow {
        let (raw, error) = match raw {
            Ok(raw) => (Some(raw), None),
            Err(error) => (None, Some(error)),
        };
        ScoreRow {
            task_id: self.task.task_id.clone(),
            model: self.model.clone(),
            scorer: scorer.to_owned(),
            raw,
            normalized: None,
            truncated: None,
            tokens: None,
            tokenise_ms: None,
            queue_ms: None,
            infer_ms: None,
            error,
            work_key,
        }
    }
}

/// Pairs task by task, and within a task in the order of the models, so that answers to the same reference stand together.
/// Holds one task and one row per model, whatever the size of the tables.
pub struct Pairs<T, G: Iterator> {
    tasks: T,
    /// The answers of one model each, in the order of the tasks.
    answers: Vec<Peekable<G>>,
    task: Option<Arc<ScoredTask>>,
    model: usize,
}

impl<T, G> Pairs<T, G>
where
    T: Iterator<Item = Result<ScoredTask>>,
    G: Iterator<Item = Result<ScoredAnswer>>,
{
    /// Joins tasks with the answers of each model; both must stand in the same order, as poq writes them.
    pub fn new(tasks: T, answers: impl IntoIterator<Item = G>) -> Self {
        Self { tasks, answers: answers.into_iter().map(Iterator::peekable).collect(), task: None, model: 0 }
    }

    fn advance(&mut self) -> Result<Option<Pair>> {
        loop {
            let Some(task) = self.task.clone() else {
                match self.tasks.next().transpose()? {
                    Some(task) => (self.task, self.model) = (Some(Arc::new(task)), 0),
                    None => return self.nothing_left().map(|()| None),
                }
                continue;
            };
            let Some(answers) = self.answers.get_mut(self.model) else {
                self.task = None;
                continue;
            };
            let here = |row: &Result<ScoredAnswer>| row.as_ref().map_or(true, |row| row.task_id == task.task_id);
            match answers.next_if(here) {
                // A second row of the same model and task comes next, and is a pair of its own: the join refuses it by name.
                Some(row) => return Ok(Some(Pair::new(&task, row?))),
                None => self.model += 1,
            }
        }
    }

    /// After the last task no answer may be left.
    fn nothing_left(&mut self) -> Result<()> {
        for answers in &mut self.answers {
            if let Some(row) = answers.next() {
                let row = row?;
                bail!(
                    "model `{}` answered task `{}`, which is not among the tasks or stands in another order there\n\
                     hint: run `poq generate` or `poq import` again",
                    row.model,
                    row.task_id
                );
            }
        }
        Ok(())
    }
}

impl<T, G> Iterator for Pairs<T, G>
where
    T: Iterator<Item = Result<ScoredTask>>,
    G: Iterator<Item = Result<ScoredAnswer>>,
{
    type Item = Result<Pair>;

    fn next(&mut self) -> Option<Result<Pair>> {
        self.advance().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;

    fn task(id: &str) -> ScoredTask {
        ScoredTask::from(&samples::task(id))
    }

    fn answer(task_id: &str, model: &str) -> ScoredAnswer {
        ScoredAnswer { task_id: task_id.into(), model: model.into(), output: Some("o".into()), error: None }
    }

    fn join(tasks: &[&str], answers: &[(&str, &[&str])]) -> Result<Vec<(String, String)>> {
        let tasks: Vec<Result<ScoredTask>> = tasks.iter().map(|id| Ok(task(id))).collect();
        let answers: Vec<Vec<Result<ScoredAnswer>>> =
            answers.iter().map(|(model, ids)| ids.iter().map(|id| Ok(answer(id, model))).collect()).collect();
        Pairs::new(tasks.into_iter(), answers.into_iter().map(Vec::into_iter))
            .map(|pair| pair.map(|pair| (pair.task.task_id.clone(), pair.model)))
            .collect()
    }

    #[test]
    fn task_by_task_and_gaps_are_skipped() {
        let pairs = join(&["1", "2", "3"], &[("a", &["1", "3"]), ("b", &["1", "2", "3"])]).expect("joins");
        let expected = [("1", "a"), ("1", "b"), ("2", "b"), ("3", "a"), ("3", "b")];
        assert_eq!(pairs, expected.map(|(task, model)| (task.to_owned(), model.to_owned())));
        assert!(join(&["1"], &[]).expect("joins").is_empty());
    }

    #[test]
    fn an_answer_to_no_task_or_out_of_order_is_named() {
        for ids in [&["1", "9"][..], &["2", "1"]] {
            let error = join(&["1", "2"], &[("a", ids)]).expect_err("refused").to_string();
            assert!(error.contains("model `a`") && error.contains("task `") && error.contains("poq import"), "{error}");
        }
    }

    #[test]
    fn failed_answers_say_so() {
        let mut row = answer("1", "a");
        (row.output, row.error) = (None, Some("too long".into()));
        let pair = Pair::new(&Arc::new(task("1")), row);
        assert_eq!(pair.output, Err("there is no answer: too long".to_owned()));
    }
}
