//! `datasets/registry.toml`: which data sets there are, how each is read, and where its file comes from.
//!
//! Files that are not shipped are fetched by `export/`, which reads the same file; here a missing one is an error that says
//! how to get it.

use super::TaskType;
use crate::digest::sha256_file;
use crate::settings::{Data, DataSet};
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Version of the registry's schema that this build reads.
pub const SCHEMA_VERSION: u32 = 1;

/// The registry and the folder it stands in.
#[derive(Debug, Clone)]
pub struct Registry {
    /// Folder of the registry file.
    pub directory: PathBuf,
    /// Every data set, in file order.
    pub datasets: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegistryFile {
    schema_version: u32,
    #[serde(default, rename = "dataset")]
    datasets: Vec<Entry>,
}

/// One data set of the registry.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What experiments call it.
    pub key: String,
    /// How its file is read.
    pub format: Format,
    /// What its records ask for.
    pub task_type: TaskType,
    /// Its file, relative to the registry's folder.
    pub path: PathBuf,
    /// Hash of the file in lower-case hex; a file is held to it when it is given.
    pub sha256: Option<String>,
    /// SPDX expression.
    pub licence: String,
    /// Where the file comes from: an address, or words.
    pub source: String,
    /// Places that `export/` fetches the file from, tried in order.
    #[serde(default)]
    pub fetch: Vec<Fetch>,
    /// Version of the data.
    pub version: String,
}

/// A place to fetch a data set's file from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fetch {
    /// A file of a repository of data sets on the hub.
    Hub {
        /// Repository.
        repo: String,
        /// Pinned revision.
        revision: String,
        /// File in it.
        file: String,
    },
    /// A file at an address.
    Url {
        /// The address.
        url: String,
    },
}

/// File format of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// `SQuAD` v1.1: the official JSON, or the hub's columns `id`, `context`, `question` and `answers` in Parquet.
    Squad,
    /// The hub's columns `article`, `highlights` and `id`, as JSON lines or Parquet.
    CnnDailymail,
}

impl Registry {
    /// Reads and checks `<directory>/registry.toml`.
    pub fn open(directory: &Path) -> Result<Self> {
        let path = directory.join("registry.toml");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("cannot read the registry of data sets `{}`", path.display()))?;
        let invalid = || format!("`{}` is not a valid registry of data sets", path.display());
        let file: RegistryFile = toml::from_str(&text).with_context(invalid)?;
        ensure!(
            file.schema_version == SCHEMA_VERSION,
            "`{}` has schema version {}, this poq reads version {SCHEMA_VERSION}",
            path.display(),
            file.schema_version
        );
        for (i, entry) in file.datasets.iter().enumerate() {
            ensure!(
                file.datasets[..i].iter().all(|other| other.key != entry.key),
                "`{}` has two data sets with the key `{}`",
                path.display(),
                entry.key
            );
            entry.check().with_context(|| format!("data set `{}` in `{}`", entry.key, path.display()))?;
        }
        Ok(Self { directory: directory.to_path_buf(), datasets: file.datasets })
    }

    /// The data set with this key, or an error that lists the keys there are.
    pub fn get(&self, key: &str) -> Result<&Entry> {
        let Some(entry) = self.datasets.iter().find(|entry| entry.key == key) else {
            let known: Vec<&str> = self.datasets.iter().map(|entry| entry.key.as_str()).collect();
            bail!("unknown data set `{key}`; the registry knows: {}", known.join(", "));
        };
        Ok(entry)
    }

    /// SHA-256 of the file of every data set that an experiment names, by key.
    pub fn hashes(&self, data: &Data) -> Result<BTreeMap<String, String>> {
        let hash = |set: &DataSet| Ok((set.dataset.clone(), sha256_file(&self.file(self.get(&set.dataset)?)?)?));
        data.sets.iter().map(hash).collect()
    }

    /// Path of a data set's file, which is there and has the hash that the registry gives.
    pub fn file(&self, entry: &Entry) -> Result<PathBuf> {
        let path = self.directory.join(&entry.path);
        ensure!(
            path.is_file(),
            "data set `{}` needs `{}`, which is not there\nhint: {}",
            entry.key,
            path.display(),
            entry.how_to_get()
        );
        if let Some(expected) = &entry.sha256 {
            let found = sha256_file(&path)?;
            ensure!(
                &found == expected,
                "`{}` is not the file that data set `{}` names: its sha256 is {found}, the registry says {expected}\n\
                 hint: {}",
                path.display(),
                entry.key,
                entry.how_to_get()
            );
        }
        Ok(path)
    }
}

impl Entry {
    fn how_to_get(&self) -> String {
        let by_hand = format!("get it from {}", self.source);
        if self.fetch.is_empty() {
            return by_hand;
        }
        format!("`just reproduce NAME` brings the data sets of experiments/NAME.toml; or {by_hand}")
    }

    fn check(&self) -> Result<()> {
        ensure!(!self.key.is_empty(), "`key` is empty");
        ensure!(self.path.is_relative(), "`path` must be relative to the registry; it is `{}`", self.path.display());
        if let Some(hash) = &self.sha256 {
            let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            ensure!(hash.len() == 64 && hash.bytes().all(is_hex), "`sha256` must be 64 lower-case hex digits");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        schema_version = 1
        [[dataset]]
        key = "tiny"
        format = "squad"
        task_type = "qa"
        path = "tiny.json"
        licence = "MIT"
        source = "https://example.org/tiny.json"
        version = "1"
    "#;

    fn open(text: &str) -> (tempfile::TempDir, Result<Registry>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("registry.toml"), text).unwrap();
        let registry = Registry::open(dir.path());
        (dir, registry)
    }

    fn refusal(text: &str) -> String {
        format!("{:#}", open(text).1.unwrap_err())
    }

    #[test]
    fn the_shipped_registry_is_valid() {
        let registry = Registry::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets")).unwrap();
        let keys: Vec<&str> = registry.datasets.iter().map(|e| e.key.as_str()).collect();
        assert_eq!(
            keys,
            ["quick_squad", "quick_news", "squad_v1_1_dev", "squad_v1_1_dev_parquet", "cnn_dailymail_3_0_0_test"]
        );
    }

    #[test]
    fn mistakes_in_the_registry_are_named() {
        assert!(refusal(&GOOD.replace("version = \"1\"", "versoin = \"1\"")).contains("versoin"));
        assert!(refusal(&GOOD.replace("\"squad\"", "\"csv\"")).contains("csv"));
        assert!(refusal(&GOOD.replace("\"qa\"", "\"chat\"")).contains("chat"));
        assert!(refusal(&GOOD.replace("schema_version = 1", "schema_version = 9")).contains("schema version 9"));
        assert!(refusal(&GOOD.replace("\"tiny.json\"", "\"/tiny.json\"")).contains("`path`"));
        let hash = refusal(&GOOD.replace("licence", "sha256 = \"XYZ\"\nlicence"));
        assert!(hash.contains("data set `tiny`") && hash.contains("`sha256`"), "{hash}");
        let twice = format!("{GOOD}{}", GOOD.replace("schema_version = 1", ""));
        assert!(refusal(&twice).contains("two data sets with the key `tiny`"));
        let error = Registry::open(Path::new("/no/such")).unwrap_err();
        assert!(error.to_string().contains("/no/such/registry.toml"), "{error}");
    }

    #[test]
    fn places_to_fetch_from_are_read_and_named() {
        let fetch = "[[dataset.fetch]]\nkind = \"hub\"\nrepo = \"a/b\"\nrevision = \"0\"\nfile = \"c.parquet\"\n\
            [[dataset.fetch]]\nkind = \"url\"\nurl = \"https://example.org/b\"\n";
        let (_dir, registry) = open(&format!("{GOOD}{fetch}"));
        let registry = registry.unwrap();
        let entry = &registry.datasets[0];
        assert_eq!(entry.fetch[1], Fetch::Url { url: "https://example.org/b".into() });
        let error = registry.file(entry).unwrap_err().to_string();
        assert!(error.contains("`just reproduce NAME`"), "{error}");
        assert!(refusal(&format!("{GOOD}{}", fetch.replace("repo", "repository"))).contains("repository"));
        assert!(refusal(&format!("{GOOD}{}", fetch.replace("\"url\"\n", "\"ftp\"\n"))).contains("ftp"));
    }

    #[test]
    fn an_unknown_key_lists_the_known_ones() {
        let (_dir, registry) = open(GOOD);
        let error = registry.unwrap().get("big").unwrap_err().to_string();
        assert!(error.contains("`big`") && error.contains("tiny"), "{error}");
    }

    #[test]
    fn a_missing_file_is_named_with_its_source() {
        let (_dir, registry) = open(GOOD);
        let registry = registry.unwrap();
        let error = registry.file(&registry.datasets[0]).unwrap_err().to_string();
        assert!(error.contains("tiny.json") && error.contains("https://example.org/tiny.json"), "{error}");
    }

    #[test]
    fn a_file_is_held_to_its_hash() {
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let (dir, registry) = open(&GOOD.replace("licence", &format!("sha256 = \"{hash}\"\nlicence")));
        let registry = registry.unwrap();
        let path = dir.path().join("tiny.json");
        std::fs::write(&path, "abc").unwrap();
        assert_eq!(registry.file(&registry.datasets[0]).unwrap(), path);
        std::fs::write(&path, "abcd").unwrap();
        let error = registry.file(&registry.datasets[0]).unwrap_err().to_string();
        assert!(error.contains(hash) && error.contains("tiny.json"), "{error}");
    }
}
