//! What judgements cost: dollars of a reply, and the purse that a budget fills. The purse promises before a request is sent
//! what it may cost at most, so that a budget is kept and not merely noticed.

use crate::settings::Price;
use crate::store::replies::Reply;

/// Tokens that servers add to a conversation, at most: roles, markers, the schema of the reply.
const OVERHEAD_TOKENS: usize = 256;

/// Bytes of a token on average, where nothing was measured yet.
const BYTES_PER_TOKEN: f64 = 4.0;

/// Dollars of a reply; none where the server does not count tokens.
#[must_use]
pub fn of_reply(price: Price, reply: &Reply) -> Option<f64> {
    let (input, output) = (reply.input_tokens? as f64, reply.output_tokens? as f64);
    let cached = (reply.cached_tokens.unwrap_or(0) as f64).min(input);
    let cached_price = price.cached_input_usd_per_million.unwrap_or(price.input_usd_per_million);
    let dollars =
        (input - cached) * price.input_usd_per_million + cached * cached_price + output * price.output_usd_per_million;
    Some(dollars / 1e6)
}

/// Dollars of a request at most: a token is at least a byte long.
#[must_use]
pub fn at_most(price: Price, bytes: usize, max_output_tokens: usize) -> f64 {
    let (input, output) = ((bytes + OVERHEAD_TOKENS) as f64, max_output_tokens as f64);
    (input * price.input_usd_per_million + output * price.output_usd_per_million) / 1e6
}

/// Tokens of a text of so many bytes, by rule of thumb.
#[must_use]
pub fn tokens_of(bytes: usize) -> usize {
    (bytes as f64 / BYTES_PER_TOKEN).ceil() as usize
}

/// Dollars paid, promised and allowed.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Purse {
    /// What replies have cost, and what lost requests may have cost at most.
    spent: f64,
    /// What requests under way may cost at most.
    promised: f64,
    /// What there is.
    budget: Option<f64>,
}

impl Purse {
    /// A purse out of which so much was spent before.
    #[must_use]
    pub fn new(budget: Option<f64>, spent: f64) -> Self {
        Self { spent, promised: 0.0, budget }
    }

    /// Whether a request may be sent that costs so much at most.
    #[must_use]
    pub fn allows(&self, at_most: f64) -> bool {
        self.budget.is_none_or(|budget| self.spent + self.promised + at_most <= budget)
    }

    /// Promises it.
    pub fn promise(&mut self, at_most: f64) {
        self.promised += at_most;
    }

    /// Takes a promise back for what it has really cost.
    pub fn settle(&mut self, promised: f64, cost: f64) {
        self.promised = (self.promised - promised).max(0.0);
        self.spent += cost;
    }

    /// Dollars spent.
    #[must_use]
    pub fn spent(&self) -> f64 {
        self.spent
    }

    /// Dollars allowed.
    #[must_use]
    pub fn budget(&self) -> Option<f64> {
        self.budget
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICE: Price =
        Price { input_usd_per_million: 0.15, cached_input_usd_per_million: Some(0.075), output_usd_per_million: 0.6 };

    #[test]
    fn cached_tokens_cost_what_they_cost() {
        let reply = Reply {
            input_tokens: Some(1_000_000),
            cached_tokens: Some(400_000),
            output_tokens: Some(500_000),
            ..Reply::default()
        };
        let dollars = of_reply(PRICE, &reply).expect("known");
        assert!((dollars - (0.09 + 0.03 + 0.3)).abs() < 1e-12, "{dollars}");
        assert_eq!(of_reply(PRICE, &Reply { output_tokens: None, ..reply }), None, "unknown is not zero");
    }

    #[test]
    fn a_budget_is_never_passed() {
        let mut purse = Purse::new(Some(1.0), 0.3);
        assert!(purse.allows(0.7) && !purse.allows(0.71));
        purse.promise(0.5);
        assert!(!purse.allows(0.3));
        purse.settle(0.5, 0.1);
        assert!(purse.allows(0.6) && !purse.allows(0.61));
        assert!((purse.spent() - 0.4).abs() < 1e-12);
        assert!(Purse::default().allows(f64::MAX));
    }

    #[test]
    fn no_reply_costs_more_than_was_promised() {
        let text = "the longest reading of a text is a token a byte";
        let reply = Reply { input_tokens: Some(text.len() as u64 + 200), output_tokens: Some(50), ..Reply::default() };
        assert!(of_reply(PRICE, &reply).expect("known") <= at_most(PRICE, text.len(), 50));
        assert_eq!(tokens_of(9), 3);
    }
}
