//! `poq report RUN --compare OTHER…` from the outside: two real runs, runs that lack something, and what is refused.

use crate::judge::{grader, judge, run_of};
use crate::support::server::Server;
use crate::support::{Scratch, answers, import, news};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// A scratch with enough records of both types for intervals.
fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.write("datasets/squad.json", &crate::support::squad(15));
    scratch.write("datasets/news.jsonl", &news(12));
    scratch.edit("tiny.toml", "sample = 8", "sample = 12");
    scratch
}

fn json(scratch: &Scratch, runs: &[&str]) -> Value {
    let (first, others) = runs.split_first().expect("a baseline");
    let arguments = [&["report", *first, "--format", "json", "--compare"], others].concat();
    serde_json::from_str(&scratch.poq(&arguments, 0).stdout).expect("JSON on stdout")
}

/// Every file below a directory with its bytes and when it was last written.
fn snapshot(directory: &Path) -> BTreeMap<String, (Vec<u8>, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).expect("list") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            found.extend(snapshot(&path));
        } else {
            let written = path.metadata().and_then(|metadata| metadata.modified()).expect("a time");
            found.insert(path.display().to_string(), (std::fs::read(&path).expect("read"), written));
        }
    }
    found
}

fn metric<'v>(pair: &'v Value, wanted: &[(&str, &str)]) -> &'v Value {
    let metrics = pair["metrics"].as_array().expect("metrics");
    let fits =
        |metric: &&Value| metric["task_type"].is_null() && wanted.iter().all(|(field, value)| metric[field] == **value);
    metrics.iter().find(fits).unwrap_or_else(|| panic!("no {wanted:?} in {metrics:#?}"))
}

#[test]
fn two_runs_differ_where_their_settings_do() {
    let scratch = scratch();
    scratch.poq(&["run", "tiny.toml"], 0);
    scratch.edit("tiny.toml", "max_new_tokens = 12", "max_new_tokens = 5");
    scratch.poq(&["run", "tiny.toml", "--run", "short"], 0);
    let before = snapshot(&scratch.path("results"));
    let text = scratch.poq(&["report", "results/tiny", "--compare", "results/short"], 0).stdout;
    assert!(text.starts_with("# `short` against `tiny`\n"), "{text}");
    assert!(text.contains("| `generation.max_new_tokens` | 12"), "{text}");

    let document = json(&scratch, &["results/tiny", "results/short"]);
    assert_eq!(snapshot(&scratch.path("results")), before, "no run is changed");
    let pair = &document["comparisons"][0];
    assert_eq!((&document["comparison_version"], &pair["other"]["directory"]), (&1.into(), &"results/short".into()));
    assert_eq!(pair["settings"].as_array().map(Vec::len), Some(1), "{}", pair["settings"]);
    assert_eq!(pair["settings"][0]["baseline"], 12);
    assert_eq!((&pair["data"]["common"], &pair["data"]["changed"]["count"]), (&24.into(), &0.into()));

    // The tiny decoders seldom stop by themselves: answers are shorter for certain, and nothing else can be the first.
    let tokens = metric(pair, &[("metric", "output_tokens"), ("model", "tiny_decoder")]);
    assert_eq!((&tokens["verdict"], &tokens["rows"]), (&"moved".into(), &24.into()), "{tokens}");
    assert!(tokens["difference"].as_f64() < Some(-1.0) && tokens["p_holm"].as_f64() < Some(0.05), "{tokens}");
    assert_eq!(pair["metrics"][0]["verdict"], "moved");
    let counts = &pair["counts"];
    let sum: u64 = ["moved", "within", "identical", "rounding", "untested"]
        .map(|name| counts[name].as_u64().unwrap())
        .iter()
        .sum();
    assert_eq!(counts["compared"].as_u64(), Some(sum));
    let failed = metric(pair, &[("metric", "failed_share"), ("model", "tiny_decoder")]);
    assert_eq!(failed["verdict"], "identical");
    // Latencies are given, and the same.
    assert_eq!(metric(pair, &[("metric", "latency_ms"), ("model", "tiny_decoder")])["verdict"], "identical");
    let reward = metric(pair, &[("metric", "avg_reward"), ("model", "tiny_decoder")]);
    assert_eq!(reward["method"], "two_sample", "{reward}");
}

#[test]
fn a_run_is_identical_to_itself_and_to_one_with_other_workers() {
    let scratch = scratch();
    scratch.poq(&["run", "tiny.toml", "--threads", "1"], 0);
    scratch.edit("tiny.toml", "[scoring]\n", "[scoring]\nworkers = 2\nworker_threads = 1\n");
    scratch.poq(&["run", "tiny.toml", "--run", "workers", "--threads", "2"], 0);
    let document = json(&scratch, &["results/tiny", "results/tiny", "results/workers"]);
    for pair in document["comparisons"].as_array().expect("two") {
        let counts = &pair["counts"];
        assert_eq!(counts["identical"], counts["compared"], "{}", pair["summary"]);
        assert!(pair["tables"].as_array().expect("tables").iter().all(|table| table["identical"] == true), "{pair}");
        assert!(pair["outputs"].as_array().expect("models").iter().all(|row| row["share"] == 1.0), "{pair}");
    }
    let settings = document["comparisons"][1]["settings"].as_array().expect("settings");
    assert!(settings.len() == 2 && settings.iter().all(|row| row["can_change_results"] == false), "{settings:?}");
    let text = scratch.poq(&["report", "results/tiny", "--compare", "results/workers"], 0).stdout;
    assert!(text.contains("All tables are identical row by row."), "{text}");
}

#[test]
fn a_run_without_judge_and_with_one_model_says_what_it_lacks() {
    let scratch = run_of(24, 2);
    let server = Server::start(grader);
    judge(&scratch, &server.url(), &["--n-group", "4"], 0);
    scratch.poq(&["score", "results/own"], 0);
    std::fs::rename(scratch.path("results/own"), scratch.path("results/judged")).expect("rename");
    import(&scratch, &answers(24, 1, |t, m| format!("lamp {t} says model {m}")), &["tiny_bi"], &[]);
    scratch.poq(&["score", "results/own"], 0);

    let text = scratch.poq(&["report", "results/judged", "--compare", "results/own"], 0).stdout;
    for part in [
        "every metric of the LLM `m1`: missing in `own`",
        "grades of a judge: missing in `own`, for no judge was asked for. To get it: `poq judge results/own",
        "rewards: missing in `judged`, for the mechanism has not been simulated. To get it: `poq simulate results/judged`",
        "24 of 24 answers in common are the same text",
    ] {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
    let document = json(&scratch, &["results/judged", "results/own"]);
    let f1 = metric(&document["comparisons"][0], &[("metric", "f1"), ("model", "m0")]);
    assert_eq!((&f1["verdict"], &f1["rows"]), (&"identical".into(), &24.into()), "{f1}");
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let scratch = scratch();
    scratch.poq(&["run", "tiny.toml"], 0);
    scratch.poq(&["tasks", "results/begun", "--experiment", "tiny.toml"], 0);
    std::fs::create_dir(scratch.path("results/empty")).expect("create");
    let refused = |other: &str, parts: &[&str]| {
        let ran = scratch.poq(&["report", "results/tiny", "--compare", other], 2);
        ran.says(parts);
        assert!(ran.stdout.is_empty(), "{}", ran.stdout);
    };
    refused("results/empty", &["`results/empty` is not a run", "run.json"]);
    refused("results/nowhere", &["`results/nowhere` is not a run"]);
    refused("results/begun", &["`results/begun` has no answers", "hint: `poq generate results/begun`"]);
    assert!(!scratch.path("results/empty/run.lock").exists(), "nothing is written into what is looked at");

    // Settings that the answers were not made with: another poq might know better, this one does not.
    scratch.poq(&["run", "tiny.toml", "--run", "stale"], 0);
    scratch.edit(
        "results/stale/run.json",
        "\"max_new_tokens\": 12,\n      \"temp",
        "\"max_new_tokens\": 7,\n      \"temp",
    );
    refused("results/stale", &["made with other settings", "poq generate results/stale"]);
    scratch.edit("results/begun/run.json", "\"schema_version\": 1", "\"schema_version\": 99");
    refused("results/begun", &["schema version 99"]);
}
