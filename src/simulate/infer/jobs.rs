//! Whether the jobs of the inference nodes look like the uniform draw of Algorithm 1.

use super::table::PaidNode;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ChiSquared, ContinuousCDF};

/// Pearson's chi-square test of jobs against equal shares.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct UniformDraw {
    /// Jobs of all inference nodes: rounds that paid.
    pub rounds: u64,
    /// Sum of (jobs - expected)^2 / expected.
    pub chi_square: f64,
    /// Degrees of freedom: nodes less one.
    pub degrees: usize,
    /// Probability of a chi-square at least as large, if the draw is uniform.
    pub p: f64,
}

/// The test, with `idle` nodes that never had a job; none for fewer than two nodes or no jobs.
pub fn uniform_draw(nodes: &[PaidNode], idle: usize) -> Option<UniformDraw> {
    let jobs = || nodes.iter().map(|node| node.jobs).chain(std::iter::repeat_n(0, idle));
    let (rounds, count) = (jobs().sum::<u64>(), nodes.len() + idle);
    let degrees = count.checked_sub(1).filter(|&degrees| degrees > 0 && rounds > 0)?;
    let expected = rounds as f64 / count as f64;
    let chi_square: f64 = jobs().map(|jobs| (jobs as f64 - expected).powi(2) / expected).sum();
    let p = ChiSquared::new(degrees as f64).ok()?.sf(chi_square);
    Some(UniformDraw { rounds, chi_square, degrees, p })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::infer::RewardTable;

    #[test]
    fn the_jobs_of_table_4_are_a_uniform_draw() {
        let test = uniform_draw(&RewardTable::of_paper().inference, 0).expect("five nodes");
        // By hand: (48^2 + 9^2 + 37^2 + 39^2 + 37^2) / 1000; with 4 degrees of freedom p = exp(-x/2) (1 + x/2).
        assert_eq!((test.rounds, test.degrees), (5000, 4));
        assert!((test.chi_square - 6.644).abs() < 1e-9, "{test:?}");
        let half = test.chi_square / 2.0;
        assert!((test.p - (-half).exp() * (1.0 + half)).abs() < 1e-9, "{test:?}");
        assert!((test.p - 0.156).abs() < 5e-4, "{test:?}");
    }

    #[test]
    fn one_node_or_no_job_is_no_draw() {
        let mut nodes = RewardTable::of_paper().inference;
        for node in &mut nodes {
            node.jobs = 0;
        }
        assert_eq!(uniform_draw(&nodes, 0), None);
        assert_eq!(uniform_draw(&RewardTable::of_paper().inference[..1], 0), None);
        assert_eq!(uniform_draw(&[], 0), None);
    }

    #[test]
    fn a_node_that_is_never_drawn_is_one_of_those_that_could_have_been() {
        let nodes = &RewardTable::of_paper().inference[..1];
        let rounds = nodes[0].jobs as f64;
        let test = uniform_draw(nodes, 1).expect("two nodes");
        // By hand: (n - n/2)^2 / (n/2), twice.
        assert!(test.degrees == 1 && (test.chi_square - rounds).abs() < 1e-9 && test.p < 1e-6, "{test:?}");
    }
}
