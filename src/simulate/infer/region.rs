//! Regions of the (alpha, beta) plane that linear constraints leave of its first quadrant: convex polygons, perhaps
//! unbounded. Constraints clip the quadrant one by one, so corners are exact and no grid is scanned.

use serde::{Deserialize, Serialize};
use std::ops::{Add, Mul, Sub};

/// How far a constraint may be missed before it counts as broken, relative to its constant term and at least this: the
/// rounding of f64 sums must not empty a region that is a line, as that of two evaluators is.
pub const TOLERANCE: f64 = 1e-9;

/// Below this a term of a corner or a constraint is zero.
const NEGLIGIBLE: f64 = 1e-12;

/// Corners nearer to each other than this are one.
const MERGED: f64 = 1e-6;

/// A point of the plane.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Coefficients {
    /// Weight of quality (Equation 2) or closeness (Equation 5).
    pub alpha: f64,
    /// Weight of cost.
    pub beta: f64,
}

/// From `low` to `high`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// Lower end.
    pub low: f64,
    /// Upper end; null when there is none.
    pub high: Option<f64>,
}

/// `alpha * α + beta * β + constant`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Linear {
    /// Factor of α.
    pub alpha: f64,
    /// Factor of β.
    pub beta: f64,
    /// The rest.
    pub constant: f64,
}

impl Linear {
    /// Nothing.
    pub const ZERO: Self = Self { alpha: 0.0, beta: 0.0, constant: 0.0 };
    /// α itself.
    pub const ALPHA: Self = Self { alpha: 1.0, beta: 0.0, constant: 0.0 };

    fn at(self, corner: Corner) -> f64 {
        self.alpha * corner.alpha + self.beta * corner.beta + self.constant * corner.weight
    }
}

impl Add for Linear {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { alpha: self.alpha + other.alpha, beta: self.beta + other.beta, constant: self.constant + other.constant }
    }
}

impl Mul<f64> for Linear {
    type Output = Self;

    fn mul(self, factor: f64) -> Self {
        Self { alpha: self.alpha * factor, beta: self.beta * factor, constant: self.constant * factor }
    }
}

impl Sub for Linear {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { alpha: self.alpha - other.alpha, beta: self.beta - other.beta, constant: self.constant - other.constant }
    }
}

/// A corner as a mixture of the origin and the far ends of both axes; its three shares add up to 1. The point is
/// (alpha / weight, beta / weight); weight 0 is a direction in which the region never ends.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Corner {
    alpha: f64,
    beta: f64,
    weight: f64,
}

const FIRST_QUADRANT: [Corner; 3] = [
    Corner { alpha: 0.0, beta: 0.0, weight: 1.0 },
    Corner { alpha: 1.0, beta: 0.0, weight: 0.0 },
    Corner { alpha: 0.0, beta: 1.0, weight: 0.0 },
];

/// A convex region of the first quadrant.
#[derive(Debug, Clone, PartialEq)]
pub struct Region {
    constraints: Vec<Linear>,
    corners: Vec<Corner>,
}

impl Region {
    /// Where every expression is at least zero, within [`TOLERANCE`].
    #[must_use]
    pub fn new(constraints: &[Linear]) -> Self {
        let relax = |constraint: &Linear| {
            let allowance = TOLERANCE * constraint.constant.abs().max(1.0);
            Linear { constant: constraint.constant + allowance, ..*constraint }
        };
        Self::within(constraints.iter().map(relax).collect())
    }

    fn within(constraints: Vec<Linear>) -> Self {
        let corners =
            constraints.iter().fold(FIRST_QUADRANT.to_vec(), |corners, &constraint| clip(&corners, constraint));
        Self { constraints, corners }
    }

    /// Where both are.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        Self::within(self.constraints.iter().chain(&other.constraints).copied().collect())
    }

    /// Whether a point lies in it.
    #[must_use]
    pub fn contains(&self, point: Coefficients) -> bool {
        let corner = Corner { alpha: point.alpha, beta: point.beta, weight: 1.0 };
        point.alpha >= 0.0
            && point.beta >= 0.0
            && self.constraints.iter().all(|constraint| constraint.at(corner) >= 0.0)
    }

    /// The values of beta at one alpha; none where the region has no such alpha.
    #[must_use]
    pub fn beta_at(&self, alpha: f64) -> Option<Range> {
        let (mut low, mut high) = (0.0_f64, f64::INFINITY);
        for constraint in &self.constraints {
            let rest = constraint.alpha * alpha + constraint.constant;
            if constraint.beta.abs() <= NEGLIGIBLE {
                if rest < 0.0 {
                    return None;
                }
            } else if constraint.beta > 0.0 {
                low = low.max(-rest / constraint.beta);
            } else {
                high = high.min(-rest / constraint.beta);
            }
        }
        (low <= high).then_some(Range { low, high: high.is_finite().then_some(high) })
    }

    /// Smallest and largest alpha; none for an empty region.
    #[must_use]
    pub fn alpha(&self) -> Option<Range> {
        self.extent(|corner| corner.alpha)
    }

    /// Smallest and largest beta; none for an empty region.
    #[must_use]
    pub fn beta(&self) -> Option<Range> {
        self.extent(|corner| corner.beta)
    }

    /// The corners, in order around the region. An unbounded region goes on beyond the first and the last of them.
    #[must_use]
    pub fn corners(&self) -> Vec<Coefficients> {
        let mut found: Vec<Coefficients> = Vec::new();
        for corner in self.corners.iter().filter(|corner| corner.weight > NEGLIGIBLE) {
            let point = Coefficients { alpha: corner.alpha / corner.weight, beta: corner.beta / corner.weight };
            let near = |other: &Coefficients| {
                (point.alpha - other.alpha).abs() < MERGED && (point.beta - other.beta).abs() < MERGED
            };
            if !found.iter().any(near) {
                found.push(point);
            }
        }
        found
    }

    fn extent(&self, share: impl Fn(&Corner) -> f64) -> Option<Range> {
        let finite = || self.corners.iter().filter(|corner| corner.weight > NEGLIGIBLE);
        let values = || finite().map(|corner| share(corner) / corner.weight);
        let low = values().reduce(f64::min)?;
        let endless = self.corners.iter().any(|corner| corner.weight <= NEGLIGIBLE && share(corner) > NEGLIGIBLE);
        Some(Range { low, high: if endless { None } else { values().reduce(f64::max) } })
    }
}

/// The part of a convex polygon on which the expression is not negative (Sutherland and Hodgman).
fn clip(corners: &[Corner], constraint: Linear) -> Vec<Corner> {
    let mut kept = Vec::with_capacity(corners.len() + 1);
    for (index, &corner) in corners.iter().enumerate() {
        let next = corners[(index + 1) % corners.len()];
        let (here, there) = (constraint.at(corner), constraint.at(next));
        if here >= -NEGLIGIBLE {
            kept.push(corner);
        }
        if here.abs() > NEGLIGIBLE && there.abs() > NEGLIGIBLE && (here > 0.0) != (there > 0.0) {
            let share = here / (here - there);
            let mix = |a: f64, b: f64| a + share * (b - a);
            kept.push(Corner {
                alpha: mix(corner.alpha, next.alpha),
                beta: mix(corner.beta, next.beta),
                weight: mix(corner.weight, next.weight),
            });
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BETA: Linear = Linear { alpha: 0.0, beta: 1.0, constant: 0.0 };

    fn constant(value: f64) -> Linear {
        Linear { constant: value, ..Linear::ZERO }
    }

    fn assert_near(range: Option<Range>, low: f64, high: Option<f64>) {
        let range = range.expect("the region is not empty");
        assert!((range.low - low).abs() < 1e-6, "{range:?} does not begin at {low}");
        match (range.high, high) {
            (Some(a), Some(b)) => assert!((a - b).abs() < 1e-6, "{range:?} does not end at {b}"),
            (a, b) => assert_eq!(a, b),
        }
    }

    #[test]
    fn a_triangle_by_hand() {
        // alpha >= 1, beta <= 3 - alpha.
        let region = Region::new(&[Linear::ALPHA - constant(1.0), constant(3.0) - Linear::ALPHA - BETA]);
        assert_near(region.alpha(), 1.0, Some(3.0));
        assert_near(region.beta(), 0.0, Some(2.0));
        assert_near(region.beta_at(2.0), 0.0, Some(1.0));
        assert_eq!(region.beta_at(0.5), None);
        assert_eq!(region.corners().len(), 3);
        assert!(region.contains(Coefficients { alpha: 1.5, beta: 1.5 }));
        assert!(!region.contains(Coefficients { alpha: 1.5, beta: 1.6 }));
        assert!(!region.contains(Coefficients { alpha: 1.5, beta: -0.1 }));
    }

    #[test]
    fn what_is_open_says_so() {
        let quadrant = Region::new(&[]);
        assert_near(quadrant.alpha(), 0.0, None);
        assert_eq!(quadrant.corners(), [Coefficients { alpha: 0.0, beta: 0.0 }]);
        // A strip along beta, and a wedge between two rays from (1, 0).
        let strip = Region::new(&[Linear::ALPHA - constant(1.0), constant(2.0) - Linear::ALPHA]);
        assert_near(strip.alpha(), 1.0, Some(2.0));
        assert_near(strip.beta(), 0.0, None);
        assert_near(strip.beta_at(1.5), 0.0, None);
        let wedge = Region::new(&[Linear::ALPHA - constant(1.0) - BETA]);
        assert_near(wedge.alpha(), 1.0, None);
        assert_near(wedge.beta(), 0.0, None);
        assert_near(wedge.beta_at(3.0), 0.0, Some(2.0));
        assert_near(strip.intersection(&wedge).beta(), 0.0, Some(1.0));
    }

    #[test]
    fn a_line_is_not_lost_to_rounding() {
        let line = Linear::ALPHA - BETA * 0.1 - constant(0.3);
        let region = Region::new(&[line, line * -1.0]);
        assert_near(region.alpha(), 0.3, None);
        assert!(region.contains(Coefficients { alpha: 0.1 + 0.2, beta: 0.0 }));
        assert_near(region.beta_at(0.4), 1.0, Some(1.0));
        // Met by another line, it is a point.
        let point = region.intersection(&Region::new(&[BETA - constant(2.0), constant(2.0) - BETA]));
        assert_near(point.alpha(), 0.5, Some(0.5));
        assert_eq!(point.corners().len(), 1);
    }

    proptest! {
        #[test]
        fn the_polygon_has_the_alphas_at_which_some_beta_fits(
            factors in prop::collection::vec((-1.0..1.0f64, -1.0..1.0f64, -1.0..1.0f64), 0..9),
            alpha in 0.0..5.0f64,
        ) {
            let constraint = |&(alpha, beta, constant): &(f64, f64, f64)| Linear { alpha, beta, constant };
            let region = Region::new(&factors.iter().map(constraint).collect::<Vec<_>>());
            let within = |slack: f64| {
                region.alpha().is_some_and(|range| {
                    range.low - slack <= alpha && range.high.is_none_or(|high| alpha <= high + slack)
                })
            };
            match region.beta_at(alpha) {
                Some(beta) => {
                    prop_assert!(within(1e-6));
                    let point = Coefficients { alpha, beta: beta.high.map_or(beta.low + 1.0, |high| beta.low.midpoint(high)) };
                    prop_assert!(region.contains(point), "{point:?}");
                }
                None => prop_assert!(!within(-1e-6)),
            }
        }
    }

    #[test]
    fn what_nothing_fits_is_empty() {
        let region = Region::new(&[Linear::ALPHA - constant(2.0), constant(1.0) - Linear::ALPHA]);
        assert_eq!((region.alpha(), region.beta(), region.beta_at(1.5)), (None, None, None));
        assert!(region.corners().is_empty());
    }
}
