//! What nodes do, honest or not: who attacks, what each evaluator reports and each inference node answers with, and what
//! they declare their work to cost. A strategy has finitely many branches, so that a round has finitely many outcomes.

mod attacks;
mod behaviour;

pub use attacks::NOISE_LEVELS;
pub use behaviour::{Behaviour, Branch, HONEST, Report};

use crate::settings::Simulation;
use crate::settings::mechanism::{EvaluatorStrategy, InferenceStrategy};
use crate::simulate::network::Network;
use anyhow::{Result, ensure};
use attacks::{attackers, label, model_index, reports};

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

/// Says that there is no such node, and which one may have been meant.
pub(in crate::simulate) fn unknown<'a>(kind: &str, name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    match crate::suggest::nearest(name, known.iter().copied()) {
        Some(near) => format!("there is no {kind} `{name}`; did you mean `{near}`?"),
        None => format!("there is no {kind} `{name}`; there are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::attacks::standard_normal_levels;
    use super::*;
    use crate::settings::mechanism::EvaluatorAttack;
    use crate::simulate::rng::Stream;
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
