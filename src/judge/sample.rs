//! Which records are judged (Section 4.2: up to `N_group` for each data set, task and model): a seeded sample of each data set
//! and task type, the same for every model.

use crate::store::Fingerprint;
use crate::store::rows::{JudgeSampleRow, TaskRow};
use std::collections::BTreeMap;

/// Whether a model's answer is missing, where the draw puts it, and the record.
type Drawn<'a> = (bool, String, &'a TaskRow);

/// Draws the sample: `n_group` records of each data set and task type, or all where there are fewer, in the order in which
/// they were drawn. Records that every one of the `models` answered come first (`answered` counts who did), so that means
/// compare. A record's place depends on seed and id alone: a smaller sample is the beginning of a larger one.
#[must_use]
pub fn sample(
    tasks: &[TaskRow],
    answered: &BTreeMap<&str, usize>,
    models: usize,
    n_group: usize,
    seed: u64,
) -> Vec<JudgeSampleRow> {
    let seed = seed.to_string();
    let mut groups: BTreeMap<(&str, &str), Vec<Drawn>> = BTreeMap::new();
    for task in tasks {
        let answers = answered.get(task.task_id.as_str()).copied().unwrap_or(0);
        if answers == 0 {
            continue;
        }
        let draw = Fingerprint::new("judge sample").text("seed", &seed).text("task", &task.task_id).finish();
        groups.entry((&task.dataset, &task.task_type)).or_default().push((answers < models, draw, task));
    }
    let mut rows = Vec::new();
    for group in groups.values_mut() {
        group.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        rows.extend(group.iter().take(n_group).enumerate().map(|(place, (_, _, task))| JudgeSampleRow {
            task_id: task.task_id.clone(),
            dataset: task.dataset.clone(),
            task_type: task.task_type.clone(),
            place: i32::try_from(place).unwrap_or(i32::MAX),
        }));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;
    use std::collections::HashSet;

    fn tasks() -> Vec<TaskRow> {
        let task = |i: usize| TaskRow {
            dataset: if i.is_multiple_of(3) { "a" } else { "b" }.into(),
            task_type: if i.is_multiple_of(2) { "qa" } else { "summarization" }.into(),
            ..samples::task(&format!("t{i}"))
        };
        (0..60).map(task).collect()
    }

    fn ids(rows: &[JudgeSampleRow]) -> HashSet<&str> {
        rows.iter().map(|row| row.task_id.as_str()).collect()
    }

    #[test]
    fn every_group_gives_its_share_and_a_smaller_sample_begins_a_larger() {
        let tasks = tasks();
        let answered: BTreeMap<&str, usize> = tasks.iter().map(|task| (task.task_id.as_str(), 2)).collect();
        let draw = |n, seed| sample(&tasks, &answered, 2, n, seed);
        let (small, large) = (draw(3, 42), draw(7, 42));
        assert_eq!((small.len(), large.len()), (12, 28));
        assert!(ids(&small).is_subset(&ids(&large)));
        assert_ne!(ids(&small), ids(&draw(3, 43)), "the seed matters");
        assert_eq!(draw(1000, 1).len(), 60);
        let mut turned = tasks.clone();
        turned.reverse();
        assert_eq!(small, sample(&turned, &answered, 2, 3, 42), "the order of the table does not matter");
        assert!(small.iter().all(|row| (0..3).contains(&row.place)));
    }

    #[test]
    fn records_that_everybody_answered_come_first() {
        let tasks = tasks();
        let whole = ["t0", "t6"];
        let answered: BTreeMap<&str, usize> = tasks
            .iter()
            .map(|task| (task.task_id.as_str(), if whole.contains(&task.task_id.as_str()) { 2 } else { 1 }))
            .filter(|(id, _)| *id != "t12")
            .collect();
        let rows = sample(&tasks, &answered, 2, 2, 42);
        let first: HashSet<&str> = rows
            .iter()
            .filter(|r| (r.dataset.as_str(), r.task_type.as_str()) == ("a", "qa"))
            .map(|r| &*r.task_id)
            .collect();
        assert_eq!(first, HashSet::from(whole));
        let all = sample(&tasks, &answered, 2, 100, 42);
        assert!(all.iter().all(|row| row.task_id != "t12"), "what nobody answered cannot be judged");
    }
}
