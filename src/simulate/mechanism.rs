//! One configuration made ready to be played: steps 5 to 7 of Algorithm 1 for a round whoever drew it. Sampling, counting,
//! the closed form and the log of rounds all settle their rounds here.

use crate::settings::Simulation;
use crate::settings::mechanism::Deviation;
use crate::simulate::consensus::{self, Aggregate, Scratch, Votes};
use crate::simulate::costs;
use crate::simulate::network::Network;
use crate::simulate::player::largest_congestion;
use crate::simulate::reward::Prices;
use crate::simulate::strategy::{Report, Strategies};
use crate::simulate::subsets::SubsetLaw;
use anyhow::{Result, bail, ensure};

/// A configuration of the mechanism over a network.
pub struct Mechanism<'a> {
    /// Who plays, and what they scored.
    pub network: &'a Network,
    /// What everybody does.
    pub strategies: Strategies,
    /// Which evaluators a round draws.
    pub law: SubsetLaw,
    /// True costs C of the inference nodes.
    pub model_costs: Vec<f64>,
    /// True costs C of the evaluators.
    pub evaluator_costs: Vec<f64>,
    /// What each is paid.
    pub prices: Prices,
    /// Weights of the evaluators, where they do not learn or before they do.
    pub stakes: Vec<f64>,
    rule: Box<dyn Aggregate>,
    deviation: Deviation,
    /// Q in [0, 1] by judged cell that is paid for in place of the consensus; the consensus is paid for where it is NaN.
    quality: Option<&'a [f64]>,
}

/// A settled round. Evaluators without a score are left out.
#[derive(Debug, Clone, Default)]
pub struct Settled {
    /// The evaluators that reported, in the order of the draw.
    pub evaluators: Vec<usize>,
    /// What each reported, in [0, 10].
    pub reports: Vec<f64>,
    /// Which of its branches each took.
    pub branches: Vec<usize>,
    /// What each weighed.
    pub weights: Vec<f64>,
    /// d of each, in [0, 1].
    pub deviations: Vec<f64>,
    /// Reward of each.
    pub rewards: Vec<f64>,
    /// Consensus in [0, 10]; meaningless in a void round.
    pub consensus: f64,
    /// Reward of the inference node; meaningless in a void round.
    pub reward: f64,
    /// The cell whose answer was judged: that of another inference node where one was swapped in.
    pub judged: usize,
    /// Factor on `beta_F`.
    pub congestion: f64,
    /// Drawn evaluators without a score.
    pub skipped: u64,
    scratch: Scratch,
}

impl Settled {
    /// Whether nobody reported, so that nobody is paid.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.evaluators.is_empty()
    }
}

impl<'a> Mechanism<'a> {
    /// Compiles a configuration. Refuses what this network cannot play, naming field and node.
    pub fn new(network: &'a Network, settings: &Simulation) -> Result<Self> {
        settings.check()?;
        let pool = network.evaluators.len();
        settings.check_k(pool)?;
        let mut strategies = Strategies::of(network, settings)?;
        costs::check_names(&settings.costs, [&network.models, &network.evaluators])?;
        let model_costs = costs::of_pool(&network.models, &settings.costs)?;
        let evaluator_costs = costs::of_pool(&network.evaluators, &settings.costs)?;
        strategies.audit(settings.audit.probability, &model_costs, &evaluator_costs);
        let declared = |costs: &[f64], factors: &mut dyn Iterator<Item = f64>| -> Vec<f64> {
            costs.iter().zip(factors).map(|(cost, factor)| cost * factor).collect()
        };
        let prices = Prices::new(
            settings,
            task_weights(network, settings)?,
            &declared(&model_costs, &mut strategies.models.iter().map(|node| node.declared)),
            &declared(&evaluator_costs, &mut strategies.evaluators.iter().map(|node| node.declared)),
        );
        let (low, high) = prices.bounds(largest_congestion(settings, network.models.len()));
        let finite = |value: f64| (value * value * settings.rounds as f64 * f64::from(settings.replicates)).is_finite();
        ensure!(
            finite(low) && finite(high) && model_costs.iter().chain(&evaluator_costs).all(|cost| cost.is_finite()),
            "rewards between {low} and {high} are too large to add up: lower `simulation.alpha_…`, `beta_…`, \
             `rewards.exponent`, `audit.penalty` or the prices in `simulation.costs`"
        );
        Ok(Self {
            network,
            law: SubsetLaw::new(pool, settings.k),
            strategies,
            model_costs,
            evaluator_costs,
            prices,
            stakes: stakes(network, settings)?,
            rule: consensus::rule(&settings.consensus),
            deviation: settings.deviation,
            quality: quality(network, settings)?,
        })
    }

    /// Whether weights make a difference to the consensus.
    #[must_use]
    pub fn is_weighted(&self) -> bool {
        self.rule.is_weighted()
    }

    /// Whether evaluators are compared with the others.
    #[must_use]
    pub fn leaves_one_out(&self) -> bool {
        self.deviation == Deviation::LeaveOneOut
    }

    /// Settles a round: reports, consensus (Equation 1 or another rule), deviations (Equation 3) and rewards (Equations 2
    /// and 5). `weights` are by evaluator of the pool, `congestion` is a factor on `beta_F`.
    #[inline]
    pub fn settle(
        &self,
        (task, model, branch): (usize, usize, usize),
        members: &[(usize, usize)],
        weights: &[f64],
        congestion: f64,
        into: &mut Settled,
    ) {
        let act = self.strategies.models[model].branches[branch];
        let table = &self.network.table;
        into.judged = table.cell(task, act.action);
        into.evaluators.clear();
        into.reports.clear();
        into.branches.clear();
        into.weights.clear();
        into.rewards.clear();
        into.skipped = 0;
        into.congestion = congestion;
        let (mut seen, mut lookers, mut copies) = (0.0, 0.0, false);
        for &(evaluator, branch) in members {
            let action = self.strategies.evaluators[evaluator].branches[branch].action;
            let report = action.of(table.score(into.judged, evaluator), model);
            if report.is_nan() {
                into.skipped += 1;
                continue;
            }
            if action.looks() {
                seen += report;
                lookers += 1.0;
            }
            copies |= matches!(action, Report::Copy(_));
            into.evaluators.push(evaluator);
            into.reports.push(report);
            into.branches.push(branch);
            into.weights.push(weights[evaluator]);
        }
        if into.is_void() {
            return;
        }
        if copies && lookers > 0.0 {
            self.fill_copies(seen / lookers, into);
        }
        let votes = Votes { scores: &into.reports, weights: &into.weights };
        into.consensus = self.rule.consensus(votes, &mut into.scratch);
        let (rule, consensus) = (self.rule.as_ref(), into.consensus);
        consensus::deviations(rule, self.deviation, votes, consensus, &mut into.scratch, &mut into.deviations);
        for (place, &evaluator) in into.evaluators.iter().enumerate() {
            let caught = self.strategies.evaluators[evaluator].branches[into.branches[place]].caught;
            into.rewards.push(self.prices.evaluator(task, evaluator, into.deviations[place], caught));
        }
        let quality = self.signal(into.judged).unwrap_or_else(|| consensus::quality(into.consensus));
        into.reward = self.prices.inference(task, model, quality, congestion, act.caught);
    }

    /// The quality signal of a cell, where one is paid for and known.
    #[inline]
    #[must_use]
    pub fn signal(&self, judged: usize) -> Option<f64> {
        self.quality.map(|quality| quality[judged]).filter(|quality| !quality.is_nan())
    }

    /// Copycats of a round report what those who look report on average.
    fn fill_copies(&self, mean: f64, into: &mut Settled) {
        for (place, &evaluator) in into.evaluators.iter().enumerate() {
            if matches!(self.strategies.evaluators[evaluator].branches[into.branches[place]].action, Report::Copy(_)) {
                into.reports[place] = mean;
            }
        }
    }

    /// The deviations of a settled round from the consensus of the others, whatever evaluators are paid by.
    pub fn deviations_from_others(&self, settled: &mut Settled, into: &mut Vec<f64>) {
        let votes = Votes { scores: &settled.reports, weights: &settled.weights };
        let rule = self.rule.as_ref();
        consensus::deviations(rule, Deviation::LeaveOneOut, votes, settled.consensus, &mut settled.scratch, into);
    }
}

fn quality<'a>(network: &'a Network, settings: &Simulation) -> Result<Option<&'a [f64]>> {
    let Some(wanted) = settings.quality else { return Ok(None) };
    let Some(quality) = network.signal(wanted) else {
        bail!("`simulation.quality` is `{}`, which the run does not have: run `poq signals`", wanted.name());
    };
    let (without, all) = network.without_signal(quality);
    ensure!(
        without < all || all == 0,
        "`simulation.quality` is `{}`, which is null for every answer\nhint: the warnings of `poq signals` say why",
        wanted.name()
    );
    Ok(Some(quality))
}

fn task_weights(network: &Network, settings: &Simulation) -> Result<Vec<f64>> {
    let weights = &settings.rewards.task_weights;
    for task_type in weights.keys() {
        if !network.task_types.contains(task_type) {
            let mut known: Vec<&str> = network.task_types.iter().map(String::as_str).collect();
            known.sort_unstable();
            known.dedup();
            bail!(
                "`simulation.rewards.task_weights.{task_type}`: no record is of this task type; there are {}",
                known.join(", ")
            );
        }
    }
    Ok((0..network.tasks.len())
        .map(|task| network.task_types.get(task).and_then(|name| weights.get(name)).copied().unwrap_or(1.0))
        .collect())
}

/// Weights by evaluator. A synthetic evaluator has the stake of the one it is modelled on, unless it is named itself.
fn stakes(network: &Network, settings: &Simulation) -> Result<Vec<f64>> {
    let stakes = &settings.consensus.stakes;
    for key in stakes.keys() {
        let known = |node: &crate::simulate::network::Node| node.key == *key || node.template == *key;
        ensure!(network.evaluators.iter().any(known), "`simulation.consensus.stakes.{key}` names no evaluator");
    }
    let of = |node: &crate::simulate::network::Node| {
        stakes.get(&node.key).or_else(|| stakes.get(&node.template)).copied().unwrap_or(1.0)
    };
    Ok(network.evaluators.iter().map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::mechanism::{EvaluatorStrategy, InferenceAttack, InferenceStrategy};
    use crate::signals::Composite;
    use crate::simulate::tests::{attack, random_network};

    /// One record, two inference nodes and three evaluators with costs 0, 1/2 and 1.
    fn network() -> Network {
        let mut network = random_network(1, (1, 2, 3), 0);
        for (model, scores) in [[2.0, 4.0, 9.0], [6.0, 6.0, 6.0]].iter().enumerate() {
            scores.iter().enumerate().for_each(|(evaluator, &score)| network.table.set(0, model, evaluator, score));
        }
        network
    }

    fn settle(network: &Network, settings: &Simulation, round: (usize, usize, usize)) -> Settled {
        let mechanism = Mechanism::new(network, settings).expect("sound");
        let mut settled = Settled::default();
        mechanism.settle(round, &[(0, 0), (1, 0), (2, 0)], &mechanism.stakes, 1.0, &mut settled);
        settled
    }

    fn assert_close(of: &[f64], expected: &[f64]) {
        assert_eq!(of.len(), expected.len());
        assert!(of.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{of:?} is not {expected:?}");
    }

    #[test]
    fn an_honest_round_by_hand() {
        let settled = settle(&network(), &Simulation::default(), (0, 0, 0));
        assert_close(&[settled.consensus, settled.reward], &[5.0, 0.5]);
        assert_close(&settled.deviations, &[0.3, 0.1, 0.4]);
        assert_close(&settled.rewards, &[0.7, 0.9 - 0.15, 0.6 - 0.3]);
        // The second inference node costs 1.
        assert_close(&[settle(&network(), &Simulation::default(), (0, 1, 0)).reward], &[0.6 - 0.3]);
    }

    #[test]
    fn copycats_report_the_mean_of_those_who_look() {
        let settings = Simulation {
            evaluator_attacks: vec![attack(EvaluatorStrategy::Copycat, "m2"), attack(EvaluatorStrategy::Boost, "m1")],
            ..Simulation::default()
        };
        let settled = settle(&network(), &settings, (0, 0, 0));
        assert_close(&settled.reports, &[2.0, 7.0, 4.5]);
        assert_close(&[settled.consensus, settled.deviations[2]], &[4.5, 0.0]);
        // Nobody sees what is committed and not revealed: it reports the pool's mean, 33 / 6.
        let mut hidden = settings;
        hidden.evaluator_attacks[0].commit_reveal = Some(true);
        assert_close(&settle(&network(), &hidden, (0, 0, 0)).reports, &[2.0, 7.0, 5.5]);
    }

    #[test]
    fn a_swapped_answer_is_judged_for_what_it_is() {
        let swap = InferenceAttack {
            strategy: InferenceStrategy::Swap,
            node: "f1".into(),
            with: Some("f0".into()),
            probability: None,
            strength: None,
        };
        let settings = Simulation { inference_attacks: vec![swap], ..Simulation::default() };
        let settled = settle(&network(), &settings, (0, 1, 0));
        assert_eq!(settled.judged, 0);
        assert_close(&[settled.consensus, settled.reward], &[5.0, 0.5 - 0.3]);
    }

    #[test]
    fn a_caught_liar_pays_and_an_uncaught_one_gains() {
        let mut settings =
            Simulation { evaluator_attacks: vec![attack(EvaluatorStrategy::Misreport, "m2")], ..Simulation::default() };
        settings.audit.probability = 0.5;
        settings.audit.penalty = 1.0;
        let caught = settle(&network(), &settings, (0, 0, 0));
        assert_close(&caught.rewards[2..], &[0.6 - 0.15 - 1.0]);
        settings.audit.probability = 0.0;
        assert_close(&settle(&network(), &settings, (0, 0, 0)).rewards[2..], &[0.6 - 0.15]);
    }

    #[test]
    fn a_quality_signal_takes_the_place_of_consensus_in_the_reward_alone() {
        let mut network = network();
        let settings = Simulation { quality: Some(Composite::Default), ..Simulation::default() };
        let error = Mechanism::new(&network, &settings).err().expect("refused").to_string();
        assert!(error.contains("`composite`, which the run does not have: run `poq signals`"), "{error}");
        network.add_signal(Composite::Default, &[(("t0".to_owned(), "f0".to_owned()), 0.9)].into());
        let settled = settle(&network, &settings, (0, 0, 0));
        assert_close(&[settled.consensus, settled.reward], &[5.0, 0.9]);
        assert_close(&[settle(&network, &settings, (0, 1, 0)).reward], &[0.3]);
    }

    #[test]
    fn answers_without_a_signal_are_counted_and_a_signal_without_answers_is_refused() {
        let mut network = network();
        let settings = Simulation { quality: Some(Composite::Calibrated), rounds: 10, ..Simulation::default() };
        network.add_signal(Composite::Calibrated, &[(("t0".to_owned(), "f1".to_owned()), 0.4)].into());
        let warnings = |network: &Network| crate::simulate::simulate(network, &settings, 0.0).expect("plays").warnings;
        let warning = "`composite_calibrated` is null for 1 of 2 answers; they are paid by the consensus";
        assert!(warnings(&network).iter().any(|found| found == warning), "{:?}", warnings(&network));
        // What nobody has scored is paid by nothing.
        (0..3).for_each(|evaluator| network.table.set(0, 0, evaluator, f64::NAN));
        assert!(!warnings(&network).iter().any(|found| found.contains("null")), "{:?}", warnings(&network));
        network.signals[0].1.fill(f64::NAN);
        let error = Mechanism::new(&network, &settings).err().expect("refused").to_string();
        assert!(
            error.starts_with("`simulation.quality` is `composite_calibrated`, which is null for every"),
            "{error}"
        );
        assert!(error.ends_with("hint: the warnings of `poq signals` say why"), "{error}");
    }

    #[test]
    fn evaluators_without_a_score_are_left_out() {
        let mut network = network();
        network.table.set(0, 0, 1, f64::NAN);
        let settled = settle(&network, &Simulation::default(), (0, 0, 0));
        assert_eq!((settled.evaluators.as_slice(), settled.skipped), ([0, 2].as_slice(), 1));
        assert_close(&[settled.consensus], &[5.5]);
        network.table.set(0, 0, 0, f64::NAN);
        network.table.set(0, 0, 2, f64::NAN);
        assert!(settle(&network, &Simulation::default(), (0, 0, 0)).is_void());
    }
}
