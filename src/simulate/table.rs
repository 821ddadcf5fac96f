//! The dense array of scores that every round reads: normalized score e by record, inference node and evaluator.
//! A cell is one (record, node) pair, and its row holds the scores of all evaluators side by side.

/// Normalized scores in [0, 10]; a missing one is NaN inside and never leaves as a number.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreTable {
    tasks: usize,
    models: usize,
    evaluators: usize,
    scores: Vec<f64>,
}

impl ScoreTable {
    /// A table in which every score is missing. Memory: eight bytes per score.
    #[must_use]
    pub fn new(tasks: usize, models: usize, evaluators: usize) -> Self {
        Self { tasks, models, evaluators, scores: vec![f64::NAN; tasks * models * evaluators] }
    }

    /// Stores a score.
    pub fn set(&mut self, task: usize, model: usize, evaluator: usize, score: f64) {
        let start = self.cell(task, model) * self.evaluators;
        self.scores[start + evaluator] = score;
    }

    /// Index of the pair of record i and inference node f.
    #[must_use]
    pub fn cell(&self, task: usize, model: usize) -> usize {
        task * self.models + model
    }

    /// Record and inference node of a cell.
    #[must_use]
    pub fn task_and_model(&self, cell: usize) -> (usize, usize) {
        (cell / self.models, cell % self.models)
    }

    /// The cell's score by each of `evaluators`, in that order, those without a score left out.
    pub fn present<'a>(
        &'a self,
        cell: usize,
        evaluators: &'a [usize],
    ) -> impl Iterator<Item = (usize, f64)> + Clone + 'a {
        let row = &self.scores[cell * self.evaluators..][..self.evaluators];
        evaluators.iter().map(|&evaluator| (evaluator, row[evaluator])).filter(|(_, score)| !score.is_nan())
    }

    /// The score of an evaluator for a cell; NaN where there is none.
    #[inline]
    #[must_use]
    pub fn score(&self, cell: usize, evaluator: usize) -> f64 {
        self.scores[cell * self.evaluators + evaluator]
    }

    /// Mean of all scores; none where there is no score.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        let (sum, count) = self
            .scores
            .iter()
            .filter(|score| !score.is_nan())
            .fold((0.0, 0_u64), |(sum, count), score| (sum + score, count + 1));
        (count > 0).then(|| sum / count as f64)
    }

    /// (record, node) pairs.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.tasks * self.models
    }

    /// N, the records.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.tasks
    }

    /// Inference nodes.
    #[must_use]
    pub fn models(&self) -> usize {
        self.models
    }

    /// Evaluators in the pool.
    #[must_use]
    pub fn evaluators(&self) -> usize {
        self.evaluators
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_scores_are_left_out() {
        let mut table = ScoreTable::new(2, 3, 3);
        table.set(1, 2, 0, 4.0);
        table.set(1, 2, 2, 0.0);
        let cell = table.cell(1, 2);
        assert_eq!(table.task_and_model(cell), (1, 2));
        assert_eq!(table.present(cell, &[2, 1, 0]).collect::<Vec<_>>(), [(2, 0.0), (0, 4.0)]);
        assert_eq!(table.present(table.cell(0, 2), &[0, 1, 2]).count(), 0);
    }
}
