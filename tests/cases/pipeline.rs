//! The whole experiment on tiny models: every promised table, every stage alone, nothing to do the second time.

use crate::support::server::{Act, Server};
use crate::support::{Ran, Scratch};
use poq::store::rows::{JudgementRow, ProfileRow, RewardRow, RoundRow, TaskRow};
use serde_json::Value;

#[test]
fn a_run_leaves_every_promised_table() {
    let scratch = Scratch::new();
    let ran = scratch.poq(&["run", "tiny.toml"], 0);
    assert!(ran.stdout.contains("tiny_decoder_b"), "the report is on stdout:\n{}", ran.stdout);
    for file in [
        "run.json",
        "tasks.parquet",
        "profile.parquet",
        "rewards.parquet",
        "rounds.parquet",
        "metrics.parquet",
        "report.md",
        "report.html",
        "figures/figure-6-rewards-inference.svg",
    ] {
        assert!(scratch.path(&format!("results/tiny/{file}")).exists(), "{file} is missing");
    }
    assert_eq!(scratch.table::<TaskRow>("results/tiny/tasks.parquet").len(), 14);
    assert_eq!(scratch.answers("tiny").len(), 28);
    assert_eq!(scratch.scores("tiny").len(), 4 * 28);
    assert_eq!(scratch.table::<ProfileRow>("results/tiny/profile.parquet").len(), 4);
    assert_eq!(scratch.table::<RewardRow>("results/tiny/rewards.parquet").len(), 4);
    assert_eq!(scratch.table::<RoundRow>("results/tiny/rounds.parquet").len(), 500);
    let leftovers: Vec<_> = walk(&scratch.path("results"))
        .into_iter()
        .filter(|name| name.contains(".part-") || name.ends_with("parquet.tmp") || name.ends_with("json.tmp"))
        .collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");
}

#[test]
fn nodes_are_measured_on_prompts_that_every_model_can_answer() {
    let scratch = Scratch::new();
    let long = format!("{{\"id\": \"long\", \"article\": \"{}\", \"highlights\": \"h\"}}\n", "word ".repeat(3000));
    scratch.write("datasets/news.jsonl", &(crate::support::news(3) + &long));
    scratch.edit(
        "tiny.toml",
        "given_latency_ms = { tiny_decoder = 10.0, tiny_decoder_b = 20.0, tiny_bi = 1.0, tiny_cross = 3.0 }",
        "warmup = 1",
    );
    scratch.poq(&["run", "tiny.toml"], 0);
    for row in scratch.table::<ProfileRow>("results/tiny/profile.parquet") {
        let (mean, p50, p99) =
            (row.latency_ms_mean.expect("mean"), row.latency_ms_p50.expect("p50"), row.latency_ms_p99.expect("p99"));
        assert!(p50 <= p99 && p50 < mean * 10.0 && p99 > mean / 10.0, "{row:?}");
        assert!(
            row.samples > 0 && row.peak_memory_mb.is_some_and(|mb| mb > 1.0) && row.source == "measured",
            "{row:?}"
        );
        assert!(row.throughput.is_some_and(|rate| (rate * mean / 1e3 - 1.0).abs() < 1e-6), "{row:?}");
    }
    // Nothing that was measured is measured again.
    let before: Vec<ProfileRow> = scratch.table("results/tiny/profile.parquet");
    scratch.poq(&["run", "tiny.toml"], 0);
    assert_eq!(scratch.table::<ProfileRow>("results/tiny/profile.parquet"), before);
}

#[test]
fn more_rows_at_once_are_timed_too_and_cost_what_one_costs() {
    let scratch = Scratch::new();
    scratch.edit(
        "tiny.toml",
        "given_latency_ms = { tiny_decoder = 10.0, tiny_decoder_b = 20.0, tiny_bi = 1.0, tiny_cross = 3.0 }",
        "warmup = 1",
    );
    scratch.poq(&["run", "tiny.toml"], 0);
    scratch.poq(&["profile", "results/tiny", "--batch-size", "2,4"], 0);
    let rows: Vec<ProfileRow> = scratch.table("results/tiny/profile.parquet");
    let sizes = |node: &str| rows.iter().filter(|row| row.node == node).map(|row| row.batch_size).collect::<Vec<_>>();
    assert_eq!((sizes("tiny_decoder"), sizes("tiny_decoder_b")), (vec![1, 2, 4], vec![1, 2, 4]));
    for row in &rows {
        let first = rows.iter().find(|first| first.node == row.node).expect("itself");
        assert!(row.latency_ms_mean > Some(0.0) && row.throughput > Some(0.0), "{row:?}");
        assert!((row.cost_norm - first.cost_norm).abs() < 1e-12, "{row:?}");
    }
    // The costs are those of one row at a time.
    let latency = |node: &str| rows.iter().find(|row| row.node == node).and_then(|row| row.latency_ms_mean);
    let dearer = if latency("tiny_decoder") > latency("tiny_decoder_b") { "tiny_decoder" } else { "tiny_decoder_b" };
    assert!(rows.iter().filter(|row| row.node == dearer).all(|row| row.cost_norm > 0.999));
    scratch.poq(&["simulate", "results/tiny"], 0);
    scratch.poq(&["report", "results/tiny"], 0);
}

#[test]
fn run_json_says_what_ran() {
    let scratch = Scratch::new();
    scratch.poq(&["run", "tiny.toml"], 0);
    let record: Value =
        serde_json::from_str(&std::fs::read_to_string(scratch.path("results/tiny/run.json")).expect("read"))
            .expect("JSON");
    assert_eq!(record["status"], "done");
    assert_eq!(record["arguments"], serde_json::json!(["run", "tiny.toml"]));
    assert_eq!(record["experiment"]["generation"]["max_new_tokens"], 12);
    assert!(record["experiment"]["generation"]["temperature"].is_null(), "as passed");
    assert_eq!(record["settings"]["generation"]["temperature"], 0.7, "as resolved");
    assert_eq!(record["settings"]["simulation"]["beta_f"], 0.3);
    assert!(
        record["runtime"]["version"].as_str().is_some_and(|version| version.starts_with("1.")),
        "{}",
        record["runtime"]
    );
    assert_eq!(record["runtime"]["provider"], "cpu");
    assert_eq!(record["models"].as_object().map(serde_json::Map::len), Some(4));
    assert_eq!(record["datasets"].as_object().map(serde_json::Map::len), Some(2));
    assert!(record["machine"]["cores"].as_u64() >= Some(1));
    for stage in ["tasks", "generate", "score", "profile", "simulate", "report"] {
        assert!(record["stages"][stage]["seconds"].is_f64(), "{stage}");
        assert!(record["stages"][stage]["failed"].is_u64(), "{stage}");
    }
}

#[test]
fn a_second_run_finds_nothing_to_do() {
    let scratch = Scratch::new();
    scratch.poq(&["run", "tiny.toml"], 0);
    let before = modified(&scratch, &["tasks", "profile", "rewards", "rounds", "metrics"]);
    let ran = scratch.poq(&["run", "tiny.toml"], 0);
    for stage in ["tasks", "generate", "score", "profile", "simulate", "report"] {
        let line = ran.stderr.lines().find(|line| line.starts_with(&format!("{stage}:"))).expect("a line per stage");
        assert!(line.contains("nothing to do"), "{line}");
    }
    assert_eq!(modified(&scratch, &["tasks", "profile", "rewards", "rounds", "metrics"]), before);
}

#[test]
fn stages_run_alone_and_take_flags() {
    let scratch = Scratch::new();
    scratch.poq(&["tasks", "results/alone", "--experiment", "tiny.toml"], 0);
    scratch.poq(&["generate", "results/alone", "--temperature", "0"], 0);
    scratch.poq(&["score", "results/alone"], 0);
    scratch.poq(&["profile", "results/alone"], 0);
    scratch.poq(&["simulate", "results/alone", "--k", "1..2", "--beta", "0.5"], 0);
    scratch.poq(&["report", "results/alone"], 0);
    let record: Value =
        serde_json::from_str(&std::fs::read_to_string(scratch.path("results/alone/run.json")).expect("read"))
            .expect("JSON");
    assert_eq!(record["settings"]["generation"]["temperature"], 0.0);
    assert_eq!(record["settings"]["simulation"]["k"], serde_json::json!({"min": 1, "max": 2}));
    assert_eq!(record["settings"]["simulation"]["beta_m"], 0.5);
    // A changed mechanism redoes the simulation, not the answers.
    let answers = scratch.answers("alone");
    let ran = scratch.poq(&["simulate", "results/alone", "--beta", "0"], 0);
    assert!(!ran.stderr.contains("nothing to do"), "{}", ran.stderr);
    assert_eq!(scratch.answers("alone"), answers);
}

#[test]
fn a_report_can_be_had_at_any_stage() {
    let scratch = Scratch::new();
    scratch.poq(&["tasks", "results/early", "--experiment", "tiny.toml"], 0);
    let ran = scratch.poq(&["report", "results/early"], 0);
    assert!(ran.stdout.contains("poq generate"), "the report says what is missing:\n{}", ran.stdout);
    let page = std::fs::read_to_string(scratch.path("results/early/report.html")).expect("the page");
    assert!(page.contains("poq generate results/early") && page.contains("There are no answers yet"));
}

#[test]
fn summaries_are_json_on_request() {
    let scratch = Scratch::new();
    let tasks: Value = serde_json::from_str(
        &scratch.poq(&["tasks", "results/j", "--experiment", "tiny.toml", "--format", "json"], 0).stdout,
    )
    .expect("JSON");
    assert_eq!((&tasks["stage"], &tasks["rows"], &tasks["failed"]), (&"tasks".into(), &14.into(), &0.into()));
    let report: Value =
        serde_json::from_str(&scratch.poq(&["report", "results/j", "--format", "json"], 0).stdout).expect("JSON");
    assert_eq!(report["identity"]["name"], "j");
    let models: Value =
        serde_json::from_str(&scratch.poq(&["models", "list", "--format", "json"], 0).stdout).expect("JSON");
    assert_eq!(models["models"][0]["key"], "tiny_decoder");
    assert_eq!(models["models"][0]["state"], "ready");
    let pool = models["models"].as_array().expect("list").len();
    assert_eq!(models["total"]["models_without_figures"], pool);
}

#[test]
fn a_run_does_without_a_judge_where_its_key_is_missing_and_may_be() {
    let scratch = Scratch::new();
    let judge = "[judge]\nbackend = \"chat\"\nmodel = \"grader\"\nn_group = 2\nkey_env = \"POQ_TEST_KEY\"\n";
    scratch.edit("tiny.toml", "[profile]", &format!("{judge}skip_without_key = true\n[profile]"));
    let server = Server::start(|seen| Act::says(seen, "{\"score\": 5, \"justification\": \"\"}"));
    let run = |key: Option<&str>| {
        let mut command = scratch.command(&["run", "tiny.toml"]);
        command.env("OPENAI_BASE_URL", server.url()).env_remove("POQ_TEST_KEY").env_remove("http_proxy");
        let ran = Ran::from(command.envs(key.map(|key| ("POQ_TEST_KEY", key))).output().expect("poq starts"));
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran
    };
    run(None).says(&["warning: judge: left out, for there is no key in `POQ_TEST_KEY`"]);
    assert!(server.seen().is_empty(), "nobody is asked");
    assert!(scratch.path("results/tiny/report.html").exists(), "everything else is made");

    let ran = run(Some("sk-test-of-a-key"));
    assert!(!ran.stderr.contains("left out") && ran.stdout.contains("`grader`"), "{}\n{}", ran.stderr, ran.stdout);
    let judged = || scratch.table::<JudgementRow>("results/tiny/judgements.parquet").len();
    assert_eq!((judged(), server.seen().len()), (8, 8), "two records of each task type, for both models");

    // Grades that are there are kept up without a key, as long as nothing is to be asked.
    assert!(!run(None).stderr.contains("left out"));
    assert_eq!((judged(), server.seen().len()), (8, 8));

    // A refused key leaves the judge out as well, and leaves nothing behind that asks the server without one.
    scratch.edit("tiny.toml", "name = \"tiny\"", "name = \"other\"");
    let unauthorised = Server::start(|_| Act::status(401, "{}"));
    for (key, said, asked) in [(Some("sk-refused"), "does not accept the key", 1), (None, "there is no key", 1)] {
        let mut command = scratch.command(&["run", "tiny.toml"]);
        command.env("OPENAI_BASE_URL", unauthorised.url()).env_remove("POQ_TEST_KEY").env_remove("http_proxy");
        let ran = Ran::from(command.envs(key.map(|key| ("POQ_TEST_KEY", key))).output().expect("poq starts"));
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran.says(&["warning: judge: left out", said]);
        assert!(!ran.stderr.contains("sk-refused"), "{}", ran.stderr);
        assert_eq!(unauthorised.seen().len(), asked);
        assert!(scratch.path("results/other/report.html").exists());
    }

    scratch.edit("tiny.toml", "skip_without_key = true\n", "");
    scratch.edit("tiny.toml", "name = \"other\"", "name = \"third\"");
    let mut command = scratch.command(&["run", "tiny.toml"]);
    command.env("OPENAI_BASE_URL", unauthorised.url()).env_remove("POQ_TEST_KEY").env_remove("http_proxy");
    let ran = Ran::from(command.output().expect("poq starts"));
    assert_eq!(ran.code, Some(2), "without the setting the run ends there: {}", ran.stderr);
}

#[test]
fn quiet_prints_the_report_alone() {
    let scratch = Scratch::new();
    let ran = scratch.poq(&["run", "tiny.toml", "--quiet"], 0);
    assert!(ran.stderr.lines().all(|line| line.starts_with("warning:")), "{}", ran.stderr);
    assert!(!ran.stdout.is_empty());
}

#[test]
fn models_are_listed_and_verified() {
    let scratch = Scratch::new();
    std::fs::remove_dir_all(scratch.path("models/tiny_bi")).expect("remove");
    let list = scratch.poq(&["models", "list"], 0).stdout;
    let line = list.lines().find(|line| line.starts_with("tiny_bi ")).expect("listed");
    assert!(line.contains("missing"), "{line}");
    assert!(list.contains("just models tiny"), "{list}");
    let verify = scratch.poq(&["models", "verify"], 0).stdout;
    assert!(verify.contains("tiny_cross: ok") && verify.contains("tiny_bi: missing"), "{verify}");
}

#[test]
fn the_exports_for_a_card_are_listed_and_verified_too() {
    let scratch = Scratch::new();
    let line = |arguments: &[&str]| {
        let list = scratch.poq(&[&["models", "list"], arguments].concat(), 0).stdout;
        (list.lines().find(|line| line.starts_with("tiny_decoder ")).expect("listed").to_owned(), list)
    };
    assert!(line(&[]).0.contains("ready / ready (cuda)"), "{}", line(&[]).0);
    let verify = scratch.poq(&["models", "verify"], 0).stdout;
    assert!(verify.contains("tiny_decoder: ok\ntiny_decoder (cuda): ok\n"), "{verify}");

    std::fs::remove_dir_all(scratch.path("models/tiny_decoder")).expect("remove");
    let (with_card, list) = line(&[]);
    assert!(with_card.contains("missing / ready (cuda)") && !list.contains("comes with"), "{list}");
    assert!(line(&["--provider", "cpu"]).1.contains("comes with `just models tiny`"));
    let (card, list) = line(&["--provider", "cuda"]);
    assert!(card.contains("  ready (cuda)  ") && !list.contains("comes with"), "{list}");
    assert!(list.contains("none (cuda)"), "a decoder without a form for a card: {list}");

    scratch.write("models/tiny_decoder-f16/model.onnx", "short");
    let verify = scratch.poq(&["models", "verify", "--provider", "cuda"], 2).stdout;
    assert!(
        verify.contains("tiny_decoder (cuda): broken") && verify.contains("--provider cuda` exports it"),
        "{verify}"
    );
    std::fs::remove_dir_all(scratch.path("models/tiny_decoder-f16")).expect("remove");
    scratch.write("experiments/tiny.toml", "");
    let (neither, list) = line(&[]);
    assert!(neither.contains("missing / missing (cuda)"), "{neither}");
    for recipe in ["just models tiny", "just models tiny --provider cuda", "just reproduce tiny"] {
        assert_eq!(list.matches(&format!("comes with `{recipe}`")).count(), 1, "{list}");
    }
    assert!(!scratch.poq(&["models", "verify"], 0).stdout.contains("tiny_decoder (cuda)"));
}

#[test]
fn what_a_pool_takes_is_said_beforehand() {
    let scratch = Scratch::new();
    scratch.write("models/registry.toml", GATED);
    let list = scratch.poq(&["models", "list", "--pool", "paper"], 0).stdout;
    assert!(list.contains("big is gated: accept its licence at https://huggingface.co/maker/big"), "{list}");
    let figures = |name: &str| {
        let line = list.lines().filter(|line| line.contains('|')).find(|line| line.starts_with(name)).expect("listed");
        line.split([' ', '|']).filter(|part| part.parse::<f64>().is_ok() || *part == "-").collect::<Vec<_>>().join(" ")
    };
    assert_eq!(figures("big"), "2.1 4.0 10.0 9.0 2.0 6.0 4.2");
    assert_eq!(figures("small"), "0.04 - - - - - -");
    assert_eq!(figures("all"), "4.0 10.0 9.0 2.0 6.0 4.2");
    assert!(list.contains(">=2.1") && list.contains("the sums lack them"), "{list}");
    let listed: Value =
        serde_json::from_str(&scratch.poq(&["models", "list", "--pool", "paper", "--format", "json"], 0).stdout)
            .expect("JSON");
    let big = &listed["models"][0];
    assert_eq!(big["accept_licence_at"], "https://huggingface.co/maker/big");
    assert_eq!(
        (&big["needs"]["download"], &big["needs"]["cuda"]["run_gpu"]),
        (&2_100_000_000_u64.into(), &4_200_000_000_u64.into())
    );
    assert_eq!((&big["sha256"][0], &listed["models"][1]["accept_licence_at"]), (&Value::Null, &Value::Null));
    assert_eq!(
        (&listed["total"]["download"], &listed["total"]["models_without_figures"]),
        (&2_140_000_000_u64.into(), &1.into())
    );
}

/// A gated decoder of a thousand million parameters, and an encoder that does not say how many it has.
const GATED: &str = r#"
schema_version = 1
[[model]]
key = "big"
pool = "paper"
role = "inference"
architecture = "decoder"
precision = "f32"
name = "Big"
upstream = "maker/big"
licence = "other"
gated = true
parameters = 1000000000
max_length = 2048
files = ["model.onnx", "model.onnx.data", "tokenizer.json", "chat_template.jinja"]
decoder = { chat_template = "chat_template.jinja", stop_tokens = ["</s>"] }
export = { recipe = "checkpoint_decoder", logit_tolerance = 0.001, cuda_precision = "bf16" }
[[model.artifact]]
name = "model.safetensors"
bytes = 2100000000
source = [{ kind = "hub", repo = "maker/big", revision = "7b6d24c440a36b6815f21b70d25016731768db1f", file = "model.safetensors" }]

[[model]]
key = "small"
pool = "paper"
role = "evaluator"
architecture = "bi_encoder"
precision = "f32"
name = "Small"
upstream = "maker/small"
licence = "MIT"
max_length = 128
files = ["model.onnx", "tokenizer.json"]
scoring = { output = "last_hidden_state", pooling = "mean", batch_size = 64 }
[[model.artifact]]
name = "model.safetensors"
bytes = 40000000
source = [{ kind = "hub", repo = "maker/small", revision = "7b6d24c440a36b6815f21b70d25016731768db1f", file = "model.safetensors" }]
"#;

fn modified(scratch: &Scratch, tables: &[&str]) -> Vec<std::time::SystemTime> {
    let time = |table: &&str| {
        let path = scratch.path(&format!("results/tiny/{table}.parquet"));
        std::fs::metadata(path).and_then(|file| file.modified()).expect("modification time")
    };
    tables.iter().map(time).collect()
}

fn walk(directory: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("list").map(|entry| entry.expect("entry").path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path.display().to_string()] }).collect()
}
