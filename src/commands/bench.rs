//! `poq bench`: a sweep over the settings of a pool's evaluators → `bench.parquet`, `bench-<model>.svg`, and the answer.

use super::bench_cell::run_cell;
use super::context::Context;
use super::execution::{MOST_SESSIONS, calibration};
use crate::bench::row::{execution, row};
use crate::bench::verdict::{fastest, verdicts};
use crate::bench::{CellRequest, Grid, chart, grid};
use crate::cli::BenchArguments;
use crate::executor::Interrupted;
use crate::exit_code::ExitCode;
use crate::model::manifest::{Presence, presence};
use crate::model::provider::{Precision, Provider};
use crate::model::registry::{Model, Registry, Role};
use crate::model::runtime;
use crate::score::Execution;
use crate::store::rows::BenchRow;
use crate::store::table::{self, Stamp};
use anyhow::{Context as _, Result, ensure};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Runs the sweep.
pub fn command(context: &Context, arguments: &BenchArguments) -> Result<ExitCode> {
    let registry = context.registry()?;
    let models = models(&registry, arguments)?;
    let grid = Grid {
        providers: providers(context, arguments),
        precisions: or(&arguments.precisions, &[Precision::F32, Precision::Bf16, Precision::Int8]),
        parallelism: parallelism(context, arguments),
        batch_sizes: arguments.batch_sizes.clone(),
        batch_tokens: arguments.batch_tokens.clone(),
    };
    let cells = grid.cells();
    ensure!(!cells.is_empty(), "no provider of the sweep can compute any of its precisions");
    let directory = arguments.out.clone().unwrap_or_else(|| context.results.join("bench"));
    create(&directory)?;
    context.printer.note(&format!(
        "bench: {} models × {} settings, {} pairs, {} timed passes each",
        models.len(),
        cells.len(),
        arguments.pairs,
        arguments.repeats
    ));
    let mut rows = Vec::new();
    match sweep(context, arguments, &models, &cells, &directory.join("bench.parquet"), &mut rows) {
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

/// Measures every cell; the table is written after each, so that an end before the last one loses only what it interrupts.
fn sweep(
    context: &Context,
    arguments: &BenchArguments,
    models: &[Model],
    cells: &[Execution],
    path: &Path,
    rows: &mut Vec<BenchRow>,
) -> Result<()> {
    let mut progress = context.printer.progress("bench", models.len() * cells.len());
    for model in models {
        let mut baseline = None;
        for &execution in cells {
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
            rows.push(row(&request, result, &mut baseline));
            table::write(path, rows, &Stamp { run: "bench".to_owned(), ..Stamp::default() })?;
            progress.advance(1);
        }
    }
    progress.finish();
    Ok(())
}

fn models(registry: &Registry, arguments: &BenchArguments) -> Result<Vec<Model>> {
    let chosen: Vec<&Model> = if arguments.models.is_empty() {
        registry.models.iter().filter(|m| m.role == Role::Evaluator && m.pool == arguments.pool).collect()
    } else {
        arguments.models.iter().map(|key| registry.get(key, Role::Evaluator)).collect::<Result<_>>()?
    };
    ensure!(!chosen.is_empty(), "the pool `{}` has no evaluators", arguments.pool);
    let ready: Vec<Model> =
        chosen.into_iter().filter(|model| presence(registry, model) == Presence::Ready).cloned().collect();
    ensure!(!ready.is_empty(), "no evaluator of the sweep is exported\nhint: `just models {}`", arguments.pool);
    Ok(ready)
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

/// The charts; says what was written.
fn draw(context: &Context, directory: &Path, rows: &[BenchRow]) -> Result<()> {
    let mut written = vec![directory.join("bench.parquet")];
    for (model, verdict) in verdicts(rows) {
        if verdict.is_some() {
            let path = directory.join(format!("bench-{model}.svg"));
            chart::draw(&path, model, &rows.iter().filter(|row| row.model == model).collect::<Vec<_>>())?;
            written.push(path);
        }
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

/// The table on stdout, and as its last lines what to use.
fn answer(context: &Context, rows: &[BenchRow], narrowed: bool) -> Result<ExitCode> {
    let mut text = format!(
        "{:<18} {:<9} {:<5} {:>3}×{:<3} {:>5} {:>6} {:>9} {:>9} {:>7} {:>7} {:>7} {:>6} {:>5} {:>9} {:>8}\n",
        "model",
        "provider",
        "prec",
        "w",
        "t",
        "batch",
        "tokens",
        "texts/s",
        "tokens/s",
        "p50 ms",
        "p99 ms",
        "MB",
        "pad %",
        "busy%",
        "max diff",
        "Spearman"
    );
    let number = |value: Option<f64>, digits: usize| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.digits$}"));
    for row in rows {
        let _ = write!(
            text,
            "{:<18} {:<9} {:<5} {:>3}×{:<3} {:>5} {:>6} ",
            row.model, row.provider, row.precision, row.workers, row.threads, row.batch_size, row.batch_tokens
        );
        let _ = match &row.error {
            Some(error) => writeln!(text, "did not run: {}", shortened(error)),
            None => writeln!(
                text,
                "{:>9} {:>9} {:>7} {:>7} {:>7} {:>6} {:>5} {:>9} {:>8}",
                number(row.texts_per_s, 1),
                number(row.tokens_per_s, 0),
                number(row.latency_ms_p50, 2),
                number(row.latency_ms_p99, 2),
                number(row.peak_memory_mb, 0),
                number(row.padding_waste.map(|share| share * 100.0), 1),
                number(row.busy_share.map(|share| share * 100.0), 0),
                row.largest_difference_vs_f32.map_or_else(|| "-".to_owned(), |d| format!("{d:.1e}")),
                number(row.spearman_vs_f32, 4),
            ),
        };
    }
    let verdicts = verdicts(rows);
    remember(context, rows, narrowed)?;
    let lines: Vec<String> = verdicts
        .iter()
        .map(|(model, verdict)| {
            verdict.map_or_else(|| format!("{model}: no settings worked, see `error`"), |verdict| verdict.line(model))
        })
        .collect();
    let what = if narrowed {
        "fastest of the settings that were asked for; remembered where they beat what is remembered already:"
    } else {
        "fastest here, and what `poq score` uses from now on where its settings leave it open:"
    };
    let _ = write!(text, "\n{what}\n{}", lines.join("\n"));
    context.printer.data(&text, &serde_json::json!({ "rows": rows, "answer": lines }))?;
    let worked = rows.iter().any(|row| row.error.is_none());
    Ok(if worked { ExitCode::Done } else { ExitCode::CouldNotRun })
}

/// The beginning of an error, for one line of a table; the whole of it stands in the Parquet file.
fn shortened(error: &str) -> String {
    const CHARACTERS: usize = 100;
    let line = error.lines().next().unwrap_or_default();
    if line.chars().count() <= CHARACTERS {
        return line.to_owned();
    }
    line.chars().take(CHARACTERS).chain("…".chars()).collect()
}
