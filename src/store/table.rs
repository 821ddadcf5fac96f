//! One table, one file: row structs to Parquet and back.

use super::rows::Row;
use anyhow::{Context, Result, anyhow, bail, ensure};
use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use serde_arrow::schema::{SchemaLike, TracingOptions};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Version of every table's schema; rises when a column changes its meaning.
pub const SCHEMA_VERSION: u32 = 1;

const SCHEMA_KEY: &str = "poq.schema_version";
const TABLE_KEY: &str = "poq.table";
const FINGERPRINT_KEY: &str = "poq.fingerprint";
const INPUTS_KEY: &str = "poq.inputs";
const RUN_KEY: &str = "poq.run";
const MADE_BY_KEY: &str = "poq.made_by";
const FAILED_KEY: &str = "poq.failed_rows";
const VERSION_KEY: &str = "poq.version";
const COMMIT_KEY: &str = "poq.git_commit";

/// Rows per row group: large enough to compress well, small enough for readers to skip and for a writer to hold.
const ROW_GROUP_ROWS: usize = 16_384;

/// Bytes of a page, which is what a reader holds of each column: a tenth of the usual, for tables that are streamed side
/// by side.
const PAGE_BYTES: usize = 128 << 10;

/// What a table's metadata says of its making.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Name of the run.
    pub run: String,
    /// Hash that says what the table holds: equal for equal work; empty for unfinished parts.
    pub fingerprint: String,
    /// Hash of the settings and of the tables that it was made from; empty for unfinished parts.
    pub inputs: String,
    /// Hash of the model that computed it and of how it was read; empty where no model did.
    pub made_by: String,
    /// Rows with an error, where the table's maker counts them.
    pub failed: usize,
}

/// Arrow fields of a row type, derived from the struct itself.
pub fn fields<R: Row>() -> Result<Vec<FieldRef>> {
    let options = TracingOptions::default().strings_as_large_utf8(false).sequence_as_large_list(false);
    Vec::<FieldRef>::from_type::<R>(options).with_context(|| format!("the schema of `{}`; this is a bug", R::TABLE))
}

/// Writes a whole table.
pub fn write<R: Row>(path: &Path, rows: &[R], stamp: &Stamp) -> Result<()> {
    let fields = fields::<R>()?;
    let batch = if rows.is_empty() {
        RecordBatch::new_empty(Arc::new(Schema::new(fields)))
    } else {
        serde_arrow::to_record_batch(&fields, &rows).with_context(|| format!("table `{}`", R::TABLE))?
    };
    write_batch(path, R::TABLE, &batch, stamp)
}

/// Writes a record batch as a table: to a temporary name first, renamed once it is whole and on disk.
pub fn write_batch(path: &Path, table: &str, batch: &RecordBatch, stamp: &Stamp) -> Result<()> {
    write_whole(path, |temporary| write_file(temporary, table, batch, stamp))
}

/// Has a file written under a temporary name and gives it its own once it is whole and on disk.
pub(super) fn write_whole(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let unfinished = Unfinished::of(path);
    write(&unfinished.0).and_then(|()| unfinished.rename(path)).with_context(|| failed(path))
}

/// The file that a table is written to. What is left of it goes with this value: a half-written file helps nobody.
pub(super) struct Unfinished(pub PathBuf);

impl Unfinished {
    /// Of the table of this name.
    pub(super) fn of(path: &Path) -> Self {
        Self(temporary_path(path))
    }

    /// Gives it its name.
    pub(super) fn rename(self, path: &Path) -> Result<()> {
        Ok(std::fs::rename(&self.0, path)?)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Once it has its name there is nothing to remove; and an error that led here is the one to report.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// What a table that could not be written says.
pub(super) fn failed(path: &Path) -> String {
    format!("cannot write `{}`; what was finished before is kept", path.display())
}

fn write_file(path: &Path, table: &str, batch: &RecordBatch, stamp: &Stamp) -> Result<()> {
    let file = File::create(path)?;
    let mut writer = ArrowWriter::try_new(file.try_clone()?, batch.schema(), Some(properties()))?;
    writer.write(batch)?;
    for entry in metadata_of(table, stamp) {
        writer.append_key_value_metadata(entry);
    }
    writer.close()?;
    file.sync_all()?;
    Ok(())
}

/// How every table is laid out on disk.
pub(super) fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        // Statistics of every page would stay in memory until a table is closed.
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_dictionary_page_size_limit(PAGE_BYTES)
        .set_data_page_size_limit(PAGE_BYTES)
        .set_created_by(concat!("poq ", env!("CARGO_PKG_VERSION")).to_owned())
        .build()
}

/// What a table says of itself. Not when it was written: equal work gives equal bytes, and `run.json` knows the times.
pub(super) fn metadata_of(table: &str, stamp: &Stamp) -> [KeyValue; 9] {
    let dirty = if env!("POQ_GIT_DIRTY") == "true" { "-dirty" } else { "" };
    [
        (SCHEMA_KEY, SCHEMA_VERSION.to_string()),
        (TABLE_KEY, table.to_owned()),
        (FINGERPRINT_KEY, stamp.fingerprint.clone()),
        (INPUTS_KEY, stamp.inputs.clone()),
        (RUN_KEY, stamp.run.clone()),
        (MADE_BY_KEY, stamp.made_by.clone()),
        (FAILED_KEY, stamp.failed.to_string()),
        (VERSION_KEY, env!("CARGO_PKG_VERSION").to_owned()),
        (COMMIT_KEY, format!("{}{dirty}", env!("POQ_GIT_COMMIT"))),
    ]
    .map(|(key, value)| KeyValue::new(key.to_owned(), value))
}

/// Where a table lies until it is whole.
#[must_use]
pub fn temporary_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}

/// Reads a whole table.
pub fn read<R: Row>(path: &Path) -> Result<Vec<R>> {
    let reader = open(path)?;
    check_version(path, &reader)?;
    let mut rows = Vec::new();
    for batch in reader.build().with_context(|| format!("cannot read `{}`", path.display()))? {
        let batch = batch.with_context(|| format!("`{}` is damaged", path.display()))?;
        rows.extend(rows_of::<R>(path, &batch)?);
    }
    Ok(rows)
}

/// Rows of a batch that was read from `path`.
pub(super) fn rows_of<R: Row>(path: &Path, batch: &RecordBatch) -> Result<Vec<R>> {
    serde_arrow::from_record_batch(batch)
        .with_context(|| format!("`{}` has not the columns of table `{}`", path.display(), R::TABLE))
}

/// What a table says of its making; `None` when there is no such file.
pub fn stamp(path: &Path) -> Result<Option<Stamp>> {
    if !path.exists() {
        return Ok(None);
    }
    let reader = open(path)?;
    check_version(path, &reader)?;
    let value = |key| metadata(&reader, key).unwrap_or_default().to_owned();
    Ok(Some(Stamp {
        run: value(RUN_KEY),
        fingerprint: value(FINGERPRINT_KEY),
        inputs: value(INPUTS_KEY),
        made_by: value(MADE_BY_KEY),
        failed: value(FAILED_KEY).parse().unwrap_or(0),
    }))
}

pub(super) fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("`{}` does not exist\nhint: run the stage before this one, or `poq run`", path.display())
        }
        Err(error) => return Err(error).with_context(|| format!("cannot read `{}`", path.display())),
    };
    ParquetRecordBatchReaderBuilder::try_new(file).with_context(|| {
        format!("`{}` is not a Parquet file or is damaged; delete it and run its stage again", path.display())
    })
}

fn metadata<'r>(reader: &'r ParquetRecordBatchReaderBuilder<File>, key: &str) -> Option<&'r str> {
    let entries = reader.metadata().file_metadata().key_value_metadata()?;
    entries.iter().find(|entry| entry.key == key)?.value.as_deref()
}

pub(super) fn check_version(path: &Path, reader: &ParquetRecordBatchReaderBuilder<File>) -> Result<()> {
    let version = metadata(reader, SCHEMA_KEY)
        .ok_or_else(|| anyhow!("`{}` was not written by poq\nhint: `poq import` reads other tables", path.display()))?;
    ensure!(
        version == SCHEMA_VERSION.to_string(),
        "`{}` has schema version {version}, this poq reads version {SCHEMA_VERSION}\n\
         hint: keep the run for the poq that wrote it and use another run name",
        path.display()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::rows::TaskRow;
    use crate::store::samples;
    use parquet::file::metadata::RowGroupMetaData;

    fn task(id: &str) -> TaskRow {
        TaskRow {
            input: "é\u{1F600}".into(),
            question: Some("q".into()),
            references: vec!["r".into(), "s".into()],
            ..samples::task(id)
        }
    }

    #[test]
    fn rows_survive_the_disk() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("tasks.parquet");
        let stamp_in =
            Stamp { run: "r".into(), fingerprint: "f".into(), inputs: "i".into(), made_by: "m".into(), failed: 3 };
        for rows in [vec![task("1"), task("2")], vec![]] {
            write(&path, &rows, &stamp_in).expect("writes");
            assert_eq!(read::<TaskRow>(&path).expect("reads"), rows);
            assert_eq!(stamp(&path).expect("reads"), Some(stamp_in.clone()));
        }
        assert_eq!(std::fs::read_dir(directory.path()).expect("list").count(), 1, "no temporary file stays behind");
    }

    #[test]
    fn tables_load_well_and_say_what_they_are() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("generations.parquet");
        let rows: Vec<_> = (0..2 * ROW_GROUP_ROWS + 5)
            .map(|i| samples::answer(&format!("task-{i}"), if i % 2 == 0 { "even" } else { "odd" }))
            .collect();
        write(&path, &rows, &Stamp { run: "r".into(), ..Stamp::default() }).expect("writes");

        let reader = open(&path).expect("opens");
        let value = |key| metadata(&reader, key).expect("is there").to_owned();
        assert_eq!((value(RUN_KEY), value(TABLE_KEY)), ("r".into(), "generations".into()));
        assert_eq!(value(VERSION_KEY), env!("CARGO_PKG_VERSION"));
        assert_eq!(value(COMMIT_KEY).trim_end_matches("-dirty"), env!("POQ_GIT_COMMIT"));

        let groups = reader.metadata().row_groups();
        let sizes: Vec<i64> = groups.iter().map(RowGroupMetaData::num_rows).collect();
        assert_eq!(sizes, [ROW_GROUP_ROWS as i64, ROW_GROUP_ROWS as i64, 5]);
        for column in groups.iter().flat_map(RowGroupMetaData::columns) {
            let name = column.column_path().string();
            assert!(matches!(column.compression(), Compression::ZSTD(_)), "{name}");
            let statistics = column.statistics().unwrap_or_else(|| panic!("{name} has no statistics"));
            assert!(statistics.null_count_opt().is_some(), "{name} counts no nulls");
        }
        let model = groups[0].columns().iter().find(|column| column.column_path().string() == "model");
        let model = model.expect("the column is there");
        assert!(model.dictionary_page_offset().is_some(), "a key is written once, and then by number");
        assert!(model.compressed_size() < 4096, "{} bytes for 16,384 keys of two kinds", model.compressed_size());
        let range = model.statistics().map(|s| (s.min_bytes_opt(), s.max_bytes_opt()));
        assert_eq!(range, Some((Some(&b"even"[..]), Some(&b"odd"[..]))), "readers skip groups by the range of keys");
    }

    #[test]
    fn foreign_and_damaged_files_are_named() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("tasks.parquet");
        std::fs::write(&path, b"PAR1 not really").expect("write");
        let error = format!("{:#}", read::<TaskRow>(&path).expect_err("refused"));
        assert!(error.contains("tasks.parquet") && error.contains("damaged"), "{error}");
    }

    #[test]
    fn a_full_disk_leaves_the_old_table() {
        let rows = vec![task("1")];
        let error = write(Path::new("/dev/full/tasks.parquet"), &rows, &Stamp::default()).expect_err("fails");
        assert!(format!("{error:#}").contains("what was finished before is kept"), "{error:#}");
    }
}
