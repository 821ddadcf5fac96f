//! Where questions come from: the data sets that an experiment names, sampled, as the rows of `tasks`.
//!
//! One file per format; `registry` knows which file is read how, `sample` draws. The `tasks` stage calls `load`.

pub mod cnn_dailymail;
pub mod registry;
pub mod sample;
pub mod squad;

use crate::settings::Data;
use crate::store::rows::TaskRow;
use anyhow::{Context, Result, bail, ensure};
use registry::{Entry, Format, Registry};
use serde::Deserialize;
use std::collections::HashMap;

/// What a task asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskType {
    /// A question about a passage.
    Qa,
    /// A short version of an article.
    Summarization,
}

impl TaskType {
    /// The name that tables use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Qa => "qa",
            Self::Summarization => "summarization",
        }
    }

    /// The task type of this name, if there is one.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Qa, Self::Summarization].into_iter().find(|task_type| task_type.name() == name)
    }
}

/// Reads and samples every data set of an experiment, in its order.
pub fn load(registry: &Registry, data: &Data) -> Result<Vec<TaskRow>> {
    ensure!(!data.sets.is_empty(), "`data.sets` is empty: name at least one data set of the registry");
    let mut rows: Vec<TaskRow> = Vec::new();
    for (i, set) in data.sets.iter().enumerate() {
        let twice = data.sets[..i].iter().any(|other| other.dataset == set.dataset);
        ensure!(!twice, "`data.sets` names the data set `{}` twice", set.dataset);
        let all = read(registry, registry.get(&set.dataset)?)?;
        rows.extend(match set.sample {
            Some(n) => sample::draw(all, n, data.seed)
                .with_context(|| format!("cannot sample the data set `{}`", set.dataset))?,
            None => all,
        });
    }
    check_unique(&rows)?;
    Ok(rows)
}

/// Reads one data set whole.
pub fn read(registry: &Registry, entry: &Entry) -> Result<Vec<TaskRow>> {
    let path = registry.file(entry)?;
    match entry.format {
        Format::Squad => squad::read(&path, &entry.key, entry.task_type),
        Format::CnnDailymail => cnn_dailymail::read(&path, &entry.key, entry.task_type),
    }
    .with_context(|| format!("cannot load the data set `{}`", entry.key))
}

fn check_unique(rows: &[TaskRow]) -> Result<()> {
    let mut seen = HashMap::with_capacity(rows.len());
    for row in rows {
        if let Some(other) = seen.insert(row.task_id.as_str(), row.dataset.as_str()) {
            bail!("the data sets `{other}` and `{}` both have a task `{}`", row.dataset, row.task_id);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::DataSet;
    use std::path::Path;

    fn entry(key: &str) -> String {
        format!(
            "[[dataset]]\nkey = \"{key}\"\nformat = \"cnn_dailymail\"\ntask_type = \"summarization\"\n\
             path = \"{key}.jsonl\"\nlicence = \"MIT\"\nsource = \"a test\"\nversion = \"1\"\n"
        )
    }

    fn registry(dir: &Path) -> Registry {
        let text = format!("schema_version = 1\n{}{}", entry("first"), entry("second"));
        std::fs::write(dir.join("registry.toml"), text).unwrap();
        let line = |id: &str| format!("{{\"id\": \"{id}\", \"article\": \"A.\", \"highlights\": \"H.\"}}\n");
        std::fs::write(dir.join("first.jsonl"), line("a") + &line("b")).unwrap();
        std::fs::write(dir.join("second.jsonl"), line("c") + &line("b")).unwrap();
        Registry::open(dir).unwrap()
    }

    fn data(sets: &[(&str, Option<usize>)]) -> Data {
        let sets = sets.iter().map(|&(key, sample)| DataSet { dataset: key.into(), sample }).collect();
        Data { seed: 42, sets }
    }

    #[test]
    fn sets_come_in_the_order_of_the_experiment() {
        let dir = tempfile::tempdir().unwrap();
        let rows = load(&registry(dir.path()), &data(&[("second", None)])).unwrap();
        assert_eq!(rows.iter().map(|r| r.task_id.as_str()).collect::<Vec<_>>(), ["c", "b"]);
        assert_eq!((rows[0].dataset.as_str(), rows[0].task_type.as_str()), ("second", "summarization"));
        assert_eq!(load(&registry(dir.path()), &data(&[("first", Some(1))])).unwrap().len(), 1);
    }

    #[test]
    fn mistakes_in_the_experiment_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let registry = registry(dir.path());
        let refusal = |sets| format!("{:#}", load(&registry, &data(sets)).unwrap_err());
        assert!(refusal(&[]).contains("`data.sets` is empty"));
        assert!(refusal(&[("third", None)]).contains("unknown data set `third`"));
        assert!(refusal(&[("first", None), ("first", None)]).contains("`first` twice"));
        assert_eq!(
            refusal(&[("first", None), ("second", None)]),
            "the data sets `first` and `second` both have a task `b`"
        );
        let few = refusal(&[("first", Some(3))]);
        assert!(few.contains("`first`") && few.contains('3') && few.contains('2'), "{few}");
    }

    #[test]
    fn an_unreadable_set_is_named_down_to_the_field() {
        let dir = tempfile::tempdir().unwrap();
        let registry = registry(dir.path());
        std::fs::write(dir.path().join("first.jsonl"), "{\"id\": \"a\", \"article\": 3}\n").unwrap();
        let message = format!("{:#}", load(&registry, &data(&[("first", None)])).unwrap_err());
        for part in ["data set `first`", "first.jsonl", "line 1", "`article`", "a number"] {
            assert!(message.contains(part), "{message} lacks {part}");
        }
    }

    #[test]
    fn task_types_have_the_names_of_the_tables() {
        assert_eq!(TaskType::from_name("qa"), Some(TaskType::Qa));
        assert_eq!(TaskType::from_name("summarization").map(TaskType::name), Some("summarization"));
        assert_eq!(TaskType::from_name("QA"), None);
    }

    #[test]
    fn the_shipped_corpus_is_as_large_and_sound_as_promised() {
        let registry = Registry::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets")).unwrap();
        let shipped = |key: &str| {
            let entry = registry.get(key).unwrap();
            registry.directory.join(&entry.path).exists().then(|| read(&registry, entry).unwrap())
        };
        // Reading checks every span of every answer.
        if let Some(questions) = shipped("quick_squad") {
            let passages: std::collections::HashSet<_> = questions.iter().map(|q| q.context.clone()).collect();
            assert!(passages.len() >= 40, "{} passages", passages.len());
            assert!(questions.len() >= 200, "{} questions", questions.len());
        }
        if let Some(articles) = shipped("quick_news") {
            assert!(articles.len() >= 60, "{} articles", articles.len());
            for article in &articles {
                let words = article.input.split_whitespace().count();
                assert!((150..=500).contains(&words), "`{}` has {words} words", article.task_id);
            }
        }
    }
}
