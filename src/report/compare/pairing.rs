//! The tasks that two runs have in common: the same id and the same content, so that a difference between their rows is one
//! between the runs.

use super::tables::{Run, Task};
use crate::join::distinct;
use serde::Serialize;

/// How many ids are named as examples.
const EXAMPLES: usize = 5;

/// Tasks of two runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Data {
    /// Tasks of the baseline.
    pub baseline_tasks: usize,
    /// Tasks of the other run.
    pub other_tasks: usize,
    /// Tasks with the same id and content in both: what is compared row by row.
    pub common: usize,
    /// Tasks with the same id and another question or other references; not compared.
    pub changed: Ids,
    /// Tasks of the baseline alone.
    pub only_baseline: Ids,
    /// Tasks of the other run alone.
    pub only_other: Ids,
}

/// Some tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Ids {
    /// How many.
    pub count: usize,
    /// The first few, in the order of their ids.
    pub examples: Vec<String>,
}

impl Ids {
    fn add(&mut self, id: &str) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(id.to_owned());
        }
    }
}

/// A task that both runs have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Common<'a> {
    pub id: &'a str,
    /// Its place in the columns of the baseline.
    pub baseline: usize,
    /// Its place in those of the other run.
    pub other: usize,
    /// Its place among the task types.
    pub task_type: usize,
}

/// Two runs side by side.
#[derive(Debug)]
pub(super) struct Pairing<'a> {
    pub baseline: &'a Run,
    pub other: &'a Run,
    /// Common tasks, sorted by id, so that the order of rows on disk changes nothing.
    pub common: Vec<Common<'a>>,
    /// Types of the common tasks, sorted.
    pub task_types: Vec<&'a str>,
    pub data: Data,
}

impl<'a> Pairing<'a> {
    pub(super) fn new(baseline: &'a Run, other: &'a Run) -> Self {
        let (first, second) = (&baseline.tables.tasks, &other.tables.tasks);
        let mut data = Data {
            baseline_tasks: first.len(),
            other_tasks: second.len(),
            common: 0,
            changed: Ids::default(),
            only_baseline: Ids::default(),
            only_other: Ids::default(),
        };
        let mut both: Vec<(&str, &Task, &Task)> = Vec::new();
        for (id, task) in first {
            match second.get(id) {
                Some(same) if same.content == task.content => both.push((id, task, same)),
                Some(_) => data.changed.add(id),
                None => data.only_baseline.add(id),
            }
        }
        second.keys().filter(|id| !first.contains_key(*id)).for_each(|id| data.only_other.add(id));
        data.common = both.len();
        let mut task_types = distinct(both.iter().map(|(_, task, _)| task.kind.as_str()));
        task_types.sort_unstable();
        let place = |name: &str| task_types.iter().position(|task_type| *task_type == name).unwrap_or_default();
        let common = both.iter().map(|(id, task, same)| Common {
            id,
            baseline: task.place,
            other: same.place,
            task_type: place(&task.kind),
        });
        Self { baseline, other, common: common.collect(), task_types, data }
    }

    /// Both runs, the baseline first.
    pub(super) fn runs(&self) -> [&'a Run; 2] {
        [self.baseline, self.other]
    }

    /// The names that both lists have, in their order, and those that one run alone has, with that run's place.
    pub(super) fn shared<'n>(
        baseline: impl Iterator<Item = &'n String>,
        other: impl Iterator<Item = &'n String>,
    ) -> (Vec<&'n str>, Vec<(&'n str, usize)>) {
        let [first, second]: [Vec<&str>; 2] =
            [baseline.map(String::as_str).collect(), other.map(String::as_str).collect()];
        let alone = |own: &[&'n str], others: &[&'n str], place| {
            own.iter().filter(|name| !others.contains(name)).map(|name| (*name, place)).collect::<Vec<_>>()
        };
        let single = [alone(&first, &second, 0), alone(&second, &first, 1)].concat();
        (first.into_iter().filter(|name| second.contains(name)).collect(), single)
    }

    /// Node keys of the LLMs that both runs have answers of.
    pub(super) fn models(&self) -> Vec<&'a str> {
        Self::shared(self.baseline.tables.answers.keys(), self.other.tables.answers.keys()).0
    }

    /// Keys of the scorers that both runs have scores of.
    pub(super) fn scorers(&self) -> Vec<&'a str> {
        Self::shared(self.baseline.tables.scores.keys(), self.other.tables.scores.keys()).0
    }
}
