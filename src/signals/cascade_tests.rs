//! The rule on single answers, and the table on a run small enough to check by hand.

use super::*;
use crate::store::rows::{GenerationRow, ScoreRow, TaskRow};
use crate::store::samples;
use proptest::prelude::*;

fn close(found: Option<f64>, expected: f64) {
    let found = found.expect("there is a value");
    assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
}

fn policy(threshold: f64, verdict: Verdict) -> Policy {
    Policy { threshold, middle: 5.0, verdict }
}

fn steps(latencies: &[f64]) -> Vec<Step> {
    let step = |(i, &latency_ms): (usize, &f64)| Step { key: format!("e{i}"), latency_ms };
    latencies.iter().enumerate().map(step).collect()
}

/// Rows of a run with these scores by `e0`, `e1`, ..., and the reference.
fn rows(answers: &[(&str, &[f64], f64)]) -> (Vec<TaskRow>, Vec<GenerationRow>, Vec<ScoreRow>) {
    let (mut tasks, mut generations, mut scores) = (Vec::new(), Vec::new(), Vec::new());
    for (i, (task_type, values, reference)) in answers.iter().enumerate() {
        let id = format!("t{i:03}");
        tasks.push(TaskRow { task_type: (*task_type).into(), ..samples::task(&id) });
        generations.push(samples::answer(&id, "m"));
        for (e, value) in values.iter().enumerate() {
            scores.push(samples::score(&id, "m", &format!("e{e}"), Some(*value)));
        }
        scores.push(samples::score(&id, "m", "f1", Some(*reference)));
    }
    (tasks, generations, scores)
}

fn table(answers: &[(&str, &[f64], f64)], latencies: &[f64], settings: &Cascade) -> Vec<CascadeRow> {
    let (tasks, generations, scores) = rows(answers);
    let answers = Answers::join(&tasks, &generations, &scores).expect("joins");
    let reference = ReferenceColumn { name: "f1", values: answers.scorer("f1").unwrap_or_default() };
    sweep(&answers, &steps(latencies), settings, reference, Watch::NOBODY).expect("nobody stops it")
}

#[test]
fn a_clear_score_stops_and_a_doubtful_one_goes_on() {
    let ran = |scores: &[f64], threshold| consult(scores, policy(threshold, Verdict::Last)).expect("has scores");
    assert_eq!(ran(&[9.0, 1.0], 2.0), Said { score: 9.0, ran: 1 });
    assert_eq!(ran(&[6.0, 1.0], 2.0), Said { score: 1.0, ran: 2 });
    assert_eq!(ran(&[7.0, 1.0], 2.0).ran, 1, "at the threshold itself there is no doubt");
    assert_eq!(ran(&[6.0, 4.0, 8.0], 2.0), Said { score: 8.0, ran: 3 });
    assert_eq!(ran(&[6.0, 1.0, 8.0], 2.0), Said { score: 1.0, ran: 2 });
    assert_eq!(consult(&[], policy(2.0, Verdict::Mean)), None);
}

#[test]
fn a_mean_is_what_is_in_doubt_once_there_is_one() {
    // Mean of 6 and 10 is 8: clear enough.
    let said = consult(&[6.0, 10.0, 0.0], policy(2.0, Verdict::Mean)).expect("has scores");
    assert_eq!(said, Said { score: 8.0, ran: 2 });
    // Mean of 6 and 4 is 5: on to the third.
    let said = consult(&[6.0, 4.0, 8.0], policy(2.0, Verdict::Mean)).expect("has scores");
    assert_eq!(said, Said { score: 6.0, ran: 3 });
}

#[test]
fn the_table_counts_costs_and_differences() {
    // At threshold 2 the first and the fourth stop; the others are asked again at 3 ms more.
    let answers: [(&str, &[f64], f64); 4] =
        [("qa", &[9.0, 5.0], 10.0), ("qa", &[6.0, 2.0], 2.0), ("qa", &[4.0, 8.0], 8.0), ("qa", &[1.0, 1.0], 0.0)];
    let settings = Cascade { thresholds: vec![0.0, 2.0, 10.0], ..Cascade::default() };
    let found = table(&answers, &[1.0, 3.0], &settings);
    assert_eq!(found.len(), 3, "one task type has no row over all");
    let [never, some, always] = &found[..] else { panic!("three thresholds") };
    for (row, share, cost) in [(never, 0.0, 1.0), (some, 0.5, 2.5), (always, 1.0, 4.0)] {
        close(row.escalated_share, share);
        close(row.mean_evaluators, 1.0 + share);
        close(row.cost_ms, cost);
        close(row.cost_saved_vs_full, 1.0 - cost / 4.0);
        close(row.cost_saved_vs_last, 1.0 - cost / 3.0);
        assert_eq!((row.n, row.evaluators.join(" ").as_str(), row.verdict.as_str()), (4, "e0 e1", "mean"));
    }
    // Means 7, 4, 6, 1; the cascade says 9, 4, 6, 1.
    close(some.mean_abs_difference_consensus, 0.5);
    close(some.mean_abs_difference_last, (4.0 + 2.0 + 2.0 + 0.0) / 4.0);
    close(always.mean_abs_difference_consensus, 0.0);
    assert_eq!((always.pearson, always.spearman), (always.pearson_consensus, always.spearman_consensus));
    assert_eq!(some.ci_low, None, "four records are too few to resample");
    let last = table(&answers, &[1.0, 3.0], &Cascade { verdict: Verdict::Last, ..settings });
    close(last[2].mean_abs_difference_last, 0.0);
    assert_eq!(last[2].pearson, last[2].pearson_last);
}

#[test]
fn all_is_over_all_answers_and_its_correlations_over_types() {
    let answers: [(&str, &[f64], f64); 6] = [
        ("qa", &[0.0, 0.0], 1.0),
        ("qa", &[5.0, 5.0], 2.0),
        ("qa", &[10.0, 10.0], 3.0),
        ("summarization", &[0.0, 0.0], 9.0),
        ("summarization", &[5.0, 0.0], 8.0),
        ("summarization", &[10.0, 0.0], 7.0),
    ];
    let found = table(&answers, &[1.0, 1.0], &Cascade { thresholds: vec![0.0], ..Cascade::default() });
    let types: Vec<&str> = found.iter().map(|row| row.task_type.as_str()).collect();
    assert_eq!(types, ["qa", "summarization", "all"]);
    close(found[0].pearson, 1.0);
    close(found[1].pearson, -1.0);
    close(found[2].pearson, 0.0);
    assert_eq!((found[2].n, found[1].pearson_last, found[2].pearson_last), (6, None, None));
    close(found[2].mean_abs_difference_last, 15.0 / 6.0);
}

#[test]
fn answers_without_every_score_are_left_out() {
    let answers: [(&str, &[f64], f64); 2] = [("qa", &[5.0, 5.0], 1.0), ("qa", &[5.0], 1.0)];
    let found = table(&answers, &[1.0, 3.0], &Cascade { thresholds: vec![10.0], ..Cascade::default() });
    assert_eq!((found[0].n, found[0].cost_ms), (1, Some(4.0)));
    let none = table(&answers[1..], &[1.0, 3.0], &Cascade { thresholds: vec![10.0], ..Cascade::default() });
    assert_eq!((none[0].n, none[0].cost_ms, none[0].pearson), (0, None, None));
    assert!(table(&answers, &[1.0], &Cascade::default()).is_empty(), "one evaluator is no cascade");
}

prop_compose! {
    fn any_answers()(answers in prop::collection::vec((any::<bool>(), prop::collection::vec(0.0..=10.0f64, 3), 0.0..=10.0f64), 1..30))
        -> Vec<(&'static str, Vec<f64>, f64)> {
        answers.into_iter().map(|(qa, scores, f1)| (if qa { "qa" } else { "summarization" }, scores, f1)).collect()
    }
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![Just(Verdict::Mean), Just(Verdict::Last)]
}

proptest! {
    #[test]
    fn threshold_0_never_escalates_and_10_always(
        scores in prop::collection::vec(0.0..=10.0f64, 1..6),
        middle in 0.01..9.99f64,
        verdict in any_verdict(),
    ) {
        let at = |threshold| consult(&scores, Policy { threshold, middle, verdict }).expect("has scores");
        prop_assert_eq!(at(0.0), Said { score: scores[0], ran: 1 });
        prop_assert_eq!(at(10.0).ran, scores.len());
    }

    #[test]
    fn the_extremes_of_the_scale_go_on_at_10_and_stop_below_5(score in prop_oneof![Just(0.0), Just(10.0)], verdict in any_verdict()) {
        let at = |threshold| consult(&[score, 5.0], policy(threshold, verdict)).expect("has scores").ran;
        prop_assert_eq!((at(5.0), at(10.0)), (1, 2));
    }

    #[test]
    fn a_higher_threshold_runs_no_fewer_evaluators_and_costs_no_less(
        answers in any_answers(),
        low in 0.0..10.0f64,
        more in 0.01..10.0f64,
        verdict in any_verdict(),
    ) {
        let high = (low + more).min(10.0);
        prop_assume!(high > low);
        let answers: Vec<(&str, &[f64], f64)> = answers.iter().map(|(t, s, f1)| (*t, s.as_slice(), *f1)).collect();
        let settings = Cascade { thresholds: vec![low, high], verdict, ..Cascade::default() };
        let found = table(&answers, &[0.5, 1.0, 7.0], &settings);
        let (at_low, at_high) = found.split_at(found.len() / 2);
        for (low, high) in at_low.iter().zip(at_high) {
            let figures = |row: &CascadeRow| [row.mean_evaluators, row.escalated_share, row.cost_ms].map(|f| f.expect("answers"));
            // Means round.
            prop_assert!(figures(low).iter().zip(figures(high)).all(|(low, high)| *low <= high + 1e-9));
            prop_assert!(high.cost_saved_vs_full.expect("answers") >= -1e-9);
        }
    }
}
