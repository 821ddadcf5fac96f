//! A scratch directory with a registry of tiny models, a corpus and an experiment, and a builder that runs poq in it.

pub mod server;

use poq::store::rows::{GenerationRow, Row, ScoreRow};
use poq::store::table;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// Root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The runtime library of the repository; tests that load a model need `just runtime` first.
pub fn library() -> PathBuf {
    let path = repository().join("models/runtime/libonnxruntime.so");
    assert!(
        path.exists(),
        "`{}` does not exist: `just runtime` brings it (`just test` does it for you)",
        path.display()
    );
    path
}

/// A place to run poq in.
pub struct Scratch {
    directory: TempDir,
}

impl Scratch {
    /// Tiny models, ten questions and six articles, and the experiment `tiny`.
    pub fn new() -> Self {
        let scratch = Self { directory: tempfile::tempdir().expect("temporary directory") };
        copy_directory(&repository().join("tests/fixtures/tiny"), &scratch.path("models"));
        scratch.write("datasets/registry.toml", DATASETS);
        scratch.write("datasets/squad.json", &squad(10));
        scratch.write("datasets/news.jsonl", &news(6));
        scratch.write("tiny.toml", EXPERIMENT);
        scratch
    }

    /// A path below the scratch directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file, directories included.
    pub fn write(&self, name: &str, content: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("create directories");
        std::fs::write(path, content).expect("write");
    }

    /// Replaces text in a file; the text must be there.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path(name)).expect("read");
        assert!(text.contains(from), "`{name}` does not contain `{from}`");
        self.write(name, &text.replace(from, to));
    }

    /// poq in this directory, not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_poq"));
        command
            .current_dir(self.directory.path())
            .args(arguments)
            .env("ORT_DYLIB_PATH", library())
            .env("NO_COLOR", "1");
        command
    }

    /// Runs poq and expects an exit code.
    pub fn poq(&self, arguments: &[&str], expected: i32) -> Ran {
        let output = self.command(arguments).output().expect("poq starts");
        let ran = Ran::from(output);
        assert_eq!(
            ran.code,
            Some(expected),
            "poq {}\nstdout:\n{}\nstderr:\n{}",
            arguments.join(" "),
            ran.stdout,
            ran.stderr
        );
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        ran
    }

    /// Rows of a table file.
    pub fn table<R: Row>(&self, name: &str) -> Vec<R> {
        table::read(&self.path(name)).expect("table reads")
    }

    /// All answers of a run, without what may differ between runs: timings and batch-mates.
    pub fn answers(&self, run: &str) -> Vec<GenerationRow> {
        let mut rows: Vec<GenerationRow> = self.groups(&format!("results/{run}/generations"));
        for row in &mut rows {
            (row.latency_ms, row.first_token_ms, row.decode_ms, row.batch_rows) = (None, None, None, None);
        }
        rows
    }

    /// All scores of a run, without timings.
    pub fn scores(&self, run: &str) -> Vec<ScoreRow> {
        let mut rows: Vec<ScoreRow> = self.groups(&format!("results/{run}/scores"));
        for row in &mut rows {
            (row.tokenise_ms, row.queue_ms, row.infer_ms) = (None, None, None);
        }
        rows
    }

    fn groups<R: Row>(&self, directory: &str) -> Vec<R> {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(self.path(directory))
            .expect("directory of the table")
            .map(|entry| entry.expect("entry").path())
            .collect();
        paths.sort();
        paths.iter().flat_map(|path| table::read::<R>(path).expect("part reads")).collect()
    }
}

/// What a command printed and how it ended.
pub struct Ran {
    /// Exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
        }
    }
}

impl Ran {
    /// Expects every part in stderr.
    pub fn says(&self, parts: &[&str]) -> &Self {
        for part in parts {
            assert!(self.stderr.contains(part), "stderr lacks `{part}`:\n{}", self.stderr);
        }
        self
    }
}

fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("create directory");
    for entry in std::fs::read_dir(from).expect("list") {
        let path = entry.expect("entry").path();
        let target = to.join(path.file_name().expect("name"));
        if path.is_dir() {
            copy_directory(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("copy");
        }
    }
}

const DATASETS: &str = r#"
schema_version = 1
[[dataset]]
key = "questions"
format = "squad"
task_type = "qa"
path = "squad.json"
licence = "MIT"
source = "made for the tests"
version = "1"
[[dataset]]
key = "articles"
format = "cnn_dailymail"
task_type = "summarization"
path = "news.jsonl"
licence = "MIT"
source = "made for the tests"
version = "1"
"#;

/// Costs are given, so that rewards do not depend on the clock.
pub const EXPERIMENT: &str = r#"
name = "tiny"
max_failed_share = 0.5
[data]
seed = 1
sets = [{ dataset = "questions", sample = 8 }, { dataset = "articles" }]
[generation]
models = ["tiny_decoder", "tiny_decoder_b"]
max_new_tokens = 12
batch_size = 4
[scoring]
evaluators = ["tiny_bi", "tiny_cross"]
[profile]
given_latency_ms = { tiny_decoder = 10.0, tiny_decoder_b = 20.0, tiny_bi = 1.0, tiny_cross = 3.0 }
[simulation]
rounds = 500
replicates = 20
k = 2
"#;

/// A `SQuAD` file with this many questions, five to a passage.
pub fn squad(questions: usize) -> String {
    let mut paragraphs = Vec::new();
    for first in (0..questions).step_by(5) {
        let names: Vec<String> = (first..questions.min(first + 5)).map(|i| format!("keeper{i}")).collect();
        let context = format!("The lighthouse had keepers named {}.", names.join(", "));
        let qas: Vec<serde_json::Value> = names
            .iter()
            .enumerate()
            .map(|(i, name)| {
                let answer = serde_json::json!({"answer_start": context.find(name.as_str()), "text": name});
                serde_json::json!({"id": format!("q{}", first + i), "question": format!("Who was keeper number {}?", first + i), "answers": [answer]})
            })
            .collect();
        paragraphs.push(serde_json::json!({"context": context, "qas": qas}));
    }
    serde_json::json!({"version": "1.1", "data": [{"title": "Lighthouse", "paragraphs": paragraphs}]}).to_string()
}

/// JSON lines with this many articles.
pub fn news(articles: usize) -> String {
    (0..articles).fold(String::new(), |mut text, i| {
        let article = format!("The harbour council met for the {i}th time. ") + &"It spoke of boats and tides. ".repeat(i + 1);
        let record = serde_json::json!({"id": format!("n{i}"), "article": article, "highlights": format!("Council meets a {i}th time.")});
        let _ = writeln!(text, "{record}");
        text
    })
}

/// Answers of several models to a few tasks, as JSON lines; `output` says what model `m` answers to task `t`.
pub fn answers(tasks: usize, models: usize, output: impl Fn(usize, usize) -> String) -> String {
    let mut text = String::new();
    for task in 0..tasks {
        for model in 0..models {
            let row = serde_json::json!({
                "task_id": format!("t{task:03}"), "task_type": if task % 2 == 0 { "qa" } else { "summarization" },
                "input": format!("What is lamp {task} for?"), "reference": format!("lamp {task} lights the harbour"),
                "model": format!("m{model}"), "output": output(task, model),
            });
            let _ = writeln!(text, "{row}");
        }
    }
    text
}

/// A run `own` whose answers are these JSON lines.
pub fn import(scratch: &Scratch, content: &str, evaluators: &[&str], more: &[&str]) {
    scratch.write("answers.jsonl", content);
    let evaluators = evaluators.iter().flat_map(|key| ["--evaluator", key]);
    let arguments: Vec<&str> =
        ["import", "answers.jsonl", "--run", "own"].into_iter().chain(evaluators).chain(more.iter().copied()).collect();
    scratch.poq(&arguments, 0);
}
