//! One number from the dimensions of an answer: `q = sum_k w_k q_k` over those that have a value, weights renormalised.

use super::dimensions::{DIMENSIONS, Dimension};
use serde::{Deserialize, Serialize};

/// A number for each dimension, in the order of [`Dimension::ALL`].
pub type PerDimension<T> = [T; DIMENSIONS];

/// Which composite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Composite {
    /// The weights of the settings.
    #[serde(rename = "composite")]
    Default,
    /// The dimensions that follow the reference on the records of the fit, weights renormalised, per task type.
    #[serde(rename = "composite_calibrated")]
    Calibrated,
}

impl Composite {
    /// Both, in the order of tables.
    pub const ALL: [Self; 2] = [Self::Default, Self::Calibrated];

    /// The name that tables use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Default => "composite",
            Self::Calibrated => "composite_calibrated",
        }
    }
}

/// `w'_k = w_k 1[k kept] / sum of the kept weights`: weights of a sum of 1, 0 for what is not kept. Null where nothing
/// that is kept has a weight.
#[must_use]
pub fn renormalise(weights: &PerDimension<f64>, kept: &PerDimension<bool>) -> Option<PerDimension<f64>> {
    let kept_weights: PerDimension<f64> = std::array::from_fn(|k| if kept[k] { weights[k] } else { 0.0 });
    let sum: f64 = kept_weights.iter().sum();
    (sum > 0.0).then(|| kept_weights.map(|weight| weight / sum))
}

/// `q = sum_k w'_k q_k` in [0, 1] over the dimensions that have a value, weights renormalised over these. Null where none
/// with a weight has one.
#[must_use]
pub fn compose(weights: &PerDimension<f64>, values: &PerDimension<Option<f64>>) -> Option<f64> {
    let weights = renormalise(weights, &values.map(|value| value.is_some()))?;
    let sum: f64 = weights.iter().zip(values).map(|(weight, value)| weight * value.unwrap_or(0.0)).sum();
    // Rounding of the weights may carry a sum of ones past one.
    Some(sum.clamp(0.0, 1.0))
}

/// Weights by dimension, for people: those that are not zero.
#[must_use]
pub fn describe(weights: &PerDimension<f64>) -> String {
    let named = Dimension::ALL.iter().zip(weights).filter(|(_, weight)| **weight > 0.0);
    named.map(|(dimension, weight)| format!("{} {weight:.3}", dimension.name())).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Weights;
    use proptest::prelude::*;

    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() < 1e-9
    }

    #[test]
    fn dropping_alignment_from_the_five_listed_weights_leaves_the_worked_example() {
        // Priors 0.15, structure 0.20, semantic 0.25, alignment 0.15, agreement 0.15: they add up to 0.90.
        let weights = Weights { cost_prior: 0.0, ..Weights::default() }.array();
        let kept = Dimension::ALL.map(|dimension| dimension != Dimension::Alignment);
        let found = renormalise(&weights, &kept).expect("something is kept");
        let expected = [0.200, 0.0, 0.267, 0.333, 0.0, 0.200];
        assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 5e-4), "{found:?}");
    }

    #[test]
    fn a_missing_dimension_leaves_its_weight_to_the_others() {
        let weights = [0.0, 0.0, 0.2, 0.6, 0.0, 0.2];
        let q = compose(&weights, &[Some(1.0), None, Some(0.5), None, None, Some(1.0)]).expect("has a value");
        assert!(close(q, 0.75), "{q}");
        assert_eq!(compose(&weights, &[Some(1.0), Some(1.0), None, None, None, None]), None, "only weightless ones");
        assert_eq!(compose(&weights, &[None; DIMENSIONS]), None);
    }

    #[test]
    fn settings_and_tables_use_the_same_names() {
        for composite in Composite::ALL {
            assert_eq!(serde_json::to_value(composite).expect("serialises"), composite.name());
        }
    }

    #[test]
    fn weights_are_described_by_name() {
        assert_eq!(describe(&[0.0, 0.0, 0.25, 0.75, 0.0, 0.0]), "structure 0.250, semantic 0.750");
    }

    proptest! {
        #[test]
        fn renormalised_weights_add_up_to_one(
            weights in prop::array::uniform6(0.0..5.0f64),
            kept in prop::array::uniform6(any::<bool>()),
        ) {
            match renormalise(&weights, &kept) {
                Some(found) => {
                    prop_assert!(close(found.iter().sum(), 1.0));
                    prop_assert!(found.iter().zip(kept).all(|(weight, kept)| *weight >= 0.0 && (kept || *weight <= 0.0)));
                }
                None => prop_assert!(weights.iter().zip(kept).all(|(weight, kept)| !kept || *weight <= 0.0)),
            }
        }

        #[test]
        fn a_composite_lies_between_its_parts(
            weights in prop::array::uniform6(0.01..5.0f64),
            values in prop::array::uniform6(prop::option::of(0.0..=1.0f64)),
        ) {
            let present: Vec<f64> = values.iter().flatten().copied().collect();
            match compose(&weights, &values) {
                Some(q) => {
                    let low = present.iter().copied().fold(f64::INFINITY, f64::min);
                    let high = present.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    prop_assert!((0.0..=1.0).contains(&q) && q >= low - 1e-12 && q <= high + 1e-12, "{} of {:?}", q, present);
                }
                None => prop_assert!(present.is_empty()),
            }
        }
    }
}
