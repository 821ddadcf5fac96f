//! Where a run comes from: what it takes to make it again, and to cite it. Filled in by the caller from `run.json`.

use serde::Serialize;

/// Where a run comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// Commit that poq was built from; empty where nobody knows.
    pub commit: String,
    /// Whether the checkout had uncommitted changes.
    pub dirty: bool,
    /// The experiment file as TOML; none for imported answers.
    pub experiment: Option<String>,
    /// Every setting, defaults filled in, as TOML.
    pub settings: String,
    /// The file that answers came from, when they were imported.
    pub imported_from: Option<String>,
    /// Data sets and models with the SHA-256 of what was used.
    pub hashes: Vec<(String, String)>,
    /// What every stage did.
    pub stages: Vec<Stage>,
}

/// What a stage did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Stage {
    /// Its name.
    pub name: String,
    /// Wall time over restarts, as people read it.
    pub seconds: String,
    /// Rows in its table.
    pub rows: String,
    /// Of these, rows with an error.
    pub failed: String,
}
