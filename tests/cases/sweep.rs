//! Sweeps from the outside: what a table holds, that nothing changes it that must not, and what is refused.

use crate::support::{Scratch, answers, import};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int64Type};
use poq::store::batches;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

const EVALUATORS: [&str; 3] = ["tiny_bi", "tiny_cross", "tiny_nli"];

/// A run `own` of three LLMs and three evaluators, scored and costed without a model.
fn scored() -> Scratch {
    let scratch = Scratch::new();
    let answer =
        |task: usize, model: usize| format!("lamp {} {}", task * (model + 1), "lights ".repeat(1 + (task + model) % 3));
    import(&scratch, &answers(14, 3, answer), &EVALUATORS, &[]);
    scratch.poq(&["score", "results/own", "--fake-inference"], 0);
    let latencies = ["m0=10", "m1=20", "m2=40", "tiny_bi=1", "tiny_cross=3", "tiny_nli=5"];
    let latencies = latencies.iter().flat_map(|latency| ["--latency", latency]);
    scratch.poq(&["profile", "results/own"].into_iter().chain(latencies).collect::<Vec<_>>(), 0);
    scratch
}

const SMALL: &str =
    "name = \"small\"\n[simulation]\nrounds = 200\nreplicates = 4\n[grid]\nk = [1, 2, 3]\nbeta_f = [0.0, 0.5]\n";

/// Enough cells to be in the middle of them when a signal comes.
fn large() -> String {
    let seeds: Vec<String> = (0..60).map(|seed| seed.to_string()).collect();
    let betas: Vec<String> = (0..20).map(|beta| format!("0.{beta:02}")).collect();
    format!(
        "name = \"large\"\n[simulation]\nrounds = 4000\nreplicates = 20\n[grid]\nbeta_f = [{}]\nseed = [{}]\n",
        betas.join(", "),
        seeds.join(", ")
    )
}

fn table(scratch: &Scratch, name: &str) -> PathBuf {
    scratch.path(&format!("results/own/sweeps/{name}.parquet"))
}

fn bytes(scratch: &Scratch, name: &str) -> Vec<u8> {
    std::fs::read(table(scratch, name)).expect("the table of the sweep")
}

/// Value by (cell, node or `-`, metric, proxy or `-`).
fn values(scratch: &Scratch, name: &str) -> BTreeMap<(i64, String, String, String), Option<f64>> {
    let mut found = BTreeMap::new();
    batches::for_each(&table(scratch, name), &["cell", "node", "metric", "proxy", "value"], |batch| {
        let cells = batch.column(0).as_primitive::<Int64Type>();
        let texts = [1, 2, 3].map(|column| batch.column(column).as_string::<i32>());
        let values = batch.column(4).as_primitive::<Float64Type>();
        for row in 0..batch.num_rows() {
            let [node, metric, proxy] =
                texts.map(|text| if text.is_null(row) { "-".to_owned() } else { text.value(row).to_owned() });
            let value = values.is_valid(row).then(|| values.value(row));
            assert!(found.insert((cells.value(row), node, metric, proxy), value).is_none(), "every figure once");
        }
        Ok(())
    })
    .expect("reads");
    found
}

#[test]
fn a_sweep_is_one_long_table_that_agrees_with_single_simulations() {
    let scratch = scored();
    scratch.write("small.toml", SMALL);
    let ran = scratch.poq(&["sweep", "results/own", "small.toml"], 0);
    assert!(ran.stdout.contains("sweep `small`: 6 cells") && ran.stdout.contains("small.parquet"), "{}", ran.stdout);
    assert!(ran.stdout.contains("more than 5 standard errors"), "{}", ran.stdout);
    let values = values(&scratch, "small");
    let cells: BTreeSet<i64> = values.keys().map(|(cell, ..)| *cell).collect();
    assert_eq!(cells, (0..6).collect());
    // Cell 3: the last axis changes fastest, so K = 2 and beta 0.5.
    let flags = ["--rounds", "200", "--replicates", "4", "--k", "2", "--beta-f", "0.5"];
    scratch.poq(&[["simulate", "results/own"].as_slice(), &flags].concat(), 0);
    let rewards: Vec<poq::store::rows::RewardRow> = scratch.table("results/own/rewards.parquet");
    assert_eq!(rewards.len(), 6);
    for row in &rewards {
        let of = |metric: &str| values[&(3, row.node.clone(), metric.to_owned(), "-".to_owned())];
        assert_eq!(of("avg_reward"), row.avg_reward);
        assert_eq!((of("ci_low"), of("ci_high"), of("stderr")), (row.ci_low, row.ci_high, row.stderr));
        assert_eq!(
            (of("reward_p05"), of("reward_p95"), of("std_reward")),
            (row.reward_p05, row.reward_p95, row.std_reward)
        );
        assert_eq!((of("expected_reward"), of("z"), of("jobs")), (row.expected_reward, row.z, Some(row.jobs as f64)));
    }
    let of_network = |metric: &str, proxy: &str| values[&(3, "-".to_owned(), metric.to_owned(), proxy.to_owned())];
    assert!(of_network("consensus_error", "f1").is_some_and(|error| error >= 0.0));
    assert_eq!(of_network("void_rounds", "-"), Some(0.0));
    // A second call finds nothing to do and says the same.
    let again = scratch.poq(&["sweep", "results/own", "small.toml"], 0);
    again.says(&["nothing to do"]);
    assert_eq!(again.stdout, ran.stdout);
}

#[test]
fn threads_change_no_byte() {
    let scratch = scored();
    scratch.write(
        "s.toml",
        "name = \"s\"\n[simulation]\nrounds = 300\nreplicates = 5\n[grid]\nconsensus.rule = [\"mean\", \"huber\"]\n\
         \"pool.evaluators\" = [5, 8]\nevaluator_attacks = [[], [{ strategy = \"boost\", share = 0.4 }]]\n\
         [[list]]\n[[list]]\nconsensus.trust = { update = \"relative\" }\n",
    );
    let swept = |threads: &str| {
        scratch.poq(&["sweep", "results/own", "s.toml", "--threads", threads], 0);
        let bytes = bytes(&scratch, "s");
        std::fs::remove_dir_all(scratch.path("results/own/sweeps")).expect("remove");
        bytes
    };
    let one = swept("1");
    assert!(one == swept("2") && one == swept("3"), "the number of threads changed the table");
}

#[test]
fn a_killed_sweep_ends_like_an_undisturbed_one() {
    let scratch = scored();
    scratch.write("large.toml", &large());
    let arguments = ["sweep", "results/own", "large.toml"];
    let started = Instant::now();
    scratch.poq(&arguments, 0);
    let whole = started.elapsed();
    let calm = bytes(&scratch, "large");
    std::fs::remove_dir_all(scratch.path("results/own/sweeps")).expect("remove");

    let first = scratch.path("results/own/sweeps/large.parts/part-00001.parquet");
    let (mut share, mut kills) = (0.3, 0);
    while kills < 2 {
        let mut child =
            scratch.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
        let deadline = Instant::now() + Duration::from_mins(1);
        while !first.exists() && !table(&scratch, "large").exists() {
            assert!(Instant::now() < deadline, "no part appeared");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(whole.mul_f64(share));
        share /= 2.0;
        if child.try_wait().expect("wait").is_some() {
            // It was faster than the first time and got through: once more, and less patiently.
            std::fs::remove_dir_all(scratch.path("results/own/sweeps")).expect("remove");
            kills = 0;
            assert!(share > 1e-4, "it gets through before it can be killed: give it more cells");
            continue;
        }
        child.kill().expect("kill");
        child.wait().expect("wait");
        assert!(!table(&scratch, "large").exists());
        kills += 1;
    }
    scratch.poq(&arguments, 0).says(&["of 1,200 cells were simulated before"]);
    assert!(bytes(&scratch, "large") == calm, "the killed sweep ended with another table");
    assert!(!scratch.path("results/own/sweeps/large.parts").exists(), "the parts are gone");
}

#[test]
fn an_interrupted_sweep_ends_with_130_and_goes_on() {
    let scratch = scored();
    scratch.write("large.toml", &large());
    let arguments = ["sweep", "results/own", "large.toml"];
    let child = scratch.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("poq starts");
    let first = scratch.path("results/own/sweeps/large.parts/part-00001.parquet");
    let deadline = Instant::now() + Duration::from_mins(1);
    while !first.exists() {
        assert!(Instant::now() < deadline, "no part appeared");
        std::thread::sleep(Duration::from_millis(1));
    }
    let status = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(status.success());
    let output = child.wait_with_output().expect("ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("what was finished is kept"), "{stderr}");
    scratch.poq(&arguments, 0).says(&["were simulated before"]);
    assert_eq!(values(&scratch, "large").keys().map(|(cell, ..)| *cell).collect::<BTreeSet<_>>().len(), 1200);
}

#[test]
fn what_users_keep_beside_a_sweep_stays() {
    let scratch = scored();
    scratch.write("small.toml", SMALL);
    let kept =
        ["small/plot.svg", "small.parts/notes.txt", "read me.txt"].map(|name| format!("results/own/sweeps/{name}"));
    for name in &kept {
        scratch.write(name, "mine");
    }
    scratch.poq(&["sweep", "results/own", "small.toml"], 0);
    scratch.poq(&["sweep", "results/own", "small.toml"], 0).says(&["nothing to do"]);
    assert!(table(&scratch, "small").exists() && kept.iter().all(|name| scratch.path(name).exists()));
    let evaluators = EVALUATORS.iter().flat_map(|key| ["--evaluator", key]);
    let again = ["import", "answers.jsonl", "--run", "own", "--update"];
    scratch.poq(&again.into_iter().chain(evaluators).collect::<Vec<_>>(), 0);
    assert!(!table(&scratch, "small").exists() && kept.iter().all(|name| scratch.path(name).exists()));
}

#[test]
fn other_scores_or_settings_make_another_table() {
    let scratch = scored();
    scratch.write("small.toml", SMALL);
    let sweep = || {
        scratch.poq(&["sweep", "results/own", "small.toml"], 0);
        bytes(&scratch, "small")
    };
    let first = sweep();
    scratch.edit("small.toml", "0.5", "0.7");
    let second = sweep();
    assert_ne!(first, second);
    scratch.poq(&["profile", "results/own", "--latency", "m0=30"], 0);
    assert_ne!(sweep(), second);
    // What a table was made from is checked before it is swept over.
    scratch.edit("answers.jsonl", "lamp 0", "lamp nought");
    let evaluators = EVALUATORS.iter().flat_map(|key| ["--evaluator", key]);
    let again = ["import", "answers.jsonl", "--run", "own", "--update"];
    scratch.poq(&again.into_iter().chain(evaluators).collect::<Vec<_>>(), 0);
    assert!(!table(&scratch, "small").exists(), "sweeps over replaced answers are gone");
    scratch.poq(&["sweep", "results/own", "small.toml"], 2).says(&["the scores are not there yet"]);
}

#[test]
fn what_cannot_be_swept_is_refused_with_what_to_do() {
    let scratch = scored();
    let refused = |text: &str, parts: &[&str]| {
        scratch.write("s.toml", text);
        scratch.poq(&["sweep", "results/own", "s.toml"], 2).says(&["error: ", "`s.toml`"]).says(parts);
    };
    refused(
        "name = \"s\"\n[grid]\nconsensus.rule = [\"mean\", \"medain\"]\n",
        &["`simulation.consensus.rule`", "medain", "hint: did you mean `median`?"],
    );
    refused("name = \"s\"\n[grid]\n\"consensus.rul\" = [\"mean\"]\n", &["hint: did you mean `rule`?"]);
    refused("name = \"s\"\n[gird]\nk = [1]\n", &["unknown field `gird`", "hint: did you mean `grid`?"]);
    refused("name = \"s\"\n[grid]\nk = [1, 0]\n", &["cell 1 (k = 0)", "`simulation.k`"]);
    refused("name = \"s\"\n[grid]\nk = 3\n", &["`grid.k` must be a list"]);
    scratch.write("s.toml", "name = \"s\"\n[grid]\nk = [3, 4]\n");
    scratch.poq(&["sweep", "results/own", "s.toml"], 2).says(&["cell 1 (k = 4)", "the pool has 3"]);
    scratch.poq(&["sweep", "results/own", "nowhere.toml"], 2).says(&["nowhere.toml"]);
    scratch.poq(&["sweep", "results/nowhere", "s.toml"], 2).says(&["is not a run"]);
}

#[test]
fn an_absurd_size_has_to_be_meant() {
    let scratch = scored();
    scratch.write(
        "s.toml",
        "name = \"s\"\n[simulation]\nrounds = 10_000_000_000\n[grid]\nreplicates = [100, 200]\nk = [1, 2]\n",
    );
    let parts = ["4 cells", "6,000,000,000,000 rounds", "hint: `--yes`"];
    scratch.poq(&["sweep", "results/own", "s.toml"], 2).says(&parts);
    let numbers: Vec<String> = (1..=400).map(|number| number.to_string()).collect();
    let numbers = numbers.join(", ");
    scratch.write("s.toml", &format!("name = \"s\"\n[grid]\nseed = [{numbers}]\nrounds = [{numbers}]\n"));
    scratch.poq(&["sweep", "results/own", "s.toml"], 2).says(&["160,000 cells", "hint: `--yes`"]);
    // Meant, it goes on to the next thing that is wrong.
    scratch.write("s.toml", &format!("name = \"s\"\n[grid]\nseed = [{numbers}]\nrounds = [{numbers}]\nk = [0]\n"));
    scratch.poq(&["sweep", "results/own", "s.toml", "--yes"], 2).says(&["cell 0", "`simulation.k`"]);
}

#[test]
fn the_record_keeps_what_is_to_be_known_of_every_sweep() {
    let scratch = scored();
    // One of the evaluators is as if its model were missing.
    scratch.edit("results/own/run.json", "\"skipped_models\": []", "\"skipped_models\": [\"tiny_nli\"]");
    let latencies = ["m0=10", "m1=20", "m2=40", "tiny_bi=1", "tiny_cross=3"];
    let latencies = latencies.iter().flat_map(|latency| ["--latency", latency]);
    scratch.poq(&["profile", "results/own"].into_iter().chain(latencies).collect::<Vec<_>>(), 0);
    scratch.write("one.toml", "name = \"one\"\n[grid]\nseed = [1, 2]\n");
    scratch.write("two.toml", "name = \"two\"\n[simulation]\npool.evaluators = 5\n[grid]\nk = [3, 5]\n");
    let warning = "sweep `one`: 3 evaluators per round were asked for, but 1 were skipped: K is 2";
    scratch.poq(&["sweep", "results/own", "one.toml"], 0).says(&[warning]);
    scratch.poq(&["sweep", "results/own", "two.toml"], 0);
    let record = std::fs::read_to_string(scratch.path("results/own/run.json")).expect("read");
    let record: serde_json::Value = serde_json::from_str(&record).expect("JSON");
    assert_eq!(record["stages"]["sweep"]["warnings"], serde_json::json!([warning]));
    assert_eq!(record["stages"]["sweep"]["details"]["two"]["warnings"], serde_json::json!([]));
}

#[test]
fn a_cell_that_wants_a_composite_is_told_why_there_is_none() {
    let scratch = scored();
    scratch.write("s.toml", "name = \"s\"\n[simulation]\nrounds = 100\n[grid]\nquality = [\"none\", \"composite\"]\n");
    let sweep = ["sweep", "results/own", "s.toml"];
    scratch.poq(&sweep, 2).says(&["signals.parquet` does not exist", "hint: `poq signals results/own`"]);
    scratch.poq(&["signals", "results/own"], 0);
    scratch.poq(&["profile", "results/own", "--latency", "m0=30"], 0);
    scratch.poq(&sweep, 2).says(&["signals.parquet` was made with other settings", "hint: `poq signals"]);
}
