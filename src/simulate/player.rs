//! Rounds one after another with whatever they remember: trust, what nodes have earned, load. For rules with memory, for
//! configurations with too many outcomes to count, and for the log of rounds.

use crate::settings::Simulation;
use crate::settings::mechanism::Policy;
use crate::simulate::mechanism::{Mechanism, Settled};
use crate::simulate::rng::Stream;
use crate::simulate::round::{Round, Rounds};
use crate::simulate::schedule::{Load, Scheduler};
use crate::simulate::trust::{Saturation, Weights};

/// One replicate being played, or one block of it where rounds remember nothing.
pub struct Player<'a> {
    mechanism: &'a Mechanism<'a>,
    rounds: Rounds<'a>,
    settled: Settled,
    trust: Option<Weights>,
    scheduler: Option<Scheduler>,
    load: Option<Load>,
    others: Vec<f64>,
}

/// What a replicate knows when it ends.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Memory {
    /// Weight of each evaluator; empty where they do not learn.
    pub weights: Vec<f64>,
    /// How far weights have stopped to differ; none where they do not learn.
    pub saturation: Option<Saturation>,
    /// The round since which the same inference node was chosen most often.
    pub settled_at: Option<u64>,
}

/// Whether rounds depend on those before them.
#[must_use]
pub fn has_memory(settings: &Simulation) -> bool {
    settings.consensus.trust.is_some() || settings.schedule.policy != Policy::Uniform || settings.congestion.is_some()
}

impl<'a> Player<'a> {
    /// Before the first round of a stream.
    #[must_use]
    pub fn new(mechanism: &'a Mechanism<'a>, settings: &Simulation, stream: Stream) -> Self {
        let models = mechanism.network.models.len();
        let adaptive = settings.schedule.policy != Policy::Uniform;
        let tasks = mechanism.network.table.tasks();
        let (low, high) = mechanism.prices.bounds(largest_congestion(settings, models));
        Self {
            rounds: Rounds::new(tasks, &mechanism.strategies, &mechanism.law, stream),
            settled: Settled::default(),
            trust: settings.consensus.trust.as_ref().map(|trust| Weights::new(trust, &mechanism.stakes)),
            scheduler: adaptive.then(|| Scheduler::new(&settings.schedule, models, high - low)),
            load: settings.congestion.as_ref().map(|congestion| Load::new(congestion, models)),
            others: Vec::new(),
            mechanism,
        }
    }

    /// Plays a round: draws it, settles it and remembers what has to be remembered.
    #[inline]
    pub fn play(&mut self) -> (&Round, &Settled) {
        match &mut self.scheduler {
            None => {
                self.rounds.draw();
            }
            Some(scheduler) => {
                let model = scheduler.choose(self.rounds.stream());
                self.rounds.draw_for(model);
            }
        }
        let &Round { task, model, branch, ref members, .. } = self.rounds.round();
        let weights = self.trust.as_ref().map_or(self.mechanism.stakes.as_slice(), Weights::get);
        let congestion = self.load.as_ref().map_or(1.0, |load| load.factor(model));
        let settled = &mut self.settled;
        self.mechanism.settle((task, model, branch), members, weights, congestion, settled);
        if let Some(scheduler) = &mut self.scheduler {
            scheduler.learn(model, (!settled.is_void()).then_some(settled.reward));
        }
        if let Some(load) = &mut self.load {
            load.learn(model);
        }
        if let Some(trust) = &mut self.trust {
            if settled.is_void() {
                trust.pass();
            } else if trust.wants_the_others() {
                self.mechanism.deviations_from_others(settled, &mut self.others);
                trust.learn(settled.evaluators.iter().copied(), &self.others);
            } else {
                trust.learn(settled.evaluators.iter().copied(), &settled.deviations);
            }
        }
        (self.rounds.round(), &self.settled)
    }

    /// What it knows now.
    #[must_use]
    pub fn memory(&self) -> Memory {
        Memory {
            weights: self.trust.as_ref().map_or_else(Vec::new, |trust| trust.get().to_vec()),
            saturation: self.trust.as_ref().map(Weights::saturation),
            settled_at: self.scheduler.as_ref().map(Scheduler::settled_at),
        }
    }
}

/// The largest factor on `beta_F` that these settings can come to.
#[must_use]
pub fn largest_congestion(settings: &Simulation, models: usize) -> f64 {
    settings.congestion.as_ref().map_or(1.0, |congestion| Load::new(congestion, models).largest_factor())
}
