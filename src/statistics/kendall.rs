//! Kendall's tau-b: how two columns agree on which of two answers is the better one, over all pairs of answers. Called for
//! evaluators against a reference, and for rankings of nodes.

/// Tau-b of the complete pairs of two columns of equal length, without unit, from -1 to 1: concordant less discordant pairs
/// of rows, over the geometric mean of the pairs that each column tells apart. A row with a missing or non-finite side is
/// left out. Null where a column tells no two rows apart.
///
/// By sorting (Knight 1966), in n log n steps; counts are integers, so that no digit depends on the order of the rows.
#[must_use]
pub fn tau_b(x: &[Option<f64>], y: &[Option<f64>]) -> Option<f64> {
    let (x, y) = super::complete_pairs(x, y);
    // Zero has one rank, whatever its sign.
    let mut rows: Vec<(f64, f64)> = x.into_iter().zip(y).map(|(x, y)| (x + 0.0, y + 0.0)).collect();
    rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let all = pairs(rows.len());
    let tied_x = tied(&rows, |a, b| same(a.0, b.0));
    let tied_both = tied(&rows, |a, b| same(a.0, b.0) && same(a.1, b.1));
    let mut y: Vec<f64> = rows.into_iter().map(|row| row.1).collect();
    let mut room = y.clone();
    let discordant = inversions(&mut y, &mut room);
    let tied_y = tied(&y, |a, b| same(*a, *b));
    let apart = [all - tied_x, all - tied_y].map(|pairs| pairs as f64);
    let score = all - tied_x - tied_y + tied_both - 2 * discordant;
    (apart[0] > 0.0 && apart[1] > 0.0).then(|| score as f64 / (apart[0] * apart[1]).sqrt())
}

fn same(a: f64, b: f64) -> bool {
    a.to_bits() == b.to_bits()
}

/// Pairs among `n` things.
fn pairs(n: usize) -> i64 {
    let n = n as i64;
    n * (n - 1) / 2
}

/// Pairs within runs of equal neighbours.
fn tied<T>(sorted: &[T], equal: impl Fn(&T, &T) -> bool) -> i64 {
    sorted.chunk_by(equal).map(|run| pairs(run.len())).sum()
}

/// Sorts the values and counts the pairs that stood the wrong way round; `room` is as long as `values`.
fn inversions(values: &mut [f64], room: &mut [f64]) -> i64 {
    let middle = values.len() / 2;
    if middle == 0 {
        return 0;
    }
    let mut count = inversions(&mut values[..middle], &mut room[..middle]);
    count += inversions(&mut values[middle..], &mut room[middle..]);
    let (mut left, mut right) = (0, middle);
    for place in room.iter_mut() {
        let from_right = right < values.len() && (left == middle || values[right] < values[left]);
        if from_right {
            *place = values[right];
            right += 1;
            count += (middle - left) as i64;
        } else {
            *place = values[left];
            left += 1;
        }
    }
    values.copy_from_slice(room);
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn some(values: &[f64]) -> Vec<Option<f64>> {
        values.iter().map(|&value| Some(value)).collect()
    }

    /// By its definition, every pair of rows looked at.
    fn by_pairs(x: &[f64], y: &[f64]) -> Option<f64> {
        let sign = |a: f64, b: f64| f64::from(i8::from(a > b) - i8::from(a < b));
        let (mut score, mut apart_x, mut apart_y) = (0.0, 0.0, 0.0);
        for i in 0..x.len() {
            for j in 0..i {
                let (dx, dy) = (sign(x[i], x[j]), sign(y[i], y[j]));
                score += dx * dy;
                apart_x += dx * dx;
                apart_y += dy * dy;
            }
        }
        (apart_x > 0.0 && apart_y > 0.0).then(|| score / f64::sqrt(apart_x * apart_y))
    }

    #[test]
    fn pairs_are_counted() {
        assert_eq!(tau_b(&some(&[1.0, 2.0, 3.0]), &some(&[10.0, 20.0, 30.0])), Some(1.0));
        assert_eq!(tau_b(&some(&[1.0, 2.0, 3.0]), &some(&[3.0, 2.0, 1.0])), Some(-1.0));
        // Of six pairs five agree and one does not.
        let tau = tau_b(&some(&[1.0, 2.0, 3.0, 4.0]), &some(&[1.0, 3.0, 2.0, 4.0])).expect("ranks");
        assert!((tau - 4.0 / 6.0).abs() < 1e-12, "{tau}");
        // Five pairs that x tells apart, six that y does, five agree.
        let tau = tau_b(&some(&[1.0, 1.0, 3.0, 4.0]), &some(&[1.0, 2.0, 3.0, 4.0])).expect("ranks");
        assert!((tau - 5.0 / 30.0_f64.sqrt()).abs() < 1e-12, "{tau}");
    }

    #[test]
    fn constants_gaps_and_nothing_have_none() {
        assert_eq!(tau_b(&some(&[1.0, 1.0]), &some(&[1.0, 2.0])), None);
        assert_eq!(tau_b(&[None, Some(1.0)], &[Some(1.0), Some(2.0)]), None);
        assert_eq!(tau_b(&some(&[0.0, -0.0]), &some(&[1.0, 2.0])), None);
        assert_eq!(tau_b(&[], &[]), None);
        assert_eq!(tau_b(&[Some(1.0), Some(f64::NAN), Some(2.0)], &some(&[1.0, 0.0, 2.0])), Some(1.0));
    }

    proptest! {
        #[test]
        fn sorting_finds_what_counting_does(rows in prop::collection::vec((0_i8..6, -3_i8..4), 0..60)) {
            let (x, y): (Vec<f64>, Vec<f64>) = rows.iter().map(|row| (f64::from(row.0), f64::from(row.1))).unzip();
            match (tau_b(&some(&x), &some(&y)), by_pairs(&x, &y)) {
                (Some(found), Some(expected)) => prop_assert!((found - expected).abs() < 1e-12),
                (found, expected) => prop_assert_eq!(found, expected),
            }
        }
    }
}
