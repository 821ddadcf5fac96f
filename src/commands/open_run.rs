//! An open run: its directory and record, and how a stage is begun and ended in it.

use super::context::Context;
use super::summary::StageSummary;
use crate::cli::WorkArguments;
use crate::executor::Interrupted;
use crate::model::manifest::Exported;
use crate::model::registry::{Model, Registry, Role};
use crate::profile::machine;
use crate::settings::{Experiment, Settings};
use crate::store::RunDir;
use crate::store::run_record::{RunRecord, StageRecord, Status, differences};
use anyhow::{Result, bail};
use std::path::Path;
use std::time::Instant;

/// An open run.
pub struct Run {
    /// Its directory, locked.
    pub dir: RunDir,
    /// Its record.
    pub record: RunRecord,
    /// The settings that the tables on disk were last made with: what a failing command goes back to.
    settled: Settings,
}

impl Run {
    /// Opens a run that was begun before.
    pub fn open(root: &Path) -> Result<Self> {
        let dir = RunDir::open(root)?;
        let record = RunRecord::read(&dir.record())?;
        Ok(Self::new(dir, record))
    }

    /// Opens a run to read from it alone: nothing below its directory changes, and the record stays as it was written.
    pub fn look(root: &Path) -> Result<Self> {
        let dir = RunDir::look(root)?;
        let record = RunRecord::read(&dir.record())?;
        Ok(Self { dir, settled: record.settings.clone(), record })
    }

    /// Opens a run or makes it. Settings that differ from those the run was made with are refused, field by field,
    /// unless `update` says that redoing what they change is meant.
    pub fn create(root: &Path, experiment: Experiment, update: bool) -> Result<Self> {
        let Experiment { settings, passed } = experiment;
        let dir = RunDir::create(root)?;
        let path = dir.record();
        if !path.exists() {
            let mut record = RunRecord::new(dir.name(), settings, machine::describe());
            record.experiment = Some(passed);
            return Ok(Self::new(dir, record));
        }
        let record = RunRecord::read(&path)?;
        if let Some(file) = &record.imported_from {
            bail!("`{}` holds answers imported from `{file}`\nhint: choose another --run name", root.display());
        }
        let changed = differences(&record.settings, &settings)?;
        if !changed.is_empty() && !update {
            bail!(
                "`{}` was made with other settings:\n{}\n\
                 hint: choose another --run name, or pass --update to redo what they change",
                root.display(),
                changed.join("\n")
            );
        }
        let mut run = Self::new(dir, record);
        run.record.settings = settings;
        run.record.experiment = Some(passed);
        Ok(run)
    }

    /// Makes a run whose answers come from a file, or replaces such a run: what followed from its old answers goes.
    pub fn import(root: &Path, settings: Settings, file: &str, update: bool) -> Result<Self> {
        let dir = RunDir::create(root)?;
        let path = dir.record();
        if path.exists() {
            let Some(old) = RunRecord::read(&path)?.imported_from else {
                bail!("`{}` holds answers that poq generated\nhint: choose another --run name", root.display());
            };
            if !update {
                bail!(
                    "`{}` holds answers imported from `{old}` already\n\
                     hint: choose another --run name, or pass --update to replace them",
                    root.display()
                );
            }
            dir.remove_results()?;
        }
        let mut record = RunRecord::new(dir.name(), settings, machine::describe());
        record.imported_from = Some(file.to_owned());
        Ok(Self::new(dir, record))
    }

    fn new(dir: RunDir, mut record: RunRecord) -> Self {
        record.begin(std::env::args().skip(1).collect());
        Self { dir, settled: record.settings.clone(), record }
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

    /// Node keys of everybody who scores: the evaluators, and those beside them that take no part in the mechanism.
    #[must_use]
    pub fn scorers(&self) -> Vec<String> {
        let keys: Vec<String> = self.record.settings.scoring.all_evaluators().cloned().collect();
        self.taking_part(&keys)
    }

    /// The model registry, with the variants of this run, as `scoring.provider` computes the evaluators.
    pub fn registry(&self, context: &Context) -> Result<Registry> {
        let mut registry = context.registry()?;
        registry.add_variants(&self.record.settings.scoring.variants)?;
        Ok(registry.on(self.record.settings.scoring.provider))
    }

    /// The registry with the models that generate as `generation.provider` computes them.
    pub fn generation_registry(&self, context: &Context) -> Result<Registry> {
        Ok(context.registry()?.on(self.record.settings.generation.provider))
    }

    /// The keys of a list without those of skipped models.
    #[must_use]
    pub fn taking_part(&self, keys: &[String]) -> Vec<String> {
        keys.iter().filter(|key| !self.record.skipped_models.contains(key)).cloned().collect()
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
                settings.judge.max_failed_share = None;
            }
        })
    }

    /// Runs a stage: times it, records its outcome whatever it is, and says in one line what it did. When it fails, the
    /// settings go back to those that the tables were made with.
    pub fn stage(
        &mut self,
        context: &Context,
        name: &'static str,
        work: impl FnOnce(&mut Self) -> Result<StageRecord>,
    ) -> Result<StageSummary> {
        self.record.status = Status::Running;
        self.save()?;
        let started = Instant::now();
        let outcome = context.check_quit().and_then(|()| work(self)).and_then(|record| {
            context.check_quit()?;
            Ok(record)
        });
        let seconds = started.elapsed().as_secs_f64();
        let previous = self.record.stages.get(name).cloned().unwrap_or_default();
        match outcome {
            Ok(mut record) => {
                record.seconds = previous.seconds + seconds;
                if record.computed_rows == 0 {
                    // Nothing was measured this time: the figures of the time that did the work stand.
                    record.details = previous.details;
                    record.notes = Vec::new();
                }
                self.record.stages.insert(name.to_owned(), record.clone());
                self.record.status = Status::Done;
                self.settled = self.record.settings.clone();
                self.save()?;
                let summary = StageSummary { stage: name, this_time_seconds: seconds, record };
                for warning in &summary.record.warnings {
                    context.printer.warning(warning);
                }
                for note in &summary.record.notes {
                    context.printer.note(note);
                }
                context.printer.note(&summary.line());
                Ok(summary)
            }
            Err(error) => {
                let interrupted = error.is::<Interrupted>();
                self.record.status = if interrupted { Status::Interrupted } else { Status::Failed };
                self.record.settings = self.settled.clone();
                let spent = StageRecord { seconds: previous.seconds + seconds, ..previous };
                self.record.stages.insert(name.to_owned(), spent);
                // The first error is the one to report, even when the record cannot be written either.
                let _ = self.save();
                Err(error.context(format!("stage `{name}` of run `{}`", self.dir.name())))
            }
        }
    }

    /// Makes the settings as they are now those that the tables were made with.
    pub(super) fn settle(&mut self) -> Result<()> {
        self.settled = self.record.settings.clone();
        self.save()
    }

    /// Writes the record as it is now.
    pub(super) fn save(&mut self) -> Result<()> {
        let path = self.dir.record();
        self.record.write(&path)
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
            match Exported::open(registry, model) {
                Ok(_) => {
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
                Err(error) => bail!("{error:#}, or `--skip-missing` runs the rest without it"),
            }
        }
        let settings = &self.record.settings;
        let nodes = || settings.generation.models.iter().chain(settings.scoring.all_evaluators());
        self.record.models.retain(|key, _| nodes().any(|node| node == key));
        self.record.skipped_models.retain(|key| nodes().any(|node| node == key));
        Ok(found)
    }
}
