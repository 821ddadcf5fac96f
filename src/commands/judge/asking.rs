//! One judge and its questions: what is settled already, and who answers the rest.

use super::super::context::Context;
use super::super::open_run::Run;
use crate::cli::WorkArguments;
use crate::judge::http::{self, Http};
use crate::judge::local::{self, Local};
use crate::judge::price::Purse;
use crate::judge::replay::Replay;
use crate::judge::verdict::Verdict;
use crate::judge::{self, Case, Session, Who};
use crate::model::registry::{Registry, Role};
use crate::settings::{Backend, Judge};
use crate::store::replies::Replies;
use crate::store::rows::{JudgeCheckRow, JudgementRow};
use crate::store::run_record::StageRecord;
use crate::store::table;
use anyhow::{Context as _, Result};
use serde_json::json;
use std::collections::HashMap;
use std::path::Path;

/// The questions of one judge.
pub(super) struct Asking<'a> {
    /// Who is asked.
    pub who: &'a Who,
    /// The judge's settings.
    pub settings: &'a Judge,
    /// What is asked, or was.
    pub cases: &'a [Case],
    /// What happens to failed rows.
    pub work: WorkArguments,
    /// A recording that answers instead.
    pub recording: Option<&'a Path>,
}

impl Asking<'_> {
    /// Puts those that have no reply yet.
    pub(super) fn ask(
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
        failed.is_none() && judge::heard(case, who, replies).open.is_some()
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
pub(super) fn who(registry: &Registry, settings: &Judge) -> Result<Who> {
    match settings.backend {
        Backend::Local => local::who(registry, registry.get(&settings.model, Role::Inference)?, settings),
        _ => Ok(Who::new(settings, http::base_url(settings)?)),
    }
}

/// Cases that failed before and are left at that: those that no reply came to, as the tables say. Where failures are to be
/// tried again, there are none, and replies that could not be understood are forgotten.
pub(super) fn settled(
    run: &Run,
    cases: &[Case],
    who: &Who,
    replies: &mut Replies,
    retry_failed: bool,
) -> Result<Vec<Option<Verdict>>> {
    if retry_failed {
        for case in cases {
            let heard = judge::heard(case, who, replies);
            if heard.open.is_none() && heard.verdict.error.is_some() {
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
        let heard = judge::heard(case, who, replies).verdict;
        let more = attempts.unsigned_abs().saturating_sub(heard.attempts);
        Some(heard.failing(error.clone(), more))
    };
    Ok(cases.iter().map(failed).collect())
}
