//! The parts of `[simulation]`: consensus and trust, reward shapes, costs, scheduling, pools, attacks and audits. Each
//! field with its default; where the papers give none, the default is ours (`docs/mechanism.md` says which).

mod consensus;
mod costs;
mod dishonesty;
mod load;
mod pool;

pub use consensus::{Consensus, Deviation, Rewards, Rule, Shape, Trust, TrustUpdate};
pub use costs::{CostBasis, CostScale, Costs};
pub use dishonesty::{Audit, EvaluatorAttack, EvaluatorStrategy, InferenceAttack, InferenceStrategy};
pub use load::{Congestion, Policy, Schedule};
pub use pool::{Pool, PoolMethod};

use anyhow::{Result, ensure};

fn share(field: &str, value: f64) -> Result<()> {
    ensure!((0.0..=1.0).contains(&value), "`simulation.{field}` must lie in 0..1; it is {value}");
    Ok(())
}

fn positive(field: &str, value: f64) -> Result<()> {
    ensure!(value.is_finite() && value > 0.0, "`simulation.{field}` must be a finite number above 0; it is {value}");
    Ok(())
}

fn not_negative(field: &str, value: f64) -> Result<()> {
    ensure!(
        value.is_finite() && value >= 0.0,
        "`simulation.{field}` must be a finite number of at least 0; it is {value}"
    );
    Ok(())
}
