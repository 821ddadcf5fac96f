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
use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

/// Name of the stage, and of its last table but one.
const STAGE: &str = "judge";

/// Its tables.
const TABLES: [&str; 3] = ["judge_sample", "judge_checks", "judgements"];

/// Runs the stage alone.
pub fn command(context: &Context, arguments: &JudgeArguments) -> Result<ExitCode> {
    let mut run = Run::open(&arguments.stage.run)?;
    run.override_work(&arguments.work)?;
    run.override_settings(|settings| arguments.apply(&mut settings.judge))?;
    if arguments.backend == Some(Backend::None) {
        return switch_off(context, &mut run);
    }
    ensure!(
        run.record.settings.judge.judges(),
        "nobody judges: `judge.backend` is `none`\n\
         hint: `--backend local --model NODE`, or `--backend auto --model gpt-4o-mini` with a key in `OPENAI_API_KEY`"
    );
    if arguments.dry_run {
        return dry_run(context, &run, arguments.work.retry_failed);
    }
    let recording = arguments.replay.as_deref();
    if recording.is_none() && arguments.base_url.is_none() {
        check_place(&run)?;
    }
    stage(context, &mut run, arguments.work, recording)?.print(context, &run.record.settings)
}

/// `--backend none`: the run has no judge from now on. What judges have said is kept, for it may have been paid for.
fn switch_off(context: &Context, run: &mut Run) -> Result<ExitCode> {
    for path in TABLES.map(|name| run.dir.table(name)) {
        if path.exists() {
            std::fs::remove_file(&path).with_context(|| format!("cannot remove `{}`", path.display()))?;
        }
    }
    run.record.stages.remove(STAGE);
    run.settle()?;
    context.printer.note("judge: switched off; its tables are gone, its replies stay in judge_replies.jsonl");
    Ok(ExitCode::Done)
}

/// Refuses to ask another server than the one whose grades the run holds, unless that is said: where a server is may come
/// from the environment, which is another one tomorrow.
fn check_place(run: &Run) -> Result<()> {
    let judge = &run.record.settings.judge;
    let path = run.dir.table("judgements");
    if judge.backend == Backend::Local || judge.base_url.is_some() || !path.exists() {
        return Ok(());
    }
    let now = http::base_url(judge)?;
    let rows = table::read::<JudgementRow>(&path)?;
    let other = rows.iter().find(|row| row.judge == judge.model && row.place != now && !row.place.starts_with("local"));
    if let Some(row) = other {
        bail!(
            "the grades of this run come from `{}`, and `{}` is at `{now}` now\n\
             hint: `--base-url` says which of them is meant",
            row.place,
            judge.model
        );
    }
    Ok(())
}

/// The stage; replies come from a recording where one is given.
pub fn stage(context: &Context, run: &mut Run, work: WorkArguments, recording: Option<&Path>) -> Result<StageSummary> {
    run.stage(context, STAGE, |run| {
        let settings = run.record.settings.judge.clone();
        let questions = Questions::read(run)?;
        let inputs = lineage::of_judgements(run)?;
        let stamp = lineage::stamp(run, inputs.clone(), inputs.clone());
        let registry = context.registry()?;
        // What is wrong with any of the judges is said before the first is asked.
        let judges = questions
            .by_judge(&settings)
            .into_iter()
            .map(|(judge, cases)| Ok((who(&registry, &judge)?, judge, cases)))
            .collect::<Result<Vec<_>>>()?;
        if let [(first, ..), (second, ..)] = &judges[..] {
            let same = first.place == second.place && first.name == second.name;
            ensure!(!same, "`judge.checks.second` is the judge itself: name another model or server");
        }
        table::write(&run.dir.table("judge_sample"), &questions.sample, &stamp)?;
        let mut replies = Replies::open(&run.dir.judge_replies())?;
        let mut record = StageRecord::default();

        let mut judgements: Vec<JudgementRow> = Vec::new();
        let mut checks: Vec<JudgeCheckRow> = Vec::new();
        for (who, judge, cases) in &judges {
            let asking = Asking { who, settings: judge, cases, work, recording };
            let verdicts = asking.ask(context, run, &registry, &mut replies, &mut record)?;
            let mut rows = Rows::new(who, judge.price());
            let split = cases.iter().filter(|case| case.purpose == Purpose::Judgement).count();
            let (first, others) = verdicts.split_at(split);
            judgements.extend(cases.iter().zip(first).map(|(case, verdict)| rows.judgement(case, verdict)));
            let baselines: HashMap<(&str, &str), Option<f64>> =
                judgements.iter().map(|row| ((row.task_id.as_str(), row.model.as_str()), row.score)).collect();
            checks
                .extend(cases[split..].iter().zip(others).map(|(case, verdict)| rows.check(case, verdict, &baselines)));
        }
        let stamp = |content| lineage::stamp(run, content, inputs.clone());
        table::write(&run.dir.table("judge_checks"), &checks, &stamp(parts::content(&checks)))?;
        table::write(&run.dir.table("judgements"), &judgements, &stamp(parts::content(&judgements)))?;
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
            *answered.entry(&row.task_id).or_default() += usize::from(row.output.is_some());
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

/// The questions of one judge.
struct Asking<'a> {
    who: &'a Who,
    settings: &'a Judge,
    cases: &'a [Case],
    work: WorkArguments,
    recording: Option<&'a Path>,
}

impl Asking<'_> {
    /// Puts those that have no reply yet.
    fn ask(
        &self,
        context: &Context,
        run: &mut Run,
        registry: &Registry,
        replies: &mut Replies,
        record: &mut StageRecord,
    ) -> Result<Vec<Verdict>> {
        let Self { who, settings, cases, .. } = self;
        let failed = settled(run, cases, who, replies, self.work.retry_failed)?;
        let open = open(cases, &failed, who, replies).count();
        let mut purse = Purse::new(run.record.settings.judge.budget_usd, replies.spent_usd());
        let mut backend = if open == 0 { Box::new(Nobody) } else { self.backend(context, run, registry, record)? };
        let mut session = Session { who, replies, purse: &mut purse, quit: &context.quit };
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
        record.details.insert(format!("place_{}", settings.model), json!(who.place));
        if let Some(how) = backend.manner() {
            record.details.insert(format!("asked_{}", settings.model), json!(how));
        }
        verdicts.with_context(|| format!("judge `{}`", settings.model))
    }

    /// Whoever answers.
    fn backend(
        &self,
        context: &Context,
        run: &mut Run,
        registry: &Registry,
        record: &mut StageRecord,
    ) -> Result<Box<dyn judge::Backend>> {
        let settings = self.settings;
        if let Some(path) = self.recording {
            return Ok(Box::new(Replay::open(path, settings.price())?));
        }
        if settings.backend != Backend::Local {
            let server = Http::new(settings)?;
            record.warnings.extend(server.warning());
            return Ok(Box::new(server));
        }
        if settings.checks.repeats > 0 && settings.temperature == 0.0 {
            let what = "`judge.checks.repeats`: a local judge without temperature repeats itself to the letter";
            record.warnings.push(what.to_owned());
        }
        let model = registry.get(&settings.model, Role::Inference)?;
        context.prepare(run, registry, model)?;
        Ok(Box::new(Local::open(registry, model, settings, &run.record.settings.generation, context.threads)?))
    }
}

/// The cases that are neither answered nor left at a failure.
fn open<'a>(
    cases: &'a [Case],
    failed: &'a [Option<Verdict>],
    who: &'a Who,
    replies: &'a Replies,
) -> impl Iterator<Item = &'a Case> {
    let is_open = move |(case, failed): &(&Case, &Option<Verdict>)| {
        failed.is_none() && matches!(judge::step_of(case, who, replies), Step::Ask(..))
    };
    cases.iter().zip(failed).filter(is_open).map(|(case, _)| case)
}

/// Answers nothing, for there is nothing to ask: neither key nor model is needed then.
struct Nobody;

impl judge::Backend for Nobody {
    fn ask(
        &mut self,
        _: Vec<judge::Ask>,
        _: &mut Purse,
        _: &crate::executor::Quit,
        _: &mut dyn judge::Sink,
    ) -> Result<()> {
        Ok(())
    }
}

/// Who the judge of these settings is.
fn who(registry: &Registry, settings: &Judge) -> Result<Who> {
    match settings.backend {
        Backend::Local => local::who(registry, registry.get(&settings.model, Role::Inference)?, settings),
        _ => Ok(Who::new(settings, http::base_url(settings)?)),
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
    let mut keep = |key: String, error: Option<String>, attempts: i32, pending: bool| {
        if let (Some(error), true) = (error, attempts > 0 && !pending) {
            failures.insert(key, (error, attempts));
        }
    };
    let [judgements, checks] = ["judgements", "judge_checks"].map(|name| run.dir.table(name));
    if judgements.exists() {
        let rows = table::read::<JudgementRow>(&judgements)?;
        for row in rows {
            keep(row.work_key, row.error, row.attempts, row.pending);
        }
    }
    if checks.exists() {
        let rows = table::read::<JudgeCheckRow>(&checks)?;
        for row in rows {
            keep(row.work_key, row.error, row.attempts, row.pending);
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
    let waiting = count(&|row| row.pending) + checks.iter().filter(|row| row.pending).count();
    if waiting > 0 {
        let why = judgements.iter().filter(|row| row.pending).find_map(|row| row.error.clone());
        let why = why.or_else(|| checks.iter().filter(|row| row.pending).find_map(|row| row.error.clone()));
        record.warnings.push(format!(
            "{waiting} questions wait, the first for this reason: {}; the same command goes on where the reason is gone",
            why.unwrap_or_default()
        ));
    }
    let repaired = count(&|row| row.repaired == Some(true));
    let again = count(&|row| row.replies > 1);
    let asked = judgements.iter().filter(|row| row.replies > 0).map(|row| row.cost_usd);
    let checked = checks.iter().filter(|row| row.raw_reply.is_some()).map(|row| row.cost_usd);
    let cost: Option<f64> = asked.chain(checked).sum();
    if record.computed_rows > 0 {
        let cost = match cost {
            Some(cost) => format!("for ${cost:.4}"),
            None if settings.price().is_none() => {
                format!("at an unknown cost (no price in `[judge.prices.\"{}\"]`)", settings.model)
            }
            None => "at a cost that is known in part only".to_owned(),
        };
        record.notes.push(format!(
            "judge {}: {} of {} answers graded {cost}; {repaired} replies mended, {again} answers asked about once more, \
             {refused} refused",
            settings.model,
            count(&|row| row.score.is_some()),
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
        ("cost_usd", json!(cost)),
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
fn dry_run(context: &Context, run: &Run, retry_failed: bool) -> Result<ExitCode> {
    let settings = &run.record.settings.judge;
    let questions = Questions::read(run)?;
    let mut replies = Replies::open(&run.dir.judge_replies())?;
    let registry = context.registry()?;
    let mut estimates = Vec::new();
    for (judge, cases) in questions.by_judge(settings) {
        let who = who(&registry, &judge)?;
        let failed = settled(run, &cases, &who, &mut replies, retry_failed)?;
        let left: Vec<bool> = failed.iter().map(Option::is_some).collect();
        estimates.push(Estimate::new(&cases, &left, &who, judge.price(), &replies));
    }
    let text: Vec<String> = estimates.iter().map(Estimate::text).collect();
    context.printer.data(&text.join("\n"), &estimates)?;
    Ok(ExitCode::Done)
}
