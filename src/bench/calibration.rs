//! What a calibration found, remembered in `models/calibration.json`: per machine, threads allowed on it, model, provider and
//! precision, the sessions, threads and batches that were fastest. Deleting the file forgets it.

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
    /// Threads that could be used then.
    pub allowed_threads: usize,
    /// Key of the model whose files were run.
    pub model: String,
    /// How it is run fastest.
    pub execution: Execution,
    /// Tokens read per second then.
    pub tokens_per_s: f64,
}

/// The file, as seen from a machine.
#[derive(Debug, Clone, Default)]
pub struct Calibration {
    path: PathBuf,
    machine: String,
    allowed_threads: usize,
    entries: Vec<Entry>,
}

impl Calibration {
    /// Reads the file; a missing or unreadable one remembers nothing, for it can be made again.
    #[must_use]
    pub fn open(models: &Path, machine: &Machine, allowed_threads: usize) -> Self {
        let path = models.join("calibration.json");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let entries = serde_json::from_str(&text).unwrap_or_default();
        Self { path, machine: format!("{}, {} cores", machine.cpu, machine.cores), allowed_threads, entries }
    }

    /// What was found for a model on this machine with as many threads.
    #[must_use]
    pub fn find(&self, model: &str, provider: Provider, precision: Precision) -> Option<&Entry> {
        self.entries.iter().find(|entry| {
            (&entry.machine, entry.allowed_threads) == (&self.machine, self.allowed_threads)
                && entry.model == model
                && (entry.execution.provider, entry.execution.precision) == (provider, precision)
        })
    }

    /// Remembers an answer in place of an older one, and writes the file.
    pub fn remember(&mut self, model: &str, execution: Execution, tokens_per_s: f64) -> Result<()> {
        let entry = Entry {
            machine: self.machine.clone(),
            allowed_threads: self.allowed_threads,
            model: model.to_owned(),
            execution,
            tokens_per_s,
        };
        let key = |entry: &Entry| {
            let Execution { provider, precision, .. } = entry.execution;
            (entry.machine.clone(), entry.allowed_threads, entry.model.clone(), provider, precision)
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
        let open = |machine: &Machine, threads: usize| Calibration::open(directory.path(), machine, threads);
        let mut calibration = open(&here, 2);
        for batch_size in [32, 8] {
            calibration.remember("m", execution(batch_size), 1e4).expect("writes");
        }
        open(&here, 1).remember("m", execution(4), 1e4).expect("writes");
        let again = open(&here, 2);
        let found = again.find("m", Provider::Cpu, Precision::F32).expect("remembered");
        assert_eq!((found.execution.batch_size, again.entries.len()), (8, 2));
        let fewer = open(&here, 1);
        let found = fewer.find("m", Provider::Cpu, Precision::F32).expect("remembered");
        assert_eq!(found.execution.batch_size, 4, "other threads, other answer");
        assert!(open(&here, 3).find("m", Provider::Cpu, Precision::F32).is_none());
        assert!(open(&elsewhere, 2).find("m", Provider::Cpu, Precision::F32).is_none());
        assert!(again.find("m", Provider::Cpu, Precision::Int8).is_none());
        std::fs::write(directory.path().join("calibration.json"), "{").expect("write");
        assert!(open(&here, 2).entries.is_empty());
    }
}
