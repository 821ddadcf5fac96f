//! The cascade: evaluators in order, cheap ones first, the next one only while the score so far is in doubt. The paper
//! (arXiv 2606.11196) escalates "on ambiguity"; its thresholds were not found, so the rule is ours and thresholds are swept.
//!
//! A score v in 0..10 is in doubt if `|v - middle| < threshold`: good and bad answers are told apart at the middle, and a
//! score far from it tells them apart whoever else is asked. Threshold 0 never asks a second evaluator, 10 asks them all.

use super::answers::Answers;
use super::audit::ReferenceColumn;
use crate::settings::{Cascade, Verdict};
use crate::simulate::{Stopped, Watch};
use crate::statistics::bootstrap::{self, Intervals, intervals};
use crate::statistics::sums::Pearson;
use crate::statistics::{agreement, mean};
use crate::store::rows::CascadeRow;
use rayon::prelude::*;

/// Task type of the rows over all answers.
const ALL: &str = "all";

/// An evaluator of the cascade.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Node key.
    pub key: String,
    /// Mean latency per answer from the profile, in ms, at full precision.
    pub latency_ms: f64,
}

/// When to stop, and what the score is then.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// Distance from the middle, in points of 0..10, below which a score is in doubt.
    pub threshold: f64,
    /// The score that a decision turns on.
    pub middle: f64,
    /// What the score of several evaluators is.
    pub verdict: Verdict,
}

/// What a cascade said of an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Said {
    /// The score in 0..10.
    pub score: f64,
    /// Evaluators that ran.
    pub ran: usize,
}

/// Whether a score is too close to the middle to stop at.
#[must_use]
pub fn in_doubt(score: f64, policy: Policy) -> bool {
    (score - policy.middle).abs() < policy.threshold
}

/// Runs the cascade over the scores of one answer, in 0..10 and in the order of the evaluators. Null without scores.
#[must_use]
pub fn consult(scores: &[f64], policy: Policy) -> Option<Said> {
    let (&first, others) = scores.split_first()?;
    let mut said = Said { score: first, ran: 1 };
    let mut sum = first;
    for &next in others {
        if !in_doubt(said.score, policy) {
            break;
        }
        sum += next;
        said.ran += 1;
        said.score = match policy.verdict {
            Verdict::Mean => sum / said.ran as f64,
            Verdict::Last => next,
        };
    }
    Some(said)
}

/// The answers of one task type that every evaluator has scored.
struct Group<'a> {
    task_type: &'a str,
    tasks: Vec<&'a str>,
    reference: Vec<Option<f64>>,
    /// Scores in the order of the evaluators, one list per answer.
    scores: Vec<Vec<f64>>,
}

impl<'a> Group<'a> {
    fn new(answers: &Answers<'a>, task_type: &'a str, steps: &[Step], reference: &[Option<f64>]) -> Self {
        let keys: Vec<&str> = steps.iter().map(|step| step.key.as_str()).collect();
        let mut group = Self { task_type, tasks: Vec::new(), reference: Vec::new(), scores: Vec::new() };
        for row in answers.of_type(task_type) {
            let scores = answers.scores(&keys, row);
            if scores.len() == keys.len() {
                group.tasks.push(&answers.rows[row].task.task_id);
                group.reference.push(reference[row]);
                group.scores.push(scores);
            }
        }
        group
    }

    fn said(&self, policy: Policy) -> Vec<Said> {
        self.scores.iter().filter_map(|scores| consult(scores, policy)).collect()
    }
}

/// How a column of scores follows the reference.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Quality {
    pearson: Option<f64>,
    spearman: Option<f64>,
}

impl Quality {
    fn of(group: &Group, scores: &[f64]) -> Self {
        let scores: Vec<_> = scores.iter().copied().map(Some).collect();
        let found = agreement(&scores, &group.reference);
        Self { pearson: found.pearson, spearman: found.spearman }
    }

    /// Unweighted mean over task types, null unless every one has a value.
    fn mean(parts: &[Self]) -> Self {
        let over = |value: fn(&Self) -> Option<f64>| {
            let values: Option<Vec<f64>> = parts.iter().map(value).collect();
            values.and_then(|values| mean(&values))
        };
        Self { pearson: over(|part| part.pearson), spearman: over(|part| part.spearman) }
    }
}

/// What does not depend on the threshold: everybody's mean, and the last one's score.
struct Baseline {
    consensus: Vec<f64>,
    last: Vec<f64>,
    consensus_quality: Quality,
    last_quality: Quality,
}

impl Baseline {
    fn of(group: &Group) -> Self {
        // By the rule itself, so that a cascade that runs everybody differs from it by nothing.
        let everybody = Policy { threshold: f64::INFINITY, middle: 0.0, verdict: Verdict::Mean };
        let consensus: Vec<f64> = group.said(everybody).iter().map(|said| said.score).collect();
        let last: Vec<f64> = group.scores.iter().filter_map(|scores| scores.last().copied()).collect();
        let (consensus_quality, last_quality) = (Quality::of(group, &consensus), Quality::of(group, &last));
        Self { consensus, last, consensus_quality, last_quality }
    }
}

/// One row per threshold and task type, with `all` behind the types where there are several. None for fewer than two
/// evaluators. Stops early, with nothing, once somebody asks it to.
pub fn sweep(
    answers: &Answers,
    steps: &[Step],
    settings: &Cascade,
    reference: ReferenceColumn,
    watch: Watch,
) -> Result<Vec<CascadeRow>, Stopped> {
    if steps.len() < 2 {
        return Ok(Vec::new());
    }
    let types = answers.task_types();
    let groups: Vec<Group> = types.iter().map(|&kind| Group::new(answers, kind, steps, reference.values)).collect();
    let baselines: Vec<Baseline> = groups.iter().map(Baseline::of).collect();
    let sweep = Sweep { steps, settings, reference: reference.name, groups: &groups, baselines: &baselines };
    // Each threshold draws its resamples anew from the same seed, so threads change nothing.
    let at = |&threshold: &f64| watch.go_on().map(|()| sweep.at(threshold));
    let rows: Vec<Vec<CascadeRow>> = settings.thresholds.par_iter().map(at).collect::<Result<_, _>>()?;
    Ok(rows.into_iter().flatten().collect())
}

struct Sweep<'a> {
    steps: &'a [Step],
    settings: &'a Cascade,
    reference: &'a str,
    groups: &'a [Group<'a>],
    baselines: &'a [Baseline],
}

impl Sweep<'_> {
    /// The rows of one threshold.
    fn at(&self, threshold: f64) -> Vec<CascadeRow> {
        let policy = Policy { threshold, middle: self.settings.middle, verdict: self.settings.verdict };
        let said: Vec<Vec<Said>> = self.groups.iter().map(|group| group.said(policy)).collect();
        let scores: Vec<Vec<f64>> = said.iter().map(|said| said.iter().map(|s| s.score).collect()).collect();
        let qualities: Vec<Quality> =
            self.groups.iter().zip(&scores).map(|(group, scores)| Quality::of(group, scores)).collect();
        let sums: Vec<_> = self.groups.iter().zip(&scores).map(|(group, scores)| sums(group, scores)).collect();
        let Intervals { groups: by_group, mean: mean_interval } = intervals(&sums);

        let mut rows = Vec::new();
        for (place, group) in self.groups.iter().enumerate() {
            let baseline = &self.baselines[place];
            let (consensus, last) = (baseline.consensus_quality, baseline.last_quality);
            let row = self.row(group.task_type, threshold, &said[place], &self.baselines[place..=place]);
            rows.push(with_quality(row, qualities[place], by_group[place], consensus, last));
        }
        if self.groups.len() > 1 {
            let over = |quality: fn(&Baseline) -> Quality| {
                Quality::mean(&self.baselines.iter().map(quality).collect::<Vec<_>>())
            };
            let (consensus, last) = (over(|b| b.consensus_quality), over(|b| b.last_quality));
            let row = self.row(ALL, threshold, &said.concat(), self.baselines);
            rows.push(with_quality(row, Quality::mean(&qualities), mean_interval, consensus, last));
        }
        rows
    }

    /// Counts, costs and differences over the answers of these baselines, in their order; correlations are null.
    fn row(&self, task_type: &str, threshold: f64, said: &[Said], baselines: &[Baseline]) -> CascadeRow {
        let mut spent = 0.0;
        // Cost of the first, of the first two, ...
        let costs: Vec<f64> = self
            .steps
            .iter()
            .map(|step| {
                spent += step.latency_ms;
                spent
            })
            .collect();
        let last_ms = self.steps.last().map_or(0.0, |step| step.latency_ms);
        let mean_of = |value: &dyn Fn(&Said) -> f64| mean(said.iter().map(value));
        let cost_ms = mean_of(&|s| costs[s.ran - 1]);
        let saved = |whole: f64| cost_ms.filter(|_| whole > 0.0).map(|cost| 1.0 - cost / whole);
        let difference = |other: fn(&Baseline) -> &Vec<f64>| {
            let others = baselines.iter().flat_map(other);
            mean(said.iter().zip(others).map(|(s, other)| (s.score - other).abs()))
        };
        CascadeRow {
            task_type: task_type.to_owned(),
            threshold,
            middle: self.settings.middle,
            verdict: self.settings.verdict.name().to_owned(),
            evaluators: self.steps.iter().map(|step| step.key.clone()).collect(),
            reference: self.reference.to_owned(),
            n: said.len() as i64,
            escalated_share: mean_of(&|s| f64::from(u8::from(s.ran > 1))),
            mean_evaluators: mean_of(&|s| s.ran as f64),
            cost_ms,
            cost_full_ms: spent,
            cost_last_ms: last_ms,
            cost_saved_vs_full: saved(spent),
            cost_saved_vs_last: saved(last_ms),
            pearson: None,
            ci_low: None,
            ci_high: None,
            spearman: None,
            pearson_consensus: None,
            spearman_consensus: None,
            pearson_last: None,
            spearman_last: None,
            mean_abs_difference_consensus: difference(|baseline| &baseline.consensus),
            mean_abs_difference_last: difference(|baseline| &baseline.last),
        }
    }
}

fn sums<'a>(group: &Group<'a>, scores: &[f64]) -> bootstrap::Group<'a> {
    let scores: Vec<_> = scores.iter().copied().map(Some).collect();
    bootstrap::Group { name: group.task_type, tasks: Pearson::by_task(&group.tasks, &scores, &group.reference) }
}

fn with_quality(
    row: CascadeRow,
    cascade: Quality,
    interval: Option<(f64, f64)>,
    consensus: Quality,
    last: Quality,
) -> CascadeRow {
    let interval = interval.filter(|_| cascade.pearson.is_some());
    CascadeRow {
        pearson: cascade.pearson,
        ci_low: interval.map(|(low, _)| low),
        ci_high: interval.map(|(_, high)| high),
        spearman: cascade.spearman,
        pearson_consensus: consensus.pearson,
        spearman_consensus: consensus.spearman,
        pearson_last: last.pearson,
        spearman_last: last.spearman,
        ..row
    }
}

#[cfg(test)]
#[path = "cascade_tests.rs"]
mod tests;
