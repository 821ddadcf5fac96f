//! The side of the inference nodes: `R_F = alpha_F Q - beta_F C_F` (Equation 2) with a mean quality Q in [0, 1], so that
//! `0 <= R + beta C <= alpha` for every node.

use super::region::{Linear, Range};
use super::table::{PaidNode, RewardTable};
use super::{Bounded, Implied, Regions, Scale, Solved, tells_beta};
use serde::{Deserialize, Serialize};
use statrs::statistics::Statistics;

/// What the rewards of the inference nodes say of `alpha_F` and `beta_F`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InferenceNodes {
    /// Node keys, in the order of every list of values below.
    pub nodes: Vec<String>,
    /// What was assumed, one constraint each.
    pub constraints: Vec<String>,
    /// Whether costs differ; if not, no difference between rewards depends on beta.
    pub tells_beta: bool,
    /// The coefficients that fit.
    pub region: Regions,
    /// Mean quality Q of each node at one alpha and several betas; for another alpha, Q times this one over that one.
    pub implied_quality: Vec<Implied>,
    /// The betas at which two nodes change places in the ranking by Q, whatever alpha is; lowest first.
    pub crossings: Vec<Crossing>,
    /// Rewards explained by costs alone; null for fewer than three nodes or equal costs.
    pub regression: Option<Regression>,
}

/// Above this beta the dearer of two nodes must have had the higher quality to earn what it did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Crossing {
    /// Where both qualities are equal.
    pub beta: f64,
    /// The same, for rewards and costs before rounding; null for a table in full precision.
    pub with_rounding: Option<Range>,
    /// Node key of the node that is ahead below.
    pub cheaper: String,
    /// Node key of the node that is ahead above.
    pub dearer: String,
}

/// `R = intercept + slope * C` by least squares.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Regression {
    /// R of a node without cost.
    pub intercept: f64,
    /// Change of R from cost 0 to cost 1.
    pub slope: f64,
    /// Share of the variance of R that C explains.
    pub r_squared: f64,
}

/// The side, and its regions for the intersection with the other. The table has inference nodes.
pub(super) fn infer(table: &RewardTable, scale: &Scale) -> (InferenceNodes, Solved) {
    let nodes = &table.inference;
    let solved = Solved::new(table, nodes, constraints);
    let side = InferenceNodes {
        nodes: nodes.iter().map(|node| node.node.clone()).collect(),
        constraints: vec!["Each node's mean quality Q = (R + βC) / α lies between 0 and 1.".into()],
        tells_beta: tells_beta(nodes),
        region: solved.extents(scale),
        implied_quality: scale.implied(nodes, &solved.exact, |quality| quality),
        crossings: crossings(table),
        regression: regression(nodes),
    };
    (side, solved)
}

/// `alpha Q >= 0` and `alpha Q <= alpha`.
fn constraints(nodes: &[Bounded]) -> Vec<Linear> {
    nodes.iter().flat_map(|node| [node.paid_high(), Linear::ALPHA - node.paid_low()]).collect()
}

/// Q of the cheaper node c falls behind that of the dearer one d where `R_c + beta C_c = R_d + beta C_d`.
fn crossings(table: &RewardTable) -> Vec<Crossing> {
    let nodes = &table.inference;
    let bounded: Option<Vec<Bounded>> = table.decimals.map(|decimals| Bounded::rounded(nodes, decimals));
    let mut found = Vec::new();
    for (i, j) in (0..nodes.len()).flat_map(|i| (i + 1..nodes.len()).map(move |j| (i, j))) {
        let (c, d) = if nodes[i].cost <= nodes[j].cost { (i, j) } else { (j, i) };
        let (reward, cost) = (nodes[c].reward - nodes[d].reward, nodes[d].cost - nodes[c].cost);
        if reward < 0.0 || cost <= 0.0 {
            continue;
        }
        found.push(Crossing {
            beta: reward / cost,
            with_rounding: bounded.as_ref().map(|bounded| crossing_range(bounded[c], bounded[d])),
            cheaper: nodes[c].node.clone(),
            dearer: nodes[d].node.clone(),
        });
    }
    found.sort_by(|a, b| a.beta.total_cmp(&b.beta));
    found
}

fn crossing_range(cheaper: Bounded, dearer: Bounded) -> Range {
    let reward = (cheaper.reward.low - dearer.reward.high, cheaper.reward.high - dearer.reward.low);
    let cost = (dearer.cost.low - cheaper.cost.high, dearer.cost.high - cheaper.cost.low);
    Range { low: reward.0.max(0.0) / cost.1, high: (cost.0 > 0.0).then(|| reward.1 / cost.0) }
}

fn regression(nodes: &[PaidNode]) -> Option<Regression> {
    if nodes.len() < 3 || !tells_beta(nodes) {
        return None;
    }
    let costs: Vec<f64> = nodes.iter().map(|node| node.cost).collect();
    let rewards: Vec<f64> = nodes.iter().map(|node| node.reward).collect();
    let (costs, rewards) = (&costs, &rewards);
    let covariance = costs.covariance(rewards);
    let slope = covariance / costs.variance();
    let explained = slope * covariance / rewards.variance();
    // Equal rewards have no variance to explain.
    let r_squared = if explained.is_finite() { explained.clamp(0.0, 1.0) } else { 0.0 };
    Some(Regression { intercept: rewards.mean() - slope * costs.mean(), slope, r_squared })
}
