//! Rules about the repository itself: who may name what, and what may not be in it.

use crate::support::repository;
use poq::model::registry::{Registry, Role};
use poq::settings::Settings;
use std::path::{Path, PathBuf};

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("list") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Lines of code (comments left out) outside `room` that match.
fn offenders(room: &str, matches: impl Fn(&str) -> bool) -> Vec<String> {
    let mut files = Vec::new();
    sources(&repository().join("src"), &mut files);
    let mut found = Vec::new();
    for path in files.iter().filter(|path| !path.starts_with(repository().join("src").join(room))) {
        let text = std::fs::read_to_string(path).expect("read");
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if matches(code) {
                found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    found
}

#[test]
fn only_model_names_ort_and_tokenizers() {
    let found = offenders("model", |code| {
        // `Report::` and `import::` end in the crate's name, too.
        let names_ort = code.match_indices("ort::").any(|(at, _)| !code[..at].ends_with(char::is_alphanumeric));
        names_ort || code.contains("tokenizers::")
    });
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn only_store_names_parquet() {
    let found = offenders("store", |code| code.contains("parquet::"));
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn only_output_prints() {
    let found = offenders("output", |code| {
        ["println!", "print!(", "eprint!", "stdout()", "stderr()", "dbg!("].iter().any(|call| code.contains(call))
    });
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_executor_imports_no_stage() {
    let mut files = Vec::new();
    sources(&repository().join("src/executor"), &mut files);
    for path in files {
        let text = std::fs::read_to_string(&path).expect("read");
        for stage in ["generate", "score", "simulate", "report", "profile", "commands", "dataset"] {
            assert!(!text.contains(&format!("crate::{stage}")), "{} imports `{stage}`", path.display());
        }
    }
}

#[test]
fn stages_after_scoring_never_touch_a_model() {
    for room in ["signals", "simulate", "sweep", "report"] {
        let mut files = Vec::new();
        sources(&repository().join("src").join(room), &mut files);
        for path in files {
            let text = std::fs::read_to_string(&path).expect("read");
            assert!(!text.contains("crate::model") && !text.contains("crate::executor"), "{}", path.display());
        }
    }
}

#[test]
fn the_tables_are_documented_as_they_are() {
    let committed = std::fs::read_to_string(repository().join("results/README.md")).expect("read");
    assert!(
        committed == poq::commands::schema::document().expect("every column is documented"),
        "results/README.md is not what the row structs say; write it anew: cargo run --release -- schema > results/README.md"
    );
}

#[test]
fn the_experiments_can_be_read_and_name_what_is_registered() {
    let data = poq::dataset::registry::Registry::open(&repository().join("datasets")).expect("opens");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(repository().join("experiments")).expect("list") {
        let path = entry.expect("entry").path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let settings = Settings::from_file(&path).expect("valid").settings;
        let mut models = Registry::open(&repository().join("models")).expect("opens");
        models.add_variants(&settings.scoring.variants).expect("variants of models that are there");
        for key in &settings.generation.models {
            models.get(key, Role::Inference).expect("an LLM of the registry");
        }
        for key in settings.scoring.all_evaluators() {
            models.get(key, Role::Evaluator).expect("an evaluator of the registry");
        }
        for set in &settings.data.sets {
            data.get(&set.dataset).expect("a data set of the registry");
        }
        assert_eq!(path.file_stem().and_then(|stem| stem.to_str()), Some(settings.name.as_str()), "its own directory");
        names.push(settings.name);
    }
    names.sort();
    assert_eq!(names, ["ci", "paper", "quick"]);
}

#[test]
fn the_papers_experiment_is_section_4() {
    let settings = Settings::from_file(&repository().join("experiments/paper.toml")).expect("valid").settings;
    let models = Registry::open(&repository().join("models")).expect("opens");
    assert_eq!(settings.data.sets.iter().map(|set| set.sample).collect::<Vec<_>>(), [Some(200), Some(200)]);
    let published = |node_type: &str| -> Vec<&str> {
        let of_type = poq::paper::TABLE_4.iter().filter(|line| line.node_type == node_type);
        of_type.map(|line| line.node).collect()
    };
    let sorted = |keys: &[String]| -> Vec<String> {
        let mut keys = keys.to_vec();
        keys.sort();
        keys
    };
    assert_eq!(sorted(&settings.generation.models), published("inference"), "the nodes have the names of Table 4");
    let mut evaluators = published("evaluator");
    evaluators.sort_unstable();
    assert_eq!(sorted(&settings.scoring.evaluators), evaluators);
    let batch = |key: &str| models.get(key, Role::Evaluator).expect("there").scoring_facts().expect("facts").batch_size;
    assert_eq!([batch("ce_minilm"), batch("ce_deberta"), batch("sts_stsb")], [32, 32, 64], "Table 3");
    assert_eq!(settings.generation.max_new_tokens, 128);
    assert_eq!((settings.profile.samples, settings.profile.warmup), (100, 3));
    assert_eq!((settings.judge.model.as_str(), settings.judge.n_group), ("gpt-4o-mini", 30));
    assert_eq!(settings.simulation.rounds, 5000);
}

#[test]
fn the_readme_commands_are_recipes() {
    let readme = std::fs::read_to_string(repository().join("README.md")).expect("read");
    let justfile = std::fs::read_to_string(repository().join("justfile")).expect("read");
    for recipe in ["reproduce", "test", "models"] {
        assert!(readme.contains(&format!("just {recipe}")), "README does not name `just {recipe}`");
        let defined = |line: &str| line.starts_with(&format!("{recipe}:")) || line.starts_with(&format!("{recipe} "));
        assert!(justfile.lines().any(defined), "justfile has no recipe `{recipe}`");
    }
}
