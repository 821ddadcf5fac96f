//! Which figures a run has. Each is a figure, or a sentence that says why it is not there and stands in its place.

mod nodes;
mod paper;
mod sweep;

pub(super) use sweep::figures as sweeps;

use super::figure::Figure;
use crate::report::sections::Report;

/// A figure, or why there is none.
pub(super) type Drawn = Result<Figure, String>;

/// The figures of a run, by the section that they stand in.
pub(super) struct Figures {
    pub correlations: Vec<Drawn>,
    pub quality: Vec<Drawn>,
    pub rewards: Vec<Drawn>,
    pub distributions: Vec<Drawn>,
    pub length: Vec<Drawn>,
}

pub(super) fn of_run(report: &Report) -> Figures {
    Figures {
        correlations: vec![paper::correlations(report)],
        quality: vec![paper::quality_f1(report), paper::quality_judge(report)],
        rewards: vec![paper::rewards(report, "inference"), paper::rewards(report, "evaluator")],
        distributions: vec![nodes::distributions(report)],
        length: vec![nodes::length_and_latency(report), nodes::length_and_f1(report), nodes::at_equal_length(report)],
    }
}

/// A figure if there is something on it.
fn drawn(figure: Figure, otherwise: &str) -> Drawn {
    if figure.is_drawn() { Ok(figure) } else { Err(otherwise.to_owned()) }
}

/// Both ends of an interval, where both are known.
fn ends(low: Option<f64>, high: Option<f64>) -> Option<(f64, f64)> {
    low.zip(high)
}
