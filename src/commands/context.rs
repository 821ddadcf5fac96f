//! What every command works with: the options resolved once, the open run, and how a stage is begun and ended.

use crate::cli::{Global, WorkArguments};
use crate::executor::Quit;
use crate::exit_code::ExitCode;
use crate::model::registry::{Model, Registry, Role};
use crate::model::{manifest, runtime};
use crate::output::Printer;
use crate::profile::machine;
use crate::settings::Settings;
use crate::store::RunDir;
use crate::store::run_record::{RunRecord, StageRecord, Status, differences};
use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The options of every command, resolved.
pub struct Context {
    /// Owner of the streams.
    pub printer: Printer,
    /// Set by Ctrl-C.
    pub quit: Quit,
    /// `models/`.
    pub models: PathBuf,
    /// `datasets/`.
    pub datasets: PathBuf,
    /// `results/`.
    pub results: PathBuf,
    /// Threads for inference and simulation.
    pub threads: usize,
}

/// The error of a stage that Ctrl-C ended.
#[derive(Debug)]
pub struct Interrupted;

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

impl Context {
    /// Resolves the global options and listens for Ctrl-C: the first one asks for a stop, the second leaves at once.
    pub fn new(global: &Global) -> Result<Self> {
        let quit = Quit::default();
        let printer = Printer::new(global.quiet, global.format);
        let signalled = quit.clone();
        ctrlc::set_handler(move || {
            if signalled.request() {
                leave();
            }
            printer.note("stopping after the current batch; once more to leave at once");
        })
        .context("cannot listen for Ctrl-C")?;
        let threads = global.threads.map_or_else(machine::cores, usize::from);
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("cannot start threads")?;
        Ok(Self {
            printer,
            quit,
            models: global.models_directory.clone(),
            datasets: global.datasets_directory.clone(),
            results: global.results_directory.clone(),
            threads,
        })
    }

    /// The model registry.
    pub fn registry(&self) -> Result<Registry> {
        Registry::open(&self.models)
    }

    /// Loads ONNX Runtime and notes it in the record.
    pub fn load_runtime(&self, run: &mut Run) -> Result<()> {
        run.record.runtime = Some(runtime::load(&self.models)?);
        Ok(())
    }

    /// An error if Ctrl-C was pressed.
    pub fn check_quit(&self) -> Result<()> {
        if self.quit.requested() { Err(Interrupted.into()) } else { Ok(()) }
    }
}

/// The second Ctrl-C: nothing is flushed; whole part files make that safe.
#[allow(clippy::exit)] // the user asked for it twice
fn leave() {
    std::process::exit(130);
}

/// An open run.
pub struct Run {
    /// Its directory, locked.
    pub dir: RunDir,
    /// Its record.
    pub record: RunRecord,
}

impl Run {
    /// Opens a run that was begun before.
    pub fn open(root: &Path) -> Result<Self> {
        let dir = RunDir::open(root)?;
        let record = RunRecord::read(&dir.record())?;
        let mut run = Self { dir, record };
        run.begin()?;
        Ok(run)
    }

    /// Opens a run or makes it. Settings that differ from those the run was made with are refused, field by field,
    /// unless `update` says that redoing what they change is meant.
    pub fn create(root: &Path, settings: Settings, update: bool) -> Result<Self> {
        let dir = RunDir::create(root)?;
        let path = dir.record();
        let record = if path.exists() {
            let mut record = RunRecord::read(&path)?;
            if let Some(file) = &record.imported_from {
                bail!("`{}` holds answers imported from `{file}`\nhint: choose another --run name", root.display());
            }
            let changed = differences(&record.settings, &settings)?;
            if !changed.is_empty() && !update {
                bail!(
                    "`{}` was made with other settings:\n{}\nhint: choose another --run name, or pass --update to redo what they change",
                    root.display(),
                    changed.join("\n")
                );
            }
            record.settings = settings;
            record
        } else {
            RunRecord::new(dir.name(), settings, machine::describe())
        };
        let mut run = Self { dir, record };
        run.begin()?;
        Ok(run)
    }

    /// Makes or replaces a run whose answers come from a file.
    pub fn import(root: &Path, settings: Settings, file: &str) -> Result<Self> {
        let dir = RunDir::create(root)?;
        let mut record = RunRecord::new(dir.name(), settings, machine::describe());
        record.imported_from = Some(file.to_owned());
        let mut run = Self { dir, record };
        run.begin()?;
        Ok(run)
    }

    fn begin(&mut self) -> Result<()> {
        self.record.begin(std::env::args().skip(1).collect(), machine::describe());
        self.save()
    }

    /// Node keys of the inference nodes that take part.
    #[must_use]
    pub fn models(&self) -> Vec<String> {
        self.taking_part(&self.record.settings.generation.models)
    }

    /// Node keys of the evaluators that take part.
    #[must_use]
    pub fn evaluators(&self) -> Vec<String> {
        self.taking_part(&self.record.settings.scoring.evaluators)
    }

    fn taking_part(&self, keys: &[String]) -> Vec<String> {
        keys.iter().filter(|key| !self.record.skipped_models.contains(key)).cloned().collect()
    }

    /// Writes `run.json`.
    pub fn save(&mut self) -> Result<()> {
        let path = self.dir.record();
        self.record.write(&path)
    }

    /// Applies flags to the settings and checks the result.
    pub fn override_settings(&mut self, change: impl FnOnce(&mut Settings)) -> Result<()> {
        change(&mut self.record.settings);
        self.record.settings.check()
    }

    /// Takes over `--max-failed-share`.
    pub fn override_work(&mut self, work: &WorkArguments) -> Result<()> {
        self.override_settings(|settings| {
            if let Some(share) = work.max_failed_share {
                settings.max_failed_share = share;
            }
        })
    }

    /// Runs a stage: times it, records its outcome whatever it is, and says in one line what it did.
    pub fn stage(
        &mut self,
        context: &Context,
        name: &'static str,
        work: impl FnOnce(&mut Self) -> Result<StageRecord>,
    ) -> Result<StageSummary> {
        context.check_quit()?;
        let started = Instant::now();
        let outcome = work(self).and_then(|record| context.check_quit().map(|()| record));
        let seconds = started.elapsed().as_secs_f64();
        match outcome {
            Ok(mut record) => {
                for warning in &record.warnings {
                    context.printer.warning(warning);
                }
                context.printer.note(&summary_line(name, &record, seconds));
                let previous = self.record.stages.get(name).map_or(0.0, |stage| stage.seconds);
                record.seconds = previous + seconds;
                self.record.stages.insert(name.to_owned(), record.clone());
                self.record.status = Status::Done;
                self.save()?;
                Ok(StageSummary { stage: name, this_time_seconds: seconds, record })
            }
            Err(error) => {
                let interrupted = error.is::<Interrupted>() || context.quit.requested();
                self.record.status = if interrupted { Status::Interrupted } else { Status::Failed };
                // The first error is the one to report, even when the record cannot be written either.
                let _ = self.save();
                Err(error.context(format!("stage `{name}` of run `{}`", self.dir.name())))
            }
        }
    }

    /// Models of the list that are exported. A missing one is an error unless it may be skipped; skipped ones are
    /// recorded, so that no reader mistakes the run for a full one.
    pub fn available<'r>(
        &mut self,
        registry: &'r Registry,
        keys: &[String],
        role: Role,
        skip_missing: bool,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<&'r Model>> {
        let mut found = Vec::new();
        for key in keys {
            let model = registry.get(key, role)?;
            match manifest::Exported::open(registry, model) {
                Ok(exported) => {
                    self.record.models.insert(key.clone(), exported.hash());
                    self.record.skipped_models.retain(|skipped| skipped != key);
                    found.push(model);
                }
                Err(error) if skip_missing => {
                    let reason = format!("{error:#}");
                    warnings.push(format!("skipped `{key}`: {}", reason.lines().next().unwrap_or_default()));
                    if !self.record.skipped_models.contains(key) {
                        self.record.skipped_models.push(key.clone());
                    }
                }
                Err(error) => return Err(error.context("`--skip-missing` would run the rest")),
            }
        }
        Ok(found)
    }
}

/// What a stage did, for `--format json`.
#[derive(Debug, Serialize)]
pub struct StageSummary {
    /// Name of the stage.
    pub stage: &'static str,
    /// Wall time of this call, in seconds.
    pub this_time_seconds: f64,
    /// The stage's entry in `run.json`.
    #[serde(flatten)]
    pub record: StageRecord,
}

impl StageSummary {
    /// Whether more rows failed than the settings allow.
    #[must_use]
    pub fn exit_code(&self, settings: &Settings) -> ExitCode {
        let allowed = settings.max_failed_share * self.record.rows as f64;
        if self.record.failed as f64 > allowed { ExitCode::TooManyFailures } else { ExitCode::Done }
    }

    /// Ends a stage command: JSON on stdout when asked for (the summary line went to stderr already).
    pub fn print(&self, context: &Context, settings: &Settings) -> Result<ExitCode> {
        context.printer.summary(self)?;
        let code = self.exit_code(settings);
        if code == ExitCode::TooManyFailures {
            context.printer.warning(&format!(
                "{} of {} rows failed, more than `max_failed_share` = {} allows",
                self.record.failed, self.record.rows, settings.max_failed_share
            ));
        }
        Ok(code)
    }
}

fn summary_line(name: &str, record: &StageRecord, seconds: f64) -> String {
    let new = record.details.get("computed_rows").and_then(serde_json::Value::as_u64);
    let computed = match new {
        Some(0) => ", nothing to do".to_owned(),
        Some(new) if (new as usize) < record.rows => format!(", {new} of them new"),
        _ => String::new(),
    };
    let failed = if record.failed > 0 { format!(", {} failed", record.failed) } else { String::new() };
    format!("{name}: {} rows{computed}{failed} ({seconds:.1} s)", record.rows)
}
