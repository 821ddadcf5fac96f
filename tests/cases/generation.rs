//! Answers do not depend on how they were made: slots, budgets, threads, neighbours and resumption.

use crate::support::{library, repository};
use poq::executor::Quit;
use poq::generate::engine::{self, Options, Prompt};
use poq::generate::outcome::{Finished, Totals};
use poq::generate::sampling::Sampling;
use poq::generate::{Batching, Generator, Prompter, Request};
use poq::model::decoder::Decoder;
use poq::model::provider::Provider;
use poq::model::registry::{Registry, Role};
use poq::model::runtime;
use poq::model::session::SessionOptions;
use poq::settings::Generation;
use poq::store::rows::{GenerationRow, TaskRow};
use poq::store::samples;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Five questions on each of some passages, and a few long articles: prompts that share and prompts that do not.
fn tasks() -> Vec<TaskRow> {
    let passage =
        |number: usize| format!("The lighthouse number {number} had {} lamps and a keeper. ", number * 3).repeat(3);
    let question = |number: usize, question: usize| TaskRow {
        question: Some(format!("Who kept lamp {question}?")),
        context: Some(passage(number)),
        ..samples::task(&format!("q{number}-{question}"))
    };
    let article = |number: usize| TaskRow {
        task_type: "summarization".into(),
        context: Some(format!("The council met for the {number}th time. ").repeat(4 * number)),
        ..samples::task(&format!("n{number}"))
    };
    let questions = (1..=4).flat_map(|number| (0..5).map(move |place| question(number, place)));
    questions.chain((1..=4).map(article)).collect()
}

fn settings(temperature: f64) -> Generation {
    Generation { max_new_tokens: 20, temperature, ..Generation::default() }
}

/// A tiny model, asked with these settings.
struct Asked {
    generator: Generator,
    requests: Vec<Request>,
}

impl Asked {
    fn new(model: &str, settings: &Generation, threads: usize) -> Self {
        let registry = Registry::open(&repository().join("tests/fixtures/tiny")).expect("registry");
        let model = registry.get(model, Role::Inference).expect("known").clone();
        let _ = library();
        runtime::load(&repository().join("models"), Provider::Cpu).expect("runtime loads");
        let prompter = Prompter::open(&registry, &model, settings).expect("prompter");
        let requests = tasks().iter().map(|task| prompter.request(task).expect("request")).collect();
        Self { generator: Generator::open(&registry, &model, prompter, threads).expect("loads"), requests }
    }

    /// Answers by task, in the order of the tasks, without timings; and what they took.
    fn answer(&mut self, batching: Batching, wanted: impl Fn(&str) -> bool + Sync) -> (Vec<GenerationRow>, Totals) {
        let mut rows = Vec::new();
        let wanted = |request: &Request| wanted(&request.task_id);
        let keep = |done: Vec<GenerationRow>| {
            rows.extend(done);
            Ok(())
        };
        let totals = self.generator.answer(&self.requests, wanted, batching, &Quit::default(), keep).expect("answers");
        for row in &mut rows {
            (row.latency_ms, row.first_token_ms, row.decode_ms, row.batch_rows) = (None, None, None, None);
        }
        rows.sort_by_key(|row| self.requests.iter().position(|request| request.task_id == row.task_id));
        (rows, totals)
    }
}

fn outputs(rows: &[GenerationRow]) -> Vec<(&str, Option<&str>)> {
    rows.iter().map(|row| (row.task_id.as_str(), row.output_raw.as_deref())).collect()
}

#[test]
fn slots_threads_and_memory_change_no_answer() {
    for temperature in [0.0, 0.7] {
        let settings = settings(temperature);
        let wide = Batching::of(&settings);
        let (all, totals) = Asked::new("tiny_decoder", &settings, 2).answer(wide, |_| true);
        assert_eq!((all.len(), totals.failed), (24, 0));
        assert!(all.iter().any(|row| row.output_tokens == Some(20)), "some answers run into the limit");
        for (slots, threads) in [(1, 1), (2, 2), (3, 1), (7, 2), (100, 2)] {
            let (rows, _) = Asked::new("tiny_decoder", &settings, threads).answer(Batching { slots, ..wide }, |_| true);
            assert_eq!(rows, all, "{slots} slots, {threads} threads, temperature {temperature}");
        }
        // Room for hardly more than one long row: chunks become smaller, answers stay.
        let tight = Batching { kv_bytes: Some(totals.kv_bytes / 5), ..wide };
        let (rows, tight_totals) = Asked::new("tiny_decoder", &settings, 2).answer(tight, |_| true);
        assert!(
            tight.kv_bytes.is_some_and(|most| tight_totals.kv_bytes <= most),
            "{} of {tight:?}",
            tight_totals.kv_bytes
        );
        assert_eq!(outputs(&rows), outputs(&all));
    }
}

#[test]
fn a_resumed_run_gives_the_bits_of_an_undisturbed_one() {
    let settings = settings(0.7);
    let batching = Batching { pass_tokens: 200, ..Batching::of(&settings) };
    let mut asked = Asked::new("tiny_decoder", &settings, 2);
    let (all, _) = asked.answer(batching, |_| true);
    let missing = |task: &str| ["q1-3", "q3-0", "q4-4", "n2"].contains(&task);
    let (rest, totals) = asked.answer(batching, missing);
    assert_eq!(totals.rows, 4);
    let own: usize = rest
        .iter()
        .filter_map(|row| row.prompt_tokens.zip(row.prefix_tokens))
        .map(|(all, shared)| (all - shared) as usize)
        .sum();
    assert!(totals.read_tokens > own, "neighbours that are done are read again: {} of {own}", totals.read_tokens);
    let expected: Vec<GenerationRow> = all.into_iter().filter(|row| missing(&row.task_id)).collect();
    assert_eq!(rest, expected);
}

#[test]
fn shared_beginnings_are_read_once_and_change_no_greedy_answer() {
    let settings = settings(0.0);
    for model in ["tiny_decoder", "tiny_decoder_b", "tiny_gemma2", "tiny_gemma3"] {
        let alone = Batching { share_prefixes: false, pass_tokens: 1, ..Batching::of(&settings) };
        let (expected, totals) = Asked::new(model, &settings, 2).answer(alone, |_| true);
        assert_eq!(totals.read_tokens, totals.prompt_tokens, "{model}");
        assert_eq!((totals.near_ties, totals.failed), (0, 0), "{model}: a near tie may fall either way");
        for pass_tokens in [16, 100, 512, 4096] {
            let batching = Batching { pass_tokens, ..Batching::of(&settings) };
            let (rows, totals) = Asked::new(model, &settings, 2).answer(batching, |_| true);
            assert_eq!(outputs(&rows), outputs(&expected), "{model}, {pass_tokens} tokens a pass");
            assert!(totals.shared() > 0.3, "{model}, {pass_tokens} tokens a pass: {}", totals.shared());
            let saved: i32 = rows.iter().filter_map(|row| row.prefix_tokens).sum();
            assert_eq!(totals.prompt_tokens - totals.read_tokens, usize::try_from(saved).expect("positive"));
        }
    }
}

/// Recorded from transformers (`export/record_families.py`): models with sliding windows and soft-capping.
#[derive(Deserialize)]
struct Recorded {
    ids: Vec<u32>,
    greedy: Vec<u32>,
}

#[test]
fn windows_and_caps_answer_as_transformers_does() {
    let path = repository().join("tests/expected/tiny_families_greedy.json");
    let recorded: BTreeMap<String, Vec<Recorded>> =
        serde_json::from_str(&std::fs::read_to_string(path).expect("read")).expect("recorded");
    assert_eq!(recorded.len(), 2);
    let registry = Registry::open(&repository().join("tests/fixtures/tiny")).expect("registry");
    let _ = library();
    runtime::load(&repository().join("models"), Provider::Cpu).expect("runtime loads");
    for (key, rows) in recorded {
        let model = registry.get(&key, Role::Inference).expect("known");
        let mut decoder = Decoder::open(&registry, model, SessionOptions::cpu(2, true)).expect("loads");
        let prompt = |(index, row): (usize, &Recorded)| Prompt { index, ids: row.ids.clone(), seed: 0, wanted: true };
        let prompts: Vec<Prompt> = rows.iter().enumerate().map(prompt).collect();
        for slots in [1, 3, 32] {
            let options = Options {
                slots,
                pass_tokens: 16,
                max_length: model.max_length,
                kv_bytes: 1 << 30,
                share_prefixes: true,
                max_new_tokens: rows[0].greedy.len(),
                sampling: Arc::new(Sampling::greedy(&[])),
            };
            let mut answers = vec![Vec::new(); rows.len()];
            let keep = |finished: Vec<Finished>| {
                for (index, answer) in finished {
                    answers[index] = answer.expect("answered").tokens;
                }
                Ok(())
            };
            engine::run(&mut decoder, &prompts, &options, &Quit::default(), keep).expect("runs");
            for (row, tokens) in rows.iter().zip(&answers) {
                assert_eq!(tokens, &row.greedy, "{key}, {slots} slots");
            }
        }
    }
}

#[test]
fn a_budget_too_small_for_a_row_fails_that_row_alone() {
    let settings = settings(0.0);
    let mut asked = Asked::new("tiny_decoder", &settings, 2);
    let one_by_one = Batching { slots: 1, share_prefixes: false, pass_tokens: 1, ..Batching::of(&settings) };
    let (all, totals) = asked.answer(one_by_one, |_| true);
    // Just less than the longest row needs.
    let small = Batching { kv_bytes: Some(totals.kv_bytes - 1), ..one_by_one };
    let (rows, small_totals) = asked.answer(small, |_| true);
    let (failed, answered): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.error.is_some());
    assert!(!failed.is_empty() && failed.len() < 5, "{} failed", failed.len());
    assert_eq!(small_totals.failed, failed.len());
    let longest = all.iter().map(|row| row.prompt_tokens).max().expect("rows");
    for row in &failed {
        assert!(row.error.as_deref().is_some_and(|error| error.contains("generation.kv_cache_mb")), "{:?}", row.error);
        assert_eq!((&row.output, row.prompt_tokens), (&None, longest));
    }
    let expected: Vec<_> =
        all.into_iter().filter(|row| answered.iter().any(|own| own.task_id == row.task_id)).collect();
    assert_eq!(outputs(&answered), outputs(&expected));
}

/// `tiny_decoder_nan` returns NaN for every prompt with a `~` in it.
#[test]
fn a_prompt_without_usable_logits_fails_alone_and_its_neighbours_answer_as_without_it() {
    let settings = settings(0.7);
    let poison = |asked: &mut Asked, tasks: &[&str]| {
        for request in asked.requests.iter_mut().filter(|request| tasks.contains(&request.task_id.as_str())) {
            // Behind the passage that the question shares with others.
            request.prompt = request.prompt.clone().map(|prompt| prompt.replace("<|im_end|>", "~<|im_end|>"));
        }
    };
    for (slots, pass_tokens) in [(32, 512), (1, 512), (3, 60)] {
        let batching = Batching { slots, pass_tokens, ..Batching::of(&settings) };
        let mut asked = Asked::new("tiny_decoder_nan", &settings, 2);
        let (sound, _) = asked.answer(batching, |_| true);
        assert!(sound.iter().all(|row| row.error.is_none()), "a model like any other without the poison");
        let bad = ["q2-1", "q3-4"];
        poison(&mut asked, &bad);
        let (rows, totals) = asked.answer(batching, |_| true);
        assert_eq!((rows.len(), totals.failed), (24, 2));
        for row in rows.iter().filter(|row| bad.contains(&row.task_id.as_str())) {
            assert!(row.error.as_deref().is_some_and(|error| error.contains("NaN")), "{:?}", row.error);
        }
        let good = |rows: &[GenerationRow]| -> Vec<(String, Option<String>)> {
            let good = rows.iter().filter(|row| !bad.contains(&row.task_id.as_str()));
            good.map(|row| (row.task_id.clone(), row.output_raw.clone())).collect()
        };
        assert_eq!(good(&rows), good(&sound), "{slots} slots, {pass_tokens} tokens a pass");
        // Resumed with the failed rows done: the very same rows.
        let missing = |task: &str| ["q2-0", "q2-4", "q3-0", "n1"].contains(&task);
        let (rest, _) = asked.answer(batching, missing);
        let expected: Vec<GenerationRow> = rows.into_iter().filter(|row| missing(&row.task_id)).collect();
        assert_eq!(rest, expected);
    }
}

#[test]
fn an_answer_is_as_long_as_it_must_be() {
    let short = Generation { min_new_tokens: 20, ..settings(0.7) };
    let (rows, _) = Asked::new("tiny_decoder", &short, 2).answer(Batching::of(&short), |_| true);
    for row in &rows {
        assert_eq!((row.output_tokens, row.finish_reason.as_deref()), (Some(20), Some("length")));
    }
}
