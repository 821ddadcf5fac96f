//! What each table was made from, as a hash that stands in its metadata: the settings that shape it and the tables before
//! it. A reader refuses a table that the current settings would not make, so that a changed setting, or a stage that was
//! run again alone, never mixes with what followed from the old state.

use super::open_run::Run;
use crate::model::provider::Provider;
use crate::model::variant::Variant;
use crate::score::with_metrics;
use crate::settings::{Backend, Judge, Scoring};
use crate::simulate;
use crate::store::table::{self, Stamp};
use crate::store::{Fingerprint, parts};
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What `tasks` should have been made from.
pub fn of_tasks(run: &Run) -> Result<String> {
    if run.record.imported_from.is_some() {
        // Nothing but another import changes them, and that replaces them whole.
        return fingerprint_of(&run.dir.table("tasks"));
    }
    let data = &run.record.settings.data;
    Ok(Fingerprint::new("tasks").value("data", data)?.value("files", &run.record.datasets)?.finish())
}

/// What every group of `generations` should have been made from. The list of models changes no answer, and the company in which
/// prompts are read changes one only by rounding; they stay out.
pub fn of_generations(run: &Run) -> Result<String> {
    let tasks = fingerprint_of(&run.dir.table("tasks"))?;
    if run.record.imported_from.is_some() {
        return Ok(Fingerprint::new("imported generations").text("tasks", &tasks).finish());
    }
    let settings = &run.record.settings.generation;
    let mut fingerprint = Fingerprint::new("generations")
        .text("tasks", &tasks)
        .value("max_new_tokens", &settings.max_new_tokens)?
        .value("sampling", &(settings.temperature, settings.top_p, settings.seed))?
        .value("prompts", &(&settings.qa_prompt, &settings.summarization_prompt))?;
    if let Some(others) = settings.other_processors() {
        fingerprint = fingerprint.value("logits_processors", &others)?;
    }
    if let Some(date) = &settings.date {
        fingerprint = fingerprint.value("date", date)?;
    }
    // Another export in another arithmetic.
    if settings.provider != Provider::Cpu {
        fingerprint = fingerprint.text("provider", settings.provider.name());
    }
    Ok(fingerprint.finish())
}

/// What every group of `scores` should have been made from. The list of evaluators and the shape of batches stay out, and
/// so do the variants: each concerns its own column.
pub fn of_scores(run: &Run) -> Result<String> {
    let Scoring { normalize_method, normalize_scope, f1_references, provider, precision, .. } =
        &run.record.settings.scoring;
    let fingerprint = Fingerprint::new("scores")
        .text("generations", &of_generations(run)?)
        .value("normalize", &(normalize_method, normalize_scope))?
        .value("arithmetic", &(provider, precision))?
        .value("f1_references", f1_references)?;
    Ok(with_groups(fingerprint, &run.dir.generations(), run.models())?.finish())
}

/// The same of one group, given what all have in `common`: that of a variant is made from what the settings say of it, too.
pub fn of_scorer(run: &Run, common: &str, scorer: &str) -> Result<String> {
    let variant = run.record.settings.scoring.variants.get(scorer);
    variant.map_or_else(
        || Ok(common.to_owned()),
        |variant| {
            Ok(Fingerprint::new("scores of a variant").text("scores", common).value("variant", variant)?.finish())
        },
    )
}

/// What `profile` should have been made from.
pub fn of_profile(run: &Run) -> Result<String> {
    let settings = &run.record.settings;
    let (evaluators, variants) = (run.evaluators(), &settings.scoring.variants);
    // Who is not paid is not measured either.
    let paid: BTreeMap<&String, &Variant> = variants.iter().filter(|(key, _)| evaluators.contains(key)).collect();
    Ok(Fingerprint::new("profile")
        .text("generations", &of_generations(run)?)
        .value("profile", &settings.profile)?
        .value("arithmetic", &(settings.scoring.provider, settings.scoring.precision))?
        .value("variants", &paid)?
        .value("imported_latency_ms", &run.record.imported_latency_ms)?
        .value("models", &run.models())?
        .value("evaluators", &evaluators)?
        .finish())
}

/// What `rounds` and `rewards` should have been made from.
pub fn of_rewards(run: &Run) -> Result<String> {
    let fingerprint = Fingerprint::new("rewards")
        .value("version", &simulate::VERSION)?
        .value("simulation", &run.record.settings.simulation)?
        .text("scores", &of_scores(run)?)
        .text("profile", &of_profile(run)?)
        // Measured anew, a profile says something else though it was made from the same.
        .file("profile.parquet", &run.dir.table("profile"))?;
    let fingerprint = if run.record.settings.simulation.quality.is_some() {
        fingerprint.file("signals.parquet", &run.dir.table("signals"))?
    } else {
        fingerprint
    };
    Ok(with_groups(fingerprint, &run.dir.scores(), run.evaluators())?.finish())
}

/// What the table of a sweep was made from, beside its settings: everything a network is read from, quality signals only where
/// a cell pays for one.
pub fn of_network(run: &Run, with_signals: bool) -> Result<String> {
    let fingerprint = Fingerprint::new("network")
        .value("version", &simulate::VERSION)?
        .text("tasks", &fingerprint_of(&run.dir.table("tasks"))?)
        .text("scores", &of_scores(run)?)
        .text("profile", &of_profile(run)?)
        .file("profile.parquet", &run.dir.table("profile"))?
        // What consensus is held against beside F1, where a judge was asked.
        .text("judgements", &judged(run)?);
    let fingerprint =
        if with_signals { fingerprint.file("signals.parquet", &run.dir.table("signals"))? } else { fingerprint };
    Ok(with_groups(fingerprint, &run.dir.scores(), with_metrics(run.evaluators()))?.finish())
}

/// What `network` should have been made from, given what `rewards` is made from: consensus is held against a judge, too, and
/// nobody is paid by one.
pub fn of_network_table(run: &Run, rewards: &str) -> Result<String> {
    Ok(Fingerprint::new("network table").text("rewards", rewards).text("judgements", &judged(run)?).finish())
}

/// The grades of the run, as far as somebody judges it.
fn judged(run: &Run) -> Result<String> {
    if run.record.settings.judge.judges() { fingerprint_of(&run.dir.table("judgements")) } else { Ok(String::new()) }
}

/// What `judge_sample`, `judgements` and `judge_checks` should have been made from. How fast and how often a server is asked
/// changes no grade, and where a judge is stands in the key of every row.
pub fn of_judgements(run: &Run) -> Result<String> {
    let judge = &run.record.settings.judge;
    let second = judge.second();
    let who = |judge: &Judge| (judge.backend == Backend::Local, judge.model.clone(), judge.price());
    let fingerprint = Fingerprint::new("judgements")
        .text("generations", &of_generations(run)?)
        .value("judge", &who(judge))?
        .value("second", &second.as_ref().map(who))?
        .value("sample", &(judge.n_group, judge.seed))?
        .value("asking", &(&judge.system_prompt, judge.temperature, judge.max_output_tokens))?
        .value("checks", &judge.checks)?;
    Ok(with_groups(fingerprint, &run.dir.generations(), run.models())?.finish())
}

/// What `signals`, `signal_audit` and `cascade` should have been made from. How an evaluator reads stands in the rows of its
/// scores, and so in their fingerprint.
pub fn of_signals(run: &Run) -> Result<String> {
    let fingerprint = Fingerprint::new("signals")
        .value("signals", &run.record.settings.signals)?
        .text("scores", &of_scores(run)?)
        .text("profile", &of_profile(run)?)
        .file("profile.parquet", &run.dir.table("profile"))?
        .value("evaluators", &run.evaluators())?;
    Ok(with_groups(fingerprint, &run.dir.scores(), with_metrics(run.scorers()))?.finish())
}

/// What `metrics` should have been made from.
pub fn of_metrics(run: &Run) -> Result<String> {
    let fingerprint = Fingerprint::new("metrics").text("scores", &of_scores(run)?).text("judgements", &judged(run)?);
    Ok(with_groups(fingerprint, &run.dir.scores(), with_metrics(run.scorers()))?.finish())
}

fn with_groups(mut fingerprint: Fingerprint, directory: &Path, names: Vec<String>) -> Result<Fingerprint> {
    for name in names {
        fingerprint = fingerprint.text(&name, &fingerprint_of(&parts::group_path(directory, &name))?);
    }
    Ok(fingerprint)
}

/// Refuses tables that were made from something else; `stage` is the command that makes them again.
pub fn check(run: &Run, paths: impl IntoIterator<Item = PathBuf>, expected: &str, stage: &str) -> Result<()> {
    for path in paths {
        if !is_current(&path, expected)? {
            bail!(
                "`{}` was made with other settings or from other tables than the run has now\n\
                 hint: `poq {stage} {}` makes it again",
                path.display(),
                run.dir.root().display()
            );
        }
    }
    Ok(())
}

/// Whether a table was made from what it should have been made from; a table that is not there is.
pub fn is_current(path: &Path, expected: &str) -> Result<bool> {
    Ok(table::stamp(path)?.is_none_or(|stamp| stamp.inputs == expected))
}

/// A stamp for a table of this run.
#[must_use]
pub fn stamp(run: &Run, fingerprint: String, inputs: String) -> Stamp {
    Stamp { run: run.dir.name().to_owned(), fingerprint, inputs, ..Stamp::default() }
}

fn fingerprint_of(path: &Path) -> Result<String> {
    Ok(table::stamp(path)?.unwrap_or_default().fingerprint)
}
