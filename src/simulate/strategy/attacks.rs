//! Attacks on evaluation: who follows them, and what is reported then.

use super::behaviour::{Behaviour, Report};
use super::unknown;
use crate::settings::mechanism::{EvaluatorAttack, EvaluatorStrategy};
use crate::simulate::network::Network;
use crate::simulate::rng::Stream;
use anyhow::{Result, bail, ensure};
use statrs::distribution::{ContinuousCDF, Normal};

/// Values that stand for a normal distribution wherever one is drawn from: means of 32 slices of equal probability,
/// scaled to a variance of one. Finitely many, so that the closed form is exact.
pub const NOISE_LEVELS: usize = 32;

/// What the table of rewards calls it.
pub(super) fn label(attack: &EvaluatorAttack) -> &'static str {
    match attack.strategy {
        EvaluatorStrategy::Noise => "noise",
        EvaluatorStrategy::Boost => "boost",
        EvaluatorStrategy::Sabotage => "sabotage",
        EvaluatorStrategy::Collude => "collude",
        EvaluatorStrategy::Lazy => "lazy",
        EvaluatorStrategy::Copycat => "copycat",
        EvaluatorStrategy::Misreport => "misreport",
    }
}

/// The false reports of a strategy, each with its share.
pub(super) fn reports(
    attack: &EvaluatorAttack,
    network: &Network,
    guess: f64,
    entry: &str,
) -> Result<Vec<(f64, Report)>> {
    let by = attack.strength();
    Ok(match attack.strategy {
        EvaluatorStrategy::Noise => {
            let share = 1.0 / NOISE_LEVELS as f64;
            standard_normal_levels().into_iter().map(|level| (share, Report::Shift(by * level))).collect()
        }
        EvaluatorStrategy::Boost => vec![(1.0, Report::Shift(by))],
        EvaluatorStrategy::Sabotage => vec![(1.0, Report::Shift(-by))],
        EvaluatorStrategy::Collude => {
            let target = attack.target.as_deref().unwrap_or_default();
            vec![(1.0, Report::Favour(model_index(network, target, entry)?, by))]
        }
        EvaluatorStrategy::Copycat if !attack.commit_reveal.unwrap_or(false) => vec![(1.0, Report::Copy(guess))],
        EvaluatorStrategy::Lazy | EvaluatorStrategy::Copycat => vec![(1.0, Report::Constant(guess))],
        EvaluatorStrategy::Misreport => vec![(1.0, Report::Honest)],
    })
}

/// Who follows an attack: those named, or so many drawn from those that still report honestly.
pub(super) fn attackers(
    attack: &EvaluatorAttack,
    network: &Network,
    behaviours: &[Behaviour<Report>],
    seed: u64,
    number: usize,
    entry: &str,
) -> Result<Vec<usize>> {
    let pool = network.evaluators.len();
    let misreport = attack.strategy == EvaluatorStrategy::Misreport;
    let is_free = |evaluator: usize| {
        misreport
            || behaviours[evaluator].branches[0].action == Report::Honest && behaviours[evaluator].branches.len() == 1
    };
    if let Some(names) = &attack.nodes {
        let mut found = Vec::new();
        for name in names {
            let Some(evaluator) = network.evaluators.iter().position(|node| node.key == *name) else {
                bail!(
                    "{entry}: {}",
                    unknown("evaluator", name, network.evaluators.iter().map(|node| node.key.as_str()))
                )
            };
            ensure!(
                is_free(evaluator) && !found.contains(&evaluator),
                "{entry}: evaluator `{name}` has two ways to report"
            );
            found.push(evaluator);
        }
        return Ok(found);
    }
    let wanted = attack.count.unwrap_or_else(|| (attack.share.unwrap_or(0.0) * pool as f64).round() as usize);
    let mut free: Vec<usize> = (0..pool).filter(|&evaluator| is_free(evaluator)).collect();
    ensure!(
        wanted <= free.len(),
        "{entry}: {wanted} attackers are wanted, but the pool of {pool} evaluators has {} left: lower `share` or `count`, or \
         make a larger pool with `simulation.pool`",
        free.len()
    );
    // A stream of its own for every entry, so that attackers stay who they are when another entry changes.
    let mut stream = Stream::of_block(seed, u32::MAX, number as u32);
    for place in 0..wanted {
        let other = place + stream.below(free.len() - place);
        free.swap(place, other);
    }
    free.truncate(wanted);
    Ok(free)
}

/// The place of an inference node that an attack names.
pub(super) fn model_index(network: &Network, key: &str, entry: &str) -> Result<usize> {
    match network.models.iter().position(|node| node.key == key) {
        Some(index) => Ok(index),
        None => {
            bail!("{entry}: {}", unknown("inference node", key, network.models.iter().map(|node| node.key.as_str())))
        }
    }
}

/// Means of [`NOISE_LEVELS`] slices of the standard normal distribution, each of the same probability, scaled to variance 1.
pub(super) fn standard_normal_levels() -> Vec<f64> {
    let normal = Normal::standard();
    let density = |x: f64| (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
    let edge = |i: usize| match i {
        0 | NOISE_LEVELS => 0.0, // the density at infinity
        _ => density(normal.inverse_cdf(i as f64 / NOISE_LEVELS as f64)),
    };
    let means: Vec<f64> = (0..NOISE_LEVELS).map(|i| (edge(i) - edge(i + 1)) * NOISE_LEVELS as f64).collect();
    let variance = means.iter().map(|mean| mean * mean).sum::<f64>() / NOISE_LEVELS as f64;
    means.iter().map(|mean| mean / variance.sqrt()).collect()
}
