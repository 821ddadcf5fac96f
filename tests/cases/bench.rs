//! `poq bench` and `--calibrate` as users meet them: the sweep, its answer, and what is remembered of it.

use crate::support::{Scratch, answers, import};
use poq::bench::batches::{GENERATION, batches};
use poq::model::provider::Provider;
use poq::store::rows::BenchRow;
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::{Duration, Instant};

#[test]
fn a_sweep_is_a_table_a_chart_and_an_answer() {
    let scratch = Scratch::new();
    let arguments = [
        "bench",
        "--model",
        "tiny_bi",
        "--provider",
        "cpu,openvino",
        "--batch-size",
        "2,8",
        "--pairs",
        "12",
        "--repeats",
        "1",
    ];
    let ran = scratch.poq(&arguments, 0);
    let rows: Vec<BenchRow> = scratch.table("results/bench/bench.parquet");
    let (failed, worked): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.error.is_some());
    assert!(failed.iter().all(|row| row.provider == "openvino") && !failed.is_empty(), "the CPU build has no OpenVINO");
    assert!(worked.iter().any(|row| row.precision == "int8") && worked.iter().any(|row| row.precision == "f32"));
    for row in worked {
        assert!(row.tokens_per_s.is_some_and(|speed| speed > 0.0) && row.texts > 12, "{row:?}");
        assert!(row.peak_memory_mb.is_some_and(|megabytes| megabytes > 1.0), "{row:?}");
        assert!(row.busy_share.is_some_and(|share| share <= 1.01), "{row:?}");
        assert!(row.padding_waste.is_some_and(|share| share < 0.9), "{row:?}");
        let (difference, exact) = (row.largest_difference_vs_f32.expect("compared"), row.precision == "f32");
        assert!(if exact { difference < 1e-5 } else { difference < 0.2 }, "{row:?}");
    }
    let svg = std::fs::read_to_string(scratch.path("results/bench/bench-tiny_bi.svg")).expect("chart");
    assert!(svg.contains("cpu int8"), "{svg}");
    let last = ran.stdout.trim_end().lines().last().expect("an answer");
    assert!(last.starts_with("tiny_bi: --provider cpu --precision f32 --workers"), "{last}");
}

#[test]
fn llms_are_swept_too_and_answer_alike_in_every_cell() {
    let scratch = Scratch::new();
    let sweep = "bench --model tiny_bi --model tiny_decoder --model tiny_decoder_b --provider cpu --precision int8 \
                 --workers 1 --worker-threads 1 --batch-size 1,4 --batch-tokens 64,256 --pairs 12 --prompts 12 --new-tokens 5 \
                 --repeats 2";
    let ran = scratch.poq(&sweep.split_whitespace().collect::<Vec<_>>(), 0);
    let rows: Vec<BenchRow> = scratch.table("results/bench/bench.parquet");
    let (llms, evaluators): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.role == "inference");
    assert_eq!((llms.len(), evaluators.len()), (8, 4), "{rows:?}");
    assert!(evaluators.iter().all(|row| row.precision == "int8" && row.new_tokens.is_none()), "{evaluators:?}");
    for row in &llms {
        assert_eq!((row.error.as_deref(), row.provider.as_str(), row.precision.as_str()), (None, "cpu", "f32"));
        assert_eq!((row.texts, row.tokens, row.new_tokens), (12, 60, Some(5)), "every answer has its five tokens");
        assert_eq!(row.different_answers, Some(0), "{row:?}");
        assert!(row.slot_use.is_some_and(|share| share > 0.5 && share <= 1.0), "{row:?}");
        assert!(row.decoded_together.is_some_and(|slots| slots >= 1 && slots <= row.batch_size), "{row:?}");
        assert!(row.prompt_tokens_read < row.prompt_tokens, "questions share their passage: {row:?}");
        assert!(row.first_token_ms_p50 <= row.latency_ms_p99 && row.latency_ms_p50 <= row.latency_ms_p95, "{row:?}");
        let positive =
            [row.tokens_per_s, row.texts_per_s, row.prompt_tokens_read_per_s, row.kv_cache_mb, row.peak_memory_mb];
        assert!(positive.iter().all(|figure| figure.is_some_and(|figure| figure > 0.0)), "{row:?}");
    }
    let svg = std::fs::read_to_string(scratch.path("results/bench/bench-generation.svg")).expect("chart");
    assert!(svg.contains("tiny_decoder, 1 thread, 64 tokens") && svg.contains("tiny_decoder_b, 1 thread, 256 tokens"));
    let last: Vec<&str> = ran.stdout.trim_end().lines().rev().take(2).collect();
    assert!(last[1].starts_with("tiny_decoder: poq generate RUN --batch-size "), "{last:?}");
    assert!(last[0].starts_with("tiny_decoder_b: poq generate RUN --batch-size "), "{last:?}");
    // What is remembered is what `poq score` uses.
    assert!(ran.stdout.contains("tiny_bi: reduced: --provider cpu"), "{}", ran.stdout);
}

#[test]
fn a_role_is_swept_alone() {
    let scratch = Scratch::new();
    let sweep = "bench --pool tiny --prompts 2 --new-tokens 2 --repeats 1 --batch-size 2 --role inference";
    scratch.poq(&sweep.split(' ').collect::<Vec<_>>(), 0).says(&["5 LLMs × 1 settings, up to 2 prompts"]);
    let rows: Vec<BenchRow> = scratch.table("results/bench/bench.parquet");
    assert!(rows.len() == 5 && rows.iter().all(|row| row.role == "inference"), "{rows:?}");
    assert!(!scratch.path("models/calibration.json").exists());
    let wrong = "bench --model tiny_bi --role inference";
    scratch.poq(&wrong.split(' ').collect::<Vec<_>>(), 2).says(&["model `tiny_bi` has another role", "tiny_decoder"]);
}

#[test]
fn an_llm_that_cannot_answer_did_not_work() {
    let scratch = Scratch::new();
    // No prompt fits beside so many new tokens.
    let sweep = "bench --model tiny_decoder --prompts 2 --new-tokens 4000 --repeats 1 --batch-size 1";
    let ran = scratch.poq(&sweep.split(' ').collect::<Vec<_>>(), 2);
    assert!(ran.stdout.contains("tiny_decoder: no settings worked"), "{}", ran.stdout);
    let row = scratch.table::<BenchRow>("results/bench/bench.parquet").remove(0);
    assert_eq!((row.tokens_per_s, row.different_answers), (None, None));
    assert!(row.error.as_ref().is_some_and(|error| error.contains("2 of 2 prompts failed")), "{row:?}");
}

#[test]
fn what_a_whole_sweep_found_is_what_scoring_uses() {
    let scratch = Scratch::new();
    let sweep = |more: &str| {
        let flags = format!("bench --model tiny_bi --provider cpu --precision f32 --pairs 12 --repeats 1 {more}");
        scratch.poq(&flags.split_whitespace().collect::<Vec<_>>(), 0).stdout
    };
    let path = scratch.path("models/calibration.json");
    let remembered =
        || -> Vec<Value> { serde_json::from_str(&std::fs::read_to_string(&path).expect("remembered")).expect("JSON") };
    // A part of the settings says nothing of the others.
    assert!(sweep("--threads 1 --batch-size 2").contains("fastest of the settings that were asked for"));
    assert!(!path.exists());
    assert!(sweep("--threads 1").contains("what `poq score` uses from now on"));
    let entry = remembered().remove(0);
    assert_eq!((&entry["model"], &entry["allowed_threads"]), (&json!("tiny_bi"), &json!(1)));
    import(&scratch, &answers(2, 1, |_, _| "keeper".to_owned()), &["tiny_bi"], &[]);
    let score = |threads: &str| {
        let _ = std::fs::remove_dir_all(scratch.path("results/own/work"));
        let _ = std::fs::remove_dir_all(scratch.path("results/own/scores"));
        scratch.poq(&["score", "results/own", "--threads", threads], 0)
    };
    score("1").says(&["calibrated on this machine"]);
    // What was found with one thread is no answer for two.
    score("2").says(&["defaults of this machine"]);
    for (known, batch_size) in [(1e12, &entry["execution"]["batch_size"]), (1e-3, &json!(2))] {
        let text = std::fs::read_to_string(&path).expect("read");
        let mut entries: Vec<Value> = serde_json::from_str(&text).expect("JSON");
        entries[0]["tokens_per_s"] = json!(known);
        std::fs::write(&path, json!(entries).to_string()).expect("write");
        sweep("--threads 1 --batch-size 2");
        assert_eq!((&remembered()[0]["execution"]["batch_size"], remembered().len()), (batch_size, 1));
    }
}

#[test]
fn the_help_names_the_batches_that_are_measured() {
    let help = Scratch::new().poq(&["bench", "--help"], 0).stdout;
    let list = |values: &[usize]| values.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    for batches in [batches(Provider::Cpu), batches(Provider::Cuda), GENERATION] {
        for values in [batches.sizes, batches.tokens] {
            assert!(help.contains(&list(values)), "{values:?}:\n{help}");
        }
    }
}

#[test]
fn a_calibration_is_made_once() {
    let scratch = Scratch::new();
    import(&scratch, &answers(2, 1, |_, _| "keeper".to_owned()), &["tiny_cross"], &[]);
    scratch.poq(&["score", "results/own", "--calibrate"], 0).says(&["calibrated on this machine"]);
    let path = scratch.path("models/calibration.json");
    let written = std::fs::metadata(&path).expect("remembered").modified().expect("time");
    std::fs::remove_dir_all(scratch.path("results/own/work")).expect("remove");
    std::fs::remove_dir_all(scratch.path("results/own/scores")).expect("remove");
    scratch.poq(&["score", "results/own", "--calibrate"], 0).says(&["calibrated on this machine"]);
    assert_eq!(std::fs::metadata(&path).expect("there").modified().expect("time"), written);
}

#[test]
fn a_cell_whose_texts_fail_did_not_work() {
    let scratch = Scratch::new();
    // The fixture answers NaN to pairs whose first text, here the output, begins with this word: it is every word there is.
    let article = |i: usize| json!({"id": format!("n{i}"), "article": "poison ".repeat(40), "highlights": "tide"});
    let articles: Vec<String> = (0..4).map(|i| article(i).to_string()).collect();
    scratch.write("datasets/news.jsonl", &articles.join("\n"));
    let registry = std::fs::read_to_string(scratch.path("datasets/registry.toml")).expect("read");
    let (head, rest) = registry.split_once("[[dataset]]").expect("data sets");
    let (_, news) = rest.split_once("[[dataset]]").expect("the second");
    scratch.write("datasets/registry.toml", &format!("{head}[[dataset]]{news}"));
    let ran = scratch.poq(&["bench", "--model", "tiny_nan", "--provider", "cpu", "--pairs", "12", "--repeats", "1"], 2);
    assert!(ran.stdout.contains("tiny_nan: no settings worked"), "{}", ran.stdout);
    for row in scratch.table::<BenchRow>("results/bench/bench.parquet") {
        assert_eq!((row.tokens_per_s, row.largest_difference_vs_f32), (None, None));
        let error = row.error.expect("failed");
        assert!(
            row.precision != "f32" || error.contains("texts failed, the first with: ") && error.contains("NaN"),
            "{error}"
        );
    }
}

#[test]
fn a_sweep_of_one_reduced_precision_has_an_answer() {
    let scratch = Scratch::new();
    let sweep = "bench --model tiny_bi --provider cpu --precision int8 --batch-size 8 --pairs 12 --repeats 1";
    let ran = scratch.poq(&sweep.split(' ').collect::<Vec<_>>(), 0);
    let last = ran.stdout.trim_end().lines().last().expect("an answer");
    assert!(last.starts_with("tiny_bi: reduced: --provider cpu --precision int8"), "{last}");
    assert!(last.contains("not compared with f32"), "{last}");
}

#[test]
fn a_place_that_cannot_be_written_is_named_before_anything_is_measured() {
    let scratch = Scratch::new();
    let ran = scratch.poq(&["bench", "--model", "tiny_bi", "--provider", "cpu", "--out", "tiny.toml/bench"], 2);
    ran.says(&["tiny.toml/bench", "--out"]);
    assert!(!ran.stderr.contains("timed passes"), "{}", ran.stderr);
}

#[test]
fn an_answer_that_cannot_be_remembered_is_given_all_the_same() {
    let scratch = Scratch::new();
    std::fs::create_dir_all(scratch.path("models/calibration.json")).expect("a directory in the file's place");
    let sweep = "bench --model tiny_bi --provider cpu --precision f32 --pairs 12 --repeats 1 --threads 1";
    let ran = scratch.poq(&sweep.split(' ').collect::<Vec<_>>(), 0);
    ran.says(&["warning: what is fastest is not remembered", "calibration.json"]);
    assert!(ran.stdout.contains("tiny_bi: --provider cpu --precision f32"), "{}", ran.stdout);
    import(&scratch, &answers(2, 1, |_, _| "keeper".to_owned()), &["tiny_bi"], &[]);
    scratch.poq(&["score", "results/own", "--calibrate"], 0).says(&["warning: the calibration is not remembered"]);
}

#[test]
fn an_interrupted_sweep_keeps_the_cells_that_were_measured() {
    let scratch = Scratch::new();
    let sweep = "bench --model tiny_bi --provider cpu --pairs 64 --repeats 50";
    let mut command = scratch.command(&sweep.split(' ').collect::<Vec<_>>());
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("poq starts");
    let path = scratch.path("results/bench/bench.parquet");
    let deadline = Instant::now() + Duration::from_mins(1);
    while !path.exists() {
        assert!(Instant::now() < deadline, "no cell was measured");
        std::thread::sleep(Duration::from_millis(5));
    }
    let status = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(status.success());
    let output = child.wait_with_output().expect("ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("bench.parquet") && stderr.contains("begins again"), "{stderr}");
    let rows: Vec<BenchRow> = scratch.table("results/bench/bench.parquet");
    assert!(!rows.is_empty() && rows.iter().all(|row| row.error.is_none()), "{rows:?}");
}
