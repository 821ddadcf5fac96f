//! Everything around a decode step, as a share of its throughput: the engine (drawing tokens, admitting and releasing rows)
//! against a bare loop of the same steps over the same slots that draws nothing. Prompts are read before the clock starts.
//! Needs an exported `smollm2_135m`; says so and does nothing where there is none.
//!
//! Not a criterion benchmark: the two take turns in one process, and what counts is the ratio of the medians.

#![allow(missing_docs, clippy::print_stdout)]

use anyhow::{Context, Result};
use poq::executor::Quit;
use poq::generate::engine::{self, Options, Prompt};
use poq::generate::packing::{Packing, plan};
use poq::generate::sampling::Sampling;
use poq::model::decoder::Decoder;
use poq::model::manifest::Exported;
use poq::model::provider::Provider;
use poq::model::registry::{Registry, Role};
use poq::model::runtime;
use poq::model::session::SessionOptions;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const MODEL: &str = "smollm2_135m";
const SLOTS: usize = 32;
const PROMPT: usize = 170;
const STEPS: usize = 48;
const REPEATS: usize = 5;

fn main() -> Result<()> {
    let models = Path::new("models");
    let registry = Registry::open(models)?;
    let model = registry.get(MODEL, Role::Inference)?;
    if Exported::open(&registry, model).is_err() {
        println!("decode_loop: not run, `{MODEL}` is not exported");
        return Ok(());
    }
    runtime::load(models, Provider::Cpu)?;
    let threads = std::thread::available_parallelism()?.get();
    let mut decoder = Decoder::open(&registry, model, SessionOptions::cpu(threads, true))?;
    // A common beginning of all but a few tokens: reading the prompts takes little of the time.
    let ids = |row: u32| (0..PROMPT as u32).map(|at| if at < 160 { 1000 + at } else { 2000 + 97 * row + at }).collect();
    let prompts: Vec<Prompt> =
        (0..SLOTS as u32).map(|row| Prompt { index: row as usize, ids: ids(row), seed: 0, wanted: true }).collect();
    let options = Options {
        slots: SLOTS,
        pass_tokens: 512,
        max_length: model.max_length,
        kv_bytes: 2 << 30,
        share_prefixes: true,
        max_new_tokens: STEPS + 1,
        sampling: Arc::new(Sampling::greedy(&[])),
    };
    let (mut bare, mut whole) = (Vec::new(), Vec::new());
    for repeat in 0..=REPEATS {
        let bare_time = run_bare(&mut decoder, &prompts)?;
        let totals = engine::run(&mut decoder, &prompts, &options, &Quit::default(), |_| Ok(()))?;
        assert_eq!((totals.steps, totals.failed), (STEPS, 0), "the engine makes the steps that the bare loop makes");
        // All that is not reading prompts: steps, and what stands between them.
        let whole_time = totals.elapsed.checked_sub(totals.prefill).context("elapsed includes reading")?;
        // The first round warms both up.
        if repeat > 0 {
            let ratio = bare_time.as_secs_f64() / whole_time.as_secs_f64();
            println!(
                "round {repeat}: bare {:.2} s, whole {:.2} s, ratio {ratio:.3}",
                bare_time.as_secs_f64(),
                whole_time.as_secs_f64()
            );
            bare.push(bare_time);
            whole.push(whole_time);
        }
    }
    let ratio = median(&mut bare).as_secs_f64() / median(&mut whole).as_secs_f64();
    let rate = (SLOTS * STEPS) as f64 / median(&mut whole).as_secs_f64();
    println!("whole / bare throughput: {ratio:.3} (medians of {REPEATS}), {rate:.0} tokens/s in {SLOTS} slots");
    Ok(())
}

/// Steps alone: the tokens are whatever, for a step costs the same.
fn run_bare(decoder: &mut Decoder, prompts: &[Prompt]) -> Result<Duration> {
    let views: Vec<&[u32]> = prompts.iter().map(|prompt| prompt.ids.as_slice()).collect();
    let packing = Packing { tokens: 1024, row: 2048, prompts: SLOTS, share: true };
    let chunks = plan(&views, packing);
    let [chunk] = &chunks[..] else { anyhow::bail!("the prompts fit one pass") };
    let mut trunk = decoder.trunk(chunk.width(&views))?;
    let mut slots = decoder.slots(SLOTS, (PROMPT + STEPS + 1).next_multiple_of(16))?;
    let layout = chunk.layout(&views, 1024);
    for pass in &layout.passes {
        decoder.prefill(&mut trunk, pass)?;
    }
    for (slot, path) in layout.paths.iter().enumerate() {
        slots.admit(slot, &trunk, path)?;
    }
    let started = Instant::now();
    for step in 0..STEPS {
        decoder.step(&mut slots, &[Some(3000 + step as u32); SLOTS])?;
    }
    Ok(started.elapsed())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
