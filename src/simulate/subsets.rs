//! Which evaluators a draw of K without replacement leaves, and how likely: enumerated where that is possible, shuffled
//! where the pool has too many subsets.

use crate::settings::EvaluatorsPerRound;

/// Most subsets that are enumerated.
const MOST_SUBSETS: f64 = 4096.0;
/// Most equally likely places among which subsets of all sizes are laid out.
const MOST_SLOTS: u64 = 1 << 20;

/// The law of the evaluators of a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubsetLaw {
    /// Evaluators in the pool.
    pool: usize,
    k_min: usize,
    k_max: usize,
    /// Every subset and how many of the slots are its own; empty where there are too many subsets.
    subsets: Vec<(Vec<usize>, u64)>,
    /// Subset by slot, every slot equally likely.
    slots: Vec<u32>,
}

impl SubsetLaw {
    /// K is at least 1 and at most the pool of evaluators.
    #[must_use]
    pub fn new(pool: usize, k: EvaluatorsPerRound) -> Self {
        let (k_min, k_max) = k.bounds();
        let mut law = Self { pool, k_min, k_max, subsets: Vec::new(), slots: Vec::new() };
        let total: f64 = (k_min..=k_max).map(|k| binomial(pool, k)).sum();
        if total > MOST_SUBSETS {
            return law;
        }
        // Each size has the same probability and divides it among its subsets: as many slots as the least common multiple.
        let ways = |k| binomial(pool, k) as u64;
        let Some(per_size) = (k_min..=k_max).try_fold(1_u64, |lcm, k| least_common_multiple(lcm, ways(k))) else {
            return law;
        };
        if per_size.saturating_mul((k_max - k_min + 1) as u64) > MOST_SLOTS {
            return law;
        }
        for k in k_min..=k_max {
            for_each_subset(pool, k, |subset| {
                let number = law.subsets.len() as u32;
                let own = per_size / ways(k);
                law.subsets.push((subset.to_vec(), own));
                law.slots.extend(std::iter::repeat_n(number, own as usize));
            });
        }
        law
    }

    /// Evaluators in the pool.
    #[must_use]
    pub fn pool(&self) -> usize {
        self.pool
    }

    /// Smallest and largest K.
    #[must_use]
    pub fn k(&self) -> (usize, usize) {
        (self.k_min, self.k_max)
    }

    /// Every subset by its number; empty where there are too many.
    #[must_use]
    pub fn subsets(&self) -> &[(Vec<usize>, u64)] {
        &self.subsets
    }

    /// The number of the subset at each of the equally likely slots; empty where there are too many subsets.
    #[must_use]
    pub fn slots(&self) -> &[u32] {
        &self.slots
    }

    /// Probability of an enumerated subset.
    #[must_use]
    pub fn probability(&self, subset: usize) -> f64 {
        self.subsets[subset].1 as f64 / self.slots.len() as f64
    }

    /// Probability of one given subset of k evaluators, of whom the pool may have any number.
    #[must_use]
    pub fn probability_of_size(&self, k: usize) -> f64 {
        1.0 / (binomial(self.pool, k) * (self.k_max - self.k_min + 1) as f64)
    }

    /// Probability that the draw holds none of `present` evaluators: a product of ratios of at most 1, so that no binomial
    /// coefficient can overflow.
    #[must_use]
    pub fn none_of(&self, present: usize) -> f64 {
        let absent = self.pool - present;
        let with =
            |k: usize| -> f64 { (0..k).map(|j| absent.saturating_sub(j) as f64 / (self.pool - j) as f64).product() };
        (self.k_min..=self.k_max).map(with).sum::<f64>() / (self.k_max - self.k_min + 1) as f64
    }

    /// Subsets, whether enumerated or not.
    #[must_use]
    pub fn count(&self) -> f64 {
        (self.k_min..=self.k_max).map(|k| binomial(self.pool, k)).sum()
    }

    /// Visits every subset with its probability, however many there are.
    pub fn for_each(&self, mut visit: impl FnMut(&[usize], f64)) {
        for k in self.k_min..=self.k_max {
            let probability = self.probability_of_size(k);
            for_each_subset(self.pool, k, |subset| visit(subset, probability));
        }
    }
}

fn least_common_multiple(a: u64, b: u64) -> Option<u64> {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    (a / x).checked_mul(b)
}

/// Ways to choose `k` of `n`; infinite where it overflows.
#[must_use]
pub fn binomial(n: usize, k: usize) -> f64 {
    (0..k).fold(1.0, |ways, j| ways * (n - j) as f64 / (j + 1) as f64).round()
}

/// Visits every subset of `0..n` with `size` (at least 1) members, in lexicographic order.
pub fn for_each_subset(n: usize, size: usize, mut visit: impl FnMut(&[usize])) {
    let mut subset: Vec<usize> = (0..size).collect();
    loop {
        visit(&subset);
        // The last member that can still move up; all after it follow closely.
        let Some(moving) = (0..size).rev().find(|&i| subset[i] < n - size + i) else { return };
        let first = subset[moving] + 1;
        subset[moving..].iter_mut().zip(first..).for_each(|(member, value)| *member = value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(pool: usize, min: usize, max: usize) -> SubsetLaw {
        SubsetLaw::new(pool, EvaluatorsPerRound::Range { min, max })
    }

    #[test]
    fn slots_give_every_size_and_every_subset_of_a_size_the_same_chance() {
        for (pool, min, max) in [(1, 1, 1), (3, 1, 3), (5, 2, 4), (12, 3, 3)] {
            let law = range(pool, min, max);
            let mut by_size = vec![0.0; pool + 1];
            for (number, (subset, _)) in law.subsets().iter().enumerate() {
                assert!((law.probability(number) - law.probability_of_size(subset.len())).abs() < 1e-12);
                by_size[subset.len()] += law.probability(number);
            }
            let share = 1.0 / (max - min + 1) as f64;
            assert!(by_size[min..=max].iter().all(|p| (p - share).abs() < 1e-12), "{by_size:?}");
            let mut total = 0.0;
            law.for_each(|_, probability| total += probability);
            assert!((total - 1.0).abs() < 1e-9);
        }
        assert_eq!(range(3, 1, 3).slots(), [0, 1, 2, 3, 4, 5, 6, 6, 6]);
        assert!(range(100, 3, 3).subsets().is_empty(), "161,700 subsets are drawn, not enumerated");
    }

    #[test]
    fn the_chance_of_nobody_is_that_of_the_subsets_without_them() {
        for (pool, min, max) in [(5, 1, 3), (4, 2, 2), (3, 3, 3)] {
            let law = range(pool, min, max);
            for present in 0..=pool {
                let mut nobody = 0.0;
                law.for_each(|subset, probability| {
                    if subset.iter().all(|&member| member >= present) {
                        nobody += probability;
                    }
                });
                assert!((law.none_of(present) - nobody).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn visits_every_subset_once() {
        let mut subsets = Vec::new();
        for_each_subset(4, 2, |subset| subsets.push(subset.to_vec()));
        assert_eq!(subsets, [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]);
        let mut count = 0;
        for_each_subset(9, 9, |_| count += 1);
        for_each_subset(9, 1, |_| count += 1);
        assert_eq!(count, 10);
    }
}
