//! The log of rounds: the same rounds as the simulation's, played again one by one and written down.

use super::mechanism::{Mechanism, Settled};
use super::network::Network;
use super::play::blocks;
use super::player::Player;
use super::rng::Stream;
use super::round::Round;
use super::{KEPT_ROUNDS, consensus, played};
use crate::settings::{RoundLog, Simulation};
use crate::store::rows::RoundRow;
use anyhow::Result;

/// Plays the rounds that `settings.round_log` asks for and hands over a row for each, in order of replicate and round.
pub fn log_rounds(
    network: &Network,
    settings: &Simulation,
    mut write: impl FnMut(RoundRow) -> Result<()>,
) -> Result<()> {
    let (replicates, most) = match settings.round_log {
        RoundLog::None => return Ok(()),
        RoundLog::First => (1, KEPT_ROUNDS),
        RoundLog::All => (settings.replicates, u64::MAX),
    };
    let network = played(network, settings)?;
    let mechanism = Mechanism::new(&network, settings)?;
    for replicate in 0..replicates {
        let mut number = 0;
        for (block, rounds) in blocks(settings) {
            let mut player = Player::new(&mechanism, settings, Stream::of_block(settings.seed, replicate, block));
            for _ in 0..rounds.min(most - number) {
                let (round, settled) = player.play();
                write(row(&mechanism, (replicate, number), round, settled))?;
                number += 1;
            }
        }
    }
    Ok(())
}

fn row(mechanism: &Mechanism, (replicate, number): (u32, u64), round: &Round, settled: &Settled) -> RoundRow {
    let network = mechanism.network;
    let (_, answered_by) = network.table.task_and_model(settled.judged);
    let paid = !settled.is_void();
    let of_members = |values: &[f64]| if paid { values.to_vec() } else { Vec::new() };
    RoundRow {
        replicate: i32::try_from(replicate).unwrap_or(i32::MAX),
        round: i64::try_from(number).unwrap_or(i64::MAX),
        task_id: network.tasks[round.task].clone(),
        model: network.models[round.model].key.clone(),
        answered_by: network.models[answered_by].key.clone(),
        evaluators: settled.evaluators.iter().map(|&evaluator| network.evaluators[evaluator].key.clone()).collect(),
        reports: of_members(&settled.reports),
        weights: of_members(&settled.weights),
        congestion: settled.congestion,
        caught_inference: mechanism.strategies.models[round.model].branches[round.branch].caught,
        caught_evaluators: settled
            .evaluators
            .iter()
            .zip(&settled.branches)
            .map(|(&evaluator, &branch)| mechanism.strategies.evaluators[evaluator].branches[branch].caught)
            .collect(),
        consensus: paid.then(|| consensus::quality(settled.consensus)),
        reward_inference: paid.then_some(settled.reward),
        rewards_evaluators: of_members(&settled.rewards),
    }
}
