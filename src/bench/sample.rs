//! The sample that a sweep reads: seeded pairs of mixed length from the tasks of a corpus, the same in every cell.

use crate::score::Pair;
use crate::store::Fingerprint;
use crate::store::rows::TaskRow;
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
}
