//! Quantiles of a node's reward over its jobs: exact where outcomes were counted, and to a two-thousandth of the range of
//! rewards where rounds were played one by one.

use hdrhistogram::Histogram;

/// Slices into which the range of rewards is cut.
const SLICES: u64 = 2047;

/// The smallest reward that at least a share `at` of all jobs did not exceed; none without a job. Sorts its argument.
#[must_use]
pub fn quantiles<const N: usize>(rewards: &mut [(f64, u64)], at: [f64; N]) -> Option<[f64; N]> {
    if rewards.is_empty() {
        return None;
    }
    rewards.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let total: u64 = rewards.iter().map(|(_, count)| count).sum();
    let of = |share: f64| {
        let wanted = (share * total as f64).ceil().max(1.0) as u64;
        let mut up_to = 0;
        let place = rewards.iter().position(|(_, count)| {
            up_to += count;
            up_to >= wanted
        });
        rewards[place.unwrap_or(rewards.len() - 1)].0
    };
    Some(at.map(of))
}

/// Rewards of each node of a pool, in slices of equal width.
#[derive(Debug, Clone)]
pub struct Histograms {
    nodes: Vec<Sliced>,
}

/// Rewards of one node.
#[derive(Debug, Clone)]
struct Sliced {
    low: f64,
    width: f64,
    jobs: Histogram<u64>,
}

impl Histograms {
    /// Empty histograms for rewards within the bounds of each node.
    #[must_use]
    pub fn new(bounds: &[(f64, f64)]) -> Self {
        let empty = histogram();
        let sliced = |&(low, high): &(f64, f64)| {
            let width = ((high - low) / SLICES as f64).max(f64::MIN_POSITIVE);
            Sliced { low, width, jobs: empty.clone() }
        };
        Self { nodes: bounds.iter().map(sliced).collect() }
    }

    /// One job.
    #[inline]
    pub fn record(&mut self, node: usize, reward: f64) {
        let Sliced { low, width, jobs } = &mut self.nodes[node];
        let slice = ((reward - *low) / *width) as u64;
        // Saturating: rewards lie within the bounds but for rounding.
        jobs.saturating_record(slice.min(SLICES - 1));
    }

    /// Adds the jobs of another part.
    pub fn add(&mut self, other: &Self) {
        for (into, from) in self.nodes.iter_mut().zip(&other.nodes) {
            add(&mut into.jobs, &from.jobs);
        }
    }

    /// As [`quantiles`], to half a slice.
    #[must_use]
    pub fn quantiles<const N: usize>(&self, node: usize, at: [f64; N]) -> Option<[f64; N]> {
        let Sliced { low, width, jobs } = &self.nodes[node];
        let of = |share| (jobs.value_at_quantile(share) as f64 + 0.5).mul_add(*width, *low);
        (!jobs.is_empty()).then(|| at.map(of))
    }
}

/// An empty histogram: three digits tell 2,048 values apart.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 2 * SLICES, 3).expect("these bounds are valid; this is a bug")
}

fn add(into: &mut Histogram<u64>, from: &Histogram<u64>) {
    into.add(from).expect("histograms of the same bounds add up; this is a bug");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_quantiles_are_order_statistics() {
        let mut rewards = vec![(0.5, 10), (-0.1, 5), (0.9, 85)];
        assert_eq!(quantiles(&mut rewards, [0.05, 0.051, 0.15, 0.5, 1.0]), Some([-0.1, 0.5, 0.5, 0.9, 0.9]));
        assert_eq!(quantiles::<1>(&mut [], [0.5]), None);
    }

    #[test]
    fn slices_are_as_fine_as_they_say() {
        let mut histograms = Histograms::new(&[(0.0, 1.0), (-0.3, 1.0)]);
        let mut rewards = Vec::new();
        for i in 0..10_000 {
            let reward = -0.3 + 1.3 * f64::from(i * 7919 % 10_000) / 9999.0;
            histograms.record(1, reward);
            rewards.push((reward, 1));
        }
        assert_eq!(histograms.quantiles(0, [0.5]), None);
        let exact = quantiles(&mut rewards, [0.05, 0.5, 0.95]).expect("jobs");
        let sliced = histograms.quantiles(1, [0.05, 0.5, 0.95]).expect("jobs");
        for (a, b) in exact.iter().zip(sliced) {
            assert!((a - b).abs() <= 1.3 / 2047.0, "{a} and {b}");
        }
        let mut both = histograms.clone();
        both.add(&histograms);
        assert_eq!(both.quantiles(1, [0.3]), histograms.quantiles(1, [0.3]));
    }
}
