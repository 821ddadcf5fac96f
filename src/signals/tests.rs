//! The whole computation on rows: what must not matter, what is never looked at, and where there is nothing to say.

use super::*;
use crate::store::rows::SignalRow;
use crate::store::samples;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A run of 24 records of each type, three models and three evaluators.
#[derive(Clone)]
struct Run {
    tasks: Vec<TaskRow>,
    generations: Vec<GenerationRow>,
    scores: Vec<ScoreRow>,
    profile: Vec<ProfileRow>,
    evaluators: Vec<Evaluator>,
    settings: Signals,
}

/// A number in [0, 1) that looks random and is always the same.
fn noise(number: usize) -> f64 {
    // `SplitMix64`.
    let mut z = (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) as f64 / u64::MAX as f64
}

/// `bi` follows F1 with some noise, `cross` follows it on questions and runs against it on summaries, `own` is noise.
fn run() -> Run {
    let (mut tasks, mut generations, mut scores) = (Vec::new(), Vec::new(), Vec::new());
    for (kind, task_type) in ["qa", "summarization"].into_iter().enumerate() {
        for i in 0..24 {
            let id = format!("{task_type}-{i}");
            let input = format!("what did keeper {i} see from the lighthouse that night");
            tasks.push(TaskRow { task_type: task_type.into(), input, ..samples::task(&id) });
            for (m, model) in ["good", "fair", "poor"].into_iter().enumerate() {
                let number = (kind * 24 + i) * 3 + m;
                let output = Some(format!("keeper {i} saw {}", "a ship ".repeat(1 + number % 4)));
                generations.push(GenerationRow { output, ..samples::answer(&id, model) });
                let f1 = (10.0 * noise(number) - 2.0 * m as f64).clamp(0.0, 10.0);
                let against = if kind == 0 { f1 } else { 10.0 - f1 };
                for (scorer, value) in [
                    ("f1", f1),
                    ("exact_match", if f1 > 9.0 { 10.0 } else { 0.0 }),
                    ("bi", 0.8 * f1 + 2.0 * noise(number + 1000)),
                    ("cross", 0.7 * against + 3.0 * noise(number + 2000)),
                    ("own", 10.0 * noise(number + 3000)),
                ] {
                    scores.push(samples::score(&id, model, scorer, Some(value)));
                }
            }
        }
    }
    let profile = vec![
        samples::profile("inference", "good", 30.0, 1.0),
        samples::profile("inference", "fair", 20.0, 0.5),
        samples::profile("inference", "poor", 10.0, 0.0),
        samples::profile("evaluator", "cross", 5.9, 1.0),
        samples::profile("evaluator", "bi", 0.9, 0.0),
        samples::profile("evaluator", "own", 1.0, 0.02),
    ];
    let evaluators =
        vec![evaluator("bi", true, false), evaluator("cross", false, false), evaluator("own", false, false)];
    Run { tasks, generations, scores, profile, evaluators, settings: Signals::default() }
}

impl Run {
    fn inputs(&self) -> Inputs<'_> {
        Inputs {
            tasks: &self.tasks,
            generations: &self.generations,
            scores: &self.scores,
            profile: &self.profile,
            evaluators: &self.evaluators,
            settings: &self.settings,
        }
    }

    fn build(&self) -> Result<Outcome<'_>> {
        build(&self.inputs(), Watch::NOBODY)
    }

    fn outcome(&self) -> Outcome<'_> {
        self.build().expect("the tables agree")
    }

    fn fails(&self, parts: &[&str]) {
        let error = format!("{:#}", self.build().expect_err("refused"));
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
}

fn audited<'o>(outcome: &'o Outcome<'_>, task_type: &str, signal: &str, split: &str) -> &'o SignalAuditRow {
    let wanted = |row: &&SignalAuditRow| row.task_type == task_type && row.signal == signal && row.split == split;
    outcome.audit.iter().find(wanted).expect("there is such a row")
}

fn calibrated_weights(outcome: &Outcome, task_type: &str) -> Vec<Option<f64>> {
    Dimension::ALL.iter().map(|d| audited(outcome, task_type, d.name(), "fit").calibrated_weight).collect()
}

#[test]
fn every_answer_has_every_signal_in_the_unit_interval() {
    let run = run();
    let table = run.outcome().signals;
    let rows: Vec<SignalRow> = table.rows().collect();
    assert_eq!((rows.len(), table.count(), table.missing()), (2 * 24 * 3 * 8, 2 * 24 * 3 * 8, 0));
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &rows {
        assert!(row.value.is_some_and(|value| (0.0..=1.0).contains(&value)) && row.error.is_none(), "{row:?}");
        *found.entry(&row.signal).or_default() += 1;
    }
    assert!(found.len() == 8 && found.values().all(|count| *count == 144), "{found:?}");
    let source = |signal: &str| rows.iter().find(|row| row.signal == signal).map(|row| row.source.as_str());
    assert_eq!(
        (source("semantic"), source("alignment"), source("agreement")),
        (Some("bi"), Some("word_overlap"), Some("bi+cross+own"))
    );
}

#[test]
fn the_audit_has_every_signal_split_and_type_and_sums_of_one() {
    let run = run();
    let outcome = run.outcome();
    // Six dimensions, two composites, two consensus rules and three evaluators.
    assert_eq!(outcome.audit.len(), 2 * 13 * 3);
    for task_type in ["qa", "summarization"] {
        let all = audited(&outcome, task_type, "semantic", "all");
        let halves = ["fit", "held_out"].map(|split| audited(&outcome, task_type, "semantic", split));
        assert_eq!((all.n, all.records, all.reference.as_str()), (72, 24, "f1"));
        assert_eq!((halves[0].n + halves[1].n, halves[0].records, halves[1].records), (72, 12, 12));
        assert!(all.ci_low < all.pearson && all.pearson < all.ci_high && all.sign.as_deref() == Some("positive"));
        let sum = |weight: fn(&SignalAuditRow) -> Option<f64>| -> f64 {
            let of = |d: &Dimension| weight(audited(&outcome, task_type, d.name(), "held_out"));
            Dimension::ALL.iter().filter_map(of).sum()
        };
        assert!((sum(|row| row.default_weight) - 1.0).abs() < 1e-12);
        assert!((sum(|row| row.calibrated_weight) - 1.0).abs() < 1e-12);
        for dimension in Dimension::ALL {
            let row = audited(&outcome, task_type, dimension.name(), "fit");
            assert_eq!(row.kept, Some(row.pearson.is_some_and(|r| r > 0.0)), "{row:?}");
            assert_eq!(row.kept, Some(row.calibrated_weight > Some(0.0)), "{row:?}");
        }
        assert_eq!(audited(&outcome, task_type, "composite", "all").kept, None);
        assert_eq!(audited(&outcome, task_type, "cross", "all").kind, "evaluator");
    }
    // The good model is the dear one.
    assert_eq!(audited(&outcome, "qa", "cost_prior", "all").sign.as_deref(), Some("negative"));
    assert!(
        outcome.warnings.iter().any(|w| w.contains("`cost_prior` falls where f1 rises on `qa`")),
        "{:?}",
        outcome.warnings
    );
    assert_eq!(audited(&outcome, "summarization", "cross", "all").sign.as_deref(), Some("negative"));
    assert!(outcome.notes.iter().any(|note| note.contains("held-out half")), "{:?}", outcome.notes);
}

#[test]
fn calibration_does_not_look_at_the_held_out_half() {
    let run = run();
    let outcome = run.outcome();
    let answers = Answers::join(&run.tasks, &run.generations, &run.scores).expect("joins");
    let halves = halves(&answers, run.settings.seed);
    let held_out: Vec<String> = answers
        .rows
        .iter()
        .zip(&halves)
        .filter(|(_, half)| **half == calibrate::Half::HeldOut)
        .map(|(answer, _)| answer.task.task_id.clone())
        .collect();
    let mut turned = run.clone();
    for row in turned.scores.iter_mut().filter(|row| row.scorer == "f1" && held_out.contains(&row.task_id)) {
        row.normalized = row.normalized.map(|f1| 10.0 - f1);
    }
    let other = turned.outcome();
    assert!(outcome.signals == other.signals, "the F1 of a held-out record is in no signal");
    for task_type in ["qa", "summarization"] {
        assert_eq!(calibrated_weights(&outcome, task_type), calibrated_weights(&other, task_type));
        let r = |outcome: &Outcome| {
            audited(outcome, task_type, "composite_calibrated", "held_out").pearson.expect("is defined")
        };
        assert!(r(&outcome) > 0.0 && r(&other) < 0.0, "{} {}", r(&outcome), r(&other));
    }
}

#[test]
fn calibration_beats_the_default_where_dimensions_mislead() {
    let run = run();
    let outcome = run.outcome();
    for task_type in ["qa", "summarization"] {
        let r = |signal: &str| audited(&outcome, task_type, signal, "held_out").pearson.expect("is defined");
        assert!(r("composite_calibrated") > r("composite"), "{task_type}");
    }
}

#[test]
fn where_no_dimension_follows_the_reference_there_is_no_calibrated_composite() {
    let mut run = run();
    run.settings.theta = 0.999;
    let outcome = run.outcome();
    let rows: Vec<SignalRow> = outcome.signals.rows().filter(|row| row.signal == "composite_calibrated").collect();
    assert_eq!((rows.len(), outcome.signals.missing()), (144, 144));
    for row in rows {
        let error = row.error.as_deref().unwrap_or_default();
        assert!(row.value.is_none() && error.contains("no dimension with a weight follows `f1`"), "{row:?}");
    }
    assert_eq!(calibrated_weights(&outcome, "qa"), [None; 6]);
    let warned = outcome.warnings.iter().filter(|warning| warning.contains("`composite_calibrated` is null there"));
    assert_eq!(warned.count(), 2, "{:?}", outcome.warnings);
    assert_eq!(audited(&outcome, "qa", "composite_calibrated", "all").n, 0);
}

#[test]
fn a_failed_answer_keeps_its_rows_with_its_error() {
    let mut run = run();
    run.generations[0] = samples::failed_answer("qa-0", "good");
    run.scores.retain(|row| !(row.task_id == "qa-0" && row.model == "good"));
    let outcome = run.outcome();
    let rows: Vec<SignalRow> = outcome.signals.rows().collect();
    let own: Vec<&SignalRow> = rows.iter().filter(|row| row.task_id == "qa-0" && row.model == "good").collect();
    assert_eq!(own.len(), 8);
    assert!(own.iter().all(|row| row.value.is_none() && row.error.as_deref().is_some_and(|e| e.contains("too long"))));
    assert_eq!(audited(&outcome, "qa", "composite", "all").n, 71);
}

#[test]
fn the_cascade_runs_the_paid_by_latency_or_whom_the_settings_name() {
    let mut run = run();
    let order = |run: &Run| run.outcome().cascade.first().map(|row| row.evaluators.join(" "));
    assert_eq!(order(&run).as_deref(), Some("bi own cross"));
    assert_eq!(run.outcome().cascade.len(), run.settings.cascade.thresholds.len() * 3);
    run.evaluators[2].paid = false;
    assert_eq!(order(&run).as_deref(), Some("bi cross"));
    run.settings.cascade.evaluators = vec!["cross".into(), "bi".into()];
    assert_eq!(order(&run).as_deref(), Some("cross bi"));
    run.settings.cascade.evaluators = vec!["bi".into(), "nobody".into()];
    run.fails(&["`signals.cascade.evaluators`", "`nobody`", "bi, cross, own"]);
    run.settings.cascade.evaluators = vec!["bi".into(), "own".into()];
    run.profile.retain(|row| row.node != "own");
    run.fails(&["`own`", "not in the profile", "hint: "]);
}

#[test]
fn one_evaluator_leaves_neither_cascade_nor_agreement_and_says_so() {
    let mut run = run();
    run.evaluators.truncate(1);
    // The first answer of all fails, and its reason is not that of the others.
    run.generations[0] = samples::failed_answer("qa-0", "fair");
    run.scores.retain(|row| row.task_id != "qa-0");
    run.generations.retain(|row| row.task_id != "qa-0" || row.error.is_some());
    let outcome = run.outcome();
    assert!(outcome.signals.rows().next().is_some_and(|row| row.error.is_some_and(|error| error.contains("too long"))));
    assert!(outcome.cascade.is_empty());
    for part in ["`agreement` has no value for any answer: agreement takes two scores", "there is no cascade"] {
        assert!(outcome.warnings.iter().any(|warning| warning.contains(part)), "{:?}", outcome.warnings);
    }
    assert!(outcome.signals.rows().filter(|row| row.signal == "composite").skip(1).all(|row| row.value.is_some()));
}

#[test]
fn another_reference_is_another_audit() {
    let mut run = run();
    run.settings.reference = crate::settings::Reference::ExactMatch;
    assert!(run.outcome().audit.iter().all(|row| row.reference == "exact_match"));
    run.scores.retain(|row| row.scorer != "exact_match");
    run.fails(&["`exact_match`", "`signals.reference`"]);
}

#[test]
fn where_every_answer_failed_that_is_said_once() {
    let mut run = run();
    for row in &mut run.generations {
        *row = samples::failed_answer(&row.task_id, &row.model);
    }
    run.scores.iter_mut().for_each(|row| (row.raw, row.normalized) = (None, None));
    let outcome = run.outcome();
    let said = |part: &str| outcome.warnings.iter().filter(|warning| warning.contains(part)).count();
    assert_eq!((said("no answer has an output"), said("has no value")), (1, 0), "{:?}", outcome.warnings);
}

#[test]
fn the_prior_of_a_lone_model_is_no_evidence_against_it() {
    let mut run = run();
    run.generations.retain(|row| row.model == "fair");
    run.scores.retain(|row| row.model == "fair");
    let outcome = run.outcome();
    for task_type in ["qa", "summarization"] {
        // Within a half there is one prior, and over both there are two, of which the worse half has the higher.
        for split in ["all", "fit", "held_out"] {
            let row = audited(&outcome, task_type, "model_prior", split);
            assert_eq!((row.pearson, row.sign.as_deref(), row.n > 0), (None, None, true), "{row:?}");
        }
        let r = |split: &str| audited(&outcome, task_type, "composite", split).pearson.expect("is defined");
        let halves = [r("fit"), r("held_out")];
        assert!(r("all") > halves[0].min(halves[1]) && r("all") < halves[0].max(halves[1]), "{} {halves:?}", r("all"));
    }
    assert!(!outcome.warnings.iter().any(|warning| warning.contains("`model_prior` falls")), "{:?}", outcome.warnings);
}

#[test]
fn the_best_evaluator_is_chosen_where_it_is_not_measured() {
    let run = run();
    let outcome = run.outcome();
    let mut audit = outcome.audit.clone();
    for row in audit.iter_mut().filter(|row| row.kind == "evaluator" && row.task_type == "qa") {
        row.pearson = Some(match (row.signal.as_str(), row.split.as_str()) {
            ("own", "held_out") => 0.9,
            ("cross", "fit") => 0.8,
            ("cross", "held_out") => 0.125,
            _ => 0.2,
        });
    }
    let notes = notes::notes(&audit, &outcome.cascade);
    assert!(notes[0].ends_with("best evaluator of the other half 0.12 (cross)"), "{notes:?}");
}

#[test]
fn whoever_is_asked_to_stop_stops() {
    let run = run();
    let error = build(&run.inputs(), Watch { stopped: &|| true, ..Watch::NOBODY }).expect_err("stops");
    assert!(error.is::<crate::simulate::Stopped>(), "{error:#}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn the_order_of_rows_changes_nothing(seed in any::<u64>()) {
        let straight = run();
        let mut shuffled = straight.clone();
        // A permutation by hash is enough here, and every table gets another one.
        let key = |number: usize, salt: usize| noise((number + salt).wrapping_mul(seed as usize | 1)).to_bits();
        shuffle(&mut shuffled.tasks, |i| key(i, 1));
        shuffle(&mut shuffled.generations, |i| key(i, 2));
        shuffle(&mut shuffled.scores, |i| key(i, 3));
        shuffle(&mut shuffled.profile, |i| key(i, 4));
        prop_assert!(straight.generations != shuffled.generations && straight.scores != shuffled.scores);
        prop_assert!(straight.outcome() == shuffled.outcome());
    }
}

fn shuffle<T>(rows: &mut Vec<T>, key: impl Fn(usize) -> u64) {
    let mut keyed: Vec<(u64, usize, T)> = rows.drain(..).enumerate().map(|(i, row)| (key(i), i, row)).collect();
    keyed.sort_by_key(|(key, i, _)| (*key, *i));
    rows.extend(keyed.into_iter().map(|(_, _, row)| row));
}
