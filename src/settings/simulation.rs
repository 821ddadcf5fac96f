//! The section `[simulation]`: the mechanism (Equations 1 to 5), who takes part in it and how, and its Monte Carlo
//! (Algorithm 1). The parts of the mechanism are in [`super::mechanism`].

use super::mechanism::{
    Audit, Congestion, Consensus, Costs, Deviation, EvaluatorAttack, InferenceAttack, Pool, Rewards, Rule, Schedule,
    Shape,
};
use super::paths;
use crate::signals::Composite;
use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// One configuration of the mechanism and of the network that plays it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Simulation {
    /// Rounds per replicate.
    pub rounds: u64,
    /// Independent replicates, each with its own random streams.
    pub replicates: u32,
    /// Seed of all streams.
    pub seed: u64,
    /// K, the evaluators drawn per round.
    pub k: EvaluatorsPerRound,
    /// Weight of quality for inference nodes (Equation 2).
    pub alpha_f: f64,
    /// Weight of cost for inference nodes.
    pub beta_f: f64,
    /// Weight of closeness for evaluators (Equation 5).
    pub alpha_m: f64,
    /// Weight of cost for evaluators.
    pub beta_m: f64,
    /// Whom an evaluator is compared with (Equation 3).
    pub deviation: Deviation,
    /// What the evaluators of a round agree on.
    pub consensus: Consensus,
    /// A quality signal that inference nodes are paid for in place of the consensus; absent: the consensus. Answers for which
    /// the signal is null are paid by the consensus, with a warning; one that is null for every answer is refused.
    /// Evaluators are paid for agreeing either way.
    pub quality: Option<Composite>,
    /// How quality and cost become a reward.
    pub rewards: Rewards,
    /// What a node's cost is made of and how it is scaled.
    pub costs: Costs,
    /// How the inference node of a round is chosen.
    pub schedule: Schedule,
    /// Cost weights that follow load; absent: they are constant.
    pub congestion: Option<Congestion>,
    /// A pool of synthetic evaluators in place of the real ones; absent: the real ones.
    pub pool: Option<Pool>,
    /// Dishonest evaluators.
    pub evaluator_attacks: Vec<EvaluatorAttack>,
    /// Dishonest inference nodes.
    pub inference_attacks: Vec<InferenceAttack>,
    /// Checks of declared costs.
    pub audit: Audit,
    /// Rounds kept in `rounds.parquet`.
    pub round_log: RoundLog,
}

impl Default for Simulation {
    fn default() -> Self {
        Self {
            rounds: 5000,
            replicates: 20,
            seed: 42,
            k: EvaluatorsPerRound::Fixed(3),
            alpha_f: 1.0,
            beta_f: 0.3,
            alpha_m: 1.0,
            beta_m: 0.3,
            deviation: Deviation::Inclusive,
            consensus: Consensus::default(),
            quality: None,
            rewards: Rewards::default(),
            costs: Costs::default(),
            schedule: Schedule::default(),
            congestion: None,
            pool: None,
            evaluator_attacks: Vec::new(),
            inference_attacks: Vec::new(),
            audit: Audit::default(),
            round_log: RoundLog::First,
        }
    }
}

/// Which rounds are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum RoundLog {
    /// None.
    None,
    /// The first 100,000 of the first replicate, as a sample to look at.
    #[default]
    First,
    /// All rounds of all replicates: a log that replays to the rewards.
    All,
}

/// K: a number, or a range from which it is drawn uniformly each round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum EvaluatorsPerRound {
    /// The same K every round.
    Fixed(usize),
    /// K uniform on `min..=max`.
    Range {
        /// Smallest K.
        min: usize,
        /// Largest K.
        max: usize,
    },
}

impl EvaluatorsPerRound {
    /// The same, with no K above the size of a pool.
    #[must_use]
    pub fn at_most(self, pool: usize) -> Self {
        match self {
            Self::Fixed(k) => Self::Fixed(k.min(pool)),
            Self::Range { min, max } => Self::Range { min: min.min(pool), max: max.min(pool) },
        }
    }

    /// Smallest and largest K.
    #[must_use]
    pub fn bounds(self) -> (usize, usize) {
        match self {
            Self::Fixed(k) => (k, k),
            Self::Range { min, max } => (min, max),
        }
    }
}

impl Simulation {
    /// Refuses coefficients, counts and shares that have no meaning, naming the field. What depends on the nodes of a run
    /// is refused by [`crate::simulate`].
    pub fn check(&self) -> Result<()> {
        ensure!(self.rounds > 0, "`simulation.rounds` must be at least 1: zero rounds pay nobody");
        ensure!(self.replicates > 0, "`simulation.replicates` must be at least 1");
        // TOML, in which settings are written, has no larger numbers.
        let seeds =
            [("rounds", self.rounds), ("seed", self.seed), ("pool.seed", self.pool.as_ref().map_or(0, |p| p.seed))];
        for (name, value) in seeds {
            ensure!(i64::try_from(value).is_ok(), "`simulation.{name}` must be less than 2^63; it is {value}");
        }
        let (min, max) = self.k.bounds();
        ensure!(min >= 1 && min <= max, "`simulation.k` must be at least 1 and its `min` at most its `max`");
        let coefficients =
            [("alpha_f", self.alpha_f), ("beta_f", self.beta_f), ("alpha_m", self.alpha_m), ("beta_m", self.beta_m)];
        for (name, value) in coefficients {
            ensure!(
                value.is_finite() && value >= 0.0,
                "`simulation.{name}` must be a finite number of at least 0; it is {value}"
            );
        }
        self.consensus.check()?;
        self.rewards.check()?;
        self.costs.check()?;
        self.schedule.check()?;
        self.audit.check()?;
        if let Some(congestion) = &self.congestion {
            congestion.check()?;
        }
        if let Some(pool) = &self.pool {
            pool.check()?;
        }
        for (i, attack) in self.evaluator_attacks.iter().enumerate() {
            attack.check().with_context(|| format!("`simulation.evaluator_attacks`, entry {}", i + 1))?;
        }
        for (i, attack) in self.inference_attacks.iter().enumerate() {
            attack.check().with_context(|| format!("`simulation.inference_attacks`, entry {}", i + 1))?;
        }
        Ok(())
    }

    /// Refuses a K that a pool of so many evaluators cannot honour.
    pub fn check_k(&self, pool: usize) -> Result<()> {
        let (_, k) = self.k.bounds();
        ensure!(
            k <= pool,
            "`simulation.k` asks for {k} evaluators per round, but the pool has {pool}: lower `k` or add evaluators"
        );
        Ok(())
    }

    /// K among the evaluators that are left where some of those asked for were skipped; none where that changes nothing. A
    /// synthetic pool has as many as it says, and a K that not even all of them could honour is left to be refused.
    #[must_use]
    pub fn k_among(&self, asked: usize, left: usize) -> Option<EvaluatorsPerRound> {
        let (_, k) = self.k.bounds();
        (self.pool.is_none() && left > 0 && left < k && k <= asked).then(|| self.k.at_most(left))
    }

    /// The same with other values at dotted paths, e.g. `consensus.rule` or `evaluator_attacks`: what `--set` and sweeps do.
    /// Not checked yet: [`Simulation::check`] does that.
    pub fn with<'v>(&self, assignments: impl IntoIterator<Item = (&'v str, &'v toml::Value)>) -> Result<Self> {
        let mut assignments = assignments.into_iter().peekable();
        if assignments.peek().is_none() {
            return Ok(self.clone());
        }
        let mut table = toml::Table::try_from(self).context("settings do not become TOML; this is a bug")?;
        let mut paths = Vec::new();
        for (path, value) in assignments {
            paths::set(&mut table, &paths::segments(path), value.clone())?;
            paths.push(format!("`simulation.{path}`"));
        }
        table.try_into().map_err(|error: toml::de::Error| {
            let message = error.message().to_owned();
            let hint = crate::suggest::hint(&message).map_or_else(String::new, |hint| format!("\nhint: {hint}"));
            anyhow::anyhow!("{} cannot be set: {message}{hint}", paths.join(", "))
        })
    }

    /// The first setting, if there is one, by which rewards are not those of Equations 1 to 5 among honest nodes.
    #[must_use]
    pub fn beyond_the_paper(&self) -> Option<&'static str> {
        let departures = [
            ("deviation", self.deviation != Deviation::Inclusive),
            ("consensus.rule", self.consensus.rule != Rule::Mean),
            ("consensus.trust", self.consensus.trust.is_some()),
            ("consensus.stakes", !self.consensus.stakes.is_empty()),
            ("quality", self.quality.is_some()),
            ("rewards.shape", self.rewards.shape != Shape::Linear),
            ("rewards.task_weights", !self.rewards.task_weights.is_empty()),
            ("congestion", self.congestion.is_some()),
            ("evaluator_attacks", !self.evaluator_attacks.is_empty()),
            ("inference_attacks", !self.inference_attacks.is_empty()),
        ];
        departures.into_iter().find(|(_, departs)| *departs).map(|(setting, _)| setting)
    }

    /// The same mechanism among honest nodes.
    #[must_use]
    pub fn honest(&self) -> Self {
        Self { evaluator_attacks: Vec::new(), inference_attacks: Vec::new(), ..self.clone() }
    }

    /// Whether anybody is dishonest.
    #[must_use]
    pub fn is_honest(&self) -> bool {
        self.evaluator_attacks.is_empty() && self.inference_attacks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::mechanism::{EvaluatorStrategy, TrustUpdate};

    fn with(path: &str, value: &str) -> Result<Simulation> {
        let value: toml::Table = toml::from_str(&format!("value = {value}")).expect("a value");
        Simulation::default().with([(path, &value["value"])])
    }

    #[test]
    fn any_setting_can_be_set_by_its_path() {
        assert_eq!(with("consensus.rule", "\"median\"").expect("set").consensus.rule, Rule::Median);
        let trust = with("consensus.trust.update", "\"ema\"").expect("set").consensus.trust.expect("made on the way");
        assert_eq!((trust.update, trust.min), (TrustUpdate::Ema, 0.1));
        let attacks = with("evaluator_attacks", "[{ strategy = \"boost\", share = 0.2 }]").expect("set");
        assert_eq!(attacks.evaluator_attacks[0].strategy, EvaluatorStrategy::Boost);
        assert_eq!(with("k", "{ min = 1, max = 3 }").expect("set").k.bounds(), (1, 3));
        assert!((with("beta_f", "1").expect("whole numbers are numbers").beta_f - 1.0).abs() < 1e-12);
    }

    #[test]
    fn what_may_be_absent_can_be_taken_away_again() {
        let value = toml::Value::String("none".into());
        let mut settings = with("pool.evaluators", "20").expect("set");
        settings.consensus.trust = Some(crate::settings::mechanism::Trust::default());
        let without = settings.with([("pool", &value), ("consensus.trust", &value)]).expect("taken away");
        assert_eq!(without, Simulation::default());
        assert_eq!(without.with([("pool", &value)]).expect("already away"), Simulation::default());
    }

    #[test]
    fn k_shrinks_with_the_evaluators_that_are_left() {
        let of = |k, asked, left| Simulation { k, ..Simulation::default() }.k_among(asked, left);
        assert_eq!(of(EvaluatorsPerRound::Fixed(3), 3, 2), Some(EvaluatorsPerRound::Fixed(2)));
        let range = EvaluatorsPerRound::Range { min: 1, max: 3 };
        assert_eq!(of(range, 3, 2), Some(EvaluatorsPerRound::Range { min: 1, max: 2 }));
        // Enough are left; never enough; none at all.
        let unchanged = [of(range, 4, 3), of(EvaluatorsPerRound::Fixed(5), 3, 2), of(range, 3, 0)];
        assert_eq!(unchanged, [None; 3]);
        let pool = Some(super::super::mechanism::Pool::default());
        assert_eq!(Simulation { pool, ..Simulation::default() }.k_among(3, 2), None);
    }

    #[test]
    fn seeds_that_toml_cannot_hold_are_refused() {
        let large = Simulation { seed: 1 << 63, ..Simulation::default() };
        assert!(large.check().expect_err("refused").to_string().contains("`simulation.seed` must be less than 2^63"));
        assert_eq!(large.with([]).expect("nothing to do"), large);
    }

    #[test]
    fn unknown_settings_and_rules_name_the_nearest() {
        let error = with("consensus.rule", "\"medain\"").expect_err("unknown").to_string();
        assert!(
            error.contains("`simulation.consensus.rule` cannot be set") && error.contains("did you mean `median`?"),
            "{error}"
        );
        let error = with("consensus.trimm", "0.1").expect_err("unknown").to_string();
        assert!(error.contains("did you mean `trim`?"), "{error}");
        let error = with("rounds.many", "3").expect_err("not a table").to_string();
        assert!(error.contains("`simulation.rounds` holds a value"), "{error}");
    }

    #[test]
    fn attacks_say_who_and_what_and_nothing_else() {
        let check = |attack: &str| {
            let error = with("evaluator_attacks", &format!("[{attack}]")).and_then(|s| s.check()).expect_err("refused");
            format!("{error:#}")
        };
        assert!(check("{ strategy = \"boost\" }").contains("exactly one of `share`, `count` and `nodes`"));
        assert!(check("{ strategy = \"collude\", share = 0.2 }").contains("needs the inference node it favours"));
        assert!(
            check("{ strategy = \"boost\", share = 1.2 }").contains("entry 1: `share` must lie in 0..1; it is 1.2")
        );
        assert!(check("{ strategy = \"lazy\", count = 1, strength = 2.0 }").contains("means nothing to `lazy`"));
        assert!(check("{ strategy = \"boost\", count = 1, target = \"f\" }").contains("but to `collude`"));
    }
}
