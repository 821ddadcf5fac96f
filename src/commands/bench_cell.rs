//! `poq bench-cell`, the hidden half of `poq bench`: one cell, measured in a process of its own; and how it is started.

use super::context::Context;
use crate::bench::{CellRequest, CellResult, GenerationRequest, GenerationResult, cell, generation_cell, sample};
use crate::cli::BenchCellArguments;
use crate::dataset;
use crate::executor::Interrupted;
use crate::exit_code::ExitCode;
use crate::model::manifest::Exported;
use crate::model::registry::Role;
use crate::model::runtime;
use crate::score::Pair;
use crate::settings::{Data, DataSet};
use crate::store::rows::TaskRow;
use anyhow::{Context as _, Result, bail, ensure};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::process::{Command, ExitStatus, Stdio};

/// Data sets whose texts are read: those that the repository carries.
const DATA_SETS: [&str; 2] = ["quick_squad", "quick_news"];

/// What is asked of the process.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
enum Request {
    /// A cell of an evaluator.
    Evaluator(CellRequest),
    /// A cell of an LLM.
    Inference(GenerationRequest),
}

/// Measures the cell that is asked for.
pub fn command(context: &Context, arguments: &BenchCellArguments) -> Result<ExitCode> {
    match serde_json::from_str(&arguments.request).context("the request of a bench cell")? {
        Request::Evaluator(request) => evaluator(context, &request),
        Request::Inference(request) => llm(context, &request),
    }
}

fn evaluator(context: &Context, request: &CellRequest) -> Result<ExitCode> {
    let registry = context.registry()?;
    let model = registry.get(&request.model, Role::Evaluator)?;
    runtime::load(&context.models, request.execution.provider)?;
    Exported::open(&registry, model)?.verify()?;
    let pairs = sample_pairs(context, request.pairs, request.seed)?;
    let result = cell::measure(&registry, model, request, &pairs, &context.quit)?;
    context.printer.data(&serde_json::to_string(&result)?, &result)?;
    Ok(ExitCode::Done)
}

fn llm(context: &Context, request: &GenerationRequest) -> Result<ExitCode> {
    let registry = context.registry()?.on(request.provider);
    let model = registry.get(&request.model, Role::Inference)?;
    runtime::load(&context.models, request.provider)?;
    Exported::open(&registry, model)?.verify()?;
    let questions = sample::questions(&tasks(context, request.seed)?, request.prompts, request.seed);
    ensure!(!questions.is_empty(), "the data sets hold no question to ask");
    let result = generation_cell::measure(&registry, model, request, &questions, &context.quit)?;
    context.printer.data(&serde_json::to_string(&result)?, &result)?;
    Ok(ExitCode::Done)
}

/// Measures an evaluator's cell in a process of its own; its error is the cell's.
pub fn run_cell(context: &Context, request: &CellRequest) -> Result<CellResult> {
    start(context, &Request::Evaluator(request.clone()))
}

/// Measures an LLM's cell, likewise.
pub fn run_generation_cell(context: &Context, request: &GenerationRequest) -> Result<GenerationResult> {
    start(context, &Request::Inference(request.clone()))
}

fn start<R: DeserializeOwned>(context: &Context, request: &Request) -> Result<R> {
    let program = std::env::current_exe().context("cannot find poq itself")?;
    let mut command = Command::new(program);
    command.args(["bench-cell", "--quiet", "--format", "text", "--threads", &context.threads.to_string()]);
    command.arg("--models").arg(&context.models).arg("--datasets").arg(&context.datasets);
    command.arg(serde_json::to_string(request)?);
    let output = command.stdin(Stdio::null()).output().context("cannot start a bench cell")?;
    if context.quit.requested() {
        return Err(Interrupted.into());
    }
    if !output.status.success() {
        bail!("{}", failure(output.status, &String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout).context("a bench cell answered nonsense; this is a bug")
}

/// The corpus that the repository carries.
fn tasks(context: &Context, seed: u64) -> Result<Vec<TaskRow>> {
    let registry = dataset::registry::Registry::open(&context.datasets)?;
    let sets = DATA_SETS
        .iter()
        .filter(|key| registry.get(key).is_ok())
        .map(|key| DataSet { dataset: (*key).to_owned(), sample: None });
    let mut data = Data { seed, sets: sets.collect() };
    if data.sets.is_empty() {
        // Another registry than the repository's: whatever it has.
        data.sets = registry.datasets.iter().map(|set| DataSet { dataset: set.key.clone(), sample: None }).collect();
    }
    dataset::load(&registry, &data)
}

fn sample_pairs(context: &Context, count: usize, seed: u64) -> Result<Vec<Pair>> {
    let mut tasks = tasks(context, seed)?;
    // Short questions and long articles in turn, however few are taken.
    tasks.sort_by_cached_key(|task| crate::digest::hex(&crate::digest::sha256_fields([task.task_id.as_bytes()])));
    let pairs = sample::pairs(&tasks, count, seed);
    ensure!(!pairs.is_empty(), "the data sets hold no text to read");
    Ok(pairs)
}

/// Why a cell's process failed: what poq said itself (libraries write whole logs before it), else how the process ended, for
/// one that is killed says nothing.
fn failure(status: ExitStatus, stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().collect();
    if let Some(first) = lines.iter().rposition(|line| line.starts_with("error: ")) {
        return lines[first..].join("\n").trim_start_matches("error: ").trim().to_owned();
    }
    let said = lines.iter().rev().find(|line| !line.trim().is_empty());
    let said = said.map_or_else(String::new, |line| format!(": {}", line.trim()));
    format!("the cell's process ended with {status}{said}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(script: &str) -> ExitStatus {
        Command::new("sh").args(["-c", script]).status().expect("runs")
    }

    #[test]
    fn a_cell_that_is_killed_has_an_error_too() {
        let killed = end("kill -9 $$");
        assert!(failure(killed, "").contains("signal: 9"), "{}", failure(killed, ""));
        assert!(failure(killed, "loading\n\n").ends_with(": loading"));
        let failed = end("exit 2");
        assert_eq!(failure(failed, "a library's log\nerror: it broke\nhint: mend it"), "it broke\nhint: mend it");
        assert!(failure(failed, "").contains("exit status: 2"));
    }
}
