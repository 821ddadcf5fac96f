//! `results/<run>/`: every table, read and written. The only room that names parquet and redb.
//!
//! A table is written to a temporary name, synced and renamed, so a file that exists is whole. Its metadata says which
//! schema it has and which settings and inputs it was made from; a stage whose table says so already has nothing to do.

pub mod batches;
pub mod catalogue;
pub mod fingerprint;
pub mod foreign;
pub mod parts;
pub mod replies;
pub mod rows;
pub mod run_dir;
pub mod run_record;
pub mod samples;
pub mod stream;
pub mod table;
pub mod work;

pub use fingerprint::Fingerprint;
pub use run_dir::RunDir;
