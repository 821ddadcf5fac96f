//! Kills, interrupts and full disks: what was finished is kept, and the end is the same.

use crate::invariants::assert_close;
use crate::support::Scratch;
use poq::store::rows::RewardRow;
use std::fmt::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

fn rewards(scratch: &Scratch) -> Vec<RewardRow> {
    scratch.table("results/tiny/rewards.parquet")
}

#[test]
fn ten_kills_end_like_an_undisturbed_run() {
    let prepare = || {
        let scratch = Scratch::new();
        scratch.write("datasets/squad.json", &crate::support::squad(120));
        scratch.edit("tiny.toml", "sample = 8", "sample = 120");
        scratch.edit("tiny.toml", "max_new_tokens = 12", "max_new_tokens = 40");
        scratch
    };
    let calm = prepare();
    let started = Instant::now();
    calm.poq(&["run", "tiny.toml"], 0);
    let whole = started.elapsed();

    let killed = prepare();
    // Moments spread over the run by a fixed generator: a failure can be repeated.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut kills = 0;
    while kills < 10 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let share = (state >> 40) as f64 / f64::from(1_u32 << 24);
        let mut child = killed
            .command(&["run", "tiny.toml", "--quiet"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("poq starts");
        std::thread::sleep(Duration::from_secs_f64(whole.as_secs_f64() * share));
        if child.try_wait().expect("wait").is_some() {
            // It got through: begin again, or the remaining kills would hit a finished run.
            std::fs::remove_dir_all(killed.path("results")).expect("remove");
            continue;
        }
        child.kill().expect("kill");
        child.wait().expect("wait");
        kills += 1;
    }
    killed.poq(&["run", "tiny.toml"], 0);
    assert_eq!(killed.answers("tiny"), calm.answers("tiny"));
    // Scores may have been computed with other batch-mates: f32 sums then differ in the last digits.
    assert_close(&killed.scores("tiny"), &calm.scores("tiny"));
    for (a, b) in rewards(&killed).iter().zip(&rewards(&calm)) {
        assert_eq!((&a.node, a.jobs, a.cost_norm), (&b.node, b.jobs, b.cost_norm));
        let difference = a.avg_reward.expect("paid") - b.avg_reward.expect("paid");
        assert!(difference.abs() < 1e-5, "{}: {difference}", a.node);
    }
}

#[test]
fn a_kill_while_scoring_ends_like_an_undisturbed_run() {
    const TASKS: usize = 40_000;
    let prepare = || {
        let scratch = Scratch::new();
        let mut answers = String::new();
        for task in 0..TASKS {
            let row = serde_json::json!({
                "task_id": format!("t{task}"), "task_type": "qa", "input": format!("Who kept lamp {task}?"),
                "reference": format!("keeper {task}"), "model": "m", "output": format!("the keeper of lamp {task}"),
            });
            let _ = writeln!(answers, "{row}");
        }
        scratch.write("answers.jsonl", &answers);
        let import = ["import", "answers.jsonl", "--run", "own", "--evaluator", "tiny_bi", "--evaluator", "tiny_nli"];
        scratch.poq(&import, 0);
        scratch
    };
    let arguments = ["score", "results/own", "--fake-inference"];
    let calm = prepare();
    calm.poq(&arguments, 0);

    let killed = prepare();
    // Once while the first evaluator reads and once while the second does.
    for evaluator in ["tiny_bi", "tiny_nli"] {
        let mut child =
            killed.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("poq starts");
        let work = killed.path(&format!("results/own/work/{evaluator}.redb"));
        let deadline = Instant::now() + Duration::from_mins(1);
        while !work.exists() {
            assert!(Instant::now() < deadline, "no finished work appeared");
            std::thread::sleep(Duration::from_millis(2));
        }
        std::thread::sleep(Duration::from_millis(20));
        assert!(child.try_wait().expect("wait").is_none(), "it got through before it was killed: give it more tasks");
        child.kill().expect("kill");
        child.wait().expect("wait");
        assert!(!killed.path(&format!("results/own/scores/{evaluator}.parquet")).exists());
    }
    killed.poq(&arguments, 0);
    assert_eq!(killed.scores("own"), calm.scores("own"));
    let figures = |scratch: &Scratch, figure: &str| {
        let text = std::fs::read_to_string(scratch.path("results/own/run.json")).expect("read");
        let record: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        ["tiny_bi", "tiny_nli"].map(|key| record["stages"]["score"]["details"]["evaluators"][key][figure].clone())
    };
    assert_eq!(figures(&killed, "normalization"), figures(&calm, "normalization"));
    assert!(figures(&killed, "execution").iter().all(serde_json::Value::is_object));
}

#[test]
fn an_interrupt_ends_with_130_and_keeps_what_is_done() {
    let scratch = Scratch::new();
    scratch.write("datasets/squad.json", &crate::support::squad(2000));
    scratch.edit("tiny.toml", "sample = 8", "sample = 2000");
    scratch.edit("tiny.toml", "max_new_tokens = 12", "max_new_tokens = 60");
    let child = scratch
        .command(&["run", "tiny.toml"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("poq starts");
    let parts = scratch.path("results/tiny/generations");
    let deadline = Instant::now() + Duration::from_mins(1);
    while !parts.exists() || std::fs::read_dir(&parts).expect("list").next().is_none() {
        assert!(Instant::now() < deadline, "no part file appeared");
        std::thread::sleep(Duration::from_millis(20));
    }
    let status = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    assert!(status.success());
    let output = child.wait_with_output().expect("ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("what was finished is kept"), "{stderr}");
    let record = std::fs::read_to_string(scratch.path("results/tiny/run.json")).expect("read");
    assert!(record.contains("\"interrupted\""), "{record}");
    assert!(!scratch.answers("tiny").is_empty());
}

#[test]
fn two_processes_do_not_work_on_one_run() {
    let scratch = Scratch::new();
    scratch.poq(&["tasks", "results/tiny", "--experiment", "tiny.toml"], 0);
    let lock = std::fs::File::open(scratch.path("results/tiny/run.lock")).expect("lock file");
    lock.lock().expect("locks");
    scratch.poq(&["generate", "results/tiny"], 2).says(&["another poq is working"]);
}

#[test]
fn a_full_disk_is_an_error_and_the_run_goes_on_later() {
    let scratch = Scratch::new();
    scratch.poq(&["tasks", "results/tiny", "--experiment", "tiny.toml"], 0);
    // No file may grow beyond a few hundred bytes: the first table that is written fails as on a full disk.
    let limited = format!("ulimit -f 1; trap '' XFSZ; exec '{}' generate results/tiny", env!("CARGO_BIN_EXE_poq"));
    let output = std::process::Command::new("bash")
        .args(["-c", &limited])
        .current_dir(scratch.path(""))
        .env("ORT_DYLIB_PATH", crate::support::library())
        .output()
        .expect("runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("cannot write"), "{stderr}");
    scratch.poq(&["run", "tiny.toml", "--run", "tiny"], 0);
}

#[test]
fn a_run_that_was_interrupted_half_way_is_reported_on() {
    let scratch = Scratch::new();
    scratch.write("datasets/squad.json", &crate::support::squad(120));
    scratch.edit("tiny.toml", "sample = 8", "sample = 120");
    scratch.edit("tiny.toml", "max_new_tokens = 12", "max_new_tokens = 40");
    let mut child = scratch
        .command(&["run", "tiny.toml", "--quiet"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("poq starts");
    let first = scratch.path("results/tiny/generations/tiny_decoder.parquet");
    let started = Instant::now();
    while !first.exists() {
        assert!(started.elapsed() < Duration::from_mins(2) && child.try_wait().expect("wait").is_none());
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().expect("kill");
    child.wait().expect("wait");
    assert!(!scratch.path("results/tiny/generations/tiny_decoder_b.parquet").exists(), "it was killed half-way");

    let report = |parts: &[&str]| {
        scratch.poq(&["report", "results/tiny"], 0);
        let report = std::fs::read_to_string(scratch.path("results/tiny/report.md")).expect("read");
        for part in parts {
            assert!(report.contains(part), "the report lacks `{part}`:\n{report}");
        }
    };
    report(&[
        "`tiny_decoder_b` is in the experiment but has no finished table of answers: `poq generate results/tiny`",
    ]);
    report(&["no inference node has been profiled", "There are no evaluator scores yet", "poq score results/tiny"]);
    for file in ["report.md", "report.html", "metrics.parquet", "figures"] {
        assert!(scratch.path(&format!("results/tiny/{file}")).exists(), "{file} is missing");
    }

    // It goes on from there, and scores that are not finished are said to be missing, too.
    scratch.poq(&["run", "tiny.toml"], 0);
    for later in ["scores/tiny_cross", "rewards", "rounds", "network"] {
        std::fs::remove_file(scratch.path(&format!("results/tiny/{later}.parquet"))).expect("remove");
    }
    report(&["`tiny_cross` is in the experiment but has no finished table of scores", "| tiny_bi |"]);
}
