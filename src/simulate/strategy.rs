//! What nodes do, honest or not: who attacks, what each evaluator reports and each inference node answers with, and what
//! they declare their work to cost. A strategy has finitely many branches, so that a round has finitely many outcomes.

use crate::settings::Simulation;
use crate::settings::mechanism::{EvaluatorAttack, EvaluatorStrategy, InferenceStrategy};
use crate::simulate::network::Network;
use crate::simulate::rng::Stream;
use anyhow::{Result, bail, ensure};
use statrs::distribution::{ContinuousCDF, Normal};

/// Values that stand for a normal distribution wherever one is drawn from: means of 32 slices of equal probability,
/// scaled to a variance of one. Finitely many, so that the closed form is exact.
pub const NOISE_LEVELS: usize = 32;

/// Label of nodes that do as they should.
pub const HONEST: &str = "honest";

/// What an evaluator reports, given the score s that it would report if it were honest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Report {
    /// s.
    Honest,
    /// s plus a number of points, cut to 0..10.
    Shift(f64),
    /// The same when the round's inference node is this one; s otherwise.
    Favour(usize, f64),
    /// Always the same, without looking.
    Constant(f64),
    /// The mean of what those report who look; this where nobody does.
    Copy(f64),
}

impl Report {
    /// What is reported about an answer of `model`. Copies are filled in by the round.
    #[inline]
    #[must_use]
    pub fn of(self, honest: f64, model: usize) -> f64 {
        match self {
            Self::Shift(by) => (honest + by).clamp(0.0, 10.0),
            Self::Favour(target, by) if target == model => (honest + by).clamp(0.0, 10.0),
            Self::Honest | Self::Favour(..) => honest,
            Self::Constant(score) | Self::Copy(score) => score,
        }
    }

    /// Whether the evaluator runs its model for this.
    #[must_use]
    pub fn looks(self) -> bool {
        !matches!(self, Self::Constant(_) | Self::Copy(_))
    }
}

/// One thing that a node may do in a round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Branch<T> {
    /// Its probability; those of all branches of a node add up to 1.
    pub probability: f64,
    /// What it does.
    pub action: T,
    /// Whether an audit catches it with a false cost.
    pub caught: bool,
}

/// All that a node may do, and how it is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Behaviour<T> {
    /// `honest`, or its strategies joined by `+`.
    pub label: String,
    /// Its declared cost is this many times the true one.
    pub declared: f64,
    /// What it may do.
    pub branches: Vec<Branch<T>>,
    /// Probability of the branches up to and with each.
    cumulative: Vec<f64>,
}

impl<T: Copy> Behaviour<T> {
    fn new(action: T) -> Self {
        let branches = vec![Branch { probability: 1.0, action, caught: false }];
        Self { label: HONEST.to_owned(), declared: 1.0, branches, cumulative: vec![1.0] }
    }

    /// Whether it does as it should.
    #[must_use]
    pub fn is_honest(&self) -> bool {
        self.label == HONEST
    }

    /// Draws a branch; takes no random number where there is only one.
    #[inline]
    pub fn draw(&self, stream: &mut Stream) -> usize {
        if self.branches.len() == 1 {
            return 0;
        }
        let at = stream.unit();
        self.cumulative.partition_point(|&up_to| up_to <= at).min(self.branches.len() - 1)
    }

    fn adopt(&mut self, label: &str) {
        self.label = if self.is_honest() { label.to_owned() } else { format!("{}+{label}", self.label) };
    }

    /// Replaces what is done by `branches` with a probability, and leaves it as it is otherwise.
    fn mix(&mut self, probability: f64, branches: &[(f64, T)]) {
        let kept = self.branches.iter().map(|branch| (branch.probability * (1.0 - probability), branch.action));
        let new = branches.iter().map(|&(share, action)| (share * probability, action));
        self.set(new.chain(kept).map(|(probability, action)| Branch { probability, action, caught: false }).collect());
    }

    /// Splits every branch into one that is audited and one that is not.
    fn audit(&mut self, probability: f64) {
        let split = self.branches.iter().flat_map(|&branch| {
            let part = |caught, share| Branch { probability: branch.probability * share, caught, ..branch };
            [part(true, probability), part(false, 1.0 - probability)]
        });
        self.set(split.collect());
    }

    fn set(&mut self, branches: Vec<Branch<T>>) {
        self.branches = branches.into_iter().filter(|branch| branch.probability > 0.0).collect();
        let mut total = 0.0;
        self.cumulative = self
            .branches
            .iter()
            .map(|branch| {
                total += branch.probability;
                total
            })
            .collect();
    }
}

/// What everybody does.
#[derive(Debug, Clone, PartialEq)]
pub struct Strategies {
    /// By inference node: whose answers it gives.
    pub models: Vec<Behaviour<usize>>,
    /// By evaluator: what it reports.
    pub evaluators: Vec<Behaviour<Report>>,
}

impl Strategies {
    /// Who does what in this network. Refuses nodes that there are not, and two false reports by one evaluator.
    pub fn of(network: &Network, settings: &Simulation) -> Result<Self> {
        let mut models: Vec<Behaviour<usize>> = (0..network.models.len()).map(Behaviour::new).collect();
        let mut evaluators = vec![Behaviour::new(Report::Honest); network.evaluators.len()];
        let guess = network.table.mean().unwrap_or(5.0);
        for (i, attack) in settings.evaluator_attacks.iter().enumerate() {
            let entry = format!("`simulation.evaluator_attacks`, entry {}", i + 1);
            for evaluator in attackers(attack, network, &evaluators, settings.seed, i, &entry)? {
                let label = label(attack);
                let behaviour = &mut evaluators[evaluator];
                if attack.strategy == EvaluatorStrategy::Misreport {
                    ensure!(
                        (behaviour.declared - 1.0).abs() < f64::EPSILON,
                        "{entry}: evaluator `{}` misreports its cost twice",
                        network.evaluators[evaluator].key
                    );
                    behaviour.declared = attack.strength();
                } else {
                    behaviour.mix(attack.probability.unwrap_or(1.0), &reports(attack, network, guess, &entry)?);
                }
                behaviour.adopt(label);
            }
        }
        for (i, attack) in settings.inference_attacks.iter().enumerate() {
            let entry = format!("`simulation.inference_attacks`, entry {}", i + 1);
            let model = model_index(network, &attack.node, &entry)?;
            let behaviour = &mut models[model];
            if let Some(with) = &attack.with {
                let with = model_index(network, with, &entry)?;
                ensure!(
                    behaviour.branches.len() == 1 && behaviour.branches[0].action == model,
                    "{entry}: inference node `{}` swaps twice",
                    attack.node
                );
                behaviour.mix(attack.probability.unwrap_or(1.0), &[(1.0, with)]);
                behaviour.adopt("swap");
            } else {
                ensure!(
                    (behaviour.declared - 1.0).abs() < f64::EPSILON,
                    "{entry}: inference node `{}` misreports its cost twice",
                    attack.node
                );
                behaviour.declared = attack.strength();
                behaviour.adopt("misreport");
            }
            debug_assert!(attack.strategy == InferenceStrategy::Swap || attack.with.is_none());
        }
        Ok(Self { models, evaluators })
    }

    /// Lets a share of all jobs be audited: who declares another cost than its own is caught then. A node whose cost is 0
    /// cannot lie by a factor.
    pub fn audit(&mut self, probability: f64, model_costs: &[f64], evaluator_costs: &[f64]) {
        fn of_pool<T: Copy>(nodes: &mut [Behaviour<T>], costs: &[f64], probability: f64) {
            for (node, &cost) in nodes.iter_mut().zip(costs) {
                if (cost * node.declared - cost).abs() > 0.0 {
                    node.audit(probability);
                }
            }
        }
        if probability > 0.0 {
            of_pool(&mut self.models, model_costs, probability);
            of_pool(&mut self.evaluators, evaluator_costs, probability);
        }
    }
}

/// What the table of rewards calls it.
fn label(attack: &EvaluatorAttack) -> &'static str {
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
fn reports(attack: &EvaluatorAttack, network: &Network, guess: f64, entry: &str) -> Result<Vec<(f64, Report)>> {
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
fn attackers(
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

fn model_index(network: &Network, key: &str, entry: &str) -> Result<usize> {
    match network.models.iter().position(|node| node.key == key) {
        Some(index) => Ok(index),
        None => {
            bail!("{entry}: {}", unknown("inference node", key, network.models.iter().map(|node| node.key.as_str())))
        }
    }
}

pub(super) fn unknown<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    match crate::suggest::nearest(name, known.iter().copied()) {
        Some(near) => format!("there is no {kind} `{name}`; did you mean `{near}`?"),
        None => format!("there is no {kind} `{name}`; there are {}", known.join(", ")),
    }
}

/// Means of [`NOISE_LEVELS`] slices of the standard normal distribution, each of the same probability, scaled to variance 1.
fn standard_normal_levels() -> Vec<f64> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::tests::random_network;

    fn attack(strategy: EvaluatorStrategy) -> EvaluatorAttack {
        EvaluatorAttack {
            strategy,
            share: None,
            count: None,
            nodes: Some(vec!["m1".into()]),
            strength: None,
            probability: None,
            target: None,
            commit_reveal: None,
        }
    }

    fn of(attacks: Vec<EvaluatorAttack>) -> Result<Strategies> {
        let network = random_network(1, (4, 3, 5), 0);
        Strategies::of(&network, &Simulation { evaluator_attacks: attacks, ..Simulation::default() })
    }

    fn error(attacks: Vec<EvaluatorAttack>) -> String {
        of(attacks).expect_err("refused").to_string()
    }

    #[test]
    fn levels_have_mean_zero_and_variance_one() {
        let levels = standard_normal_levels();
        let moment = |power| levels.iter().map(|level: &f64| level.powi(power)).sum::<f64>() / NOISE_LEVELS as f64;
        assert!(moment(1).abs() < 1e-12 && (moment(2) - 1.0).abs() < 1e-12 && moment(3).abs() < 1e-9);
        assert!(levels.is_sorted() && levels[31] > 2.0 && levels[31] < 2.6, "{}", levels[31]);
    }

    #[test]
    fn reports_stay_on_the_scale() {
        assert!((Report::Shift(3.0).of(8.0, 0) - 10.0).abs() < 1e-12);
        assert!(Report::Shift(-3.0).of(2.0, 0).abs() < 1e-12);
        assert_eq!((Report::Favour(1, 2.0).of(5.0, 1), Report::Favour(1, 2.0).of(5.0, 0)), (7.0, 5.0));
        assert!(!Report::Copy(5.0).looks() && Report::Shift(1.0).looks());
    }

    #[test]
    fn intermittent_attackers_are_honest_in_between() {
        let noise = EvaluatorAttack { probability: Some(0.25), ..attack(EvaluatorStrategy::Noise) };
        let strategies = of(vec![noise]).expect("sound");
        let behaviour = &strategies.evaluators[1];
        assert_eq!(behaviour.branches.len(), NOISE_LEVELS + 1);
        assert!((behaviour.cumulative[NOISE_LEVELS] - 1.0).abs() < 1e-12);
        assert!((behaviour.branches[NOISE_LEVELS].probability - 0.75).abs() < 1e-12);
        assert_eq!(behaviour.branches[NOISE_LEVELS].action, Report::Honest);
        assert_eq!((behaviour.label.as_str(), strategies.evaluators[0].is_honest()), ("noise", true));
        let mut stream = Stream::new(1, 0);
        let honest = (0..40_000).filter(|_| behaviour.draw(&mut stream) == NOISE_LEVELS).count();
        assert!(honest.abs_diff(30_000) < 400, "{honest} of 40000 honest, expected 30000 within 4.6 standard errors");
    }

    #[test]
    fn a_share_of_the_pool_is_drawn_once_and_without_overlap() {
        let some = |strategy, count| EvaluatorAttack { count: Some(count), nodes: None, ..attack(strategy) };
        let strategies = of(vec![some(EvaluatorStrategy::Boost, 2), some(EvaluatorStrategy::Lazy, 2)]).expect("sound");
        let labels = |label| strategies.evaluators.iter().filter(|node| node.label == label).count();
        assert_eq!((labels("boost"), labels("lazy"), labels(HONEST)), (2, 2, 1));
        let share = EvaluatorAttack { share: Some(0.4), nodes: None, ..attack(EvaluatorStrategy::Boost) };
        let again = of(vec![share]).expect("sound");
        for (a, b) in strategies.evaluators.iter().zip(&again.evaluators) {
            assert_eq!(a.label == "boost", b.label == "boost", "0.4 of 5 are 2, and the same 2");
        }
        let message = error(vec![some(EvaluatorStrategy::Boost, 3), some(EvaluatorStrategy::Lazy, 3)]);
        assert!(message.contains("entry 2: 3 attackers are wanted") && message.contains("has 2 left"), "{message}");
    }

    #[test]
    fn names_are_checked() {
        let named = |name: &str| EvaluatorAttack { nodes: Some(vec![name.into()]), ..attack(EvaluatorStrategy::Boost) };
        assert!(error(vec![named("m9")]).contains("there is no evaluator `m9`; did you mean"));
        let twice = error(vec![named("m1"), attack(EvaluatorStrategy::Lazy)]);
        assert!(twice.contains("evaluator `m1` has two ways to report"), "{twice}");
        let collusion = EvaluatorAttack { target: Some("nobody".into()), ..attack(EvaluatorStrategy::Collude) };
        assert!(error(vec![collusion]).contains("there is no inference node `nobody`; there are f0, f1, f2"));
    }

    #[test]
    fn liars_are_audited_and_others_are_not() {
        let network = random_network(1, (4, 3, 5), 0);
        let mut settings =
            Simulation { evaluator_attacks: vec![attack(EvaluatorStrategy::Misreport)], ..Simulation::default() };
        settings.audit.probability = 0.2;
        let mut strategies = Strategies::of(&network, &settings).expect("sound");
        strategies.evaluators[3].declared = 0.5;
        strategies.audit(0.2, &[0.0; 3], &[0.0, 0.25, 0.5, 0.0, 1.0]);
        assert_eq!(strategies.evaluators[3].branches.len(), 1, "half of nothing is no lie");
        let liar = &strategies.evaluators[1];
        assert_eq!((liar.label.as_str(), liar.branches.len()), ("misreport", 2));
        assert!(liar.branches[0].caught && (liar.branches[0].probability - 0.2).abs() < 1e-12);
        assert!((liar.declared - 0.5).abs() < 1e-12);
        assert_eq!(strategies.evaluators[0].branches.len(), 1);
    }
}
