//! What the report cannot say yet, where it would have stood, and the command that makes it: a run can be reported on
//! at any stage, and an absent section is explained rather than left out.

use super::Inputs;
use super::counts::is_failed;
use crate::join::{F1, Joined};
use serde::{Deserialize, Serialize};

/// Where something is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// Counts of tasks and answers.
    Corpus,
    /// Table 4.
    Rewards,
    /// Evaluators against F1.
    Correlations,
    /// Quality and cost per LLM.
    Quality,
    /// Grades of an LLM judge.
    Judge,
}

/// Something the report cannot say yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Where it would have stood.
    pub section: Section,
    /// What is missing and why, in a sentence.
    pub what: String,
    /// The command that makes it.
    pub command: String,
}

pub(super) fn missing(inputs: &Inputs, joined: &Joined, task_types: &[&str]) -> Vec<Missing> {
    let mut list = List { directory: &inputs.identity.directory, found: Vec::new() };
    if inputs.tasks.is_empty() {
        list.add(Section::Corpus, "There are no tasks yet.", &["tasks"]);
    }
    quality(&mut list, inputs, joined);
    correlations(&mut list, inputs, joined, task_types);
    judge(&mut list, inputs, joined);
    rewards(&mut list, inputs, joined);
    list.found
}

struct List<'a> {
    directory: &'a str,
    found: Vec<Missing>,
}

impl List<'_> {
    fn add(&mut self, section: Section, what: &str, stages: &[&str]) {
        let commands: Vec<String> = stages.iter().map(|stage| format!("poq {stage} {}", self.directory)).collect();
        self.found.push(Missing { section, what: what.into(), command: commands.join(" && ") });
    }
}

fn quality(list: &mut List, inputs: &Inputs, joined: &Joined) {
    if joined.generations.is_empty() {
        list.add(Section::Quality, "There are no answers yet.", &["generate"]);
        return;
    }
    if joined.generations.iter().all(is_failed) {
        let what = "Every answer failed; the `error` column of `generations` says why.";
        list.add(Section::Quality, what, &["generate"]);
    }
    if joined.scorer(F1).is_none() {
        list.add(Section::Quality, "F1 and exact match are not there: nothing has been scored.", &["score"]);
    }
    if joined.models().iter().all(|model| inputs.profile_of("inference", model).is_none()) {
        let what = "Latency and F1 per second are not there: no inference node has been profiled.";
        list.add(Section::Quality, what, &["profile"]);
    }
}

fn correlations(list: &mut List, inputs: &Inputs, joined: &Joined, task_types: &[&str]) {
    let section = Section::Correlations;
    if joined.evaluators().next().is_none() {
        let what = if inputs.settings.scoring.evaluators.is_empty() {
            "The experiment names no evaluators: list node keys in `scoring.evaluators`, then score."
        } else {
            "There are no evaluator scores yet."
        };
        list.add(section, what, &["score"]);
    } else if joined.scorer(F1).is_none() {
        list.add(section, "There is no F1 to correlate the evaluators with.", &["score"]);
    }
    if let [only] = task_types {
        let what = format!(
            "Averages over tasks are those of `{only}` alone: the run has no other task type. Add a data set of the \
             other type to the experiment, then run it under a new name."
        );
        list.found.push(Missing { section, what, command: "poq run EXPERIMENT --run NAME".into() });
    }
}

fn judge(list: &mut List, inputs: &Inputs, joined: &Joined) {
    if !inputs.judgements.is_empty() || joined.generations.is_empty() {
        return;
    }
    if inputs.settings.judge.judges() {
        list.add(Section::Judge, "Nothing has been judged yet.", &["judge"]);
    } else {
        let what =
            "No LLM judge was asked for: name one in the experiment's section `[judge]`, or as an option.".to_owned();
        let command = format!("poq judge {} --backend auto --model gpt-4o-mini", list.directory);
        list.found.push(Missing { section: Section::Judge, what, command });
    }
}

fn rewards(list: &mut List, inputs: &Inputs, joined: &Joined) {
    if !inputs.rewards.is_empty() {
        return;
    }
    let mut stages = Vec::new();
    if inputs.tasks.is_empty() {
        stages.push("tasks");
    }
    if joined.generations.is_empty() {
        stages.push("generate");
    }
    if joined.evaluators().next().is_none() {
        stages.push("score");
    }
    if inputs.profile.is_empty() {
        stages.push("profile");
    }
    stages.push("simulate");
    list.add(Section::Rewards, "Nobody has been paid yet: the mechanism has not been simulated.", &stages);
}
