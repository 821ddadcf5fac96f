//! What made two runs: programs, machines, files and settings.

use super::tables::Run;
use crate::store::run_record::{self, EXECUTION};
use anyhow::Result;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// Settings beside [`EXECUTION`] that cannot change what two runs are compared by: names, how memory is used, how fast a server
/// is asked, what is logged. They change an answer by rounding at most.
const WITHOUT_EFFECT: [&str; 12] = [
    "name",
    "generation.kv_cache_mb",
    "generation.share_prefixes",
    "judge.organization",
    "judge.key_env",
    "judge.concurrency",
    "judge.requests_per_minute",
    "judge.tokens_per_minute",
    "judge.timeout_s",
    "judge.max_retries",
    "judge.max_failed_share",
    "simulation.round_log",
];

/// One thing that a run was made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// What it is, e.g. `poq version`, or the key of a model or a data set.
    pub what: String,
    /// What kind of thing: `program`, `machine`, `runtime`, `judge`, `data set` or `model`; of the last two the value is the hash of
    /// their files.
    pub kind: &'static str,
    /// In the baseline; null where it has none.
    pub baseline: Option<String>,
    /// In the other run; null where it has none.
    pub other: Option<String>,
    /// `same`, `differs`, `only_baseline` or `only_other`.
    pub status: Status,
}

/// How a fact stands in two runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Both have the same.
    Same,
    /// Both have it, and not the same.
    Differs,
    /// The other run has none.
    OnlyBaseline,
    /// The baseline has none.
    OnlyOther,
}

/// A setting that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SettingDifference {
    /// Its dotted name, as in the experiment file.
    pub setting: String,
    /// In the baseline. Not there where the setting is absent; null is a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Value>,
    /// In the other run; likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<Value>,
    /// Whether it can change a number that is compared, beyond rounding.
    pub can_change_results: bool,
}

/// Programs, machine, runtime, judge, data sets and models; what neither run has is left out.
pub(super) fn facts(baseline: &Run, other: &Run) -> Vec<Fact> {
    let both = [baseline, other].map(values);
    let mut names: Vec<(&'static str, String)> = Vec::new();
    for (kind, what, _) in both.iter().flatten() {
        if !names.iter().any(|(known, name)| known == kind && name == what) {
            names.push((kind, what.clone()));
        }
    }
    // Files by name, whichever run has them; the rest in the order of `values`, which both share.
    names.sort_by_key(|(kind, what)| {
        let files = matches!(*kind, "data set" | "model");
        (files, files.then(|| (*kind, what.clone())))
    });
    let fact = |(kind, what): (&'static str, String)| {
        let value = |place: usize| {
            both[place].iter().find(|(own, name, _)| *own == kind && *name == what).map(|(_, _, value)| value.clone())
        };
        let (baseline, other) = (value(0), value(1));
        let status = match (&baseline, &other) {
            (Some(baseline), Some(other)) if baseline == other => Status::Same,
            (_, None) => Status::OnlyBaseline,
            (None, _) => Status::OnlyOther,
            _ => Status::Differs,
        };
        Fact { what, kind, baseline, other, status }
    };
    names.into_iter().map(fact).collect()
}

fn values(run: &Run) -> Vec<(&'static str, String, String)> {
    let record = &run.record;
    let machine = &record.machine;
    let mut found: Vec<(&'static str, String, String)> = Vec::new();
    let mut add = |kind, what: &str, value: String| {
        if !value.is_empty() {
            found.push((kind, what.to_owned(), value));
        }
    };
    add("program", "poq version", record.poq_version.clone());
    let changed = if record.git_dirty { " with uncommitted changes" } else { "" };
    if !record.git_commit.is_empty() {
        add("program", "git commit", format!("{}{changed}", record.git_commit));
    }
    add("program", "answers imported from", record.imported_from.clone().unwrap_or_default());
    add("machine", "processor", machine.cpu.clone());
    add("machine", "GPU", machine.gpu.clone().unwrap_or_else(|| "none".into()));
    add("machine", "hardware threads", machine.cores.to_string());
    add("machine", "memory (MB)", machine.memory_mb.to_string());
    add("machine", "system", machine.system.clone());
    if let Some(runtime) = &record.runtime {
        add("runtime", "ONNX Runtime", runtime.version.clone());
        add("runtime", "build", runtime.build.clone());
        add("runtime", "provider", runtime.provider.clone());
    }
    add("judge", "judge", run.tables.judge.clone().unwrap_or_default());
    for (kind, hashes) in [("data set", &record.datasets), ("model", &record.models)] {
        for (key, hash) in hashes {
            add(kind, key, hash.clone());
        }
    }
    found
}

/// Settings that differ, those that can change results first.
pub(super) fn settings(baseline: &Run, other: &Run) -> Result<Vec<SettingDifference>> {
    let without_effect: BTreeSet<&str> = EXECUTION.into_iter().chain(WITHOUT_EFFECT).collect();
    let found = run_record::all_differences(&baseline.record.settings, &other.record.settings)?;
    let mut found: Vec<SettingDifference> = found
        .into_iter()
        .map(|difference| SettingDifference {
            can_change_results: !without_effect.contains(difference.setting.as_str()),
            setting: difference.setting,
            baseline: difference.old,
            other: difference.new,
        })
        .collect();
    found.sort_by_key(|difference| !difference.can_change_results);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    #[test]
    fn settings_without_effect_are_settings() {
        let settings = serde_json::to_value(Settings::empty()).expect("JSON");
        for name in EXECUTION.into_iter().chain(WITHOUT_EFFECT) {
            let pointer = format!("/{}", name.replace('.', "/"));
            assert!(settings.pointer(&pointer).is_some(), "there is no setting `{name}`");
        }
    }
}
