//! A model of token buckets that counts tokens, and a rate shared by the sessions of one user.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chat_proto::{Bucket, Rate, SharedRate};

/// A bucket that counts its tokens, in billionths.
pub(crate) struct Tokens {
    rate: Rate,
    left: u128,
    counted_at: Duration,
}

const TOKEN: u128 = 1_000_000_000;

impl Tokens {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, left: u128::from(rate.burst) * TOKEN, counted_at: Duration::ZERO }
    }

    /// Returns the milliseconds until `cost` tokens are there, rounded up; 0 if they are.
    pub(crate) fn missing_ms(&mut self, now: Duration, cost: u32) -> u64 {
        let per_second = u128::from(self.rate.per_second);
        if per_second == 0 {
            return 0;
        }
        let refilled = (now - self.counted_at).as_nanos() * per_second;
        self.left = (self.left + refilled).min(u128::from(self.rate.burst) * TOKEN);
        self.counted_at = now;
        let missing = (u128::from(cost.min(self.rate.burst)) * TOKEN).saturating_sub(self.left);
        u64::try_from(missing.div_ceil(per_second).div_ceil(1_000_000)).expect("a short time")
    }

    /// Takes tokens that are there.
    pub(crate) fn take(&mut self, cost: u32) {
        if self.rate.is_unlimited() {
            return;
        }
        self.left -= u128::from(cost.min(self.rate.burst)) * TOKEN;
    }
}

/// The rate of a user with one session, and a clock that the test sets.
#[derive(Clone)]
pub(crate) struct UserRate {
    bucket: Bucket,
    rate: Rate,
    now_ms: Arc<AtomicU64>,
}

impl UserRate {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { bucket: Bucket::default(), rate, now_ms: Arc::default() }
    }

    pub(crate) fn set_time(&self, now: Duration) {
        let now = u64::try_from(now.as_millis()).expect("a short time");
        self.now_ms.store(now, Ordering::Relaxed);
    }
}

impl SharedRate for UserRate {
    fn take(&mut self, cost: u32) -> Result<(), Duration> {
        let now = Duration::from_millis(self.now_ms.load(Ordering::Relaxed));
        self.bucket.take(self.rate, now, cost)
    }
}
