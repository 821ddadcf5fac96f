//! `poq bench`: a sweep over the settings of a pool's evaluators → `bench.parquet`, `bench-<model>.svg`, and the answer.

use super::context::Context;
use super::execution::MOST_SESSIONS;
use crate::bench::calibration::Calibration;
use crate::bench::verdict::{fastest, verdicts};
use crate::bench::{CellRequest, CellResult, Grid, cell, chart, grid, sample};
use crate::cli::{BenchArguments, BenchCellArguments};
use crate::dataset;
use crate::executor::Interrupted;
use crate::exit_code::ExitCode;
use crate::model::manifest::{Exported, Presence, presence};
use crate::model::provider::{Precision, Provider};
use crate::model::registry::{Model, Registry, Role};
use crate::model::runtime;
use crate::profile::machine;
use crate::report::statistics::agreement;
use crate::score::{Execution, Pair};
use crate::settings::{Data, DataSet};
use crate::store::rows::BenchRow;
use crate::store::table::{self, Stamp};
use anyhow::{Context as _, Result, bail, ensure};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Data sets whose texts are read: those that the repository carries.
const DATA_SETS: [&str; 2] = ["quick_squad", "quick_news"];

/// Runs the sweep.
pub fn command(context: &Context, arguments: &BenchArguments) -> Result<ExitCode> {
    let registry = context.registry()?;
    let models = models(&registry, arguments)?;
    let grid = Grid {
        providers: providers(context, arguments),
        precisions: or(&arguments.precisions, &[Precision::F32, Precision::Bf16, Precision::Int8]),
        parallelism: parallelism(context, arguments),
        batch_sizes: or(&arguments.batch_sizes, &[4, 8, 32]),
        batch_tokens: or(&arguments.batch_tokens, &[256, 2048]),
    };
    let cells = grid.cells();
    ensure!(!cells.is_empty(), "no provider of the sweep can compute any of its precisions");
    context.printer.note(&format!(
        "bench: {} models × {} settings, {} pairs, {} timed passes each",
        models.len(),
        cells.len(),
        arguments.pairs,
        arguments.repeats
    ));
    let mut progress = context.printer.progress("bench", models.len() * cells.len());
    let mut rows = Vec::new();
    for model in &models {
        let mut baseline = None;
        for &execution in &cells {
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
            progress.advance(1);
        }
    }
    progress.finish();
    write(context, arguments, &rows)?;
    answer(context, &rows)
}

/// The hidden half: one cell, in a process of its own.
pub fn cell_command(context: &Context, arguments: &BenchCellArguments) -> Result<ExitCode> {
    let request: CellRequest = serde_json::from_str(&arguments.request).context("the request of a bench cell")?;
    let registry = context.registry()?;
    let model = registry.get(&request.model, Role::Evaluator)?;
    runtime::load(&context.models, request.execution.provider)?;
    Exported::open(&registry, model)?.verify()?;
    let pairs = sample_pairs(context, request.pairs, request.seed)?;
    let result = cell::measure(&registry, model, &request, &pairs, &context.quit)?;
    context.printer.data(&serde_json::to_string(&result)?, &result)?;
    Ok(ExitCode::Done)
}

/// The settings that are fastest for one model at one provider and precision, found in seconds and remembered.
pub fn calibrate(context: &Context, model: &Model, provider: Provider, precision: Precision) -> Result<Execution> {
    let grid = Grid {
        providers: vec![provider],
        precisions: vec![precision],
        parallelism: grid::parallelism(context.threads, MOST_SESSIONS),
        batch_sizes: vec![8, 32],
        batch_tokens: vec![256, 512],
    };
    let cells = grid.cells();
    let mut progress = context.printer.progress(&format!("calibrate {}", model.key), cells.len());
    let mut best: Option<(Execution, f64)> = None;
    for execution in cells {
        context.check_quit()?;
        let request = CellRequest { model: model.files_key().to_owned(), execution, pairs: 48, seed: 42, repeats: 2 };
        let result = run_cell(context, &request)?;
        let speed = result.tokens as f64 / median(&result.seconds);
        if best.is_none_or(|(_, fastest)| speed > fastest) {
            best = Some((execution, speed));
        }
        progress.advance(1);
    }
    progress.finish();
    let (execution, speed) = best.context("no settings to calibrate; this is a bug")?;
    Calibration::open(&context.models).remember(&machine::describe(), model.files_key(), execution, speed)?;
    Ok(execution)
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

fn sample_pairs(context: &Context, count: usize, seed: u64) -> Result<Vec<Pair>> {
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
    let mut tasks = dataset::load(&registry, &data)?;
    // Short questions and long articles in turn, however few are taken.
    tasks.sort_by_cached_key(|task| crate::digest::hex(&crate::digest::sha256_fields([task.task_id.as_bytes()])));
    let pairs = sample::pairs(&tasks, count, seed);
    ensure!(!pairs.is_empty(), "the data sets hold no text to read");
    Ok(pairs)
}

/// Measures a cell in a process of its own; its error is the cell's.
fn run_cell(context: &Context, request: &CellRequest) -> Result<CellResult> {
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
        bail!("{}", own_error(&String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout).context("a bench cell answered nonsense; this is a bug")
}

/// What poq said itself: libraries write whole logs before it.
fn own_error(stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().collect();
    let first = lines.iter().rposition(|line| line.starts_with("error: ")).unwrap_or(0);
    lines[first.min(lines.len())..].join("\n").trim_start_matches("error: ").trim().to_owned()
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// The table row of a cell; the first f32 cell of a model is what its others are compared with.
fn row(request: &CellRequest, result: Result<CellResult>, baseline: &mut Option<Vec<Option<f64>>>) -> BenchRow {
    let Execution { provider, precision, workers, threads, batch_size, batch_tokens } = request.execution;
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    let (result, error) = match result {
        Ok(result) => (Some(result), None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    if let (None, Some(result), Precision::F32) = (&baseline, &result, precision) {
        *baseline = Some(result.scores.clone());
    }
    let compared = baseline.as_ref().zip(result.as_ref()).map(|(expected, result)| {
        let differences =
            expected.iter().zip(&result.scores).filter_map(|(a, b)| Some((a.as_ref()? - b.as_ref()?).abs()));
        (differences.fold(0.0, f64::max), agreement(expected, &result.scores).spearman)
    });
    let seconds = result.as_ref().map(|result| median(&result.seconds));
    let figure = |read: fn(&CellResult) -> f64| result.as_ref().map(read);
    BenchRow {
        model: request.model.clone(),
        provider: provider.name().to_owned(),
        precision: precision.name().to_owned(),
        workers: count(workers),
        threads: count(threads),
        batch_size: count(batch_size),
        batch_tokens: count(batch_tokens),
        texts: result.as_ref().map_or(0, |result| result.texts as i64),
        tokens: result.as_ref().map_or(0, |result| result.tokens as i64),
        repeats: count(request.repeats),
        seconds,
        texts_per_s: result.as_ref().zip(seconds).map(|(result, seconds)| result.texts as f64 / seconds),
        tokens_per_s: result.as_ref().zip(seconds).map(|(result, seconds)| result.tokens as f64 / seconds),
        latency_ms_p50: figure(|result| result.latency_ms_p50),
        latency_ms_p95: figure(|result| result.latency_ms_p95),
        latency_ms_p99: figure(|result| result.latency_ms_p99),
        peak_memory_mb: result.as_ref().and_then(|result| result.peak_memory_mb),
        padding_waste: figure(|result| result.padding_waste),
        busy_share: figure(|result| result.busy_share),
        largest_difference_vs_f32: compared.map(|(largest, _)| largest),
        spearman_vs_f32: compared.and_then(|(_, spearman)| spearman),
        error,
    }
}

fn write(context: &Context, arguments: &BenchArguments, rows: &[BenchRow]) -> Result<()> {
    let directory = arguments.out.clone().unwrap_or_else(|| context.results.join("bench"));
    std::fs::create_dir_all(&directory).with_context(|| format!("cannot create `{}`", directory.display()))?;
    let path = directory.join("bench.parquet");
    table::write(&path, rows, &Stamp { run: "bench".to_owned(), ..Stamp::default() })?;
    let mut written = vec![path];
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

/// The table on stdout, and as its last lines what to use.
fn answer(context: &Context, rows: &[BenchRow]) -> Result<ExitCode> {
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
    let mut calibration = Calibration::open(&context.models);
    for row in fastest(rows) {
        let speed = row.tokens_per_s.unwrap_or_default();
        calibration.remember(&machine::describe(), &row.model, execution(row)?, speed)?;
    }
    let lines: Vec<String> = verdicts
        .iter()
        .map(|(model, verdict)| {
            verdict.map_or_else(|| format!("{model}: no settings worked, see `error`"), |verdict| verdict.line(model))
        })
        .collect();
    let _ = write!(
        text,
        "\nfastest here, and what `poq score` uses from now on where its settings leave it open:\n{}",
        lines.join("\n")
    );
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

fn execution(row: &BenchRow) -> Result<Execution> {
    let provider = serde_json::from_value(row.provider.clone().into())?;
    let precision = serde_json::from_value(row.precision.clone().into())?;
    let count = |n: i32| n.unsigned_abs() as usize;
    Ok(Execution {
        provider,
        precision,
        workers: count(row.workers),
        threads: count(row.threads),
        batch_size: count(row.batch_size),
        batch_tokens: count(row.batch_tokens),
    })
}
