//! The closed form: what the simulation converges to, without simulating. Rounds are independent and alike, so the mean
//! per job tends to E[sum per round] / E[jobs per round], a ratio of expectations and not a mean of ratios: a record counts
//! for a node as often as it gives that node a job. Variances follow in the same way.

use crate::settings::Simulation;
use crate::settings::mechanism::{Rule, Shape};
use crate::simulate::mechanism::{Mechanism, Settled};
use crate::simulate::outcomes::for_each_mix;
use crate::simulate::strategy::{Branch, Report};
use crate::simulate::tally::deviation;
use crate::simulate::{Stopped, Watch};
use rayon::prelude::*;

/// Mean and standard deviation of a node's reward per job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// Mean.
    pub mean: f64,
    /// Standard deviation; none where only the mean is tractable.
    pub deviation: Option<f64>,
}

/// What each node can expect; none for a node that never has a job, and for those whose expectation takes too long.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    /// Inference nodes.
    pub models: Vec<Option<Moment>>,
    /// Evaluators.
    pub evaluators: Vec<Option<Moment>>,
    /// Why something is missing here, if it is.
    pub missing: Option<Missing>,
}

impl Expected {
    /// The mean of every node, inference nodes first.
    pub fn means(&self) -> impl Iterator<Item = Option<f64>> {
        self.models.iter().chain(&self.evaluators).map(|moment| moment.map(|moment| moment.mean))
    }
}

/// Why there is no closed form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Rounds depend on those before them.
    Memory,
    /// Too many outcomes to weigh.
    Outcomes,
}

/// Sums over outcomes of probability, reward and squared reward, by node.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    models: Vec<[f64; 3]>,
    evaluators: Vec<[f64; 3]>,
}

impl Moments {
    /// Nothing weighed yet.
    #[must_use]
    pub fn empty(mechanism: &Mechanism) -> Self {
        Self {
            models: vec![[0.0; 3]; mechanism.network.models.len()],
            evaluators: vec![[0.0; 3]; mechanism.network.evaluators.len()],
        }
    }

    /// One outcome of an inference node and its probability, up to a factor that all outcomes have in common.
    #[inline]
    pub fn add(&mut self, model: usize, settled: &Settled, probability: f64) {
        if settled.is_void() {
            return;
        }
        let weigh = |into: &mut [f64; 3], reward: f64| {
            into[0] += probability;
            into[1] += probability * reward;
            into[2] += probability * reward * reward;
        };
        weigh(&mut self.models[model], settled.reward);
        for (&evaluator, &reward) in settled.evaluators.iter().zip(&settled.rewards) {
            weigh(&mut self.evaluators[evaluator], reward);
        }
    }

    fn merge(mut self, other: &Self) -> Self {
        let both = self.models.iter_mut().zip(&other.models);
        for (into, from) in both.chain(self.evaluators.iter_mut().zip(&other.evaluators)) {
            into.iter_mut().zip(from).for_each(|(into, from)| *into += from);
        }
        self
    }

    /// The means and standard deviations per job.
    #[must_use]
    pub fn expected(&self) -> Expected {
        let of = |sums: &[[f64; 3]]| {
            let moment = |&[weight, sum, squares]: &[f64; 3]| {
                (weight > 0.0).then(|| {
                    let mean = sum / weight;
                    Moment { mean, deviation: Some(deviation(squares / weight, mean)) }
                })
            };
            sums.iter().map(moment).collect()
        };
        Expected { models: of(&self.models), evaluators: of(&self.evaluators), missing: None }
    }
}

/// Expectations of a configuration without memory, whose outcomes are too many to keep, by weighing every one of them as
/// long as that takes no more than `steps` scores; the means of inference nodes alone where it would and they are simple. Stops
/// early when it is asked to.
pub fn enumerate(mechanism: &Mechanism, settings: &Simulation, steps: f64, watch: Watch) -> Result<Expected, Stopped> {
    if outcomes_to_weigh(mechanism) > steps {
        return Ok(means_alone(mechanism, settings));
    }
    let (tasks, models) = (mechanism.network.table.tasks(), mechanism.network.models.len());
    // Blocks of records that do not depend on the number of threads, merged in their order.
    let block = tasks.div_ceil(64).max(1);
    let blocks: Result<Vec<Moments>, Stopped> = (0..tasks.div_ceil(block))
        .into_par_iter()
        .map(|i| {
            let mut moments = Moments::empty(mechanism);
            let mut settled = Settled::default();
            let mut members = Vec::new();
            for task in i * block..((i + 1) * block).min(tasks) {
                for model in 0..models {
                    watch.go_on()?;
                    for (branch, act) in mechanism.strategies.models[model].branches.iter().enumerate() {
                        mechanism.law.for_each(|subset, probability| {
                            for_each_mix(mechanism, subset, &mut members, |members, share| {
                                let round = (task, model, branch);
                                mechanism.settle(round, members, &mechanism.stakes, 1.0, &mut settled);
                                moments.add(model, &settled, act.probability * probability * share);
                            });
                        });
                    }
                }
            }
            Ok(moments)
        })
        .collect();
    Ok(blocks?.iter().fold(Moments::empty(mechanism), Moments::merge).expected())
}

/// Scores that [`enumerate`] would look at.
fn outcomes_to_weigh(mechanism: &Mechanism) -> f64 {
    let cells: f64 = mechanism.strategies.models.iter().map(|node| node.branches.len() as f64).sum::<f64>()
        * mechanism.network.table.tasks() as f64;
    // Sum over subsets of the product of branches: elementary symmetric polynomials of the numbers of branches.
    let (k_min, k_max) = mechanism.law.k();
    let mut symmetric = vec![0.0; k_max + 1];
    symmetric[0] = 1.0;
    for node in &mechanism.strategies.evaluators {
        for k in (1..=k_max).rev() {
            symmetric[k] += symmetric[k - 1] * node.branches.len() as f64;
        }
    }
    // Leaving each member out in turn looks at everybody once more for each.
    let looks = |k: usize| (if mechanism.leaves_one_out() { k * (k + 1) } else { k }) as f64;
    cells * (k_min..=k_max).map(|k| symmetric[k] * looks(k)).sum::<f64>()
}

/// Under the mean with equal weights, a linear reward and reports that do not depend on each other, the expected quality of
/// a cell is the mean of its evaluators' expected reports, whatever K is: inference nodes need no subsets.
fn means_alone(mechanism: &Mechanism, settings: &Simulation) -> Expected {
    let network = mechanism.network;
    let nothing = Expected {
        models: vec![None; network.models.len()],
        evaluators: vec![None; network.evaluators.len()],
        missing: Some(Missing::Outcomes),
    };
    let equal_weights = mechanism.stakes.iter().all(|stake| (stake - mechanism.stakes[0]).abs() < f64::EPSILON);
    // Who copies depends on the others; who looks only at times is at times there where it has no score.
    let depends = mechanism.strategies.evaluators.iter().any(|node| {
        let looks = |branch: &Branch<Report>| branch.action.looks();
        node.branches.iter().any(|branch| matches!(branch.action, Report::Copy(_)))
            || node.branches.iter().any(looks) && !node.branches.iter().all(looks)
    });
    let simple = settings.consensus.rule == Rule::Mean && equal_weights && settings.rewards.shape != Shape::Threshold;
    if !simple || depends {
        return nothing;
    }
    let table = &network.table;
    let mean_of = |model: usize| {
        let (mut weight, mut sum) = (0.0, 0.0);
        for task in 0..table.tasks() {
            for act in &mechanism.strategies.models[model].branches {
                let judged = table.cell(task, act.action);
                let expected_report = |evaluator: usize| {
                    let honest = table.score(judged, evaluator);
                    let branches = &mechanism.strategies.evaluators[evaluator].branches;
                    branches.iter().map(|branch| branch.probability * branch.action.of(honest, model)).sum::<f64>()
                };
                let reports: Vec<f64> =
                    (0..table.evaluators()).map(expected_report).filter(|report| !report.is_nan()).collect();
                if reports.is_empty() {
                    continue;
                }
                let mean = || reports.iter().sum::<f64>() / reports.len() as f64 / 10.0;
                let quality = mechanism.signal(judged).unwrap_or_else(mean);
                let probability = act.probability * (1.0 - mechanism.law.none_of(reports.len()));
                weight += probability;
                sum += probability * mechanism.prices.inference(task, model, quality, 1.0, act.caught);
            }
        }
        (weight > 0.0).then(|| Moment { mean: sum / weight, deviation: None })
    };
    Expected { models: (0..network.models.len()).map(mean_of).collect(), ..nothing }
}
