//! Parquet as other tools write it: every encoding of texts, numbers and lists becomes one of a few plain types by
//! Arrow's own cast, so that large, view and dictionary columns read like the simple ones. Only the wanted columns are
//! decoded.

use super::{Place, Record};
use anyhow::{Context, Result, bail};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, UInt64Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

type Iter = Box<dyn Iterator<Item = Result<Record>>>;

/// Opens the file; returns its records and the names of the columns left alone.
pub fn records(path: &Path, wanted: &[&str]) -> Result<(Iter, BTreeSet<String>)> {
    let file = File::open(path).context("cannot open it")?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).context("it is not a Parquet file")?;
    let names: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
    let is_wanted = |name: &str| wanted.contains(&name);
    let roots = names.iter().enumerate().filter(|(_, name)| is_wanted(name)).map(|(i, _)| i);
    let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
    let reader = builder.with_projection(mask).build().context("cannot read it")?;
    let ignored = names.iter().filter(|name| !is_wanted(name)).cloned().collect();

    let mut rows_before = 0;
    let records = reader.flat_map(move |batch| {
        let first = rows_before;
        let records = batch.context("cannot read it").and_then(|batch| {
            rows_before += batch.num_rows();
            batch_records(&batch, first)
        });
        match records {
            Ok(records) => records.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        }
    });
    Ok((Box::new(records), ignored))
}

fn batch_records(batch: &RecordBatch, rows_before: usize) -> Result<Vec<Record>> {
    let place = |i: usize| Place { unit: "row", number: rows_before + i + 1 };
    let mut records: Vec<Record> =
        (0..batch.num_rows()).map(|i| Record { place: place(i), fields: Map::new() }).collect();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let name = field.name();
        let column = to_plain(column).with_context(|| format!("column `{name}`"))?;
        for (i, record) in records.iter_mut().enumerate() {
            let value = value(&column, i).with_context(|| format!("{}, column `{name}`", place(i)))?;
            record.fields.insert(name.clone(), value);
        }
    }
    Ok(records)
}

fn to_plain(column: &ArrayRef) -> Result<ArrayRef> {
    let found = column.data_type();
    let Some(plain) = plain_type(found) else {
        bail!("it is of type `{found}`; only text, numbers, booleans, and lists and structs of these can be read");
    };
    let refuse_loss = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, &plain, &refuse_loss).with_context(|| format!("cannot read its type `{found}`"))
}

fn plain_type(found: &DataType) -> Option<DataType> {
    Some(match found {
        DataType::Null | DataType::Boolean => found.clone(),
        DataType::Dictionary(_, values) => plain_type(values)?,
        found if found.is_signed_integer() => DataType::Int64,
        found if found.is_unsigned_integer() => DataType::UInt64,
        found if found.is_floating() || found.is_decimal() => DataType::Float64,
        // Some writers leave the mark for text off; bytes that are not UTF-8 are refused by the cast.
        found if found.is_string() || found.is_binary() => DataType::Utf8,
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            DataType::List(Arc::new(Field::new("item", plain_type(item.data_type())?, true)))
        }
        DataType::Struct(fields) => DataType::Struct(
            fields
                .iter()
                .map(|field| Some(Field::new(field.name(), plain_type(field.data_type())?, true)))
                .collect::<Option<_>>()?,
        ),
        _ => return None,
    })
}

fn value(array: &ArrayRef, i: usize) -> Result<Value> {
    if array.is_null(i) {
        return Ok(Value::Null);
    }
    Ok(match array.data_type() {
        DataType::Boolean => array.as_boolean().value(i).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(i).into(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(i).into(),
        DataType::Float64 => match array.as_primitive::<Float64Type>().value(i) {
            // NaN is how data frames say that a number is missing.
            number if number.is_infinite() => bail!("it is infinite"),
            number => number.into(),
        },
        DataType::Utf8 => array.as_string::<i32>().value(i).into(),
        DataType::List(_) => {
            let members = array.as_list::<i32>().value(i);
            Value::Array((0..members.len()).map(|j| value(&members, j)).collect::<Result<_>>()?)
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().zip(array.as_struct().columns());
            let member = |(field, column): (&Arc<Field>, &ArrayRef)| Ok((field.name().clone(), value(column, i)?));
            Value::Object(columns.map(member).collect::<Result<_>>()?)
        }
        _ => Value::Null,
    })
}

/// Writes a batch as a foreign tool would, for tests of the readers.
#[cfg(test)]
pub(crate) fn write_for_test(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap();
    let file = File::create(path).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{
        BinaryArray, BooleanArray, DictionaryArray, Float32Array, Float64Array, Int32Array, LargeStringArray,
        ListBuilder, NullArray, StringArray, StringBuilder, StringViewArray, TimestampSecondArray, UInt8Array,
    };
    use arrow::datatypes::Int8Type;
    use serde_json::json;

    fn read(columns: Vec<(&str, ArrayRef)>, wanted: &[&str]) -> Result<(Vec<Record>, BTreeSet<String>)> {
        let file = tempfile::NamedTempFile::new().unwrap();
        write_for_test(file.path(), columns);
        let (records, ignored) = records(file.path(), wanted)?;
        Ok((records.collect::<Result<_>>()?, ignored))
    }

    #[test]
    fn every_encoding_reads_alike() {
        let mut lists = ListBuilder::new(StringBuilder::new());
        lists.append_value([Some("a"), Some("é")]);
        lists.append_null();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("utf8", Arc::new(StringArray::from(vec![Some("x"), None]))),
            ("large", Arc::new(LargeStringArray::from(vec!["x", ""]))),
            ("view", Arc::new(StringViewArray::from(vec!["x", "a text longer than twelve bytes"]))),
            ("dict", Arc::new(DictionaryArray::<Int8Type>::from_iter([Some("x"), None]))),
            ("bytes", Arc::new(BinaryArray::from(vec![&b"x"[..], &b"y"[..]]))),
            ("i32", Arc::new(Int32Array::from(vec![-1, 2]))),
            ("u8", Arc::new(UInt8Array::from(vec![1, 2]))),
            ("f32", Arc::new(Float32Array::from(vec![0.5, f32::NAN]))),
            ("bool", Arc::new(BooleanArray::from(vec![true, false]))),
            ("null", Arc::new(NullArray::new(2))),
            ("list", Arc::new(lists.finish())),
        ];
        let names: Vec<&str> = columns.iter().map(|c| c.0).collect();
        let (records, ignored) = read(columns.clone(), &names).unwrap();
        let first = json!({"utf8": "x", "large": "x", "view": "x", "dict": "x", "bytes": "x", "i32": -1, "u8": 1,
            "f32": 0.5, "bool": true, "null": null, "list": ["a", "é"]});
        let second = json!({"utf8": null, "large": "", "view": "a text longer than twelve bytes", "dict": null,
            "bytes": "y", "i32": 2, "u8": 2, "f32": null, "bool": false, "null": null, "list": null});
        assert_eq!(Value::Object(records[0].fields.clone()), first);
        assert_eq!(Value::Object(records[1].fields.clone()), second);
        assert_eq!(records[1].place.to_string(), "row 2");
        assert!(ignored.is_empty());
    }

    #[test]
    fn unwanted_columns_of_any_type_do_no_harm() {
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("when", Arc::new(TimestampSecondArray::from(vec![1, 2]))),
            ("a", Arc::new(StringArray::from(vec!["x", "y"]))),
        ];
        let (records, ignored) = read(columns, &["a"]).unwrap();
        assert_eq!(records[1].fields["a"], json!("y"));
        assert_eq!(ignored, BTreeSet::from(["when".to_string()]));
    }

    #[test]
    fn row_numbers_go_on_across_batches() {
        let many: Vec<String> = (0..3000).map(|i| i.to_string()).collect();
        let (records, _) = read(vec![("a", Arc::new(StringArray::from(many)))], &["a"]).unwrap();
        assert_eq!(records[2999].place.to_string(), "row 3000");
        assert_eq!(records[2999].fields["a"], json!("2999"));
    }

    #[test]
    fn errors_name_column_row_and_type() {
        let message = |columns| format!("{:#}", read(columns, &["a"]).unwrap_err());
        let times: ArrayRef = Arc::new(TimestampSecondArray::from(vec![1]));
        assert!(message(vec![("a", times)]).starts_with("column `a`: it is of type `Timestamp"));
        let infinite: ArrayRef = Arc::new(Float64Array::from(vec![1.0, f64::INFINITY]));
        assert_eq!(message(vec![("a", infinite)]), "row 2, column `a`: it is infinite");
        let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![&b"\xff"[..]]));
        assert!(message(vec![("a", bytes)]).starts_with("column `a`: cannot read its type `Binary`"));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "not a table").unwrap();
        let error = records(file.path(), &[]).err().unwrap();
        assert!(format!("{error:#}").starts_with("it is not a Parquet file"), "{error:#}");
    }
}
