//! What `export/` fetches for a model: files, the hashes they are held to, and where each can come from.

use anyhow::{Result, ensure};
use serde::Deserialize;
use std::fmt;
use std::path::PathBuf;

/// A file to fetch, held to one hash whatever source it comes from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artifact {
    /// Name the recipe knows it by.
    pub name: String,
    /// Hash in hex; a file that the hub alone has, at a pinned commit, is held to the hub's own hash where it is not given.
    pub sha256: Option<String>,
    /// Published size.
    pub bytes: Option<u64>,
    /// Sources, tried in order.
    #[serde(rename = "source")]
    pub sources: Vec<Source>,
}

/// Where an artifact can come from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Source {
    /// Members of registry packages, joined in order.
    Package {
        /// The members.
        parts: Vec<PackagePart>,
    },
    /// A file of a hub repository.
    Hub {
        /// Repository.
        repo: String,
        /// Pinned revision.
        revision: String,
        /// File in it.
        file: String,
    },
    /// A file on this machine.
    Path {
        /// Its path.
        path: PathBuf,
    },
}

/// A member of a package's wheel.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackagePart {
    /// Package name.
    pub package: String,
    /// Exact version.
    pub version: String,
    /// Member of the wheel.
    pub file: String,
}

impl Artifact {
    /// Without a hash of its own every source must be the same file of the hub, at a commit.
    pub(super) fn check(&self) -> Result<()> {
        ensure!(self.bytes != Some(0), "`bytes` must be at least 1");
        if self.sha256.is_none() {
            ensure!(
                self.sources.iter().all(Source::is_pinned),
                "`sha256` is missing; only hub sources whose `revision` is a commit (40 hex digits) do without"
            );
            ensure!(
                self.sources.windows(2).all(|pair| pair[0] == pair[1]),
                "several sources need a `sha256`, or nothing says that they hold the same file"
            );
        }
        Ok(())
    }
}

impl Source {
    /// Whether it names a commit of the hub, whose content cannot change.
    fn is_pinned(&self) -> bool {
        let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        matches!(self, Self::Hub { revision, .. } if revision.len() == 40 && revision.bytes().all(is_hex))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Package { parts } => {
                let part = |part: &PackagePart| format!("{} {}", part.package, part.version);
                f.write_str(&parts.iter().map(part).collect::<Vec<_>>().join(" + "))
            }
            Self::Hub { repo, revision, file } => write!(f, "hub {repo}@{revision}/{file}"),
            Self::Path { path } => write!(f, "{}", path.display()),
        }
    }
}
