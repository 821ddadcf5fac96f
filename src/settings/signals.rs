//! The section `[signals]`: weights of the quality dimensions, what they are calibrated against, and the cascade.

use super::check_distinct;
use crate::signals::Dimension;
use crate::suggest::nearest;
use anyhow::{Result, bail, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// The top of the scale of scores.
const SCALE: f64 = crate::score::scale::SCALE;

/// Quality signals (arXiv 2603.04028) and the cascade (arXiv 2606.11196).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Signals {
    /// Weights of the dimensions in the composite.
    pub weights: Weights,
    /// Theta: calibration keeps a dimension whose correlation with the reference lies above it.
    pub theta: f64,
    /// The reference quality that signals are held against.
    pub reference: Reference,
    /// Seed of the split of the records into the half that calibration sees and the half that it does not.
    pub seed: u64,
    /// Cheap evaluators first.
    pub cascade: Cascade,
}

impl Default for Signals {
    fn default() -> Self {
        Self {
            weights: Weights::default(),
            theta: 0.0,
            reference: Reference::F1,
            seed: 42,
            cascade: Cascade::default(),
        }
    }
}

/// Weight of each quality dimension; only their ratios count. Five of the defaults are those of a second-hand summary of
/// arXiv 2603.04028, which add up to 0.90; that the missing 0.10 is a dimension of its own, the cost prior, is a
/// hypothesis.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Weights {
    /// What the model's other answers are worth.
    pub model_prior: f64,
    /// How cheap the model is.
    pub cost_prior: f64,
    /// Form of the answer.
    pub structure: f64,
    /// Closeness to the reference by bi-encoders.
    pub semantic: f64,
    /// Closeness to what was asked.
    pub alignment: f64,
    /// How much the evaluators agree.
    pub agreement: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { model_prior: 0.15, cost_prior: 0.10, structure: 0.20, semantic: 0.25, alignment: 0.15, agreement: 0.15 }
    }
}

impl Weights {
    /// The weights in the order of [`Dimension::ALL`].
    #[must_use]
    pub fn array(&self) -> [f64; Dimension::ALL.len()] {
        [self.model_prior, self.cost_prior, self.structure, self.semantic, self.alignment, self.agreement]
    }

    /// Sets the weight of one dimension.
    pub fn set(&mut self, dimension: Dimension, weight: f64) {
        *match dimension {
            Dimension::ModelPrior => &mut self.model_prior,
            Dimension::CostPrior => &mut self.cost_prior,
            Dimension::Structure => &mut self.structure,
            Dimension::Semantic => &mut self.semantic,
            Dimension::Alignment => &mut self.alignment,
            Dimension::Agreement => &mut self.agreement,
        } = weight;
    }
}

/// The cascade: evaluators in order, the next one only while the score so far is in doubt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cascade {
    /// Node keys in the order in which they run; when empty, the M nodes by mean latency, fastest first.
    pub evaluators: Vec<String>,
    /// Thresholds to try, in points of 0..10: a score is in doubt if it lies closer than that to `middle`.
    pub thresholds: Vec<f64>,
    /// The score that a decision turns on, in points of 0..10.
    pub middle: f64,
    /// What the score of several evaluators is.
    pub verdict: Verdict,
}

impl Default for Cascade {
    fn default() -> Self {
        // Halves up to the 5 beyond which only scores of exactly 0 and 10 are out of doubt, and 10, which runs everybody.
        let thresholds = (0..=10).map(|step| f64::from(step) / 2.0).chain([SCALE]).collect();
        Self { evaluators: Vec::new(), thresholds, middle: SCALE / 2.0, verdict: Verdict::Mean }
    }
}

/// A reference quality: a scorer that reads the accepted answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Reference {
    /// Token F1.
    F1,
    /// Exact match.
    ExactMatch,
}

impl Reference {
    /// The scorer's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F1 => crate::score::F1,
            Self::ExactMatch => crate::score::EXACT_MATCH,
        }
    }
}

/// What the score of the evaluators that have run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Verdict {
    /// Their mean: with everybody run, the consensus of Equation 1.
    Mean,
    /// The score of the last one, which replaces those before it.
    Last,
}

impl Verdict {
    /// The name that tables use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Last => "last",
        }
    }
}

impl Signals {
    /// `evaluators` are the M nodes of the run; where there are none yet, nobody knows whom the cascade may name.
    pub(super) fn check(&self, evaluators: &[String]) -> Result<()> {
        let weights = self.weights.array();
        for (dimension, weight) in Dimension::ALL.iter().zip(weights) {
            ensure!(
                weight.is_finite() && weight >= 0.0,
                "`signals.weights.{}` must be a finite number of at least 0; it is {weight}",
                dimension.name()
            );
        }
        let sum: f64 = weights.iter().sum();
        ensure!(sum.is_finite() && sum > 0.0, "`signals.weights` must have a sum above 0; it is {sum}");
        ensure!(
            (-1.0..1.0).contains(&self.theta),
            "`signals.theta` must lie in [-1, 1): it is a correlation; it is {}",
            self.theta
        );
        self.cascade.check(evaluators)
    }
}

impl Cascade {
    fn check(&self, evaluators: &[String]) -> Result<()> {
        check_distinct("signals.cascade.evaluators", &self.evaluators)?;
        let unknown = self.evaluators.iter().find(|key| !evaluators.is_empty() && !evaluators.contains(key));
        if let Some(key) = unknown {
            let known = evaluators.iter().map(String::as_str);
            let hint = nearest(key, known).map_or_else(String::new, |near| format!("\nhint: did you mean `{near}`?"));
            bail!(
                "`signals.cascade.evaluators` names `{key}`, which is not in `scoring.evaluators`: {}{hint}",
                evaluators.join(", ")
            );
        }
        ensure!(
            self.evaluators.len() != 1,
            "`signals.cascade.evaluators` names `{}` alone: a cascade needs a second evaluator to turn to",
            self.evaluators.join(", ")
        );
        ensure!(!self.thresholds.is_empty(), "`signals.cascade.thresholds` is empty: name at least one");
        for (i, threshold) in self.thresholds.iter().enumerate() {
            ensure!(
                (0.0..=SCALE).contains(threshold),
                "`signals.cascade.thresholds` must lie in [0, {SCALE}]; one is {threshold}"
            );
            // Added to 0, -0 is 0.
            let twice = self.thresholds[..i].iter().any(|other| (other + 0.0).to_bits() == (threshold + 0.0).to_bits());
            ensure!(!twice, "`signals.cascade.thresholds` names {threshold} twice");
        }
        ensure!(
            self.middle > 0.0 && self.middle < SCALE,
            "`signals.cascade.middle` must lie between 0 and {SCALE}, both left out; it is {}",
            self.middle
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Signals> {
        let signals: Signals = toml::from_str(text)?;
        signals.check(&["a".to_owned(), "tiny_bi".to_owned()])?;
        Ok(signals)
    }

    #[test]
    fn an_empty_section_is_the_default_and_weights_can_be_set_one_by_one() {
        assert_eq!(check("").expect("valid"), Signals::default());
        assert!((Weights::default().array().iter().sum::<f64>() - 1.0).abs() < 1e-12);
        let mut expected = Weights::default();
        expected.set(Dimension::Alignment, 0.0);
        let section = "theta = 0.1\n[weights]\nalignment = 0.0\n[cascade]\nverdict = \"last\"";
        let signals = check(section).expect("valid");
        assert_eq!((signals.weights, signals.cascade.verdict), (expected, Verdict::Last));
    }

    #[test]
    fn each_dimension_has_the_weight_of_its_place() {
        for (place, dimension) in Dimension::ALL.into_iter().enumerate() {
            let mut weights = Weights::default();
            weights.set(dimension, 7.0);
            let changed: Vec<usize> =
                weights.array().iter().enumerate().filter(|(_, w)| **w > 1.0).map(|(i, _)| i).collect();
            assert_eq!(changed, [place], "{}", dimension.name());
        }
    }

    #[test]
    fn a_cascade_may_name_anybody_where_nobody_is_known_to_score() {
        let cascade = "[cascade]\nevaluators = [\"x\", \"y\"]";
        let signals: Signals = toml::from_str(cascade).expect("valid");
        signals.check(&[]).expect("nobody is known yet");
        assert!(check(cascade).is_err());
    }

    #[test]
    fn what_has_no_meaning_is_refused_by_field() {
        for (section, field) in [
            ("[weights]\nstructure = -0.1", "`signals.weights.structure`"),
            ("[weights]\nalignment = nan", "`signals.weights.alignment`"),
            (
                "[weights]\nmodel_prior = 0\ncost_prior = 0\nstructure = 0\nsemantic = 0\nalignment = 0\nagreement = 0",
                "`signals.weights`",
            ),
            ("[weights]\nfluency = 1", "fluency"),
            ("theta = 1.0", "`signals.theta`"),
            ("reference = \"bleu\"", "bleu"),
            ("[cascade]\nevaluators = [\"a\"]", "`signals.cascade.evaluators`"),
            ("[cascade]\nevaluators = [\"a\", \"a\"]", "`signals.cascade.evaluators`"),
            ("[cascade]\nthresholds = []", "`signals.cascade.thresholds`"),
            ("[cascade]\nthresholds = [11]", "`signals.cascade.thresholds`"),
            ("[cascade]\nthresholds = [1, 1]", "`signals.cascade.thresholds`"),
            ("[cascade]\nthresholds = [0.0, -0.0]", "`signals.cascade.thresholds`"),
            (
                "[cascade]\nevaluators = [\"a\", \"tiny_by\"]",
                "which is not in `scoring.evaluators`: a, tiny_bi\nhint: did you mean `tiny_bi`?",
            ),
            ("[cascade]\nmiddle = 10", "`signals.cascade.middle`"),
            ("[cascade]\ndoubt = 1", "doubt"),
        ] {
            let error = format!("{:#}", check(section).expect_err("refused"));
            assert!(error.contains(field), "{section}: {error}");
        }
    }
}
