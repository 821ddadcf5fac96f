//! What a node's cost is: its scale, its unit, its hardware (Section 3.3).

use super::{not_negative, positive};
use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How costs are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum CostScale {
    /// `(x - min) / (max - min)` within the pool (Section 3.3).
    #[default]
    MinMax,
    /// `x / max` within the pool: the cheapest node costs something too.
    Max,
    /// `x / unit`: does not depend on who else is in the pool, and may exceed 1.
    Absolute,
}

/// What a node's cost x is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum CostBasis {
    /// Mean latency in ms times the node's hardware multiplier.
    #[default]
    Latency,
    /// Money per answer: machine time, energy and bandwidth.
    Money,
}

/// The cost model. Maps are by node key; `default` in a map stands for all nodes that it does not name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Costs {
    /// What is counted.
    pub basis: CostBasis,
    /// How it becomes C.
    pub scale: CostScale,
    /// What counts as C = 1 on the absolute scale: ms, or money per 1,000 answers.
    pub unit: f64,
    /// Multipliers of latency, for nodes on other hardware than the profile's; 1 where not given.
    pub hardware: BTreeMap<String, f64>,
    /// Price of a machine per hour; 0 where not given.
    pub price_per_hour: BTreeMap<String, f64>,
    /// Power drawn while working, in watts; 0 where not given.
    pub power_watts: BTreeMap<String, f64>,
    /// Price of energy per kWh.
    pub energy_price: f64,
    /// Bytes sent per answer; 0 where not given.
    pub bytes_per_answer: BTreeMap<String, f64>,
    /// Price of bandwidth per GB (10^9 bytes).
    pub bandwidth_price: f64,
}

impl Default for Costs {
    fn default() -> Self {
        Self {
            basis: CostBasis::Latency,
            scale: CostScale::MinMax,
            unit: 1000.0,
            hardware: BTreeMap::new(),
            price_per_hour: BTreeMap::new(),
            power_watts: BTreeMap::new(),
            energy_price: 0.0,
            bytes_per_answer: BTreeMap::new(),
            bandwidth_price: 0.0,
        }
    }
}

impl Costs {
    pub(in crate::settings) fn check(&self) -> Result<()> {
        positive("costs.unit", self.unit)?;
        not_negative("costs.energy_price", self.energy_price)?;
        not_negative("costs.bandwidth_price", self.bandwidth_price)?;
        for (node, factor) in &self.hardware {
            positive(&format!("costs.hardware.{node}"), *factor)?;
        }
        let maps = [
            ("price_per_hour", &self.price_per_hour),
            ("power_watts", &self.power_watts),
            ("bytes_per_answer", &self.bytes_per_answer),
        ];
        for (field, map) in maps {
            for (node, value) in map {
                not_negative(&format!("costs.{field}.{node}"), *value)?;
            }
        }
        let prices = [("energy_price", self.energy_price), ("bandwidth_price", self.bandwidth_price)];
        let mut charged = prices.iter().filter(|(_, price)| *price > 0.0).map(|(field, _)| *field);
        let mut mapped = maps.iter().filter(|(_, map)| !map.is_empty()).map(|(field, _)| *field);
        let money = charged.next().or_else(|| mapped.next());
        match (self.basis, money) {
            (CostBasis::Latency, Some(field)) => {
                bail!("`simulation.costs.{field}` means nothing unless `simulation.costs.basis` is `money`")
            }
            (CostBasis::Money, None) => bail!(
                "`simulation.costs.basis` is `money`, but nothing has a price: set `price_per_hour`, `power_watts` with \
                 `energy_price`, or `bytes_per_answer` with `bandwidth_price`"
            ),
            _ => Ok(()),
        }
    }

    /// Whether costs are those of the profile.
    #[must_use]
    pub fn are_those_of_the_profile(&self) -> bool {
        (self.basis, self.scale) == (CostBasis::Latency, CostScale::MinMax) && self.hardware.is_empty()
    }
}
