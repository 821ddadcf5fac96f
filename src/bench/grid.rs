//! The combinations that a sweep measures.

use crate::model::provider::{Precision, Provider};
use crate::score::Execution;
use std::collections::BTreeSet;

/// Values of each setting; every combination that can be run is a cell.
#[derive(Debug, Clone)]
pub struct Grid {
    /// Who computes.
    pub providers: Vec<Provider>,
    /// In which arithmetic.
    pub precisions: Vec<Precision>,
    /// Sessions side by side, and threads inside each.
    pub parallelism: Vec<(usize, usize)>,
    /// Rows per batch.
    pub batch_sizes: Vec<usize>,
    /// Padded tokens per batch.
    pub batch_tokens: Vec<usize>,
}

impl Grid {
    /// The cells, f32 on the CPU provider first: the others are compared with it.
    #[must_use]
    pub fn cells(&self) -> Vec<Execution> {
        let mut cells = Vec::new();
        for &provider in &sorted(&self.providers) {
            for &precision in sorted(&self.precisions).iter().filter(|&&p| provider.check(p).is_ok()) {
                for &(workers, threads) in &self.parallelism {
                    for &batch_tokens in &self.batch_tokens {
                        for &batch_size in &self.batch_sizes {
                            let cell = Execution { provider, precision, workers, threads, batch_size, batch_tokens };
                            cells.push(cell);
                        }
                    }
                }
            }
        }
        cells
    }
}

/// One session with every thread, one session per thread, and what lies between by powers of two.
#[must_use]
pub fn parallelism(cores: usize, most_sessions: usize) -> Vec<(usize, usize)> {
    let powers = (0..).map(|power| 1_usize << power).take_while(|&workers| workers <= cores.min(most_sessions));
    let workers: BTreeSet<usize> = powers.chain([cores.min(most_sessions)]).collect();
    workers.into_iter().map(|workers| (workers, (cores / workers).max(1))).collect()
}

fn sorted<T: Copy + Ord>(values: &[T]) -> Vec<T> {
    values.iter().copied().collect::<BTreeSet<T>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_combinations_that_exist_and_the_baseline_first() {
        let grid = Grid {
            providers: vec![Provider::OpenVino, Provider::Cpu],
            precisions: vec![Precision::Bf16, Precision::Int8, Precision::F32],
            parallelism: vec![(1, 2), (2, 1)],
            batch_sizes: vec![8, 32],
            batch_tokens: vec![2048],
        };
        let cells = grid.cells();
        let bf16 = usize::from(Provider::OpenVino.check(Precision::Bf16).is_ok());
        assert_eq!(cells.len(), (4 + bf16) * 2 * 2);
        assert_eq!((cells[0].provider, cells[0].precision), (Provider::Cpu, Precision::F32));
        assert!(cells.iter().all(|cell| cell.provider.check(cell.precision).is_ok()));
    }

    #[test]
    fn sessions_never_ask_for_more_threads_than_there_are() {
        assert_eq!(parallelism(2, 4), [(1, 2), (2, 1)]);
        assert_eq!(parallelism(1, 4), [(1, 1)]);
        assert_eq!(parallelism(6, 4), [(1, 6), (2, 3), (4, 1)]);
        for cores in 1..40 {
            assert!(parallelism(cores, 4).iter().all(|(workers, threads)| workers * threads <= cores));
        }
    }
}
