//! The side of the evaluators: `R_M = alpha_M (1 - d) - beta_M C_M` (Equations 4 and 5) with a mean deviation d from the
//! mean of the K scores of a round, the evaluator's own included (Equation 3). Multiplied by alpha, what is known of the
//! deviations is linear: `alpha d = alpha - (R + beta C)`.

use super::region::Linear;
use super::table::RewardTable;
use super::{Bounded, Implied, Regions, Scale, Solved, tells_beta};
use serde::{Deserialize, Serialize};
use std::ops::Add;

/// What the rewards of the evaluators say of `alpha_M` and `beta_M`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluatorNodes {
    /// Node keys, in the order of every list of values below.
    pub nodes: Vec<String>,
    /// Whether every evaluator took part in every round, as the jobs show.
    pub everybody_judges: bool,
    /// K of every round if everybody judges, else the largest K that a round may have had.
    pub evaluators_per_round: usize,
    /// What was assumed, one constraint each.
    pub constraints: Vec<String>,
    /// Whether costs differ; if not, no difference between rewards depends on beta.
    pub tells_beta: bool,
    /// The coefficients that fit.
    pub region: Regions,
    /// Mean deviation d of each node at one alpha and several betas; for another alpha, 1 - d is this 1 - d times this
    /// alpha over that one.
    pub implied_deviation: Vec<Implied>,
}

/// The side, and its regions for the intersection with the other. The table has evaluators.
pub(super) fn infer(table: &RewardTable, scale: &Scale) -> (EvaluatorNodes, Solved) {
    let nodes = &table.evaluators;
    let everybody_judges = table.everybody_judges();
    let k = if everybody_judges { nodes.len() } else { table.most_evaluators.clamp(1, nodes.len()) };
    let solved = Solved::new(table, nodes, |nodes| constraints(nodes, k, everybody_judges));
    let side = EvaluatorNodes {
        nodes: nodes.iter().map(|node| node.node.clone()).collect(),
        everybody_judges,
        evaluators_per_round: k,
        constraints: words(k, everybody_judges),
        tells_beta: tells_beta(nodes),
        region: solved.extents(scale),
        implied_deviation: scale.implied(nodes, &solved.exact, |closeness| 1.0 - closeness),
    };
    (side, solved)
}

/// Largest deviation of one of K scores in [0, 1] from their mean: all others at the other end.
fn largest_deviation(k: usize) -> f64 {
    (k - 1) as f64 / k as f64
}

/// Largest sum of the K deviations: half of the scores, as far as K can be halved, at either end.
fn largest_sum(k: usize) -> f64 {
    let half = k / 2;
    2.0 * (half * (k - half)) as f64 / k as f64
}

/// Every round gives `0 <= d <= (K - 1) / K`, and so do means of rounds. Where everybody judges, the signed deviations of
/// each round add up to zero, so no |d| exceeds the sum of the others, and the sum of all has a largest value; both hold
/// for means of rounds too, since all evaluators average over the same ones.
fn constraints(nodes: &[Bounded], k: usize, everybody_judges: bool) -> Vec<Linear> {
    let most = |node: &Bounded| Linear::ALPHA - node.paid_low();
    let least = |node: &Bounded| Linear::ALPHA - node.paid_high();
    let mut found = Vec::new();
    for node in nodes {
        found.push(most(node));
        found.push(Linear::ALPHA * largest_deviation(k) - least(node));
    }
    if everybody_judges {
        for (i, node) in nodes.iter().enumerate() {
            let others = nodes.iter().enumerate().filter(|&(j, _)| j != i).map(|(_, other)| most(other));
            found.push(others.fold(Linear::ZERO, Add::add) - least(node));
        }
        let sum = nodes.iter().map(least).fold(Linear::ZERO, Add::add);
        found.push(Linear::ALPHA * largest_sum(k) - sum);
    }
    found
}

fn words(k: usize, everybody_judges: bool) -> Vec<String> {
    let mut words = vec![format!(
        "Each evaluator's mean deviation d = 1 - (R + βC) / α lies between 0 and (K - 1) / K, {:.3} for K = {k}.",
        largest_deviation(k)
    )];
    if everybody_judges {
        words.push(
            "Every evaluator has as many jobs as there were rounds, so all took part in each. The signed deviations of a \
             round add up to zero: no d exceeds the sum of the others."
                .into(),
        );
        words.push(format!("The deviations of a round add up to at most {:.3}.", largest_sum(k)));
    } else {
        words.push(
            "Not every evaluator took part in every round, so deviations of different evaluators are means over different \
             rounds: nothing is assumed of their sum."
                .into(),
        );
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::consensus;

    #[test]
    fn the_largest_deviations_are_those_of_the_corners_of_the_cube() {
        for k in 1..=6_usize {
            let (mut one, mut sum) = (0.0_f64, 0.0_f64);
            for bits in 0..1_u32 << k {
                let scores: Vec<f64> = (0..k).map(|i| f64::from(bits >> i & 1) * 10.0).collect();
                let mean = scores.iter().sum::<f64>() / scores.len() as f64;
                let deviations: Vec<f64> = scores.iter().map(|&score| consensus::deviation(score, mean)).collect();
                one = deviations.iter().copied().fold(one, f64::max);
                sum = sum.max(deviations.iter().sum());
            }
            assert!((one - largest_deviation(k)).abs() < 1e-12, "K = {k}: {one}");
            assert!((sum - largest_sum(k)).abs() < 1e-12, "K = {k}: {sum}");
        }
    }
}
