//! The rules themselves.

use super::{Aggregate, Scratch, Votes};

/// Shares of weight that differ by less are equal: sums of weights are rounded.
const TIE: f64 = 1e-12;

/// `sum w e / sum w`; Equation 1 where the weights are equal.
#[derive(Debug, Clone, Copy)]
pub struct Mean;

impl Aggregate for Mean {
    #[inline]
    fn consensus(&self, votes: Votes, _: &mut Scratch) -> f64 {
        let mut sum = 0.0;
        let mut total = 0.0;
        for (score, weight) in votes.scores.iter().zip(votes.weights) {
            sum += weight * score;
            total += weight;
        }
        sum / total
    }

    fn is_weighted(&self) -> bool {
        true
    }
}

/// The middle score; the midpoint of the two middle ones where their number is even. Breaks down at one half.
#[derive(Debug, Clone, Copy)]
pub struct Median;

impl Aggregate for Median {
    fn consensus(&self, votes: Votes, scratch: &mut Scratch) -> f64 {
        let sorted = scratch.sort(votes);
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 { sorted[middle].0 } else { f64::midpoint(sorted[middle - 1].0, sorted[middle].0) }
    }

    fn is_weighted(&self) -> bool {
        false
    }
}

/// The mean without `floor(trim K)` scores at each end, and without at least one where K is at least 3.
#[derive(Debug, Clone, Copy)]
pub struct TrimmedMean {
    /// Share dropped at each end, in (0, 0.5).
    pub trim: f64,
}

impl Aggregate for TrimmedMean {
    fn consensus(&self, votes: Votes, scratch: &mut Scratch) -> f64 {
        let sorted = scratch.sort(votes);
        let count = sorted.len();
        let least = usize::from(count >= 3);
        let dropped = ((self.trim * count as f64 + TIE) as usize).max(least).min((count - 1) / 2);
        let kept = &sorted[dropped..count - dropped];
        kept.iter().map(|(score, _)| score).sum::<f64>() / kept.len() as f64
    }

    fn is_weighted(&self) -> bool {
        false
    }
}

/// Huber's M-estimator of location: the mu at which `sum w clip(e - mu, -delta, delta)` is 0, the midpoint of them where
/// there are many. Between mean (delta large) and weighted median (delta small).
#[derive(Debug, Clone, Copy)]
pub struct Huber {
    /// Points from which a score pulls no harder.
    pub delta: f64,
}

impl Aggregate for Huber {
    /// The sum falls from `+delta W` to `-delta W` along mu, linear between the knots `e ± delta`: it is followed from
    /// knot to knot until it is 0, which is exact where an iteration would only converge.
    fn consensus(&self, votes: Votes, scratch: &mut Scratch) -> f64 {
        let knots = &mut scratch.knots;
        knots.clear();
        let mut total = 0.0;
        for (&score, &weight) in votes.scores.iter().zip(votes.weights) {
            // Between its two knots a score's pull falls by its weight per point.
            knots.push((score - self.delta, weight));
            knots.push((score + self.delta, -weight));
            total += weight;
        }
        knots.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        // Knots near 10 are rounded, however small delta is.
        let nothing = TIE * total * self.delta.max(10.0);
        let (mut pull, mut slope, mut place) = (total * self.delta, 0.0, knots[0].0);
        let mut first_zero = None;
        for &(knot, change) in knots.iter() {
            let at_knot = pull - slope * (knot - place);
            if let Some(first) = first_zero {
                if at_knot < -nothing {
                    return f64::midpoint(first, place);
                }
            } else if at_knot < -nothing {
                return place + pull / slope;
            } else if at_knot <= nothing {
                // A flat stretch at 0 begins here, or this is the only zero.
                first_zero = Some(knot);
            }
            (pull, place) = (at_knot, knot);
            slope += change;
        }
        first_zero.map_or(place, |first| f64::midpoint(first, place))
    }

    fn is_weighted(&self) -> bool {
        true
    }
}

/// The score at which half of the weight lies on either side; the midpoint of two where half lies at or below one of them.
#[derive(Debug, Clone, Copy)]
pub struct WeightedMedian;

impl Aggregate for WeightedMedian {
    fn consensus(&self, votes: Votes, scratch: &mut Scratch) -> f64 {
        let sorted = scratch.sort(votes);
        let total: f64 = sorted.iter().map(|(_, weight)| weight).sum();
        let mut below = 0.0;
        for (i, &(score, weight)) in sorted.iter().enumerate() {
            below += weight;
            let excess = below / total - 0.5;
            if excess > TIE {
                return score;
            }
            if excess >= -TIE {
                return f64::midpoint(score, sorted[(i + 1).min(sorted.len() - 1)].0);
            }
        }
        sorted[sorted.len() - 1].0
    }

    fn is_weighted(&self) -> bool {
        true
    }
}

/// Yuma's clipping: the highest score that at least a share kappa of the weight reaches is the most that counts; the
/// weighted mean of the scores cut down to it. Guards against exaggeration, not against belittling.
#[derive(Debug, Clone, Copy)]
pub struct Yuma {
    /// Share of the weight, in (0, 1].
    pub kappa: f64,
}

impl Aggregate for Yuma {
    fn consensus(&self, votes: Votes, scratch: &mut Scratch) -> f64 {
        let sorted = scratch.sort(votes);
        let total: f64 = sorted.iter().map(|(_, weight)| weight).sum();
        let mut support = 0.0;
        let mut most = sorted[0].0;
        for &(score, weight) in sorted.iter().rev() {
            support += weight;
            if support / total >= self.kappa - TIE {
                most = score;
                break;
            }
        }
        sorted.iter().map(|&(score, weight)| weight * score.min(most)).sum::<f64>() / total
    }

    fn is_weighted(&self) -> bool {
        true
    }
}
