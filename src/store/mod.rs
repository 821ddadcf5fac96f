//! `results/<run>/`: every table, read and written. The only room that names parquet.

pub mod rows;
