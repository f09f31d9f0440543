//! Token buckets: the rates at which a client may cause work.

use std::time::Duration;

/// A rate of tokens: an average and a burst.
///
/// ```
/// use chat_proto::Rate;
///
/// let rate = Rate::new(50, 200);
/// assert!(!rate.is_unlimited());
/// assert!(Rate::UNLIMITED.is_unlimited());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rate {
    /// Tokens per second on average. 0 is no limit.
    pub per_second: u32,
    /// Tokens that may be taken at once. At least 1.
    pub burst: u32,
}

impl Rate {
    /// No limit.
    pub const UNLIMITED: Self = Self { per_second: 0, burst: 1 };

    /// Returns a rate of `per_second` tokens, and `burst` tokens at once.
    pub const fn new(per_second: u32, burst: u32) -> Self {
        Self { per_second, burst: if burst == 0 { 1 } else { burst } }
    }

    /// Returns true if this rate limits nothing.
    pub const fn is_unlimited(self) -> bool {
        self.per_second == 0
    }

    /// Returns the time in which this many tokens come back.
    fn time_of(self, tokens: u32) -> Duration {
        Duration::from_secs(1).saturating_mul(tokens) / self.per_second.max(1)
    }
}

/// A token bucket, as the time at which it is full again (the generic cell rate algorithm of ITU-T I.371).
///
/// A bucket needs no timer, and a bucket that is full has no state: [`is_full`](Self::is_full) says when it can be
/// forgotten.
///
/// ```
/// use std::time::Duration;
///
/// use chat_proto::{Bucket, Rate};
///
/// let (rate, now) = (Rate::new(10, 2), Duration::from_secs(100));
/// let mut bucket = Bucket::default();
/// assert_eq!(bucket.take(rate, now, 1), Ok(()));
/// assert_eq!(bucket.take(rate, now, 1), Ok(()));
/// assert_eq!(bucket.take(rate, now, 1), Err(Duration::from_millis(100)));
/// assert_eq!(bucket.take(rate, now + Duration::from_millis(100), 1), Ok(()));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    full_at: Duration,
}

impl Bucket {
    /// Takes tokens. A cost above the burst takes a whole burst.
    ///
    /// # Errors
    ///
    /// The time until the tokens are there. Nothing was taken.
    pub fn take(&mut self, rate: Rate, now: Duration, cost: u32) -> Result<(), Duration> {
        self.check(rate, now, cost)?;
        self.charge(rate, now, cost.min(rate.burst));
        Ok(())
    }

    /// Checks that tokens are there.
    ///
    /// # Errors
    ///
    /// The time until they are.
    pub fn check(&self, rate: Rate, now: Duration, cost: u32) -> Result<(), Duration> {
        if rate.is_unlimited() {
            return Ok(());
        }
        let full_at = self.full_at.max(now) + rate.time_of(cost.min(rate.burst));
        match full_at.saturating_sub(now + rate.time_of(rate.burst)) {
            Duration::ZERO => Ok(()),
            wait => Err(wait),
        }
    }

    /// Takes tokens that may not be there, for work whose cost is known only afterwards. The bucket can go below empty.
    pub fn charge(&mut self, rate: Rate, now: Duration, cost: u32) {
        if !rate.is_unlimited() {
            self.full_at = self.full_at.max(now) + rate.time_of(cost);
        }
    }

    /// Returns the time until the bucket is no longer below empty.
    pub fn debt(&self, rate: Rate, now: Duration) -> Duration {
        if rate.is_unlimited() {
            return Duration::ZERO;
        }
        self.full_at.saturating_sub(now + rate.time_of(rate.burst))
    }

    /// Returns true if no token is missing.
    pub fn is_full(&self, now: Duration) -> bool {
        self.full_at <= now
    }
}

/// A rate that several sessions share, such as the rate of all connections of one user.
pub trait SharedRate: Send + Sync {
    /// Takes tokens.
    ///
    /// # Errors
    ///
    /// The time until the tokens are there. Nothing was taken.
    fn take(&mut self, cost: u32) -> Result<(), Duration>;
}
