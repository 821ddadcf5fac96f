//! What the LLM judge says of the answers (Section 4.2: number, mean and standard deviation of its scores per model and
//! task), and what is to be said of the judge: does it agree with itself and with another one, does it pay for length, does
//! the order matter, and how far is it moved by answers that dictate their score.

use super::Inputs;
use crate::join::{F1, Joined, ScorerColumn, distinct};
use crate::statistics::kappa::weighted_kappa;
use crate::statistics::regression::{Slope, least_squares};
use crate::statistics::{Estimate, agreement, mean, standard_deviation};
use crate::store::rows::{JudgeCheckRow, cost_usd};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Words by which the slope of a score is counted.
const WORDS: f64 = 10.0;

/// The judge's section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgeReport {
    /// Name of the judge.
    pub judge: String,
    /// Where it is: the address of a server's API, or `local` and a hash.
    pub place: String,
    /// Whether poq ran it itself.
    pub local: bool,
    /// Answers in the sample.
    pub answers: usize,
    /// Of these, answers with a grade.
    pub graded: usize,
    /// Answers that it declined to grade.
    pub refused: usize,
    /// Grades that were read from a reply that was not the JSON asked for.
    pub repaired: usize,
    /// Answers about which it was asked once more.
    pub asked_once_more: usize,
    /// Dollars of all judgements and checks; null where a price or a count of tokens is not known.
    pub cost_usd: Option<f64>,
    /// One entry per LLM.
    pub models: Vec<JudgedModel>,
    /// Whether longer answers get better grades, per task type.
    pub verbosity: Vec<Verbosity>,
    /// What the checks found; empty where none were asked for.
    pub checks: Vec<CheckSummary>,
}

/// The grades of one LLM.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgedModel {
    /// Node key of the inference node.
    pub model: String,
    /// One entry per task type of the run.
    pub by_task: Vec<JudgedTask>,
    /// Unweighted mean over task types; null unless each has a grade.
    pub over_tasks: Estimate,
}

/// The grades of one LLM on one type of task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JudgedTask {
    /// `qa` or `summarization`.
    pub task_type: String,
    /// Mean grade, 0..10; `n` counts graded answers.
    pub score: Estimate,
    /// Standard deviation of the grades; null for fewer than two.
    pub std: Option<f64>,
}

/// The line of grades against the length of answers, by ordinary least squares; intervals are clustered by record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verbosity {
    /// `qa` or `summarization`.
    pub task_type: String,
    /// Points per ten words more; null where it cannot be computed.
    pub slope: Option<Slope>,
    /// The same between answers of equal F1: what length is worth beyond being right.
    pub slope_at_equal_f1: Option<Slope>,
    /// Graded answers.
    pub n: usize,
}

/// What a check found: grades under it against grades of the same answers in `judgements`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckSummary {
    /// `repeat`, `swap`, `injection` or `second`.
    pub check: String,
    /// Name of the injection; empty for all of a check together.
    pub variant: String,
    /// Who graded.
    pub judge: String,
    /// Pairs of grades.
    pub n: usize,
    /// Questions without a grade.
    pub failed: usize,
    /// Mean over records of the grade under the check minus the grade without: questions about one record are not
    /// independent. `n` counts records.
    pub shift: Estimate,
    /// Mean size of that difference.
    pub mean_difference: Option<f64>,
    /// Share of pairs that are equal, 0..1.
    pub equal_share: Option<f64>,
    /// Share of pairs in which the check raised the grade, 0..1.
    pub raised_share: Option<f64>,
    /// Mean over answers of the standard deviation of their grades; for `repeat` alone.
    pub std_within: Option<f64>,
    /// Pearson's r of the pairs.
    pub pearson: Option<f64>,
    /// Spearman's rho of the pairs.
    pub spearman: Option<f64>,
    /// Cohen's kappa with quadratic weights on whole points.
    pub weighted_kappa: Option<f64>,
}

/// The section, if anybody judged.
pub(super) fn judge(inputs: &Inputs, joined: &Joined, task_types: &[&str]) -> Option<JudgeReport> {
    let first = inputs.judgements.first()?;
    let rows = inputs.judgements;
    let count = |wanted: fn(&crate::store::rows::JudgementRow) -> bool| rows.iter().filter(|row| wanted(row)).count();
    Some(JudgeReport {
        judge: first.judge.clone(),
        place: first.place.clone(),
        local: inputs.settings.judge.backend == crate::settings::Backend::Local,
        answers: rows.len(),
        graded: count(|row| row.score.is_some()),
        refused: count(|row| row.refused),
        repaired: count(|row| row.repaired == Some(true)),
        asked_once_more: count(|row| row.replies > 1),
        cost_usd: cost_usd(rows, inputs.judge_checks),
        models: models(joined, task_types),
        verbosity: task_types.iter().map(|task_type| verbosity(joined, task_type)).collect(),
        checks: checks(inputs.judge_checks),
    })
}

fn models(joined: &Joined, task_types: &[&str]) -> Vec<JudgedModel> {
    let grades = joined.judge().unwrap_or_default();
    let of = |model: &str, task_type: &str| -> Vec<f64> {
        let own = |row: &usize| joined.generations[*row].model == model;
        joined.answers_of_type(task_type).into_iter().filter(own).filter_map(|row| grades[row]).collect()
    };
    let model = |model: &str| {
        let task = |task_type: &&str| {
            let grades = of(model, task_type);
            JudgedTask {
                task_type: (*task_type).into(),
                score: Estimate::of_mean(&grades),
                std: standard_deviation(&grades),
            }
        };
        let by_task: Vec<JudgedTask> = task_types.iter().map(task).collect();
        let parts: Vec<Estimate> = by_task.iter().map(|task| task.score).collect();
        JudgedModel { model: model.into(), by_task, over_tasks: Estimate::average(&parts) }
    };
    joined.models().into_iter().map(model).collect()
}

fn verbosity(joined: &Joined, task_type: &str) -> Verbosity {
    let grades = joined.judge().unwrap_or_default();
    let f1 = joined.scorer(F1).map(ScorerColumn::normalized);
    let rows: Vec<usize> = joined.answers_of_type(task_type).into_iter().filter(|row| grades[*row].is_some()).collect();
    let words = joined.words();
    let words = |row: &usize| words[*row].unwrap_or_default() / WORDS;
    let line = |rows: &[usize], f1: Option<Vec<f64>>| {
        let score: Vec<f64> = rows.iter().filter_map(|row| grades[*row]).collect();
        let length: Vec<f64> = rows.iter().map(words).collect();
        let records: Vec<&str> = rows.iter().map(|row| joined.generations[*row].task_id.as_str()).collect();
        let regressors: Vec<&[f64]> = std::iter::once(&length[..]).chain(f1.as_deref()).collect();
        least_squares(&score, &regressors, &records).and_then(|slopes| slopes.first().copied())
    };
    let at_equal_f1 = f1.and_then(|f1| {
        let (rows, f1): (Vec<usize>, Vec<f64>) = rows.iter().filter_map(|row| Some((*row, f1[*row]?))).unzip();
        line(&rows, Some(f1))
    });
    Verbosity { task_type: task_type.into(), slope: line(&rows, None), slope_at_equal_f1: at_equal_f1, n: rows.len() }
}

fn checks(rows: &[JudgeCheckRow]) -> Vec<CheckSummary> {
    let mut found = Vec::new();
    for check in distinct(rows.iter().map(|row| row.check.as_str())) {
        let own: Vec<&JudgeCheckRow> = rows.iter().filter(|row| row.check == check).collect();
        found.push(summary(check, "", &own));
        if check == "injection" {
            for variant in distinct(own.iter().map(|row| row.variant.as_str())) {
                let own: Vec<&JudgeCheckRow> = own.iter().filter(|row| row.variant == variant).copied().collect();
                found.push(summary(check, variant, &own));
            }
        }
    }
    found
}

fn summary(check: &str, variant: &str, rows: &[&JudgeCheckRow]) -> CheckSummary {
    let (under, without): (Vec<f64>, Vec<f64>) =
        rows.iter().filter_map(|row| Some((row.score?, row.baseline?))).unzip();
    let differences: Vec<f64> = under.iter().zip(&without).map(|(a, b)| a - b).collect();
    let share = |wanted: fn(f64) -> bool| mean(differences.iter().map(|d| f64::from(u8::from(wanted(*d)))));
    let sizes: Vec<f64> = differences.iter().map(|d| d.abs()).collect();
    let [a, b] = [&under, &without].map(|side| side.iter().map(|score| Some(*score)).collect::<Vec<_>>());
    let agreement = agreement(&a, &b);
    CheckSummary {
        check: check.into(),
        variant: variant.into(),
        judge: rows.first().map(|row| row.judge.clone()).unwrap_or_default(),
        n: differences.len(),
        failed: rows.iter().filter(|row| row.score.is_none()).count(),
        shift: Estimate::of_mean(&by_record(rows)),
        mean_difference: mean(&sizes),
        equal_share: share(|d| d == 0.0),
        raised_share: share(|d| d > 0.0),
        std_within: (check == "repeat").then(|| std_within(rows)).flatten(),
        pearson: agreement.pearson,
        spearman: agreement.spearman,
        weighted_kappa: weighted_kappa(&a, &b),
    }
}

/// Mean difference of each record, in order of first appearance.
fn by_record(rows: &[&JudgeCheckRow]) -> Vec<f64> {
    let records = distinct(rows.iter().map(|row| row.task_id.as_str()));
    let of_record = |record: &str| -> Option<f64> {
        let own = rows.iter().filter(|row| row.task_id == record);
        mean(own.filter_map(|row| Some(row.score? - row.baseline?)))
    };
    records.into_iter().filter_map(of_record).collect()
}

/// Mean over answers of the standard deviation of all grades that each got.
fn std_within(rows: &[&JudgeCheckRow]) -> Option<f64> {
    let mut grades: HashMap<(&str, &str), Vec<f64>> = HashMap::new();
    for row in rows {
        let own = grades.entry((&row.task_id, &row.model)).or_insert_with(|| row.baseline.into_iter().collect());
        own.extend(row.score);
    }
    // In a fixed order, for sums of floats depend on it.
    let mut spreads: Vec<f64> = grades.values().filter_map(|grades| standard_deviation(grades)).collect();
    spreads.sort_by(f64::total_cmp);
    mean(&spreads)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(task: &str, check: &str, variant: &str, score: Option<f64>, baseline: f64) -> JudgeCheckRow {
        JudgeCheckRow {
            task_id: task.into(),
            model: "m".into(),
            check: check.into(),
            variant: variant.into(),
            judge: "j".into(),
            score,
            baseline: Some(baseline),
            raw_reply: None,
            attempts: 1,
            pending: false,
            input_tokens: None,
            output_tokens: None,
            cost_usd: None,
            error: None,
            work_key: String::new(),
        }
    }

    #[test]
    fn a_check_is_summed_up_over_its_pairs() {
        let rows = [
            row("a", "repeat", "1", Some(6.0), 4.0),
            row("a", "repeat", "2", Some(5.0), 4.0),
            row("b", "repeat", "1", Some(7.0), 7.0),
            row("b", "repeat", "2", None, 7.0),
            row("a", "injection", "flattery", Some(10.0), 4.0),
            row("b", "injection", "threat", Some(7.0), 7.0),
        ];
        let found = checks(&rows);
        let names: Vec<(&str, &str)> = found.iter().map(|c| (c.check.as_str(), c.variant.as_str())).collect();
        assert_eq!(names, [("repeat", ""), ("injection", ""), ("injection", "flattery"), ("injection", "threat")]);
        let repeat = &found[0];
        assert_eq!(
            (repeat.n, repeat.failed, repeat.shift.value),
            (3, 1, Some(0.75)),
            "1.5 of one record, 0 of the other"
        );
        assert!(repeat.equal_share.is_some_and(|share| (share - 1.0 / 3.0).abs() < 1e-12));
        assert!(repeat.raised_share.is_some_and(|share| (share - 2.0 / 3.0).abs() < 1e-12));
        assert_eq!((repeat.mean_difference, repeat.std_within), (Some(1.0), Some(0.5)), "4, 5, 6 and 7, 7");
        assert_eq!((found[1].shift.value, found[1].std_within), (Some(3.0), None));
        assert_eq!((found[2].shift.value, found[3].shift.value), (Some(6.0), Some(0.0)));
    }
}
