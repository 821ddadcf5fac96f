//! The sample that a sweep reads, the same in every cell: for evaluators seeded pairs of mixed length from the tasks of a
//! corpus, for LLMs seeded tasks.

use crate::score::Pair;
use crate::store::Fingerprint;
use crate::store::rows::TaskRow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Words of an output: from a short answer to a long summary.
const WORDS: (u64, u64) = (3, 60);

/// Stand-ins for answers: each task's reference beside a stretch of its own text. Needs no model and no run; lengths are
/// those of answers, from a phrase to a paragraph. Takes the tasks in turn until there are enough.
#[must_use]
pub fn pairs(tasks: &[TaskRow], count: usize, seed: u64) -> Vec<Pair> {
    let usable: Vec<&TaskRow> = tasks.iter().filter(|task| !task.input.trim().is_empty()).collect();
    if usable.is_empty() {
        return Vec::new();
    }
    (0..count).map(|i| pair(usable[i % usable.len()], i, seed)).collect()
}

fn pair(task: &TaskRow, index: usize, seed: u64) -> Pair {
    let random = |name: &str, below: u64| {
        let hash = Fingerprint::new("bench sample").text("seed", &seed.to_string()).text("task", &task.task_id);
        hash.text("index", &index.to_string()).text("name", name).number() % below.max(1)
    };
    let words: Vec<&str> = task.context.as_ref().unwrap_or(&task.input).split_whitespace().collect();
    let length = (WORDS.0 + random("length", WORDS.1 - WORDS.0 + 1)).min(words.len() as u64);
    let first = random("first", words.len() as u64 - length + 1) as usize;
    let output = words[first..first + length as usize].join(" ");
    Pair { task: Arc::new(task.into()), model: "sample".to_owned(), output: Ok(output) }
}

/// Tasks for LLMs: passages and articles in an order that the seed decides, each with all of its questions, for those share
/// what a prompt begins with, as they do in a run. No task is taken twice.
#[must_use]
pub fn questions(tasks: &[TaskRow], count: usize, seed: u64) -> Vec<TaskRow> {
    let mut texts: BTreeMap<(u64, &str), Vec<&TaskRow>> = BTreeMap::new();
    for task in tasks.iter().filter(|task| !task.input.trim().is_empty()) {
        let text = task.context.as_ref().unwrap_or(&task.input).as_str();
        let place = Fingerprint::new("bench questions").text("seed", &seed.to_string()).text("text", text).number();
        texts.entry((place, text)).or_default().push(task);
    }
    texts.into_values().flatten().take(count).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;

    fn task(id: &str, words: usize) -> TaskRow {
        TaskRow { input: "word ".repeat(words), ..samples::task(id) }
    }

    #[test]
    fn the_seed_decides_and_lengths_vary() {
        let tasks = [task("a", 200), task("b", 2), task("c", 0)];
        let outputs = |seed| -> Vec<String> {
            pairs(&tasks, 40, seed).into_iter().map(|pair| pair.output.expect("has an output")).collect()
        };
        assert_eq!(outputs(1), outputs(1));
        assert_ne!(outputs(1), outputs(2));
        assert_eq!(outputs(1).len(), 40);
        assert!(outputs(1).iter().all(|output| !output.is_empty()));
        assert!(pairs(&[task("c", 0)], 3, 1).is_empty());
    }

    #[test]
    fn questions_of_a_passage_stay_together_and_none_comes_twice() {
        let about = |id: &str, passage: &str| TaskRow { context: Some(passage.into()), ..samples::task(id) };
        let tasks: Vec<TaskRow> = (0..12).map(|i| about(&format!("q{i}"), &format!("passage {}", i % 4))).collect();
        let ids = |count, seed| -> Vec<String> {
            questions(&tasks, count, seed).into_iter().map(|task| task.task_id).collect()
        };
        assert_eq!(ids(6, 1), ids(6, 1));
        assert!((2..9).any(|seed| ids(6, 1) != ids(6, seed)));
        assert_eq!(ids(99, 1).len(), 12);
        let passages: Vec<Option<String>> = questions(&tasks, 6, 1).into_iter().map(|task| task.context).collect();
        assert!(passages[..3].iter().all(|passage| *passage == passages[0]) && passages[3] != passages[0]);
        assert!(questions(&[task("c", 0)], 3, 1).is_empty());
    }
}
