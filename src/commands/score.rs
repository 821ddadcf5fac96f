//! `poq score`: `generations/` → `scores/<scorer>.parquet`.
//!
//! Tables are streamed: what is in memory does not grow with them.

use super::context::Context;
use super::execution;
use super::figures::{Figures, Inference};
use super::open_run::Run;
use super::summary::StageSummary;
use super::{generate, lineage, tasks};
use crate::cli::{ScoreArguments, WorkArguments};
use crate::executor::Interrupted;
use crate::exit_code::ExitCode;
use crate::model::registry::{Model, Registry, Role};
use crate::output::Progress;
use crate::score::column::{Column, Fits, Scales};
use crate::score::compute::compute;
use crate::score::text_scores::{TEXT_SCORERS, TextPair};
use crate::score::{Evaluator, Identity, Pair, Pairs, with_metrics};
use crate::settings::Scoring;
use crate::store::parts::{self, Content};
use crate::store::rows::{ScoreRow, ScoredAnswer, ScoredTask};
use crate::store::run_record::StageRecord;
use crate::store::stream::{Reader, Writer};
use crate::store::table::{self, Stamp};
use crate::store::work::WorkStore;
use anyhow::{Context as _, Result, ensure};
use serde_json::json;

/// Rows between two looks at the quit flag in the passes that compute nothing.
const QUIT_ROWS: usize = 4096;

/// Runs the stage alone.
pub fn command(context: &Context, arguments: &ScoreArguments) -> Result<ExitCode> {
    let mut run = Run::open(&arguments.stage.run)?;
    run.override_work(&arguments.work)?;
    run.override_settings(|settings| {
        let scoring = &mut settings.scoring;
        if !arguments.evaluators.is_empty() {
            scoring.evaluators.clone_from(&arguments.evaluators);
        }
        arguments.execution.apply(scoring);
    })?;
    let mode = Mode { work: arguments.work, calibrate: arguments.calibrate, fake: arguments.fake_inference };
    stage(context, &mut run, mode)?.print(context, &run.record.settings)
}

/// How the stage is run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mode {
    /// What happens to failed rows and missing models.
    pub work: WorkArguments,
    /// Measure first how the evaluators run fastest.
    pub calibrate: bool,
    /// Replace every evaluator by a stand-in.
    pub fake: bool,
}

/// The stage.
pub fn stage(context: &Context, run: &mut Run, mode: Mode) -> Result<StageSummary> {
    run.stage(context, "score", |run| {
        let settings = run.record.settings.scoring.clone();
        let mut record = StageRecord::default();
        let answers = Answers::open(run)?;
        ensure!(answers.rows > 0, "there are no answers to score");
        for outcome in score_text(context, run, &answers)? {
            add(&mut record, &outcome);
        }

        let registry = run.registry(context)?;
        let keys: Vec<String> = settings.all_evaluators().cloned().collect();
        let evaluators = if mode.fake {
            record.warnings.push("the scores of the evaluators are made up: --fake-inference".to_owned());
            keys.iter().map(|key| registry.get(key, Role::Evaluator)).collect::<Result<_>>()?
        } else {
            run.available(&registry, &keys, Role::Evaluator, mode.work.skip_missing, &mut record.warnings)?
        };
        run.change_figures(|figures| figures.retain(|key, _| keys.contains(key)))?;
        for model in evaluators {
            let outcome = score_evaluator(context, run, &registry, model, &answers, mode)
                .with_context(|| format!("evaluator `{}`", model.key))?;
            add(&mut record, &outcome);
            record.notes.extend(outcome.note);
            record.warnings.extend(run.figures().get(&model.key).into_iter().flat_map(|f| f.warnings(&model.key)));
        }
        let scorers: Vec<String> = with_metrics(keys);
        let removed = parts::remove_other_groups(&run.dir.scores(), &scorers)?;
        if !removed.is_empty() {
            record.warnings.push(format!("removed the scores of scorers that left the run: {}", removed.join(", ")));
        }
        record.details.insert("evaluators".into(), json!(run.figures()));
        Ok(record)
    })
}

fn add(record: &mut StageRecord, outcome: &Outcome) {
    record.computed_rows += outcome.computed;
    record.rows += outcome.rows;
    record.failed += outcome.failed;
}

#[derive(Default)]
struct Outcome {
    rows: usize,
    failed: usize,
    computed: usize,
    /// What inference took, when there was something to read.
    note: Option<String>,
}

/// The tables that pairs are made from, checked once.
struct Answers {
    tasks: std::path::PathBuf,
    generations: Vec<std::path::PathBuf>,
    rows: usize,
}

impl Answers {
    fn open(run: &Run) -> Result<Self> {
        tasks::check(run)?;
        let generations = generate::check(run)?;
        let mut rows = 0;
        for path in &generations {
            rows += Reader::<ScoredAnswer>::open(path)?.total();
        }
        Ok(Self { tasks: run.dir.table("tasks"), generations, rows })
    }

    fn pairs(&self) -> Result<Pairs<Reader<ScoredTask>, Reader<ScoredAnswer>>> {
        let generations: Vec<_> = self.generations.iter().map(|path| Reader::open(path)).collect::<Result<_>>()?;
        Ok(Pairs::new(Reader::open(&self.tasks)?, generations))
    }
}

/// The finished table, if it is what would come out now.
fn finished(run: &Run, scorer: &str, inputs: &str, made_by: &str, work: WorkArguments) -> Result<Option<Outcome>> {
    let path = parts::group_path(&run.dir.scores(), scorer);
    let Some(stamp) = table::stamp(&path)? else { return Ok(None) };
    let wanted = stamp.inputs == inputs && stamp.made_by == made_by && !(work.retry_failed && stamp.failed > 0);
    let rows = Reader::<ScoreRow>::open(&path)?.total();
    Ok(wanted.then_some(Outcome { rows, failed: stamp.failed, ..Outcome::default() }))
}

/// F1 and exact match, those that are not there yet in one pass over the pairs.
fn score_text(context: &Context, run: &Run, answers: &Answers) -> Result<Vec<Outcome>> {
    let references = run.record.settings.scoring.f1_references;
    let inputs = lineage::of_scores(run)?;
    let (mut outcomes, mut tables) = (Vec::new(), Vec::new());
    for scorer in TEXT_SCORERS {
        // What makes these rows is poq itself, so the finished table says all that a row's work key would.
        match finished(run, scorer.0, &inputs, "", WorkArguments::default())? {
            Some(done) => outcomes.push(done),
            None => tables.push((scorer, ScoreTable::create(run, scorer.0)?)),
        }
    }
    if tables.is_empty() {
        return Ok(outcomes);
    }
    for (i, pair) in answers.pairs()?.enumerate() {
        look_up(context, i)?;
        let pair = pair?;
        let texts = TextPair::new(&pair, references);
        for (scorer, table) in &mut tables {
            table.push(texts.row(*scorer)?)?;
        }
    }
    for (_, table) in tables {
        outcomes.push(table.finish(run, &inputs, String::new())?);
    }
    Ok(outcomes)
}

/// Scores every pair whose texts this evaluator has not read yet, then normalises and writes the whole column.
fn score_evaluator(
    context: &Context,
    run: &mut Run,
    registry: &Registry,
    model: &Model,
    answers: &Answers,
    mode: Mode,
) -> Result<Outcome> {
    let scoring = run.record.settings.scoring.clone();
    let identity = if mode.fake {
        Identity::fake(model)?
    } else {
        Identity::open(registry, model, scoring.provider, scoring.precision)?
    };
    let inputs = lineage::of_scorer(run, &lineage::of_scores(run)?, &model.key)?;
    let made_by = identity.hash();
    let known = run.figures().remove(&model.key).filter(|figures| figures.made_by == made_by);
    // Who has read everything before is not run again: how it was run then stands.
    let mut figures = Figures { made_by, ..known.unwrap_or_default() };
    if let Some(done) = finished(run, &model.key, &inputs, &figures.made_by, mode.work)? {
        if figures.inputs != inputs {
            // Something ended the stage between the table and the record.
            let mut rows = Reader::<ScoreRow>::open(&parts::group_path(&run.dir.scores(), &model.key))?;
            let row = |_: &Pair| rows.next().context("a finished table has too few rows; this is a bug")?;
            let (scales, truncated) = fit(context, &scoring, answers, row)?;
            figures = Figures { inputs, normalization: scales.said(), truncated, ..figures };
            run.change_figures(|all| drop(all.insert(model.key.clone(), figures)))?;
        }
        return Ok(done);
    }
    let store = WorkStore::open(&run.dir.work(model.files_key()))?;
    if mode.work.retry_failed {
        store.forget_failed()?;
    }
    let mut note = None;
    if something_is_missing(context, &identity, answers, &store)? {
        let (execution, origin) = execution::resolve(context, model, &scoring, mode.calibrate && !mode.fake)?;
        context.printer.note(&execution::describe(model, execution, origin));
        let mut evaluator = if mode.fake {
            Evaluator::fake(model, execution)?
        } else {
            context.prepare(run, registry, model)?;
            Evaluator::open(registry, model, execution)?
        };
        let mut progress = context.printer.progress(&format!("score {}", model.key), answers.rows);
        let totals = compute(&mut evaluator, answers.pairs()?, &store, &context.quit, |done| progress.reach(done));
        Progress::finish(progress);
        let totals = totals?;
        if totals.interrupted {
            return Err(Interrupted.into());
        }
        figures.execution = Some(execution);
        let inference = Inference::new(answers.rows, &totals);
        note = Some(inference.line(&model.key));
        figures.inference = Some(inference);
        figures.inputs = String::new();
        run.change_figures(|all| drop(all.insert(model.key.clone(), figures.clone())))?;
    }
    let mut column = Column::new(&identity, store.read()?);
    let (scales, truncated) = fit(context, &scoring, answers, |pair| column.row(pair))?;
    let outcome = write_column(context, run, &identity, answers, &store, &scales, &inputs)?;
    figures = Figures { inputs, normalization: scales.said(), truncated, ..figures };
    run.change_figures(|all| drop(all.insert(model.key.clone(), figures)))?;
    Ok(Outcome { note, ..outcome })
}

/// Whether any pair needs work that is not stored. Weights are loaded only if one does.
fn something_is_missing(context: &Context, identity: &Identity, answers: &Answers, store: &WorkStore) -> Result<bool> {
    let reader = store.read()?;
    for (i, pair) in answers.pairs()?.enumerate() {
        look_up(context, i)?;
        if let Ok(pieces) = identity.pieces(&pair?) {
            for piece in pieces.iter() {
                if !reader.contains(&piece.key)? {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

/// The scales of a column, given its row for each pair in turn, and how many of its rows were cut.
fn fit(
    context: &Context,
    scoring: &Scoring,
    answers: &Answers,
    mut row: impl FnMut(&Pair) -> Result<ScoreRow>,
) -> Result<(Scales, usize)> {
    let mut fits = Fits::new(scoring.normalize_method, scoring.normalize_scope);
    let mut truncated = 0;
    for (i, pair) in answers.pairs()?.enumerate() {
        look_up(context, i)?;
        let pair = pair?;
        let row = row(&pair)?;
        truncated += usize::from(row.truncated == Some(true));
        fits.see(&pair, &row);
    }
    Ok((fits.finish(), truncated))
}

fn write_column(
    context: &Context,
    run: &Run,
    identity: &Identity,
    answers: &Answers,
    store: &WorkStore,
    scales: &Scales,
    inputs: &str,
) -> Result<Outcome> {
    let mut table = ScoreTable::create(run, identity.key())?;
    let mut column = Column::new(identity, store.read()?);
    for (i, pair) in answers.pairs()?.enumerate() {
        look_up(context, i)?;
        let pair: Pair = pair?;
        let mut row = column.row(&pair)?;
        row.normalized = scales.normalized(&pair, &row);
        table.push(row)?;
    }
    table.finish(run, inputs, identity.hash())
}

fn look_up(context: &Context, row: usize) -> Result<()> {
    if row.is_multiple_of(QUIT_ROWS) { context.check_quit() } else { Ok(()) }
}

/// A table of scores while it is being written.
struct ScoreTable {
    writer: Writer<ScoreRow>,
    content: Content,
}

impl ScoreTable {
    fn create(run: &Run, scorer: &str) -> Result<Self> {
        let path = parts::group_path(&run.dir.scores(), scorer);
        Ok(Self { writer: Writer::create(&path)?, content: Content::new::<ScoreRow>() })
    }

    fn push(&mut self, row: ScoreRow) -> Result<()> {
        self.content.add(&row);
        self.writer.push(row)
    }

    fn finish(self, run: &Run, inputs: &str, made_by: String) -> Result<Outcome> {
        let (rows, failed) = self.content.counts();
        let stamp = lineage::stamp(run, self.content.finish(), inputs.to_owned());
        self.writer.finish(&Stamp { made_by, failed, ..stamp })?;
        Ok(Outcome { rows, failed, computed: rows, note: None })
    }
}

/// The scores of a run: F1 and exact match first, then the evaluators in the settings' order.
pub fn read(run: &Run) -> Result<Vec<ScoreRow>> {
    read_of(run, &with_metrics(run.scorers())).context("the scores are not there yet")
}

/// The scores that a run has so far, for a report on one that was interrupted: those of scorers whose table is finished, in the
/// same order.
pub fn read_finished(run: &Run) -> Result<Vec<ScoreRow>> {
    let mut scorers = with_metrics(run.scorers());
    scorers.retain(|scorer| parts::group_path(&run.dir.scores(), scorer).exists());
    read_of(run, &scorers)
}

fn read_of(run: &Run, scorers: &[String]) -> Result<Vec<ScoreRow>> {
    let directory = run.dir.scores();
    let rows = parts::read_groups(&directory, scorers)?;
    let inputs = lineage::of_scores(run)?;
    for scorer in scorers {
        let path = parts::group_path(&directory, scorer);
        lineage::check(run, [path], &lineage::of_scorer(run, &inputs, scorer)?, "score")?;
    }
    Ok(rows)
}
