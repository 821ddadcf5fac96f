//! Who is chosen, and costs that follow load.

use super::{not_negative, share};
use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

/// How inference nodes are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// All alike (Algorithm 1).
    #[default]
    Uniform,
    /// With probability proportional to the mean reward so far, where that is positive.
    Proportional,
    /// Thompson sampling with a normal posterior of each node's mean reward.
    Thompson,
    /// UCB1: the largest mean reward plus `exploration sqrt(2 ln t / n)`.
    Ucb,
}

/// Scheduling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// The policy.
    pub policy: Policy,
    /// Share of rounds drawn uniformly by `proportional`; width of the bonus of `ucb`, in units of reward.
    pub exploration: f64,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { policy: Policy::Uniform, exploration: 0.1 }
    }
}

impl Schedule {
    pub(in crate::settings) fn check(&self) -> Result<()> {
        not_negative("schedule.exploration", self.exploration)?;
        if self.policy == Policy::Proportional {
            share("schedule.exploration", self.exploration)?;
        }
        Ok(())
    }
}

/// Cost weights that follow load: `beta_F (1 + strength (load - 1))`, at least 0, where load is the node's share of recent
/// rounds relative to an equal share.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Congestion {
    /// How much twice the equal share adds, relative to `beta_f`.
    pub strength: f64,
    /// Rounds that count as recent: the time constant of an exponential moving average.
    pub memory: f64,
}

impl Default for Congestion {
    fn default() -> Self {
        Self { strength: 1.0, memory: 100.0 }
    }
}

impl Congestion {
    pub(in crate::settings) fn check(&self) -> Result<()> {
        not_negative("congestion.strength", self.strength)?;
        ensure!(
            self.memory.is_finite() && self.memory >= 1.0,
            "`simulation.congestion.memory` must be at least 1 round; it is {}",
            self.memory
        );
        Ok(())
    }
}
