//! What a calibration found, remembered in `models/calibration.json`: per machine, model, provider and precision, the
//! sessions, threads and batches that were fastest. Deleting the file forgets it.

use crate::model::provider::{Precision, Provider};
use crate::score::Execution;
use crate::store::run_record::Machine;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// One remembered answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Processor and cores it holds for.
    pub machine: String,
    /// Key of the model whose files were run.
    pub model: String,
    /// How it is run fastest.
    pub execution: Execution,
    /// Tokens read per second then.
    pub tokens_per_s: f64,
}

/// The file.
#[derive(Debug, Clone, Default)]
pub struct Calibration {
    path: PathBuf,
    entries: Vec<Entry>,
}

impl Calibration {
    /// Reads the file; a missing or unreadable one remembers nothing, for it can be made again.
    #[must_use]
    pub fn open(models: &Path) -> Self {
        let path = models.join("calibration.json");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        Self { path, entries: serde_json::from_str(&text).unwrap_or_default() }
    }

    /// What was found for a model on this machine.
    #[must_use]
    pub fn find(&self, machine: &Machine, model: &str, provider: Provider, precision: Precision) -> Option<&Entry> {
        let name = name(machine);
        self.entries.iter().find(|entry| {
            entry.machine == name
                && entry.model == model
                && (entry.execution.provider, entry.execution.precision) == (provider, precision)
        })
    }

    /// Remembers an answer in place of an older one, and writes the file.
    pub fn remember(&mut self, machine: &Machine, model: &str, execution: Execution, tokens_per_s: f64) -> Result<()> {
        let entry = Entry { machine: name(machine), model: model.to_owned(), execution, tokens_per_s };
        let key = |entry: &Entry| {
            let Execution { provider, precision, .. } = entry.execution;
            (entry.machine.clone(), entry.model.clone(), provider, precision)
        };
        self.entries.retain(|old| key(old) != key(&entry));
        self.entries.push(entry);
        let write = || -> Result<()> {
            let temporary = self.path.with_extension("json.tmp");
            std::fs::write(&temporary, serde_json::to_string_pretty(&self.entries)? + "\n")?;
            std::fs::rename(&temporary, &self.path)?;
            Ok(())
        };
        write().with_context(|| format!("cannot write `{}`", self.path.display()))
    }
}

fn name(machine: &Machine) -> String {
    format!("{}, {} cores", machine.cpu, machine.cores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_answer_for_this_machine_is_found_again() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let here = Machine { cpu: "fast".into(), cores: 2, ..Machine::default() };
        let elsewhere = Machine { cores: 8, ..here.clone() };
        let execution = |batch_size| Execution {
            provider: Provider::Cpu,
            precision: Precision::F32,
            workers: 2,
            threads: 1,
            batch_size,
            batch_tokens: 2048,
        };
        let mut calibration = Calibration::open(directory.path());
        for batch_size in [32, 8] {
            calibration.remember(&here, "m", execution(batch_size), 1e4).expect("writes");
        }
        let again = Calibration::open(directory.path());
        let found = again.find(&here, "m", Provider::Cpu, Precision::F32).expect("remembered");
        assert_eq!((found.execution.batch_size, again.entries.len()), (8, 1));
        assert!(again.find(&elsewhere, "m", Provider::Cpu, Precision::F32).is_none());
        assert!(again.find(&here, "m", Provider::Cpu, Precision::Int8).is_none());
        std::fs::write(directory.path().join("calibration.json"), "{").expect("write");
        assert!(Calibration::open(directory.path()).entries.is_empty());
    }
}
