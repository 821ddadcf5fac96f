//! Counting for the closed form: which subsets of the evaluators with a score a draw of K leaves, and how likely.

use crate::settings::EvaluatorsPerRound;

/// How likely the draw of K out of M leaves which evaluators among those with a score.
pub struct SubsetLaw {
    pool: usize,
    k_min: usize,
    k_max: usize,
}

impl SubsetLaw {
    /// K is at least 1 and at most the pool of evaluators.
    pub fn new(pool: usize, k: EvaluatorsPerRound) -> Self {
        let (k_min, k_max) = k.bounds();
        Self { pool, k_min, k_max }
    }

    /// Probability that, of `present` evaluators, the draw holds one given subset of `size` and no other.
    pub fn exactly(&self, size: usize, present: usize) -> f64 {
        let ks = self.k_min..=self.k_max;
        let count = (self.k_max - self.k_min + 1) as f64;
        ks.map(|k| self.exactly_with(k, size, present)).sum::<f64>() / count
    }

    /// Probability that the draw holds none of `present` evaluators.
    pub fn none_of(&self, present: usize) -> f64 {
        self.exactly(0, present)
    }

    /// The same for one K, as a product of ratios of at most 1, so that no binomial coefficient can overflow: the
    /// subset is drawn, and the rest of the draw comes from the absent evaluators.
    fn exactly_with(&self, k: usize, size: usize, present: usize) -> f64 {
        if k < size || k - size > self.pool - present {
            return 0.0;
        }
        let drawn: f64 = (0..size).map(|j| (k - j) as f64 / (self.pool - j) as f64).product();
        let rest: f64 =
            (0..k - size).map(|j| (self.pool - present - j) as f64 / (self.pool - size - j) as f64).product();
        drawn * rest
    }
}

/// Ways to choose `k` of `n`; infinite where it overflows.
pub fn binomial(n: usize, k: usize) -> f64 {
    (0..k).fold(1.0, |ways, j| ways * (n - j) as f64 / (j + 1) as f64)
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

    #[test]
    fn probabilities_of_all_subsets_add_up_to_one() {
        for (pool, min, max) in [(1, 1, 1), (5, 2, 4), (12, 3, 3), (2000, 1, 900)] {
            let law = SubsetLaw::new(pool, EvaluatorsPerRound::Range { min, max });
            for present in 0..=pool.min(12) {
                let total: f64 = (0..=present).map(|size| binomial(present, size) * law.exactly(size, present)).sum();
                assert!((total - 1.0).abs() < 1e-9, "{present} of {pool}: {total}");
            }
        }
    }

    #[test]
    fn two_of_three_with_one_absent() {
        let law = SubsetLaw::new(3, EvaluatorsPerRound::Fixed(2));
        // The three draws leave {a, b}, {a} and {b}.
        assert!((law.exactly(2, 2) - 1.0 / 3.0).abs() < 1e-12);
        assert!((law.exactly(1, 2) - 1.0 / 3.0).abs() < 1e-12);
        assert!(law.none_of(2).abs() < 1e-12);
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
