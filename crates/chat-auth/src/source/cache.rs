use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, Shared as SharedFuture};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::{KeySource, LoadError};
use crate::KeySet;

/// The keys of a [`KeySource`], which are loaded again from time to time.
///
/// The last keys stay valid while the source fails. Only one load goes on at a time, and all calls that need it share
/// it. A clone is another handle to the same keys.
#[derive(Clone)]
pub struct KeyCache(Arc<Shared>);

/// Times of a [`KeyCache`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheOptions {
    /// Age of the keys at which the next use loads them again. A key that was removed is accepted until then.
    /// Default 5 min.
    pub max_age: Duration,
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
    /// Loads that failed, or that took too long. The keys of the last load that worked stay valid.
    pub failures: u64,
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
        let stats = CacheStats { loads: 1, failures: 0 };
        let state = State { keys, loaded_at: Instant::now(), started_at, load: None, stats };
        Ok(Self(Arc::new(Shared { source, options, state: Mutex::new(state) })))
    }

    /// Returns the keys. If they are too old, it first waits for a load, at most for its time limit.
    pub async fn keys(&self) -> Arc<KeySet> {
        let is_old = self.0.state.lock().loaded_at.elapsed() >= self.0.options.max_age;
        if is_old { self.reload().await } else { self.current() }
    }

    /// Returns the keys after another load, for a token that no key fits. Loads do not follow each other faster than
    /// [`CacheOptions::min_interval`]: then it returns the keys as they are.
    pub async fn reload(&self) -> Arc<KeySet> {
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

    fn current(&self) -> Arc<KeySet> {
        Arc::clone(&self.0.state.lock().keys)
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
                let (failures, age_s) = (state.stats.failures, state.loaded_at.elapsed().as_secs());
                let cause = error.cause();
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
            .field("keys", &self.current())
            .finish_non_exhaustive()
    }
}
