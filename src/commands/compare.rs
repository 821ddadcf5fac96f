//! `poq report RUN --compare OTHER…`: how runs differ, on stdout. Reads the runs and writes nothing into them: no table, no lock.

use super::context::Context;
use super::lineage;
use super::open_run::Run;
use crate::exit_code::ExitCode;
use crate::report;
use crate::report::compare::{self, Comparison, Lacking, Tables};
use crate::score::with_metrics;
use crate::store::parts::group_path;
use crate::store::rows::Row;
use crate::store::run_record::Status;
use crate::store::stream::Reader;
use crate::store::table;
use anyhow::{Context as _, Result, bail, ensure};
use std::path::{Path, PathBuf};

/// Compares every other run with the first; one of them is in memory at a time, beside the first.
pub fn command(context: &Context, baseline: &Path, others: &[PathBuf]) -> Result<ExitCode> {
    // What is no run is said before anything is computed.
    let runs = std::iter::once(baseline).chain(others.iter().map(PathBuf::as_path));
    let runs: Vec<Run> = runs.map(Run::look).collect::<Result<_>>()?;
    let labels = labels(&runs);
    let mut runs = runs.into_iter().zip(labels);
    let (run, label) = runs.next().context("a comparison has a baseline; this is a bug")?;
    let baseline = read(run, label)?;
    let mut comparison = Comparison::new(&baseline);
    for (run, label) in runs {
        context.check_quit()?;
        comparison.add(&baseline, &read(run, label)?)?;
    }
    context.printer.data(&report::comparison_to_markdown(&comparison), &comparison)?;
    Ok(ExitCode::Done)
}

/// What runs are called: their names, and their directories where names do not tell them apart.
fn labels(runs: &[Run]) -> Vec<String> {
    let label = |run: &Run| {
        let name = run.dir.name();
        let alone = runs.iter().filter(|other| other.dir.name() == name).count() == 1;
        if alone { name.to_owned() } else { run.dir.root().display().to_string() }
    };
    runs.iter().map(label).collect()
}

/// Reads a run, and of large tables only the columns that are compared.
fn read(run: Run, label: String) -> Result<compare::Run> {
    let mut reading = Reading { run: &run, lacking: Vec::new(), warnings: Vec::new(), tables: Tables::default() };
    reading.status();
    reading.tasks()?;
    reading.answers()?;
    reading.scores()?;
    reading.judgements()?;
    reading.nodes()?;
    let Reading { lacking, warnings, tables, .. } = reading;
    let directory = run.dir.root().display().to_string();
    Ok(compare::Run { label, directory, record: run.record, tables, lacking, warnings })
}

/// A run as it is being read.
struct Reading<'r> {
    run: &'r Run,
    lacking: Vec<Lacking>,
    warnings: Vec<String>,
    tables: Tables,
}

impl Reading<'_> {
    fn status(&mut self) {
        let record = &self.run.record;
        let ended = match record.status {
            Status::Done => None,
            Status::Running => Some("is being worked on, or was killed"),
            Status::Failed => Some("ended with an error"),
            Status::Interrupted => Some("was interrupted"),
        };
        if let Some(ended) = ended {
            self.warn(&format!("{ended}: its tables may be of different times"));
        }
        if !record.skipped_models.is_empty() {
            self.warn(&format!("left out models that were not exported: {}", record.skipped_models.join(", ")));
        }
    }

    fn warn(&mut self, what: &str) {
        self.warnings.push(format!("`{}` {what}.", self.run.dir.root().display()));
    }

    fn command(&self, stage: &str) -> String {
        format!("poq {stage} {}", self.run.dir.root().display())
    }

    fn tasks(&mut self) -> Result<()> {
        let path = self.run.dir.table("tasks");
        self.must_be_there([&path], "tasks", "tasks")?;
        self.must_be_current(&path, &lineage::of_tasks(self.run)?, "tasks")?;
        for_each(&path, |row| self.tables.add_task(row))
    }

    fn answers(&mut self) -> Result<()> {
        let paths: Vec<PathBuf> =
            self.run.models().iter().map(|model| group_path(&self.run.dir.generations(), model)).collect();
        self.must_be_there(&paths, "answers", "generate")?;
        let expected = lineage::of_generations(self.run)?;
        for path in paths.iter().filter(|path| path.exists()) {
            self.must_be_current(path, &expected, "generate")?;
            for_each(path, |row| self.tables.add_answer(&row))?;
        }
        Ok(())
    }

    fn scores(&mut self) -> Result<()> {
        let directory = self.run.dir.scores();
        let expected = lineage::of_scores(self.run)?;
        let mut found = false;
        for scorer in with_metrics(self.run.scorers()) {
            let path = group_path(&directory, &scorer);
            let expected = lineage::of_scorer(self.run, &expected, &scorer)?;
            if self.is_usable(&path, &expected, "scores", "score")? {
                found = true;
                for_each(&path, |row| self.tables.add_score(&row))?;
            }
        }
        if found {
            // A scorer that is not there is missed by name.
            self.lacking.retain(|lacking| lacking.table != "scores");
        } else {
            self.lacks("scores", "nothing has been scored", self.command("score"));
        }
        Ok(())
    }

    fn judgements(&mut self) -> Result<()> {
        let path = self.run.dir.table("judgements");
        if !self.run.record.settings.judge.judges() {
            let command = format!("{} --backend auto --model NAME", self.command("judge"));
            self.lacks("judgements", "no judge was asked for", command);
        } else if self.is_usable(&path, &lineage::of_judgements(self.run)?, "judgements", "judge")? {
            for_each(&path, |row| self.tables.add_grade(&row))?;
        } else {
            self.lacks("judgements", "nothing has been judged", self.command("judge"));
        }
        Ok(())
    }

    fn nodes(&mut self) -> Result<()> {
        let path = self.run.dir.table("profile");
        if self.is_usable(&path, &lineage::of_profile(self.run)?, "profile", "profile")? {
            self.tables.profile = table::read(&path)?;
        } else {
            self.lacks("profile", "no node has been profiled", self.command("profile"));
        }
        let path = self.run.dir.table("rewards");
        if self.is_usable(&path, &lineage::of_rewards(self.run)?, "rewards", "simulate")? {
            self.tables.rewards = table::read(&path)?;
        } else {
            self.lacks("rewards", "the mechanism has not been simulated", self.command("simulate"));
        }
        Ok(())
    }

    /// Notes that a table is not there, unless something else was said of it before.
    fn lacks(&mut self, table: &'static str, reason: &str, command: String) {
        if self.lacking.iter().all(|lacking| lacking.table != table) {
            self.lacking.push(Lacking { table, reason: reason.to_owned(), command });
        }
    }

    /// Refuses a run without any of the tables that everything else is about.
    fn must_be_there<'p>(&self, paths: impl IntoIterator<Item = &'p PathBuf>, what: &str, stage: &str) -> Result<()> {
        let there = paths.into_iter().any(|path| path.exists());
        ensure!(
            there,
            "`{}` has no {what} to compare\nhint: `{}` makes them",
            self.run.dir.root().display(),
            self.command(stage)
        );
        Ok(())
    }

    /// Refuses a table that does not belong to the run as it is now.
    fn must_be_current(&mut self, path: &Path, expected: &str, stage: &str) -> Result<()> {
        if !self.is_current(path, expected)? {
            bail!(
                "`{}` was made with other settings or from other tables than the run has now\nhint: `{}` makes it again",
                path.display(),
                self.command(stage)
            );
        }
        Ok(())
    }

    /// Whether a table is there and belongs to the run as it is now; one that does not is noted as lacking.
    fn is_usable(&mut self, path: &Path, expected: &str, table: &'static str, stage: &str) -> Result<bool> {
        if !path.exists() {
            return Ok(false);
        }
        let current = self.is_current(path, expected)?;
        if !current {
            let reason = "its table was made with other settings or from other tables than the run has now";
            self.lacks(table, reason, self.command(stage));
        }
        Ok(current)
    }

    /// Whether a table belongs to the run as it is now. What another poq has made may follow other rules: its word is taken, with a
    /// warning.
    fn is_current(&mut self, path: &Path, expected: &str) -> Result<bool> {
        if lineage::is_current(path, expected)? {
            return Ok(true);
        }
        let record = &self.run.record;
        let own = record.poq_version == env!("CARGO_PKG_VERSION") && record.git_commit == env!("POQ_GIT_COMMIT");
        if !own {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            self.warn(&format!("was made by another poq, and whether its `{name}` fits its settings cannot be told"));
        }
        Ok(!own)
    }
}

/// Reads a table row by row.
fn for_each<R: Row>(path: &Path, mut visit: impl FnMut(R) -> Result<()>) -> Result<()> {
    for row in Reader::open(path)? {
        visit(row?).with_context(|| format!("`{}`", path.display()))?;
    }
    Ok(())
}
