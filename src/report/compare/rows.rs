//! Metrics of rows that both runs have: answers, scores, grades and correlations, paired by task and model.
//!
//! Scores of evaluators are compared on their own scale: the normalised one is set by the answers of each run, so that a place
//! on it means nothing in another run. A correlation does not mind and is that of the report.

use super::metric::{Metric, Subject};
use super::pairing::{Common, Pairing};
use super::tables::{Answer, Column, Grade, Score};
use crate::join::{EXACT_MATCH, F1};
use crate::report::correlations::JUDGE;
use crate::statistics::paired::{Difference, Differences, Pair, Points, mean_differences, pearson_differences};
use rayon::prelude::*;

/// Unit of F1 and grades.
const POINTS: &str = "points, 0 to 10";
const SHARE: &str = "share";

/// Over which rows a mean is taken.
#[derive(Clone, Copy)]
enum Over<'a> {
    /// The unweighted mean over task types, as the report has it.
    Types,
    /// The same, and every type for itself.
    EachType,
    /// All rows alike.
    Rows,
    /// One type alone.
    Type(&'a str),
}

/// Something to compute, not computed yet: rows are gathered when it is, so that those of one metric at a time are held.
struct Plan<'a> {
    subject: Subject,
    unit: &'static str,
    over: Over<'a>,
    compute: Box<Compute<'a>>,
}

/// What computes a metric, and how many rows it leaves out.
type Compute<'a> = dyn Fn(&Pairing<'a>, Over<'a>) -> (Differences, Vec<usize>) + Send + Sync + 'a;

/// The rows of one LLM in both runs, the baseline first.
type Both<'a, T> = (&'a [Option<T>], &'a [Option<T>]);

/// A metric that is not defined in both runs, though it has values in one.
pub(super) struct Absent {
    pub subject: Subject,
    /// The run in which it is not defined, 0 for the baseline; none where it is the rows that do not meet.
    pub run: Option<usize>,
}

/// The metrics, and those that have a value in one run alone. What neither run has is not missed.
pub(super) fn metrics(pairing: &Pairing) -> (Vec<Metric>, Vec<Absent>) {
    let mut plans = Vec::new();
    answers(pairing, &mut plans);
    scores(pairing, &mut plans);
    grades(pairing, &mut plans);
    correlations(pairing, &mut plans);
    let found: Vec<Vec<Result<Metric, Option<Absent>>>> = plans.par_iter().map(|plan| plan.metrics(pairing)).collect();
    let (mut metrics, mut absent) = (Vec::new(), Vec::new());
    for one in found.into_iter().flatten() {
        match one {
            Ok(metric) => metrics.push(metric),
            Err(none) => absent.extend(none),
        }
    }
    (metrics, absent)
}

fn answers<'a>(pairing: &Pairing<'a>, plans: &mut Vec<Plan<'a>>) {
    let [a, b] = pairing.runs().map(|run| &run.tables.answers);
    for model in pairing.models() {
        let mut add = |metric, unit, read: fn(&Answer) -> Option<f64>| {
            let columns = vec![(&a[model][..], &b[model][..])];
            plans.push(Plan::mean(Subject::of_model(metric, model), unit, Over::Rows, columns, read));
        };
        add("output_tokens", "tokens", |row| row.output_tokens.map(f64::from));
        add("length_stop_share", SHARE, |row| row.at_limit.map(share));
        add("prompt_truncated_share", SHARE, |row| row.prompt_cut.map(share));
        add("failed_share", SHARE, |row| Some(share(row.failed)));
    }
}

fn scores<'a>(pairing: &Pairing<'a>, plans: &mut Vec<Plan<'a>>) {
    let [a, b] = pairing.runs().map(|run| &run.tables.scores);
    for scorer in pairing.scorers() {
        let both: Vec<(&str, Both<Score>)> = a[scorer]
            .iter()
            .filter_map(|(model, own)| Some((model.as_str(), (&own[..], &b[scorer].get(model)?[..]))))
            .collect();
        for (model, columns) in both.iter().copied() {
            let columns = vec![columns];
            let subject = |metric| Subject::of_model(metric, model);
            plans.push(match scorer {
                F1 => Plan::mean(subject("f1"), POINTS, Over::EachType, columns, |row: &Score| row.normalized),
                EXACT_MATCH => {
                    let subject = subject("exact_match_share");
                    Plan::mean(subject, SHARE, Over::Type("qa"), columns, |row: &Score| row.raw)
                }
                evaluator => {
                    let subject = Subject { evaluator: Some(evaluator.into()), ..subject("evaluator_score") };
                    Plan::mean(subject, "the evaluator's own", Over::Types, columns, |row: &Score| row.raw)
                }
            });
        }
        if ![F1, EXACT_MATCH].contains(&scorer) {
            let mut add = |metric, read: fn(&Score) -> Option<f64>| {
                let columns = both.iter().map(|(_, columns)| *columns).collect();
                plans.push(Plan::mean(Subject::of_evaluator(metric, scorer), SHARE, Over::Rows, columns, read));
            };
            add("score_failed_share", |row| Some(share(row.failed)));
            add("score_truncated_share", |row| row.truncated.map(share));
        }
    }
}

fn grades<'a>(pairing: &Pairing<'a>, plans: &mut Vec<Plan<'a>>) {
    let [a, b] = pairing.runs().map(|run| &run.tables.grades);
    for (model, own) in a {
        let Some(other) = b.get(model) else { continue };
        let columns = || vec![(&own[..], &other[..])];
        let score = Subject::of_model("judge_score", model);
        plans.push(Plan::mean(score, POINTS, Over::Types, columns(), |row: &Grade| row.score));
        let failed = Subject::of_model("judge_failed_share", model);
        plans.push(Plan::mean(failed, SHARE, Over::Rows, columns(), |row: &Grade| Some(share(row.failed))));
    }
}

/// Two columns of each run, x and y, for one LLM.
struct FourColumns<'a> {
    baseline: (&'a [Option<Score>], Reference<'a>),
    other: (&'a [Option<Score>], Reference<'a>),
}

/// What a score is correlated with.
#[derive(Clone, Copy)]
enum Reference<'a> {
    Scores(&'a Column<Score>),
    Grades(&'a Column<Grade>),
}

impl Reference<'_> {
    fn at(&self, place: usize) -> Option<f64> {
        match self {
            Self::Scores(column) => column[place].as_ref()?.normalized,
            Self::Grades(column) => column[place].as_ref()?.score,
        }
    }
}

fn correlations<'a>(pairing: &Pairing<'a>, plans: &mut Vec<Plan<'a>>) {
    let [a, b] = pairing.runs().map(|run| &run.tables);
    for scorer in pairing.scorers().into_iter().filter(|scorer| *scorer != EXACT_MATCH) {
        for reference in [F1, JUDGE].into_iter().filter(|reference| *reference != scorer) {
            let column = |tables: &'a super::tables::Tables, model: &str| match reference {
                F1 => tables.scores.get(F1)?.get(model).map(Reference::Scores),
                _ => tables.grades.get(model).map(Reference::Grades),
            };
            let columns: Vec<FourColumns> = a.scores[scorer]
                .iter()
                .filter_map(|(model, own)| {
                    let other = b.scores[scorer].get(model)?;
                    Some(FourColumns { baseline: (own, column(a, model)?), other: (other, column(b, model)?) })
                })
                .collect();
            if columns.is_empty() {
                continue;
            }
            let subject = Subject { reference: Some(reference.into()), ..Subject::of_evaluator("pearson", scorer) };
            let compute = move |pairing: &Pairing<'a>, over: Over<'a>| correlate(pairing, over, &columns);
            plans.push(Plan { subject, unit: "Pearson's r", over: Over::EachType, compute: Box::new(compute) });
        }
    }
}

impl<'a> Plan<'a> {
    /// A mean over the rows of some columns, one per LLM.
    fn mean<T: Sync>(
        subject: Subject,
        unit: &'static str,
        over: Over<'a>,
        columns: Vec<Both<'a, T>>,
        read: fn(&T) -> Option<f64>,
    ) -> Self {
        let compute = move |pairing: &Pairing<'a>, over: Over<'a>| {
            let value = |row: &Option<T>| row.as_ref().and_then(read);
            let values = |(a, b): &Both<T>, task: &Common| (value(&a[task.baseline]), value(&b[task.other]));
            let pair = |record, baseline, other| Pair { record, baseline, other };
            let (groups, left_out) = gather(pairing, over, &columns, values, pair);
            (mean_differences(&groups), left_out)
        };
        Self { subject, unit, over, compute: Box::new(compute) }
    }

    fn metrics(&self, pairing: &Pairing<'a>) -> Vec<Result<Metric, Option<Absent>>> {
        let (found, left_out) = (self.compute)(pairing, self.over);
        let all: usize = left_out.iter().sum();
        let metric = |task_type: Option<&str>, found: &Difference, left_out: usize| {
            let subject = Subject { task_type: task_type.map(Into::into), ..self.subject.clone() };
            Metric::paired(subject.clone(), self.unit, found, left_out).ok_or_else(|| {
                let run = match (found.baseline, found.other) {
                    (None, Some(_)) => Some(0),
                    (Some(_), None) => Some(1),
                    _ => None,
                };
                (run.is_some() || left_out > 0).then_some(Absent { subject, run })
            })
        };
        match self.over {
            Over::EachType if pairing.task_types.len() > 1 => {
                let types = pairing.task_types.iter().zip(&found.groups).zip(&left_out);
                let types = types.map(|((task_type, found), left_out)| metric(Some(task_type), found, *left_out));
                std::iter::once(metric(None, &found.mean, all)).chain(types).collect()
            }
            Over::Type(task_type) if pairing.task_types.contains(&task_type) => {
                vec![metric(Some(task_type), &found.mean, all)]
            }
            Over::Type(_) => Vec::new(),
            _ => vec![metric(None, &found.mean, all)],
        }
    }
}

fn correlate<'a>(pairing: &Pairing<'a>, over: Over<'a>, columns: &[FourColumns]) -> (Differences, Vec<usize>) {
    let point =
        |(x, y): &(&[Option<Score>], Reference), place: usize| Some((x[place].as_ref()?.normalized?, y.at(place)?));
    let values =
        |four: &FourColumns, task: &Common| (point(&four.baseline, task.baseline), point(&four.other, task.other));
    let points = |record, baseline, other| Points { record, baseline, other };
    let (groups, left_out) = gather(pairing, over, columns, values, points);
    (pearson_differences(&groups), left_out)
}

/// Rows under the names of their groups.
type Groups<'a, R> = Vec<(&'a str, Vec<R>)>;

/// Rows of the common tasks, one per LLM, by group, and how many of each group are left out because one run alone has a value.
fn gather<'a, C, V, R>(
    pairing: &Pairing<'a>,
    over: Over<'a>,
    columns: &[C],
    values: impl Fn(&C, &Common<'a>) -> (Option<V>, Option<V>),
    row: impl Fn(&'a str, V, V) -> R,
) -> (Groups<'a, R>, Vec<usize>) {
    let names = match over {
        Over::Types | Over::EachType => pairing.task_types.clone(),
        Over::Rows => vec!["rows"],
        Over::Type(task_type) => vec![task_type],
    };
    let mut groups: Groups<R> = names.into_iter().map(|name| (name, Vec::new())).collect();
    let mut left_out = vec![0; groups.len()];
    for task in &pairing.common {
        let group = match over {
            Over::Types | Over::EachType => task.task_type,
            Over::Rows => 0,
            Over::Type(task_type) if pairing.task_types[task.task_type] == task_type => 0,
            Over::Type(_) => continue,
        };
        for column in columns {
            match values(column, task) {
                (Some(baseline), Some(other)) => groups[group].1.push(row(task.id, baseline, other)),
                (None, None) => {}
                _ => left_out[group] += 1,
            }
        }
    }
    (groups, left_out)
}

fn share(value: bool) -> f64 {
    f64::from(u8::from(value))
}
