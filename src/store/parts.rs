//! Tables of several groups, a file each: `generations/` by model and `scores/` by scorer.
//!
//! Generations grow row by row. Work is appended as part files `<group>.part-00001.parquet`, each whole and renamed into
//! place. When a group is complete its rows are written in plan order as `<group>.parquet` and the parts go. Rows carry the
//! hash of the work they did, so a restart keeps what still applies and never mixes in what does not. A scorer's table has
//! no parts: it is written whole, from the work store.

use super::Fingerprint;
use super::rows::{GenerationRow, JudgeCheckRow, JudgementRow, Row, ScoreRow};
use super::table::{self, Stamp};
use anyhow::{Context, Result};
use rayon::prelude::*;
use std::collections::HashMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Rows after which a part is written at the latest: what a kill loses, beside the batch that is being computed.
const FLUSH_ROWS: usize = 256;

/// Time after which fewer rows are flushed too.
const FLUSH_AFTER: Duration = Duration::from_secs(2);

/// A row that knows which work it did.
pub trait WorkRow: Row + Clone {
    /// Task and model that the row is about.
    fn identity(&self) -> (&str, &str);
    /// Hash of the work.
    fn work_key(&self) -> &str;
    /// Whether the work failed.
    fn failed(&self) -> bool;
}

macro_rules! work_rows {
    ($($row:ty),*) => { $(impl WorkRow for $row {
        fn identity(&self) -> (&str, &str) {
            (&self.task_id, &self.model)
        }
        fn work_key(&self) -> &str {
            &self.work_key
        }
        fn failed(&self) -> bool {
            self.error.is_some()
        }
    })* };
}
work_rows!(GenerationRow, JudgeCheckRow, JudgementRow, ScoreRow);

/// One group of a growing table.
pub struct Group<R> {
    directory: PathBuf,
    /// The group's name as it stands in file names.
    stem: String,
    run: String,
    next_part: usize,
    pending: Vec<R>,
    flushed: Instant,
}

impl<R: WorkRow> Group<R> {
    /// Opens a group in the table's directory.
    pub fn open(directory: &Path, name: &str, run: &str) -> Result<Self> {
        std::fs::create_dir_all(directory).with_context(|| format!("cannot create `{}`", directory.display()))?;
        let mut group = Self {
            directory: directory.to_path_buf(),
            stem: file_stem(name),
            run: run.to_owned(),
            next_part: 1,
            pending: Vec::new(),
            flushed: Instant::now(),
        };
        let last = group.part_paths()?.into_iter().filter_map(|path| group.part_number(&path)).max();
        group.next_part = last.unwrap_or(0) + 1;
        Ok(group)
    }

    /// Path of the finished table.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.join(format!("{}.parquet", self.stem))
    }

    /// Whether the finished table was made from exactly this.
    pub fn is_complete(&self, stamp: &Stamp) -> Result<bool> {
        Ok(table::stamp(&self.path())?.as_ref() == Some(stamp))
    }

    /// Rows on disk by work key. Where a key occurs twice (a kill between the final rename and the clean-up), any will
    /// do: the same work gives the same row.
    pub fn existing(&self) -> Result<HashMap<String, R>> {
        let mut rows = HashMap::new();
        let finished = self.path();
        let paths = finished.exists().then_some(finished).into_iter().chain(self.part_paths()?);
        for path in paths {
            rows.extend(table::read::<R>(&path)?.into_iter().map(|row| (row.work_key().to_owned(), row)));
        }
        Ok(rows)
    }

    /// Adds finished rows; they reach the disk when enough of them or enough time has passed.
    pub fn append(&mut self, rows: impl IntoIterator<Item = R>) -> Result<()> {
        self.pending.extend(rows);
        if self.pending.len() >= FLUSH_ROWS || self.flushed.elapsed() >= FLUSH_AFTER { self.flush() } else { Ok(()) }
    }

    /// Writes the pending rows as a part.
    pub fn flush(&mut self) -> Result<()> {
        self.flushed = Instant::now();
        if self.pending.is_empty() {
            return Ok(());
        }
        let path = self.directory.join(format!("{}.part-{:05}.parquet", self.stem, self.next_part));
        table::write(&path, &self.pending, &Stamp { run: self.run.clone(), ..Stamp::default() })?;
        self.next_part += 1;
        self.pending.clear();
        Ok(())
    }

    /// Writes the finished table and removes the parts.
    pub fn finish(&mut self, rows: &[R], stamp: &Stamp) -> Result<()> {
        table::write(&self.path(), rows, stamp)?;
        self.pending.clear();
        self.remove_parts()
    }

    /// Removes part files: those of a finished table, or of work that the settings no longer ask for.
    pub fn remove_parts(&self) -> Result<()> {
        for path in self.part_paths()? {
            std::fs::remove_file(&path).with_context(|| format!("cannot remove `{}`", path.display()))?;
        }
        Ok(())
    }

    fn part_paths(&self) -> Result<Vec<PathBuf>> {
        let mut paths: Vec<PathBuf> =
            files(&self.directory)?.into_iter().filter(|path| self.part_number(path).is_some()).collect();
        paths.sort();
        Ok(paths)
    }

    fn part_number(&self, path: &Path) -> Option<usize> {
        let name = path.file_name()?.to_str()?;
        name.strip_prefix(&self.stem)?.strip_prefix(".part-")?.strip_suffix(".parquet")?.parse().ok()
    }
}

/// Hash of what rows hold: whose they are, the work they did, and whether it failed (a failed row that is tried again may not).
#[derive(Clone)]
pub struct Content {
    hash: Fingerprint,
    rows: usize,
    failed: usize,
}

impl Content {
    /// The hash of a table without rows.
    #[must_use]
    pub fn new<R: Row>() -> Self {
        Self { hash: Fingerprint::new(R::TABLE), rows: 0, failed: 0 }
    }

    /// Adds a row.
    pub fn add<R: WorkRow>(&mut self, row: &R) {
        let (task_id, model) = row.identity();
        self.rows += 1;
        self.failed += usize::from(row.failed());
        let failed = if row.failed() { "failed" } else { "done" };
        self.hash = std::mem::take(&mut self.hash).text(task_id, model).text(row.work_key(), failed);
    }

    /// Rows so far, and how many of them failed.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.rows, self.failed)
    }

    /// The hash in hex.
    #[must_use]
    pub fn finish(self) -> String {
        self.hash.finish()
    }
}

/// The hash of a whole table.
#[must_use]
pub fn content<R: WorkRow>(rows: &[R]) -> String {
    let mut content = Content::new::<R>();
    for row in rows {
        content.add(row);
    }
    content.finish()
}

/// Where the finished table of a group lies.
#[must_use]
pub fn group_path(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{}.parquet", file_stem(name)))
}

/// A group's name as a file name: imported model names may hold anything, so whatever is not plain is written as `%XX`.
/// A dot is not plain, for it separates the stem from what follows.
fn file_stem(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    name.bytes().fold(String::with_capacity(name.len()), |mut stem, byte| {
        if plain(byte) {
            stem.push(char::from(byte));
        } else {
            let _ = write!(stem, "%{byte:02X}");
        }
        stem
    })
}

/// Reads the finished groups of a table, in the given order.
pub fn read_groups<R: Row + Send>(directory: &Path, names: &[String]) -> Result<Vec<R>> {
    let groups: Vec<Vec<R>> =
        names.par_iter().map(|name| table::read::<R>(&group_path(directory, name))).collect::<Result<_>>()?;
    let mut rows = Vec::with_capacity(groups.iter().map(Vec::len).sum());
    for group in groups {
        rows.extend(group);
    }
    Ok(rows)
}

/// File stems of the finished groups of a table, sorted.
pub fn finished_groups(directory: &Path) -> Result<Vec<String>> {
    let name = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?.strip_suffix(".parquet")?;
        (!name.contains(".part-")).then(|| name.to_owned())
    };
    let mut names: Vec<String> = files(directory)?.iter().filter_map(name).collect();
    names.sort();
    Ok(names)
}

/// Removes groups that are no longer part of the run, so that a glob over the directory reads only what belongs.
pub fn remove_other_groups(directory: &Path, keep: &[String]) -> Result<Vec<String>> {
    let keep: Vec<String> = keep.iter().map(|name| file_stem(name)).collect();
    let mut removed = Vec::new();
    for path in files(directory)? {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let Some(stem) = name.strip_suffix(".parquet") else { continue };
        let group = stem.split(".part-").next().unwrap_or(stem).to_owned();
        if !keep.contains(&group) {
            std::fs::remove_file(&path).with_context(|| format!("cannot remove `{}`", path.display()))?;
            removed.push(group);
        }
    }
    removed.dedup();
    Ok(removed)
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    if !directory.exists() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(directory).with_context(|| format!("cannot list `{}`", directory.display()))?;
    entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()
        .with_context(|| format!("cannot list `{}`", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;

    fn row(key: &str) -> ScoreRow {
        ScoreRow { work_key: key.into(), ..samples::score("t", "m", "f1", Some(5.0)) }
    }

    #[test]
    fn parts_survive_and_become_one_table() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let mut group = Group::open(directory.path(), "f1", "run").expect("opens");
        group.append([row("a")]).expect("appends");
        group.flush().expect("flushes");
        drop(group);

        let mut group = Group::open(directory.path(), "f1", "run").expect("opens again");
        assert_eq!(group.existing().expect("reads").keys().collect::<Vec<_>>(), ["a"]);
        group.append([row("b")]).expect("appends");
        group.flush().expect("flushes");
        let stamp = Stamp { run: "run".into(), fingerprint: "x".into(), inputs: "y".into(), ..Stamp::default() };
        assert!(!group.is_complete(&stamp).expect("reads"));
        group.finish(&[row("b"), row("a")], &stamp).expect("finishes");
        assert!(group.is_complete(&stamp).expect("reads"));
        assert_eq!(finished_groups(directory.path()).expect("lists"), ["f1"]);
        let keys: Vec<String> = read_groups::<ScoreRow>(directory.path(), &["f1".into()])
            .expect("reads")
            .into_iter()
            .map(|row| row.work_key)
            .collect();
        assert_eq!(keys, ["b", "a"], "plan order, not arrival order");
    }

    #[test]
    fn any_name_is_one_file_in_the_directory() {
        let directory = Path::new("d");
        for name in ["meta/llama-3", "../../etc/passwd", "a.part-00001", "gpt 4o", "模型"] {
            let path = group_path(directory, name);
            assert_eq!(path.parent(), Some(directory), "{name}");
            assert!(!path.to_string_lossy().contains(".part-"), "{name}");
        }
        assert_ne!(group_path(directory, "a/b"), group_path(directory, "a%2Fb"));
        assert_eq!(group_path(directory, "smollm2_135m"), Path::new("d/smollm2_135m.parquet"));
    }

    #[test]
    fn groups_that_left_the_run_are_removed() {
        let directory = tempfile::tempdir().expect("temporary directory");
        for name in ["old", "kept"] {
            Group::open(directory.path(), name, "run")
                .expect("opens")
                .finish(&[row("a")], &Stamp::default())
                .expect("finishes");
        }
        assert_eq!(remove_other_groups(directory.path(), &["kept".into()]).expect("removes"), ["old"]);
        assert_eq!(finished_groups(directory.path()).expect("lists"), ["kept"]);
    }
}
