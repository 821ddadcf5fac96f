//! Bad input: one clear error that names the file, row or field and what to do, exit code 2, or a failed row.

use crate::support::{Scratch, squad};
use poq::store::rows::ScoreRow;

fn run_fails(scratch: &Scratch, parts: &[&str]) {
    scratch.poq(&["run", "tiny.toml"], 2).says(&["error: "]).says(parts);
}

#[test]
fn a_missing_model_is_named_and_can_be_skipped() {
    let scratch = Scratch::new();
    std::fs::remove_dir_all(scratch.path("models/tiny_decoder_b")).expect("remove");
    std::fs::remove_dir_all(scratch.path("models/tiny_cross")).expect("remove");
    run_fails(&scratch, &["`tiny_decoder_b` is not exported", "--skip-missing", "hint: `just models tiny` exports it"]);
    scratch.poq(&["run", "tiny.toml", "--skip-missing"], 0).says(&[
        "skipped `tiny_decoder_b`",
        "skipped `tiny_cross`",
        "1 were skipped: K is 1",
    ]);
    assert!(scratch.answers("tiny").iter().all(|row| row.model == "tiny_decoder"));
    let record = std::fs::read_to_string(scratch.path("results/tiny/run.json")).expect("read");
    assert!(record.contains("\"skipped_models\": [\n    \"tiny_decoder_b\",\n    \"tiny_cross\""), "{record}");
}

#[test]
fn what_no_stage_could_do_is_said_before_the_first() {
    let scratch = Scratch::new();
    let nothing_is_computed = || assert!(!scratch.path("results/tiny/tasks.parquet").exists());
    std::fs::rename(scratch.path("models/tiny_cross"), scratch.path("cross")).expect("rename");
    run_fails(&scratch, &["`tiny_cross` is not exported", "--skip-missing"]);
    scratch.edit("tiny.toml", "[profile]", "provider = \"cuda\"\n[profile]");
    run_fails(&scratch, &["`tiny_cross` is not exported for the provider `cuda`", "just models tiny --provider cuda"]);
    scratch.edit("tiny.toml", "provider = \"cuda\"\n", "");
    nothing_is_computed();
    std::fs::rename(scratch.path("models/tiny_bi"), scratch.path("bi")).expect("rename");
    scratch
        .poq(&["run", "tiny.toml", "--skip-missing"], 2)
        .says(&["none of the evaluators", "hint: `just models tiny`"]);
    nothing_is_computed();
    std::fs::rename(scratch.path("cross"), scratch.path("models/tiny_cross")).expect("rename");
    std::fs::rename(scratch.path("bi"), scratch.path("models/tiny_bi")).expect("rename");
    scratch.poq(&["run", "tiny.toml"], 0);
}

#[test]
fn a_skipped_model_keeps_what_it_did_before() {
    let scratch = Scratch::new();
    scratch.poq(&["run", "tiny.toml"], 0);
    let all = (scratch.answers("tiny"), scratch.scores("tiny").len());
    std::fs::rename(scratch.path("models/tiny_decoder_b"), scratch.path("away")).expect("rename");
    scratch.poq(&["run", "tiny.toml", "--skip-missing"], 0);
    assert_eq!(scratch.answers("tiny"), all.0);
    std::fs::rename(scratch.path("away"), scratch.path("models/tiny_decoder_b")).expect("rename");
    let ran = scratch.poq(&["run", "tiny.toml"], 0);
    assert!(ran.stderr.contains("generate: 28 rows, nothing to do"), "{}", ran.stderr);
    assert_eq!(scratch.scores("tiny").len(), all.1);
}

#[test]
fn a_refused_command_leaves_the_settings_alone() {
    let scratch = Scratch::new();
    scratch.poq(&["run", "tiny.toml"], 0);
    scratch.poq(&["simulate", "results/tiny", "--k", "5"], 2).says(&["5", "2"]);
    scratch.poq(&["generate", "results/tiny", "--model", "nobody"], 2).says(&["`nobody`"]);
    let ran = scratch.poq(&["run", "tiny.toml"], 0);
    assert!(ran.stderr.contains("simulate: 4 rows, nothing to do"), "{}", ran.stderr);
}

#[test]
fn run_names_are_names() {
    let scratch = Scratch::new();
    for name in ["..", ".", "a/b", ""] {
        scratch.poq(&["run", "tiny.toml", "--run", name], 2).says(&["--run"]);
    }
}

#[test]
fn damaged_model_files_are_named() {
    let scratch = Scratch::new();
    scratch.write("models/tiny_decoder/model.onnx", "short");
    run_fails(&scratch, &["model.onnx", "damaged", "hint: `just models tiny` exports it"]);

    let scratch = Scratch::new();
    let path = scratch.path("models/tiny_bi/model.onnx");
    let mut bytes = std::fs::read(&path).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&path, bytes).expect("write");
    run_fails(&scratch, &["model.onnx", "wrong hash", "hint: `just models tiny` exports it"]);
    let verify = scratch.poq(&["models", "verify"], 2).stdout;
    assert!(verify.contains("tiny_bi: broken") && verify.contains("wrong hash"), "{verify}");
}

#[test]
fn a_damaged_tokenizer_is_named() {
    let scratch = Scratch::new();
    let path = scratch.path("models/tiny_decoder/tokenizer.json");
    let length = std::fs::metadata(&path).expect("metadata").len() as usize;
    std::fs::write(&path, " ".repeat(length)).expect("write");
    run_fails(&scratch, &["tokenizer.json", "hint: `just models`"]);
}

#[test]
fn a_missing_or_wrong_runtime_library_is_named() {
    let scratch = Scratch::new();
    scratch.poq(&["tasks", "results/tiny", "--experiment", "tiny.toml"], 0);
    for (library, parts) in [
        (None, ["libonnxruntime.so", "just runtime"]),
        (Some("/nonexistent/lib.so"), ["/nonexistent/lib.so", "ORT_DYLIB_PATH"]),
        (Some("tiny.toml"), ["tiny.toml", "not a usable ONNX Runtime"]),
    ] {
        let mut command = scratch.command(&["generate", "results/tiny"]);
        command.env_remove("ORT_DYLIB_PATH");
        if let Some(library) = library {
            command.env("ORT_DYLIB_PATH", library);
        }
        let output = command.output().expect("poq starts");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(parts.iter().all(|part| stderr.contains(part)), "{parts:?}: {stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
}

#[test]
fn unknown_fields_are_refused_by_name() {
    let scratch = Scratch::new();
    scratch.edit("tiny.toml", "batch_size = 4", "batch_size = 4\ntempreature = 1.0");
    run_fails(&scratch, &["tiny.toml", "tempreature"]);
    let scratch = Scratch::new();
    scratch.edit("models/registry.toml", "max_length = 1024", "max_length = 1024\nlicense = \"MIT\"");
    run_fails(&scratch, &["registry.toml", "license"]);
    let scratch = Scratch::new();
    scratch.edit("datasets/registry.toml", "version = \"1\"", "version = \"1\"\nshards = 3");
    run_fails(&scratch, &["registry.toml", "shards"]);
}

#[test]
fn meaningless_settings_are_refused_by_name() {
    for (from, to, part) in [
        ("rounds = 500", "rounds = 0", "simulation.rounds"),
        ("replicates = 20", "replicates = 0", "simulation.replicates"),
        ("k = 2", "k = 0", "simulation.k"),
        ("k = 2", "k = 2\nbeta_f = -1.0", "simulation.beta_f"),
        ("k = 2", "k = 2\nalpha_m = nan", "simulation.alpha_m"),
        ("max_new_tokens = 12", "max_new_tokens = 0", "generation.max_new_tokens"),
        ("max_new_tokens = 12", "max_new_tokens = 12\ntemperature = -0.1", "generation.temperature"),
        ("max_new_tokens = 12", "max_new_tokens = 12\ntop_p = 0.0", "generation.top_p"),
        ("max_new_tokens = 12", "max_new_tokens = 12\nmin_p = 1.5", "generation.min_p"),
        ("max_new_tokens = 12", "max_new_tokens = 12\nrepetition_penalty = 0.0", "generation.repetition_penalty"),
        ("max_new_tokens = 12", "max_new_tokens = 12\nmin_new_tokens = 13", "generation.min_new_tokens"),
        ("max_new_tokens = 12", "max_new_tokens = 12\nkv_cache_mb = 0", "generation.kv_cache_mb"),
        ("max_new_tokens = 12", "max_new_tokens = 12\ncuda_graphs = true", "generation.cuda_graphs"),
        ("max_new_tokens = 12", "max_new_tokens = 12\nprovider = \"openvino\"", "generation.provider"),
        ("max_new_tokens = 12", "max_new_tokens = 12\nprovider = \"cuda\"", "export.cuda_precision"),
        ("max_new_tokens = 12", "max_new_tokens = 12\ntypical_p = 0.5", "typical_p"),
        ("name = \"tiny\"", "name = \"a/b\"", "`name`"),
        ("\"tiny_decoder\", ", "\"tiny_decoder\", \"tiny_decoder\", ", "twice"),
        ("sample = 8", "sample = 800", "800"),
    ] {
        let scratch = Scratch::new();
        scratch.edit("tiny.toml", from, to);
        run_fails(&scratch, &[part]);
    }
}

#[test]
fn k_above_the_pool_names_both() {
    let scratch = Scratch::new();
    scratch.edit("tiny.toml", "k = 2", "k = 3");
    run_fails(&scratch, &["3", "2", "evaluators"]);
    assert!(!scratch.path("results/tiny/tasks.parquet").exists(), "it is said before anything is computed");
    scratch.edit("tiny.toml", "k = 3", "k = 2");
    scratch.poq(&["run", "tiny.toml"], 0);
}

#[test]
fn unknown_models_list_the_known_ones() {
    let scratch = Scratch::new();
    scratch.edit("tiny.toml", "[\"tiny_decoder\", \"tiny_decoder_b\"]", "[\"gpt5\"]");
    run_fails(&scratch, &["`gpt5`", "tiny_decoder"]);
}

#[test]
fn bad_data_is_named_down_to_the_record() {
    for (name, content, parts) in [
        ("datasets/squad.json", String::new(), vec!["squad.json"]),
        ("datasets/squad.json", squad(10).replace("\"answers\"", "\"answer\""), vec!["squad.json", "q0", "answers"]),
        (
            "datasets/squad.json",
            squad(10).replace("\"answer_start\":33", "\"answer_start\":34"),
            vec!["squad.json", "q0"],
        ),
        ("datasets/squad.json", squad(10).replace("\"q1\"", "\"q0\""), vec!["squad.json", "q0"]),
        (
            "datasets/news.jsonl",
            "{\"id\": \"a\", \"article\": 3, \"highlights\": \"h\"}\n".into(),
            vec!["news.jsonl", "article"],
        ),
        (
            "datasets/news.jsonl",
            "{\"id\": \"a\", \"article\": \"\", \"highlights\": \"h\"}\n".into(),
            vec!["news.jsonl", "article"],
        ),
    ] {
        let scratch = Scratch::new();
        scratch.write(name, &content);
        run_fails(&scratch, &parts);
    }
}

#[test]
fn a_file_that_is_gone_is_named_with_its_source() {
    let scratch = Scratch::new();
    std::fs::remove_file(scratch.path("datasets/news.jsonl")).expect("remove");
    run_fails(&scratch, &["news.jsonl", "made for the tests"]);
}

#[test]
fn a_passage_that_is_too_long_is_cut_and_a_question_never_is() {
    let scratch = Scratch::new();
    let long = format!("{{\"id\": \"long\", \"article\": \"{}\", \"highlights\": \"h\"}}\n", "word ".repeat(3000));
    scratch.write("datasets/news.jsonl", &(crate::support::news(3) + &long));
    let mut squad: serde_json::Value = serde_json::from_str(&crate::support::squad(8)).expect("json");
    squad["data"][0]["paragraphs"][0]["qas"][0]["question"] = format!("Who {}?", "was ".repeat(3000)).into();
    scratch.write("datasets/squad.json", &squad.to_string());
    scratch.poq(&["run", "tiny.toml"], 0).says(&["2 prompts were cut"]);
    let answers = scratch.answers("tiny");
    let cut: Vec<_> = answers.iter().filter(|row| row.prompt_truncated == Some(true)).collect();
    assert_eq!(cut.len(), 2, "one row per model");
    for row in cut {
        assert_eq!((row.task_id.as_str(), &row.error), ("long", &None));
        let prompt = row.prompt.as_deref().expect("a prompt");
        assert!(prompt.contains("word word<|im_end|>"), "the template is whole: {prompt}");
        let tokens = row.prompt_tokens.expect("counted");
        assert!((1000..=1024 - 12).contains(&tokens), "as much as fits is kept: {tokens}");
    }
    let failed: Vec<_> = answers.iter().filter(|row| row.error.is_some()).collect();
    assert_eq!(failed.len(), 2, "one row per model");
    for row in failed {
        assert_eq!((row.task_id.as_str(), &row.output, row.output_tokens), ("q0", &None, None));
        assert!(row.error.as_deref().is_some_and(|error| error.contains("the model takes 1024")), "{:?}", row.error);
    }
    let scores = scratch.scores("tiny");
    assert!(scores.iter().filter(|row| row.task_id == "q0").all(|row| row.raw.is_none() && row.error.is_some()));
    // More failures than allowed end with exit code 1, and everything is there all the same.
    scratch.poq(&["run", "tiny.toml", "--run", "strict", "--max-failed-share", "0"], 1).says(&["max_failed_share"]);
    assert!(scratch.path("results/strict/report.md").exists());
}

#[test]
fn nan_logits_fail_their_rows_alone() {
    let scratch = Scratch::new();
    scratch.edit("tiny.toml", "\"tiny_cross\"]", "\"tiny_cross\", \"tiny_nan\"]");
    scratch.edit("tiny.toml", "tiny_cross = 3.0", "tiny_cross = 3.0, tiny_nan = 4.0");
    scratch.write(
        "answers.jsonl",
        "{\"task_id\": \"a\", \"input\": \"i\", \"reference\": \"fine\", \"model\": \"m\", \"output\": \"poison\"}\n\
         {\"task_id\": \"b\", \"input\": \"i\", \"reference\": \"poison\", \"model\": \"m\", \"output\": \"poison\"}\n\
         {\"task_id\": \"c\", \"input\": \"i\", \"reference\": \"good\", \"model\": \"m\", \"output\": \"fine\"}\n",
    );
    scratch.poq(
        &[
            "import",
            "answers.jsonl",
            "--run",
            "nan",
            "--task-type",
            "qa",
            "--evaluator",
            "tiny_nan",
            "--evaluator",
            "tiny_bi",
        ],
        0,
    );
    scratch.poq(&["score", "results/nan", "--max-failed-share", "1"], 0);
    let rows: Vec<ScoreRow> = scratch.scores("nan").into_iter().filter(|row| row.scorer == "tiny_nan").collect();
    let failed: Vec<&ScoreRow> = rows.iter().filter(|row| row.error.is_some()).collect();
    assert!(!failed.is_empty() && failed.len() < rows.len(), "{rows:?}");
    for row in failed {
        assert!(row.error.as_deref().is_some_and(|error| error.contains("NaN")), "{:?}", row.error);
        assert_eq!((row.raw, row.normalized), (None, None));
    }
}

#[test]
fn equal_scores_become_five_with_a_warning() {
    let scratch = Scratch::new();
    scratch.write(
        "answers.jsonl",
        "{\"task_id\": \"a\", \"input\": \"i\", \"reference\": \"same\", \"model\": \"m\", \"output\": \"text\"}\n\
         {\"task_id\": \"b\", \"input\": \"i\", \"reference\": \"same\", \"model\": \"m\", \"output\": \"text\"}\n",
    );
    scratch.poq(&["import", "answers.jsonl", "--run", "flat", "--task-type", "qa", "--evaluator", "tiny_bi"], 0);
    scratch
        .poq(&["score", "results/flat"], 0)
        .says(&["warning: evaluator `tiny_bi` gave all 2 `qa` rows the same score"]);
    assert!(scratch.scores("flat").iter().filter(|row| row.scorer == "tiny_bi").all(|row| row.normalized == Some(5.0)));
}

#[test]
fn a_pool_of_one_costs_nothing_and_says_so() {
    let scratch = Scratch::new();
    scratch.edit("tiny.toml", "models = [\"tiny_decoder\", \"tiny_decoder_b\"]", "models = [\"tiny_decoder\"]");
    scratch.poq(&["run", "tiny.toml"], 0).says(&["warning: inference nodes: the pool has a single node"]);
}

#[test]
fn a_directory_of_another_schema_is_refused() {
    let scratch = Scratch::new();
    scratch.poq(&["tasks", "results/tiny", "--experiment", "tiny.toml"], 0);
    scratch.edit("results/tiny/run.json", "\"schema_version\": 1", "\"schema_version\": 99");
    run_fails(&scratch, &["schema version 99", "run.json"]);
    scratch.poq(&["score", "results/nowhere"], 2).says(&["results/nowhere", "is not a run"]);
}

#[test]
fn damaged_tables_are_named() {
    let scratch = Scratch::new();
    scratch.poq(&["run", "tiny.toml"], 0);
    scratch.write("results/tiny/scores/f1.parquet", "not parquet");
    scratch.poq(&["simulate", "results/tiny", "--beta", "0.1"], 2).says(&["f1.parquet", "damaged"]);
}

#[test]
fn a_stage_without_the_one_before_says_which() {
    let scratch = Scratch::new();
    scratch.poq(&["tasks", "results/tiny", "--experiment", "tiny.toml"], 0);
    scratch.poq(&["score", "results/tiny"], 2).says(&["the answers are not there yet"]);
    scratch.poq(&["simulate", "results/tiny"], 2).says(&["not there yet"]);
}
