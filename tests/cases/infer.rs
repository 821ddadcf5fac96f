//! `poq simulate --infer-coefficients`: the paper's table, runs whose coefficients are known, and what is refused.

use crate::support::{Scratch, answers, import};
use poq::store::rows::RoundRow;
use poq::store::table;
use serde_json::Value;

fn infer(scratch: &Scratch, arguments: &[&str]) -> Value {
    let arguments = [&["simulate"], arguments, &["--infer-coefficients", "--format", "json"]].concat();
    serde_json::from_str(&scratch.poq(&arguments, 0).stdout).expect("JSON")
}

/// The range of beta at an alpha of a region.
fn beta_at(region: &Value, alpha: f64) -> (f64, Option<f64>) {
    let rows = region["beta_at_alpha"].as_array().expect("a list");
    let row = rows.iter().find(|row| row["alpha"] == alpha).expect("an alpha of the list");
    (row["beta"]["low"].as_f64().expect("something fits"), row["beta"]["high"].as_f64())
}

#[test]
fn the_papers_table_needs_no_run() {
    let scratch = Scratch::new();
    let document = infer(&scratch, &[]);
    assert_eq!(document, infer(&scratch, &["--preset", "paper"]), "the preset is the default, spelled out");
    assert_eq!(document["inference_version"], 1);
    let (low, high) = beta_at(&document["shared"]["exact"], 1.0);
    assert!((low - 0.147).abs() < 1e-3 && (high.expect("bounded") - 0.437).abs() < 1e-3, "{low} to {high:?}");
    let verdicts: Vec<(&str, &str)> = document["costs"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|check| (check["node"].as_str().expect("a key"), check["verdict"].as_str().expect("a verdict")))
        .collect();
    assert_eq!(verdicts.len(), 8);
    assert!(
        verdicts.iter().all(|(node, verdict)| (*verdict == "unrounded_only") == (*node == "ce_minilm")),
        "{verdicts:?}"
    );
    assert!(document["true_coefficients"].is_null());

    let text = scratch.poq(&["simulate", "--infer-coefficients"], 0).stdout;
    for part in ["Table 4 of arXiv 2512.16317", "unrounded only", "R² = 0.992", "What cannot be reproduced, and why"] {
        assert!(text.contains(part), "`{part}` is missing:\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 100), "a line is too wide:\n{text}");
    assert!(!scratch.path("results").exists(), "nothing is written");
}

#[test]
fn a_run_contains_the_coefficients_that_it_was_simulated_with() {
    let scratch = Scratch::new();
    scratch.poq(&["run", "tiny.toml"], 0);
    for flags in [
        &["--k", "2"][..],
        &["--k", "2", "--alpha", "0.8", "--beta", "0.05"],
        &["--k", "1..2", "--alpha-f", "2", "--beta-f", "1.5", "--alpha-m", "0.5", "--beta-m", "0"],
        &["--k", "1"],
    ] {
        scratch.poq(&[&["simulate", "results/tiny"], flags].concat(), 0);
        let before = std::fs::read(scratch.path("results/tiny/run.json")).expect("read");
        let document = infer(&scratch, &["results/tiny"]);
        let own = &document["true_coefficients"];
        assert_eq!(
            (&own["inference_inside"], &own["evaluators_inside"]),
            (&true.into(), &true.into()),
            "{flags:?}: {own}"
        );
        assert_eq!(document["evaluators"]["everybody_judges"], flags[1] == "2", "{flags:?}");
        assert!(document["costs"].as_array().is_some_and(|costs| costs.iter().all(|cost| cost["verdict"] == "exact")));
        assert!(document["not_reproducible"].as_array().is_some_and(Vec::is_empty), "a run can be reproduced");
        assert_eq!(std::fs::read(scratch.path("results/tiny/run.json")).expect("read"), before, "only read");
    }
    let text = scratch.poq(&["simulate", "results/tiny", "--infer-coefficients"], 0).stdout;
    assert!(text.contains("run `tiny`") && text.contains("Inside its region"), "{text}");
}

#[test]
fn two_evaluators_that_always_judge_give_their_beta_away() {
    let scratch = Scratch::new();
    import(&scratch, &answers(12, 3, |task, model| format!("lamp {}", task * model)), &["tiny_bi", "tiny_cross"], &[]);
    scratch.poq(&["score", "results/own"], 0);
    let latencies =
        ["m0=5", "m1=7", "m2=9", "tiny_bi=1", "tiny_cross=3"].map(|latency| ["--latency", latency]).concat();
    scratch.poq(&[&["profile", "results/own"], &latencies[..]].concat(), 0);
    scratch.poq(&["simulate", "results/own", "--beta", "0.37"], 0);
    let document = infer(&scratch, &["results/own"]);
    let (low, high) = beta_at(&document["evaluators"]["region"]["exact"], 1.0);
    assert!((low - 0.37).abs() < 1e-6 && (high.expect("bounded") - 0.37).abs() < 1e-6, "{low} to {high:?}");
    let own = &document["true_coefficients"];
    assert_eq!((&own["inference_inside"], &own["evaluators_inside"]), (&true.into(), &true.into()), "{own}");
}

#[test]
fn a_pool_of_equal_costs_says_that_beta_cannot_be_known() {
    let scratch = Scratch::new();
    import(&scratch, &answers(8, 2, |task, model| format!("lamp {}", task + model)), &["tiny_bi", "tiny_cross"], &[]);
    for stage in ["score", "profile", "simulate"] {
        scratch.poq(&[stage, "results/own"], 0);
    }
    let document = infer(&scratch, &["results/own"]);
    assert_eq!(document["inference"]["tells_beta"], false);
    let text = scratch.poq(&["simulate", "results/own", "--infer-coefficients"], 0).stdout;
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains("no difference between rewards depends on β_F: it cannot be identified"), "{text}");
    assert!(text.contains("no latency"), "{text}");
}

#[test]
fn what_cannot_be_inferred_from_is_refused() {
    let scratch = Scratch::new();
    scratch.poq(&["simulate"], 2).says(&["needs the directory of a run", "hint: `poq simulate RUN`"]);
    scratch.poq(&["simulate", "--preset", "paper"], 2).says(&["--infer-coefficients"]);
    scratch.poq(&["simulate", "results/tiny", "--infer-coefficients", "--preset", "paper"], 2).says(&["--preset"]);
    scratch.poq(&["simulate", "--infer-coefficients", "--preset", "letter"], 2).says(&["letter", "paper"]);
    scratch.poq(&["simulate", "--infer-coefficients", "--beta", "0.1"], 2).says(&["--beta"]);
    scratch.poq(&["simulate", "results/nowhere", "--infer-coefficients"], 2).says(&["results/nowhere", "is not a run"]);
    scratch.poq(&["tasks", "results/tiny", "--experiment", "tiny.toml"], 0);
    scratch
        .poq(&["simulate", "results/tiny", "--infer-coefficients"], 2)
        .says(&["has no rewards yet", "hint: `poq simulate results/tiny`"]);
}

#[test]
fn rewards_with_other_columns_or_of_other_settings_are_refused() {
    let scratch = Scratch::new();
    scratch.poq(&["run", "tiny.toml"], 0);
    let rewards = scratch.path("results/tiny/rewards.parquet");
    let stamp = table::stamp(&rewards).expect("reads").expect("is there");
    let rounds: Vec<RoundRow> = scratch.table("results/tiny/rounds.parquet");
    table::write(&rewards, &rounds, &stamp).expect("write");
    scratch
        .poq(&["simulate", "results/tiny", "--infer-coefficients"], 2)
        .says(&["rewards.parquet", "has not the columns of table `rewards`"]);
    std::fs::write(&rewards, "not parquet").expect("write");
    scratch.poq(&["simulate", "results/tiny", "--infer-coefficients"], 2).says(&["rewards.parquet", "damaged"]);
    std::fs::remove_file(&rewards).expect("remove");
    scratch.poq(&["simulate", "results/tiny"], 0);
    scratch.edit("results/tiny/run.json", "\"beta_f\": 0.3", "\"beta_f\": 0.4");
    scratch
        .poq(&["simulate", "results/tiny", "--infer-coefficients"], 2)
        .says(&["was made with other settings", "poq simulate results/tiny"]);
}
