//! Rows for tests and benchmarks, one maker per table: sound, and alike except in what the caller says. What matters to a
//! test it writes out: `TaskRow { input, ..samples::task("t1") }`.
//!
//! Not under `cfg(test)`, because benchmarks see the library as its users do.

use super::rows::{GenerationRow, JudgementRow, ProfileRow, RewardRow, ScoreRow, TaskRow};

/// A question with one accepted answer.
#[must_use]
pub fn task(task_id: &str) -> TaskRow {
    TaskRow {
        task_id: task_id.into(),
        dataset: "d".into(),
        task_type: "qa".into(),
        input: "i".into(),
        question: None,
        context: None,
        reference: "r".into(),
        references: vec!["r".into()],
    }
}

/// An answer of 20 tokens to a prompt of 100, ended by a stop token after 250 ms.
#[must_use]
pub fn answer(task_id: &str, model: &str) -> GenerationRow {
    GenerationRow {
        output_raw: Some("an answer".into()),
        output: Some("an answer".into()),
        prompt_tokens: Some(100),
        output_tokens: Some(20),
        finish_reason: Some("stop".into()),
        latency_ms: Some(250.0),
        batch_rows: Some(8),
        seed: Some(7),
        ..GenerationRow::unanswered(task_id.into(), model.into(), String::new())
    }
}

/// An answer that failed: its prompt was read and nothing came of it.
#[must_use]
pub fn failed_answer(task_id: &str, model: &str) -> GenerationRow {
    GenerationRow {
        prompt_tokens: Some(100),
        seed: Some(7),
        error: Some("the prompt is too long".into()),
        ..GenerationRow::unanswered(task_id.into(), model.into(), String::new())
    }
}

/// A judge's grade, or none because its reply was no JSON.
#[must_use]
pub fn judgement(task_id: &str, model: &str, score: Option<f64>) -> JudgementRow {
    JudgementRow {
        task_id: task_id.into(),
        model: model.into(),
        judge: "judge".into(),
        place: "local".into(),
        score,
        justification: score.map(|_| "because".into()),
        raw_reply: Some("a reply".into()),
        repaired: score.map(|_| false),
        refused: false,
        pending: false,
        replies: 1,
        attempts: 1,
        finish_reason: Some("stop".into()),
        input_tokens: Some(100),
        cached_tokens: None,
        output_tokens: Some(20),
        cost_usd: Some(0.001),
        latency_ms: Some(50.0),
        error: score.is_none().then(|| "the reply holds no JSON object".into()),
        work_key: String::new(),
    }
}

/// A score without timings, the same raw and normalised.
#[must_use]
pub fn score(task_id: &str, model: &str, scorer: &str, score: Option<f64>) -> ScoreRow {
    ScoreRow {
        task_id: task_id.into(),
        model: model.into(),
        scorer: scorer.into(),
        raw: score,
        normalized: score,
        truncated: None,
        tokens: None,
        tokenise_ms: None,
        queue_ms: None,
        infer_ms: None,
        error: None,
        work_key: String::new(),
    }
}

/// A node that was measured one row at a time at this mean latency.
#[must_use]
pub fn profile(node_type: &str, node: &str, latency_ms: f64, cost_norm: f64) -> ProfileRow {
    ProfileRow {
        node_type: node_type.into(),
        node: node.into(),
        device: "cpu".into(),
        batch_size: 1,
        samples: 100,
        latency_ms_mean: Some(latency_ms),
        latency_ms_p50: None,
        latency_ms_p95: None,
        latency_ms_p99: None,
        latency_ms_stderr: None,
        throughput: Some(1000.0 / latency_ms),
        tokens_per_s: None,
        peak_memory_mb: None,
        peak_device_memory_mb: None,
        cost_norm,
        source: "measured".into(),
    }
}

/// What an honest node earned in a replicate of one job, of which nothing but the mean is known.
#[must_use]
pub fn reward(node_type: &str, node: &str, avg_reward: Option<f64>, cost_norm: f64) -> RewardRow {
    RewardRow {
        node_type: node_type.into(),
        node: node.into(),
        avg_reward,
        stderr: None,
        std_reward: None,
        reward_p05: None,
        reward_p50: None,
        reward_p95: None,
        ci_low: None,
        ci_high: None,
        expected_reward: None,
        expected_std: None,
        z: None,
        honest_reward: None,
        avg_latency_ms: None,
        cost_norm,
        declared_cost: cost_norm,
        spent_cost: cost_norm,
        strategy: "honest".into(),
        trust_weight: None,
        jobs: 1,
        replicates: 1,
    }
}
