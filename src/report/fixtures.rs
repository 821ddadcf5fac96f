//! Rows for tests: a run small enough to check by hand. Two LLMs answer twelve questions and twelve articles; `good`
//! is right more often and cheaper, one evaluator follows F1 exactly, one is constant on questions.

use super::{Identity, Inputs, Report, build};
use crate::join::Joined;
use crate::settings::Settings;
use crate::store::rows::{GenerationRow, JudgementRow, ProfileRow, RewardRow, ScoreRow, TaskRow};
use crate::store::samples::{self, answer};

pub(super) fn identity() -> Identity {
    Identity {
        name: "small".into(),
        directory: "results/small".into(),
        poq_version: "0.1.0".into(),
        started: "2026-08-01T10:00:00Z".into(),
        machine: "2 cores, 23 GB".into(),
        runtime: "ONNX Runtime 1.31.1, CPU".into(),
        seed: 42,
    }
}

pub(super) fn settings() -> Settings {
    let text =
        "name = 'small'\n[generation]\nmodels = ['good', 'slow']\n[scoring]\nevaluators = ['follower', 'flat']\n";
    toml::from_str(text).expect("the settings are valid")
}

pub(super) fn task(id: &str, task_type: &str) -> TaskRow {
    TaskRow {
        dataset: format!("{task_type}_set"),
        task_type: task_type.into(),
        input: format!("input of {id}"),
        reference: format!("reference of {id}"),
        references: vec![format!("reference of {id}")],
        ..samples::task(id)
    }
}

pub(super) fn score(task_id: &str, model: &str, scorer: &str, raw: f64, normalized: f64) -> ScoreRow {
    ScoreRow { raw: Some(raw), ..samples::score(task_id, model, scorer, Some(normalized)) }
}

fn profile(node_type: &str, node: &str, batch_size: i32, latency_ms: f64) -> ProfileRow {
    ProfileRow { batch_size, ..samples::profile(node_type, node, latency_ms, 0.0) }
}

pub(super) fn reward(node_type: &str, node: &str, avg_reward: f64, cost_norm: f64) -> RewardRow {
    RewardRow {
        stderr: Some(0.002),
        std_reward: Some(0.25),
        ci_low: Some(avg_reward - 0.004),
        ci_high: Some(avg_reward + 0.004),
        expected_reward: Some(avg_reward - 0.001),
        expected_std: Some(0.25),
        z: Some(0.5),
        avg_latency_ms: Some(500.0 + 1000.0 * cost_norm),
        jobs: 50_123,
        replicates: 20,
        ..samples::reward(node_type, node, Some(avg_reward), cost_norm)
    }
}

/// The tables of a run, owned.
pub(super) struct Run {
    pub identity: Identity,
    pub settings: Settings,
    pub tasks: Vec<TaskRow>,
    pub generations: Vec<GenerationRow>,
    pub scores: Vec<ScoreRow>,
    pub judgements: Vec<JudgementRow>,
    pub profile: Vec<ProfileRow>,
    pub rewards: Vec<RewardRow>,
}

impl Run {
    pub(super) fn inputs(&self) -> Inputs<'_> {
        Inputs {
            identity: &self.identity,
            settings: &self.settings,
            tasks: &self.tasks,
            generations: &self.generations,
            scores: &self.scores,
            judgements: &self.judgements,
            judge_checks: &[],
            profile: &self.profile,
            rewards: &self.rewards,
        }
    }

    pub(super) fn joined(&self) -> Joined<'_> {
        self.inputs().join().expect("the tables agree")
    }

    pub(super) fn report(&self) -> Report {
        build(&self.inputs(), &self.joined())
    }
}

/// The whole run described above. F1 of task i is i mod 5 for `slow` and i mod 5 plus 4 for `good`, out of 10.
pub(super) fn small_run() -> Run {
    let types = ["qa", "summarization"];
    let ids: Vec<(String, &str)> =
        types.iter().flat_map(|kind| (0..12).map(move |i| (format!("{kind}_{i}"), *kind))).collect();
    let tasks: Vec<TaskRow> = ids.iter().map(|(id, kind)| task(id, kind)).collect();
    let mut generations = Vec::new();
    let mut scores = Vec::new();
    for model in ["good", "slow"] {
        for (index, (id, kind)) in ids.iter().enumerate() {
            let mut row = answer(id, model);
            row.output = Some("word ".repeat(1 + index * 7 % 11));
            if model == "slow" && index % 2 == 0 {
                row.finish_reason = Some("length".into());
                row.output_tokens = Some(128);
            }
            generations.push(row);
            let f1 = (index % 12 % 5) as f64 + if model == "good" { 4.0 } else { 0.0 };
            let exact = f64::from(u8::from(f1 >= 8.0));
            scores.push(score(id, model, "f1", f1 / 10.0, f1));
            scores.push(score(id, model, "exact_match", exact, exact * 10.0));
            scores.push(score(id, model, "follower", f1 * 2.0 - 3.0, f1 * 10.0 / 8.0));
            let flat = if *kind == "qa" { 0.5 } else { -f1 };
            scores.push(score(id, model, "flat", flat, if *kind == "qa" { 5.0 } else { 10.0 - f1 * 10.0 / 8.0 }));
        }
    }
    Run {
        identity: identity(),
        settings: settings(),
        tasks,
        generations,
        scores,
        judgements: Vec::new(),
        profile: vec![
            profile("inference", "good", 8, 90.0),
            profile("inference", "good", 1, 500.0),
            profile("inference", "slow", 1, 1500.0),
            profile("evaluator", "follower", 32, 0.9),
            profile("evaluator", "flat", 32, 5.9),
        ],
        rewards: vec![
            reward("inference", "good", 0.6, 0.0),
            reward("inference", "slow", 0.2, 1.0),
            reward("evaluator", "follower", 0.85, 0.0),
            reward("evaluator", "flat", 0.5, 1.0),
        ],
    }
}
