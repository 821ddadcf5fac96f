//! The closed form: what the simulation converges to, without simulating. Rounds are independent and alike, so the
//! mean per job tends to E[sum per round] / E[jobs per round], a ratio of expectations and not a mean of ratios:
//! a record counts for a node as often as it gives that node a job.

use crate::settings::EvaluatorsPerRound;
use crate::simulate::consensus;
use crate::simulate::subsets::{SubsetLaw, binomial, for_each_subset};
use crate::simulate::table::ScoreTable;

/// Evaluator scores that the enumeration of subsets may look at: a few seconds' worth.
const STEPS: f64 = 1e9;

/// Exact means per job; none for a node that can never have one.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    /// Mean quality Q of each inference node.
    pub quality: Vec<Option<f64>>,
    /// Mean deviation d of each evaluator; none for all of them when the pool has too many subsets to enumerate.
    pub deviation: Vec<Option<f64>>,
    /// Whether the deviations were given up for that reason.
    pub too_many_subsets: bool,
}

/// Expectation of one sum and of its jobs, per round, up to a common factor.
#[derive(Debug, Clone, Copy, Default)]
struct Ratio {
    sum: f64,
    jobs: f64,
}

impl Ratio {
    fn add(&mut self, value: f64, probability: f64) {
        self.sum += probability * value;
        self.jobs += probability;
    }

    fn value(self) -> Option<f64> {
        (self.jobs > 0.0).then(|| self.sum / self.jobs)
    }
}

impl Expected {
    /// Sums over every record, inference node and subset of evaluators. K is at least 1 and at most the pool.
    ///
    /// With p of the pool's M evaluators present in a cell, the drawn ones that have a score form a subset T of these
    /// p; given its size, every T is equally likely. Quality needs no subsets: its mean is that of the p scores,
    /// unless T is empty. Deviations need all of them.
    #[must_use]
    pub fn of(table: &ScoreTable, k: EvaluatorsPerRound) -> Self {
        let law = SubsetLaw::new(table.evaluators(), k);
        let all: Vec<usize> = (0..table.evaluators()).collect();
        let too_many_subsets = steps(table, &law, &all) > STEPS;
        let mut quality = vec![Ratio::default(); table.models()];
        let mut deviation = vec![Ratio::default(); table.evaluators()];
        for cell in 0..table.cells() {
            let present: Vec<(usize, f64)> = table.present(cell, &all).collect();
            let Some(mean) = consensus::mean(present.iter().map(|(_, score)| *score)) else { continue };
            let (_, model) = table.task_and_model(cell);
            quality[model].add(consensus::quality(mean), 1.0 - law.none_of(present.len()));
            if !too_many_subsets {
                add_deviations(&mut deviation, &present, &law);
            }
        }
        let values = |ratios: Vec<Ratio>| ratios.into_iter().map(Ratio::value).collect();
        Self { quality: values(quality), deviation: values(deviation), too_many_subsets }
    }
}

fn add_deviations(deviation: &mut [Ratio], present: &[(usize, f64)], law: &SubsetLaw) {
    for size in 1..=present.len() {
        let probability = law.exactly(size, present.len());
        if probability == 0.0 {
            continue;
        }
        for_each_subset(present.len(), size, |subset| {
            let members = subset.iter().map(|&i| present[i]);
            let mean = consensus::mean(members.clone().map(|(_, score)| score))
                .expect("a subset of at least one has a mean; this is a bug");
            for (evaluator, score) in members {
                deviation[evaluator].add(consensus::deviation(score, mean), probability);
            }
        });
    }
}

/// Scores that [`add_deviations`] would look at over all cells.
fn steps(table: &ScoreTable, law: &SubsetLaw, all: &[usize]) -> f64 {
    let mut cells_with = vec![0.0; all.len() + 1];
    (0..table.cells()).for_each(|cell| cells_with[table.present(cell, all).count()] += 1.0);
    let per_cell = |present: usize| -> f64 {
        let possible = (1..=present).filter(|&size| law.exactly(size, present) > 0.0);
        possible.map(|size| binomial(present, size) * size as f64).sum()
    };
    cells_with.iter().enumerate().filter(|&(_, &cells)| cells > 0.0).map(|(p, cells)| cells * per_cell(p)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::tests::random_table;

    fn assert_close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    fn assert_all_close(a: &[Option<f64>], b: &[Option<f64>]) {
        for (a, b) in a.iter().zip(b) {
            match (a, b) {
                (Some(a), Some(b)) => assert_close(*a, *b),
                (a, b) => assert_eq!(a, b),
            }
        }
    }

    /// Every K, record, node and bit pattern of the pool, each weighted by its own probability.
    fn brute_force(table: &ScoreTable, k: EvaluatorsPerRound) -> Expected {
        let (k_min, k_max) = k.bounds();
        let mut quality = vec![Ratio::default(); table.models()];
        let mut deviation = vec![Ratio::default(); table.evaluators()];
        for k in k_min..=k_max {
            let subsets: Vec<u32> = (0_u32..1 << table.evaluators()).filter(|s| s.count_ones() as usize == k).collect();
            for cell in 0..table.cells() {
                for bits in &subsets {
                    let drawn: Vec<usize> = (0..table.evaluators()).filter(|m| bits >> m & 1 == 1).collect();
                    let scores: Vec<(usize, f64)> = table.present(cell, &drawn).collect();
                    let probability = 1.0 / subsets.len() as f64;
                    let sum: f64 = scores.iter().map(|(_, e)| e).sum();
                    let mean = sum / scores.len() as f64;
                    for &(evaluator, e) in &scores {
                        deviation[evaluator].add((e - mean).abs() / 10.0, probability);
                    }
                    if !scores.is_empty() {
                        quality[table.task_and_model(cell).1].add(mean / 10.0, probability);
                    }
                }
            }
        }
        let values = |ratios: Vec<Ratio>| ratios.into_iter().map(Ratio::value).collect();
        Expected { quality: values(quality), deviation: values(deviation), too_many_subsets: false }
    }

    #[test]
    fn agrees_with_brute_force_on_tiny_pools() {
        for (seed, evaluators, missing) in [(1, 1, 0), (2, 3, 0), (3, 4, 30), (4, 5, 60), (5, 3, 95)] {
            let table = random_table(seed, (4, 3, evaluators), missing);
            for min in 1..=evaluators {
                for max in min..=evaluators {
                    let k = EvaluatorsPerRound::Range { min, max };
                    let (closed, brute) = (Expected::of(&table, k), brute_force(&table, k));
                    assert_all_close(&closed.quality, &brute.quality);
                    assert_all_close(&closed.deviation, &brute.deviation);
                }
            }
        }
    }

    #[test]
    fn one_pair_of_evaluators_by_hand() {
        let mut table = ScoreTable::new(2, 1, 2);
        table.set(0, 0, 0, 2.0);
        table.set(0, 0, 1, 6.0);
        table.set(1, 0, 0, 10.0);
        let expected = Expected::of(&table, EvaluatorsPerRound::Fixed(2));
        assert_all_close(&expected.quality, &[Some(0.7)]);
        assert_all_close(&expected.deviation, &[Some(0.1), Some(0.2)]);
        // With K = 1 the second record pays only when its one scorer is drawn: weights 1 and 1/2.
        let expected = Expected::of(&table, EvaluatorsPerRound::Fixed(1));
        assert_all_close(&expected.quality, &[Some((0.4 + 0.5 * 1.0) / 1.5)]);
        assert_all_close(&expected.deviation, &[Some(0.0), Some(0.0)]);
    }

    #[test]
    fn too_many_subsets_leave_the_qualities() {
        let table = random_table(6, (3, 2, 60), 0);
        let expected = Expected::of(&table, EvaluatorsPerRound::Fixed(30));
        assert!(expected.too_many_subsets && expected.deviation.iter().all(Option::is_none));
        assert!(expected.quality.iter().all(Option::is_some));
        let whole_pool = Expected::of(&table, EvaluatorsPerRound::Fixed(60));
        assert!(whole_pool.deviation.iter().all(Option::is_some), "one subset per cell is not too many");
    }
}
