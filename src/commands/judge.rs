//! `poq judge`: `tasks` and `generations/` → `judge_sample.parquet`, `judgements.parquet` and `judge_checks.parquet`.
//!
//! What judges say is kept in `judge_replies.jsonl` as it arrives; the tables are made from it. Nothing that is in there is
//! asked again, by whatever command.

use super::context::Context;
use super::open_run::Run;
use super::summary::StageSummary;
use super::{generate, lineage, tasks};
use crate::cli::{JudgeArguments, WorkArguments};
use crate::exit_code::ExitCode;
use crate::judge::estimate::Estimate;
use crate::judge::http::{self, Http};
use crate::judge::local::{self, Local};
use crate::judge::plan::Plan;
use crate::judge::price::Purse;
use crate::judge::replay::Replay;
use crate::judge::rows::Rows;
use crate::judge::sample::sample;
use crate::judge::verdict::{self, Step, Verdict};
use crate::judge::{self, Case, Purpose, Session, Who};
use crate::model::registry::{Registry, Role};
use crate::settings::{Backend, Judge};
use crate::store::parts;
use crate::store::replies::Replies;
use crate::store::rows::{JudgeCheckRow, JudgeSampleRow, JudgementRow};
use crate::store::run_record::StageRecord;
use crate::store::table;
use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Name of the stage, and of its last table but one.
const STAGE: &str = "judge";

/// Runs the stage alone.
pub fn command(context: &Context, arguments: &JudgeArguments) -> Result<ExitCode> {
    let mut run = Run::open(&arguments.stage.run)?;
    run.override_work(&arguments.work)?;
    run.override_settings(|settings| arguments.apply(&mut settings.judge))?;
    ensure!(
        run.record.settings.judge.judges(),
        "nobody judges: `judge.backend` is `none`\n\
         hint: `--backend local --model NODE`, or `--backend auto --model gpt-4o-mini` with a key in `OPENAI_API_KEY`"
    );
    if arguments.dry_run {
        return dry_run(context, &run);
    }
    stage(context, &mut run, arguments.work, arguments.replay.as_deref())?.print(context, &run.record.settings)
}

/// The stage; replies come from a recording where one is given.
pub fn stage(context: &Context, run: &mut Run, work: WorkArguments, recording: Option<&Path>) -> Result<StageSummary> {
    run.stage(context, STAGE, |run| {
        let settings = run.record.settings.judge.clone();
        let questions = Questions::read(run)?;
        let stamp = |fingerprint, inputs| lineage::stamp(run, fingerprint, inputs);
        let inputs = lineage::of_judgements(run)?;
        table::write(&run.dir.table("judge_sample"), &questions.sample, &stamp(inputs.clone(), inputs))?;
        let mut replies = Replies::open(&run.dir.judge_replies())?;
        let mut record = StageRecord::default();

        let mut judgements: Vec<JudgementRow> = Vec::new();
        let mut checks: Vec<JudgeCheckRow> = Vec::new();
        for (judge, cases) in questions.by_judge(&settings) {
            let (who, verdicts) = ask(context, run, &judge, &cases, &mut replies, work, recording, &mut record)?;
            let mut rows = Rows::new(&who, judge.price());
            let split = cases.iter().filter(|case| case.purpose == Purpose::Judgement).count();
            let (first, others) = verdicts.split_at(split);
            judgements.extend(cases.iter().zip(first).map(|(case, verdict)| rows.judgement(case, verdict)));
            let baselines: HashMap<(&str, &str), Option<f64>> =
                judgements.iter().map(|row| ((row.task_id.as_str(), row.model.as_str()), row.score)).collect();
            checks
                .extend(cases[split..].iter().zip(others).map(|(case, verdict)| rows.check(case, verdict, &baselines)));
        }
        let inputs = lineage::of_judgements(run)?;
        let write = |run: &Run| -> Result<()> {
            let stamp = |content| lineage::stamp(run, content, inputs.clone());
            table::write(&run.dir.table("judge_checks"), &checks, &stamp(parts::content(&checks)))?;
            table::write(&run.dir.table("judgements"), &judgements, &stamp(parts::content(&judgements)))
        };
        write(run)?;
        summarise(&settings, &judgements, &checks, &replies, &mut record);
        Ok(record)
    })
}

/// What is asked about, and the questions.
struct Questions {
    sample: Vec<JudgeSampleRow>,
    plan: Plan,
}

impl Questions {
    fn read(run: &Run) -> Result<Self> {
        let settings = &run.record.settings.judge;
        let (tasks, answers) = (tasks::read(run)?, generate::read(run)?);
        ensure!(!answers.is_empty(), "there are no answers to judge");
        let mut answered: BTreeMap<&str, usize> = BTreeMap::new();
        for row in &answers {
            *answered.entry(&row.task_id).or_default() += 1;
        }
        let sample = sample(&tasks, &answered, run.models().len(), settings.n_group, settings.seed);
        let plan = Plan::new(settings, &sample, &tasks, &answers)?;
        Ok(Self { sample, plan })
    }

    /// Each judge with its questions, those about answers first.
    fn by_judge(&self, settings: &Judge) -> Vec<(Judge, Vec<Case>)> {
        let of = |second: bool| self.plan.checks.iter().filter(move |case| (case.purpose == Purpose::Second) == second);
        let mut judges =
            vec![(settings.clone(), self.plan.judgements.iter().chain(of(false)).cloned().collect::<Vec<_>>())];
        judges.extend(settings.second().map(|second| (second, of(true).cloned().collect())));
        judges
    }
}

/// Puts the questions of one judge that have no reply yet.
#[allow(clippy::too_many_arguments)] // what a command works with, and what it adds to
fn ask(
    context: &Context,
    run: &mut Run,
    settings: &Judge,
    cases: &[Case],
    replies: &mut Replies,
    work: WorkArguments,
    recording: Option<&Path>,
    record: &mut StageRecord,
) -> Result<(Who, Vec<Verdict>)> {
    let registry = context.registry()?;
    let who = who(&registry, settings)?;
    let failed = settled(run, cases, &who, replies, work.retry_failed)?;
    let is_open = |(case, failed): &(&Case, &Option<Verdict>)| {
        failed.is_none() && matches!(judge::step_of(case, &who, replies), Step::Ask(..))
    };
    let open = cases.iter().zip(&failed).filter(is_open).count();
    let mut purse = Purse::new(run.record.settings.judge.budget_usd, replies.spent_usd());
    let mut session = Session { who: &who, replies, purse: &mut purse, quit: &context.quit };
    let mut backend: Box<dyn judge::Backend> = match (recording, settings.backend) {
        _ if open == 0 => Box::new(Nobody),
        (Some(path), _) => Box::new(Replay::open(path, settings.price())?),
        (None, Backend::Local) => {
            let model = registry.get(&settings.model, Role::Inference)?;
            context.prepare(run, &registry, model)?;
            Box::new(Local::open(&registry, model, settings, &run.record.settings.generation, context.threads)?)
        }
        (None, _) => {
            let server = Http::new(settings)?;
            record.warnings.extend(server.warning());
            Box::new(server)
        }
    };
    let mut progress = context.printer.progress_of(&format!("judge {}", settings.model), open, "answers");
    let paid = settings.backend != Backend::Local && settings.price().is_some();
    let verdicts = session.judge(cases, failed, backend.as_mut(), &mut |done, purse| {
        if paid {
            progress.remark(&format!("${:.4} spent", purse.spent()));
        }
        progress.advance(done);
        record.computed_rows += done;
    });
    progress.finish();
    if let Some(how) = backend.manner() {
        record.details.insert(format!("asked_{}", settings.model), json!(how));
    }
    Ok((who, verdicts.with_context(|| format!("judge `{}`", settings.model))?))
}

/// Answers nothing, for there is nothing to ask: neither key nor model is needed then.
struct Nobody;

impl judge::Backend for Nobody {
    fn ask(&mut self, _: Vec<judge::Ask>, _: &mut Purse, _: &crate::executor::Quit, _: judge::Sink<'_>) -> Result<()> {
        Ok(())
    }
}

/// Who the judge of these settings is.
fn who(registry: &Registry, settings: &Judge) -> Result<Who> {
    match settings.backend {
        Backend::Local => local::who(registry, registry.get(&settings.model, Role::Inference)?, settings),
        _ => Ok(Who::new(settings, http::base_url(settings))),
    }
}

/// Cases that failed before and are left at that: those that no reply came to, as the tables say. Where failures are to be
/// tried again, there are none, and replies that could not be understood are forgotten.
fn settled(
    run: &Run,
    cases: &[Case],
    who: &Who,
    replies: &mut Replies,
    retry_failed: bool,
) -> Result<Vec<Option<Verdict>>> {
    if retry_failed {
        for case in cases {
            let Step::Done(verdict) = judge::step_of(case, who, replies) else { continue };
            if verdict.error.is_some() {
                judge::forget(case, who, replies);
            }
        }
        return Ok(vec![None; cases.len()]);
    }
    let mut failures: HashMap<String, (String, i32)> = HashMap::new();
    let mut keep = |key: String, error: Option<String>, attempts: i32| {
        if let (Some(error), true) = (error, attempts > 0) {
            failures.insert(key, (error, attempts));
        }
    };
    let [judgements, checks] = ["judgements", "judge_checks"].map(|name| run.dir.table(name));
    if judgements.exists() {
        let rows = table::read::<JudgementRow>(&judgements)?;
        for row in rows {
            keep(row.work_key, row.error, row.attempts);
        }
    }
    if checks.exists() {
        let rows = table::read::<JudgeCheckRow>(&checks)?;
        for row in rows {
            keep(row.work_key, row.error, row.attempts);
        }
    }
    let failed = |case: &Case| {
        let conversation = case.conversation.as_ref().ok()?;
        let (error, attempts) = failures.get(&who.keys(conversation, case.repeat).key)?;
        let heard = verdict::so_far(case, who, |key| replies.get(key));
        let more = attempts.unsigned_abs().saturating_sub(heard.attempts);
        Some(heard.failing(error.clone(), more))
    };
    Ok(cases.iter().map(failed).collect())
}

fn summarise(
    settings: &Judge,
    judgements: &[JudgementRow],
    checks: &[JudgeCheckRow],
    replies: &Replies,
    record: &mut StageRecord,
) {
    let count = |wanted: &dyn Fn(&JudgementRow) -> bool| judgements.iter().filter(|row| wanted(row)).count();
    record.rows = judgements.len();
    record.failed = count(&|row| row.error.is_some());
    let refused = count(&|row| row.refused);
    if refused > 0 {
        record.warnings.push(format!("the judge declined to grade {refused} answers; their rows hold its words"));
    }
    let over_budget = count(&|row| row.error.as_deref().is_some_and(|error| error.contains("budget")));
    if over_budget > 0 {
        record.warnings.push(format!(
            "{over_budget} answers were not judged, for the budget might have been passed: the same command with a larger \
             --budget goes on"
        ));
    }
    let repaired = count(&|row| row.repaired == Some(true));
    let again = count(&|row| row.replies > 1);
    let cost: f64 =
        judgements.iter().filter_map(|row| row.cost_usd).chain(checks.iter().filter_map(|row| row.cost_usd)).sum();
    let unpriced = settings.price().is_none();
    if record.computed_rows > 0 {
        let cost = if unpriced {
            format!("at an unknown cost (no price in `[judge.prices.\"{}\"]`)", settings.model)
        } else {
            format!("for ${cost:.4}")
        };
        record.notes.push(format!(
            "judge {}: {} of {} answers graded {cost}; {repaired} replies mended, {again} answers asked about once more, \
             {refused} refused",
            settings.model,
            judgements.len() - record.failed,
            judgements.len(),
        ));
    }
    let details = [
        ("judge", json!(settings.model)),
        ("checks", json!(checks.len())),
        ("checks_failed", json!(checks.iter().filter(|row| row.error.is_some()).count())),
        ("repaired", json!(repaired)),
        ("asked_once_more", json!(again)),
        ("refused", json!(refused)),
        ("cost_usd", if unpriced { json!(null) } else { json!(cost) }),
        ("spent_usd", json!(replies.spent_usd())),
    ];
    record.details.extend(details.map(|(name, value)| (name.to_owned(), value)));
}

/// Judgements and checks of a run; none before anybody judged.
pub fn read(run: &Run) -> Result<(Vec<JudgementRow>, Vec<JudgeCheckRow>)> {
    let [judgements, checks] = ["judgements", "judge_checks"].map(|name| run.dir.table(name));
    if !judgements.exists() || !run.record.settings.judge.judges() {
        return Ok((Vec::new(), Vec::new()));
    }
    lineage::check(run, [judgements.clone(), checks.clone()], &lineage::of_judgements(run)?, STAGE)?;
    Ok((table::read(&judgements)?, table::read(&checks)?))
}

/// Says what is coming and sends nothing.
fn dry_run(context: &Context, run: &Run) -> Result<ExitCode> {
    let settings = &run.record.settings.judge;
    let questions = Questions::read(run)?;
    let path = run.dir.judge_replies();
    let replies = Replies::open(&path)?;
    let registry = context.registry()?;
    let mut estimates = Vec::new();
    for (judge, cases) in questions.by_judge(settings) {
        estimates.push(Estimate::new(&cases, &who(&registry, &judge)?, judge.price(), &replies));
    }
    let text: Vec<String> = estimates.iter().map(Estimate::text).collect();
    context.printer.data(&text.join("\n"), &estimates)?;
    Ok(ExitCode::Done)
}
