//! Quality signals as users meet them: on answers made elsewhere, on a run with a reference-free evaluator, and as Q.

use crate::support::{Scratch, answers, import};
use poq::commands::open_run::Run;
use poq::commands::signals::read_quality;
use poq::signals::Composite;
use poq::store::rows::{CascadeRow, SignalAuditRow, SignalRow};

/// A run `own` of imported answers, scored and costed: 12 records of each type, two models, two evaluators.
fn costed() -> Scratch {
    let scratch = Scratch::new();
    let output = |task: usize, model: usize| match model {
        0 => format!("lamp {task} lights the harbour"),
        _ => "harbour light ".repeat(1 + task % 7) + &task.to_string(),
    };
    import(&scratch, &answers(24, 2, output), &["tiny_bi", "tiny_cross"], &[]);
    scratch.poq(&["score", "results/own"], 0);
    scratch.poq(&["profile", "results/own", "--latency", "tiny_bi=1", "--latency", "tiny_cross=3"], 0);
    scratch
}

fn signals(scratch: &Scratch) -> Vec<SignalRow> {
    scratch.table("results/own/signals.parquet")
}

fn audit(scratch: &Scratch) -> Vec<SignalAuditRow> {
    scratch.table("results/own/signal_audit.parquet")
}

fn cascade(scratch: &Scratch) -> Vec<CascadeRow> {
    scratch.table("results/own/cascade.parquet")
}

#[test]
fn imported_answers_get_signals_an_audit_and_a_cascade() {
    let scratch = costed();
    scratch.poq(&["signals", "results/own", "--threads", "4"], 0).says(&[
        "`cost_prior` has no value for any answer: nobody knows the latency of `m0`",
        "held-out half",
        "cascade tiny_bi → tiny_cross",
        "signals: 384 rows",
    ]);
    let rows = signals(&scratch);
    assert_eq!(rows.len(), 24 * 2 * 8);
    for row in &rows {
        assert_eq!(row.value.is_none(), row.error.is_some(), "{row:?}");
        assert!(row.value.is_none_or(|value| (0.0..=1.0).contains(&value)), "{row:?}");
        let may_be_null = ["cost_prior", "composite_calibrated"].contains(&row.signal.as_str());
        assert!(row.value.is_some() || may_be_null, "{row:?}");
    }
    let audit = audit(&scratch);
    assert_eq!(audit.len(), 2 * 12 * 3);
    let defined: Vec<_> = audit.iter().filter(|row| row.split == "all" && row.pearson.is_some()).collect();
    assert!(!defined.is_empty() && defined.iter().all(|row| row.ci_low.is_some()), "{audit:?}");
    let cascade = cascade(&scratch);
    assert_eq!(cascade.len(), 12 * 3);
    let costs: Vec<Option<f64>> = cascade.iter().filter(|row| row.task_type == "all").map(|row| row.cost_ms).collect();
    assert_eq!((costs.first(), costs.last()), (Some(&Some(1.0)), Some(&Some(4.0))));
    assert!(costs.is_sorted(), "{costs:?}");
    scratch.poq(&["signals", "results/own"], 0).says(&["signals: 384 rows, nothing to do"]);
    std::fs::remove_file(scratch.path("results/own/cascade.parquet")).expect("remove");
    scratch.poq(&["signals", "results/own", "--threads", "1"], 0);
    assert_eq!((self::audit(&scratch), self::cascade(&scratch)), (audit, cascade), "at any number of threads");
    assert_eq!(signals(&scratch), rows);
}

#[test]
fn flags_change_the_settings_of_the_run_and_nonsense_does_not() {
    let scratch = costed();
    scratch.poq(&["signals", "results/own"], 0);
    let before = signals(&scratch);
    let refused: [(&[&str], &[&str]); 9] = [
        (&["--weight", "fluency=1"], &["`fluency`", "semantic"]),
        (&["--weight", "semantic=-1"], &["`signals.weights.semantic`"]),
        (&["--theta", "1"], &["`signals.theta`"]),
        (&["--cascade", "tiny_bi"], &["`signals.cascade.evaluators`"]),
        (&["--cascade", "tiny_bi,tiny_nli"], &["`tiny_nli`", "tiny_bi, tiny_cross"]),
        (&["--threshold", "1,11"], &["`signals.cascade.thresholds`", "11"]),
        (&["--threshold", "-1"], &["`signals.cascade.thresholds`", "-1"]),
        (&["--middle", "0"], &["`signals.cascade.middle`"]),
        (&["--middle", "-1"], &["`signals.cascade.middle`", "-1"]),
    ];
    for (flags, parts) in refused {
        scratch.poq(&[&["signals", "results/own"], flags].concat(), 2).says(parts);
    }
    scratch.poq(&["signals", "results/own"], 0).says(&["nothing to do"]);
    let only_semantic = ["model_prior=0", "cost_prior=0", "structure=0", "alignment=0", "agreement=0"];
    let flags = only_semantic.iter().flat_map(|weight| ["--weight", weight]);
    let others = ["--cascade", "tiny_cross,tiny_bi", "--threshold", "0,2.5", "--verdict", "last", "--theta", "-0.5"];
    scratch.poq(&["signals", "results/own"].into_iter().chain(flags).chain(others).collect::<Vec<_>>(), 0);
    let after = signals(&scratch);
    assert_ne!(after, before);
    for rows in after.chunks(8) {
        let value = |signal: &str| rows.iter().find(|row| row.signal == signal).and_then(|row| row.value);
        assert!(value("semantic").is_some() && value("composite") == value("semantic"), "{rows:?}");
    }
    let order: Vec<_> = cascade(&scratch).iter().map(|row| (row.evaluators.join(" "), row.verdict.clone())).collect();
    assert_eq!(order, vec![("tiny_cross tiny_bi".to_owned(), "last".to_owned()); 6]);
    scratch.poq(&["signals", "results/own"], 0).says(&["nothing to do"]);
}

#[test]
fn what_is_missing_before_is_named() {
    let scratch = Scratch::new();
    import(&scratch, &answers(4, 2, |task, _| format!("keeper {task}")), &["tiny_bi"], &[]);
    scratch.poq(&["signals", "results/own"], 2).says(&["scores", "hint: "]);
    scratch.poq(&["score", "results/own"], 0);
    scratch.poq(&["signals", "results/own"], 2).says(&["profile.parquet", "hint: "]);
    scratch.poq(&["profile", "results/own", "--latency", "tiny_bi=1"], 0);
    // One evaluator agrees with nobody and has nobody to turn to.
    scratch.poq(&["signals", "results/own"], 0).says(&["`agreement` has no value", "there is no cascade"]);
    assert!(cascade(&scratch).is_empty());
}

#[test]
fn an_evaluator_of_the_input_is_alignment_and_the_experiment_says_how() {
    let scratch = Scratch::new();
    let scoring = r#"evaluators = ["tiny_bi", "tiny_cross"]
unpaid_evaluators = ["on_input"]
[scoring.variants]
on_input = { model = "tiny_bi", against = "input" }
[signals]
theta = -0.9
[signals.cascade]
thresholds = [0, 2.5, 10]
verdict = "last"
"#;
    scratch.edit("tiny.toml", "evaluators = [\"tiny_bi\", \"tiny_cross\"]\n", scoring);
    scratch.edit("tiny.toml", "name = \"tiny\"", "name = \"own\"");
    scratch.poq(&["run", "tiny.toml"], 0);
    assert!(!scratch.path("results/own/signals.parquet").exists(), "a run does not weigh signals by itself");
    scratch.poq(&["signals", "results/own"], 0);
    let rows = signals(&scratch);
    let of = |signal: &str| rows.iter().filter(|row| row.signal == signal).collect::<Vec<_>>();
    assert!(of("alignment").iter().all(|row| row.source == "on_input"));
    assert!(of("semantic").iter().all(|row| row.source == "tiny_bi"));
    let costs: Vec<Option<f64>> = of("cost_prior").iter().map(|row| row.value).collect();
    assert!(costs.contains(&Some(1.0)) && costs.contains(&Some(0.0)), "{costs:?}");
    let cut: Vec<_> =
        scratch.answers("own").into_iter().filter(|row| row.finish_reason.as_deref() == Some("length")).collect();
    assert!(!cut.is_empty());
    for answer in cut {
        let own = |row: &&&SignalRow| row.task_id == answer.task_id && row.model == answer.model;
        let structure = of("structure").iter().find(own).and_then(|row| row.value);
        assert!(structure.is_some_and(|value| value <= 0.75), "{structure:?}");
    }
    assert_eq!(cascade(&scratch).len(), 3 * 3);
    // The tables of the run are as they were.
    let again = scratch.poq(&["run", "tiny.toml"], 0);
    again.says(&["simulate: 4 rows, nothing to do"]);
    scratch.edit("tiny.toml", "theta = -0.9", "theta = 2.0");
    scratch.poq(&["run", "tiny.toml", "--update"], 2).says(&["tiny.toml", "`signals.theta`"]);
}

#[test]
fn a_composite_can_be_read_as_quality_while_it_is_that_of_the_run() {
    let scratch = costed();
    let quality = || read_quality(&Run::open(&scratch.path("results/own")).expect("opens"), &Composite::ALL);
    let error = format!("{:#}", quality().expect_err("not there yet"));
    assert!(error.contains("signals.parquet") && error.contains("hint: `poq signals"), "{error}");
    scratch.poq(&["signals", "results/own"], 0);
    let rows = signals(&scratch);
    for (composite, found) in Composite::ALL.into_iter().zip(quality().expect("reads")) {
        let own: Vec<&SignalRow> =
            rows.iter().filter(|row| row.signal == composite.name() && row.value.is_some()).collect();
        assert_eq!(found.len(), own.len());
        for row in own {
            assert_eq!(found.get(&(row.task_id.clone(), row.model.clone())).copied(), row.value);
        }
    }
    scratch.edit("results/own/run.json", "\"theta\": 0.0", "\"theta\": 0.5");
    let error = format!("{:#}", quality().expect_err("made with another theta"));
    assert!(error.contains("signals.parquet") && error.contains("hint: `poq signals"), "{error}");
}

#[test]
fn a_signal_that_is_null_everywhere_pays_nobody() {
    let scratch = costed();
    scratch.poq(&["profile", "results/own", "--latency", "m0=10", "--latency", "m1=20"], 0);
    scratch.poq(&["signals", "results/own", "--theta", "0.999"], 0).says(&["`composite_calibrated` is null there"]);
    let paid_for = |quality: &str, code| {
        scratch.poq(&["simulate", "results/own", "--rounds", "50", "--k", "1", "--set", quality], code)
    };
    let parts = ["which is null for every answer", "hint: the warnings of `poq signals`"];
    paid_for("quality=composite_calibrated", 2).says(&parts);
    paid_for("quality=composite", 0);
}

#[test]
fn new_signals_touch_no_sweep_that_does_not_pay_for_them() {
    let scratch = costed();
    scratch.write("k.toml", "name = \"k\"\n[simulation]\nrounds = 50\n[grid]\nk = [1, 2]\n");
    let paid = "name = \"q\"\n[simulation]\nrounds = 50\nk = 2\n[grid]\nquality = [\"none\", \"composite\"]\n";
    scratch.write("q.toml", paid);
    let sweep = |file: &str, code| scratch.poq(&["sweep", "results/own", file], code);
    sweep("k.toml", 0);
    sweep("q.toml", 2).says(&["signals.parquet", "hint: `poq signals"]);
    scratch.poq(&["signals", "results/own"], 0);
    sweep("k.toml", 0).says(&["nothing to do"]);
    sweep("q.toml", 0);
    sweep("q.toml", 0).says(&["nothing to do"]);
    scratch.poq(&["signals", "results/own", "--weight", "structure=0"], 0);
    sweep("k.toml", 0).says(&["nothing to do"]);
    assert!(!sweep("q.toml", 0).stderr.contains("nothing to do"), "it pays for other qualities now");
}
