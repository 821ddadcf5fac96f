//! Playing all replicates: by counting outcomes where rounds remember nothing and have few enough, else round by round.

use crate::settings::Simulation;
use crate::simulate::distribution::{Histograms, quantiles};
use crate::simulate::expected::{self, Expected, Missing};
use crate::simulate::mechanism::Mechanism;
use crate::simulate::outcomes::{Layout, Outcomes};
use crate::simulate::player::{Memory, Player, has_memory, largest_congestion};
use crate::simulate::rng::Stream;
use crate::simulate::round::Rounds;
use crate::simulate::tally::Replicate;
use rayon::prelude::*;

/// Rounds that share a random stream where rounds remember nothing, so that they can be played side by side.
pub const BLOCK: u64 = 1 << 20;

/// Rounds played one by one between two looks at who watches.
const SPELL: u64 = 4096;

/// Quantiles of rewards that are reported.
const SHARES: [f64; 3] = [0.05, 0.5, 0.95];

/// The closed form, and the settled outcomes where they are few enough to be counted.
pub struct Expectation {
    /// What each node can expect.
    pub closed: Expected,
    outcomes: Option<Outcomes>,
}

/// All replicates.
pub struct Played {
    /// The sums of each, in order.
    pub replicates: Vec<Replicate>,
    /// What each knew at its end.
    pub memories: Vec<Memory>,
    /// 5th, 50th and 95th percentile of each node's reward, inference nodes first.
    pub quantiles: Vec<Option<[f64; 3]>>,
}

impl Expectation {
    /// Weighs the outcomes of a configuration, looking at about `steps` scores at most, unless it is stopped.
    pub fn of(mechanism: &Mechanism, settings: &Simulation, steps: f64, watch: Watch) -> Result<Self, Stopped> {
        if has_memory(settings) {
            let network = mechanism.network;
            let closed = Expected {
                models: vec![None; network.models.len()],
                evaluators: vec![None; network.evaluators.len()],
                missing: Some(Missing::Memory),
            };
            return Ok(Self { closed, outcomes: None });
        }
        // Counting pays where every outcome is drawn more than now and then.
        let layout = Layout::new(mechanism).filter(|layout| layout.count() as u64 / 8 <= settings.rounds);
        Ok(match layout {
            Some(layout) => {
                let (outcomes, moments) = Outcomes::settle(mechanism, layout, watch)?;
                Self { closed: moments.expected(), outcomes: Some(outcomes) }
            }
            None => Self { closed: expected::enumerate(mechanism, settings, steps, watch)?, outcomes: None },
        })
    }
}

/// Who watches a simulation, from whatever thread plays.
#[derive(Clone, Copy)]
pub struct Watch<'a> {
    /// Told how many rounds are done since the last call.
    pub advance: &'a (dyn Fn(u64) + Sync),
    /// Asked whether to stop.
    pub stopped: &'a (dyn Fn() -> bool + Sync),
}

impl Watch<'static> {
    /// Nobody watches.
    pub const NOBODY: Self = Self { advance: &|_| {}, stopped: &|| false };
}

impl Watch<'_> {
    /// An error once a stop was asked for.
    pub fn go_on(&self) -> Result<(), Stopped> {
        if (self.stopped)() { Err(Stopped) } else { Ok(()) }
    }
}

/// The error of work that ended because whoever watched it asked for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped;

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("stopped")
    }
}

impl std::error::Error for Stopped {}

/// Plays every replicate; what comes back after a stop is not whole.
#[must_use]
pub fn play(mechanism: &Mechanism, settings: &Simulation, expectation: &Expectation, watch: Watch) -> Played {
    match &expectation.outcomes {
        Some(outcomes) => count(mechanism, settings, outcomes, watch),
        None => step(mechanism, settings, watch),
    }
}

/// The blocks of a replicate: number and rounds of each. One block where rounds remember those before them.
pub fn blocks(settings: &Simulation) -> impl Iterator<Item = (u32, u64)> + use<> {
    let (rounds, size) = (settings.rounds, if has_memory(settings) { u64::MAX } else { BLOCK });
    let count = rounds.div_ceil(size);
    (0..count).map(move |block| (block as u32, size.min(rounds - block * size)))
}

fn count(mechanism: &Mechanism, settings: &Simulation, outcomes: &Outcomes, watch: Watch) -> Played {
    let size = outcomes.layout().count();
    let add = |mut into: Vec<u64>, from: &[u64]| {
        into.iter_mut().zip(from).for_each(|(into, from)| *into += from);
        into
    };
    let of_replicate = |replicate: u32| -> Vec<u64> {
        let of_block = |mut counts: Vec<u64>, (block, rounds): (u32, u64)| {
            if !(watch.stopped)() {
                let stream = Stream::of_block(settings.seed, replicate, block);
                count_block(mechanism, outcomes.layout(), stream, rounds, &mut counts);
                (watch.advance)(rounds);
            }
            counts
        };
        let mut blocks: Vec<(u32, u64)> = blocks(settings).collect();
        if blocks.len() == 1 {
            return of_block(vec![0; size], blocks.remove(0));
        }
        blocks.into_par_iter().fold(|| vec![0; size], of_block).reduce(|| vec![0; size], |a, b| add(a, &b))
    };
    // Counts add up to the same whatever the order; replicates are put back in theirs.
    let empty = || (vec![0_u64; size], Vec::new());
    let (total, mut replicates) = (0..settings.replicates)
        .into_par_iter()
        .fold(empty, |(total, mut replicates), number| {
            let counts = of_replicate(number);
            replicates.push((number, outcomes.replicate(mechanism, &counts)));
            (add(total, &counts), replicates)
        })
        .reduce(empty, |(total, mut replicates), (other, more)| {
            replicates.extend(more);
            (add(total, &other), replicates)
        });
    replicates.sort_unstable_by_key(|(number, _)| *number);
    let mut rewards = outcomes.rewards_of_nodes(mechanism, &total);
    Played {
        memories: vec![Memory::default(); replicates.len()],
        replicates: replicates.into_iter().map(|(_, replicate)| replicate).collect(),
        quantiles: rewards.par_iter_mut().map(|rewards| quantiles(rewards, SHARES)).collect(),
    }
}

fn count_block(mechanism: &Mechanism, layout: &Layout, stream: Stream, rounds: u64, counts: &mut [u64]) {
    let (tasks, slots) = (mechanism.network.table.tasks(), mechanism.law.slots());
    let mut sequence = Rounds::new(tasks, &mechanism.strategies, &mechanism.law, stream);
    let plain = layout.plain().filter(|&per_cell| slots.len() <= 4 * per_cell);
    let Some(per_cell) = plain else {
        for _ in 0..rounds {
            counts[layout.number(sequence.draw())] += 1;
        }
        return;
    };
    if slots.len() == per_cell {
        // Subsets of one size are their own slots.
        sequence.count_places(rounds, counts);
        return;
    }
    let mut places = vec![0; counts.len() / per_cell * slots.len()];
    sequence.count_places(rounds, &mut places);
    for (cell, places) in places.chunks_exact(slots.len()).enumerate() {
        for (&subset, count) in slots.iter().zip(places) {
            counts[cell * per_cell + subset as usize] += count;
        }
    }
}

/// The least and the most that each node can earn in a round, inference nodes first.
fn bounds(mechanism: &Mechanism, congestion: f64) -> Vec<(f64, f64)> {
    let (strategies, prices) = (&mechanism.strategies, &mechanism.prices);
    let models = strategies.models.iter().enumerate().map(|(model, node)| {
        prices.bounds_of_model(model, congestion, node.branches.iter().any(|branch| branch.caught))
    });
    let evaluators = strategies.evaluators.iter().enumerate().map(|(evaluator, node)| {
        prices.bounds_of_evaluator(evaluator, node.branches.iter().any(|branch| branch.caught))
    });
    models.chain(evaluators).collect()
}

fn step(mechanism: &Mechanism, settings: &Simulation, watch: Watch) -> Played {
    let network = mechanism.network;
    let (models, nodes) = (network.models.len(), network.models.len() + network.evaluators.len());
    let bounds = bounds(mechanism, largest_congestion(settings, models));
    let tasks: Vec<(u32, u32, u64)> = (0..settings.replicates)
        .flat_map(|replicate| blocks(settings).map(move |(block, rounds)| (replicate, block, rounds)))
        .collect();
    let empty = || (Histograms::new(&bounds), Vec::new());
    let (histograms, mut parts) = tasks
        .into_par_iter()
        .fold(empty, |(mut histograms, mut parts), (replicate, block, rounds)| {
            let stream = Stream::of_block(settings.seed, replicate, block);
            let mut player = Player::new(mechanism, settings, stream);
            let mut sums = Replicate::empty(mechanism);
            let mut left = rounds;
            while left > 0 && !(watch.stopped)() {
                // Summed on their own first, so that rounding grows with thousands of additions and not with all of them.
                let mut spell = Replicate::empty(mechanism);
                for _ in 0..left.min(SPELL) {
                    let (round, settled) = player.play();
                    spell.add_round(mechanism, round.model, settled);
                    if !settled.is_void() {
                        histograms.record(round.model, settled.reward);
                        for (&evaluator, &reward) in settled.evaluators.iter().zip(&settled.rewards) {
                            histograms.record(models + evaluator, reward);
                        }
                    }
                }
                sums.add(&spell);
                (watch.advance)(left.min(SPELL));
                left -= left.min(SPELL);
            }
            parts.push((replicate, block, sums, player.memory()));
            (histograms, parts)
        })
        .reduce(empty, |(mut histograms, mut parts), (other, more)| {
            histograms.add(&other);
            parts.extend(more);
            (histograms, parts)
        });
    parts.sort_unstable_by_key(|&(replicate, block, ..)| (replicate, block));
    let mut played = Played {
        replicates: Vec::new(),
        memories: Vec::new(),
        quantiles: (0..nodes).map(|node| histograms.quantiles(node, SHARES)).collect(),
    };
    for (_, block, sums, memory) in parts {
        match played.replicates.last_mut() {
            Some(replicate) if block > 0 => replicate.add(&sums),
            _ => {
                played.replicates.push(sums);
                played.memories.push(memory);
            }
        }
    }
    played
}
