//! `run.json`: what ran, on what, from which settings, and how each stage ended. Rewritten whole after every stage.

use super::table::{SCHEMA_VERSION, temporary_path};
use crate::model::runtime::RuntimeInfo;
use crate::settings::Settings;
use anyhow::{Context, Result, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::SystemTime;

/// The whole record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunRecord {
    /// Schema version of the run's tables.
    pub schema_version: u32,
    /// Name of the run.
    pub name: String,
    /// Version of the poq that last worked on it.
    pub poq_version: String,
    /// Commit that poq was built from; empty outside a git checkout.
    pub git_commit: String,
    /// Whether the checkout had uncommitted changes at build time.
    pub git_dirty: bool,
    /// How the last command ended.
    pub status: Status,
    /// When the run was first created, UTC.
    pub created: String,
    /// When it was last worked on, UTC.
    pub updated: String,
    /// Arguments of the last command, as passed.
    pub arguments: Vec<String>,
    /// The experiment file as it was passed, before defaults and flags; null for imported answers.
    pub experiment: Option<Value>,
    /// Settings, resolved: every default filled in and every flag applied.
    #[schemars(with = "Value")]
    pub settings: Settings,
    /// Models that were asked for, were not there and were skipped (`--skip-missing`).
    pub skipped_models: Vec<String>,
    /// SHA-256 of every data set used, by key; an imported file goes by its path.
    pub datasets: BTreeMap<String, String>,
    /// Hash over the exported files of every model used, by key.
    pub models: BTreeMap<String, String>,
    /// ONNX Runtime, once a stage has loaded it.
    #[schemars(with = "Value")]
    pub runtime: Option<RuntimeInfo>,
    /// The machine that models last ran on.
    pub machine: Machine,
    /// The file the answers came from, when they were imported.
    pub imported_from: Option<String>,
    /// Mean latency in ms that imported answers came with, by model.
    pub imported_latency_ms: BTreeMap<String, f64>,
    /// What each stage did, by name.
    pub stages: BTreeMap<String, StageRecord>,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// At work, or killed.
    Running,
    /// Ended as intended.
    Done,
    /// Ended with an error.
    Failed,
    /// Ended by Ctrl-C.
    Interrupted,
}

/// What one stage did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageRecord {
    /// Wall time in seconds, summed over restarts.
    pub seconds: f64,
    /// Rows in the stage's table.
    pub rows: usize,
    /// Of these, rows that the last call computed, or wrote anew with their table; 0 when there was nothing to do.
    pub computed_rows: usize,
    /// Of these, rows with an error.
    pub failed: usize,
    /// Things a reader of the results should know.
    pub warnings: Vec<String>,
    /// What the stage has to say for itself beside its summary: rates, padding, how busy the workers were.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Figures particular to the stage.
    pub details: BTreeMap<String, Value>,
}

/// A machine, as far as results depend on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// Processor model.
    pub cpu: String,
    /// Hardware threads available to the process.
    pub cores: usize,
    /// Main memory in MB.
    pub memory_mb: u64,
    /// Operating system and architecture.
    pub system: String,
    /// Name of the GPU that computed; absent where the processor did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
}

impl RunRecord {
    /// The record of a new run.
    #[must_use]
    pub fn new(name: &str, settings: Settings, machine: Machine) -> Self {
        let now = utc_now();
        Self {
            schema_version: SCHEMA_VERSION,
            name: name.to_owned(),
            poq_version: env!("CARGO_PKG_VERSION").to_owned(),
            git_commit: env!("POQ_GIT_COMMIT").to_owned(),
            git_dirty: env!("POQ_GIT_DIRTY") == "true",
            status: Status::Running,
            created: now.clone(),
            updated: now,
            arguments: Vec::new(),
            experiment: None,
            settings,
            skipped_models: Vec::new(),
            datasets: BTreeMap::new(),
            models: BTreeMap::new(),
            runtime: None,
            machine,
            imported_from: None,
            imported_latency_ms: BTreeMap::new(),
            stages: BTreeMap::new(),
        }
    }

    /// Notes that this poq works on the run now.
    pub fn begin(&mut self, arguments: Vec<String>) {
        env!("CARGO_PKG_VERSION").clone_into(&mut self.poq_version);
        env!("POQ_GIT_COMMIT").clone_into(&mut self.git_commit);
        self.git_dirty = env!("POQ_GIT_DIRTY") == "true";
        self.status = Status::Running;
        self.arguments = arguments;
    }

    /// Reads `run.json`.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let version = serde_json::from_str::<Value>(&text)
            .with_context(|| format!("`{}` is not valid JSON", path.display()))?
            .get("schema_version")
            .and_then(Value::as_u64);
        ensure!(
            version == Some(u64::from(SCHEMA_VERSION)),
            "`{}` has schema version {}, this poq reads version {SCHEMA_VERSION}\n\
             hint: keep the run for the poq that wrote it and use another run name",
            path.display(),
            version.map_or_else(|| "unknown".to_owned(), |version| version.to_string())
        );
        serde_json::from_str(&text).with_context(|| format!("`{}` is not a run record", path.display()))
    }

    /// Writes `run.json`, whole or not at all.
    pub fn write(&mut self, path: &Path) -> Result<()> {
        self.updated = utc_now();
        let temporary = temporary_path(path);
        let write = || -> Result<()> {
            let mut file = std::fs::File::create(&temporary)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.write_all(b"\n")?;
            file.sync_all()?;
            std::fs::rename(&temporary, path)?;
            Ok(())
        };
        write().with_context(|| format!("cannot write `{}`", path.display()))
    }
}

/// Settings that change no row of any table: the shape of batches, the share of failed rows that is still a success.
pub const EXECUTION: [&str; 8] = [
    "max_failed_share",
    "generation.batch_size",
    "generation.batch_tokens",
    "generation.cuda_graphs",
    "scoring.workers",
    "scoring.worker_threads",
    "scoring.batch_size",
    "scoring.batch_tokens",
];

/// A setting that two runs do not share.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Its dotted name, e.g. `generation.temperature`.
    pub setting: String,
    /// The old value; none where the setting is absent, which is not null.
    pub old: Option<Value>,
    /// The new value; none where the setting is absent.
    pub new: Option<Value>,
}

/// Differences between two settings as `field: old → new`, for people. What changes no row of any table is no difference.
pub fn differences(old: &Settings, new: &Settings) -> Result<Vec<String>> {
    let text = |value: Option<Value>| value.unwrap_or(Value::Null);
    let found = all_differences(old, new)?.into_iter();
    let found = found.filter(|difference| !EXECUTION.contains(&difference.setting.as_str()));
    Ok(found.map(|Difference { setting, old, new }| format!("{setting}: {} → {}", text(old), text(new))).collect())
}

/// Every difference between two settings, sorted by name.
pub fn all_differences(old: &Settings, new: &Settings) -> Result<Vec<Difference>> {
    let mut found = Vec::new();
    collect_differences("", Some(&serde_json::to_value(old)?), Some(&serde_json::to_value(new)?), &mut found);
    Ok(found)
}

fn collect_differences(path: &str, old: Option<&Value>, new: Option<&Value>, found: &mut Vec<Difference>) {
    match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                collect_differences(&path, old.get(key), new.get(key), found);
            }
        }
        _ if old != new => {
            found.push(Difference { setting: path.to_owned(), old: old.cloned(), new: new.cloned() });
        }
        _ => {}
    }
}

/// Now, as an RFC 3339 time in UTC.
#[must_use]
pub fn utc_now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}
