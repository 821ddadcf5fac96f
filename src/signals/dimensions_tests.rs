//! Dimensions of a run small enough to check by hand: two models, two records of each task type.

use super::*;
use crate::signals::evaluator;
use crate::store::rows::{GenerationRow, ScoreRow, TaskRow};
use crate::store::samples;
use proptest::prelude::*;

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
}

struct Tables {
    tasks: Vec<TaskRow>,
    generations: Vec<GenerationRow>,
    scores: Vec<ScoreRow>,
}

/// Record i of model m has the score i + 4 m by `e` and 10 - that by `c`.
fn tables() -> Tables {
    let task = |id: &str, kind: &str| TaskRow {
        task_type: kind.into(),
        input: "Who kept the old lighthouse?".into(),
        ..samples::task(id)
    };
    let mut tables = Tables {
        tasks: vec![task("q0", "qa"), task("q1", "qa"), task("s0", "summarization"), task("s1", "summarization")],
        generations: Vec::new(),
        scores: Vec::new(),
    };
    for (i, id) in ["q0", "q1", "s0", "s1"].into_iter().enumerate() {
        for (m, model) in ["good", "poor"].into_iter().enumerate() {
            let output = Some("The lighthouse keeper".to_owned());
            tables.generations.push(GenerationRow { output, ..samples::answer(id, model) });
            let score = (i + 4 * m) as f64;
            tables.scores.push(samples::score(id, model, "e", Some(score)));
            tables.scores.push(samples::score(id, model, "c", Some(10.0 - score)));
        }
    }
    tables
}

fn all(tables: &Tables, evaluators: &[Evaluator], profile: &[ProfileRow]) -> [Signal; DIMENSIONS] {
    let answers = Answers::join(&tables.tasks, &tables.generations, &tables.scores).expect("joins");
    // One record of each type per half: q0 and s0 are of the fit.
    let half = |row: &Answer| if row.task.task_id.ends_with('0') { Half::Fit } else { Half::HeldOut };
    let halves: Vec<Half> = answers.rows.iter().map(half).collect();
    dimensions(&answers, evaluators, profile, &halves)
}

fn of(signals: &[Signal; DIMENSIONS], dimension: Dimension) -> &Signal {
    &signals[dimension as usize]
}

#[test]
fn the_prior_of_a_model_comes_from_the_other_half_of_the_same_type() {
    let found = all(&tables(), &[evaluator("e", true, false)], &[]);
    let prior = of(&found, Dimension::ModelPrior).present();
    // Rows: q0 good, q0 poor, q1 good, q1 poor, ... with scores 0, 4, 1, 5, 2, 6, 3, 7.
    let expected = [0.1, 0.5, 0.0, 0.4, 0.3, 0.7, 0.2, 0.6];
    prior.iter().zip(expected).for_each(|(found, expected)| close(found.expect("known"), expected));
}

#[test]
fn a_record_moves_its_own_prior_by_nothing() {
    let (mut tables, evaluators) = (tables(), [evaluator("e", true, false)]);
    let before = all(&tables, &evaluators, &[]);
    let own = |row: &&mut ScoreRow| row.task_id == "q0" && row.model == "good";
    tables.scores.iter_mut().filter(own).for_each(|row| row.normalized = Some(10.0));
    let after = all(&tables, &evaluators, &[]);
    let at = |signals: &[Signal; DIMENSIONS], row: usize| of(signals, Dimension::ModelPrior).present()[row];
    assert_eq!(at(&before, 0), at(&after, 0));
    assert_ne!(at(&before, 2), at(&after, 2), "the record of the other half sees it");
}

#[test]
fn cheap_models_are_worth_more_and_unknown_costs_nothing_at_all() {
    let mut profile = vec![
        samples::profile("inference", "good", 10.0, 0.25),
        samples::profile("inference", "poor", 20.0, 1.0),
        samples::profile("evaluator", "good", 1.0, 0.0),
    ];
    let found = all(&tables(), &[evaluator("e", true, false)], &profile);
    let cost = of(&found, Dimension::CostPrior).present();
    assert_eq!(&cost[..2], [Some(0.75), Some(0.0)]);
    profile[0].latency_ms_mean = None;
    profile.remove(1);
    let found = all(&tables(), &[evaluator("e", true, false)], &profile);
    let cost = &of(&found, Dimension::CostPrior).values;
    assert_eq!(cost[0], Err("nobody knows the latency of `good`".to_owned()));
    assert_eq!(cost[1], Err("`poor` is not in the profile".to_owned()));
}

#[test]
fn bi_encoders_are_semantic_unless_they_read_the_input() {
    let evaluators = [evaluator("e", true, false), evaluator("c", false, false)];
    let found = all(&tables(), &evaluators, &[]);
    assert_eq!(of(&found, Dimension::Semantic).source, "e");
    close(of(&found, Dimension::Semantic).present()[7].expect("scored"), 0.7);
    assert_eq!(of(&found, Dimension::Alignment).source, "word_overlap");
    let found = all(&tables(), &[evaluator("e", true, true), evaluator("c", false, true)], &[]);
    assert_eq!(of(&found, Dimension::Alignment).source, "e+c");
    close(of(&found, Dimension::Alignment).present()[7].expect("scored"), 0.5);
    let semantic = of(&found, Dimension::Semantic);
    assert_eq!((semantic.source.as_str(), semantic.present()), ("none", vec![None; 8]));
}

#[test]
fn unpaid_evaluators_have_no_say_in_prior_and_agreement() {
    let unpaid = Evaluator { paid: false, ..evaluator("c", false, false) };
    let found = all(&tables(), &[evaluator("e", true, false), unpaid], &[]);
    assert_eq!(of(&found, Dimension::ModelPrior).source, "e");
    let agreement = &of(&found, Dimension::Agreement).values[0];
    assert_eq!(*agreement, Err("agreement takes two scores; there are 1".to_owned()));
    let found = all(&tables(), &[evaluator("e", true, false), evaluator("c", false, false)], &[]);
    // Scores 0 and 10, then 4 and 6.
    let agreement = of(&found, Dimension::Agreement).present();
    close(agreement[0].expect("two scores"), 0.0);
    close(agreement[1].expect("two scores"), 0.8);
}

#[test]
fn a_missing_score_is_left_out_and_none_is_null() {
    let mut tables = tables();
    tables.scores.iter_mut().filter(|row| row.task_id == "q0").for_each(|row| row.normalized = None);
    let evaluators = [evaluator("e", true, false), evaluator("c", true, false)];
    let semantic = &of(&all(&tables, &evaluators, &[]), Dimension::Semantic).values[..2].to_vec();
    assert_eq!(semantic[0], Err("no score by e, c".to_owned()));
    let row = tables.scores.iter_mut().find(|row| row.scorer == "c" && row.model == "good").expect("there");
    row.normalized = Some(8.0);
    let found = all(&tables, &evaluators, &[]);
    close(of(&found, Dimension::Semantic).present()[0].expect("one score"), 0.8);
}

#[test]
fn what_has_no_answer_has_no_signal() {
    let mut tables = tables();
    tables.generations[0] = samples::failed_answer("q0", "good");
    for signal in all(&tables, &[evaluator("e", true, false)], &[samples::profile("inference", "good", 1.0, 0.0)]) {
        let error = signal.values[0].as_ref().expect_err("no answer");
        assert!(error.contains("the prompt is too long"), "{error}");
    }
}

#[test]
fn overlap_is_the_share_of_the_shorter_text() {
    let overlap = |input: &str, output: &str| word_overlap(&words(input), &words(output));
    assert_eq!(overlap("Who kept the old lighthouse?", "The lighthouse keeper"), Some(0.5));
    assert_eq!(overlap("tea", "Tea or coffee"), Some(1.0));
    assert_eq!(overlap("tea", "the!"), Some(0.0));
    assert_eq!(overlap("the", "tea"), None);
}

#[test]
fn scores_as_far_apart_as_can_be_do_not_agree_at_all() {
    assert_eq!(agreement(&[0.0, 10.0]), Some(0.0));
    assert_eq!(agreement(&[3.0, 3.0, 3.0]), Some(1.0));
    assert_eq!(agreement(&[3.0]), None);
}

#[test]
fn names_go_both_ways() {
    for (place, dimension) in Dimension::ALL.into_iter().enumerate() {
        assert_eq!((Dimension::from_name(dimension.name()).expect("known"), dimension as usize), (dimension, place));
    }
    let error = Dimension::from_name("fluency").expect_err("unknown").to_string();
    assert!(error.contains("`fluency`") && error.contains("semantic"), "{error}");
}

proptest! {
    #[test]
    fn agreement_and_overlap_lie_in_the_unit_interval(
        scores in prop::collection::vec(0.0..=10.0f64, 0..7),
        input in "[abcd ]{0,12}",
        output in "[abcd ]{0,12}",
    ) {
        if let Some(found) = agreement(&scores) { prop_assert!((0.0..=1.0).contains(&found), "{}", found); }
        let (a, b) = (words(&input), words(&output));
        if let Some(found) = word_overlap(&a, &b) {
            prop_assert!((0.0..=1.0).contains(&found), "{}", found);
            prop_assert_eq!(found > 0.0, !a.is_disjoint(&b));
        }
    }
}
