//! `poq profile`: what every node costs → `profile.parquet`.

use super::context::Context;
use super::open_run::Run;
use super::summary::StageSummary;
use super::{generate, lineage, tasks};
use crate::cli::ProfileArguments;
use crate::dataset::sample;
use crate::exit_code::ExitCode;
use crate::generate::{Batching, Generator, Prompter, Request};
use crate::model::manifest::Exported;
use crate::model::registry::{Model, Registry, Role};
use crate::profile::cost;
use crate::profile::{
    EVALUATOR, INFERENCE, Measurement, machine, measure_evaluator, measure_generator, measure_generator_batched,
};
use crate::score::{Evaluator, Execution, Pair};
use crate::settings::{Scoring, Settings};
use crate::store::Fingerprint;
use crate::store::rows::{GenerationRow, ProfileRow, ScoredTask, TaskRow};
use crate::store::run_record::StageRecord;
use crate::store::table;
use anyhow::{Context as _, Result, bail, ensure};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Marks a profile that is still being measured, so that a restart goes on with the next node.
const PARTIAL: &str = "partial:";

/// Runs the stage alone.
pub fn command(context: &Context, arguments: &ProfileArguments) -> Result<ExitCode> {
    let mut run = Run::open(&arguments.stage.run)?;
    run.override_settings(|settings| {
        settings.profile.samples = arguments.samples.unwrap_or(settings.profile.samples);
        if !arguments.batch_sizes.is_empty() {
            settings.profile.batch_sizes.clone_from(&arguments.batch_sizes);
        }
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
        let models: Vec<(&str, Option<&str>)> = nodes.iter().map(|node| (node.key(), node.hash())).collect();
        let fingerprint = Fingerprint::new("profile").text("inputs", &inputs).value("models", &models)?.finish();
        let whole = lineage::stamp(run, fingerprint.clone(), inputs.clone());
        let partial = lineage::stamp(run, format!("{PARTIAL}{fingerprint}"), inputs);
        let path = run.dir.table("profile");
        let stamp = table::stamp(&path)?.unwrap_or_default();
        let mut rows: Vec<ProfileRow> =
            if stamp == whole || stamp == partial { table::read(&path)? } else { Vec::new() };
        if stamp != whole {
            let sample = Sample::draw(run)?;
            let mut progress = context.printer.progress("profile", nodes.len());
            for node in &nodes {
                if rows.iter().any(|row| row.node == node.key() && row.node_type == node.node_type()) {
                    progress.advance(1);
                    continue;
                }
                context.check_quit()?;
                rows.extend(measure(context, run, node, &sample).with_context(|| format!("node `{}`", node.key()))?);
                record.computed_rows += 1;
                progress.advance(1);
                table::write(&path, &rows, &partial)?;
            }
            progress.finish();
            set_costs(&mut rows);
            table::write(&path, &rows, &whole)?;
        }
        record.warnings.extend(set_costs(&mut rows));
        record.rows = rows.len();
        Ok(record)
    })
}

/// A node and where its latency comes from.
enum Node {
    Measured { model: Box<Model>, hash: String, node_type: &'static str },
    Given { key: String, node_type: &'static str, latency_ms: Option<f64>, source: &'static str },
}

impl Node {
    fn node_type(&self) -> &'static str {
        match self {
            Self::Measured { node_type, .. } | Self::Given { node_type, .. } => node_type,
        }
    }

    /// Hash of the files of a model that is measured.
    fn hash(&self) -> Option<&str> {
        match self {
            Self::Measured { hash, .. } => Some(hash),
            Self::Given { .. } => None,
        }
    }

    fn key(&self) -> &str {
        match self {
            Self::Measured { model, .. } => &model.key,
            Self::Given { key, .. } => key,
        }
    }
}

/// Every node of the run, inference nodes first. A latency that is given wins over one that came with the answers, and
/// that over a measurement; answers made elsewhere cannot be measured here.
fn nodes(context: &Context, run: &mut Run, skip_missing: bool, warnings: &mut Vec<String>) -> Result<Vec<Node>> {
    let settings = run.record.settings.clone();
    let given = &settings.profile.given_latency_ms;
    let imported = run.record.imported_from.is_some();
    let known = || settings.generation.models.iter().chain(&settings.scoring.evaluators);
    // A model of the registry may have left the run and come back; anything else is a slip of the pen.
    let stranger = given.keys().find(|key| !known().any(|node| node == *key));
    let registered =
        |key: &str| run.registry(context).is_ok_and(|registry| registry.models.iter().any(|m| m.key == key));
    if let Some(stranger) = stranger.filter(|key| !registered(key)) {
        let nodes = known().cloned().collect::<Vec<_>>().join(", ");
        bail!("a latency is given for `{stranger}`, which is no node of this run; its nodes are: {nodes}");
    }
    let mut nodes = Vec::new();
    for (node_type, role, keys) in [
        (INFERENCE, Role::Inference, &settings.generation.models),
        (EVALUATOR, Role::Evaluator, &settings.scoring.evaluators),
    ] {
        let elsewhere = imported && role == Role::Inference;
        let to_measure: Vec<String> =
            keys.iter().filter(|key| !(elsewhere || given.contains_key(*key))).cloned().collect();
        let mut measured = Vec::new();
        if !to_measure.is_empty() {
            let registry = registry_of(context, run, role)?;
            for model in run.available(&registry, &to_measure, role, skip_missing, warnings)? {
                measured.push((model.clone(), Exported::open(&registry, model)?.hash()));
            }
        }
        for key in run.taking_part(keys) {
            let came = run.record.imported_latency_ms.get(&key).filter(|_| elsewhere);
            nodes.push(match (measured.iter().find(|(model, _)| model.key == key), given.get(&key), came) {
                (Some((model, hash)), _, _) => {
                    Node::Measured { model: Box::new(model.clone()), hash: hash.clone(), node_type }
                }
                (None, Some(&ms), _) => Node::Given { key, node_type, latency_ms: Some(ms), source: "given" },
                (None, None, Some(&ms)) => Node::Given { key, node_type, latency_ms: Some(ms), source: "imported" },
                (None, None, None) => Node::Given { key, node_type, latency_ms: None, source: "unknown" },
            });
        }
    }
    ensure!(!nodes.is_empty(), "the run has no nodes");
    check_comparable(&nodes)?;
    Ok(nodes)
}

/// Models as those compute them that have this role.
fn registry_of(context: &Context, run: &Run, role: Role) -> Result<Registry> {
    match role {
        Role::Inference => run.generation_registry(context),
        Role::Evaluator => run.registry(context),
    }
}

/// Either every inference node has a latency or none has: a pool that is half known has no cost scale.
fn check_comparable(nodes: &[Node]) -> Result<()> {
    let unknown: Vec<&str> =
        nodes.iter().filter(|node| matches!(node, Node::Given { latency_ms: None, .. })).map(Node::key).collect();
    let inference = nodes.iter().filter(|node| node.node_type() == INFERENCE).count();
    ensure!(
        unknown.is_empty() || unknown.len() == inference,
        "some {INFERENCE} nodes have a latency and these have none: {}\nhint: give it with `poq profile RUN --latency NODE=MS`",
        unknown.join(", ")
    );
    Ok(())
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
        let generations = generate::read(run)?;
        // A prompt that some model could not answer would end that model's measurement, and the sample is the same for all.
        let failed: HashSet<String> =
            generations.iter().filter(|row| row.error.is_some()).map(|row| row.task_id.clone()).collect();
        let pairs = usable_pairs(&tasks, generations);
        let pairs = sample::choose(pairs, profile.evaluator_samples, profile.seed, |pair| {
            format!("{}\n{}", pair.task.task_id, pair.model)
        });
        let tasks = tasks.into_iter().filter(|task| !failed.contains(&task.task_id)).collect();
        let tasks = sample::choose(tasks, profile.samples, profile.seed, |task| task.task_id.clone());
        Ok(Self { tasks, pairs })
    }
}

/// Pairs that every evaluator can read, answers in the order of the generations.
fn usable_pairs(tasks: &[TaskRow], generations: Vec<GenerationRow>) -> Vec<Pair> {
    let by_id: HashMap<&str, Arc<ScoredTask>> =
        tasks.iter().map(|task| (task.task_id.as_str(), Arc::new(task.into()))).collect();
    let mut pairs = Vec::new();
    for row in generations {
        let (Some(task), Some(output)) = (by_id.get(row.task_id.as_str()), row.output) else { continue };
        let empty = |text: &str| text.trim().is_empty();
        if row.error.is_none() && ![&output, &task.reference, &task.input].into_iter().any(|text| empty(text)) {
            pairs.push(Pair { task: Arc::clone(task), model: row.model, output: Ok(output) });
        }
    }
    pairs
}

/// The rows of a node: the one that costs are taken from comes first.
fn measure(context: &Context, run: &mut Run, node: &Node, sample: &Sample) -> Result<Vec<ProfileRow>> {
    let (model, node_type) = match node {
        Node::Measured { model, node_type, .. } => (model, node_type),
        Node::Given { key, node_type, latency_ms, source } => {
            return Ok(vec![ProfileRow {
                latency_ms_mean: *latency_ms,
                throughput: latency_ms.map(|ms| 1e3 / ms),
                latency_ms_p50: None,
                latency_ms_p95: None,
                latency_ms_p99: None,
                latency_ms_stderr: None,
                tokens_per_s: None,
                samples: 0,
                source: (*source).to_owned(),
                ..Measurement::empty_row(node_type, key)?
            }]);
        }
    };
    let role = if *node_type == INFERENCE { Role::Inference } else { Role::Evaluator };
    let registry = registry_of(context, run, role)?;
    context.prepare(run, &registry, model)?;
    machine::reset_peak_memory();
    let settings = &run.record.settings;
    let measured = if *node_type == INFERENCE {
        measure_inference(context, &registry, model, settings, &sample.tasks)?
    } else {
        if sample.pairs.is_empty() {
            bail!("there is no answer to time it on");
        }
        let batch_size = model.scoring_facts()?.batch_size;
        let Scoring { provider, precision, .. } = settings.scoring;
        // One session with every thread, one batch at a time: a node is measured alone, at the batch size of Table 3.
        let execution = Execution {
            provider,
            precision,
            workers: 1,
            threads: context.threads,
            batch_size,
            batch_tokens: usize::MAX,
        };
        let mut evaluator = Evaluator::open(&registry, model, execution)?;
        let warmup = settings.profile.warmup;
        let mut measured = measure_evaluator(&mut evaluator, &sample.pairs, batch_size, warmup, &context.quit)?;
        provider.name().clone_into(&mut measured.device);
        vec![measured]
    };
    Ok(measured.iter().map(|measurement| measurement.row(node_type, &model.key)).collect())
}

fn measure_inference(
    context: &Context,
    registry: &Registry,
    model: &Model,
    settings: &Settings,
    tasks: &[TaskRow],
) -> Result<Vec<Measurement>> {
    ensure!(
        !tasks.is_empty(),
        "there is no prompt to time it on: every task failed with some model of the run\nhint: `poq generate RUN --retry-failed`, or leave that model out"
    );
    let prompter = Prompter::open(registry, model, &settings.generation)?;
    let requests: Vec<Request> = tasks.iter().map(|task| prompter.request(task)).collect::<Result<_>>()?;
    let mut generator = Generator::open(registry, model, prompter, context.threads)?;
    let (warmup, batching) = (settings.profile.warmup, Batching::one_by_one(&settings.generation));
    let mut measured = vec![measure_generator(&mut generator, &requests, batching, warmup, &context.quit)?];
    for &slots in &settings.profile.batch_sizes {
        machine::reset_peak_memory();
        let batching = Batching { slots, ..Batching::of(&settings.generation) };
        measured.push(measure_generator_batched(&mut generator, &requests, batching, warmup, &context.quit)?);
    }
    Ok(measured)
}

/// Fills the cost norms, pool by pool, and says where a pool's costs mean nothing. A node's cost comes from its first row,
/// and stands in all of them.
fn set_costs(rows: &mut [ProfileRow]) -> Vec<String> {
    let mut warnings = Vec::new();
    for node_type in [INFERENCE, EVALUATOR] {
        let mut nodes: Vec<(String, Option<f64>)> = Vec::new();
        for row in rows.iter().filter(|row| row.node_type == node_type) {
            if !nodes.iter().any(|(node, _)| *node == row.node) {
                nodes.push((row.node.clone(), row.latency_ms_mean));
            }
        }
        let latencies: Vec<f64> = nodes.iter().filter_map(|(_, latency)| *latency).collect();
        let costs = if latencies.is_empty() && !nodes.is_empty() {
            warnings.push(format!(
                "nobody knows the latencies of the {node_type} nodes, so all cost 0 and rewards are quality alone; give them with `poq profile --latency NODE=MS`"
            ));
            vec![0.0; nodes.len()]
        } else {
            let costs = cost::min_max(&latencies);
            warnings.extend(costs.flat.map(|flat| format!("{node_type} nodes: {flat}")));
            costs.values
        };
        for ((node, _), cost) in nodes.iter().zip(costs) {
            let own = rows.iter_mut().filter(|row| row.node_type == node_type && row.node == *node);
            own.for_each(|row| row.cost_norm = cost);
        }
    }
    warnings
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
