//! Everything around inference, as a share of its throughput: `poq score`'s computing pass (streamed pairs, tokenising,
//! planning, stored results) against a bare loop that runs the same sessions over the same ready-made batches. Needs an
//! exported `sts_minilm_l6`; says so and does nothing where there is none.
//!
//! Not a criterion benchmark: the two take turns in one process, and what counts is the ratio of the medians.

#![allow(missing_docs, clippy::print_stdout)]

use anyhow::Result;
use poq::bench::sample;
use poq::dataset;
use poq::executor::{Backend, Limits, Quit, Ready, Tokenise, batch};
use poq::model::manifest::Exported;
use poq::model::provider::{Precision, Provider};
use poq::model::registry::{Registry, Role};
use poq::model::runtime;
use poq::model::session::SessionOptions;
use poq::model::tokenizer::Tokenizer;
use poq::score::compute::compute;
use poq::score::graph::Graph;
use poq::score::{Evaluator, Execution, Pair};
use poq::settings::{Data, DataSet};
use poq::store::work::WorkStore;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const MODEL: &str = "sts_minilm_l6";
const PAIRS: usize = 700;
const REPEATS: usize = 7;

fn main() -> Result<()> {
    let models = Path::new("models");
    let registry = Registry::open(models)?;
    let model = registry.get(MODEL, Role::Evaluator)?;
    let Ok(exported) = Exported::open(&registry, model) else {
        println!("bare_loop: not run, `{MODEL}` is not exported");
        return Ok(());
    };
    runtime::load(models, Provider::Cpu)?;
    let workers = std::thread::available_parallelism()?.get().min(4);
    let execution = Execution {
        provider: Provider::Cpu,
        precision: Precision::F32,
        workers,
        threads: 1,
        batch_size: 32,
        batch_tokens: 256,
    };
    let pairs = pairs()?;
    let mut evaluator = Evaluator::open(&registry, model, execution)?;
    let options = SessionOptions::cpu(1, false);
    let mut graphs: Vec<Graph> = (0..workers).map(|_| Graph::open(&registry, model, options)).collect::<Result<_>>()?;
    let tokenizer = Tokenizer::open(&exported.file("tokenizer.json"), Some(model.max_length))?;
    let batches = ready_made(&evaluator, &tokenizer, &pairs)?;
    let (mut bare, mut whole, mut busy) = (Vec::new(), Vec::new(), Vec::new());
    for repeat in 0..=REPEATS {
        let started = Instant::now();
        run_bare(&mut graphs, &batches)?;
        let bare_time = started.elapsed();
        let directory = tempfile::tempdir()?;
        let store = WorkStore::open(&directory.path().join("work.redb"))?;
        let started = Instant::now();
        let totals = compute(&mut evaluator, pairs.iter().cloned().map(Ok), &store, &Quit::default(), |_| {})?;
        let whole_time = started.elapsed();
        // The first round warms both up.
        if repeat > 0 {
            println!(
                "round {repeat}: bare {:.2} s, whole {:.2} s, ratio {:.3}, workers busy {:.1} %",
                bare_time.as_secs_f64(),
                whole_time.as_secs_f64(),
                bare_time.as_secs_f64() / whole_time.as_secs_f64(),
                totals.busy_share() * 100.0
            );
            bare.push(bare_time);
            whole.push(whole_time);
            busy.push(totals.busy_share());
        }
    }
    busy.sort_by(f64::total_cmp);
    let ratio = median(&mut bare).as_secs_f64() / median(&mut whole).as_secs_f64();
    println!(
        "whole / bare throughput: {ratio:.3} (medians of {REPEATS}); workers busy {:.1} %",
        busy[REPEATS / 2] * 100.0
    );
    Ok(())
}

fn pairs() -> Result<Vec<Pair>> {
    let registry = dataset::registry::Registry::open(Path::new("datasets"))?;
    let set = |key: &str| DataSet { dataset: key.to_owned(), sample: None };
    let tasks = dataset::load(&registry, &Data { seed: 42, sets: vec![set("quick_squad"), set("quick_news")] })?;
    Ok(sample::pairs(&tasks, PAIRS, 42))
}

/// The distinct texts, tokenised and planned beforehand.
fn ready_made(evaluator: &Evaluator, tokenizer: &Tokenizer, pairs: &[Pair]) -> Result<Vec<Vec<Ready>>> {
    let (jobs, _) = evaluator.identity().jobs(pairs);
    let mut rows = Vec::with_capacity(jobs.len());
    for job in jobs {
        rows.push(Ready {
            index: job.index,
            encoding: tokenizer.tokenise(&job.text)?,
            tokenise: Duration::ZERO,
            since: Instant::now(),
        });
    }
    Ok(batch::plan(rows, Limits::new(32, 256)))
}

/// Nothing but inference: as many threads as sessions, each taking the next batch.
fn run_bare(graphs: &mut [Graph], batches: &[Vec<Ready>]) -> Result<()> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let threads: Vec<_> = graphs
            .iter_mut()
            .map(|graph| {
                scope.spawn(|| -> Result<()> {
                    while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                        graph.infer(batch)?;
                    }
                    Ok(())
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
    })
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}
