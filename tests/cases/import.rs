//! Answers made elsewhere: scored, costed and paid without generating anything.

use crate::support::Scratch;
use poq::store::rows::{ProfileRow, RewardRow};
use std::fmt::Write;

fn answers(with_latency: bool) -> String {
    let mut lines = String::new();
    for task in 0..12 {
        for (model, suffix) in [("terse", ""), ("wordy", " and a good deal more besides")] {
            let mut record = serde_json::json!({
                "input": format!("Summarise article {task}."),
                "references": [format!("Council number {task} met."), "The council met."],
                "model": model,
                "output": format!("Council number {} met{suffix}.", task % 5),
                "task_type": "summarization",
                "mood": "calm",
            });
            if with_latency {
                record["latency_ms"] = (if model == "terse" { 10.0 + f64::from(task) } else { 30.0 }).into();
            }
            let _ = writeln!(lines, "{record}");
        }
    }
    lines
}

#[test]
fn imported_answers_are_scored_costed_and_paid() {
    let scratch = Scratch::new();
    scratch.write("answers.jsonl", &answers(true));
    scratch
        .poq(&["import", "answers.jsonl", "--run", "mine", "--evaluator", "tiny_bi", "--evaluator", "tiny_cross"], 0)
        .says(&["`mood`", "next: poq score results/mine"]);
    for stage in ["score", "profile", "simulate", "report"] {
        scratch.poq(&[stage, "results/mine"], 0);
    }
    let profile: Vec<ProfileRow> = scratch.table("results/mine/profile.parquet");
    let terse = profile.iter().find(|row| row.node == "terse").expect("row");
    assert_eq!((terse.latency_ms_mean, terse.source.as_str(), terse.cost_norm), (Some(15.5), "imported", 0.0));
    let bi = profile.iter().find(|row| row.node == "tiny_bi").expect("row");
    assert_eq!(bi.source, "measured");
    assert!(
        bi.latency_ms_mean.is_some_and(|ms| ms > 0.0) && bi.latency_ms_p95.is_some() && bi.peak_memory_mb.is_some()
    );
    let rewards: Vec<RewardRow> = scratch.table("results/mine/rewards.parquet");
    assert_eq!(rewards.len(), 4);
    assert!(rewards.iter().all(|row| row.avg_reward.is_some()));
}

#[test]
fn without_latencies_rewards_are_quality_alone() {
    let scratch = Scratch::new();
    scratch.write("answers.jsonl", &answers(false));
    scratch.poq(&["import", "answers.jsonl", "--run", "mine", "--evaluator", "tiny_bi"], 0);
    scratch.poq(&["score", "results/mine"], 0);
    scratch.poq(&["profile", "results/mine"], 0).says(&["nobody knows the latencies", "--latency"]);
    scratch.poq(&["simulate", "results/mine"], 0);
    scratch.poq(&["report", "results/mine"], 0);
    scratch.poq(&["profile", "results/mine", "--latency", "tress=5"], 2).says(&["`tress`", "terse"]);
    // Half-known latencies cannot be compared.
    scratch.poq(&["profile", "results/mine", "--latency", "terse=5"], 2).says(&["wordy"]);
    scratch.poq(&["profile", "results/mine", "--latency", "wordy=9", "--latency", "terse=5"], 0);
}

#[test]
fn an_imported_run_is_not_overwritten_by_accident() {
    let scratch = Scratch::new();
    scratch.write("answers.jsonl", &answers(true));
    scratch.poq(&["import", "answers.jsonl", "--run", "mine", "--evaluator", "tiny_bi"], 0);
    scratch.poq(&["import", "answers.jsonl", "--run", "mine", "--evaluator", "tiny_bi"], 2).says(&["--update"]);
    scratch.poq(&["import", "answers.jsonl", "--run", "mine", "--evaluator", "tiny_bi", "--update"], 0);
    scratch.poq(&["run", "tiny.toml", "--run", "mine"], 2).says(&["imported"]);
}

#[test]
fn replaced_answers_take_everything_along() {
    let scratch = Scratch::new();
    scratch.write("answers.jsonl", &answers(true));
    let import = |update: &[&str], code: i32| {
        let arguments = ["import", "answers.jsonl", "--run", "mine", "--evaluator", "tiny_bi"];
        scratch.poq(&[&arguments, update].concat(), code);
    };
    let rest = || ["score", "profile", "simulate", "report"].map(|stage| scratch.poq(&[stage, "results/mine"], 0));
    import(&[], 0);
    rest();
    scratch.edit("answers.jsonl", "\"terse\"", "\"meta/terse-2\"");
    import(&["--update"], 0);
    assert!(!scratch.path("results/mine/rewards.parquet").exists(), "nothing of the old answers is left");
    rest();
    assert!(scratch.scores("mine").iter().any(|row| row.model == "meta/terse-2"));
    assert!(scratch.scores("mine").iter().all(|row| row.model != "terse"));
    assert!(scratch.path("results/mine/generations/meta%2Fterse-2.parquet").exists());
    // A run that poq generated is not a place to import into.
    scratch.poq(&["run", "tiny.toml"], 0);
    scratch
        .poq(&["import", "answers.jsonl", "--run", "tiny", "--evaluator", "tiny_bi", "--update"], 2)
        .says(&["generated"]);
}

#[test]
fn bad_rows_are_named() {
    for (line, parts) in [
        (r#"{"input": "i", "reference": "r", "output": "o"}"#, vec!["line 1", "model"]),
        (r#"{"input": "i", "model": "m", "output": "o"}"#, vec!["line 1", "reference"]),
        (r#"{"input": "", "reference": "r", "model": "m", "output": "o"}"#, vec!["line 1", "input"]),
        (r#"{"input": "i", "reference": "r", "model": 7, "output": "o"}"#, vec!["line 1", "model", "number"]),
        ("{", vec!["line 1"]),
        ("", vec!["answers.jsonl"]),
    ] {
        let scratch = Scratch::new();
        scratch.write("answers.jsonl", line);
        scratch.poq(&["import", "answers.jsonl", "--run", "bad", "--task-type", "qa"], 2).says(&parts);
    }
}

#[test]
fn a_null_output_stays_as_a_failed_row() {
    let scratch = Scratch::new();
    scratch.write(
        "answers.jsonl",
        "{\"task_id\": \"a\", \"input\": \"i\", \"reference\": \"r\", \"model\": \"m\", \"output\": null}\n\
         {\"task_id\": \"b\", \"input\": \"j\", \"reference\": \"r\", \"model\": \"m\", \"output\": \"r\"}\n",
    );
    scratch.poq(&["import", "answers.jsonl", "--run", "n", "--task-type", "qa", "--evaluator", "tiny_bi"], 1);
    scratch.poq(&["score", "results/n"], 1).says(&["failed"]);
    let rows = scratch.answers("n");
    assert!(rows[0].error.is_some() && rows[0].output.is_none());
}
