//! Worked examples and the properties that every rule has.

use super::*;
use proptest::prelude::*;

fn all() -> Vec<(&'static str, Box<dyn Aggregate>)> {
    vec![
        ("mean", Box::new(Mean)),
        ("median", Box::new(Median)),
        ("trimmed mean", Box::new(TrimmedMean { trim: 0.2 })),
        ("Huber", Box::new(Huber { delta: 1.0 })),
        ("weighted median", Box::new(WeightedMedian)),
        ("Yuma", Box::new(Yuma { kappa: 0.5 })),
    ]
}

fn of(rule: &dyn Aggregate, scores: &[f64], weights: &[f64]) -> f64 {
    rule.consensus(Votes { scores, weights }, &mut Scratch::default())
}

fn plain(rule: &dyn Aggregate, scores: &[f64]) -> f64 {
    of(rule, scores, &vec![1.0; scores.len()])
}

fn assert_close(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-9, "{a} is not {b}");
}

#[test]
fn worked_examples_of_five() {
    let scores = [9.0, 1.0, 2.0, 10.0, 3.0];
    // Huber: 1 and 2 pull by -1 each, 9 and 10 by 1 each, so that 3 decides. Yuma: most of the weight reaches 3, not 9.
    for ((name, rule), expected) in all().iter().zip([5.0, 3.0, 14.0 / 3.0, 3.0, 3.0, 2.4]) {
        let consensus = plain(rule.as_ref(), &scores);
        assert!((consensus - expected).abs() < 1e-9, "{name}: {consensus} is not {expected}");
    }
}

#[test]
fn a_trimmed_mean_drops_the_share_it_says() {
    let scores: Vec<f64> = (0..10).map(|i| f64::from(i * i) / 10.0).collect();
    let kept = |from: usize, to: usize| scores[from..to].iter().sum::<f64>() / (to - from) as f64;
    assert_close(plain(&TrimmedMean { trim: 0.2 }, &scores), kept(2, 8));
    assert_close(plain(&TrimmedMean { trim: 0.3 }, &scores), kept(3, 7));
    assert_close(plain(&TrimmedMean { trim: 0.49 }, &scores), kept(4, 6));
    assert_close(plain(&TrimmedMean { trim: 0.05 }, &scores), kept(1, 9));
}

#[test]
fn weights_move_what_they_should() {
    let (scores, weights) = ([2.0, 4.0, 9.0], [1.0, 1.0, 2.0]);
    assert_close(of(&Mean, &scores, &weights), 6.0);
    assert_close(of(&WeightedMedian, &scores, &weights), 6.5);
    assert_close(of(&WeightedMedian, &scores, &[1.0, 1.0, 2.1]), 9.0);
    assert_close(of(&Median, &scores, &weights), 4.0);
    // Half of the weight reaches 9: nothing is clipped. With 1.9, only 4 is supported by half.
    assert_close(of(&Yuma { kappa: 0.5 }, &scores, &weights), 6.0);
    assert_close(of(&Yuma { kappa: 0.5 }, &scores, &[1.0, 1.0, 1.9]), (2.0 + 4.0 + 1.9 * 4.0) / 3.9);
}

#[test]
fn huber_lies_between_mean_and_median() {
    let scores = [1.0, 2.0, 9.5];
    assert_close(plain(&Huber { delta: 100.0 }, &scores), 12.5 / 3.0);
    assert_close(plain(&Huber { delta: 1e-6 }, &scores), 2.0);
    // (1 - mu) + (2 - mu) + 1 = 0.
    assert_close(plain(&Huber { delta: 1.0 }, &scores), 2.0);
    // (1 - mu) + (2 - mu) + 2 = 0.
    assert_close(plain(&Huber { delta: 2.0 }, &scores), 2.5);
    // Two far apart pull alike wherever one looks between them: the midpoint.
    assert_close(plain(&Huber { delta: 1.0 }, &[0.0, 10.0]), 5.0);
}

#[test]
fn leave_one_out_compares_with_the_others() {
    let (scores, weights) = ([4.0, 7.0, 10.0], [1.0; 3]);
    let votes = Votes { scores: &scores, weights: &weights };
    let mut of_each = Vec::new();
    let mut scratch = Scratch::default();
    deviations(&Mean, Deviation::Inclusive, votes, 7.0, &mut scratch, &mut of_each);
    assert_eq!(of_each, [0.3, 0.0, 0.3]);
    deviations(&Mean, Deviation::LeaveOneOut, votes, 7.0, &mut scratch, &mut of_each);
    // The prose's d is K / (K - 1) times the formula's under the mean.
    for (deviation, expected) in of_each.iter().zip([0.45, 0.0, 0.45]) {
        assert_close(*deviation, expected);
    }
    let alone = Votes { scores: &scores[..1], weights: &weights[..1] };
    deviations(&Mean, Deviation::LeaveOneOut, alone, 4.0, &mut scratch, &mut of_each);
    assert_eq!(of_each, [0.0]);
}

fn votes() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
    (1_usize..9).prop_flat_map(|count| {
        (prop::collection::vec(0.0..=10.0f64, count), prop::collection::vec(0.1..=2.0f64, count))
    })
}

proptest! {
    #[test]
    fn consensus_stays_among_the_scores((scores, weights) in votes()) {
        let low = scores.iter().copied().fold(f64::INFINITY, f64::min);
        let high = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        for (name, rule) in all() {
            let consensus = of(rule.as_ref(), &scores, &weights);
            prop_assert!((low - 1e-9..=high + 1e-9).contains(&consensus), "{name}: {consensus} of {scores:?}");
            for score in &scores {
                prop_assert!((0.0..=1.0).contains(&deviation(*score, consensus.clamp(0.0, 10.0))));
            }
        }
    }

    #[test]
    fn the_order_of_evaluators_does_not_matter((scores, weights) in votes(), turn in 0_usize..8) {
        let turn = turn % scores.len();
        let rotated = |values: &[f64]| [&values[turn..], &values[..turn]].concat();
        for (name, rule) in all() {
            let (a, b) = (of(rule.as_ref(), &scores, &weights), of(rule.as_ref(), &rotated(&scores), &rotated(&weights)));
            prop_assert!((a - b).abs() < 1e-9, "{name}: {a} and {b}");
        }
    }

    #[test]
    fn moving_all_scores_moves_the_consensus((scores, weights) in votes(), by in -5.0..5.0f64) {
        let moved: Vec<f64> = scores.iter().map(|score| score + by).collect();
        for (name, rule) in all() {
            let (a, b) = (of(rule.as_ref(), &scores, &weights) + by, of(rule.as_ref(), &moved, &weights));
            prop_assert!((a - b).abs() < 1e-9, "{name}: {a} and {b}");
        }
    }

    #[test]
    fn one_and_two_scores_leave_no_choice(a in 0.0..=10.0f64, b in 0.0..=10.0f64, weight in 0.1..2.0f64) {
        for (name, rule) in all() {
            prop_assert!((of(rule.as_ref(), &[a], &[weight]) - a).abs() < 1e-9, "{name}");
            prop_assert!((plain(rule.as_ref(), &[a, b]) - f64::midpoint(a, b)).abs() < 1e-9, "{name}: {a}, {b}");
        }
        let trimmed = plain(&TrimmedMean { trim: 0.2 }, &[a, b, 5.0]);
        prop_assert!((trimmed - plain(&Median, &[a, b, 5.0])).abs() < 1e-9);
    }

    /// Even a tiny delta gives two equals their midpoint, and three their median.
    #[test]
    fn huber_with_a_tiny_delta_is_the_median(
        scores in prop::collection::vec(0.0..=10.0f64, 1..7),
        exponent in 3..7_i32,
    ) {
        let delta = 10.0_f64.powi(-exponent);
        let (huber, median) = (plain(&Huber { delta }, &scores), plain(&Median, &scores));
        prop_assert!((huber - median).abs() <= 10.0 * delta, "{huber} and {median} of {scores:?}");
    }

    /// Huber's estimate is where the pulls balance.
    #[test]
    fn huber_balances((scores, weights) in votes(), delta in 0.05..6.0f64) {
        let mu = of(&Huber { delta }, &scores, &weights);
        let pull: f64 = scores.iter().zip(&weights).map(|(e, w)| w * (e - mu).clamp(-delta, delta)).sum();
        prop_assert!(pull.abs() < 1e-8, "pull {pull} at {mu}");
    }

    /// The mean's share: an evaluator among K deviates by (K - 1) / K of its distance to the others' mean.
    #[test]
    fn inclusive_deviations_are_a_share_of_the_others((scores, _) in votes()) {
        let weights = vec![1.0; scores.len()];
        let votes = Votes { scores: &scores, weights: &weights };
        let (mut inclusive, mut others, mut scratch) = (Vec::new(), Vec::new(), Scratch::default());
        let consensus = Mean.consensus(votes, &mut scratch);
        deviations(&Mean, Deviation::Inclusive, votes, consensus, &mut scratch, &mut inclusive);
        deviations(&Mean, Deviation::LeaveOneOut, votes, consensus, &mut scratch, &mut others);
        let share = (scores.len() - 1) as f64 / scores.len() as f64;
        for (inclusive, others) in inclusive.iter().zip(&others) {
            prop_assert!((inclusive - share * others).abs() < 1e-9);
        }
    }
}
