//! Scoring as users meet it: what is read once, other precisions and providers, variants and normalisation.

use crate::invariants::assert_close;
use crate::support::{Scratch, answers, import};
use poq::store::rows::{RewardRow, ScoreRow};
use serde_json::{Value, json};

fn record(scratch: &Scratch) -> Value {
    serde_json::from_str(&std::fs::read_to_string(scratch.path("results/own/run.json")).expect("read")).expect("JSON")
}

fn figures(scratch: &Scratch, evaluator: &str) -> Value {
    record(scratch)["stages"]["score"]["details"]["evaluators"][evaluator].clone()
}

fn pieces(scratch: &Scratch, evaluator: &str) -> Option<u64> {
    figures(scratch, evaluator)["inference"]["pieces"].as_u64()
}

fn column(scratch: &Scratch, scorer: &str) -> Vec<ScoreRow> {
    scratch.table(&format!("results/own/scores/{scorer}.parquet"))
}

#[test]
fn a_graph_that_pools_by_itself_scores_as_one_that_is_pooled() {
    let scratch = Scratch::new();
    let evaluators = ["tiny_bi", "tiny_pooled"];
    // Rows of one batch have 3 to 14 tokens.
    let words = |task, model| vec!["keeper of the lamp"; 1 + (task + model) % 3].join(" by the river ");
    import(&scratch, &answers(8, 3, words), &evaluators, &[]);
    scratch.poq(&["score", "results/own"], 0);
    let [here, there] = evaluators.map(|key| column(&scratch, key));
    assert_eq!((here.len(), there.len()), (24, 24));
    for (here, there) in here.iter().zip(&there) {
        let (a, b) = (here.raw.expect("scored"), there.raw.expect("scored"));
        assert!((a - b).abs() < 1e-6, "{a} and {b} for {} of {}", here.task_id, here.model);
        assert!(here.work_key != there.work_key, "graphs of their own");
    }
    assert!(here.iter().any(|row| row.raw != here[0].raw));
}

#[test]
fn every_distinct_text_is_read_once_across_models_and_calls() {
    let scratch = Scratch::new();
    // Models 0 and 1 say the same, model 2 repeats the reference: 10 references + 10 other texts.
    let two =
        |task, model| if model < 2 { format!("keeper {task}") } else { format!("lamp {task} lights the harbour") };
    import(&scratch, &answers(10, 3, two), &["tiny_bi", "tiny_cross"], &[]);
    scratch.poq(&["score", "results/own"], 0).says(&["20 distinct texts for 30 rows", "workers busy"]);
    assert_eq!((pieces(&scratch, "tiny_bi"), pieces(&scratch, "tiny_cross")), (Some(20), Some(20)));
    let first = column(&scratch, "tiny_bi");
    let order: Vec<(&str, &str)> = first.iter().take(4).map(|row| (&*row.task_id, &*row.model)).collect();
    assert_eq!(order, [("t000", "m0"), ("t000", "m1"), ("t000", "m2"), ("t001", "m0")], "task by task");
    for rows in first.chunks(3) {
        assert_eq!(
            (rows[0].raw, &rows[0].work_key, rows[0].infer_ms),
            (rows[1].raw, &rows[1].work_key, rows[1].infer_ms)
        );
        assert!((rows[2].raw.expect("scored") - 1.0).abs() < 1e-6, "a text equals itself");
        assert!(
            rows[0].tokens.is_some_and(|tokens| tokens > 0)
                && rows[0].tokenise_ms.is_some()
                && rows[0].queue_ms.is_some()
        );
    }
    // A fourth model comes along: of what it says, only five texts are new.
    let more = |task, model| if model == 3 && task < 5 { format!("someone else {task}") } else { two(task, model % 3) };
    import(&scratch, &answers(10, 4, more), &["tiny_bi", "tiny_cross"], &["--update"]);
    scratch.poq(&["score", "results/own"], 0);
    assert_eq!((pieces(&scratch, "tiny_bi"), pieces(&scratch, "tiny_cross")), (Some(5), Some(5)));
    let kept: Vec<ScoreRow> = column(&scratch, "tiny_bi").into_iter().filter(|row| row.model != "m3").collect();
    let raw = |rows: &[ScoreRow]| rows.iter().map(|row| row.raw).collect::<Vec<_>>();
    assert_eq!(raw(&kept), raw(&first), "what was read before is not read again");
    // Without the stored work the same scores come out.
    std::fs::remove_dir_all(scratch.path("results/own/work")).expect("remove");
    std::fs::remove_dir_all(scratch.path("results/own/scores")).expect("remove");
    let stored = scratch_scores(&scratch);
    assert_eq!(pieces(&scratch, "tiny_bi"), Some(25));
    assert!(stored.iter().zip(&kept).all(|(a, b)| (a.raw.expect("raw") - b.raw.expect("raw")).abs() < 1e-5));
}

fn scratch_scores(scratch: &Scratch) -> Vec<ScoreRow> {
    scratch.poq(&["score", "results/own"], 0);
    column(scratch, "tiny_bi").into_iter().filter(|row| row.model != "m3").collect()
}

#[test]
fn workers_batches_and_budgets_change_no_score() {
    let words =
        |task: usize, model: usize| "harbour light ".repeat(1 + (task * 7 + model * 3) % 11) + &task.to_string();
    let score = |flags: &[&str]| {
        let scratch = Scratch::new();
        import(&scratch, &answers(40, 2, words), &["tiny_bi", "tiny_cross", "tiny_fixed"], &[]);
        scratch.poq(&[&["score", "results/own"], flags].concat(), 0);
        scratch.scores("own")
    };
    let alone = score(&["--workers", "1", "--worker-threads", "1", "--batch-size", "1"]);
    for flags in [
        &["--workers", "3", "--worker-threads", "1", "--batch-size", "7"][..],
        &["--workers", "2", "--batch-tokens", "40"],
        &["--threads", "1"],
    ] {
        assert_close(&alone, &score(flags));
    }
}

#[test]
fn a_graph_of_fixed_length_cuts_what_does_not_fit_and_says_so() {
    let scratch = Scratch::new();
    let row = |task: usize| json!({"input": "i", "reference": format!("{task}"), "model": "m", "output": "a ".repeat(task * 2 + 1), "task_id": format!("t{task}"), "task_type": "qa"});
    let content: Vec<String> = (0..9).map(|task| row(task).to_string()).collect();
    import(&scratch, &content.join("\n"), &["tiny_fixed"], &[]);
    scratch.poq(&["score", "results/own"], 0).says(&["tiny_fixed", "were cut"]);
    let rows = column(&scratch, "tiny_fixed");
    assert!(rows.iter().all(|row| row.raw.is_some() && row.tokens.is_some_and(|tokens| tokens <= 16)), "{rows:?}");
    let cut = rows.iter().filter(|row| row.truncated == Some(true)).count();
    assert!(cut > 0 && cut < rows.len(), "{cut} of {} rows were cut", rows.len());
    let said = record(&scratch)["stages"]["score"]["details"]["evaluators"]["tiny_fixed"]["truncated"].as_u64();
    assert_eq!(said, Some(cut as u64));
}

#[test]
fn int8_is_another_score_and_f32_comes_back() {
    let scratch = Scratch::new();
    import(
        &scratch,
        &answers(20, 2, |task, model| format!("keeper {task} of {model}")),
        &["tiny_bi", "tiny_cross"],
        &[],
    );
    scratch.poq(&["score", "results/own"], 0);
    let exact = scratch.scores("own");
    scratch.poq(&["score", "results/own", "--precision", "int8"], 0).says(&["cpu int8"]);
    let reduced = scratch.scores("own");
    let drift = exact.iter().zip(&reduced).filter(|(a, _)| a.scorer.starts_with("tiny"));
    let differences: Vec<f64> = drift.map(|(a, b)| (a.raw.expect("raw") - b.raw.expect("raw")).abs()).collect();
    assert!(differences.iter().any(|&d| d > 0.0) && differences.iter().all(|&d| d < 0.2), "{differences:?}");
    scratch.poq(&["score", "results/own", "--precision", "f32"], 0);
    assert_eq!(scratch.scores("own"), exact, "from stored work, to the last bit");
    scratch.poq(&["score", "results/own", "--evaluator", "tiny_nan", "--precision", "int8"], 2).says(&["tiny_nan"]);
}

#[test]
fn figures_are_those_of_the_table_beside_them() {
    let scratch = Scratch::new();
    let content = answers(6, 2, |task, model| format!("keeper {task} of {model}"));
    import(&scratch, &content, &["tiny_bi", "tiny_nan"], &[]);
    scratch.poq(&["score", "results/own"], 0);
    let exact = figures(&scratch, "tiny_bi");
    assert_eq!(exact["execution"]["precision"], "f32");
    // The second evaluator has no 8-bit graph, so the stage ends when the first is done.
    scratch.poq(&["score", "results/own", "--precision", "int8"], 2).says(&["tiny_nan"]);
    let reduced = figures(&scratch, "tiny_bi");
    assert_eq!(reduced["execution"]["precision"], "int8");
    assert_ne!(reduced["normalization"], exact["normalization"]);
    // Back from stored work: nobody was run.
    scratch.poq(&["score", "results/own"], 0);
    let back = figures(&scratch, "tiny_bi");
    assert_eq!((&back["normalization"], &back["made_by"]), (&exact["normalization"], &exact["made_by"]));
    assert!(back["execution"].is_null() && back["inference"].is_null());
    // A kill after the table and before the record: what can be known is found again.
    let mut killed = record(&scratch);
    killed["stages"]["score"]["details"] = json!({});
    scratch.write("results/own/run.json", &killed.to_string());
    scratch.poq(&["score", "results/own"], 0).says(&["nothing to do"]);
    assert_eq!(figures(&scratch, "tiny_bi"), back);
}

#[test]
fn a_stage_that_ends_early_leaves_its_warnings_to_the_next() {
    let scratch = Scratch::new();
    import(&scratch, &answers(4, 1, |_, _| "word ".repeat(200)), &["tiny_fixed", "tiny_nan"], &[]);
    let path = scratch.path("models/tiny_nan/model.onnx");
    let sound = std::fs::read(&path).expect("read");
    let damaged: Vec<u8> = sound.iter().map(|byte| !byte).collect();
    std::fs::write(&path, damaged).expect("write");
    scratch.poq(&["score", "results/own"], 2).says(&["tiny_nan", "wrong hash"]);
    assert_eq!(figures(&scratch, "tiny_fixed")["truncated"], 4);
    std::fs::write(&path, sound).expect("write");
    scratch.poq(&["score", "results/own"], 0).says(&["tiny_fixed` reads fewer tokens than 4 rows have"]);
    assert!(figures(&scratch, "tiny_fixed")["execution"].is_object());
}

#[test]
fn another_scale_keeps_how_the_scores_were_computed() {
    let scratch = Scratch::new();
    scratch.edit("tiny.toml", "name = \"tiny\"", "name = \"own\"");
    scratch.poq(&["run", "tiny.toml"], 0);
    let before = figures(&scratch, "tiny_bi");
    scratch.edit("tiny.toml", "[scoring]", "[scoring]\nnormalize_method = \"rank\"");
    let again = scratch.poq(&["run", "tiny.toml", "--update"], 0);
    assert!(!again.stderr.contains("distinct texts"), "nothing was read:\n{}", again.stderr);
    let after = figures(&scratch, "tiny_bi");
    assert!(after["execution"].is_object() && after["inference"].is_object());
    assert_eq!((&after["execution"], &after["inference"]), (&before["execution"], &before["inference"]));
    assert!(after["normalization"][0]["low"].is_null() && !before["normalization"][0]["low"].is_null());
}

#[test]
fn a_provider_that_cannot_load_is_an_error() {
    let scratch = Scratch::new();
    import(&scratch, &answers(2, 1, |_, _| "keeper".to_owned()), &["tiny_bi"], &[]);
    // The library of the repository is the CPU build.
    for provider in ["openvino", "cuda"] {
        scratch
            .poq(&["score", "results/own", "--provider", provider], 2)
            .says(&[&format!("provider `{provider}`"), &format!("just runtime {provider}")]);
        let output = scratch
            .command(&["score", "results/own", "--provider", provider])
            .env_remove("ORT_DYLIB_PATH")
            .output()
            .expect("runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains(&format!("runtime-{provider}")) && stderr.contains("does not exist"), "{stderr}");
    }
    scratch.poq(&["score", "results/own", "--precision", "bf16"], 2).says(&["bf16", "--provider openvino"]);
    assert!(!scratch.path("results/own/scores/tiny_bi.parquet").exists());
}

#[test]
fn variants_read_the_same_weights_another_way() {
    let scratch = Scratch::new();
    let scoring = r#"evaluators = ["tiny_bi", "tiny_nli", "difference"]
unpaid_evaluators = ["reversed", "on_input"]
[scoring.variants]
difference = { model = "tiny_nli", head = "difference", minus = "contradiction" }
reversed = { model = "tiny_nli", order = "reference_output" }
on_input = { model = "tiny_bi", against = "input" }
"#;
    scratch.edit("tiny.toml", "evaluators = [\"tiny_bi\", \"tiny_cross\"]\n", scoring);
    let latencies = "tiny_bi = 1.0, tiny_nli = 3.0, difference = 3.0 }";
    scratch.edit("tiny.toml", "tiny_bi = 1.0, tiny_cross = 3.0 }", latencies);
    scratch.edit("tiny.toml", "name = \"tiny\"", "name = \"own\"");
    let ran = scratch.poq(&["run", "tiny.toml"], 0);
    let raw = |scorer: &str| column(&scratch, scorer).iter().map(|row| row.raw).collect::<Vec<_>>();
    let [nli, difference, reversed] = ["tiny_nli", "difference", "reversed"].map(raw);
    assert!(nli.iter().flatten().all(|p| (0.0..=1.0).contains(p)));
    assert!(difference.iter().flatten().all(|d| (-1.0..=1.0).contains(d)));
    assert!(nli.iter().zip(&difference).any(|(p, d)| p > d) && nli.iter().zip(&difference).all(|(p, d)| p >= d));
    assert_ne!(nli, reversed, "the order of the texts matters");
    assert_ne!(raw("tiny_bi"), raw("on_input"));
    // The difference needs no inference of its own: the logits are there.
    let details = &record(&scratch)["stages"]["score"]["details"]["evaluators"];
    assert!(details["difference"]["inference"].is_null() && !details["reversed"]["inference"].is_null());
    let nodes: Vec<String> =
        scratch.table::<RewardRow>("results/own/rewards.parquet").into_iter().map(|row| row.node).collect();
    assert!(nodes.contains(&"difference".to_owned()) && !nodes.contains(&"reversed".to_owned()), "{nodes:?}");
    assert!(ran.stdout.contains("reversed"), "the report shows unpaid evaluators too:\n{}", ran.stdout);
    // A variant that cannot be is refused by name.
    scratch.edit("tiny.toml", "minus = \"contradiction\"", "minus = \"nonsense\"");
    scratch.poq(&["run", "tiny.toml", "--update"], 2).says(&["scoring.variants.difference", "nonsense"]);
}

#[test]
fn a_variant_concerns_its_own_column_and_costs_only_when_it_is_paid() {
    let scratch = Scratch::new();
    let scoring = "evaluators = [\"tiny_bi\", \"tiny_nli\"]\nunpaid_evaluators = [\"reversed\"]\n\
                   [scoring.variants]\nreversed = { model = \"tiny_nli\", order = \"reference_output\" }\n";
    scratch.edit("tiny.toml", "evaluators = [\"tiny_bi\", \"tiny_cross\"]\n", scoring);
    scratch.edit("tiny.toml", "tiny_cross = 3.0 }", "tiny_nli = 3.0 }");
    scratch.edit("tiny.toml", "name = \"tiny\"", "name = \"own\"");
    scratch.poq(&["run", "tiny.toml"], 0);
    let written = |scorer: &str| {
        let path = scratch.path(&format!("results/own/scores/{scorer}.parquet"));
        std::fs::metadata(path).expect("there").modified().expect("time")
    };
    let others = || ["f1", "tiny_bi", "tiny_nli"].map(written);
    let (before, reversed, read_backwards) = (others(), written("reversed"), column(&scratch, "reversed"));
    scratch.edit("tiny.toml", "order = \"reference_output\"", "head = \"difference\", minus = \"neutral\"");
    // Another variant under the same key, and one that is in no list.
    scratch.edit("tiny.toml", "[profile]", "spare = { model = \"tiny_bi\", against = \"input\" }\n[profile]");
    let nothing = ["profile: 4 rows, nothing to do", "simulate: 4 rows, nothing to do"];
    scratch.poq(&["run", "tiny.toml", "--update"], 0).says(&nothing);
    assert_eq!(others(), before);
    assert!(written("reversed") > reversed);
    assert!(column(&scratch, "reversed").iter().zip(&read_backwards).any(|(new, old)| new.raw != old.raw));
    // A paid one has a cost.
    scratch.edit("tiny.toml", "unpaid_evaluators = [\"reversed\"]\n", "");
    scratch.edit("tiny.toml", "\"tiny_nli\"]", "\"tiny_nli\", \"reversed\"]");
    scratch.edit("tiny.toml", "tiny_nli = 3.0 }", "tiny_nli = 3.0, reversed = 3.0 }");
    let paid = scratch.poq(&["run", "tiny.toml", "--update"], 0);
    assert!(!paid.stderr.contains("profile: 5 rows, nothing to do"), "{}", paid.stderr);
    // What was made from another variant is refused by who reads it.
    scratch.edit("results/own/run.json", "\"minus\": \"neutral\"", "\"minus\": \"contradiction\"");
    scratch.poq(&["simulate", "results/own"], 2).says(&["reversed.parquet", "poq score"]);
}

#[test]
fn scales_are_chosen_in_the_experiment() {
    let normalized = |method: &str| {
        let scratch = Scratch::new();
        scratch.edit("tiny.toml", "[scoring]", &format!("[scoring]\nnormalize_method = \"{method}\""));
        scratch.edit("tiny.toml", "name = \"tiny\"", "name = \"own\"");
        scratch.poq(&["run", "tiny.toml"], 0);
        let rows = column(&scratch, "tiny_bi");
        rows.into_iter().filter_map(|row| row.normalized).collect::<Vec<f64>>()
    };
    let [min_max, rank, clipped] = ["min_max", "rank", "clipped"].map(normalized);
    for scores in [&min_max, &rank, &clipped] {
        let largest = scores.iter().copied().fold(0.0, f64::max);
        assert!((largest - 10.0).abs() < 1e-9 && scores.iter().all(|s| (0.0..=10.0).contains(s)), "{scores:?}");
    }
    assert_ne!(min_max, rank);
    assert_ne!(min_max, clipped);
}

#[test]
fn failed_work_is_tried_again_only_when_asked() {
    let scratch = Scratch::new();
    // The fixture answers NaN when the first text, here the output, begins with this word.
    let output = |task: usize, _| if task < 2 { format!("poison {task}") } else { format!("keeper {task}") };
    import(&scratch, &answers(6, 1, output), &["tiny_nan"], &[]);
    scratch.poq(&["score", "results/own", "--max-failed-share", "1"], 0);
    assert_eq!(pieces(&scratch, "tiny_nan"), Some(6));
    let failed = column(&scratch, "tiny_nan").iter().filter(|row| row.error.is_some()).count();
    assert_eq!(failed, 2);
    scratch.poq(&["score", "results/own"], 0).says(&["nothing to do"]);
    let again = scratch.poq(&["score", "results/own", "--retry-failed"], 0);
    again.says(&[&format!("{failed} distinct texts for 6 rows")]);
}

#[test]
fn the_stand_in_scores_thousands_of_rows_the_same_at_any_size() {
    let content = answers(700, 5, |task, model| "tide ".repeat(1 + (task + model) % 9) + &(task / 3).to_string());
    let score = |flags: &[&str]| {
        let scratch = Scratch::new();
        import(&scratch, &content, &["tiny_bi", "tiny_nli"], &[]);
        scratch.poq(&[&["score", "results/own", "--fake-inference"], flags].concat(), 0).says(&["made up"]);
        let stage = &record(&scratch)["stages"]["score"];
        let read = |key: &str| {
            let inference = &stage["details"]["evaluators"][key]["inference"];
            (inference["pieces"].as_u64(), inference["rows"].as_u64())
        };
        // 1,636 distinct answers and 700 references, more than are committed at once; as many pairs as answers.
        assert_eq!(stage["computed_rows"], 4 * 3500);
        assert_eq!(read("tiny_bi"), (Some(2336), Some(3500)));
        assert_eq!(read("tiny_nli"), (Some(3500), Some(3500)));
        scratch.scores("own")
    };
    let one = score(&["--workers", "1", "--batch-size", "1", "--threads", "1"]);
    assert_eq!(one.len(), 4 * 3500);
    assert_eq!(one, score(&["--workers", "3", "--batch-size", "32"]));
}
