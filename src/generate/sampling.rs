//! From logits to the next token: greedy, or temperature followed by nucleus (top-p) sampling.
//!
//! The random stream of a row depends on its seed alone, so neither batch-mates nor threads change what is drawn.

use anyhow::{Result, ensure};
use rand_core::Rng;
use rand_pcg::Pcg64;

/// The stream of the generator; rows differ by their seeds. Any odd constant would do.
const STREAM: u128 = 0x5851_f42d_4c95_7f2d_1405_7b7e_f767_814f;

/// How tokens are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sampling {
    /// The most likely token; the first one on a tie.
    Greedy,
    /// Softmax at a temperature, restricted to the nucleus.
    Nucleus {
        /// Divides the logits.
        temperature: f64,
        /// Probability mass of the nucleus, in (0, 1].
        top_p: f64,
    },
}

impl Sampling {
    /// Greedy at temperature 0, nucleus otherwise.
    #[must_use]
    pub fn new(temperature: f64, top_p: f64) -> Self {
        if temperature == 0.0 { Self::Greedy } else { Self::Nucleus { temperature, top_p } }
    }
}

/// Draws the tokens of one row.
pub struct Sampler {
    sampling: Sampling,
    stream: Pcg64,
}

impl Sampler {
    /// A sampler whose stream starts from the row's seed.
    #[must_use]
    pub fn new(sampling: Sampling, seed: u64) -> Self {
        Self { sampling, stream: Pcg64::new(u128::from(seed), STREAM) }
    }

    /// The next token. NaN and infinite logits are errors: whatever were drawn from them would be an invention.
    pub fn next(&mut self, logits: &[f32]) -> Result<u32> {
        ensure!(!logits.is_empty(), "there are no logits");
        ensure!(logits.iter().all(|logit| logit.is_finite()), "the model returned NaN or infinite logits");
        match self.sampling {
            Sampling::Greedy => Ok(argmax(logits)),
            Sampling::Nucleus { temperature, top_p } => {
                // 53 random bits make a uniform number in [0, 1).
                let uniform = (self.stream.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
                Ok(draw(&nucleus(logits, temperature, top_p), uniform))
            }
        }
    }
}

fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (token, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = token;
        }
    }
    best as u32
}

/// Tokens of the nucleus with their unnormalised probabilities, most likely first: the smallest set of most likely
/// tokens whose mass reaches `top_p`.
fn nucleus(logits: &[f32], temperature: f64, top_p: f64) -> Vec<(u32, f64)> {
    let largest = f64::from(logits[argmax(logits) as usize]);
    // Tokens this far below the largest logit hold, all together, less than 1 - top_p of the mass, so the nucleus never
    // reaches them; leaving them out spares sorting a vocabulary of 150,000 at every step.
    let depth = (logits.len() as f64 / (1.0 - top_p)).ln();
    let weight = |logit: f32| ((f64::from(logit) - largest) / temperature, logit);
    let mut total = 0.0;
    let mut candidates: Vec<(u32, f64)> = Vec::new();
    for (token, &logit) in logits.iter().enumerate() {
        let (exponent, _) = weight(logit);
        let mass = exponent.exp();
        total += mass;
        if -exponent <= depth {
            candidates.push((token as u32, mass));
        }
    }
    candidates.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let mut reached = 0.0;
    let mut kept = 0;
    while kept < candidates.len() && reached < top_p * total {
        reached += candidates[kept].1;
        kept += 1;
    }
    candidates.truncate(kept.max(1));
    candidates
}

fn draw(candidates: &[(u32, f64)], uniform: f64) -> u32 {
    let total: f64 = candidates.iter().map(|(_, mass)| mass).sum();
    let mut rest = uniform * total;
    for &(token, mass) in candidates {
        rest -= mass;
        if rest < 0.0 {
            return token;
        }
    }
    // Rounding may leave a hair above zero.
    candidates.last().map_or(0, |&(token, _)| token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn greedy_takes_the_first_largest() {
        let mut sampler = Sampler::new(Sampling::new(0.0, 0.9), 1);
        assert_eq!(sampler.next(&[0.0, 3.0, 3.0, -1.0]).expect("token"), 1);
    }

    #[test]
    fn not_a_number_is_an_error() {
        for bad in [f32::NAN, f32::INFINITY] {
            let error = Sampler::new(Sampling::Greedy, 1).next(&[0.0, bad]).expect_err("refused");
            assert!(error.to_string().contains("NaN or infinite"));
        }
    }

    #[test]
    fn the_nucleus_is_the_smallest_set_that_reaches_top_p() {
        // Probabilities 0.5, 0.3, 0.15, 0.05.
        let logits: Vec<f32> = [0.15_f32, 0.5, 0.05, 0.3].iter().map(|p| p.ln()).collect();
        let tokens = |top_p| nucleus(&logits, 1.0, top_p).into_iter().map(|(token, _)| token).collect::<Vec<_>>();
        assert_eq!(tokens(0.4), [1]);
        assert_eq!(tokens(0.79), [1, 3]);
        assert_eq!(tokens(0.81), [1, 3, 0]);
        assert_eq!(tokens(1.0), [1, 3, 0, 2]);
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let logits: Vec<f32> = [0.6_f32, 0.3, 0.1].iter().map(|p| p.ln()).collect();
        let mut sampler = Sampler::new(Sampling::new(1.0, 1.0), 7);
        let mut counts = [0_u32; 3];
        for _ in 0..20_000 {
            counts[sampler.next(&logits).expect("token") as usize] += 1;
        }
        for (count, expected) in counts.iter().zip([0.6, 0.3, 0.1]) {
            // Four standard errors of a proportion over 20,000 draws are at most 0.0142.
            assert!((f64::from(*count) / 20_000.0 - expected).abs() < 0.0142, "{counts:?}");
        }
    }

    proptest! {
        #[test]
        fn leaving_out_unlikely_tokens_changes_nothing(
            logits in prop::collection::vec(-30.0_f32..30.0, 1..200), temperature in 0.05_f64..3.0, top_p in 0.01_f64..1.0,
        ) {
            let mut all: Vec<(u32, f64)> = logits.iter().enumerate().map(|(t, &l)| (t as u32, f64::from(l))).collect();
            all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            let largest = all[0].1;
            let mass: Vec<f64> = all.iter().map(|(_, l)| ((l - largest) / temperature).exp()).collect();
            let total: f64 = mass.iter().sum();
            let kept: Vec<u32> = nucleus(&logits, temperature, top_p).into_iter().map(|(t, _)| t).collect();
            let before_last: f64 = mass[..kept.len() - 1].iter().sum();
            let with_last: f64 = mass[..kept.len()].iter().sum();
            prop_assert_eq!(&kept[..], &all[..kept.len()].iter().map(|(t, _)| *t).collect::<Vec<_>>()[..]);
            prop_assert!(before_last < top_p * total * (1.0 + 1e-9) && with_last >= top_p * total * (1.0 - 1e-9));
        }

        #[test]
        fn a_stream_depends_on_its_seed_alone(seed: u64) {
            let logits = [0.1_f32, 0.2, 0.3, 0.4, 0.5];
            let run = || {
                let mut sampler = Sampler::new(Sampling::new(0.7, 0.9), seed);
                (0..20).map(|_| sampler.next(&logits).expect("token")).collect::<Vec<_>>()
            };
            prop_assert_eq!(run(), run());
        }
    }
}
