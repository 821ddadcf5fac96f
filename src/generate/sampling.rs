//! From logits to the next token, as transformers defines each step and in its order: repetition penalty, minimum length,
//! then greedy; or temperature, top-k, top-p (nucleus), min-p and a draw.
//!
//! The random stream of a row depends on its seed alone, so neither batch-mates nor threads change what is drawn. Weights
//! are computed in f64 from the f32 logits; transformers rounds them to f32, so a token whose cumulative probability lies
//! within rounding of a threshold may be kept by one and not by the other.

use anyhow::{Result, ensure};
use rand_core::Rng;
use rand_pcg::Pcg64;
use std::sync::Arc;

/// The stream of the generator; rows differ by their seeds. Any odd constant would do.
const STREAM: u128 = 0x5851_f42d_4c95_7f2d_1405_7b7e_f767_814f;

/// Logits of the two best tokens this close to each other are a near tie: rounding may put either first.
pub const NEAR_TIE: f32 = 1e-4;

/// How tokens are chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 takes the most likely token, the first one on a tie.
    pub temperature: f64,
    /// Keeps the k best tokens, and all that are as good as the k-th; 0 keeps all.
    pub top_k: usize,
    /// Keeps the smallest set of most likely tokens whose probability reaches this; 1 keeps all.
    pub top_p: f64,
    /// Keeps tokens at least this likely relative to the most likely one; 0 keeps all.
    pub min_p: f64,
    /// Divides positive logits of tokens that occur in prompt or answer, multiplies negative ones; 1 leaves them alone.
    pub repetition_penalty: f64,
    /// Stop tokens are not drawn before the answer has this many tokens.
    pub min_new_tokens: usize,
    /// Tokens that end an answer.
    pub stop_ids: Arc<[u32]>,
}

impl Sampling {
    /// The most likely token, always.
    #[must_use]
    pub fn greedy(stop_ids: &[u32]) -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            min_new_tokens: 0,
            stop_ids: stop_ids.into(),
        }
    }

    fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }
}

/// A token and its unnormalised probability.
type Candidate = (u32, f64);

/// Draws the tokens of one row.
#[derive(Debug)]
pub struct Sampler {
    sampling: Arc<Sampling>,
    stream: Pcg64,
    /// Tokens of prompt and answer, one bit each; empty when there is no penalty.
    seen: Vec<u64>,
    drawn: usize,
    near_ties: usize,
    /// Logits after penalty and minimum length, kept to spare the allocation.
    adjusted: Vec<f32>,
}

impl Sampler {
    /// A sampler whose stream starts from the row's seed.
    #[must_use]
    pub fn new(sampling: Arc<Sampling>, seed: u64, prompt: &[u32]) -> Self {
        let mut sampler = Self {
            sampling,
            stream: Pcg64::new(u128::from(seed), STREAM),
            seen: Vec::new(),
            drawn: 0,
            near_ties: 0,
            adjusted: Vec::new(),
        };
        for &token in prompt {
            sampler.see(token);
        }
        sampler
    }

    /// The next token. NaN and infinite logits are errors: whatever were drawn from them would be an invention.
    pub fn next(&mut self, logits: &[f32]) -> Result<u32> {
        ensure!(!logits.is_empty(), "there are no logits");
        ensure!(all_finite(logits), "the model returned NaN or infinite logits");
        let mut adjusted = std::mem::take(&mut self.adjusted);
        let token = if self.adjust(logits, &mut adjusted) { self.choose(&adjusted) } else { self.choose(logits) };
        self.adjusted = adjusted;
        self.see(token);
        self.drawn += 1;
        Ok(token)
    }

    /// Greedy choices so far that were near ties.
    #[must_use]
    pub fn near_ties(&self) -> usize {
        self.near_ties
    }

    fn choose(&mut self, logits: &[f32]) -> u32 {
        if self.sampling.is_greedy() {
            let best = argmax(logits);
            self.near_ties += usize::from(is_near_tie(logits, best));
            return best as u32;
        }
        // 53 random bits make a uniform number in [0, 1).
        let uniform = (self.stream.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
        draw(&candidates(logits, &self.sampling), uniform)
    }

    /// Penalty and minimum length; false if neither changes anything.
    fn adjust(&self, logits: &[f32], adjusted: &mut Vec<f32>) -> bool {
        let too_short = self.drawn < self.sampling.min_new_tokens && !self.sampling.stop_ids.is_empty();
        if self.seen.is_empty() && !too_short {
            return false;
        }
        adjusted.clear();
        adjusted.extend_from_slice(logits);
        let penalty = self.sampling.repetition_penalty as f32;
        for (word, &bits) in self.seen.iter().enumerate() {
            let mut bits = bits;
            while bits != 0 {
                let token = word * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                if let Some(logit) = adjusted.get_mut(token) {
                    *logit = if *logit < 0.0 { *logit * penalty } else { *logit / penalty };
                }
            }
        }
        if too_short {
            for &stop in self.sampling.stop_ids.iter() {
                if let Some(logit) = adjusted.get_mut(stop as usize) {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
        true
    }

    fn see(&mut self, token: u32) {
        if self.sampling.repetition_penalty.total_cmp(&1.0).is_eq() {
            return;
        }
        let (word, bit) = (token as usize / 64, token % 64);
        if word >= self.seen.len() {
            self.seen.resize(word + 1, 0);
        }
        self.seen[word] |= 1 << bit;
    }
}

/// Whether no logit is NaN or infinite.
#[must_use]
pub fn all_finite(logits: &[f32]) -> bool {
    // Any NaN or infinity makes the sum of zero products NaN; one addition per logit, no branch.
    let mut lanes = [0.0_f32; 16];
    let chunks = logits.chunks_exact(16);
    let rest: f32 = chunks.remainder().iter().map(|logit| logit * 0.0).sum();
    for chunk in chunks {
        for (lane, logit) in lanes.iter_mut().zip(chunk) {
            *lane += logit * 0.0;
        }
    }
    (lanes.iter().sum::<f32>() + rest) == 0.0
}

/// The largest of finite (or -∞) numbers, without a branch per number.
fn largest(logits: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let chunks = logits.chunks_exact(16);
    let rest = chunks.remainder().iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for chunk in chunks {
        for (lane, &logit) in lanes.iter_mut().zip(chunk) {
            *lane = if logit > *lane { logit } else { *lane };
        }
    }
    lanes.into_iter().fold(rest, f32::max)
}

fn argmax(logits: &[f32]) -> usize {
    let best = largest(logits);
    logits.iter().position(|&logit| logit >= best).unwrap_or(0)
}

fn is_near_tie(logits: &[f32], best: usize) -> bool {
    largest(&logits[..best]).max(largest(&logits[best + 1..])) >= logits[best] - NEAR_TIE
}

/// The tokens that may be drawn, most likely first.
fn candidates(logits: &[f32], sampling: &Sampling) -> Vec<Candidate> {
    let temperature = sampling.temperature as f32;
    let best = f64::from(largest(logits) / temperature);
    let exponent = |logit: f32| f64::from(logit / temperature) - best;
    let mut kept: Vec<Candidate> = Vec::new();
    let mut total = 0.0;
    if sampling.top_k > 0 && sampling.top_k < logits.len() {
        let mut ranked = logits.to_vec();
        let (_, kth, _) = ranked.select_nth_unstable_by(sampling.top_k - 1, |a, b| b.total_cmp(a));
        let kth = *kth;
        for (token, &logit) in logits.iter().enumerate().filter(|(_, logit)| **logit >= kth && logit.is_finite()) {
            let weight = exponent(logit).exp();
            total += weight;
            kept.push((token as u32, weight));
        }
    } else {
        // Tokens this far below the best hold, all together, less than 1 - top_p of the probability, so the nucleus never
        // reaches them; leaving them out spares sorting a whole vocabulary at every step.
        let depth = (logits.len() as f64 / (1.0 - sampling.top_p)).ln();
        total = sum_of_exponentials(logits, temperature, best as f32);
        for (token, &logit) in logits.iter().enumerate().filter(|(_, logit)| logit.is_finite()) {
            let exponent = exponent(logit);
            if -exponent <= depth {
                kept.push((token as u32, exponent.exp()));
            }
        }
    }
    // Of equals, the larger id first: where top-p cuts between equals, transformers drops the smaller ids.
    kept.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.0.cmp(&a.0)));
    if sampling.top_p < 1.0 {
        keep_nucleus(&mut kept, total, sampling.top_p);
    }
    if sampling.min_p > 0.0 {
        let least = sampling.min_p * kept[0].1;
        kept.retain(|&(_, weight)| weight >= least);
    }
    kept
}

/// Sum of exp(logit / temperature - best) over all logits, to about 1e-7 of it, in a loop without calls or branches: this is
/// done for every row at every step over a whole vocabulary.
fn sum_of_exponentials(logits: &[f32], temperature: f32, best: f32) -> f64 {
    const LANES: usize = 16;
    // Short stretches, so that small terms are not lost on a large sum.
    logits
        .chunks(64 * LANES)
        .map(|stretch| {
            let mut lanes = [0.0_f32; LANES];
            let chunks = stretch.chunks_exact(LANES);
            let rest: f32 = chunks.remainder().iter().map(|&logit| exponential(logit / temperature - best)).sum();
            for chunk in chunks {
                for (lane, &logit) in lanes.iter_mut().zip(chunk) {
                    *lane += exponential(logit / temperature - best);
                }
            }
            lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>() + f64::from(rest)
        })
        .sum()
}

/// exp(x) for x of at most 0, to 3e-7 of it: a power of two, whose exponent is rounded off by adding a large number, times a
/// polynomial. Below -87 it is as good as nothing.
fn exponential(x: f32) -> f32 {
    /// 1.5 * 2^23: adding it leaves the nearest integer in the low bits.
    const ROUNDER: f32 = 12_582_912.0;
    let x = x.max(-87.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUNDER;
    let whole = shifted - ROUNDER;
    // ln 2 in two parts, so that the rest is exact.
    let rest = x - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    let tail = 1.0 / 6.0 + rest * (1.0 / 24.0 + rest * (1.0 / 120.0 + rest * (1.0 / 720.0)));
    power * (1.0 + rest * (1.0 + rest * (0.5 + rest * tail)))
}

/// Keeps the smallest set of most likely tokens whose share of `total` reaches `top_p`.
fn keep_nucleus(candidates: &mut Vec<Candidate>, total: f64, top_p: f64) {
    let mut reached = 0.0;
    let mut kept = 0;
    while kept < candidates.len() && reached < top_p * total {
        reached += candidates[kept].1;
        kept += 1;
    }
    candidates.truncate(kept.max(1));
}

fn draw(candidates: &[Candidate], uniform: f64) -> u32 {
    let total: f64 = candidates.iter().map(|(_, weight)| weight).sum();
    let mut rest = uniform * total;
    for &(token, weight) in candidates {
        rest -= weight;
        if rest < 0.0 {
            return token;
        }
    }
    // Rounding may leave a hair above zero.
    candidates.last().map_or(0, |&(token, _)| token)
}

#[cfg(test)]
#[path = "sampling_tests.rs"]
mod tests;
