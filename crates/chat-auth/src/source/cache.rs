use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, Shared as SharedFuture};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::{KeySource, LoadError};
use crate::{KeySet, Rejection};

/// The keys of a [`KeySource`], which are loaded again from time to time.
///
/// The last keys stay valid while the source fails, until they are [`CacheOptions::max_stale`] old. Only one load goes
/// on at a time, and all calls that need it share it. A clone is another handle to the same keys.
#[derive(Clone)]
pub struct KeyCache(Arc<Shared>);

/// Times of a [`KeyCache`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheOptions {
    /// Age of the keys at which the next use begins to load them again. This use still gets the old keys. So a key that
    /// was removed is accepted until a load works. Default 5 min.
    pub max_age: Duration,
    /// Age of the keys from which on all tokens are refused. It limits the time for which a removed key is accepted
    /// while the source fails. Default 24 h.
    pub max_stale: Duration,
    /// Time between the starts of two loads, also if a token names an unknown key. Default 30 s.
    pub min_interval: Duration,
    /// Time for one load. Default 3 s, which is less than the time for an identity.
    pub timeout: Duration,
}

/// Counters of a [`KeyCache`] since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Loads that returned keys.
    pub loads: u64,
    /// Loads that failed, or that took too long. The keys of the last load that worked stay valid until they are
    /// [`CacheOptions::max_stale`] old.
    pub failures: u64,
    /// Calls that got no keys, because the keys were [`CacheOptions::max_stale`] old.
    pub stale: u64,
}

struct Shared {
    source: Box<dyn KeySource>,
    options: CacheOptions,
    state: Mutex<State>,
}

struct State {
    keys: Arc<KeySet>,
    /// The time of the last load that returned keys.
    loaded_at: Instant,
    /// The time at which the last load began.
    started_at: Instant,
    /// The load that goes on.
    load: Option<Load>,
    stats: CacheStats,
}

/// A load, for each call that waits for it.
type Load = SharedFuture<BoxFuture<'static, ()>>;

impl Default for CacheOptions {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(300),
            max_stale: Duration::from_secs(24 * 60 * 60),
            min_interval: Duration::from_secs(30),
            timeout: Duration::from_secs(3),
        }
    }
}

impl CacheOptions {
    /// Returns these options after `change`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use chat_auth::CacheOptions;
    ///
    /// let options = CacheOptions::default().with(|options| options.max_age = Duration::from_secs(60));
    /// assert_eq!(options.min_interval, Duration::from_secs(30));
    /// ```
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

impl KeyCache {
    /// Loads the keys of a source for the first time.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if the source has no keys, or not in time: a server without keys refuses everybody, which an
    /// operator should see at the start.
    pub async fn open(source: impl KeySource, options: CacheOptions) -> Result<Self, LoadError> {
        let (source, started_at): (Box<dyn KeySource>, _) = (Box::new(source), Instant::now());
        let keys = Arc::new(load(&*source, options.timeout).await?);
        tracing::info!(source = source.name(), keys = keys.len(), "keys loaded");
        let stats = CacheStats { loads: 1, ..CacheStats::default() };
        let state = State { keys, loaded_at: Instant::now(), started_at, load: None, stats };
        Ok(Self(Arc::new(Shared { source, options, state: Mutex::new(state) })))
    }

    /// Returns the keys. If they are [`CacheOptions::max_age`] old, a load begins in the background. If they are
    /// [`CacheOptions::max_stale`] old, the call first waits for a load, at most for its time limit.
    ///
    /// # Errors
    ///
    /// [`Rejection::StaleKeys`] if no load has worked for [`CacheOptions::max_stale`].
    pub async fn keys(&self) -> Result<Arc<KeySet>, Rejection> {
        let age = self.0.state.lock().loaded_at.elapsed();
        if age >= self.0.options.max_stale {
            return self.reload().await;
        }
        if age >= self.0.options.max_age {
            // The load has its own task.
            drop(self.0.begin());
        }
        self.current()
    }

    /// Returns the keys after another load, for a token that no key fits. Loads do not follow each other faster than
    /// [`CacheOptions::min_interval`]: then it returns the keys as they are.
    ///
    /// # Errors
    ///
    /// [`Rejection::StaleKeys`] if no load has worked for [`CacheOptions::max_stale`].
    pub async fn reload(&self) -> Result<Arc<KeySet>, Rejection> {
        let load = self.0.begin();
        if let Some(load) = load {
            load.await;
        }
        self.current()
    }

    /// Returns the counters.
    pub fn stats(&self) -> CacheStats {
        self.0.state.lock().stats
    }

    fn current(&self) -> Result<Arc<KeySet>, Rejection> {
        let mut state = self.0.state.lock();
        if state.loaded_at.elapsed() >= self.0.options.max_stale {
            state.stats.stale += 1;
            return Err(Rejection::StaleKeys);
        }
        Ok(Arc::clone(&state.keys))
    }
}

impl Shared {
    /// Returns the load that goes on, or begins one. Returns `None` if it is too early for another one.
    fn begin(self: &Arc<Self>) -> Option<Load> {
        let mut state = self.state.lock();
        if let Some(load) = &state.load {
            return Some(load.clone());
        }
        if state.started_at.elapsed() < self.options.min_interval {
            return None;
        }
        state.started_at = Instant::now();
        let shared = Arc::clone(self);
        let load = async move { shared.load().await }.boxed().shared();
        state.load = Some(load.clone());
        // A call that is dropped does not end the load of the others.
        tokio::spawn(load.clone());
        Some(load)
    }

    async fn load(&self) {
        let loaded = load(&*self.source, self.options.timeout).await;
        let mut state = self.state.lock();
        state.load = None;
        let source = self.source.name();
        match loaded {
            Ok(keys) => {
                state.stats.loads += 1;
                state.loaded_at = Instant::now();
                tracing::debug!(source, keys = keys.len(), "keys loaded");
                state.keys = Arc::new(keys);
            }
            Err(error) => {
                state.stats.failures += 1;
                let (failures, age) = (state.stats.failures, state.loaded_at.elapsed());
                let (cause, age_s) = (error.cause(), age.as_secs());
                if age >= self.options.max_stale {
                    tracing::error!(
                        source,
                        cause,
                        failures,
                        age_s,
                        "keys not loaded: all tokens are refused until the source works"
                    );
                } else {
                    tracing::warn!(
                        source,
                        cause,
                        failures,
                        age_s,
                        "keys not loaded: the last good keys stay valid"
                    );
                }
            }
        }
    }
}

/// A source that did not return.
#[derive(Debug, thiserror::Error)]
enum NoAnswer {
    #[error("the source panicked")]
    Panic,
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

/// Loads keys within a time limit. A panic of the source is an error.
async fn load(source: &dyn KeySource, limit: Duration) -> Result<KeySet, LoadError> {
    let load = AssertUnwindSafe(async { source.load().await }).catch_unwind();
    match timeout(limit, load).await {
        Ok(Ok(loaded)) => loaded,
        Ok(Err(_)) => Err(LoadError::new(NoAnswer::Panic)),
        Err(_) => Err(LoadError::new(NoAnswer::Timeout(limit))),
    }
}

impl std::fmt::Debug for KeyCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyCache")
            .field("source", &self.0.source.name())
            .field("keys", &self.0.state.lock().keys)
            .finish_non_exhaustive()
    }
}
