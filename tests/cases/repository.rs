//! Rules about the repository itself: who may name what, and what may not be in it.

use crate::support::repository;
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
fn the_readme_commands_are_recipes() {
    let readme = std::fs::read_to_string(repository().join("README.md")).expect("read");
    let justfile = std::fs::read_to_string(repository().join("justfile")).expect("read");
    for recipe in ["reproduce", "test", "models"] {
        assert!(readme.contains(&format!("just {recipe}")), "README does not name `just {recipe}`");
        let defined = |line: &str| line.starts_with(&format!("{recipe}:")) || line.starts_with(&format!("{recipe} "));
        assert!(justfile.lines().any(defined), "justfile has no recipe `{recipe}`");
    }
}
