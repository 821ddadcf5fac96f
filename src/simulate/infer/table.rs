//! A table of mean rewards, as far as coefficients can be inferred from it: the paper's, or that of a run.

use crate::paper;
use crate::settings::Simulation;
use crate::store::rows::RewardRow;
use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

/// A node that was paid.
#[derive(Debug, Clone, PartialEq)]
pub struct PaidNode {
    /// Node key.
    pub node: String,
    /// Mean reward R per job, in normalised units.
    pub reward: f64,
    /// Normalised cost C.
    pub cost: f64,
    /// Mean latency per sample, in ms; none when nobody knows it.
    pub latency_ms: Option<f64>,
    /// Rounds that paid the node.
    pub jobs: u64,
}

/// A node that never had a job: it has no reward, but it is one of those whose costs were scaled and who were drawn from.
#[derive(Debug, Clone, PartialEq)]
pub struct IdleNode {
    /// Node key.
    pub node: String,
    /// Mean latency per sample, in ms; none when nobody knows it.
    pub latency_ms: Option<f64>,
}

/// Nodes without a job.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Idle {
    /// Inference nodes.
    pub inference: Vec<IdleNode>,
    /// Evaluators.
    pub evaluators: Vec<IdleNode>,
}

/// How many decimals a table was printed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decimals {
    /// Of rewards.
    pub reward: u32,
    /// Of costs.
    pub cost: u32,
    /// Of latencies in ms.
    pub latency: u32,
}

/// From `low` to `high`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// One number.
    #[must_use]
    pub fn point(value: f64) -> Self {
        Self { low: value, high: value }
    }

    /// What a number may have been before it was printed with so many decimals: half a unit of the last one either way.
    #[must_use]
    pub fn around(value: f64, decimals: u32) -> Self {
        let half = half_unit(decimals);
        Self { low: value - half, high: value + half }
    }

    /// The same, without what lies below a bound.
    #[must_use]
    pub fn at_least(self, bound: f64) -> Self {
        Self { low: self.low.max(bound), high: self.high.max(bound) }
    }

    /// What both have in common; none when they are apart.
    #[must_use]
    pub fn common(self, other: Self) -> Option<Self> {
        let (low, high) = (self.low.max(other.low), self.high.min(other.high));
        (low <= high).then_some(Self { low, high })
    }
}

/// Half a unit of the last of so many decimals.
pub(super) fn half_unit(decimals: u32) -> f64 {
    0.5 * 0.1_f64.powf(f64::from(decimals))
}

/// What is inferred from.
#[derive(Debug, Clone, PartialEq)]
pub struct RewardTable {
    /// Whose rewards these are, as a sentence has it.
    pub source: String,
    /// Whether it was published, and not simulated here.
    pub published: bool,
    /// Inference nodes that had a job.
    pub inference: Vec<PaidNode>,
    /// Evaluators that had a job.
    pub evaluators: Vec<PaidNode>,
    /// Those that had none.
    pub idle: Idle,
    /// Decimals it was printed with; none for full precision.
    pub decimals: Option<Decimals>,
    /// Largest K that a round may have had.
    pub most_evaluators: usize,
    /// What it was simulated with; none when nobody says.
    pub simulated_with: Option<Simulation>,
    /// What was left out.
    pub notes: Vec<String>,
}

impl RewardTable {
    /// Table 4.
    #[must_use]
    pub fn of_paper() -> Self {
        let of_type = |node_type: &'static str| {
            let lines = paper::TABLE_4.iter().filter(move |line| line.node_type == node_type);
            lines.map(|line| PaidNode {
                node: line.node.into(),
                reward: line.avg_reward,
                cost: line.cost_norm,
                latency_ms: Some(line.avg_latency_ms),
                jobs: line.jobs.unsigned_abs(),
            })
        };
        let evaluators: Vec<PaidNode> = of_type("evaluator").collect();
        Self {
            source: paper::TABLE_4_SOURCE.into(),
            published: true,
            inference: of_type("inference").collect(),
            most_evaluators: evaluators.len(),
            evaluators,
            idle: Idle::default(),
            decimals: Some(Decimals {
                reward: paper::REWARD_DECIMALS,
                cost: paper::COST_DECIMALS,
                latency: paper::LATENCY_DECIMALS,
            }),
            simulated_with: None,
            notes: Vec::new(),
        }
    }

    /// The rewards of a run and what they were simulated with. Nodes that never had a job are set apart and noted; a
    /// number that cannot be one is an error that names node and column.
    pub fn of_rewards(run: &str, rewards: &[RewardRow], simulation: &Simulation) -> Result<Self> {
        if let Some(setting) = simulation.beyond_the_paper() {
            bail!(
                "run `{run}` was simulated with `simulation.{setting}`, but coefficients can be inferred from rewards by \
                 Equations 1 to 5 among honest nodes alone\nhint: simulate it without, or infer from another run"
            );
        }
        let (mut inference, mut evaluators, mut idle) = (Vec::new(), Vec::new(), Idle::default());
        let mut notes = made_otherwise(simulation);
        for row in rewards {
            let (side, idle) = match row.node_type.as_str() {
                "inference" => (&mut inference, &mut idle.inference),
                "evaluator" => (&mut evaluators, &mut idle.evaluators),
                other => bail!(
                    "table `rewards`, node `{}`: `node_type` is `{other}`, neither `inference` nor `evaluator`",
                    row.node
                ),
            };
            if let Some(reward) = row.avg_reward {
                side.push(paid(row, reward).context("hint: `poq simulate` makes the table again")?);
            } else {
                idle.push(IdleNode { node: row.node.clone(), latency_ms: row.avg_latency_ms });
                notes.push(format!("{} node `{}` never had a job: it says nothing.", row.node_type, row.node));
            }
        }
        let (_, k) = simulation.k.bounds();
        Ok(Self {
            source: format!("the rewards of run `{run}`"),
            published: false,
            most_evaluators: k.min(evaluators.len()),
            inference,
            evaluators,
            idle,
            decimals: None,
            simulated_with: Some(simulation.clone()),
            notes,
        })
    }

    /// Whether the costs of the inference nodes, and those of the evaluators, are the profile's: min-max of the latencies.
    #[must_use]
    pub fn costs_are_min_max(&self) -> (bool, bool) {
        self.simulated_with.as_ref().map_or((true, true), |simulation| {
            let of_profile = simulation.costs.are_those_of_the_profile();
            (of_profile, of_profile && simulation.pool.is_none())
        })
    }

    /// Whether every evaluator took part in every round: each has as many jobs as the inference nodes have together, and
    /// every round that pays has one of these.
    #[must_use]
    pub fn everybody_judges(&self) -> bool {
        let rounds: u64 = self.inference.iter().map(|node| node.jobs).sum();
        rounds > 0 && self.evaluators.iter().all(|node| node.jobs == rounds)
    }
}

/// What made costs that latencies alone do not tell.
fn made_otherwise(simulation: &Simulation) -> Vec<String> {
    let mut notes = Vec::new();
    if !simulation.costs.are_those_of_the_profile() {
        notes.push(
            "Costs follow `simulation.costs`, not min-max of the latencies: they are not held against these.".into(),
        );
    } else if simulation.pool.is_some() {
        notes.push(
            "Synthetic evaluators cost what those cost that they are modelled on: they are not held against latencies."
                .into(),
        );
    }
    notes
}

fn paid(row: &RewardRow, reward: f64) -> Result<PaidNode> {
    let number = |column: &str, value: f64, least: f64| -> Result<f64> {
        ensure!(
            value.is_finite() && value >= least,
            "table `rewards`, node `{}`: `{column}` is {value}, which cannot be",
            row.node
        );
        Ok(value)
    };
    let latency_ms = row.avg_latency_ms.map(|latency| number("avg_latency_ms", latency, 0.0)).transpose()?;
    let jobs = u64::try_from(row.jobs)
        .with_context(|| format!("table `rewards`, node `{}`: `jobs` is {}, which cannot be", row.node, row.jobs))?;
    Ok(PaidNode {
        node: row.node.clone(),
        reward: number("avg_reward", reward, f64::NEG_INFINITY)?,
        cost: number("cost_norm", row.cost_norm, 0.0)?,
        latency_ms,
        jobs,
    })
}
