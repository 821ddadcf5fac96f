//! A run's directory: where each table lies, and the lock that keeps two processes from working on it at once.

use super::batches;
use anyhow::{Context, Result, bail};
use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// How the name of a directory of parts ends.
const PARTS: &str = "parts";

/// `results/<run>/`.
pub struct RunDir {
    root: PathBuf,
    name: String,
    /// Held for the life of the value; the system releases it when the process ends, however it ends. Those who only look hold none.
    _lock: Option<File>,
}

impl RunDir {
    /// Creates or opens the directory and locks it.
    pub fn create(root: &Path) -> Result<Self> {
        std::fs::create_dir_all(root).with_context(|| format!("cannot create `{}`", root.display()))?;
        Self::lock(root)
    }

    /// Opens the directory of a run that was begun before.
    pub fn open(root: &Path) -> Result<Self> {
        must_be_run(root)?;
        Self::lock(root)
    }

    /// Opens the directory of a run to read from it alone: takes no lock and writes nothing, so that it works on read-only disks and
    /// beside a poq that is at work.
    pub fn look(root: &Path) -> Result<Self> {
        must_be_run(root)?;
        Self::of(root, None)
    }

    fn lock(root: &Path) -> Result<Self> {
        let path = root.join("run.lock");
        let lock = File::create(&path).with_context(|| format!("cannot write `{}`", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!("another poq is working on `{}`\nhint: wait for it", root.display()),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock `{}`", path.display()));
            }
        }
        Self::of(root, Some(lock))
    }

    fn of(root: &Path, lock: Option<File>) -> Result<Self> {
        let absolute = std::path::absolute(root).with_context(|| format!("cannot resolve `{}`", root.display()))?;
        let name = absolute.file_name().map_or_else(|| "run".to_owned(), |name| name.to_string_lossy().into_owned());
        Ok(Self { root: root.to_path_buf(), name, _lock: lock })
    }

    /// Name of the run: the directory's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `run.json`.
    #[must_use]
    pub fn record(&self) -> PathBuf {
        self.root.join("run.json")
    }

    /// A table that is one file.
    #[must_use]
    pub fn table(&self, name: &str) -> PathBuf {
        self.root.join(format!("{name}.parquet"))
    }

    /// Removes every table but `tasks` and `generations`, sweeps and the report: what followed from answers that are replaced.
    pub fn remove_results(&self) -> Result<()> {
        let tables = [
            "judge_sample",
            "judgements",
            "judge_checks",
            "profile",
            "signals",
            "signal_audit",
            "cascade",
            "rewards",
            "network",
            "rounds",
            "metrics",
        ];
        let paths = tables.map(|name| self.table(name));
        for path in paths.into_iter().chain(["report.md", "report.html"].map(|name| self.root.join(name))) {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove `{}`", path.display()));
                }
                _ => {}
            }
        }
        remove_sweeps(&self.sweeps())?;
        remove_all(&self.figures())?;
        remove_all(&self.scores())
    }

    /// `generations/`: one file per model.
    #[must_use]
    pub fn generations(&self) -> PathBuf {
        self.root.join("generations")
    }

    /// `judge_replies.jsonl`: everything that judges have said. It outlives the answers: a reply is to a question, and a
    /// question that comes back is not paid for again.
    #[must_use]
    pub fn judge_replies(&self) -> PathBuf {
        self.root.join("judge_replies.jsonl")
    }

    /// `work/`: finished evaluator work, one file per evaluator whose weights did it.
    #[must_use]
    pub fn work(&self, evaluator: &str) -> PathBuf {
        self.root.join("work").join(format!("{evaluator}.redb"))
    }

    /// `sweeps/`: a table for every sweep.
    #[must_use]
    pub fn sweeps(&self) -> PathBuf {
        self.root.join("sweeps")
    }

    /// `figures/`: the figures of the report.
    #[must_use]
    pub fn figures(&self) -> PathBuf {
        self.root.join("figures")
    }

    /// `sweeps/<name>.parquet`: the table of a sweep.
    #[must_use]
    pub fn sweep(&self, name: &str) -> PathBuf {
        self.sweeps().join(format!("{name}.parquet"))
    }

    /// `sweeps/<name>.parts/`: the parts of a sweep that is not finished.
    #[must_use]
    pub fn sweep_parts(&self, name: &str) -> PathBuf {
        self.sweeps().join(format!("{name}.{PARTS}"))
    }

    /// `scores/`: one file per scorer.
    #[must_use]
    pub fn scores(&self) -> PathBuf {
        self.root.join("scores")
    }
}

fn must_be_run(root: &Path) -> Result<()> {
    if !root.join("run.json").exists() {
        bail!(
            "`{}` is not a run: it has no run.json\nhint: `poq run experiments/quick.toml` makes one, `poq import` another",
            root.display()
        );
    }
    Ok(())
}

fn remove_all(directory: &Path) -> Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove `{}`", directory.display()))
        }
        _ => Ok(()),
    }
}

/// Removes the tables of sweeps and their parts; what somebody else put beside them stays.
fn remove_sweeps(directory: &Path) -> Result<()> {
    let cannot = |path: &Path| format!("cannot remove `{}`", path.display());
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| cannot(directory))?,
    };
    for entry in entries {
        let path = entry.with_context(|| cannot(directory))?.path();
        let ends = |with: &str| path.extension().is_some_and(|extension| extension == with);
        if path.is_dir() && ends(PARTS) {
            batches::remove(&path)?;
        } else if path.is_file() && ends("parquet") {
            std::fs::remove_file(&path).with_context(|| cannot(&path))?;
        }
    }
    batches::remove_if_empty(directory)
}
