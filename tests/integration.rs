//! The binary from the outside: one file per intent, one builder for all.

mod support;

#[path = "cases/bad_input.rs"]
mod bad_input;
#[path = "cases/bench.rs"]
mod bench;
#[path = "cases/compare.rs"]
mod compare;
#[path = "cases/durability.rs"]
mod durability;
#[path = "cases/generation.rs"]
mod generation;
#[path = "cases/import.rs"]
mod import;
#[path = "cases/infer.rs"]
mod infer;
#[path = "cases/invariants.rs"]
mod invariants;
#[path = "cases/judge.rs"]
mod judge;
#[path = "cases/judge_servers.rs"]
mod judge_servers;
#[path = "cases/mechanism.rs"]
mod mechanism;
#[path = "cases/pipeline.rs"]
mod pipeline;
#[path = "cases/real_models.rs"]
mod real_models;
#[path = "cases/repository.rs"]
mod repository;
#[path = "cases/scoring.rs"]
mod scoring;
#[path = "cases/signals.rs"]
mod signals;
#[path = "cases/sweep.rs"]
mod sweep;
