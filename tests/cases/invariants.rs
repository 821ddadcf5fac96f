//! What must not matter does not matter: batch sizes, threads, restarts.

use crate::support::Scratch;
use poq::store::rows::{GenerationRow, RewardRow, ScoreRow};

fn outputs(rows: &[GenerationRow]) -> Vec<(&str, &str, Option<&str>)> {
    rows.iter().map(|row| (row.task_id.as_str(), row.model.as_str(), row.output_raw.as_deref())).collect()
}

pub fn assert_close(a: &[ScoreRow], b: &[ScoreRow]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert_eq!((&a.task_id, &a.model, &a.scorer, &a.error), (&b.task_id, &b.model, &b.scorer, &b.error));
        match (a.raw, b.raw) {
            (Some(x), Some(y)) => assert!((x - y).abs() < 1e-5, "{}: {x} and {y}", a.scorer),
            (x, y) => assert_eq!(x, y),
        }
    }
}

#[test]
fn batched_equals_single_and_threads_change_nothing() {
    let single = Scratch::new();
    single.edit("tiny.toml", "batch_size = 4", "batch_size = 1\nseed = 9");
    single.poq(&["run", "tiny.toml", "--threads", "1"], 0);
    let batched = Scratch::new();
    batched.edit("tiny.toml", "batch_size = 4", "batch_size = 7\nseed = 9");
    batched.poq(&["run", "tiny.toml", "--threads", "2"], 0);
    let (a, b) = (single.answers("tiny"), batched.answers("tiny"));
    assert_eq!(outputs(&a), outputs(&b));
    let distinct: std::collections::HashSet<_> = a.iter().map(|row| &row.output_raw).collect();
    assert!(distinct.len() > 10, "the fixture's answers vary, so equality means something");
    assert!(a.iter().any(|row| row.finish_reason.as_deref() == Some("stop")), "some rows stop early");
    assert!(a.iter().any(|row| row.finish_reason.as_deref() == Some("length")), "some rows run to the limit");
    assert_close(&single.scores("tiny"), &batched.scores("tiny"));
}

#[test]
fn a_fixed_length_and_rows_read_alone_change_no_score() {
    let plain = Scratch::new();
    plain.poq(&["run", "tiny.toml"], 0);
    let padded = Scratch::new();
    padded.edit("models/registry.toml", "max_length = 128", "max_length = 128\nfixed_length = 128");
    padded.poq(&["run", "tiny.toml"], 0);
    assert_close(&plain.scores("tiny"), &padded.scores("tiny"));
    let alone = Scratch::new();
    alone.edit("models/registry.toml", "batch_size = 8", "batch_size = 8\nbatch_dependent = true");
    alone.poq(&["run", "tiny.toml"], 0);
    assert_close(&plain.scores("tiny"), &alone.scores("tiny"));
}

#[test]
fn rewards_are_identical_at_one_and_two_threads() {
    let scratch = Scratch::new();
    scratch.poq(&["run", "tiny.toml", "--threads", "1"], 0);
    let one: Vec<RewardRow> = scratch.table("results/tiny/rewards.parquet");
    std::fs::remove_file(scratch.path("results/tiny/rewards.parquet")).expect("remove");
    scratch.poq(&["simulate", "results/tiny", "--threads", "2"], 0);
    assert_eq!(scratch.table::<RewardRow>("results/tiny/rewards.parquet"), one);
    for row in &one {
        let z = row.z.expect("twenty replicates give a standard error");
        assert!(z.abs() < 4.0, "{}: {z} standard errors from the closed form", row.node);
    }
}

#[test]
fn an_answer_depends_on_its_own_row_alone() {
    let all = Scratch::new();
    all.poq(&["run", "tiny.toml"], 0);
    let fewer = Scratch::new();
    fewer.edit("tiny.toml", "sample = 8", "sample = 3");
    fewer.edit("tiny.toml", "models = [\"tiny_decoder\", \"tiny_decoder_b\"]", "models = [\"tiny_decoder_b\"]");
    fewer.poq(&["run", "tiny.toml"], 0);
    // Which beginnings are shared is a matter of the neighbours; the answer is not.
    let answers = |scratch: &Scratch| {
        let rows = scratch.answers("tiny").into_iter();
        rows.map(|row| GenerationRow { prefix_tokens: None, ..row }).collect::<Vec<_>>()
    };
    let (all, fewer) = (answers(&all), answers(&fewer));
    assert_eq!(fewer.len(), 9);
    for row in &fewer {
        assert!(all.contains(row), "{} of {} changed with its neighbours", row.task_id, row.model);
    }
}

#[test]
fn a_changed_setting_never_mixes_with_old_rows() {
    let scratch = Scratch::new();
    scratch.poq(&["run", "tiny.toml"], 0);
    let old = scratch.answers("tiny");
    scratch.edit("tiny.toml", "max_new_tokens = 12", "max_new_tokens = 5");
    scratch.poq(&["run", "tiny.toml"], 2).says(&["generation.max_new_tokens: 12 → 5", "--update"]);
    assert_eq!(scratch.answers("tiny"), old, "a refused run changes nothing");
    scratch.poq(&["run", "tiny.toml", "--update"], 0);
    let new = scratch.answers("tiny");
    assert!(new.iter().all(|row| row.output_tokens.is_none_or(|tokens| tokens <= 5)), "no old row is left");
    let fresh = Scratch::new();
    fresh.edit("tiny.toml", "max_new_tokens = 12", "max_new_tokens = 5");
    fresh.poq(&["run", "tiny.toml"], 0);
    assert_eq!(new, fresh.answers("tiny"));
    assert_close(&scratch.scores("tiny"), &fresh.scores("tiny"));
}

#[test]
fn tables_from_before_a_change_are_refused() {
    let scratch = Scratch::new();
    scratch.poq(&["run", "tiny.toml"], 0);
    scratch.poq(&["generate", "results/tiny", "--temperature", "0"], 0);
    scratch.poq(&["simulate", "results/tiny"], 2).says(&["was made with other settings", "poq score results/tiny"]);
    scratch.poq(&["report", "results/tiny"], 2).says(&["poq score results/tiny"]);
    scratch.poq(&["score", "results/tiny"], 0);
    scratch.poq(&["simulate", "results/tiny"], 2).says(&["profile.parquet", "poq profile results/tiny"]);
    scratch.poq(&["profile", "results/tiny"], 0);
    scratch.poq(&["simulate", "results/tiny"], 0);
    scratch.poq(&["tasks", "results/tiny", "--seed", "5"], 0);
    scratch.poq(&["score", "results/tiny"], 2).says(&["poq generate results/tiny"]);
}

#[test]
fn a_model_that_leaves_the_run_takes_its_rows_along() {
    let scratch = Scratch::new();
    scratch.poq(&["run", "tiny.toml"], 0);
    scratch.edit("tiny.toml", "models = [\"tiny_decoder\", \"tiny_decoder_b\"]", "models = [\"tiny_decoder\"]");
    scratch.poq(&["run", "tiny.toml", "--update"], 0);
    assert!(scratch.answers("tiny").iter().all(|row| row.model == "tiny_decoder"));
    assert!(scratch.scores("tiny").iter().all(|row| row.model == "tiny_decoder"));
}
