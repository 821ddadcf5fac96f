//! A run of a million answers by five LLMs, scored by three tiny evaluators: how long `poq report` takes, every file it writes
//! included. The rows are drawn from a fixed seed, imported and scored by the program itself, in a temporary directory
//! (about 1 GB, some minutes). Needs ONNX Runtime (`just runtime`).

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

use rand_core::Rng;
use rand_pcg::Pcg64;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const TASKS: usize = 200_000;
const MODELS: usize = 5;
const REPEATS: usize = 3;
const WORDS: [&str; 16] = [
    "light", "tide", "region", "boat", "music", "engine", "bridge", "storm", "harbour", "garden", "paper", "voice",
    "report", "winter", "signal", "river",
];

fn main() {
    let directory = tempfile::tempdir().unwrap();
    answers(&directory.path().join("answers.jsonl"));
    let evaluators = ["tiny_bi", "tiny_cross", "tiny_nli"];
    let named: Vec<&str> = evaluators.iter().flat_map(|key| ["--evaluator", key]).collect();
    poq(directory.path(), &[&["import", "answers.jsonl", "--run", "large"], &named[..]].concat());
    for stage in ["score", "profile", "simulate"] {
        poq(directory.path(), &[stage, "results/large"]);
    }
    let mut seconds: Vec<f64> = (0..REPEATS)
        .map(|_| {
            // It is written anew only where it is not there.
            let _ = std::fs::remove_file(directory.path().join("results/large/metrics.parquet"));
            let started = Instant::now();
            poq(directory.path(), &["report", "results/large"]);
            started.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    println!(
        "report: {} answers, {} scores: median {:.1} s of {REPEATS} ({:.1} to {:.1})",
        TASKS * MODELS,
        TASKS * MODELS * (evaluators.len() + 2),
        seconds[REPEATS / 2],
        seconds[0],
        seconds[REPEATS - 1]
    );
}

/// Answers that repeat some words of the reference, the later models more.
fn answers(path: &Path) {
    let mut random = Pcg64::new(3, 3);
    let mut below = |n: usize| (random.next_u64() % n as u64) as usize;
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    for task in 0..TASKS {
        let kind = ["qa", "summarization"][task % 2];
        let reference: Vec<&str> = (0..7).map(|_| WORDS[below(WORDS.len())]).collect();
        for model in 0..MODELS {
            let mut output = String::new();
            for _ in 0..2 + below(14) {
                let known = below(100) < 25 + 10 * model;
                let word = if known { reference[below(reference.len())] } else { WORDS[below(WORDS.len())] };
                let _ = write!(output, "{word} ");
            }
            let row = serde_json::json!({
                "task_id": format!("t{task}"), "task_type": kind, "input": format!("question {task}"),
                "reference": reference.join(" "), "model": format!("m{model}"), "output": output.trim_end(), "latency_ms": 20 + model,
            });
            writeln!(file, "{row}").unwrap();
        }
    }
}

fn poq(directory: &Path, arguments: &[&str]) {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(env!("CARGO_BIN_EXE_poq"))
        .current_dir(directory)
        .args(arguments)
        .arg("--quiet")
        .env("POQ_MODELS", repository.join("tests/fixtures/tiny"))
        .env("ORT_DYLIB_PATH", repository.join("models/runtime/libonnxruntime.so"))
        .output()
        .unwrap();
    assert!(output.status.success(), "poq {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
}
