//! The combinations that a sweep measures.

use super::batches::{Batches, GENERATION, batches};
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
    /// Rows per batch; empty for those worth measuring at each provider.
    pub batch_sizes: Vec<usize>,
    /// Padded tokens per batch, likewise.
    pub batch_tokens: Vec<usize>,
}

impl Grid {
    /// The cells, f32 on the CPU provider first: the others are compared with it.
    #[must_use]
    pub fn cells(&self) -> Vec<Execution> {
        let mut cells = Vec::new();
        for &provider in &sorted(&self.providers) {
            let Batches { sizes, tokens, .. } = batches(provider);
            for &precision in sorted(&self.precisions).iter().filter(|&&p| provider.check(p).is_ok()) {
                for &(workers, threads) in &self.parallelism {
                    for &batch_tokens in given_or(&self.batch_tokens, tokens) {
                        for &batch_size in given_or(&self.batch_sizes, sizes) {
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

/// Values of each setting of an LLM; every combination is a cell.
#[derive(Debug, Clone)]
pub struct GenerationGrid {
    /// Threads of its session.
    pub threads: Vec<usize>,
    /// Decode slots; empty for those worth measuring.
    pub batch_sizes: Vec<usize>,
    /// Prompt tokens per pass, likewise.
    pub batch_tokens: Vec<usize>,
}

/// Threads, decode slots and prompt tokens per pass.
pub type GenerationSettings = (usize, usize, usize);

impl GenerationGrid {
    /// The cells, fewest slots first: the others' answers are compared with those.
    #[must_use]
    pub fn cells(&self) -> Vec<GenerationSettings> {
        let mut cells = Vec::new();
        for &threads in &sorted(&self.threads) {
            for &batch_tokens in &sorted(given_or(&self.batch_tokens, GENERATION.tokens)) {
                for &batch_size in &sorted(given_or(&self.batch_sizes, GENERATION.sizes)) {
                    cells.push((threads, batch_size, batch_tokens));
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

fn given_or<'a>(given: &'a [usize], otherwise: &'a [usize]) -> &'a [usize] {
    if given.is_empty() { otherwise } else { given }
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
    fn what_is_not_given_is_the_providers() {
        let grid = |batch_sizes: Vec<usize>| Grid {
            providers: vec![Provider::Cpu, Provider::Cuda],
            precisions: vec![Precision::F32],
            parallelism: vec![(1, 1)],
            batch_sizes,
            batch_tokens: Vec::new(),
        };
        let cells = grid(Vec::new()).cells();
        for provider in [Provider::Cpu, Provider::Cuda] {
            let here = cells.iter().filter(|cell| cell.provider == provider);
            let shapes: Vec<(usize, usize)> = here.map(|cell| (cell.batch_size, cell.batch_tokens)).collect();
            assert!(shapes.contains(&batches(provider).default), "{provider:?}: {shapes:?}");
        }
        assert!(grid(vec![7]).cells().iter().all(|cell| cell.batch_size == 7));
    }

    #[test]
    fn an_llm_is_measured_one_by_one_first() {
        let grid = GenerationGrid { threads: vec![2], batch_sizes: Vec::new(), batch_tokens: Vec::new() };
        assert_eq!(grid.cells(), [(2, 1, 512), (2, 8, 512), (2, 32, 512), (2, 64, 512)]);
        let grid = GenerationGrid { threads: vec![2, 1], batch_sizes: vec![8, 2], batch_tokens: vec![256, 64] };
        assert_eq!((grid.cells().len(), grid.cells()[0]), (8, (1, 2, 64)));
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
