//! What a reader of the rewards should know: nodes that the closed form contradicts, rounds that paid nobody, trust that has
//! saturated, settings without effect.

use crate::settings::{RoundLog, Simulation};
use crate::simulate::expected::{Expected, Missing};
use crate::simulate::mechanism::Mechanism;
use crate::simulate::play::Played;
use crate::simulate::{KEPT_ROUNDS, Outcome};
use crate::store::rows::RewardRow;

/// A difference from the closed form of more standard errors than this is no chance, ...
const ALARM: f64 = 5.0;
/// ... if the mean is one of enough jobs for it to be nearly normal.
const ENOUGH_JOBS: i64 = 1000;
/// A difference that no rounding explains, relative to a reward of more than 1, where there is no spread to measure it by.
const DIFFERENT: f64 = 1e-9;

/// Settings that change nothing in this network, which nobody would see from the rewards.
fn settings_without_effect(mechanism: &Mechanism, settings: &Simulation) -> Vec<String> {
    let mut warnings = Vec::new();
    let consensus = &settings.consensus;
    if consensus.trust.is_some() && !mechanism.is_weighted() {
        warnings.push("weights learn, but this consensus rule does not look at them".into());
    } else if !consensus.stakes.is_empty() && !mechanism.is_weighted() {
        warnings.push("evaluators have stakes, but this consensus rule does not look at them".into());
    }
    let pool = mechanism.network.evaluators.len();
    for (i, attack) in settings.evaluator_attacks.iter().enumerate() {
        let nobody = attack.share.is_some_and(|share| (share * pool as f64).round() < 1.0);
        if nobody || attack.count == Some(0) {
            warnings.push(format!(
                "`simulation.evaluator_attacks`, entry {}: so small a share of {pool} evaluators is nobody",
                i + 1
            ));
        }
    }
    let liars = mechanism.strategies.models.iter().any(|node| (node.declared - 1.0).abs() > 0.0)
        || mechanism.strategies.evaluators.iter().any(|node| (node.declared - 1.0).abs() > 0.0);
    if settings.audit.probability > 0.0 && !liars {
        warnings.push("jobs are audited, but nobody misreports its cost".into());
    }
    warnings
}

/// Whether a node's mean differs from its closed form by more than chance. Where the closed form knows of no spread, there is
/// no chance: only rounding may differ then. A z that is no number is no comfort.
#[must_use]
pub fn disagrees(row: &RewardRow) -> bool {
    let (Some(average), Some(expected)) = (row.avg_reward, row.expected_reward) else { return false };
    match row.z {
        Some(z) => z.is_nan() || z.abs() > ALARM && row.jobs >= ENOUGH_JOBS,
        None => row.expected_std == Some(0.0) && (average - expected).abs() > DIFFERENT * expected.abs().max(1.0),
    }
}

/// What there is to warn about.
pub(super) fn warnings(
    outcome: &Outcome,
    mechanism: &Mechanism,
    settings: &Simulation,
    played: &Played,
    expected: &Expected,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let far: Vec<String> = outcome
        .rewards
        .iter()
        .filter(|row| disagrees(row))
        .map(|row| {
            format!("`{}` (z = {})", row.node, row.z.map_or_else(|| "infinite".to_owned(), |z| format!("{z:.1}")))
        })
        .collect();
    if !far.is_empty() {
        warnings.push(format!(
            "SIMULATION AND CLOSED FORM DISAGREE by more than {ALARM} standard errors for {}: do not use these rewards; this \
             is a bug, please report it with run.json",
            far.join(", ")
        ));
    }
    if outcome.skipped_evaluators > 0 {
        warnings.push(format!(
            "{} drawn evaluators had no score for their answer and were left out, so that K shrank",
            outcome.skipped_evaluators
        ));
    }
    if outcome.void_rounds > 0 {
        warnings.push(format!(
            "{} of {} rounds paid nobody, for no drawn evaluator had a score",
            outcome.void_rounds, outcome.simulated_rounds
        ));
    }
    warnings.extend(settings.quality.and_then(|signal| mechanism.network.signal_warning(signal)));
    for row in outcome.rewards.iter().filter(|row| row.jobs == 0) {
        warnings.push(format!("{} node `{}` never had a job, so it has no mean reward", row.node_type, row.node));
    }
    match expected.missing {
        Some(Missing::Outcomes) => {
            warnings
                .push("a round has too many outcomes for the closed form: some nodes have no expected reward".into());
        }
        Some(Missing::Memory) => {
            warnings
                .push("rounds depend on those before them: there is no closed form to hold the rewards against".into());
        }
        None => {}
    }
    let saturations = || played.memories.iter().filter_map(|memory| memory.saturation);
    let saturated = saturations().filter(|saturation| saturation.first.is_some()).count();
    if saturated > 0 {
        let rounds = saturations().map(|saturation| saturation.rounds as f64).sum::<f64>();
        warnings.push(format!(
            "trust saturated in {saturated} of {} replicates: all weights reached their maximum, where the rule is the one \
             with equal weights; {:.0} % of all rounds ended so",
            played.memories.len(),
            100.0 * rounds / outcome.simulated_rounds as f64
        ));
    }
    warnings.extend(settings_without_effect(mechanism, settings));
    if settings.round_log == RoundLog::First && settings.rounds > KEPT_ROUNDS {
        warnings.push(format!("the table of rounds holds the first {KEPT_ROUNDS} of {} rounds", settings.rounds));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;

    /// A node of 1,000 jobs that has a closed form.
    fn row(average: f64, expected: f64) -> RewardRow {
        let row = samples::reward("inference", "f", Some(average), 0.0);
        RewardRow { expected_reward: Some(expected), jobs: 1000, ..row }
    }

    #[test]
    fn five_standard_errors_of_a_thousand_jobs_are_no_chance() {
        let with = |z, jobs| disagrees(&RewardRow { z: Some(z), jobs, ..row(0.5, 0.4) });
        assert!(with(5.1, 1000) && with(-5.1, 1000) && with(f64::NAN, 1));
        assert!(!with(4.9, 1000) && !with(5.1, 999));
    }

    #[test]
    fn without_spread_only_rounding_may_differ() {
        let certain = |average, expected| disagrees(&RewardRow { expected_std: Some(0.0), ..row(average, expected) });
        assert!(certain(0.5, 0.500_000_01) && !certain(0.5, 0.5 + 1e-12));
        // Rewards of millions round in millionths.
        assert!(!certain(3e7, 3e7 + 1e-3) && certain(3e7, 3e7 + 1.0));
        // One job has no spread either, which says nothing of a node whose deviation the closed form does not know.
        assert!(!disagrees(&RewardRow { std_reward: Some(0.0), jobs: 1, ..row(0.5, 0.4) }));
        assert!(!disagrees(&samples::reward("inference", "f", Some(0.5), 0.0)), "nothing to hold it against");
    }
}
