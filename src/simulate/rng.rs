//! Randomness of the simulation: one PCG stream per (seed, replicate), so that the number of threads changes nothing,
//! and unbiased bounded draws by Lemire's method (arXiv:1805.10941), which `rand_core` does not offer.

use rand_core::Rng;
use rand_pcg::Pcg64;

/// The random numbers of one replicate, or of one block of it.
#[derive(Debug, Clone)]
pub struct Stream {
    generator: Pcg64,
    /// The lower half of the last word that was halved, while nobody has taken it.
    spare: Option<u32>,
}

impl Stream {
    /// The seed chooses the generator's state and the replicate its stream. Both are hashed first: PCG streams whose
    /// increments differ by a multiple of a large power of two resemble each other, and neighbouring seeds should not.
    #[must_use]
    pub fn new(seed: u64, replicate: u32) -> Self {
        Self::of_block(seed, replicate, 0)
    }

    /// The stream of one block of a replicate's rounds, so that blocks can be played side by side.
    #[must_use]
    pub fn of_block(seed: u64, replicate: u32, block: u32) -> Self {
        let generator = Pcg64::new(spread(seed), spread(u64::from(block) << 32 | u64::from(replicate)));
        Self { generator, spare: None }
    }

    /// A number uniform on [0, 1), a multiple of 2^-53.
    #[inline]
    pub fn unit(&mut self) -> f64 {
        (self.generator.next_u64() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// A number uniform below a [`Bound`], from half a word of the generator.
    #[inline]
    pub fn lane(&mut self, bound: Bound) -> u32 {
        loop {
            let lane = self.spare.take().unwrap_or_else(|| {
                let word = self.generator.next_u64();
                self.spare = Some(word as u32);
                (word >> 32) as u32
            });
            if let Some(number) = bound.place(lane) {
                return number;
            }
        }
    }

    /// So many times [`Stream::lane`], and faster.
    #[inline]
    pub fn lanes(&mut self, bound: Bound, count: u64, mut visit: impl FnMut(u32)) {
        let mut left = count;
        if left > 0 && self.spare.is_some() {
            visit(self.lane(bound));
            left -= 1;
        }
        while left >= 2 && self.spare.is_none() {
            let word = self.generator.next_u64();
            for lane in [(word >> 32) as u32, word as u32] {
                if let Some(number) = bound.place(lane) {
                    visit(number);
                    left -= 1;
                }
            }
        }
        for _ in 0..left {
            visit(self.lane(bound));
        }
    }

    /// A number uniform on `0..bound`, without bias. The bound is at least 1.
    #[inline]
    pub fn below(&mut self, bound: usize) -> usize {
        bounded(bound as u64, || self.generator.next_u64()) as usize
    }
}

/// A bound of at most 2^32 - 1, with the low words that would bias a draw below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    bound: u32,
    refused: u32,
}

impl Bound {
    /// A bound of at least 1.
    #[must_use]
    pub fn new(bound: u32) -> Self {
        Self { bound, refused: bound.wrapping_neg() % bound }
    }

    /// Lemire's method on 32 bits; none where the bits would bias.
    #[inline]
    fn place(self, lane: u32) -> Option<u32> {
        let product = u64::from(lane) * u64::from(self.bound);
        (product as u32 >= self.refused).then_some((product >> 32) as u32)
    }
}

/// Lemire's multiply-and-reject: the high word of `word * bound` is uniform once the `2^64 mod bound` smallest low
/// words are refused.
fn bounded(bound: u64, mut next_word: impl FnMut() -> u64) -> u64 {
    debug_assert!(bound > 0, "nothing lies below 0");
    let mut product = u128::from(next_word()) * u128::from(bound);
    if (product as u64) < bound {
        let refused = bound.wrapping_neg() % bound;
        while (product as u64) < refused {
            product = u128::from(next_word()) * u128::from(bound);
        }
    }
    (product >> 64) as u64
}

/// Two rounds of `SplitMix64`: 128 bits that look unrelated for neighbouring inputs.
fn spread(input: u64) -> u128 {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let mix = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    let first = input.wrapping_add(GOLDEN);
    (u128::from(mix(first)) << 64) | u128::from(mix(first.wrapping_add(GOLDEN)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_exactly_the_words_that_would_bias() {
        // 2^64 = 1 (mod 3): one word must be refused, and it is 0, whose low word is 0.
        let mut words = [0, 7].into_iter();
        assert_eq!(bounded(3, || words.next().expect("two words")), 0);
        assert_eq!(words.next(), None, "the first word was refused");
        // A power of two refuses nothing and keeps the high bits.
        assert_eq!(bounded(4, || 0), 0);
        assert_eq!(bounded(4, || u64::MAX), 3);
        assert_eq!(bounded(1, || u64::MAX), 0);
    }

    #[test]
    fn a_bound_that_refuses_almost_half_of_all_words_is_still_even() {
        let bound = (1 << 63) + 1;
        let mut stream = Stream::new(1, 0);
        let mut words = 0;
        let draws = 20_000;
        let lower_half = (0..draws)
            .filter(|_| {
                let next = || {
                    words += 1;
                    stream.generator.next_u64()
                };
                bounded(bound, next) < bound / 2
            })
            .count();
        assert!((f64::from(words) / f64::from(draws) - 2.0).abs() < 0.05, "about two words per draw, took {words}");
        assert!(lower_half.abs_diff(10_000) < 300, "{lower_half} of 20000 in the lower half");
    }

    #[test]
    fn draws_are_uniform_within_and_across_streams() {
        let mut within = Stream::new(42, 0);
        let mut counts = [[0.0; 10]; 2];
        for replicate in 0..100_000 {
            counts[0][within.below(10)] += 1.0;
            counts[1][Stream::new(42, replicate).below(10)] += 1.0;
        }
        for counts in counts {
            let chi_square: f64 = counts.iter().map(|count: &f64| (count - 1e4).powi(2) / 1e4).sum();
            assert!(chi_square < 33.7, "chi-square {chi_square} with 9 degrees of freedom: p < 0.0001");
        }
    }

    #[test]
    fn lanes_are_uniform_and_independent_of_their_neighbours() {
        let mut stream = Stream::new(3, 1);
        let bound = Bound::new(5);
        let mut counts = [0.0; 25];
        for _ in 0..250_000 {
            let (a, b) = (stream.lane(bound), stream.lane(bound));
            counts[(a * 5 + b) as usize] += 1.0;
        }
        let chi_square: f64 = counts.iter().map(|count: &f64| (count - 1e4).powi(2) / 1e4).sum();
        assert!(chi_square < 58.6, "chi-square {chi_square} with 24 degrees of freedom: p < 0.0001");
        // 2^32 = 1 (mod 3): the lane 0 would bias, and nothing else.
        assert_eq!((Bound::new(3).place(0), Bound::new(3).place(1), Bound::new(4).place(0)), (None, Some(0), Some(0)));
    }

    #[test]
    fn many_lanes_are_one_lane_many_times() {
        // A bound that refuses almost half of the lanes, and one that refuses next to none.
        for bound in [Bound::new((1 << 31) + 1), Bound::new(2000)] {
            let (mut one, mut many) = (Stream::new(3, 1), Stream::new(3, 1));
            for count in [0, 1, 2, 3, 7, 8, 1, 1, 100] {
                let expected: Vec<u32> = (0..count).map(|_| one.lane(bound)).collect();
                let mut found = Vec::new();
                many.lanes(bound, count, |number| found.push(number));
                assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn units_fill_their_interval() {
        let mut stream = Stream::new(3, 1);
        let values: Vec<f64> = (0..10_000).map(|_| stream.unit()).collect();
        assert!(values.iter().all(|value| (0.0..1.0).contains(value)));
        let mean = values.iter().sum::<f64>() / 1e4;
        assert!((mean - 0.5).abs() < 0.015, "5 standard errors of 0.0029: {mean}");
    }

    #[test]
    fn a_stream_belongs_to_its_seed_and_replicate() {
        let draw = |seed, replicate| {
            let mut stream = Stream::new(seed, replicate);
            (0..8).map(|_| stream.below(1_000_000)).collect::<Vec<_>>()
        };
        assert_eq!(draw(42, 3), draw(42, 3));
        assert_ne!(draw(42, 3), draw(42, 4));
        assert_ne!(draw(42, 3), draw(43, 3));
        assert_ne!(draw(3, 42), draw(42, 3));
        let mut block = Stream::of_block(42, 3, 1);
        assert_ne!((0..8).map(|_| block.below(1_000_000)).collect::<Vec<_>>(), draw(42, 3));
    }
}
