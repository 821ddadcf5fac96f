//! Synthetic pools of evaluators.

use super::not_negative;
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// How synthetic evaluators are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum PoolMethod {
    /// A real evaluator's scores plus normal noise, cut to 0..10.
    #[default]
    Noise,
    /// A one-factor Gaussian copula fitted to the real evaluators, with their own distributions of scores.
    Copula,
}

/// A pool of synthetic evaluators: the i-th is modelled on the template number i modulo their count, and costs as much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pool {
    /// Evaluators in the pool.
    pub evaluators: usize,
    /// How they are made.
    pub method: PoolMethod,
    /// Node keys of the real evaluators that they are modelled on; empty: all of them.
    pub templates: Vec<String>,
    /// Standard deviation of the noise, in points of 0..10.
    pub noise: f64,
    /// Seed of the pool: the same pool for every seed of the simulation.
    pub seed: u64,
}

impl Default for Pool {
    fn default() -> Self {
        Self { evaluators: 20, method: PoolMethod::Noise, templates: Vec::new(), noise: 1.0, seed: 42 }
    }
}

impl Pool {
    pub(in crate::settings) fn check(&self) -> Result<()> {
        ensure!(
            (2..=1000).contains(&self.evaluators),
            "`simulation.pool.evaluators` must lie between 2 and 1000; it is {}",
            self.evaluators
        );
        not_negative("pool.noise", self.noise)
    }
}
