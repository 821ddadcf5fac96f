//! The batch planner: a pure function from tokenised rows to batches.

use super::Limits;
use super::job::Ready;

/// Groups rows into batches of similar length, longest first, so that memory runs out at once or not at all and the
/// remaining time is never underestimated. Ties keep the caller's order, so that a plan depends on its rows alone.
#[must_use]
pub fn plan(mut rows: Vec<Ready>, limits: Limits) -> Vec<Vec<Ready>> {
    rows.sort_by_key(|row| (std::cmp::Reverse(row.encoding.ids.len()), row.index));
    let mut batches = Vec::new();
    let mut batch: Vec<Ready> = Vec::new();
    let mut width = 0;
    for row in rows {
        if batch.is_empty() {
            width = limits.width(row.encoding.ids.len());
        } else if batch.len() == limits.rows || width * (batch.len() + 1) > limits.tokens {
            width = limits.width(row.encoding.ids.len());
            batches.push(std::mem::take(&mut batch));
        }
        batch.push(row);
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tokenizer::Encoding;
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    fn rows(lengths: &[usize]) -> Vec<Ready> {
        let ready = |(index, &length): (usize, &usize)| Ready {
            index,
            encoding: Encoding { ids: vec![0; length], type_ids: vec![0; length], truncated: false },
            tokenise: Duration::ZERO,
            since: Instant::now(),
        };
        lengths.iter().enumerate().map(ready).collect()
    }

    fn indices(batches: &[Vec<Ready>]) -> Vec<Vec<usize>> {
        batches.iter().map(|batch| batch.iter().map(|row| row.index).collect()).collect()
    }

    #[test]
    fn longest_first_within_rows_and_padded_tokens() {
        let plan = plan(rows(&[3, 10, 4, 10, 1]), Limits::new(3, 20));
        assert_eq!(indices(&plan), [vec![1, 3], vec![2, 0, 4]]);
    }

    #[test]
    fn a_row_above_the_budget_is_a_batch_of_its_own() {
        let plan = plan(rows(&[50, 2]), Limits::new(8, 20));
        assert_eq!(indices(&plan), [vec![0], vec![1]]);
    }

    #[test]
    fn a_fixed_length_is_what_every_row_costs() {
        let limits = Limits { fixed_length: Some(16), ..Limits::new(8, 40) };
        assert_eq!(indices(&plan(rows(&[3, 2, 1]), limits)), [vec![0, 1], vec![2]]);
        let stepped = Limits { width_step: 4, ..Limits::new(8, 16) };
        assert_eq!(indices(&plan(rows(&[5, 5, 4, 4, 4]), stepped)), [vec![0, 1], vec![2, 3, 4]]);
    }

    proptest! {
        #[test]
        fn every_row_once_and_every_batch_within_limits(
            lengths in prop::collection::vec(0_usize..40, 0..60), max_rows in 1_usize..9, tokens in 1_usize..200,
        ) {
            let batches = plan(rows(&lengths), Limits::new(max_rows, tokens));
            let mut seen: Vec<usize> = indices(&batches).concat();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
            for batch in &batches {
                let longest = batch.iter().map(|row| row.encoding.ids.len()).max().unwrap_or(0);
                prop_assert!(batch.len() <= max_rows);
                prop_assert!(batch.len() == 1 || longest * batch.len() <= tokens);
            }
        }
    }
}
