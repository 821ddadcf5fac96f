//! Tables whose columns are known only when they are made, and which may be larger than memory: computed in numbered parts,
//! each a file of its own, and joined batch by batch at the end.

use super::table::{self, Stamp};
use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows that are held together while a table is read.
const BATCH_ROWS: usize = 8192;

/// The parts of a table. Each carries the stamp of its own work, so that a later call knows which of them are done.
pub struct Parts {
    directory: PathBuf,
    stamps: Vec<Stamp>,
    finished: Vec<bool>,
}

impl Parts {
    /// Opens the directory of a table's parts, one for each stamp. Parts of other work are removed; what is no part stays.
    pub fn open(directory: &Path, stamps: Vec<Stamp>) -> Result<Self> {
        std::fs::create_dir_all(directory).with_context(|| format!("cannot create `{}`", directory.display()))?;
        let mut parts = Self { directory: directory.to_owned(), finished: vec![false; stamps.len()], stamps };
        let listed = || format!("cannot list `{}`", directory.display());
        for entry in std::fs::read_dir(directory).with_context(listed)? {
            let path = entry.with_context(listed)?.path();
            // What cannot be read is as good as not there.
            match parts.number(&path).filter(|&part| is_made_from(&path, &parts.stamps[part])) {
                Some(part) => parts.finished[part] = true,
                None if is_part(&path) => remove_file(&path)?,
                None => {}
            }
        }
        Ok(parts)
    }

    /// Whether a part is done.
    #[must_use]
    pub fn is_finished(&self, part: usize) -> bool {
        self.finished[part]
    }

    /// Writes a part, whole or not at all.
    pub fn write(&mut self, part: usize, table: &str, batch: &RecordBatch) -> Result<()> {
        table::write_batch(&self.path(part), table, batch, &self.stamps[part])?;
        self.finished[part] = true;
        Ok(())
    }

    /// Makes one table of all parts, in their order, and removes them.
    pub fn join(self, path: &Path, table: &str, stamp: &Stamp) -> Result<()> {
        let paths: Vec<PathBuf> = (0..self.stamps.len()).map(|part| self.path(part)).collect();
        concatenate(&paths, path, table, stamp)?;
        remove(&self.directory)
    }

    fn path(&self, part: usize) -> PathBuf {
        self.directory.join(format!("part-{:05}.parquet", part + 1))
    }

    fn number(&self, path: &Path) -> Option<usize> {
        let number: usize = digits(path.file_name()?.to_str()?)?.parse().ok()?;
        let part = number.checked_sub(1).filter(|&part| part < self.stamps.len())?;
        (self.path(part) == path).then_some(part)
    }
}

fn is_made_from(path: &Path, stamp: &Stamp) -> bool {
    table::stamp(path).is_ok_and(|found| found.as_ref() == Some(stamp))
}

/// The number in a part's name, as it is written there.
fn digits(name: &str) -> Option<&str> {
    let digits = name.strip_prefix("part-")?.strip_suffix(".parquet")?;
    (digits.len() >= 5 && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(digits)
}

/// Whether a file is a part, or one that was being written, by its name.
fn is_part(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    digits(name.strip_suffix(".tmp").unwrap_or(name)).is_some()
}

/// Removes the parts in a directory, if there is one, and the directory with them unless something else is in it.
pub fn remove(directory: &Path) -> Result<()> {
    let cannot = || format!("cannot remove `{}`", directory.display());
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(cannot)?,
    };
    for entry in entries {
        let path = entry.with_context(cannot)?.path();
        if is_part(&path) {
            remove_file(&path)?;
        }
    }
    remove_if_empty(directory)
}

/// Removes a directory, if there is one and nothing is in it.
pub fn remove_if_empty(directory: &Path) -> Result<()> {
    match std::fs::remove_dir(directory) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
            Err(error).with_context(|| format!("cannot remove `{}`", directory.display()))
        }
        _ => Ok(()),
    }
}

fn remove_file(path: &Path) -> Result<()> {
    std::fs::remove_file(path).with_context(|| format!("cannot remove `{}`", path.display()))
}

/// Visits a table's rows in order, batch by batch; of its columns those that are named, in the table's order.
pub fn for_each(path: &Path, columns: &[&str], mut visit: impl FnMut(&RecordBatch) -> Result<()>) -> Result<()> {
    let (_, batches) = open(path, Some(columns))?;
    for batch in batches {
        visit(&batch.with_context(|| format!("`{}` is damaged", path.display()))?)?;
    }
    Ok(())
}

/// Visits a table's rows in order, batch by batch, with all of their columns.
pub fn for_each_whole(path: &Path, mut visit: impl FnMut(&RecordBatch) -> Result<()>) -> Result<()> {
    let (_, batches) = open(path, None)?;
    for batch in batches {
        visit(&batch.with_context(|| format!("`{}` is damaged", path.display()))?)?;
    }
    Ok(())
}

/// One table of several with the same columns, under its name once it is whole and on disk.
fn concatenate(parts: &[PathBuf], path: &Path, table: &str, stamp: &Stamp) -> Result<()> {
    table::write_whole(path, |temporary| append_all(parts, temporary, table, stamp))
}

fn append_all(parts: &[PathBuf], path: &Path, table: &str, stamp: &Stamp) -> Result<()> {
    let first = parts.first().context("a table has at least one part; this is a bug")?;
    let (schema, _) = open(first, None)?;
    let file = File::create(path)?;
    let mut writer = ArrowWriter::try_new(file.try_clone()?, schema.clone(), Some(table::properties()))?;
    for part in parts {
        let (_, batches) = open(part, None)?;
        for batch in batches {
            let batch = batch.with_context(|| format!("`{}` is damaged", part.display()))?;
            let batch = RecordBatch::try_new(schema.clone(), batch.columns().to_vec())
                .with_context(|| format!("`{}` has other columns than the part before it", part.display()))?;
            writer.write(&batch)?;
        }
    }
    for entry in table::metadata_of(table, stamp) {
        writer.append_key_value_metadata(entry);
    }
    writer.close()?;
    file.sync_all()?;
    Ok(())
}

/// The columns of a table, without what its metadata says, and its batches.
fn open(path: &Path, columns: Option<&[&str]>) -> Result<(SchemaRef, ParquetRecordBatchReader)> {
    let reader = table::open(path)?;
    table::check_version(path, &reader)?;
    let schema = Arc::new(Schema::new(reader.schema().fields().clone()));
    let mask = columns.map_or_else(ProjectionMask::all, |columns| {
        ProjectionMask::columns(reader.parquet_schema(), columns.iter().copied())
    });
    let batches = reader
        .with_projection(mask)
        .with_batch_size(BATCH_ROWS)
        .build()
        .with_context(|| format!("cannot read `{}`", path.display()))?;
    Ok((schema, batches))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, AsArray, Float64Array, StringArray};
    use arrow::datatypes::Float64Type;

    fn stamp(fingerprint: &str) -> Stamp {
        Stamp { run: "r".into(), fingerprint: fingerprint.into(), inputs: "i".into(), ..Stamp::default() }
    }

    fn batch(rows: std::ops::Range<u32>) -> RecordBatch {
        let names: StringArray = rows.clone().map(|row| (row % 3 > 0).then(|| format!("n{}", row % 3))).collect();
        let values: Float64Array = rows.map(|row| (row % 7 > 0).then(|| f64::from(row))).collect();
        let columns: [(&str, ArrayRef); 2] = [("name", Arc::new(names)), ("value", Arc::new(values))];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, values)| (name, values, true))).expect("a batch")
    }

    fn values(path: &Path) -> Vec<Option<f64>> {
        let mut values = Vec::new();
        for_each(path, &["value"], |batch| {
            assert_eq!(batch.num_columns(), 1, "only what was asked for is read");
            values.extend(batch.column(0).as_primitive::<Float64Type>());
            Ok(())
        })
        .expect("reads");
        values
    }

    #[test]
    fn parts_become_one_table_whenever_they_were_made() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let (parts_at, path) = (directory.path().join("p"), directory.path().join("p.parquet"));
        let stamps = || ["a", "b", "c"].map(stamp).to_vec();
        let mut parts = Parts::open(&parts_at, stamps()).expect("opens");
        parts.write(2, "t", &batch(30_000..30_100)).expect("writes");
        parts.write(0, "t", &batch(0..20_000)).expect("writes");
        drop(parts);
        std::fs::write(parts_at.join("part-00002.parquet.tmp"), "half").expect("write");
        std::fs::write(parts_at.join("part-00009.parquet"), "foreign").expect("write");

        let mut parts = Parts::open(&parts_at, stamps()).expect("opens again");
        assert_eq!([0, 1, 2].map(|part| parts.is_finished(part)), [true, false, true]);
        parts.write(1, "t", &batch(20_000..30_000)).expect("writes");
        parts.join(&path, "t", &stamp("whole")).expect("joins");
        let expected: Vec<Option<f64>> = (0..30_100).map(|row| (row % 7 > 0).then(|| f64::from(row))).collect();
        assert_eq!(values(&path), expected);
        assert_eq!(table::stamp(&path).expect("reads"), Some(stamp("whole")));
        assert_eq!(std::fs::read_dir(directory.path()).expect("list").count(), 1, "nothing but the table stays");
    }

    #[test]
    fn parts_of_other_work_go() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let mut parts = Parts::open(directory.path(), vec![stamp("a"), stamp("b")]).expect("opens");
        parts.write(0, "t", &batch(0..5)).expect("writes");
        parts.write(1, "t", &batch(5..9)).expect("writes");
        let parts = Parts::open(directory.path(), vec![stamp("a"), stamp("changed")]).expect("opens");
        assert_eq!([0, 1].map(|part| parts.is_finished(part)), [true, false]);
        assert_eq!(std::fs::read_dir(directory.path()).expect("list").count(), 1);
    }

    #[test]
    fn what_is_no_part_stays() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let own = ["notes.txt", "part-1.parquet", "part-00001.parquet.bak", "part-first.parquet"];
        for name in own {
            std::fs::write(directory.path().join(name), "mine").expect("write");
        }
        let path = directory.path().join("t.parquet");
        for work in ["a", "b"] {
            let mut parts = Parts::open(directory.path(), vec![stamp(work)]).expect("opens");
            parts.write(0, "t", &batch(0..5)).expect("writes");
            std::fs::write(directory.path().join("part-00002.parquet.tmp"), "half").expect("write");
            parts.join(&path, "t", &stamp("whole")).expect("joins");
            assert_eq!(std::fs::read_dir(directory.path()).expect("list").count(), own.len() + 1);
        }
        std::fs::remove_file(&path).expect("remove");
        remove(directory.path()).expect("leaves them alone");
        assert!(own.iter().all(|name| directory.path().join(name).exists()));
        remove(&directory.path().join("nowhere")).expect("nothing to do");
    }
}
