//! `poq profile`: what every node costs → `profile.parquet`.

use super::context::{Context, Run, StageSummary};
use super::{generate, lineage, tasks};
use crate::cli::ProfileArguments;
use crate::dataset::sample;
use crate::exit_code::ExitCode;
use crate::generate::{Generator, Prompter, Request};
use crate::model::registry::{Model, Registry, Role};
use crate::profile::cost;
use crate::profile::{EVALUATOR, INFERENCE, Measurement, machine, measure_evaluator, measure_generator};
use crate::score::Evaluator;
use crate::score::evaluator::Parallelism;
use crate::score::pairs::{self, Pair};
use crate::settings::Settings;
use crate::store::Fingerprint;
use crate::store::rows::{ProfileRow, TaskRow};
use crate::store::run_record::StageRecord;
use crate::store::table;
use anyhow::{Context as _, Result, bail, ensure};
use std::collections::BTreeMap;

/// Marks a profile that is still being measured, so that a restart goes on with the next node.
const PARTIAL: &str = "partial:";

/// Runs the stage alone.
pub fn command(context: &Context, arguments: &ProfileArguments) -> Result<ExitCode> {
    let mut run = Run::open(&arguments.stage.run)?;
    run.override_settings(|settings| {
        settings.profile.samples = arguments.samples.unwrap_or(settings.profile.samples);
        settings.profile.given_latency_ms.extend(arguments.latencies.iter().cloned());
    })?;
    stage(context, &mut run, arguments.skip_missing)?.print(context, &run.record.settings)
}

/// The stage.
pub fn stage(context: &Context, run: &mut Run, skip_missing: bool) -> Result<StageSummary> {
    run.stage(context, "profile", |run| {
        let mut record = StageRecord::default();
        let nodes = nodes(context, run, skip_missing, &mut record.warnings)?;
        let inputs = lineage::of_profile(run)?;
        let models: BTreeMap<&str, Option<&String>> =
            nodes.iter().map(|node| (node.key(), run.record.models.get(node.key()))).collect();
        let fingerprint = Fingerprint::new("profile").text("inputs", &inputs).value("models", &models)?.finish();
        let whole = lineage::stamp(run, fingerprint.clone(), inputs.clone());
        let partial = lineage::stamp(run, format!("{PARTIAL}{fingerprint}"), inputs);
        let path = run.dir.table("profile");
        let stamp = table::stamp(&path)?.unwrap_or_default();
        let mut rows: Vec<ProfileRow> =
            if stamp == whole || stamp == partial { table::read(&path)? } else { Vec::new() };
        let mut computed = 0;
        if stamp != whole {
            let sample = Sample::draw(run)?;
            let mut progress = context.printer.progress("profile", nodes.len());
            for node in &nodes {
                if rows.iter().any(|row| row.node == node.key()) {
                    progress.advance(1);
                    continue;
                }
                context.check_quit()?;
                let row = measure(context, run, node, &sample).with_context(|| format!("node `{}`", node.key()))?;
                rows.push(row);
                computed += 1;
                progress.advance(1);
                table::write(&path, &rows, &partial)?;
            }
            progress.finish();
            set_costs(&mut rows)?;
            table::write(&path, &rows, &whole)?;
        }
        record.warnings.extend(set_costs(&mut rows)?);
        record.rows = rows.len();
        record.details.insert("computed_rows".into(), computed.into());
        Ok(record)
    })
}

/// A node and where its latency comes from.
enum Node {
    Measured { model: Box<Model>, node_type: &'static str },
    Given { key: String, node_type: &'static str, latency_ms: Option<f64>, source: &'static str },
}

impl Node {
    fn key(&self) -> &str {
        match self {
            Self::Measured { model, .. } => &model.key,
            Self::Given { key, .. } => key,
        }
    }
}

/// Every node of the run, inference nodes first.
fn nodes(context: &Context, run: &mut Run, skip_missing: bool, warnings: &mut Vec<String>) -> Result<Vec<Node>> {
    let settings = run.record.settings.clone();
    let imported = run.record.imported_from.is_some();
    let mut nodes = Vec::new();
    let mut measured = BTreeMap::new();
    for (node_type, role, keys) in [
        (INFERENCE, Role::Inference, &settings.generation.models),
        (EVALUATOR, Role::Evaluator, &settings.scoring.evaluators),
    ] {
        let given = &settings.profile.given_latency_ms;
        let to_measure: Vec<String> = keys
            .iter()
            .filter(|key| !(given.contains_key(*key) || imported && role == Role::Inference))
            .cloned()
            .collect();
        if !to_measure.is_empty() {
            let registry = context.registry()?;
            for model in run.available(&registry, &to_measure, role, skip_missing, warnings)? {
                measured.insert(model.key.clone(), model.clone());
            }
        }
        for key in keys.iter().filter(|key| !run.record.skipped_models.contains(key)) {
            if let Some(model) = measured.remove(key) {
                nodes.push(Node::Measured { model: Box::new(model), node_type });
            } else if let Some(&latency) = given.get(key) {
                let source = if imported { "imported" } else { "given" };
                nodes.push(Node::Given { key: key.clone(), node_type, latency_ms: Some(latency), source });
            } else if imported && role == Role::Inference {
                nodes.push(Node::Given { key: key.clone(), node_type, latency_ms: None, source: "unknown" });
            }
        }
    }
    ensure!(!nodes.is_empty(), "the run has no nodes");
    Ok(nodes)
}

/// What is timed: the same prompts for every inference node, the same pairs for every evaluator.
struct Sample {
    tasks: Vec<TaskRow>,
    pairs: Vec<Pair>,
}

impl Sample {
    fn draw(run: &Run) -> Result<Self> {
        let Settings { profile, .. } = &run.record.settings;
        let tasks = tasks::read(run)?;
        let all_pairs = pairs::pairs(&tasks, &generate::read(run)?)?;
        let usable: Vec<Pair> = all_pairs.into_iter().filter(|pair| pair.texts().is_ok()).collect();
        let pairs = sample::choose(usable, profile.evaluator_samples, profile.seed, |pair| {
            format!("{}\n{}", pair.task_id, pair.model)
        });
        let tasks = sample::choose(tasks, profile.samples, profile.seed, |task| task.task_id.clone());
        Ok(Self { tasks, pairs })
    }
}

fn measure(context: &Context, run: &mut Run, node: &Node, sample: &Sample) -> Result<ProfileRow> {
    let (model, node_type) = match node {
        Node::Measured { model, node_type } => (model, node_type),
        Node::Given { key, node_type, latency_ms, source } => {
            return Ok(ProfileRow {
                latency_ms_mean: *latency_ms,
                throughput: latency_ms.map(|ms| 1e3 / ms),
                latency_ms_p50: None,
                latency_ms_p95: None,
                latency_ms_p99: None,
                tokens_per_s: None,
                samples: 0,
                source: (*source).to_owned(),
                ..Measurement::empty_row(node_type, key)?
            });
        }
    };
    context.load_runtime(run)?;
    machine::reset_peak_memory();
    let registry = context.registry()?;
    let settings = &run.record.settings;
    let measurement = if *node_type == INFERENCE {
        measure_inference(context, &registry, model, settings, &sample.tasks)?
    } else {
        if sample.pairs.is_empty() {
            bail!("there is no answer to time it on");
        }
        let batch_size = model.scoring_facts()?.batch_size;
        let mut evaluator = Evaluator::open(&registry, model, Parallelism { workers: 1, threads: context.threads })?;
        let pairs: Vec<&Pair> = sample.pairs.iter().collect();
        measure_evaluator(&mut evaluator, &pairs, batch_size, settings.profile.warmup, &context.quit)?
    };
    Ok(measurement.row(node_type, &model.key))
}

fn measure_inference(
    context: &Context,
    registry: &Registry,
    model: &Model,
    settings: &Settings,
    tasks: &[TaskRow],
) -> Result<Measurement> {
    let prompter = Prompter::open(registry, model, &settings.generation)?;
    let requests: Vec<Request> = tasks.iter().map(|task| prompter.request(task)).collect::<Result<_>>()?;
    let mut generator = Generator::open(registry, model, prompter, context.threads)?;
    measure_generator(&mut generator, &requests, settings.profile.warmup, &context.quit)
}

/// Fills the cost norms, pool by pool, and says where a pool's costs mean nothing.
fn set_costs(rows: &mut [ProfileRow]) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    for node_type in [INFERENCE, EVALUATOR] {
        let members: Vec<usize> = (0..rows.len()).filter(|&i| rows[i].node_type == node_type).collect();
        let latencies: Vec<f64> = members.iter().filter_map(|&i| rows[i].latency_ms_mean).collect();
        if latencies.is_empty() && !members.is_empty() {
            warnings.push(format!(
                "nobody knows the latencies of the {node_type} nodes, so all cost 0 and rewards are quality alone; give them with `poq profile --latency NODE=MS`"
            ));
            for &i in &members {
                rows[i].cost_norm = 0.0;
            }
            continue;
        }
        let unknown: Vec<&str> =
            members.iter().filter(|&&i| rows[i].latency_ms_mean.is_none()).map(|&i| rows[i].node.as_str()).collect();
        ensure!(
            unknown.is_empty(),
            "some {node_type} nodes have a latency and these have none: {}\nhint: give it with `poq profile --latency NODE=MS`",
            unknown.join(", ")
        );
        let costs = cost::min_max(&latencies);
        for (&i, value) in members.iter().zip(&costs.values) {
            rows[i].cost_norm = *value;
        }
        if let Some(flat) = costs.flat {
            warnings.push(format!("{node_type} nodes: {flat}"));
        }
    }
    Ok(warnings)
}

/// The profile of a run.
pub fn read(run: &Run) -> Result<Vec<ProfileRow>> {
    let path = run.dir.table("profile");
    let rows = table::read(&path).context("the costs are not there yet")?;
    lineage::check(run, [path.clone()], &lineage::of_profile(run)?, "profile")?;
    ensure!(
        !table::stamp(&path)?.unwrap_or_default().fingerprint.starts_with(PARTIAL),
        "`{}` does not hold every node yet\nhint: `poq profile {}` goes on with it",
        path.display(),
        run.dir.root().display()
    );
    Ok(rows)
}
