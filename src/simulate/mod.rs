//! Proof of Quality, Algorithm 1: many rounds that draw a record, an inference node and K evaluators, and pay them.
//! Scores and costs in, rewards and rounds out; no file is read, nothing is printed and no model is loaded.
//! Rows -> `network` -> `round` (draws) -> `tally` (sums of a replicate) -> `statistics`, beside `expected`.

pub mod consensus;
pub mod expected;
pub mod network;
pub mod reward;
pub mod rng;
pub mod round;
pub mod statistics;
pub mod table;
pub mod tally;

mod outcome;
mod subsets;
#[cfg(test)]
mod tests;

use crate::settings::Simulation;
use crate::store::rows::{ProfileRow, RewardRow, RoundRow, ScoreRow};
use anyhow::{Result, ensure};
use network::Network;
use rayon::prelude::*;
use rng::Stream;
use round::Rounds;
use tally::Replicate;

/// Rounds of the first replicate that are kept as rows, so that a long simulation does not fill the memory.
pub const KEPT_ROUNDS: u64 = 100_000;

/// What the simulation leaves behind.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// One row per node: inference nodes, then evaluators, each in the order of the profile.
    pub rewards: Vec<RewardRow>,
    /// Rounds of the first replicate (number 0) only, at most [`KEPT_ROUNDS`]: the other replicates are their likes.
    pub rounds: Vec<RoundRow>,
    /// What a reader of the rewards should know.
    pub warnings: Vec<String>,
    /// Rounds over all replicates.
    pub simulated_rounds: u64,
    /// Rounds over all replicates that paid nobody, because no drawn evaluator had a score.
    pub void_rounds: u64,
    /// Draws over all replicates of an evaluator that had no score and was left out of its round.
    pub skipped_evaluators: u64,
}

/// Simulates `settings.replicates` times `settings.rounds` rounds and compares the mean rewards with the closed form.
///
/// Each round draws record i uniformly from all records in `scores`, inference node f uniformly, and K evaluators
/// without replacement; evaluators without a score for (i, f) are left out, so that K shrinks. Jobs of an inference
/// node are the rounds that drew it and paid; jobs of an evaluator those that drew it and for which it had a score.
/// The cost of a node is `cost_norm` of its first row in `profile`, whatever batch sizes follow.
///
/// The result depends on rows and settings alone: each replicate has its own random stream, and replicates are summed
/// in their order, so the number of threads changes nothing.
pub fn run(scores: &[ScoreRow], profile: &[ProfileRow], settings: &Simulation) -> Result<Outcome> {
    settings.check()?;
    let network = Network::from_rows(scores, profile)?;
    let (_, k_max) = settings.k.bounds();
    let pool = network.evaluators.len();
    ensure!(
        k_max <= pool,
        "`simulation.k` asks for {k_max} evaluators per round, but the pool has {pool}: lower `k` or add evaluators"
    );

    let rounds = |replicate| Rounds::new(&network.table, settings.k, Stream::new(settings.seed, replicate));
    let replicates: Vec<Replicate> = (0..settings.replicates)
        .into_par_iter()
        .map(|replicate| Replicate::play(&network.table, rounds(replicate), settings.rounds))
        .collect();
    Ok(outcome::assemble(&network, settings, &replicates, rounds(0)))
}
