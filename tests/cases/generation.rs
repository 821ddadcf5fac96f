//! Answers do not depend on how they were made: slots, budgets, threads, neighbours and resumption.

use crate::support::{library, repository};
use poq::executor::Quit;
use poq::generate::engine::Totals;
use poq::generate::{Batching, Generator, Prompter, Request};
use poq::model::provider::Provider;
use poq::model::registry::{Registry, Role};
use poq::model::runtime;
use poq::settings::Generation;
use poq::store::rows::{GenerationRow, TaskRow};
use poq::store::samples;

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
        // Room for hardly more than one long row.
        let tight = Batching { kv_bytes: totals.kv_bytes / 5, ..wide };
        let (rows, tight_totals) = Asked::new("tiny_decoder", &settings, 2).answer(tight, |_| true);
        assert!(tight_totals.kv_bytes <= tight.kv_bytes, "{} of {}", tight_totals.kv_bytes, tight.kv_bytes);
        assert_eq!(rows, all);
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

#[test]
fn a_budget_too_small_for_a_row_fails_the_rows_that_need_more() {
    let settings = settings(0.0);
    let mut asked = Asked::new("tiny_decoder", &settings, 2);
    let (all, totals) = asked.answer(Batching { slots: 1, ..Batching::of(&settings) }, |_| true);
    let small = Batching { slots: 1, kv_bytes: totals.kv_bytes * 3 / 4, ..Batching::of(&settings) };
    let (rows, totals) = asked.answer(small, |_| true);
    let (failed, answered): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.error.is_some());
    assert!(!failed.is_empty() && !answered.is_empty(), "{} failed", failed.len());
    assert_eq!(totals.failed, failed.len());
    for row in &failed {
        assert!(row.error.as_deref().is_some_and(|error| error.contains("generation.kv_cache_mb")), "{:?}", row.error);
        assert_eq!(row.output, None);
    }
    for row in &answered {
        assert!(all.contains(row), "{}", row.task_id);
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
