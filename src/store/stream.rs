//! Tables row by row, for those that may be larger than memory: a reader and a writer that hold a chunk of rows each.

use super::rows::Row;
use super::table::{self, Stamp, Unfinished, failed, fields};
use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::arrow::{ArrowWriter, ProjectionMask};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows that are turned into columns, or back, together.
const CHUNK_ROWS: usize = 1024;

/// Reads a table's rows in order, and of its columns only those that the row type has.
pub struct Reader<R> {
    path: PathBuf,
    batches: ParquetRecordBatchReader,
    rows: std::vec::IntoIter<R>,
    total: usize,
}

impl<R: Row> Reader<R> {
    /// Opens a table.
    pub fn open(path: &Path) -> Result<Self> {
        let reader = table::open(path)?;
        table::check_version(path, &reader)?;
        let total = usize::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or(0);
        let names: Vec<String> = fields::<R>()?.iter().map(|field| field.name().clone()).collect();
        let columns = ProjectionMask::columns(reader.parquet_schema(), names.iter().map(String::as_str));
        let batches = reader
            .with_projection(columns)
            .with_batch_size(CHUNK_ROWS)
            .build()
            .with_context(|| format!("cannot read `{}`", path.display()))?;
        Ok(Self { path: path.to_owned(), batches, rows: Vec::new().into_iter(), total })
    }

    /// Rows of the whole table.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }

    fn refill(&mut self) -> Result<bool> {
        let Some(batch) = self.batches.next() else { return Ok(false) };
        let batch = batch.with_context(|| format!("`{}` is damaged", self.path.display()))?;
        self.rows = table::rows_of::<R>(&self.path, &batch)?.into_iter();
        Ok(true)
    }
}

impl<R: Row> Iterator for Reader<R> {
    type Item = Result<R>;

    fn next(&mut self) -> Option<Result<R>> {
        loop {
            if let Some(row) = self.rows.next() {
                return Some(Ok(row));
            }
            match self.refill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Writes a table row by row, under a temporary name until it is finished; a table that is not finished leaves no file.
pub struct Writer<R> {
    path: PathBuf,
    fields: Vec<FieldRef>,
    file: File,
    arrow: ArrowWriter<File>,
    pending: Vec<R>,
    unfinished: Unfinished,
}

impl<R: Row> Writer<R> {
    /// Begins a table; what lies under its name stays until [`Writer::finish`].
    pub fn create(path: &Path) -> Result<Self> {
        let create = || -> Result<Self> {
            if let Some(directory) = path.parent() {
                std::fs::create_dir_all(directory)?;
            }
            let fields = fields::<R>()?;
            let unfinished = Unfinished::of(path);
            let file = File::create(&unfinished.0)?;
            let schema = Arc::new(Schema::new(fields.clone()));
            let arrow = ArrowWriter::try_new(file.try_clone()?, schema, Some(table::properties()))?;
            let pending = Vec::with_capacity(CHUNK_ROWS);
            Ok(Self { path: path.to_owned(), fields, file, arrow, pending, unfinished })
        };
        create().with_context(|| failed(path))
    }

    /// Adds a row.
    pub fn push(&mut self, row: R) -> Result<()> {
        self.pending.push(row);
        if self.pending.len() >= CHUNK_ROWS { self.write_pending() } else { Ok(()) }
    }

    /// Writes the rest with its stamp, brings it to the disk and gives it its name.
    pub fn finish(mut self, stamp: &Stamp) -> Result<()> {
        self.write_pending()?;
        let Self { path, file, mut arrow, unfinished, .. } = self;
        let finish = || -> Result<()> {
            for entry in table::metadata_of(R::TABLE, stamp) {
                arrow.append_key_value_metadata(entry);
            }
            arrow.close()?;
            file.sync_all()?;
            unfinished.rename(&path)
        };
        finish().with_context(|| failed(&path))
    }

    fn write_pending(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let batch: RecordBatch = serde_arrow::to_record_batch(&self.fields, &self.pending)
            .with_context(|| format!("table `{}`", R::TABLE))?;
        self.pending.clear();
        self.arrow.write(&batch).with_context(|| failed(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::rows::TaskRow;
    use crate::store::samples;

    fn task(i: usize) -> TaskRow {
        TaskRow { input: "x".repeat(i % 50), ..samples::task(&i.to_string()) }
    }

    #[test]
    fn rows_keep_their_order_over_many_chunks() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("tasks.parquet");
        let stamp = Stamp { run: "r".into(), fingerprint: "f".into(), inputs: "i".into(), ..Stamp::default() };
        for count in [0, 1, CHUNK_ROWS, 3 * CHUNK_ROWS + 7] {
            let mut writer = Writer::create(&path).expect("begins");
            for i in 0..count {
                writer.push(task(i)).expect("adds");
            }
            writer.finish(&stamp).expect("finishes");
            let reader = Reader::<TaskRow>::open(&path).expect("opens");
            assert_eq!(reader.total(), count);
            let rows: Vec<TaskRow> = reader.map(|row| row.expect("reads")).collect();
            assert_eq!(rows, (0..count).map(task).collect::<Vec<_>>());
            assert_eq!(table::read::<TaskRow>(&path).expect("reads whole"), rows);
            assert_eq!(table::stamp(&path).expect("reads"), Some(stamp.clone()));
        }
    }

    #[test]
    fn an_unfinished_table_leaves_the_old_one() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("tasks.parquet");
        table::write(&path, &[task(1)], &Stamp::default()).expect("writes");
        let mut writer = Writer::create(&path).expect("begins");
        writer.push(task(2)).expect("adds");
        drop(writer);
        assert_eq!(table::read::<TaskRow>(&path).expect("reads"), [task(1)]);
        assert_eq!(std::fs::read_dir(directory.path()).expect("list").count(), 1, "nothing else stays behind");
    }
}
