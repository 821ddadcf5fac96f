//! Finished pieces of evaluator work, by the hash of what was read: the vector of a text, the logits of a pair.
//!
//! One file per evaluator in `results/<run>/work/`. It is what makes a text that many rows share, or that an earlier call
//! has read, be read once; what a killed run goes on from; and what keeps memory flat, for only a small cache of it is
//! in memory. Deleting it costs nothing but time.

use anyhow::{Context, Result, anyhow, bail};
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use std::path::Path;

/// Hash of a piece of work.
pub type WorkKey = [u8; 16];

/// Pages of the file that are kept in memory. The inner nodes of a million entries fit; the leaves are left to the
/// operating system.
const CACHE_BYTES: usize = 2 << 20;

const WORK: TableDefinition<&WorkKey, &[u8]> = TableDefinition::new("work");
const FAILED: TableDefinition<&WorkKey, ()> = TableDefinition::new("failed");

/// Version of the encoding of an entry.
const VERSION: u8 = 1;

/// A finished piece of work, with what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    /// What the graph returned for it, or why it returned nothing.
    pub result: Result<Vec<f32>, String>,
    /// What it took.
    pub trace: Trace,
}

/// What one piece of work took and read.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Trace {
    /// Tokens read.
    pub tokens: u32,
    /// Whether the tokenizer cut the text.
    pub truncated: bool,
    /// Time spent tokenising, in ms.
    pub tokenise_ms: f64,
    /// Time between tokenising and inference, in ms.
    pub queue_ms: f64,
    /// Inference time of the batch divided by its rows, in ms.
    pub infer_ms: f64,
}

/// The file.
pub struct WorkStore {
    database: Database,
}

impl WorkStore {
    /// Opens or makes the file.
    pub fn open(path: &Path) -> Result<Self> {
        let open = || -> Result<Self> {
            if let Some(directory) = path.parent() {
                std::fs::create_dir_all(directory)?;
            }
            let builder = || {
                let mut builder = Database::builder();
                builder.set_cache_size(CACHE_BYTES);
                builder
            };
            if path.exists() {
                return Ok(Self { database: builder().open(path)? });
            }
            // A kill while the file is being made would leave one that is no database: it gets its name when it is one.
            let unfinished = path.with_extension("redb.new");
            if unfinished.exists() {
                std::fs::remove_file(&unfinished)?;
            }
            let database = builder().create(&unfinished)?;
            let transaction = database.begin_write()?;
            transaction.open_table(WORK)?;
            transaction.open_table(FAILED)?;
            transaction.commit()?;
            std::fs::rename(&unfinished, path)?;
            Ok(Self { database })
        };
        open().with_context(|| {
            format!("cannot open `{}`\nhint: it may be deleted; what it holds is then computed again", path.display())
        })
    }

    /// A view of the file as it is now.
    pub fn read(&self) -> Result<WorkReader> {
        let transaction = self.database.begin_read()?;
        Ok(WorkReader { work: transaction.open_table(WORK)? })
    }

    /// Adds finished work. Others see it at once; it survives a kill from the next durable call on, and a kill loses what
    /// came after the last one and nothing else.
    pub fn add(&self, finished: &[(WorkKey, Work)], durable: bool) -> Result<()> {
        let write = || -> Result<()> {
            let mut transaction = self.database.begin_write()?;
            transaction.set_durability(if durable { Durability::Immediate } else { Durability::None })?;
            {
                let mut work = transaction.open_table(WORK)?;
                let mut failed = transaction.open_table(FAILED)?;
                for (key, entry) in finished {
                    work.insert(key, encode(entry).as_slice())?;
                    if entry.result.is_err() {
                        failed.insert(key, ())?;
                    }
                }
            }
            transaction.commit()?;
            Ok(())
        };
        write().context("cannot write finished work; what was finished before is kept")
    }

    /// Forgets work that failed, so that it is tried again; returns how much.
    pub fn forget_failed(&self) -> Result<usize> {
        let transaction = self.database.begin_write()?;
        let mut count = 0;
        {
            let mut work = transaction.open_table(WORK)?;
            let mut failed = transaction.open_table(FAILED)?;
            let keys: Vec<WorkKey> = failed.iter()?.map(|entry| Ok(*entry?.0.value())).collect::<Result<_>>()?;
            for key in &keys {
                work.remove(key)?;
                failed.remove(key)?;
                count += 1;
            }
        }
        transaction.commit()?;
        Ok(count)
    }
}

/// A view of the file at one moment.
pub struct WorkReader {
    work: redb::ReadOnlyTable<&'static WorkKey, &'static [u8]>,
}

impl WorkReader {
    /// Whether a piece of work is there.
    pub fn contains(&self, key: &WorkKey) -> Result<bool> {
        Ok(self.work.get(key)?.is_some())
    }

    /// A piece of work, if it is there.
    pub fn get(&self, key: &WorkKey) -> Result<Option<Work>> {
        self.work.get(key)?.map(|entry| decode(entry.value())).transpose()
    }
}

/// Little-endian: version, flags (1 truncated, 2 failed), tokens, three times, then the values or the error's text.
fn encode(work: &Work) -> Vec<u8> {
    let Trace { tokens, truncated, tokenise_ms, queue_ms, infer_ms } = work.trace;
    let mut bytes = vec![VERSION, u8::from(truncated) | u8::from(work.result.is_err()) << 1];
    bytes.extend(tokens.to_le_bytes());
    for time in [tokenise_ms, queue_ms, infer_ms] {
        bytes.extend(time.to_le_bytes());
    }
    match &work.result {
        Ok(values) => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
        Err(error) => bytes.extend(error.as_bytes()),
    }
    bytes
}

fn decode(bytes: &[u8]) -> Result<Work> {
    let damaged = || anyhow!("an entry of the finished work is damaged\nhint: delete `work/` in the run's directory");
    let (head, rest) = bytes.split_at_checked(2).ok_or_else(damaged)?;
    if head[0] != VERSION {
        bail!("the finished work was written by another poq\nhint: delete `work/` in the run's directory");
    }
    let (tokens, rest) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
    let mut times = [0.0; 3];
    let mut rest = rest;
    for time in &mut times {
        let (bytes, after) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
        (*time, rest) = (f64::from_le_bytes(*bytes), after);
    }
    let result = if head[1] & 2 == 0 {
        let (values, left) = rest.as_chunks::<4>();
        if !left.is_empty() {
            return Err(damaged());
        }
        Ok(values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    } else {
        Err(String::from_utf8(rest.to_vec()).map_err(|_| damaged())?)
    };
    let [tokenise_ms, queue_ms, infer_ms] = times;
    let trace =
        Trace { tokens: u32::from_le_bytes(*tokens), truncated: head[1] & 1 == 1, tokenise_ms, queue_ms, infer_ms };
    Ok(Work { result, trace })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_a_kill_left_unfinished_is_made_again() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("work.redb");
        std::fs::write(path.with_extension("redb.new"), [0_u8; 100]).expect("write");
        drop(WorkStore::open(&path).expect("made"));
        assert!(path.exists() && !path.with_extension("redb.new").exists());
        WorkStore::open(&path).expect("opened again").read().expect("its tables are there");
    }

    fn work(result: Result<Vec<f32>, String>) -> Work {
        let trace = Trace { tokens: 7, truncated: true, tokenise_ms: 0.25, queue_ms: 1e-9, infer_ms: 3.5 };
        Work { result, trace }
    }

    #[test]
    fn work_survives_the_disk_bit_by_bit() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("work/m.redb");
        let entries = [
            ([1; 16], work(Ok(vec![0.1, -f32::MIN_POSITIVE, 3e38]))),
            ([2; 16], work(Ok(Vec::new()))),
            ([3; 16], work(Err("naïve".into()))),
        ];
        let store = WorkStore::open(&path).expect("opens");
        store.add(&entries[..1], false).expect("adds");
        store.add(&entries[1..], true).expect("adds");
        drop(store);
        let store = WorkStore::open(&path).expect("opens again");
        let reader = store.read().expect("reads");
        for (key, expected) in &entries {
            assert_eq!(reader.get(key).expect("reads").as_ref(), Some(expected));
        }
        assert!(!reader.contains(&[9; 16]).expect("reads"));
        assert_eq!(store.forget_failed().expect("forgets"), 1);
        let reader = store.read().expect("reads");
        assert!(!reader.contains(&[3; 16]).expect("reads") && reader.contains(&[1; 16]).expect("reads"));
        assert_eq!(store.forget_failed().expect("forgets"), 0);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("m.redb");
        std::fs::write(&path, b"something else altogether").expect("write");
        let error = format!("{:#}", WorkStore::open(&path).err().expect("refused"));
        assert!(error.contains("m.redb") && error.contains("may be deleted"), "{error}");
        assert!(decode(&[1, 0, 3]).is_err() && decode(&[9; 40]).is_err());
    }
}
