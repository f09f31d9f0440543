//! The rates that all connections of one user share.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chat_proto::{Bucket, Rate, SharedRate};
use parking_lot::{Mutex, RwLock};
use tokio::time::Instant;

use crate::UserKey;

/// Users whose buckets are kept before those that are full are dropped.
const MIN_PRUNED: usize = 1_024;

/// The token buckets of users. A bucket outlives the connections of its user until it is full, so that a reconnect
/// brings no tokens.
pub(crate) struct UserRates {
    rate: RwLock<Rate>,
    started: Instant,
    users: Mutex<Users>,
}

struct Users {
    buckets: HashMap<UserKey, Arc<Mutex<Bucket>>>,
    /// The number of buckets at which unused buckets are dropped.
    prune_at: usize,
}

/// The share of one session in the bucket of its user.
pub(crate) struct UserRate {
    rate: Rate,
    started: Instant,
    bucket: Arc<Mutex<Bucket>>,
}

impl UserRates {
    pub(crate) fn new(rate: Rate) -> Self {
        let users = Users { buckets: HashMap::new(), prune_at: MIN_PRUNED };
        Self { rate: RwLock::new(rate), started: Instant::now(), users: Mutex::new(users) }
    }

    /// Sets the rate of the shares that are given from now on.
    pub(crate) fn set_rate(&self, rate: Rate) {
        *self.rate.write() = rate;
    }

    /// Returns a share in the bucket of a user, or `None` if the user has no limit. `rate` replaces the rate of all
    /// users.
    pub(crate) fn share(&self, user: UserKey, rate: Option<Rate>) -> Option<Box<UserRate>> {
        let rate = rate.unwrap_or_else(|| *self.rate.read());
        if rate.is_unlimited() {
            return None;
        }
        let mut users = self.users.lock();
        if users.buckets.len() >= users.prune_at {
            let now = self.started.elapsed();
            users.buckets.retain(|_, bucket| Arc::strong_count(bucket) > 1 || !bucket.lock().is_full(now));
            users.prune_at = (users.buckets.len() * 2).max(MIN_PRUNED);
        }
        let bucket = Arc::clone(users.buckets.entry(user).or_default());
        Some(Box::new(UserRate { rate, started: self.started, bucket }))
    }
}

impl SharedRate for UserRate {
    fn take(&mut self, cost: u32) -> Result<(), Duration> {
        let mut bucket = self.bucket.lock();
        bucket.take(self.rate, self.started.elapsed(), cost)
    }
}

impl fmt::Debug for UserRates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserRates").field("rate", &self.rate).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::User;

    fn key(name: &str) -> UserKey {
        User::new(name, name).expect("a valid user").key()
    }

    #[tokio::test(start_paused = true)]
    async fn a_reconnect_brings_no_tokens() {
        let rates = UserRates::new(Rate::new(1, 2));
        let mut first = rates.share(key("ann"), None).expect("a limit");
        assert_eq!(first.take(2), Ok(()));
        drop(first);
        let mut second = rates.share(key("ann"), None).expect("a limit");
        assert_eq!(second.take(1), Err(Duration::from_secs(1)));
        assert_eq!(rates.share(key("bob"), None).expect("a limit").take(2), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn buckets_of_users_that_have_gone_are_dropped_once_they_are_full() {
        let rates = UserRates::new(Rate::new(1, 1));
        let shares: Vec<_> =
            (0..MIN_PRUNED).map(|number| rates.share(key(&number.to_string()), None)).collect();
        let mut shares = shares.into_iter().flatten();
        let _held = shares.next();
        for mut share in shares {
            share.take(1).expect("a token");
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        let _ann = rates.share(key("ann"), None);
        assert_eq!(rates.users.lock().buckets.len(), 2);
    }
}
