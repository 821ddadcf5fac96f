use super::*;
use crate::generate::sampling::Sampling;
use crate::model::pretended::Card;
use crate::model::provider::Provider;
use crate::model::registry::{Registry, Role};
use crate::model::runtime;
use crate::model::session::SessionOptions;

fn at(path: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn decoder(key: &str, provider: Provider) -> Decoder {
    runtime::load(&at("models"), Provider::Cpu).expect("`just runtime` brings the library");
    let registry = Registry::open(&at("tests/fixtures/tiny")).expect("registry").on(provider);
    let model = registry.get(key, Role::Inference).expect("known");
    Decoder::open(&registry, model, SessionOptions::cpu(1, true)).expect("loads")
}

/// Prompts that share beginnings by fives, and one that is much longer.
fn prompts() -> Vec<Prompt> {
    let ids = |row: u32| -> Vec<u32> {
        let shared = (0..70 + row / 5).map(|at| 40 + (at * 7 + row / 5) % 80);
        shared.chain((0..3 + row % 5).map(|at| 50 + (at * 11 + row) % 90)).collect()
    };
    let prompt = |row: u32| Prompt { index: row as usize, ids: ids(row), seed: u64::from(row), wanted: true };
    let long = Prompt { index: 20, ids: (0..300).map(|at| 40 + at % 90).collect(), seed: 20, wanted: true };
    (0..20).map(prompt).chain([long]).collect()
}

fn options(temperature: f64) -> Options {
    Options {
        slots: 8,
        pass_tokens: 256,
        max_length: 1024,
        kv_bytes: 1 << 30,
        share_prefixes: true,
        max_new_tokens: 24,
        sampling: Arc::new(Sampling { temperature, ..Sampling::greedy(&[]) }),
    }
}

type Answers = BTreeMap<usize, Result<Vec<u32>, String>>;

/// Every row's tokens; a row that comes twice is a failure.
fn answers(decoder: &mut Decoder, options: &Options) -> (Answers, Totals) {
    let mut answers = Answers::new();
    let keep = |finished: Vec<Finished>| {
        for (index, answer) in finished {
            let before = answers.insert(index, answer.map(|answer| answer.tokens));
            assert_eq!(before, None, "row {index} came twice");
        }
        Ok(())
    };
    let totals = run(decoder, &prompts(), options, &Quit::default(), keep).expect("runs");
    (answers, totals)
}

#[test]
fn a_cache_kept_as_on_a_gpu_answers_as_the_hosts() {
    for (key, provider) in
        [("tiny_decoder", Provider::Cpu), ("tiny_decoder", Provider::Cuda), ("tiny_gemma3", Provider::Cpu)]
    {
        for slots in [1, 3, 32] {
            let options = Options { slots, ..options(0.7) };
            let (host, _) = answers(&mut decoder(key, provider), &options);
            let mut pretended = decoder(key, provider).pretend(Card::new(usize::MAX / 2, 0));
            let (device, totals) = answers(&mut pretended, &options);
            assert_eq!(host.len(), 21);
            assert!(host.values().all(Result::is_ok));
            assert_eq!((device, totals.shrunk_to), (host, None), "{key}, {slots} slots");
        }
    }
}

#[test]
fn prompts_in_rows_of_their_own_are_read_together() {
    let mut pretended = decoder("tiny_gemma3", Provider::Cpu).pretend(Card::new(usize::MAX / 2, 0));
    let options = Options { share_prefixes: false, ..options(0.0) };
    let (together, totals) = answers(&mut pretended, &options);
    // The long prompt alone in two passes of 256 tokens, the others in threes: a pass holds three of the longest.
    assert_eq!((totals.passes, totals.failed), (9, 0), "{totals:?}");
    let (one_by_one, alone) = answers(&mut decoder("tiny_gemma3", Provider::Cpu), &options);
    assert_eq!((alone.passes, alone.read_tokens), (22, totals.read_tokens));
    assert_eq!(together, one_by_one);
    // Passes that do not fit become single rows.
    let token = pretended.kv_shape().token_bytes();
    let tight = decoder("tiny_gemma3", Provider::Cpu).pretend(Card::new(900 * token, 2 * token));
    let (rows, totals) = answers(&mut { tight }, &options);
    assert!(totals.shrunk_to.is_some() && totals.failed == 0, "{totals:?}");
    assert_eq!(rows, one_by_one);
}

#[test]
fn what_is_read_leaves_most_of_a_tight_budget_to_slots() {
    for key in ["tiny_gemma3", "tiny_decoder"] {
        let mut decoder = decoder(key, Provider::Cpu).pretend(Card::new(usize::MAX / 2, 0));
        let (expected, _) = answers(&mut decoder, &options(0.0));
        // Eight prompts fit a pass, beside which one slot of 112 tokens would fit; two beside five.
        let kv_bytes = 800 * decoder.kv_shape().token_bytes();
        let tight = Options { pass_tokens: 2048, kv_bytes, ..options(0.0) };
        let (rows, totals) = answers(&mut decoder, &tight);
        assert_eq!(rows, expected);
        // The long prompt is decoded alone: 23 steps of one slot.
        assert!(totals.slots - 23 >= 3 * (totals.steps - 23), "{key}: {totals:?}");
    }
}

#[test]
fn half_precision_is_alone_as_in_company_and_near_f32() {
    let mut half = decoder("tiny_decoder", Provider::Cuda);
    let mut full = decoder("tiny_decoder", Provider::Cpu);
    assert_eq!(half.kv_shape().token_bytes() * 2, full.kv_shape().token_bytes());
    let alone = Options { slots: 1, share_prefixes: false, pass_tokens: 1, ..options(0.0) };
    let (single, _) = answers(&mut half, &alone);
    let (batched, totals) = answers(&mut half, &options(0.0));
    assert!(totals.shared_tokens > 0);
    assert_eq!(batched, single);
    // Greedy answers part where two logits are nearer than f16 tells apart; most do not.
    let (exact, _) = answers(&mut full, &options(0.0));
    let same = exact.iter().filter(|(row, answer)| batched[row] == **answer).count();
    assert!(same >= 16, "{same} of {} answers as in f32", exact.len());
    // What they part from is the same to begin with: logits of a prompt differ by the rounding of keys and values.
    let (half, full) = (first_logits(&mut half), first_logits(&mut full));
    let largest = half.iter().zip(&full).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest > 0.0 && largest < 0.1, "logits differ by {largest}");
}

/// Logits after the longest prompt.
fn first_logits(decoder: &mut Decoder) -> Vec<f32> {
    let ids = prompts().pop().expect("prompts").ids;
    let packing = Packing { tokens: 512, row: 1024, prompts: 1, share: false };
    let chunk = packing::plan(&[&ids], packing).pop().expect("a chunk");
    let mut trunk = decoder.trunk(ids.len()).expect("a trunk");
    let layout = chunk.layout(&[&ids], 512);
    decoder.prefill(&mut trunk, &layout.passes[0]).and_then(|logits| logits.row(0).map(<[f32]>::to_vec)).expect("reads")
}

#[test]
fn memory_that_runs_out_loses_no_row() {
    let mut host = decoder("tiny_decoder", Provider::Cpu);
    let token = host.kv_shape().token_bytes();
    let (expected, plenty) = answers(&mut host, &options(0.0));
    assert!(plenty.kv_bytes > 900 * token && plenty.shrunk_to.is_none());
    // Enough for the long prompt (636 tokens with its slot), but not for eight slots of the others, nor for a pass of 256
    // tokens that take three times their cache: fewer slots fit, and shorter passes.
    for card in [Card::new(700 * token, 0), Card::new(1200 * token, 3 * token)] {
        let (rows, totals) = answers(&mut decoder("tiny_decoder", Provider::Cpu).pretend(card), &options(0.0));
        assert!(totals.shrunk_to.is_some_and(|bytes| bytes < 640 * token), "{totals:?}");
        assert_eq!((totals.rows, totals.failed), (21, 0));
        assert_eq!(totals.prompt_tokens, plenty.prompt_tokens, "rows that begin again count once");
        assert_eq!(rows, expected);
    }
}

#[test]
fn a_row_that_finds_no_room_alone_fails_and_says_why() {
    let mut tight = decoder("tiny_decoder", Provider::Cpu);
    let token = tight.kv_shape().token_bytes();
    // The long prompt and its slot need 628 tokens; the others less than a third of that.
    tight = tight.pretend(Card::new(600 * token, 0));
    let (rows, totals) = answers(&mut tight, &options(0.0));
    assert_eq!((rows.len(), totals.failed), (21, 1));
    let error = rows[&20].as_ref().expect_err("too long");
    assert!(error.contains("out of memory") && error.contains("--retry-failed"), "{error}");
    assert!((0..20).all(|row| rows[&row].is_ok()));
}
