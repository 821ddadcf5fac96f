//! `poq bench`: a sweep over the settings of a pool's evaluators and LLMs → `bench.parquet`, `bench-<evaluator>.svg`,
//! `bench-generation.svg`, and the answer.

use super::bench_cell::{run_cell, run_generation_cell};
use super::context::Context;
use super::execution::{MOST_SESSIONS, calibration};
use crate::bench::grid::GenerationSettings;
use crate::bench::row::{execution, generation_row, row};
use crate::bench::verdict::{fastest, generation_line, generation_verdicts, verdicts};
use crate::bench::{CellRequest, GenerationGrid, GenerationRequest, Grid, chart, grid, text};
use crate::cli::BenchArguments;
use crate::executor::Interrupted;
use crate::exit_code::ExitCode;
use crate::model::manifest::{Presence, presence};
use crate::model::provider::{Precision, Provider};
use crate::model::registry::{Model, Registry, Role};
use crate::model::runtime;
use crate::output::Progress;
use crate::profile::INFERENCE;
use crate::score::Execution;
use crate::store::rows::BenchRow;
use crate::store::table::{self, Stamp};
use anyhow::{Context as _, Result, ensure};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Runs the sweep.
pub fn command(context: &Context, arguments: &BenchArguments) -> Result<ExitCode> {
    let registry = context.registry()?;
    let sweep = Sweep::new(context, arguments, &registry)?;
    let directory = arguments.out.clone().unwrap_or_else(|| context.results.join("bench"));
    create(&directory)?;
    context.printer.note(&sweep.describe(arguments));
    let mut rows = Vec::new();
    match sweep.run(context, arguments, &directory.join("bench.parquet"), &mut rows) {
        Err(error) if error.is::<Interrupted>() => {
            let kept = format!("the cells that were measured stand in `{}`", directory.join("bench.parquet").display());
            let kept = if rows.is_empty() { "no cell was measured" } else { kept.as_str() };
            context.printer.warning(&format!("interrupted; {kept}, and the same command begins again"));
            return Ok(ExitCode::Interrupted);
        }
        swept => swept?,
    }
    draw(context, &directory, &rows)?;
    answer(context, &rows, is_narrowed(arguments))
}

/// Makes the directory and tries it: a sweep takes long, and what it finds has to go somewhere.
fn create(directory: &Path) -> Result<()> {
    let probe = directory.join("bench.tmp");
    std::fs::create_dir_all(directory)
        .and_then(|()| std::fs::write(&probe, ""))
        .and_then(|()| std::fs::remove_file(&probe))
        .with_context(|| format!("cannot write to `{}`\nhint: `--out` names another directory", directory.display()))
}

/// What is measured: evaluators with their cells, then LLMs with theirs.
struct Sweep {
    evaluators: Vec<Model>,
    cells: Vec<Execution>,
    /// Each with who computes it.
    llms: Vec<Model>,
    generation_cells: Vec<GenerationSettings>,
}

impl Sweep {
    fn new(context: &Context, arguments: &BenchArguments, registry: &Registry) -> Result<Self> {
        let (evaluators, llms) = ready(registry, arguments)?;
        let grid = Grid {
            providers: providers(context, arguments),
            precisions: or(&arguments.precisions, &[Precision::F32, Precision::Bf16, Precision::F16, Precision::Int8]),
            parallelism: parallelism(context, arguments),
            batch_sizes: arguments.batch_sizes.clone(),
            batch_tokens: arguments.batch_tokens.clone(),
        };
        let generation_grid = GenerationGrid {
            threads: or(&arguments.worker_threads, &[context.threads]),
            batch_sizes: arguments.batch_sizes.clone(),
            batch_tokens: arguments.batch_tokens.clone(),
        };
        let (cells, generation_cells) = (grid.cells(), generation_grid.cells());
        let some = evaluators.is_empty() || !cells.is_empty();
        ensure!(some, "no provider of the sweep can compute any of its precisions");
        Ok(Self { evaluators, cells, llms, generation_cells })
    }

    fn describe(&self, arguments: &BenchArguments) -> String {
        let BenchArguments { pairs, prompts, new_tokens, .. } = arguments;
        let evaluators = (self.evaluators.len(), "evaluators", self.cells.len(), format!("{pairs} pairs"));
        let asked = format!("up to {prompts} prompts and {new_tokens} new tokens each");
        let llms = (self.llms.len(), "LLMs", self.generation_cells.len(), asked);
        let part = |(models, role, cells, work)| format!("{models} {role} × {cells} settings, {work}");
        let parts: Vec<String> = [evaluators, llms].into_iter().filter(|(models, ..)| *models > 0).map(part).collect();
        format!("bench: {}; {} timed passes each", parts.join("; "), arguments.repeats)
    }

    /// Measures every cell; the table is written after each, so that an end before the last one loses only what it interrupts.
    fn run(&self, context: &Context, arguments: &BenchArguments, path: &Path, rows: &mut Vec<BenchRow>) -> Result<()> {
        let cells = self.evaluators.len() * self.cells.len() + self.llms.len() * self.generation_cells.len();
        let mut progress = context.printer.progress("bench", cells);
        let mut record = |row: BenchRow, progress: &mut Progress| -> Result<()> {
            rows.push(row);
            table::write(path, rows, &Stamp { run: "bench".to_owned(), ..Stamp::default() })?;
            progress.advance(1);
            Ok(())
        };
        for model in &self.evaluators {
            let mut baseline = None;
            for &execution in &self.cells {
                context.check_quit()?;
                let request = CellRequest {
                    model: model.key.clone(),
                    execution,
                    pairs: arguments.pairs,
                    seed: arguments.seed,
                    repeats: arguments.repeats,
                };
                let result = run_cell(context, &request);
                context.check_quit()?;
                record(row(&request, result, &mut baseline), &mut progress)?;
            }
        }
        // Answers are held against the model's first cell, whoever computed that.
        let mut baselines: BTreeMap<&str, Option<Vec<String>>> = BTreeMap::new();
        for model in &self.llms {
            let baseline = baselines.entry(&model.key).or_default();
            for &(threads, batch_size, batch_tokens) in &self.generation_cells {
                context.check_quit()?;
                let request = GenerationRequest {
                    model: model.key.clone(),
                    provider: model.provider,
                    precision: model.arithmetic().to_owned(),
                    batch_size,
                    batch_tokens,
                    threads,
                    prompts: arguments.prompts,
                    new_tokens: arguments.new_tokens,
                    seed: arguments.seed,
                    repeats: arguments.repeats,
                    cuda_graphs: arguments.cuda_graphs && model.provider == Provider::Cuda,
                };
                let result = run_generation_cell(context, &request);
                context.check_quit()?;
                record(generation_row(&request, result, baseline), &mut progress)?;
            }
        }
        progress.finish();
        Ok(())
    }
}

/// The exported models that were asked for by key, else those of the pool; of one role where one was asked for. Evaluators,
/// then LLMs, these once for every provider that computes them.
fn ready(registry: &Registry, arguments: &BenchArguments) -> Result<(Vec<Model>, Vec<Model>)> {
    let BenchArguments { pool, models, role, .. } = arguments;
    let wanted = |model: &&Model| role.is_none_or(|role| model.role == role);
    let chosen: Vec<&Model> = if models.is_empty() {
        registry.models.iter().filter(|model| model.pool == *pool).filter(wanted).collect()
    } else {
        // An unknown key is the business of the role that was asked for.
        let role_of = |key: &str| registry.models.iter().find(|model| model.key == key).map(|model| model.role);
        let get = |key: &String| registry.get(key, role.or_else(|| role_of(key)).unwrap_or(Role::Evaluator));
        models.iter().map(get).collect::<Result<_>>()?
    };
    let what = match role {
        None => "model",
        Some(Role::Evaluator) => "evaluator",
        Some(Role::Inference) => "LLM",
    };
    ensure!(!chosen.is_empty(), "the pool `{pool}` has no {what}s");
    let (evaluators, llms): (Vec<&Model>, Vec<&Model>) = chosen.into_iter().partition(|m| m.role == Role::Evaluator);
    let providers: Vec<Provider> = match arguments.providers.as_slice() {
        [] => vec![Provider::Cpu],
        given => given.iter().copied().filter(|&provider| provider != Provider::OpenVino).collect(),
    };
    let llms = providers.iter().flat_map(|&provider| llms.iter().map(move |&llm| Model { provider, ..llm.clone() }));
    let is_ready = |model: &Model| presence(registry, model) == Presence::Ready;
    let evaluators: Vec<Model> = evaluators.into_iter().filter(|model| is_ready(model)).cloned().collect();
    let llms: Vec<Model> = llms.filter(is_ready).collect();
    ensure!(
        !evaluators.is_empty() || !llms.is_empty(),
        "no {what} of the sweep is exported for {}\nhint: {}",
        providers.iter().map(|provider| provider.name()).collect::<Vec<_>>().join(", "),
        providers
            .iter()
            .map(|&provider| format!("`{}`", Model::recipe_of(pool, provider)))
            .collect::<Vec<_>>()
            .join(", ")
    );
    Ok((evaluators, llms))
}

/// The providers that were asked for, else those whose build of ONNX Runtime is here.
fn providers(context: &Context, arguments: &BenchArguments) -> Vec<Provider> {
    if !arguments.providers.is_empty() {
        return arguments.providers.clone();
    }
    let all = [Provider::Cpu, Provider::OpenVino, Provider::Cuda];
    let present = all.into_iter().filter(|&p| p == Provider::Cpu || runtime::is_present(&context.models, p));
    present.collect()
}

fn parallelism(context: &Context, arguments: &BenchArguments) -> Vec<(usize, usize)> {
    if arguments.workers.is_empty() && arguments.worker_threads.is_empty() {
        return grid::parallelism(context.threads, MOST_SESSIONS);
    }
    let workers = or(&arguments.workers, &[1]);
    let each = |workers: usize| {
        let threads = or(&arguments.worker_threads, &[(context.threads / workers).max(1)]);
        threads.into_iter().map(move |threads| (workers, threads))
    };
    workers.into_iter().flat_map(each).collect()
}

fn or<T: Copy>(given: &[T], default: &[T]) -> Vec<T> {
    if given.is_empty() { default.to_vec() } else { given.to_vec() }
}

/// The charts: one per evaluator, one of all LLMs; says what was written.
fn draw(context: &Context, directory: &Path, rows: &[BenchRow]) -> Result<()> {
    let mut written = vec![directory.join("bench.parquet")];
    for (model, verdict) in verdicts(rows) {
        if verdict.is_some() {
            let path = directory.join(format!("bench-{model}.svg"));
            chart::draw(&path, model, &rows.iter().filter(|row| row.model == model).collect::<Vec<_>>())?;
            written.push(path);
        }
    }
    let answered: Vec<&BenchRow> = rows.iter().filter(|row| row.role == INFERENCE && row.error.is_none()).collect();
    if !answered.is_empty() {
        let path = directory.join("bench-generation.svg");
        chart::draw_generation(&path, &answered)?;
        written.push(path);
    }
    let names: Vec<String> = written.iter().map(|path: &PathBuf| path.display().to_string()).collect();
    context.printer.note(&format!("written: {}", names.join(", ")));
    Ok(())
}

/// Whether flags kept the sweep from what it would have measured: its best is then the best of a part.
fn is_narrowed(arguments: &BenchArguments) -> bool {
    let BenchArguments { workers, worker_threads, batch_sizes, batch_tokens, .. } = arguments;
    [workers, worker_threads, batch_sizes, batch_tokens].into_iter().any(|list| !list.is_empty())
}

/// Remembers the fastest settings for `poq score`; those of a narrowed sweep only in place of slower ones, since nobody knows
/// how they compare with the defaults.
fn remember(context: &Context, rows: &[BenchRow], narrowed: bool) -> Result<()> {
    let mut calibration = calibration(context);
    for row in fastest(rows) {
        let (found, speed) = (execution(row)?, row.tokens_per_s.unwrap_or_default());
        let known = calibration.find(&row.model, found.provider, found.precision).map(|entry| entry.tokens_per_s);
        if !narrowed || known.is_some_and(|known| speed > known) {
            // The answer is worth more than its memory.
            if let Err(error) = calibration.remember(&row.model, found, speed) {
                context.printer.warning(&format!("what is fastest is not remembered for `poq score`: {error:#}"));
                break;
            }
        }
    }
    Ok(())
}

/// The tables on stdout, and as the last lines what to use.
fn answer(context: &Context, rows: &[BenchRow], narrowed: bool) -> Result<ExitCode> {
    remember(context, rows, narrowed)?;
    let failed = |model: &str| format!("{model}: no settings worked, see `error`");
    let verdicts = verdicts(rows);
    let evaluators = verdicts
        .iter()
        .map(|(model, verdict)| verdict.map_or_else(|| failed(model), |verdict| verdict.line(model)))
        .collect();
    let llms = generation_verdicts(rows)
        .into_iter()
        .map(|(model, fastest)| fastest.map_or_else(|| failed(model), generation_line))
        .collect();
    let what = if narrowed {
        "fastest of the settings that were asked for; remembered where they beat what is remembered already:"
    } else {
        "fastest here, and what `poq score` uses from now on where its settings leave it open:"
    };
    let generation =
        "fastest of these settings for answering; to be given to `poq generate`, for they are not remembered:";
    let mut text = text::tables(rows);
    let sections: [(&str, Vec<String>); 2] = [(what, evaluators), (generation, llms)];
    let mut said = Vec::new();
    for (heading, lines) in sections.into_iter().filter(|(_, lines)| !lines.is_empty()) {
        let _ = write!(text, "\n{heading}\n{}\n", lines.join("\n"));
        said.extend(lines);
    }
    context.printer.data(text.trim_end(), &serde_json::json!({ "rows": rows, "answer": said }))?;
    let worked = rows.iter().any(|row| row.error.is_none());
    Ok(if worked { ExitCode::Done } else { ExitCode::CouldNotRun })
}
