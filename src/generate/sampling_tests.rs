use super::*;
use proptest::prelude::*;
use serde::Deserialize;

fn nucleus(temperature: f64, top_p: f64) -> Sampling {
    Sampling { temperature, top_p, ..Sampling::greedy(&[]) }
}

fn tokens(logits: &[f32], sampling: &Sampling) -> Vec<u32> {
    candidates(logits, sampling).into_iter().map(|(token, _)| token).collect()
}

fn sampler(sampling: Sampling, seed: u64) -> Sampler {
    Sampler::new(Arc::new(sampling), seed, &[])
}

/// Recorded from transformers' own logits processors (`export/record_sampling.py`).
#[derive(Deserialize)]
struct Recorded {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    logits: Vec<f32>,
    prompt_ids: Vec<u32>,
    generated_ids: Vec<u32>,
    stop_ids: Vec<u32>,
    settings: Settings,
    tied: bool,
    exact: bool,
    kept: Vec<u32>,
    probabilities: Vec<f64>,
    greedy: u32,
}

#[derive(Deserialize)]
struct Settings {
    temperature: Option<f64>,
    top_k: Option<usize>,
    top_p: Option<f64>,
    min_p: Option<f64>,
    repetition_penalty: Option<f64>,
    min_new_tokens: Option<usize>,
}

impl Case {
    /// A sampler that has drawn what the case says it has.
    fn sampler(&self, temperature: f64) -> Sampler {
        let sampling = Sampling {
            temperature,
            top_k: self.settings.top_k.unwrap_or(0),
            top_p: self.settings.top_p.unwrap_or(1.0),
            min_p: self.settings.min_p.unwrap_or(0.0),
            repetition_penalty: self.settings.repetition_penalty.unwrap_or(1.0),
            min_new_tokens: self.settings.min_new_tokens.unwrap_or(0),
            stop_ids: self.stop_ids.as_slice().into(),
        };
        let mut sampler = Sampler::new(Arc::new(sampling), 1, &self.prompt_ids);
        for &token in &self.generated_ids {
            sampler.see(token);
            sampler.drawn += 1;
        }
        sampler
    }
}

#[test]
fn every_step_is_that_of_transformers_logits_processors() {
    let recorded: Recorded =
        serde_json::from_str(include_str!("../../tests/expected/logits_processors.json")).expect("recorded");
    assert!(recorded.cases.len() > 40);
    for case in &recorded.cases {
        let mut greedy = case.sampler(0.0);
        assert_eq!(greedy.next(&case.logits).expect("token"), case.greedy, "{}", case.name);
        // Where a threshold falls on a value, f32 and f64 need not agree.
        if case.exact {
            continue;
        }
        let sampler = case.sampler(case.settings.temperature.unwrap_or(1.0));
        let mut adjusted = Vec::new();
        let logits = if sampler.adjust(&case.logits, &mut adjusted) { &adjusted } else { &case.logits };
        let mut kept = candidates(logits, &sampler.sampling);
        let total: f64 = kept.iter().map(|(_, weight)| weight).sum();
        let sorted = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values
        };
        let ours = sorted(kept.iter().map(|(_, weight)| weight / total).collect());
        let theirs = sorted(case.probabilities.clone());
        assert_eq!(ours.len(), theirs.len(), "{}", case.name);
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert!((ours - theirs).abs() < 1e-6, "{}: {ours} {theirs}", case.name);
        }
        // Which of equal logits stay is the choice of an unstable sort.
        if !case.tied {
            kept.sort_by_key(|&(token, _)| token);
            assert_eq!(kept.iter().map(|&(token, _)| token).collect::<Vec<_>>(), case.kept, "{}", case.name);
        }
    }
}

#[test]
fn greedy_takes_the_first_largest_and_counts_near_ties() {
    let mut sampler = sampler(Sampling::greedy(&[]), 1);
    assert_eq!(sampler.next(&[0.0, 3.0, 3.0, -1.0]).expect("token"), 1);
    assert_eq!(sampler.next(&[0.0, 3.0, 2.9, -1.0]).expect("token"), 1);
    assert_eq!(sampler.next(&[2.999_95, 3.0, 0.0]).expect("token"), 1);
    assert_eq!(sampler.near_ties(), 2);
}

#[test]
fn not_a_number_is_an_error_wherever_it_stands() {
    for place in [0, 5, 16, 39] {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut logits = vec![-2.5; 40];
            logits[place] = bad;
            let error = sampler(Sampling::greedy(&[]), 1).next(&logits).expect_err("refused");
            assert!(error.to_string().contains("NaN or infinite"));
        }
    }
}

#[test]
fn the_nucleus_is_the_smallest_set_that_reaches_top_p() {
    // Probabilities 0.5, 0.3, 0.15, 0.05.
    let logits: Vec<f32> = [0.15_f32, 0.5, 0.05, 0.3].iter().map(|p| p.ln()).collect();
    let tokens = |top_p| tokens(&logits, &nucleus(1.0, top_p));
    assert_eq!(tokens(0.4), [1]);
    assert_eq!(tokens(0.79), [1, 3]);
    assert_eq!(tokens(0.81), [1, 3, 0]);
    assert_eq!(tokens(1.0), [1, 3, 0, 2]);
}

#[test]
fn draws_follow_the_probabilities() {
    let logits: Vec<f32> = [0.6_f32, 0.3, 0.1].iter().map(|p| p.ln()).collect();
    let mut sampler = sampler(nucleus(1.0, 1.0), 7);
    let mut counts = [0_u32; 3];
    for _ in 0..20_000 {
        counts[sampler.next(&logits).expect("token") as usize] += 1;
    }
    for (count, expected) in counts.iter().zip([0.6, 0.3, 0.1]) {
        // Four standard errors of a proportion over 20,000 draws are at most 0.0142.
        assert!((f64::from(*count) / 20_000.0 - expected).abs() < 0.0142, "{counts:?}");
    }
}

#[test]
fn the_fast_exponential_is_one() {
    for step in 0..=870_000 {
        let x = -(step as f32) * 1e-4;
        let exact = f64::from(x).exp();
        assert!((f64::from(exponential(x)) / exact - 1.0).abs() < 3e-7, "{x}");
    }
    assert!(exponential(-1e30) < 1e-37 && exponential(f32::NEG_INFINITY) < 1e-37);
}

proptest! {
    #[test]
    fn leaving_out_unlikely_tokens_changes_nothing(
        logits in prop::collection::vec(-30.0_f32..30.0, 1..200), temperature in 0.05_f64..3.0, top_p in 0.01_f64..1.0,
    ) {
        let scaled: Vec<f32> = logits.iter().map(|logit| logit / temperature as f32).collect();
        let mut all: Vec<(u32, f64)> = scaled.iter().enumerate().map(|(t, &l)| (t as u32, f64::from(l))).collect();
        all.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.0.cmp(&a.0)));
        let largest = all[0].1;
        let mass: Vec<f64> = all.iter().map(|(_, l)| (l - largest).exp()).collect();
        let total: f64 = mass.iter().sum();
        let kept = tokens(&logits, &nucleus(temperature, top_p));
        let before_last: f64 = mass[..kept.len() - 1].iter().sum();
        let with_last: f64 = mass[..kept.len()].iter().sum();
        prop_assert_eq!(&kept[..], &all[..kept.len()].iter().map(|(t, _)| *t).collect::<Vec<_>>()[..]);
        prop_assert!(before_last < top_p * total * (1.0 + 1e-6) && with_last >= top_p * total * (1.0 - 1e-6));
    }

    #[test]
    fn a_stream_depends_on_its_seed_alone(seed: u64) {
        let logits = [0.1_f32, 0.2, 0.3, 0.4, 0.5];
        let run = || {
            let mut sampler = sampler(nucleus(0.7, 0.9), seed);
            (0..20).map(|_| sampler.next(&logits).expect("token")).collect::<Vec<_>>()
        };
        prop_assert_eq!(run(), run());
    }
}
