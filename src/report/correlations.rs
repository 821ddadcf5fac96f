//! Figure 4 for this run: how well each evaluator's scores follow F1 and the judge, per task type, averaged over tasks (Section
//! 5.1) and pooled, with the sizes and intervals that the paper leaves out; the same between answers of equal length, and
//! between evaluators. Rows of all LLMs are pooled, as in the paper.

use crate::join::{F1, Joined, ScorerColumn};
use crate::statistics::bootstrap::{Group, Intervals, intervals};
use crate::statistics::sums::{Alpha, PartialPearson, Pearson, Sums, total};
use crate::statistics::{Estimate, agreement, fisher_z_mean};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// One evaluator against one reference signal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluatorCorrelation {
    /// Node key of the evaluator, or `f1` where that is held against the judge.
    pub evaluator: String,
    /// Reference signal: `f1`, `judge` for the grades of the LLM judge, or the node key of another evaluator.
    pub reference: String,
    /// One entry per task type of the run.
    pub by_task: Vec<TaskCorrelation>,
    /// Over the answers to tasks of all types at once; null for a run with one type.
    pub pooled: Option<TaskCorrelation>,
    /// Unweighted mean of Pearson's r over task types, the paper's way; null unless every type has one.
    pub mean_over_tasks: Estimate,
    /// The same mean through Fisher's z; null where `mean_over_tasks` is.
    pub fisher_z_mean: Option<f64>,
    /// Unweighted mean over task types of the partial correlations at equal length; null unless every type has one.
    pub mean_at_equal_length: Estimate,
    /// What the signs say, over all task types.
    pub sign: Sign,
}

/// One evaluator on the answers to one type of task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskCorrelation {
    /// `qa` or `summarization`; `all` for both together.
    pub task_type: String,
    /// Pearson's r, with an interval by resampling tasks; `n` counts pairs. Null for fewer than three pairs or a
    /// constant column.
    pub pearson: Estimate,
    /// Spearman's rho, ties by mean rank.
    pub spearman: Option<f64>,
    /// Kendall's tau-b.
    pub kendall: Option<f64>,
    /// Pearson's r between what the length of the answer in words leaves of both (partial correlation), with an interval by
    /// resampling tasks. Null where `pearson` is, and where length does not vary or determines one of the two.
    pub at_equal_length: Estimate,
}

/// Whether an evaluator can be trusted to point one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// Every task type's interval lies above 0.
    Positive,
    /// Every task type's interval lies below 0.
    Negative,
    /// One task type's interval lies above 0 and another's below: better answers get higher scores here and lower ones there.
    Flips,
    /// None of these: an interval holds 0, or there is none.
    Unclear,
}

/// How far the evaluators agree with each other.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EvaluatorAgreement {
    /// Every pair of evaluators, `reference` being the later one in the run's order.
    pub pairs: Vec<EvaluatorCorrelation>,
    /// Krippendorff's alpha per task type, of the evaluators that are paid; empty for fewer than two.
    pub alpha: Vec<TaskAlpha>,
}

/// Agreement of all paid evaluators on one type of task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskAlpha {
    /// `qa` or `summarization`.
    pub task_type: String,
    /// Krippendorff's alpha of the normalised scores for interval scales: 1 is agreement, 0 what shuffled scores give. `n`
    /// counts answers with at least two scores. The interval comes from resampling tasks.
    pub alpha: Estimate,
}

/// Name of the judge as a reference signal, whoever it is.
pub(super) const JUDGE: &str = "judge";
/// Both task types together.
pub(super) const ALL: &str = "all";

/// A column of scores by its name.
type Named<'a> = (&'a str, &'a [Option<f64>]);

/// Every evaluator against F1, then every evaluator, and F1 itself, against the judge, as far as they are there.
pub(super) fn correlations(joined: &Joined, task_types: &[&str]) -> Vec<EvaluatorCorrelation> {
    let f1 = joined.scorer(F1).map(ScorerColumn::normalized);
    let judge = joined.judge();
    let evaluators = scores(joined);
    let mut wanted: Vec<(Named, Named)> = Vec::new();
    let named = || evaluators.iter().map(|(name, scores)| (*name, &scores[..]));
    if let Some(f1) = &f1 {
        wanted.extend(named().map(|evaluator| (evaluator, (F1, &f1[..]))));
    }
    if let Some(judge) = &judge {
        let with_f1 = named().chain(f1.iter().map(|f1| (F1, &f1[..])));
        wanted.extend(with_f1.map(|evaluator| (evaluator, (JUDGE, &judge[..]))));
    }
    correlate_all(joined, task_types, &wanted)
}

/// Every evaluator against every other one.
pub(super) fn agreement_of_evaluators(joined: &Joined, task_types: &[&str], paid: &[String]) -> EvaluatorAgreement {
    let evaluators = scores(joined);
    let mut wanted: Vec<(Named, Named)> = Vec::new();
    for (index, (name, one)) in evaluators.iter().enumerate() {
        wanted.extend(evaluators[index + 1..].iter().map(|(other, two)| ((*name, &one[..]), (*other, &two[..]))));
    }
    let paid: Vec<&Vec<Option<f64>>> =
        evaluators.iter().filter(|(name, _)| paid.iter().any(|key| key == name)).map(|(_, scores)| scores).collect();
    let alpha =
        if paid.len() < 2 { Vec::new() } else { task_types.iter().map(|kind| alpha(joined, kind, &paid)).collect() };
    EvaluatorAgreement { pairs: correlate_all(joined, task_types, &wanted), alpha }
}

fn scores<'a>(joined: &Joined<'a>) -> Vec<(&'a str, Vec<Option<f64>>)> {
    joined.evaluators().map(|evaluator| (evaluator.name, evaluator.normalized())).collect()
}

fn correlate_all(joined: &Joined, task_types: &[&str], wanted: &[(Named, Named)]) -> Vec<EvaluatorCorrelation> {
    let words = joined.words();
    let parts: Vec<Part> =
        task_types.iter().map(|kind| Part::new(joined, kind, joined.answers_of_type(kind))).collect();
    let all = (task_types.len() > 1).then(|| {
        let known = |row: &usize| joined.tasks[*row].is_some();
        Part::new(joined, ALL, (0..joined.generations.len()).filter(known).collect())
    });
    // Each draws its resamples anew from the same seed, so that threads change nothing.
    wanted.par_iter().map(|(x, y)| correlate(&parts, all.as_ref(), *x, *y, &words)).collect()
}

/// The answers to tasks of one type.
struct Part<'a> {
    task_type: &'a str,
    rows: Vec<usize>,
    /// The task of each row, as a number: tables of a million rows are sorted by it again and again.
    tasks: Vec<u32>,
}

impl<'a> Part<'a> {
    fn new(joined: &Joined, task_type: &'a str, rows: Vec<usize>) -> Self {
        let names: Vec<&str> = rows.iter().map(|row| joined.generations[*row].task_id.as_str()).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let numbers: HashMap<&str, u32> = sorted.into_iter().zip(0..).collect();
        Self { task_type, rows, tasks: names.iter().map(|name| numbers[name]).collect() }
    }

    fn of(&self, column: &[Option<f64>]) -> Vec<Option<f64>> {
        self.rows.iter().map(|row| column[*row]).collect()
    }
}

/// What was found in some parts, and the intervals of it.
struct Found {
    correlations: Vec<TaskCorrelation>,
    pearson: Intervals,
    at_equal_length: Intervals,
}

fn correlate(parts: &[Part], all: Option<&Part>, x: Named, y: Named, words: &[Option<f64>]) -> EvaluatorCorrelation {
    let Found { correlations: by_task, pearson, at_equal_length } = find(parts, x.1, y.1, words);
    let pooled = all.and_then(|all| find(std::slice::from_ref(all), x.1, y.1, words).correlations.pop());
    let values: Vec<Estimate> = by_task.iter().map(|task| task.pearson).collect();
    let defined: Option<Vec<f64>> = values.iter().map(|value| value.value).collect();
    let lengths: Vec<Estimate> = by_task.iter().map(|task| task.at_equal_length).collect();
    EvaluatorCorrelation {
        evaluator: x.0.into(),
        reference: y.0.into(),
        pooled,
        mean_over_tasks: with_interval(Estimate::average(&values), pearson.mean),
        fisher_z_mean: defined.and_then(|defined| fisher_z_mean(&defined)),
        mean_at_equal_length: with_interval(Estimate::average(&lengths), at_equal_length.mean),
        sign: sign(&values),
        by_task,
    }
}

fn find(parts: &[Part], x: &[Option<f64>], y: &[Option<f64>], words: &[Option<f64>]) -> Found {
    let (mut correlations, mut pairs, mut triples) = (Vec::new(), Vec::new(), Vec::new());
    for part in parts {
        let (x, y, words) = (part.of(x), part.of(y), part.of(words));
        let found = agreement(&x, &y);
        let partial = PartialPearson::by_task(&part.tasks, &x, &y, &words);
        let n = partial.iter().map(PartialPearson::rows).sum();
        let at_equal_length = found.pearson.and_then(|_| total(&partial).value());
        correlations.push(TaskCorrelation {
            task_type: part.task_type.into(),
            pearson: Estimate { value: found.pearson, ci_low: None, ci_high: None, n: found.n },
            spearman: found.spearman,
            kendall: found.kendall,
            at_equal_length: Estimate { value: at_equal_length, ci_low: None, ci_high: None, n },
        });
        pairs.push(Group { name: part.task_type, tasks: Pearson::by_task(&part.tasks, &x, &y) });
        triples.push(Group { name: part.task_type, tasks: partial });
    }
    let (pearson, at_equal_length) = (intervals(&pairs), intervals(&triples));
    for (task, (own, at_length)) in correlations.iter_mut().zip(pearson.groups.iter().zip(&at_equal_length.groups)) {
        task.pearson = with_interval(task.pearson, *own);
        task.at_equal_length = with_interval(task.at_equal_length, *at_length);
    }
    Found { correlations, pearson, at_equal_length }
}

fn alpha(joined: &Joined, task_type: &str, evaluators: &[&Vec<Option<f64>>]) -> TaskAlpha {
    let part = Part::new(joined, task_type, joined.answers_of_type(task_type));
    let columns: Vec<Vec<Option<f64>>> = evaluators.iter().map(|scores| part.of(scores)).collect();
    let several = |row: &usize| columns.iter().filter(|column| column[*row].is_some()).count() >= 2;
    let n = (0..part.rows.len()).filter(several).count();
    let group = Group { name: task_type, tasks: Alpha::by_task(&part.tasks, &columns) };
    let value = total(&group.tasks).value();
    let interval = intervals(std::slice::from_ref(&group)).groups[0];
    let alpha = with_interval(Estimate { value, ci_low: None, ci_high: None, n }, interval);
    TaskAlpha { task_type: task_type.into(), alpha }
}

/// The estimate with this interval and no other.
fn with_interval(estimate: Estimate, interval: Option<(f64, f64)>) -> Estimate {
    let (ci_low, ci_high) = estimate.value.and(interval).unzip();
    Estimate { ci_low, ci_high, ..estimate }
}

fn sign(tasks: &[Estimate]) -> Sign {
    let above = tasks.iter().filter(|task| task.ci_low.is_some_and(|low| low > 0.0)).count();
    let below = tasks.iter().filter(|task| task.ci_high.is_some_and(|high| high < 0.0)).count();
    match (above, below) {
        (0, 0) => Sign::Unclear,
        (above, 0) if above == tasks.len() => Sign::Positive,
        (0, below) if below == tasks.len() => Sign::Negative,
        (0, _) | (_, 0) => Sign::Unclear,
        _ => Sign::Flips,
    }
}
