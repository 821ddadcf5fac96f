//! Pareto frontiers: which LLMs no other beats on cost and quality at once.

/// Whether each (cost, quality) is on the frontier: no other is as cheap and as good, and cheaper or better. Points with the same
/// two values stand or fall together; null for a point that lacks one.
pub(super) fn on_frontier(points: &[Option<(f64, f64)>]) -> Vec<Option<bool>> {
    let beats = |(cost, quality): (f64, f64), (own_cost, own_quality): (f64, f64)| {
        cost <= own_cost && quality >= own_quality && (cost < own_cost || quality > own_quality)
    };
    let stands = |own: (f64, f64)| !points.iter().flatten().any(|other| beats(*other, own));
    points.iter().map(|point| point.map(stands)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_beaten_on_both_is_not_on_it() {
        let points = [Some((1.0, 1.0)), Some((2.0, 3.0)), Some((3.0, 2.0)), None, Some((2.0, 3.0)), Some((2.0, 2.0))];
        let found = [Some(true), Some(true), Some(false), None, Some(true), Some(false)];
        assert_eq!(on_frontier(&points), found);
        assert_eq!(on_frontier(&[]), []);
    }
}
