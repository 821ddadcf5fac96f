//! Which questions are put: one about every sampled answer, and the checks that ask about the judge.

use super::conversation::{Conversation, Order};
use super::injections;
use super::{Case, Purpose};
use crate::settings::Judge;
use crate::store::rows::{GenerationRow, JudgeSampleRow, TaskRow};
use anyhow::{Result, ensure};
use std::collections::{HashMap, HashSet};

/// The questions of a run: those about answers, in the order of `generations`, and those about the judge.
#[derive(Debug)]
pub struct Plan {
    /// One per sampled answer.
    pub judgements: Vec<Case>,
    /// What `judge.checks` asks for.
    pub checks: Vec<Case>,
}

impl Plan {
    /// Makes the questions about the answers to the sampled records.
    pub fn new(
        settings: &Judge,
        sample: &[JudgeSampleRow],
        tasks: &[TaskRow],
        answers: &[GenerationRow],
    ) -> Result<Self> {
        let tasks: HashMap<&str, &TaskRow> = tasks.iter().map(|task| (task.task_id.as_str(), task)).collect();
        let places: HashMap<&str, usize> =
            sample.iter().map(|row| (row.task_id.as_str(), usize::try_from(row.place).unwrap_or(usize::MAX))).collect();
        let mut seen = HashSet::new();
        let mut plan = Self { judgements: Vec::new(), checks: Vec::new() };
        let models: Vec<&str> = crate::join::distinct(answers.iter().map(|row| row.model.as_str()));
        for row in answers {
            let Some(&place) = places.get(row.task_id.as_str()) else { continue };
            let Some(task) = tasks.get(row.task_id.as_str()) else { continue };
            let new = seen.insert((row.task_id.as_str(), row.model.as_str()));
            ensure!(new, "`generations` holds the answer of `{}` to task `{}` twice", row.model, row.task_id);
            let asker = Asker { settings, task, row };
            plan.judgements.push(asker.case(Purpose::Judgement, Order::ReferenceFirst, str::to_owned));
            if place < settings.checks.records {
                let turn = models.iter().position(|model| *model == row.model).unwrap_or(0);
                plan.checks.extend(asker.checks(place, turn, models.len()));
            }
        }
        Ok(plan)
    }
}

struct Asker<'a> {
    settings: &'a Judge,
    task: &'a TaskRow,
    row: &'a GenerationRow,
}

impl Asker<'_> {
    fn case(&self, purpose: Purpose, order: Order, answer: impl FnOnce(&str) -> String) -> Case {
        let conversation = match &self.row.output {
            Some(output) => Ok(Conversation::about(&self.settings.system_prompt, self.task, &answer(output), order)),
            None => {
                Err(format!("there is no answer to judge: {}", self.row.error.as_deref().unwrap_or("it is missing")))
            }
        };
        let repeat = if let Purpose::Repeat(number) = purpose { number } else { 0 };
        Case { task_id: self.task.task_id.clone(), model: self.row.model.clone(), purpose, repeat, conversation }
    }

    /// The checks of one answer. An answer that is not there is no case for a check.
    fn checks(&self, place: usize, turn: usize, models: usize) -> Vec<Case> {
        let checks = &self.settings.checks;
        if self.row.output.is_none() {
            return Vec::new();
        }
        let mut cases: Vec<Case> = (1..=checks.repeats)
            .map(|number| self.case(Purpose::Repeat(number), Order::ReferenceFirst, str::to_owned))
            .collect();
        if checks.swap {
            cases.push(self.case(Purpose::Swap, Order::CandidateFirst, str::to_owned));
        }
        if checks.injections {
            // Every attempt on every record, the models taking turns: each meets each attempt, at a share of the price.
            let mine = |(number, _): &(usize, &injections::Injection)| (place + number) % models.max(1) == turn;
            cases.extend(injections::all().iter().enumerate().filter(mine).map(|(_, injection)| {
                let purpose = Purpose::Injection(injection.name.clone());
                self.case(purpose, Order::ReferenceFirst, |answer| injection.into_answer(answer))
            }));
        }
        if checks.second.is_some() {
            cases.push(self.case(Purpose::Second, Order::ReferenceFirst, str::to_owned));
        }
        cases
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Backend, Checks, Second};
    use crate::store::samples;

    fn settings(checks: Checks) -> Judge {
        Judge { backend: Backend::Chat, model: "j".into(), checks, ..Judge::default() }
    }

    fn sampled(task_id: &str, place: i32) -> JudgeSampleRow {
        JudgeSampleRow { task_id: task_id.into(), dataset: "d".into(), task_type: "qa".into(), place }
    }

    #[test]
    fn every_sampled_answer_is_asked_about_once() {
        let tasks = [samples::task("a"), samples::task("b"), samples::task("c")];
        let answers = [
            samples::answer("a", "m"),
            samples::answer("b", "m"),
            samples::failed_answer("a", "n"),
            samples::answer("c", "n"),
        ];
        let plan = Plan::new(&settings(Checks::default()), &[sampled("a", 0), sampled("c", 1)], &tasks, &answers);
        let cases = plan.expect("planned").judgements;
        let asked: Vec<(&str, &str, bool)> =
            cases.iter().map(|case| (&*case.task_id, &*case.model, case.conversation.is_ok())).collect();
        assert_eq!(asked, [("a", "m", true), ("a", "n", false), ("c", "n", true)]);
        let error = cases[1].conversation.as_ref().expect_err("no answer");
        assert!(error.contains("the prompt is too long"), "{error}");

        let twice = [samples::answer("a", "m"), samples::answer("a", "m")];
        let error = Plan::new(&settings(Checks::default()), &[sampled("a", 0)], &tasks, &twice).expect_err("twice");
        assert!(error.to_string().contains("twice"), "{error}");
    }

    #[test]
    fn checks_ask_about_the_first_records_and_every_model_meets_every_attempt() {
        let names: Vec<String> = (0..8).map(|i| format!("t{i}")).collect();
        let tasks: Vec<TaskRow> = names.iter().map(|name| samples::task(name)).collect();
        let answers: Vec<GenerationRow> =
            ["m", "n"].iter().flat_map(|model| names.iter().map(|name| samples::answer(name, model))).collect();
        let sample: Vec<JudgeSampleRow> = names.iter().zip(0..).map(|(name, place)| sampled(name, place)).collect();
        let second = Second { backend: Backend::Chat, model: "k".into(), base_url: None, key_env: None };
        let checks = Checks { records: 2, repeats: 3, swap: true, injections: true, second: Some(second) };
        let plan = Plan::new(&settings(checks), &sample, &tasks, &answers).expect("planned");
        let count = |wanted: fn(&Purpose) -> bool| plan.checks.iter().filter(|case| wanted(&case.purpose)).count();
        assert_eq!(count(|purpose| matches!(purpose, Purpose::Repeat(_))), 2 * 2 * 3);
        assert_eq!(count(|purpose| matches!(purpose, Purpose::Swap)), 2 * 2);
        assert_eq!(count(|purpose| matches!(purpose, Purpose::Second)), 2 * 2);
        assert_eq!(count(|purpose| matches!(purpose, Purpose::Injection(_))), 2 * injections::all().len());
        let met: HashSet<(&str, String)> = plan
            .checks
            .iter()
            .filter(|case| matches!(case.purpose, Purpose::Injection(_)))
            .map(|case| (case.model.as_str(), case.purpose.variant()))
            .collect();
        assert_eq!(met.len(), 2 * injections::all().len(), "both models, every attempt");
    }
}
