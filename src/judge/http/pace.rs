//! Requests and tokens per minute. Both limits let a tenth of a minute's worth go at once, so that the first minute does
//! not hold two minutes' worth.

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use std::num::NonZeroU32;

/// Both limits.
pub struct Pace {
    requests: Option<DefaultDirectRateLimiter>,
    tokens: Option<(DefaultDirectRateLimiter, NonZeroU32)>,
}

impl Pace {
    /// Limits per minute; `largest` is the number of tokens of the largest request, which must be able to pass.
    #[must_use]
    pub fn new(requests: Option<u32>, tokens: Option<u32>, largest: usize) -> Self {
        let quota = |per_minute: NonZeroU32, burst: u32| {
            let burst = NonZeroU32::new(burst.max(per_minute.get() / 10)).unwrap_or(NonZeroU32::MIN);
            (Quota::per_minute(per_minute).allow_burst(burst), burst)
        };
        let largest = u32::try_from(largest).unwrap_or(u32::MAX);
        Self {
            requests: requests.and_then(NonZeroU32::new).map(|limit| RateLimiter::direct(quota(limit, 1).0)),
            tokens: tokens.and_then(NonZeroU32::new).map(|limit| {
                let (quota, burst) = quota(limit, largest);
                (RateLimiter::direct(quota), burst)
            }),
        }
    }

    /// Waits until a request of so many tokens may go.
    pub async fn wait(&self, tokens: usize) {
        if let Some(requests) = &self.requests {
            requests.until_ready().await;
        }
        if let Some((limiter, burst)) = &self.tokens {
            let tokens = NonZeroU32::new(u32::try_from(tokens).unwrap_or(u32::MAX)).unwrap_or(NonZeroU32::MIN);
            // What is more than the burst would be refused, so no request counts for more.
            let _ = limiter.until_n_ready(tokens.min(*burst)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn seconds(pace: &Pace, requests: usize, tokens: usize) -> f64 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("runtime");
        let started = Instant::now();
        runtime.block_on(async {
            for _ in 0..requests {
                pace.wait(tokens).await;
            }
        });
        started.elapsed().as_secs_f64()
    }

    #[test]
    fn limits_hold() {
        // 600 a minute: 60 at once, then one every 100 ms.
        assert!(seconds(&Pace::new(Some(600), None, 10), 63, 10) > 0.25);
        // 6,000 tokens a minute: 600 at once, then 100 a second.
        assert!(seconds(&Pace::new(None, Some(6000), 10), 9, 70) > 0.2);
        // What is larger than the burst passes all the same, and no limit is none.
        seconds(&Pace::new(None, Some(6000), 10), 1, 100_000);
        seconds(&Pace::new(None, None, 10), 100_000, 10);
    }
}
