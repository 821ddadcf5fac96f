//! `poq judge`: `tasks` and `generations/` → `judge_sample.parquet`, `judgements.parquet` and `judge_checks.parquet`.
//!
//! What judges say is kept in `judge_replies.jsonl` as it arrives; the tables are made from it. Nothing that is in there is
//! asked again, by whatever command.

mod asking;
mod summary;

use super::context::Context;
use super::open_run::Run;
use super::summary::StageSummary;
use super::{generate, lineage, tasks};
use crate::cli::{JudgeArguments, WorkArguments};
use crate::exit_code::ExitCode;
use crate::judge::estimate::Estimate;
use crate::judge::http::KeyRefused;
use crate::judge::plan::Plan;
use crate::judge::rows::Rows;
use crate::judge::sample::sample;
use crate::judge::{Case, Purpose, http};
use crate::settings::{Backend, Judge};
use crate::store::parts;
use crate::store::replies::Replies;
use crate::store::rows::{JudgeCheckRow, JudgeSampleRow, JudgementRow};
use crate::store::run_record::StageRecord;
use crate::store::table;
use anyhow::{Context as _, Result, bail, ensure};
use asking::{Asking, settled, who};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use summary::summarise;

/// Name of the stage.
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

/// Whether a run does without its judge, as its settings allow: there is no key, and no grades that would have to be kept up.
#[must_use]
pub fn is_left_out(run: &Run) -> bool {
    let judge = &run.record.settings.judge;
    let wants_key = judge.skip_without_key && judge.backend != Backend::Local;
    wants_key && !run.dir.table("judgements").exists() && !http::has_key(judge)
}

/// Why a run goes on without the judge whose stage failed, as its settings allow: the key was refused, and no grades are there
/// that other settings or tables gave. Takes the stage out of the record where it left no grades.
pub fn leave_out(run: &mut Run, error: &anyhow::Error) -> Result<Option<String>> {
    let judgements = run.dir.table("judgements");
    let allowed = run.record.settings.judge.skip_without_key && error.is::<KeyRefused>();
    if !allowed || !lineage::is_current(&judgements, &lineage::of_judgements(run)?)? {
        return Ok(None);
    }
    if !judgements.exists() {
        run.record.stages.remove(STAGE);
    }
    Ok(format!("{error:#}").lines().next().map(str::to_owned))
}

/// The stage; replies come from a recording where one is given.
pub fn stage(context: &Context, run: &mut Run, work: WorkArguments, recording: Option<&Path>) -> Result<StageSummary> {
    run.stage(context, STAGE, |run| {
        let settings = run.record.settings.judge.clone();
        let questions = Questions::read(run)?;
        let inputs = lineage::of_judgements(run)?;
        let stamp = lineage::stamp(run, inputs.clone(), inputs.clone());
        let registry = run.generation_registry(context)?;
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
    let registry = run.generation_registry(context)?;
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
