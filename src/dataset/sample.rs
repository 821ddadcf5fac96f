//! A seeded sample without replacement that depends on ids alone: reordering the file, or adding records to it, moves
//! as few tasks as possible, and no random generator has to stay the same for ever.

use crate::digest::sha256_fields;
use crate::store::rows::TaskRow;
use anyhow::{Result, ensure};

/// Keeps the `n` tasks that [`choose`] keeps; asking for none or for more than there are is an error.
pub fn draw(rows: Vec<TaskRow>, n: usize, seed: u64) -> Result<Vec<TaskRow>> {
    ensure!(n > 0, "`sample` is 0; leave it out to take every record");
    ensure!(n <= rows.len(), "`sample` asks for {n} records, but there are only {}", rows.len());
    Ok(choose(rows, n, seed, |row| row.task_id.clone()))
}

/// Keeps the `n` rows (or all, where there are fewer) whose sha256 of (seed, id) is smallest, in the order they came in.
pub fn choose<T>(rows: Vec<T>, n: usize, seed: u64, id: impl Fn(&T) -> String) -> Vec<T> {
    let key = |row: &T| sha256_fields([&seed.to_le_bytes()[..], id(row).as_bytes()]);
    let mut drawn: Vec<_> = rows.into_iter().enumerate().map(|(i, row)| (key(&row), i, row)).collect();
    drawn.sort_unstable_by_key(|(key, i, _)| (*key, *i));
    drawn.truncate(n);
    drawn.sort_unstable_by_key(|(_, i, _)| *i);
    drawn.into_iter().map(|(_, _, row)| row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn row(id: usize) -> TaskRow {
        samples::task(&format!("id-{id}"))
    }

    fn ids(rows: &[TaskRow]) -> Vec<&str> {
        rows.iter().map(|r| r.task_id.as_str()).collect()
    }

    // Computed with Python's hashlib.
    const FIXED: [&str; 4] = ["id-0", "id-3", "id-6", "id-7"];

    #[test]
    fn the_sample_of_a_seed_never_changes() {
        let drawn = draw((0..10).map(row).collect(), 4, 42).unwrap();
        assert_eq!(ids(&drawn), FIXED);
        let other = draw((0..10).map(row).collect(), 4, 43).unwrap();
        assert_ne!(ids(&other), FIXED);
    }

    #[test]
    fn impossible_sizes_are_refused_with_both_numbers() {
        let error = draw((0..3).map(row).collect(), 5, 1).unwrap_err().to_string();
        assert!(error.contains("5 records") && error.contains("only 3"), "{error}");
        assert!(draw((0..3).map(row).collect(), 0, 1).unwrap_err().to_string().contains("`sample` is 0"));
    }

    proptest! {
        #[test]
        fn file_order_changes_only_the_order(
            order in Just((0..30).collect::<Vec<usize>>()).prop_shuffle(),
            n in 1_usize..=30,
            seed: u64,
        ) {
            let straight = draw((0..30).map(row).collect(), n, seed).unwrap();
            let shuffled = draw(order.iter().copied().map(row).collect(), n, seed).unwrap();
            prop_assert_eq!(straight.len(), n);
            let a: BTreeSet<_> = ids(&straight).into_iter().collect();
            let b: BTreeSet<_> = ids(&shuffled).into_iter().collect();
            prop_assert_eq!(&a, &b);
            let in_file_order = order.iter().map(|i| format!("id-{i}"));
            let kept: Vec<String> = in_file_order.filter(|id| b.contains(id.as_str())).collect();
            prop_assert_eq!(ids(&shuffled), kept);
        }

        #[test]
        fn a_larger_sample_holds_the_smaller_one(n in 1_usize..30, seed: u64) {
            let small = draw((0..30).map(row).collect(), n, seed).unwrap();
            let large = draw((0..30).map(row).collect(), n + 1, seed).unwrap();
            prop_assert!(small.iter().all(|row| large.contains(row)));
        }
    }
}
