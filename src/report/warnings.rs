//! What a reader should know before quoting a number: gaps, pools too small to compare, scores that cannot rank.
//! Each warning has a stable code for programs and a sentence for people.

use super::Inputs;
use super::counts::is_failed;
use crate::join::{Joined, distinct};
use crate::statistics::is_constant;
use serde::{Deserialize, Serialize};

/// Distance from the closed form, in standard errors, past which the simulation is not to be trusted.
const LARGEST_Z: f64 = 4.0;

/// Something to know before quoting a number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// What kind: `failed_answers`, `missing_answers`, `missing_scores`, `constant_evaluator`, `one_node_pool`,
    /// `latency_unknown`, `latency_not_measured` or `simulation_off`.
    pub code: String,
    /// What it is about and what follows from it.
    pub text: String,
}

pub(super) fn warnings(inputs: &Inputs, joined: &Joined, task_types: &[&str]) -> Vec<Warning> {
    let mut found = Vec::new();
    let mut warn = |code: &str, text: String| found.push(Warning { code: code.into(), text });
    answers(inputs, joined, &mut warn);
    scores(inputs, joined, task_types, &mut warn);
    pools(inputs, &mut warn);
    simulation(inputs, &mut warn);
    found
}

fn answers(inputs: &Inputs, joined: &Joined, warn: &mut impl FnMut(&str, String)) {
    if joined.generations.is_empty() {
        return;
    }
    let directory = &inputs.identity.directory;
    let named = inputs.settings.generation.models.iter().map(String::as_str);
    for model in distinct(named.chain(joined.models())) {
        let own = || joined.generations.iter().filter(|row| row.model == model);
        let (rows, failed) = (own().count(), own().filter(|row| is_failed(row)).count());
        if failed > 0 {
            let text = format!("`{model}` failed on {failed} of {rows} tasks; its means are over the others.");
            warn("failed_answers", text);
        }
        if rows < inputs.tasks.len() {
            let text = if rows == 0 {
                format!(
                    "`{model}` is in the experiment but has no finished table of answers: `poq generate {directory}` goes on \
                     where it was left."
                )
            } else {
                let tasks = inputs.tasks.len();
                format!("`{model}` was asked {rows} of {tasks} tasks; its means are over those alone.")
            };
            warn("missing_answers", text);
        }
    }
}

fn scores(inputs: &Inputs, joined: &Joined, task_types: &[&str], warn: &mut impl FnMut(&str, String)) {
    let answered: Vec<usize> = (0..joined.generations.len()).filter(|i| !is_failed(&joined.generations[*i])).collect();
    let directory = &inputs.identity.directory;
    let has_scores = !joined.scorers.is_empty();
    for name in &inputs.settings.scoring.evaluators {
        if has_scores && joined.scorer(name).is_none() {
            let text = format!(
                "`{name}` is in the experiment but has no finished table of scores: `poq score {directory}` goes on where it \
                 was left."
            );
            warn("missing_scores", text);
        }
    }
    for evaluator in joined.evaluators() {
        let raw = evaluator.raw();
        let absent = answered.iter().filter(|row| raw[**row].is_none()).count();
        if absent > 0 {
            let paid = inputs.settings.scoring.evaluators.iter().any(|key| key == evaluator.name);
            let rounds = if paid { "; rounds that draw it for one of them go on without it" } else { "" };
            let text = format!("`{}` has no score for {absent} of {} answers{rounds}.", evaluator.name, answered.len());
            warn("missing_scores", text);
        }
        for task_type in task_types {
            let values: Vec<f64> = joined.answers_of_type(task_type).iter().filter_map(|row| raw[*row]).collect();
            if values.len() > 1 && is_constant(&values) {
                let text = format!(
                    "`{}` gives every `{task_type}` answer the same score, so it cannot rank them: the normalised \
                     score is a constant and no correlation is defined.",
                    evaluator.name
                );
                warn("constant_evaluator", text);
            }
        }
    }
}

fn pools(inputs: &Inputs, warn: &mut impl FnMut(&str, String)) {
    for (node_type, plural) in [("inference", "inference nodes"), ("evaluator", "evaluators")] {
        let profiled = inputs.profile.iter().filter(|row| row.node_type == node_type).map(|row| row.node.as_str());
        let paid = inputs.rewards.iter().filter(|row| row.node_type == node_type).map(|row| row.node.as_str());
        if let [only] = distinct(profiled.chain(paid))[..] {
            let also = if node_type == "evaluator" {
                " It also is the consensus, so its closeness is always full."
            } else {
                ""
            };
            let text = format!(
                "`{only}` is alone in the pool of {plural}: min-max has nothing to compare its cost with.{also}"
            );
            warn("one_node_pool", text);
        }
    }
    let unknown = inputs.profile.iter().filter(|row| row.latency_ms_mean.is_none());
    for node in distinct(unknown.map(|row| row.node.as_str())) {
        warn(
            "latency_unknown",
            format!("Nobody knows the latency of `{node}`: its cost is 0, its reward quality alone."),
        );
    }
    let unmeasured = inputs.profile.iter().filter(|row| row.latency_ms_mean.is_some() && row.source != "measured");
    for node in distinct(unmeasured.map(|row| row.node.as_str())) {
        let text = format!("The latency of `{node}` was not measured by this run but given or imported.");
        warn("latency_not_measured", text);
    }
}

fn simulation(inputs: &Inputs, warn: &mut impl FnMut(&str, String)) {
    for row in inputs.rewards {
        if let Some(z) = row.z.filter(|z| z.abs() > LARGEST_Z) {
            let text = format!(
                "The simulated reward of `{}` lies {z:.1} standard errors from its closed form; more than \
                 {LARGEST_Z} points at a fault, not at chance.",
                row.node
            );
            warn("simulation_off", text);
        }
    }
}
