//! Comparisons of made-up runs: the small run of `report::fixtures` beside variants of it.

use super::*;
use crate::report::fixtures::{self, small_run};
use crate::report::render::comparison_to_markdown;
use crate::statistics::paired::{Difference, Likeness};
use crate::store::rows::{ComparedAnswer, ComparedGrade, ComparedScore, ComparedTask};
use crate::store::run_record::{Machine, RunRecord};
use crate::store::samples::judgement;
use serde_json::json;

/// What the command makes of the tables of a run.
fn run(label: &str, from: &fixtures::Run) -> Run {
    let mut tables = Tables::default();
    for row in from.tasks.iter().cloned() {
        let (task_id, task_type, input, references) = (row.task_id, row.task_type, row.input, row.references);
        tables.add_task(ComparedTask { task_id, task_type, input, references }).expect("a task");
    }
    for row in from.generations.iter().cloned() {
        let answer = ComparedAnswer {
            task_id: row.task_id,
            model: row.model,
            output: row.output,
            output_tokens: row.output_tokens,
            finish_reason: row.finish_reason,
            prompt_truncated: row.prompt_truncated,
            error: row.error,
        };
        tables.add_answer(&answer).expect("an answer");
    }
    for row in from.scores.iter().cloned() {
        let score = ComparedScore {
            task_id: row.task_id,
            model: row.model,
            scorer: row.scorer,
            raw: row.raw,
            normalized: row.normalized,
            truncated: row.truncated,
            error: row.error,
        };
        tables.add_score(&score).expect("a score");
    }
    for row in from.judgements.iter().cloned() {
        let (task_id, model, judge, place) = (row.task_id, row.model, row.judge, row.place);
        let grade = ComparedGrade { task_id, model, judge, place, score: row.score, error: row.error };
        tables.add_grade(&grade).expect("a grade");
    }
    (tables.profile, tables.rewards) = (from.profile.clone(), from.rewards.clone());
    let record = RunRecord::new(label, from.settings.clone(), Machine::default());
    let directory = format!("results/{label}");
    let lacking = if from.judgements.is_empty() { vec![no_judge(&directory)] } else { Vec::new() };
    Run { label: label.into(), directory, record, tables, lacking, warnings: Vec::new() }
}

fn no_judge(directory: &str) -> Lacking {
    let command = format!("poq judge {directory} --backend auto --model NAME");
    Lacking { table: "judgements", reason: "no judge was asked for".into(), command }
}

fn compared(baseline: &fixtures::Run, other: &fixtures::Run) -> Pair {
    compare(&run("before", baseline), &run("after", other)).expect("the runs compare")
}

fn markdown(baseline: &Run, other: &Run) -> String {
    let mut comparison = Comparison::new(baseline);
    comparison.add(baseline, other).expect("the runs compare");
    comparison_to_markdown(&comparison)
}

fn metric<'p>(pair: &'p Pair, title: &str) -> &'p Metric {
    let titles: Vec<String> = pair.metrics.iter().map(|metric| words::title(&metric.subject)).collect();
    let place = titles.iter().position(|own| own == title);
    &pair.metrics[place.unwrap_or_else(|| panic!("there is no `{title}` among {titles:#?}"))]
}

/// Changes the F1 of a model: by the number that a function gives for the place of the row.
fn shift_f1(run: &mut fixtures::Run, model: &str, by: impl Fn(usize) -> f64) {
    let rows = run.scores.iter_mut().filter(|row| row.model == model && row.scorer == "f1");
    for (place, row) in rows.enumerate() {
        row.normalized = row.normalized.map(|value| value + by(place));
        row.raw = row.normalized.map(|value| value / 10.0);
    }
}

#[test]
fn a_run_is_identical_to_itself() {
    let pair = compared(&small_run(), &small_run());
    assert_eq!(pair.counts.identical, pair.counts.compared);
    assert!(pair.counts.compared > 30 && pair.metrics.iter().all(|metric| metric.difference == 0.0), "{pair:#?}");
    assert!(pair.tables.iter().all(|table| table.identical));
    assert!(pair.summary.starts_with("None of ") && pair.summary.contains("All tables are identical row by row."));
    assert!(pair.summary.contains("48 of 48 answers in common are the same text."), "{}", pair.summary);
    assert!(pair.settings.is_empty() && pair.missing.is_empty() && pair.warnings.is_empty(), "{pair:#?}");
}

#[test]
fn the_order_of_rows_changes_nothing() {
    let mut other = small_run();
    shift_f1(&mut other, "good", |place| if place % 3 == 0 { 0.8 } else { -0.1 });
    let mut shuffled = small_run();
    shift_f1(&mut shuffled, "good", |place| if place % 3 == 0 { 0.8 } else { -0.1 });
    shuffled.tasks.reverse();
    shuffled.generations.rotate_left(17);
    shuffled.scores.reverse();
    assert_eq!(compared(&small_run(), &other), compared(&small_run(), &shuffled));
}

#[test]
fn what_moved_comes_first_with_its_interval() {
    let mut better = small_run();
    shift_f1(&mut better, "good", |place| 1.0 + 0.1 * (place % 3) as f64);
    let pair = compared(&small_run(), &better);
    let f1 = metric(&pair, "F1 of `good`");
    assert_eq!((f1.verdict, f1.method, f1.rows, f1.records), (Verdict::Moved, Method::Paired, Some(24), Some(24)));
    assert!((f1.difference - 1.1).abs() < 1e-9 && f1.moved_after_holm(), "{f1:?}");
    assert!(f1.ci_low > Some(1.0) && f1.ci_high < Some(1.2), "{f1:?}");
    assert_eq!(pair.metrics[0].verdict, Verdict::Moved);
    assert!(metric(&pair, "F1 of `good`, qa").moved_after_holm());
    assert_eq!(metric(&pair, "F1 of `slow`").verdict, Verdict::Identical);
    // The evaluator has not changed, but it is held against another F1.
    assert_ne!(metric(&pair, "Pearson's r of `follower` with F1").verdict, Verdict::Identical);
    assert!(pair.summary.contains(" leaves out zero): F1 of `good`"), "{}", pair.summary);
}

#[test]
fn noise_stays_within_its_interval() {
    let mut noisy = small_run();
    shift_f1(&mut noisy, "slow", |place| [0.5, -0.5, 0.25, -0.25][place % 4]);
    let pair = compared(&small_run(), &noisy);
    let f1 = metric(&pair, "F1 of `slow`");
    assert_eq!(f1.verdict, Verdict::Within);
    assert!(f1.ci_low < Some(0.0) && f1.ci_high > Some(0.0) && f1.p > Some(0.5), "{f1:?}");
}

#[test]
fn rounding_is_no_movement() {
    let mut rounded = small_run();
    shift_f1(&mut rounded, "good", |_| 2e-7);
    let pair = compared(&small_run(), &rounded);
    assert_eq!(metric(&pair, "F1 of `good`").verdict, Verdict::Rounding);
    assert_eq!((pair.counts.moved, pair.counts.untested), (0, 0), "{}", pair.summary);
    assert!(pair.summary.contains("the same but for rounding"), "{}", pair.summary);
}

#[test]
fn many_metrics_do_not_cry_wolf() {
    let moved = |p| {
        let spread = crate::statistics::bootstrap::Spread { low: 0.1, high: 0.9, standard_error: 0.2 };
        let (baseline, other, value) = (Some(1.0), Some(1.5), Some(0.5));
        let likeness = Likeness::Different;
        let found =
            Difference { baseline, other, value, spread: Some(spread), p: Some(p), rows: 9, records: 9, likeness };
        Metric::paired(Subject::of_model("f1", "good"), "points", &found, 0).expect("values")
    };
    let mut metrics: Vec<Metric> = (0..40).map(|_| moved(0.03)).chain([moved(0.0001)]).collect();
    metric::correct_and_sort(&mut metrics);
    let counts = Counts::of(&metrics);
    assert_eq!((counts.moved, counts.moved_after_holm), (41, 1));
    let smallest = metrics.iter().find(|metric| metric.p == Some(0.0001)).and_then(|metric| metric.p_holm);
    assert!(smallest.is_some_and(|p| (p - 0.0041).abs() < 1e-12), "{smallest:?}");
}

#[test]
fn a_failed_row_is_left_out_and_counted() {
    let mut failing = small_run();
    let failed = failing.generations.iter_mut().find(|row| row.model == "good").expect("rows");
    (failed.output, failed.error) = (None, Some("out of memory".into()));
    (failed.output_tokens, failed.finish_reason) = (None, None);
    let id = failed.task_id.clone();
    let own = failing.scores.iter_mut().filter(|row| row.task_id == id && row.model == "good");
    own.for_each(|row| (row.raw, row.normalized, row.error) = (None, None, Some("no answer".into())));
    let pair = compared(&small_run(), &failing);
    let f1 = metric(&pair, "F1 of `good`");
    assert_eq!((f1.difference, f1.rows, f1.left_out), (0.0, Some(23), Some(1)), "null is never zero");
    let of_type = ["qa", "summarization"].map(|kind| metric(&pair, &format!("F1 of `good`, {kind}")).left_out);
    assert_eq!(of_type, [Some(1), Some(0)]);
    let failures = metric(&pair, "Failed answers of `good`");
    assert!(failures.baseline == 0.0 && (failures.other - 1.0 / 24.0).abs() < 1e-12, "{failures:?}");
    assert_eq!(failures.rows, Some(24));
    assert_eq!(pair.outputs[0].answered, 23);
    assert!(!pair.tables.iter().any(|table| table.table == "scores" && table.identical));
}

#[test]
fn other_questions_are_not_compared() {
    let mut other = small_run();
    other.tasks[0].references.push("another answer".into());
    other.tasks[1].task_id = "new".into();
    let pair = compared(&small_run(), &other);
    assert_eq!((pair.data.common, pair.data.changed.count), (22, 1));
    assert_eq!(
        (pair.data.only_baseline.examples.clone(), pair.data.only_other.examples.clone()),
        (vec!["qa_1".into()], vec!["new".into()])
    );
    assert_eq!(metric(&pair, "F1 of `good`, qa").rows, Some(10));
    assert!(pair.warnings[0].contains("1 task has the same id and another question"), "{:?}", pair.warnings);
}

#[test]
fn runs_without_common_tasks_say_so() {
    let mut other = small_run();
    other.tasks.iter_mut().for_each(|task| task.input.push('?'));
    let pair = compared(&small_run(), &other);
    assert!(pair.metrics.iter().all(|metric| metric.rows.is_none()), "only what needs no rows is compared");
    assert!(pair.summary.contains("no task in common"), "{}", pair.summary);
    assert!(pair.missing.iter().any(|missing| missing.reason.contains("no task in common")));
}

#[test]
fn what_a_run_lacks_is_named_with_its_reason() {
    let mut judged = small_run();
    judged.judgements = judged.generations.iter().map(|row| judgement(&row.task_id, &row.model, Some(5.0))).collect();
    let mut one_model = small_run();
    one_model.generations.retain(|row| row.model == "good");
    one_model.scores.retain(|row| row.model == "good" && row.scorer != "flat");
    one_model.rewards.retain(|row| row.node != "slow");
    let pair = compared(&judged, &one_model);
    let found = |what: &str| {
        pair.missing
            .iter()
            .find(|missing| missing.what.contains(what))
            .unwrap_or_else(|| panic!("{what}: {:#?}", pair.missing))
    };
    assert_eq!(found("LLM `slow`").runs, ["after"]);
    assert_eq!(found("scores of `flat`").runs, ["after"]);
    assert_eq!(found("reward of `slow`").runs, ["after"]);
    let judge = found("grades of a judge");
    assert_eq!((judge.runs.clone(), judge.reason.as_str()), (vec!["after".to_owned()], "no judge was asked for"));
    assert!(judge.command.as_ref().is_some_and(|command| command.starts_with("poq judge results/after")));
    assert!(pair.metrics.iter().all(|metric| metric.subject.model.as_deref() != Some("slow") || metric.rows.is_none()));
    let text = markdown(&run("before", &judged), &run("after", &one_model));
    assert!(
        text.contains("grades of a judge: missing in `after`, for no judge was asked for. To get it: `poq judge"),
        "{text}"
    );
}

#[test]
fn grades_are_compared_where_both_were_judged() {
    let mut judged = small_run();
    let grade = |place: usize, shift: f64| 3.0 + (place % 5) as f64 + shift * (place % 2) as f64;
    let grades = |run: &fixtures::Run, shift: f64| {
        let rows = run.generations.iter().enumerate();
        rows.map(|(place, row)| judgement(&row.task_id, &row.model, Some(grade(place, shift)))).collect::<Vec<_>>()
    };
    judged.judgements = grades(&judged, 0.0);
    let mut again = small_run();
    again.judgements = grades(&again, 1.0);
    let pair = compared(&judged, &again);
    let found = metric(&pair, "Judge's grade of `good`");
    assert!((found.difference - 0.5).abs() < 1e-9 && found.verdict == Verdict::Moved, "{found:?}");
    metric(&pair, "Pearson's r of `f1` with the judge");
    metric(&pair, "Pearson's r of `follower` with the judge, qa");
    assert!(pair.missing.iter().all(|missing| !missing.what.contains("judge")));
}

#[test]
fn rewards_and_latencies_are_two_samples() {
    let mut other = small_run();
    other.rewards[0].avg_reward = Some(0.65);
    other.rewards[1].avg_reward = Some(0.201);
    other.rewards[2].stderr = None;
    other.rewards[2].avg_reward = Some(0.9);
    let mut timed = small_run();
    for run in [&mut other, &mut timed] {
        run.profile[1].latency_ms_stderr = Some(2.0);
    }
    other.profile[1].latency_ms_mean = Some(530.0);
    other.profile[2].latency_ms_mean = Some(1501.0);
    let pair = compared(&timed, &other);
    let verdict = |title: &str| (metric(&pair, title).verdict, metric(&pair, title).method);
    assert_eq!(verdict("Reward of `good`"), (Verdict::Moved, Method::TwoSample));
    assert_eq!(verdict("Reward of `slow`"), (Verdict::Within, Method::TwoSample));
    assert_eq!(verdict("Reward of `follower`"), (Verdict::Untested, Method::None));
    assert_eq!(verdict("Latency of `good`"), (Verdict::Moved, Method::TwoSample));
    let untested = metric(&pair, "Latency of `slow`");
    assert_eq!(untested.verdict, Verdict::Untested);
    assert!(untested.reason.as_ref().is_some_and(|reason| reason.contains("no standard error")), "{untested:?}");
    // Welch with equal errors of 0.002: 1.96 and a little, times the root of two times 0.002.
    let reward = metric(&pair, "Reward of `good`");
    assert!((reward.standard_error.expect("an error") - 0.002 * 2.0_f64.sqrt()).abs() < 1e-12);
    assert!(reward.ci_low.is_some_and(|low| (0.0442..0.0444).contains(&low)), "{reward:?}");
}

#[test]
fn settings_differ_by_name_and_value() {
    let (mut before, mut after) = (small_run(), small_run());
    after.settings.generation.temperature = 0.0;
    after.settings.scoring.workers = Some(2);
    before.settings.profile.given_latency_ms.insert("good".into(), 5.0);
    let found = compared(&before, &after).settings;
    let of = |name: &str| found.iter().find(|difference| difference.setting == name).expect("it differs").clone();
    assert_eq!(found.len(), 3);
    assert_eq!(of("generation.temperature").other, Some(json!(0.0)));
    let workers = of("scoring.workers");
    assert_eq!((workers.baseline, workers.can_change_results), (Some(json!(null)), false), "null is a value");
    let given = of("profile.given_latency_ms.good");
    assert_eq!((given.baseline, given.other.clone(), given.can_change_results), (Some(json!(5.0)), None, true));
    let text = serde_json::to_value(of("profile.given_latency_ms.good")).expect("JSON");
    assert!(text.get("other").is_none() && text["baseline"] == 5.0, "absent is not null");
    assert!(!found.last().expect("three").can_change_results);
    let text = markdown(&run("before", &before), &run("after", &after));
    assert!(text.contains("| `profile.given_latency_ms.good` | 5.0    | absent |"), "{text}");
}

#[test]
fn identity_names_files_that_changed() {
    let (mut before, mut after) = (run("before", &small_run()), run("after", &small_run()));
    before.record.models.insert("good".into(), "aa".repeat(32));
    after.record.models.insert("good".into(), "bb".repeat(32));
    after.record.models.insert("new".into(), "cc".repeat(32));
    before.record.machine.cpu = "one".into();
    after.record.machine.cpu = "another".into();
    let pair = compare(&before, &after).expect("the runs compare");
    let status = |what: &str| pair.identity.iter().find(|fact| fact.what == what).map(|fact| fact.status);
    assert_eq!(status("good"), Some(Status::Differs));
    assert_eq!(status("new"), Some(Status::OnlyOther));
    assert_eq!(status("poq version"), Some(Status::Same));
    let latencies = pair.warnings.iter().filter(|warning| warning.contains("Latencies"));
    assert_eq!(latencies.count(), 1, "{:?}", pair.warnings);
}

#[test]
fn several_runs_are_compared_with_the_first() {
    let (baseline, mut other) = (run("before", &small_run()), small_run());
    shift_f1(&mut other, "good", |place| 1.0 + 0.1 * (place % 3) as f64);
    let mut comparison = Comparison::new(&baseline);
    for label in ["first", "second"] {
        comparison.add(&baseline, &run(label, &other)).expect("the runs compare");
    }
    let text = comparison_to_markdown(&comparison);
    assert!(text.contains("# `first` against `before`") && text.contains("# `second` against `before`"), "{text}");
    assert_eq!(text.matches("How to read this").count(), 1);
    assert!(!text.contains("NaN") && !text.contains("inf "), "{text}");
    let value = serde_json::to_value(&comparison).expect("JSON");
    let first = &value["comparisons"][0]["metrics"][0];
    assert!(first["metric"].is_string() && first["verdict"] == "moved" && first["method"] == "paired", "{first}");
}

#[test]
fn rows_that_are_there_twice_are_refused() {
    let mut tables = Tables::default();
    let task = |id: &str| ComparedTask {
        task_id: id.into(),
        task_type: "qa".into(),
        input: "i".into(),
        references: vec!["r".into()],
    };
    tables.add_task(task("a")).expect("the first");
    let error = tables.add_task(task("a")).expect_err("refused").to_string();
    assert!(error.contains("task `a` twice"), "{error}");
}
