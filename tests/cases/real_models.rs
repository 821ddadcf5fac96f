//! The quick pool's real models, wherever they are exported (`just models`): our numbers are the reference library's.
//! A model that is not exported is said to be so, for a test that did not run must not look like a pass. Expected values
//! come from `export/record_references.py` and `export/record_encoder_references.py`.

#![allow(clippy::print_stdout)]

use crate::support::{library, repository};
use poq::executor::Quit;
use poq::generate::{Batching, Generator, Prompter, Request};
use poq::model::chat::{ChatTemplate, Message};
use poq::model::decoder_text::DecoderText;
use poq::model::manifest::Exported;
use poq::model::provider::{Precision, Provider};
use poq::model::registry::{Model, Registry, Role};
use poq::model::runtime;
use poq::score::column::Column;
use poq::score::compute::compute;
use poq::score::{Evaluator, Execution, Pair};
use poq::settings::Generation;
use poq::store::rows::{ScoreRow, ScoredTask};
use poq::store::work::WorkStore;
use serde::Deserialize;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

/// The registry and a model, or none where it is not exported; said aloud, so that nobody takes it for a pass.
fn exported(key: &str, role: Role) -> Option<(Registry, Model)> {
    let registry = Registry::open(&repository().join("models")).expect("registry");
    let model = registry.get(key, role).expect("known model").clone();
    if Exported::open(&registry, &model).is_err() {
        // Past the test runner, which would swallow it.
        let _ = writeln!(std::io::stderr(), "not run: `{key}` is not exported; `just models` exports it");
        return None;
    }
    let _ = library();
    runtime::load(&registry.directory, Provider::Cpu).expect("runtime loads");
    Some((registry, model))
}

fn expected<T: for<'de> Deserialize<'de>>(name: &str) -> T {
    let path = repository().join("tests/expected").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).expect("read")).expect("expected values")
}

#[derive(Deserialize)]
struct Scores {
    pairs: Vec<ExpectedPair>,
}

#[derive(Deserialize)]
struct ExpectedPair {
    reference: String,
    output: String,
    score: f64,
}

fn pair(index: usize, expected: &ExpectedPair) -> Pair {
    let task = ScoredTask {
        task_id: format!("{index:04}"),
        task_type: "qa".into(),
        input: String::new(),
        reference: expected.reference.clone(),
        references: vec![expected.reference.clone()],
    };
    Pair { task: Arc::new(task), model: "m".into(), output: Ok(expected.output.clone()) }
}

/// The recordings hold empty texts too, which the library scores and poq refuses to.
fn pairs_without_text(pair: &ExpectedPair) -> bool {
    pair.reference.trim().is_empty() || pair.output.trim().is_empty()
}

fn score(evaluator: &mut Evaluator, pairs: &[Pair]) -> Vec<ScoreRow> {
    let directory = tempfile::tempdir().expect("temporary directory");
    let store = WorkStore::open(&directory.path().join("work.redb")).expect("opens");
    compute(evaluator, pairs.iter().cloned().map(Ok), &store, &Quit::default(), |_| {}).expect("computes");
    let identity = evaluator.identity();
    let mut column = Column::new(identity, store.read().expect("reads"));
    pairs.iter().map(|pair| column.row(pair).expect("row")).collect()
}

fn execution(rows: usize) -> Execution {
    let (provider, precision) = (Provider::Cpu, Precision::F32);
    Execution { provider, precision, workers: 2, threads: 1, batch_size: rows, batch_tokens: 4096 }
}

fn scores_equal(key: &str, file: &str, tolerance: f64) {
    let Some((registry, model)) = exported(key, Role::Evaluator) else { return };
    let expected: Scores = expected(file);
    assert!(expected.pairs.len() >= 30);
    let pairs: Vec<Pair> = expected.pairs.iter().enumerate().map(|(i, expected)| pair(i, expected)).collect();
    let mut worst = 0.0_f64;
    for rows in [1, 8] {
        let mut evaluator = Evaluator::open(&registry, &model, execution(rows)).expect("loads");
        let scored = score(&mut evaluator, &pairs);
        assert_eq!(scored.len(), pairs.len());
        for (row, expected) in scored.iter().zip(&expected.pairs) {
            if pairs_without_text(expected) {
                assert!(row.raw.is_none() && row.error.is_some(), "an empty text is a failed row");
                continue;
            }
            let raw = row.raw.unwrap_or_else(|| panic!("`{}`: {:?}", expected.output, row.error));
            worst = worst.max((raw - expected.score).abs());
            assert!(
                (raw - expected.score).abs() <= tolerance,
                "batch {rows}: {raw} is not {} for {:?} and {:?}",
                expected.score,
                expected.reference,
                expected.output
            );
        }
    }
    println!("{key}: largest difference {worst:.2e}");
}

#[test]
fn minilm_l6_scores_equal_sentence_transformers() {
    scores_equal("sts_minilm_l6", "sts_minilm_l6_scores.json", 1e-4);
}

#[test]
fn minilm_l3_scores_equal_the_published_graph() {
    scores_equal("sts_minilm_l3", "sts_minilm_l3_scores.json", 1e-4);
}

#[test]
fn deberta_nli_probabilities_equal_transformers_on_the_same_weights() {
    scores_equal("ce_nli_deberta", "ce_nli_deberta_scores.json", 1e-4);
}

#[derive(Deserialize)]
struct Greedy {
    templates: std::collections::BTreeMap<String, Vec<Rendered>>,
    prompts: Vec<GreedyRow>,
}

#[derive(Deserialize)]
struct Rendered {
    messages: Vec<ExpectedMessage>,
    text: String,
}

#[derive(Deserialize)]
struct ExpectedMessage {
    role: String,
    content: String,
}

#[derive(Deserialize)]
struct GreedyRow {
    text: String,
    prompt_ids: Vec<u32>,
    new_ids: Vec<u32>,
}

#[test]
fn smollm2_greedy_text_equals_transformers_token_for_token() {
    let Some((registry, model)) = exported("smollm2_135m", Role::Inference) else { return };
    let expected: Greedy = expected("smollm2_135m_greedy.json");
    let text =
        DecoderText::open(&model, &Exported::open(&registry, &model).expect("exported"), None).expect("tokenizer");
    let settings =
        Generation { max_new_tokens: expected.prompts[0].new_ids.len(), temperature: 0.0, ..Generation::default() };
    let request = |(i, row): (usize, &GreedyRow)| Request {
        task_id: i.to_string(),
        prompt: Ok(row.text.clone()),
        truncated: false,
        seed: 0,
        work_key: i.to_string(),
    };
    let requests: Vec<Request> = expected.prompts.iter().enumerate().map(request).collect();
    let prompter = Prompter::open(&registry, &model, &settings).expect("prompter");
    let mut generator = Generator::open(&registry, &model, prompter, 2).expect("loads");
    for slots in [1, 5] {
        let mut answers = vec![None; requests.len()];
        generator
            .answer(
                &requests,
                |_| true,
                Batching { slots, ..Batching::of(&settings) },
                &Quit::default(),
                |rows| {
                    for row in rows {
                        let place: usize = row.task_id.parse().expect("index");
                        answers[place] = Some(row);
                    }
                    Ok(())
                },
            )
            .expect("answers");
        for (row, answer) in expected.prompts.iter().zip(&answers) {
            let answer = answer.as_ref().expect("every request is answered");
            assert_eq!(answer.prompt_tokens, i32::try_from(row.prompt_ids.len()).ok(), "{:?}", row.text);
            let ids = text.tokenizer.encode(&row.text, false).expect("encodes").ids;
            assert_eq!(ids, row.prompt_ids);
            // The reference was recorded without stopping; ours stops where it drew a stop token.
            let stop = row.new_ids.iter().position(|id| text.stop_ids.contains(id)).unwrap_or(row.new_ids.len());
            let wanted = text.tokenizer.decode(&row.new_ids[..stop]).expect("decodes");
            assert_eq!(answer.output_raw.as_deref(), Some(wanted.as_str()), "{slots} slots: {:?}", row.text);
            assert_eq!(answer.output_tokens, i32::try_from(stop).ok());
        }
    }
}

/// The template that lies beside an exported decoder; none where it is not exported.
fn chat_template(key: &str) -> Option<ChatTemplate> {
    let (registry, model) = exported(key, Role::Inference)?;
    let facts = model.decoder_facts().expect("decoder");
    let path: &Path = &Exported::open(&registry, &model).expect("exported").file(&facts.chat_template);
    Some(ChatTemplate::open(path, facts.bos_token.as_deref(), facts.eos_token.as_deref()).expect("compiles"))
}

fn messages(messages: &[ExpectedMessage]) -> Vec<Message<'_>> {
    messages.iter().map(|m| Message { role: &m.role, content: &m.content }).collect()
}

#[test]
fn chat_templates_render_as_transformers_renders_them() {
    let expected: Greedy = expected("smollm2_135m_greedy.json");
    for (key, cases) in &expected.templates {
        let Some(template) = chat_template(key) else { continue };
        for case in cases {
            assert_eq!(template.render(&messages(&case.messages)).expect("renders"), case.text, "{key}");
        }
    }
}

#[derive(Deserialize)]
struct Prompt {
    messages: Vec<ExpectedMessage>,
    expected: Option<String>,
    error: Option<String>,
}

#[test]
fn prompts_of_many_shapes_are_those_of_transformers() {
    let expected: std::collections::BTreeMap<String, Vec<Prompt>> = expected("model_chat_prompts.json");
    for (key, prompts) in &expected {
        assert!(prompts.len() >= 14, "{key}");
        let Some(template) = chat_template(key) else { continue };
        for prompt in prompts {
            match (template.render(&messages(&prompt.messages)), &prompt.expected, &prompt.error) {
                (Ok(text), Some(expected), None) => assert_eq!(text, *expected, "{key}"),
                (Err(error), None, Some(expected)) => {
                    let error = format!("{error:#}");
                    assert!(error.contains(expected.as_str()), "{key}: {error}");
                }
                (rendered, expected, error) => panic!("{key}: {rendered:?} is not {expected:?} or {error:?}"),
            }
        }
    }
}

/// Runs poq on the repository's models with the build of ONNX Runtime that the provider needs.
fn poq(directory: &Path, arguments: &[&str]) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_poq"))
        .current_dir(directory)
        .args(arguments)
        .arg("--models")
        .arg(repository().join("models"))
        .env_remove("ORT_DYLIB_PATH")
        .output()
        .expect("poq starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "poq {}: {stderr}", arguments.join(" "));
}

#[test]
fn openvino_scores_are_those_of_sentence_transformers_and_reduced_ones_keep_their_order() {
    let Some((registry, _)) = exported("sts_minilm_l6", Role::Evaluator) else { return };
    if !runtime::is_present(&registry.directory, Provider::OpenVino) {
        let _ = writeln!(std::io::stderr(), "not run: OpenVINO is not here; `just runtime openvino` brings it");
        return;
    }
    let expected: Scores = expected("sts_minilm_l6_scores.json");
    let pairs: Vec<&ExpectedPair> = expected.pairs.iter().filter(|pair| !pairs_without_text(pair)).collect();
    let line = |(i, pair): (usize, &&ExpectedPair)| {
        let row = serde_json::json!({"task_id": format!("{i:04}"), "task_type": "qa", "input": "i",
            "reference": pair.reference, "model": "m", "output": pair.output});
        row.to_string()
    };
    let lines: Vec<String> = pairs.iter().enumerate().map(line).collect();
    let scratch = tempfile::tempdir().expect("temporary directory");
    std::fs::write(scratch.path().join("answers.jsonl"), lines.join("\n")).expect("write");
    poq(scratch.path(), &["import", "answers.jsonl", "--run", "own", "--evaluator", "sts_minilm_l6"]);
    let exact: Vec<Option<f64>> = pairs.iter().map(|pair| Some(pair.score)).collect();
    for (precision, tolerance) in [(Precision::F32, 1e-4), (Precision::Bf16, 0.05), (Precision::Int8, 0.05)] {
        if Provider::OpenVino.check(precision).is_err() {
            let _ = writeln!(std::io::stderr(), "not run: this processor has no {}", precision.name());
            continue;
        }
        poq(scratch.path(), &["score", "results/own", "--provider", "openvino", "--precision", precision.name()]);
        let path = scratch.path().join("results/own/scores/sts_minilm_l6.parquet");
        let rows: Vec<ScoreRow> = poq::store::table::read(&path).expect("reads");
        let raw: Vec<Option<f64>> = rows.iter().map(|row| row.raw).collect();
        assert_eq!(raw.len(), exact.len());
        for (row, expected) in rows.iter().zip(&exact) {
            let difference = (row.raw.expect("scored") - expected.expect("recorded")).abs();
            assert!(difference <= tolerance, "{} {}: off by {difference}", precision.name(), row.task_id);
        }
        let spearman = poq::statistics::agreement(&raw, &exact).spearman.expect("enough pairs");
        assert!(spearman >= 0.995, "{}: Spearman {spearman}", precision.name());
    }
}
