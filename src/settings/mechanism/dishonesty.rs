//! Dishonest nodes, and the audits that look for them.

use super::{not_negative, share};
use anyhow::{Result, bail, ensure};
use serde::{Deserialize, Serialize};

/// What a dishonest evaluator does. s is the score it would report if it were honest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum EvaluatorStrategy {
    /// `s + N(0, strength^2)`, cut to 0..10.
    Noise,
    /// `min(10, s + strength)`: Equation 18 of arXiv 2601.21189.
    Boost,
    /// `max(0, s - strength)`.
    Sabotage,
    /// Boost of the inference node `target`, honest about the others.
    Collude,
    /// Does not look: reports the pool's mean score always.
    Lazy,
    /// Does not look: reports the mean of what the others of its round have reported; with commit-reveal, or alone, it is lazy.
    Copycat,
    /// Honest about answers, and declares `strength` times its cost.
    Misreport,
}

/// Some evaluators that are not honest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluatorAttack {
    /// What they do.
    pub strategy: EvaluatorStrategy,
    /// Their share of the pool, rounded to the nearest whole evaluator; which ones is drawn with the simulation's seed.
    pub share: Option<f64>,
    /// Their number, in place of a share.
    pub count: Option<usize>,
    /// Their node keys, in place of a share.
    pub nodes: Option<Vec<String>>,
    /// sigma of noise (default 2), points of a boost, a sabotage or a collusion (default 3), factor on a declared cost
    /// (default 0.5).
    pub strength: Option<f64>,
    /// Probability of doing it in a round, honest otherwise (intermittent manipulation; default 1).
    pub probability: Option<f64>,
    /// Inference node in whose favour they collude.
    pub target: Option<String>,
    /// Whether scores are committed before they are revealed, so that a copycat has nothing to copy (default false).
    pub commit_reveal: Option<bool>,
}

impl EvaluatorAttack {
    /// `strength`, or its default.
    #[must_use]
    pub fn strength(&self) -> f64 {
        self.strength.unwrap_or(match self.strategy {
            EvaluatorStrategy::Noise => 2.0,
            EvaluatorStrategy::Misreport => 0.5,
            _ => 3.0,
        })
    }

    pub(in crate::settings) fn check(&self) -> Result<()> {
        use EvaluatorStrategy::{Collude, Copycat, Lazy, Misreport};
        let given =
            usize::from(self.share.is_some()) + usize::from(self.count.is_some()) + usize::from(self.nodes.is_some());
        ensure!(given == 1, "say who: exactly one of `share`, `count` and `nodes`");
        if let Some(value) = self.share {
            ensure!((0.0..=1.0).contains(&value), "`share` must lie in 0..1; it is {value}");
        }
        if let Some(value) = self.probability {
            ensure!((0.0..=1.0).contains(&value), "`probability` must lie in 0..1; it is {value}");
        }
        let strength = self.strength();
        ensure!(strength.is_finite() && strength >= 0.0, "`strength` must be finite and at least 0; it is {strength}");
        let strategy = self.strategy;
        if matches!(strategy, Lazy | Copycat) && self.strength.is_some() {
            bail!("`strength` means nothing to `lazy` and `copycat`");
        }
        if strategy == Misreport && self.probability.is_some() {
            bail!("`probability` means nothing to `misreport`: a cost is declared once");
        }
        match (strategy == Collude, self.target.is_some()) {
            (true, false) => bail!("`collude` needs the inference node it favours as `target`"),
            (false, true) => bail!("`target` means nothing but to `collude`"),
            _ => {}
        }
        if self.commit_reveal.is_some() && strategy != Copycat {
            bail!("`commit_reveal` means nothing but to `copycat`");
        }
        Ok(())
    }
}

/// What a dishonest inference node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum InferenceStrategy {
    /// Answers with the cheaper model `with`, and is charged its own cost.
    Swap,
    /// Declares `strength` times its cost.
    Misreport,
}

/// An inference node that is not honest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InferenceAttack {
    /// What it does.
    pub strategy: InferenceStrategy,
    /// Its node key.
    pub node: String,
    /// The inference node whose answers it passes off as its own.
    pub with: Option<String>,
    /// Probability of swapping in a round (default 1).
    pub probability: Option<f64>,
    /// Factor on the declared cost (default 0.5).
    pub strength: Option<f64>,
}

impl InferenceAttack {
    /// `strength`, or its default.
    #[must_use]
    pub fn strength(&self) -> f64 {
        self.strength.unwrap_or(0.5)
    }

    pub(in crate::settings) fn check(&self) -> Result<()> {
        let swap = self.strategy == InferenceStrategy::Swap;
        match (swap, &self.with) {
            (true, None) => bail!("`swap` needs the inference node it answers `with`"),
            (false, Some(_)) => bail!("`with` means nothing but to `swap`"),
            (true, Some(with)) => ensure!(*with != self.node, "`{with}` cannot be swapped for itself"),
            _ => {}
        }
        if swap && self.strength.is_some() {
            bail!("`strength` means nothing to `swap`");
        }
        if !swap && self.probability.is_some() {
            bail!("`probability` means nothing to `misreport`: a cost is declared once");
        }
        if let Some(value) = self.probability {
            ensure!((0.0..=1.0).contains(&value), "`probability` must lie in 0..1; it is {value}");
        }
        let strength = self.strength();
        ensure!(strength.is_finite() && strength >= 0.0, "`strength` must be finite and at least 0; it is {strength}");
        Ok(())
    }
}

/// Random audits of declared costs. An audit finds out the true cost; who declared another one pays the penalty.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// Probability that a job is audited.
    pub probability: f64,
    /// What a found misreport costs, in units of reward.
    pub penalty: f64,
}

impl Audit {
    pub(in crate::settings) fn check(&self) -> Result<()> {
        share("audit.probability", self.probability)?;
        not_negative("audit.penalty", self.penalty)
    }
}
