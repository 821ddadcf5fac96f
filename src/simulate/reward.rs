//! What a round pays, as pure functions: Equations 2, 4 and 5. Called with the quality or deviation of one round, or
//! with means over many: all three are linear, so the reward of the mean is the mean of the rewards.

/// `R_F = alpha_F Q - beta_F C_F` (Equation 2), for quality Q and cost C in [0, 1].
#[must_use]
pub fn inference(alpha: f64, beta: f64, quality: f64, cost: f64) -> f64 {
    alpha * quality - beta * cost
}

/// `C_close = 1 - d` (Equation 4), for a deviation d in [0, 1].
#[must_use]
pub fn closeness(deviation: f64) -> f64 {
    1.0 - deviation
}

/// `R_M = alpha_M C_close - beta_M C_M` (Equation 5), for closeness and cost in [0, 1].
#[must_use]
pub fn evaluator(alpha: f64, beta: f64, closeness: f64, cost: f64) -> f64 {
    alpha * closeness - beta * cost
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} is not {b}");
    }

    #[test]
    fn worked_examples() {
        assert_close(inference(1.0, 0.3, 0.6, 0.5), 0.45);
        assert_close(inference(1.0, 0.5, 0.2, 1.0), -0.3);
        assert_close(evaluator(1.0, 0.3, closeness(0.25), 0.5), 0.6);
        assert_close(evaluator(2.0, 0.0, closeness(0.0), 1.0), 2.0);
    }

    #[test]
    fn the_mean_of_rewards_is_the_reward_of_the_mean() {
        let rewards = [0.2, 0.9].map(|quality| inference(0.7, 0.4, quality, 0.3));
        assert_close(f64::midpoint(rewards[0], rewards[1]), inference(0.7, 0.4, 0.55, 0.3));
    }
}
