//! Proof of Quality, Algorithm 1, as the paper has it and beyond: many rounds that draw a record, an inference node and K
//! evaluators, and pay them. Scores and costs in, rewards and rounds out; no file is read, nothing is printed and no model
//! is loaded.
//!
//! Rows → `network` (→ `pool`) → `mechanism` (who does what: `strategy`; how a round is settled: `consensus`, `reward`) →
//! `play`: outcomes counted (`outcomes`) or rounds played (`player`) → `tally`, beside the closed form (`expected`) →
//! `outcome` (rows).

pub mod consensus;
pub mod costs;
pub mod distribution;
pub mod expected;
pub mod infer;
pub mod mechanism;
pub mod network;
pub mod outcomes;
pub mod player;
pub mod pool;
pub mod reward;
pub mod rng;
pub mod round;
pub mod schedule;
pub mod statistics;
pub mod strategy;
pub mod subsets;
pub mod table;
pub mod tally;
pub mod trust;

mod log;
mod outcome;
mod play;
#[cfg(test)]
pub(crate) mod tests;
mod warnings;

pub use log::log_rounds;
pub use outcome::Outcome;
pub use play::{Stopped, Watch};
pub use warnings::disagrees;

use crate::settings::Simulation;
use crate::settings::mechanism::{Policy, Schedule};
use crate::store::rows::{ProfileRow, ScoreRow};
use anyhow::Result;
use mechanism::Mechanism;
use network::{Network, Tables};
use std::borrow::Cow;

/// Version of the mechanism, which is part of what every table of rewards was made from. It rises when the same settings give
/// other numbers: another equation, another order of random numbers, another default of what is not a setting.
pub const VERSION: u32 = 1;

/// Rounds of the first replicate that are kept as rows where only a sample is asked for.
pub const KEPT_ROUNDS: u64 = 100_000;

/// Scores that the closed form may look at where outcomes are too many to keep: some seconds' worth.
pub const STEPS: f64 = 2e8;

/// Simulates tables of a run.
pub fn run(scores: &[ScoreRow], profile: &[ProfileRow], settings: &Simulation) -> Result<Outcome> {
    simulate(&Network::from_rows(Tables { scores, profile, tasks: &[] })?, settings, STEPS)
}

/// Simulates `settings.replicates` times `settings.rounds` rounds and compares the mean rewards with the closed form, which
/// may look at `steps` scores.
///
/// Each round draws record i uniformly from all records, inference node f uniformly (or as the scheduler says), and K
/// evaluators without replacement; evaluators without a score for (i, f) are left out, so that K shrinks. Jobs of an
/// inference node are the rounds that drew it and paid; jobs of an evaluator those that drew it and in which it reported.
///
/// The result depends on network and settings alone: every block of rounds has its own random stream, and sums are formed
/// in the order of blocks, so the number of threads changes nothing.
pub fn simulate(network: &Network, settings: &Simulation, steps: f64) -> Result<Outcome> {
    watched(network, settings, steps, Watch::NOBODY)
}

/// As [`simulate`], while somebody watches. Stopped, it comes back early, with [`Stopped`] or with an outcome of fewer rounds than it says: who asked for a stop throws it away.
pub fn watched(network: &Network, settings: &Simulation, steps: f64, watch: Watch) -> Result<Outcome> {
    settings.check()?;
    let network = played(network, settings)?;
    let mechanism = Mechanism::new(&network, settings)?;
    let expected = play::Expectation::of(&mechanism, settings, steps, watch)?;
    let played = play::play(&mechanism, settings, &expected, watch);
    let references = outcome::References {
        honest: if settings.is_honest() { None } else { Some(honest_rewards(&network, settings, steps, watch)?) },
        uniform: uniform_rewards(&mechanism, settings, steps, watch)?,
    };
    Ok(outcome::assemble(&mechanism, settings, &played, &expected.closed, &references))
}

/// What every node earns on average under a uniform schedule, in closed form: what a scheduler that does better is held
/// against. None where the schedule is uniform, and where rewards depend on more than the schedule.
fn uniform_rewards(
    mechanism: &Mechanism,
    settings: &Simulation,
    steps: f64,
    watch: Watch,
) -> Result<Option<Vec<Option<f64>>>> {
    let uniform = Simulation { schedule: Schedule::default(), ..settings.clone() };
    if settings.schedule.policy == Policy::Uniform || player::has_memory(&uniform) {
        return Ok(None);
    }
    Ok(Some(play::Expectation::of(mechanism, &uniform, steps, watch)?.closed.means().collect()))
}

/// What every node would earn on average if nobody were dishonest: in closed form, or by simulation where there is none.
fn honest_rewards(network: &Network, settings: &Simulation, steps: f64, watch: Watch) -> Result<Vec<Option<f64>>> {
    let settings = settings.honest();
    let mechanism = Mechanism::new(network, &settings)?;
    let expected = play::Expectation::of(&mechanism, &settings, steps, watch)?;
    let closed: Vec<Option<f64>> = expected.closed.means().collect();
    if expected.closed.missing.is_none() {
        return Ok(closed);
    }
    // Its rounds are not among those that were asked for.
    let unseen = Watch { advance: &|_| {}, ..watch };
    let simulated = outcome::mean_rewards(&mechanism, &play::play(&mechanism, &settings, &expected, unseen));
    Ok(closed.into_iter().zip(simulated).map(|(closed, simulated)| closed.or(simulated)).collect())
}

/// The network with the pool that the settings ask for.
pub(crate) fn played<'a>(network: &'a Network, settings: &Simulation) -> Result<Cow<'a, Network>> {
    Ok(match &settings.pool {
        Some(pool) => Cow::Owned(pool::synthesize(network, pool)?),
        None => Cow::Borrowed(network),
    })
}
