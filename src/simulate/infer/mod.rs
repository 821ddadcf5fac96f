//! What a table of mean rewards says of the coefficients that made it, whether the paper's Table 4 or a run's own.
//! Equations 2 and 5 are linear in alpha and beta, and quality and deviation have bounds, so that each node cuts a
//! half-plane off the (alpha, beta) plane; what is left is a polygon.
//!
//! `table` (paper or run) -> `costs` (the min-max checked), `quality` (inference nodes) and `closeness` (evaluators), both
//! over `region` -> [`Inferred`]. Called by `poq simulate --infer-coefficients`; pure, reads no file, prints nothing.

mod closeness;
mod costs;
mod jobs;
mod quality;
pub mod region;
mod statements;
mod table;
#[cfg(test)]
mod tests;

pub use closeness::EvaluatorNodes;
pub use costs::{CostCheck, Verdict};
pub use jobs::UniformDraw;
pub use quality::{Crossing, InferenceNodes, Regression};
pub use table::{Decimals, Idle, IdleNode, Interval, PaidNode, RewardTable};

use crate::settings::Simulation;
use anyhow::{Result, ensure};
use region::{Coefficients, Linear, Range, Region};
use serde::{Deserialize, Serialize};

/// Version of the JSON shape; rises when a field changes its meaning or goes.
pub const INFERENCE_VERSION: u32 = 1;

/// Values of alpha for which the range of beta is given.
const ALPHAS: [f64; 6] = [0.87, 0.9, 0.95, 1.0, 1.1, 1.2];

/// Values of beta for which the quality and deviation of each node are given.
const BETAS: [f64; 7] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 1.0];

/// Everything that can be said. `--format json` prints it as it stands: add fields, never rename them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inferred {
    /// [`INFERENCE_VERSION`] of the program that wrote it.
    pub inference_version: u32,
    /// Whose rewards these are.
    pub source: String,
    /// Decimals that the table was printed with; null for full precision.
    pub decimals: Option<Decimals>,
    /// Costs as the table has them beside those that its latencies give, inference nodes before evaluators.
    pub costs: Vec<CostCheck>,
    /// What the inference nodes' rewards say of `alpha_F` and `beta_F`; null without inference nodes.
    pub inference: Option<InferenceNodes>,
    /// What the evaluators' rewards say of `alpha_M` and `beta_M`; null without evaluators.
    pub evaluators: Option<EvaluatorNodes>,
    /// What is left if `alpha_F` = `alpha_M` and `beta_F` = `beta_M`, which nothing says; null when a side is missing.
    pub shared: Option<Regions>,
    /// Whether the jobs of the inference nodes look like a uniform draw; null for fewer than two nodes.
    pub jobs: Option<UniformDraw>,
    /// The coefficients that a run was simulated with, held against the regions; null for the paper, which states none.
    pub true_coefficients: Option<TrueCoefficients>,
    /// What was left out or cannot be told, and why.
    pub notes: Vec<String>,
    /// What of the table cannot be reproduced, and why; empty for a run.
    pub not_reproducible: Vec<String>,
}

/// The coefficients that fit, in two strictnesses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Regions {
    /// The table's numbers taken as exact.
    pub exact: Extent,
    /// Every constraint at its most favourable rounding: a bound from outside; null for a table in full precision.
    pub with_rounding: Option<Extent>,
}

/// The extent of a region of the (alpha, beta) plane; alpha and beta are never negative.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Extent {
    /// Smallest and largest alpha; null when no coefficients fit.
    pub alpha: Option<Range>,
    /// Smallest and largest beta; null when no coefficients fit.
    pub beta: Option<Range>,
    /// Corners of the polygon, in order around it; an unbounded one goes on beyond them.
    pub corners: Vec<Coefficients>,
    /// The range of beta at some values of alpha.
    pub beta_at_alpha: Vec<BetaAtAlpha>,
}

/// The range of beta at one alpha.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BetaAtAlpha {
    /// Weight of quality or closeness.
    pub alpha: f64,
    /// Weights of cost that fit; null when none does.
    pub beta: Option<Range>,
}

/// What the rewards mean if alpha and beta are these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Implied {
    /// Assumed weight of quality or closeness.
    pub alpha: f64,
    /// Assumed weight of cost.
    pub beta: f64,
    /// Mean quality Q of each inference node, or mean deviation d of each evaluator, in the order of the table.
    pub values: Vec<f64>,
    /// Largest less smallest value.
    pub spread: f64,
    /// Whether these coefficients fit, the table's numbers taken as exact.
    pub consistent: bool,
}

/// A run's own coefficients against the regions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrueCoefficients {
    /// Of the inference nodes (Equation 2).
    pub inference: Coefficients,
    /// Whether they lie in the region of the inference nodes; null without that region.
    pub inference_inside: Option<bool>,
    /// Of the evaluators (Equation 5).
    pub evaluators: Coefficients,
    /// Whether they lie in the region of the evaluators; null without that region.
    pub evaluators_inside: Option<bool>,
}

/// Infers what can be inferred. Fails only when the table pays nobody.
pub fn infer(table: &RewardTable) -> Result<Inferred> {
    ensure!(
        !table.inference.is_empty() || !table.evaluators.is_empty(),
        "no node of {} has a mean reward, so there is nothing to infer from",
        table.source
    );
    let truth = table.simulated_with.as_ref();
    let costs: Vec<CostCheck> = costs::check(table);
    let quality = (!table.inference.is_empty()).then(|| {
        let own = truth.map(coefficients_of_inference);
        quality::infer(table, &Scale::of(own))
    });
    let closeness = (!table.evaluators.is_empty()).then(|| {
        let own = truth.map(coefficients_of_evaluators);
        closeness::infer(table, &Scale::of(own))
    });
    let shared = quality.as_ref().zip(closeness.as_ref()).map(|((_, inference), (_, evaluators))| {
        inference.intersection(evaluators).extents(&Scale::of(truth.map(coefficients_of_inference)))
    });
    let inside = |solved: Option<&Solved>, own: Coefficients| solved.map(|solved| solved.exact.contains(own));
    let true_coefficients = truth.map(|simulation| {
        let (inference, evaluators) = (coefficients_of_inference(simulation), coefficients_of_evaluators(simulation));
        TrueCoefficients {
            inference,
            inference_inside: inside(quality.as_ref().map(|(_, solved)| solved), inference),
            evaluators,
            evaluators_inside: inside(closeness.as_ref().map(|(_, solved)| solved), evaluators),
        }
    });
    let mut inferred = Inferred {
        inference_version: INFERENCE_VERSION,
        source: table.source.clone(),
        decimals: table.decimals,
        costs,
        inference: quality.map(|(nodes, _)| nodes),
        evaluators: closeness.map(|(nodes, _)| nodes),
        shared,
        jobs: jobs::uniform_draw(&table.inference, table.idle.inference.len()),
        true_coefficients,
        notes: table.notes.clone(),
        not_reproducible: Vec::new(),
    };
    inferred.notes.extend(statements::notes(table, &inferred));
    if table.published {
        inferred.not_reproducible = statements::not_reproducible(table, &inferred);
    }
    Ok(inferred)
}

fn coefficients_of_inference(simulation: &Simulation) -> Coefficients {
    Coefficients { alpha: simulation.alpha_f, beta: simulation.beta_f }
}

fn coefficients_of_evaluators(simulation: &Simulation) -> Coefficients {
    Coefficients { alpha: simulation.alpha_m, beta: simulation.beta_m }
}

/// The values of alpha and beta at which a side is looked at: the lists above, and a run's own.
struct Scale {
    alphas: Vec<f64>,
    betas: Vec<f64>,
    /// Where quality and deviation are given.
    alpha: f64,
}

impl Scale {
    fn of(own: Option<Coefficients>) -> Self {
        let (mut alphas, mut betas) = (ALPHAS.to_vec(), BETAS.to_vec());
        alphas.extend(own.map(|own| own.alpha));
        betas.extend(own.map(|own| own.beta));
        for values in [&mut alphas, &mut betas] {
            values.sort_by(f64::total_cmp);
            values.dedup();
        }
        // Nothing is paid for quality at alpha = 0, so there is no quality to be had from it.
        let alpha = own.map(|own| own.alpha).filter(|&alpha| alpha > 0.0).unwrap_or(1.0);
        Self { alphas, betas, alpha }
    }

    /// Rows of [`Implied`]: `value` is what a node's alpha Q means.
    fn implied(&self, nodes: &[PaidNode], exact: &Region, value: impl Fn(f64) -> f64) -> Vec<Implied> {
        let row = |&beta: &f64| {
            let values: Vec<f64> =
                nodes.iter().map(|node| value((node.reward + beta * node.cost) / self.alpha)).collect();
            let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let lowest = values.iter().copied().fold(f64::INFINITY, f64::min);
            let consistent = exact.contains(Coefficients { alpha: self.alpha, beta });
            Implied { alpha: self.alpha, beta, values, spread: highest - lowest, consistent }
        };
        self.betas.iter().map(row).collect()
    }
}

/// The regions of one side.
#[derive(Debug, Clone)]
struct Solved {
    exact: Region,
    with_rounding: Option<Region>,
}

impl Solved {
    /// `constraints` makes those of a side from what is known of its nodes.
    fn new(table: &RewardTable, nodes: &[PaidNode], constraints: impl Fn(&[Bounded]) -> Vec<Linear>) -> Self {
        let exact: Vec<Bounded> = nodes.iter().map(Bounded::exact).collect();
        let rounded = table.decimals.map(|decimals| Bounded::rounded(nodes, decimals));
        Self {
            exact: Region::new(&constraints(&exact)),
            with_rounding: rounded.map(|rounded| Region::new(&constraints(&rounded))),
        }
    }

    fn intersection(&self, other: &Self) -> Self {
        Self {
            exact: self.exact.intersection(&other.exact),
            with_rounding: self
                .with_rounding
                .as_ref()
                .zip(other.with_rounding.as_ref())
                .map(|(a, b)| a.intersection(b)),
        }
    }

    fn extents(&self, scale: &Scale) -> Regions {
        let extent = |region: &Region| Extent {
            alpha: region.alpha(),
            beta: region.beta(),
            corners: region.corners(),
            beta_at_alpha: scale
                .alphas
                .iter()
                .map(|&alpha| BetaAtAlpha { alpha, beta: region.beta_at(alpha) })
                .collect(),
        };
        Regions { exact: extent(&self.exact), with_rounding: self.with_rounding.as_ref().map(extent) }
    }
}

/// What is known of a node's reward and cost before they were printed.
#[derive(Debug, Clone, Copy)]
struct Bounded {
    reward: Interval,
    cost: Interval,
}

impl Bounded {
    fn exact(node: &PaidNode) -> Self {
        Self { reward: Interval::point(node.reward), cost: Interval::point(node.cost) }
    }

    /// Half a unit of the last printed decimal to either side; a cost also lies where its latencies allow.
    fn rounded(nodes: &[PaidNode], decimals: Decimals) -> Vec<Self> {
        let consistent = costs::consistent_with_latencies(nodes, &[], Some(decimals));
        let bounded = |(node, consistent): (&PaidNode, Option<Interval>)| {
            let printed = Interval::around(node.cost, decimals.cost).at_least(0.0);
            let cost = consistent.and_then(|consistent| printed.common(consistent)).unwrap_or(printed);
            Self { reward: Interval::around(node.reward, decimals.reward), cost }
        };
        nodes.iter().zip(consistent).map(bounded).collect()
    }

    /// The least that alpha Q = R + beta C can be, as a function of beta, which is not negative.
    fn paid_low(self) -> Linear {
        Linear { alpha: 0.0, beta: self.cost.low, constant: self.reward.low }
    }

    /// The most that it can be.
    fn paid_high(self) -> Linear {
        Linear { alpha: 0.0, beta: self.cost.high, constant: self.reward.high }
    }
}

/// Whether costs differ at all: rewards of nodes with one cost cannot be told from those of another beta.
fn tells_beta(nodes: &[PaidNode]) -> bool {
    nodes.windows(2).any(|pair| (pair[0].cost - pair[1].cost).abs() > region::TOLERANCE)
}
