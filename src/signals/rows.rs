//! The table `signals`. There are eight rows for every answer, so they are made one by one, as they are written.

use super::answers::Answers;
use super::composite::Composite;
use super::dimensions::{DIMENSIONS, Dimension, Signal};
use crate::store::rows::SignalRow;

/// Every signal of every answer.
#[derive(Debug, Clone)]
pub struct SignalTable<'a> {
    answers: Answers<'a>,
    /// Dimensions first.
    signals: Vec<(&'static str, Signal)>,
}

/// Equal are tables of equal rows, whatever they were made from.
impl PartialEq for SignalTable<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.rows().eq(other.rows())
    }
}

impl<'a> SignalTable<'a> {
    pub(super) fn new(
        answers: Answers<'a>,
        dimensions: [Signal; DIMENSIONS],
        composites: [Signal; Composite::ALL.len()],
    ) -> Self {
        let names = Dimension::ALL.map(Dimension::name).into_iter().chain(Composite::ALL.map(Composite::name));
        Self { answers, signals: names.zip(dimensions.into_iter().chain(composites)).collect() }
    }

    /// The rows: by task and model, and for each answer dimensions first.
    pub fn rows(&self) -> impl Iterator<Item = SignalRow> {
        let signals = &self.signals;
        self.answers.rows.iter().enumerate().flat_map(move |(row, answer)| {
            signals.iter().map(move |(name, signal)| {
                let value = &signal.values[row];
                SignalRow {
                    task_id: answer.task.task_id.clone(),
                    model: answer.generation.model.clone(),
                    task_type: answer.task_type().to_owned(),
                    signal: (*name).to_owned(),
                    source: signal.source.clone(),
                    value: value.as_ref().ok().copied(),
                    error: value.as_ref().err().cloned(),
                }
            })
        })
    }

    /// How many rows there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.answers.rows.len() * self.signals.len()
    }

    /// Rows without a value.
    #[must_use]
    pub fn missing(&self) -> usize {
        self.signals.iter().map(|(_, signal)| signal.values.iter().filter(|value| value.is_err()).count()).sum()
    }
}
