//! poq runs the cost-aware Proof of Quality experiment: LLMs answer (F nodes), small encoders judge the answers (M nodes),
//! latency becomes cost, and a simulation pays every node quality minus cost.
//!
//! The modules in the order in which data flows through them:
//!
//! ```text
//! datasets/ ─► dataset ─► generate ─► score ─► judge ─────► profile ─► simulate ─► report
//!               tasks     generations  scores   judgements   profile    rewards    report.md
//!                 ▲           └─ executor ─┘                            rounds     metrics
//!               import
//! ```
//!
//! [`signals`] reads scores and profile, too: it weighs quality dimensions and tries a cascade of evaluators.
//!
//! Each arrow is a Parquet table in `results/<run>/`, read and written by [`store`]. [`commands`] turns the command line
//! into settings and runs stages; [`model`] is the only room that knows ONNX Runtime, [`output`] the only one that prints.

pub mod cli;
pub mod commands;
pub mod exit_code;
pub mod settings;

pub mod dataset;
pub mod import;

pub mod generate;

pub mod score;

pub mod executor;
pub mod model;

pub mod judge;

pub mod profile;

pub mod bench;

pub mod signals;

pub mod simulate;

pub mod sweep;

pub mod report;

pub mod digest;
pub mod join;
pub mod memory;
pub mod output;
pub mod paper;
pub mod statistics;
pub mod store;
pub mod suggest;
