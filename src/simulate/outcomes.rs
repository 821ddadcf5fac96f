//! All that can happen in a round. Without memory a round has finitely many outcomes: which record, inference node and
//! evaluators, and which of its branches each of them takes. They are settled once; a simulation then only counts how
//! often each was drawn, which gives exact means, variances and quantiles, and the closed form weighs each with its
//! probability.

use crate::simulate::expected::Moments;
use crate::simulate::mechanism::{Mechanism, Settled};
use crate::simulate::round::Round;
use crate::simulate::tally::Replicate;
use crate::simulate::{Stopped, Watch};

/// Most outcomes that are kept.
const MOST_OUTCOMES: f64 = (1 << 19) as f64;

/// Most rewards of their members that are kept.
const MOST_MEMBERS: f64 = (1 << 22) as f64;

/// How outcomes are numbered: record, inference node, its branch, subset, and the branches of the subset's members.
#[derive(Debug, Clone)]
pub struct Layout {
    tasks: usize,
    /// Outcomes of one record.
    per_task: usize,
    /// Outcomes of one branch of an inference node for one record.
    per_branch: usize,
    /// Where each inference node begins within a record.
    models: Vec<usize>,
    /// Where each subset begins within a branch.
    subsets: Vec<usize>,
    /// Branches of each evaluator.
    radices: Vec<usize>,
}

impl Layout {
    /// The numbering of a mechanism's outcomes; none where there are too many to keep.
    #[must_use]
    pub fn new(mechanism: &Mechanism) -> Option<Self> {
        let subsets = mechanism.law.subsets();
        if subsets.is_empty() {
            return None;
        }
        let radices: Vec<usize> = mechanism.strategies.evaluators.iter().map(|node| node.branches.len()).collect();
        let branches: Vec<usize> = mechanism.strategies.models.iter().map(|node| node.branches.len()).collect();
        let of_subset = |members: &[usize]| members.iter().map(|&member| radices[member] as f64).product::<f64>();
        let tasks = mechanism.network.table.tasks();
        let per_branch: f64 = subsets.iter().map(|(members, _)| of_subset(members)).sum();
        let total = per_branch * branches.iter().sum::<usize>() as f64 * tasks as f64;
        if total > MOST_OUTCOMES || total * mechanism.law.k().1 as f64 > MOST_MEMBERS {
            return None;
        }
        let starts = |sizes: &mut dyn Iterator<Item = usize>| -> Vec<usize> {
            sizes
                .scan(0, |next, size| {
                    let start = *next;
                    *next += size;
                    Some(start)
                })
                .collect()
        };
        let per_branch = per_branch as usize;
        Some(Self {
            tasks,
            per_task: per_branch * branches.iter().sum::<usize>(),
            per_branch,
            models: starts(&mut branches.iter().map(|count| count * per_branch)),
            subsets: starts(&mut subsets.iter().map(|(members, _)| of_subset(members) as usize)),
            radices,
        })
    }

    /// Outcomes in all.
    #[must_use]
    pub fn count(&self) -> usize {
        self.tasks * self.per_task
    }

    /// The number of a round's outcome.
    #[inline]
    #[must_use]
    pub fn number(&self, round: &Round) -> usize {
        let mix = round.members.iter().fold(0, |mix, &(member, branch)| mix * self.radices[member] + branch);
        let subset = round.subset.map_or(0, |subset| self.subsets[subset]);
        round.task * self.per_task + self.models[round.model] + round.branch * self.per_branch + subset + mix
    }

    /// Where the only outcome of a cell and a subset stands, where nobody has more than one branch: `cell` times this, plus
    /// the subset.
    #[must_use]
    pub fn plain(&self) -> Option<usize> {
        (self.per_task == self.models.len() * self.subsets.len()).then_some(self.per_branch)
    }
}

/// Every outcome, settled.
#[derive(Debug)]
pub struct Outcomes {
    layout: Layout,
    k_max: usize,
    /// Inference node by outcome.
    models: Vec<u32>,
    /// Subset by outcome.
    subsets: Vec<u32>,
    /// Judged cell by outcome.
    judged: Vec<u32>,
    /// Consensus by outcome, NaN in a void one.
    consensus: Vec<f64>,
    /// Reward of the inference node by outcome.
    rewards: Vec<f64>,
    /// Rewards of the members by outcome and place in the subset, NaN for those without a score.
    members: Vec<f64>,
}

impl Outcomes {
    /// Settles every outcome, and weighs each with its probability on the way, unless it is stopped.
    pub fn settle(mechanism: &Mechanism, layout: Layout, watch: Watch) -> Result<(Self, Moments), Stopped> {
        let (count, k_max) = (layout.count(), mechanism.law.k().1);
        let mut outcomes = Self {
            models: Vec::with_capacity(count),
            subsets: Vec::with_capacity(count),
            judged: Vec::with_capacity(count),
            consensus: Vec::with_capacity(count),
            rewards: Vec::with_capacity(count),
            members: vec![f64::NAN; count * k_max],
            k_max,
            layout,
        };
        let mut moments = Moments::empty(mechanism);
        let mut settled = Settled::default();
        let mut members = Vec::new();
        let (tasks, models) = (mechanism.network.table.tasks(), mechanism.network.models.len());
        for (task, model) in (0..tasks).flat_map(|task| (0..models).map(move |model| (task, model))) {
            watch.go_on()?;
            for (branch, act) in mechanism.strategies.models[model].branches.iter().enumerate() {
                for (number, (subset, _)) in mechanism.law.subsets().iter().enumerate() {
                    let probability = act.probability * mechanism.law.probability(number);
                    for_each_mix(mechanism, subset, &mut members, |members, share| {
                        mechanism.settle((task, model, branch), members, &mechanism.stakes, 1.0, &mut settled);
                        outcomes.push(model, number, subset, &settled);
                        moments.add(model, &settled, probability * share);
                    });
                }
            }
        }
        debug_assert_eq!(outcomes.rewards.len(), count);
        Ok((outcomes, moments))
    }

    fn push(&mut self, model: usize, number: usize, subset: &[usize], settled: &Settled) {
        let start = self.rewards.len() * self.k_max;
        self.models.push(model as u32);
        self.subsets.push(number as u32);
        self.judged.push(settled.judged as u32);
        self.consensus.push(if settled.is_void() { f64::NAN } else { settled.consensus });
        self.rewards.push(settled.reward);
        // Those that reported are a subsequence of those that were drawn.
        let mut reported = settled.evaluators.iter().zip(&settled.rewards).peekable();
        for (place, member) in subset.iter().enumerate() {
            if let Some((_, &reward)) = reported.next_if(|(evaluator, _)| *evaluator == member) {
                self.members[start + place] = reward;
            }
        }
    }

    /// How outcomes are numbered.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The sums of a replicate, from how often it drew each outcome.
    #[must_use]
    pub fn replicate(&self, mechanism: &Mechanism, counts: &[u64]) -> Replicate {
        let mut replicate = Replicate::empty(mechanism);
        for (outcome, count) in drawn(counts) {
            let subset = &mechanism.law.subsets()[self.subsets[outcome] as usize].0;
            let consensus = self.consensus[outcome];
            if consensus.is_nan() {
                replicate.void_rounds += count;
                replicate.skipped += count * subset.len() as u64;
                continue;
            }
            replicate.models[self.models[outcome] as usize].count(self.rewards[outcome], count);
            for (&evaluator, &reward) in subset.iter().zip(&self.members[outcome * self.k_max..]) {
                if reward.is_nan() {
                    replicate.skipped += count;
                } else {
                    replicate.evaluators[evaluator].count(reward, count);
                }
            }
            for (agreement, proxy) in replicate.agreement.iter_mut().zip(&mechanism.network.proxies) {
                agreement.count(consensus, proxy.values[self.judged[outcome] as usize], count);
            }
        }
        replicate
    }

    /// Every reward that each node was paid, with how often: inference nodes, then evaluators.
    #[must_use]
    pub fn rewards_of_nodes(&self, mechanism: &Mechanism, counts: &[u64]) -> Vec<Vec<(f64, u64)>> {
        let models = mechanism.network.models.len();
        let mut rewards = vec![Vec::new(); models + mechanism.network.evaluators.len()];
        for (outcome, count) in drawn(counts) {
            if self.consensus[outcome].is_nan() {
                continue;
            }
            rewards[self.models[outcome] as usize].push((self.rewards[outcome], count));
            let subset = &mechanism.law.subsets()[self.subsets[outcome] as usize].0;
            for (&evaluator, &reward) in subset.iter().zip(&self.members[outcome * self.k_max..]) {
                if !reward.is_nan() {
                    rewards[models + evaluator].push((reward, count));
                }
            }
        }
        rewards
    }
}

fn drawn(counts: &[u64]) -> impl Iterator<Item = (usize, u64)> {
    counts.iter().copied().enumerate().filter(|&(_, count)| count > 0)
}

/// Visits what the members of a subset may do together, the last member's branch changing fastest, with its probability.
pub fn for_each_mix(
    mechanism: &Mechanism,
    subset: &[usize],
    members: &mut Vec<(usize, usize)>,
    mut visit: impl FnMut(&[(usize, usize)], f64),
) {
    let branches = |member: usize| &mechanism.strategies.evaluators[member].branches;
    members.clear();
    members.extend(subset.iter().map(|&member| (member, 0)));
    loop {
        let share = members.iter().map(|&(member, branch)| branches(member)[branch].probability).product();
        visit(members, share);
        let Some(place) = members.iter().rposition(|&(member, branch)| branch + 1 < branches(member).len()) else {
            return;
        };
        members[place].1 += 1;
        members[place + 1..].iter_mut().for_each(|(_, branch)| *branch = 0);
    }
}
