//! The places that keys come from.

mod cache;
mod file;
#[cfg(feature = "url")]
mod url;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

pub use cache::{CacheOptions, CacheStats, KeyCache};
pub use file::{FileError, KeyFile};
#[cfg(feature = "url")]
pub use url::{InvalidUrl, KeyUrl, UrlError};

use crate::KeySet;

/// A place that keys come from: [`KeyFile`], [`KeyUrl`](crate::KeyUrl), or a key service of the host.
///
/// A [`KeyCache`] asks it from time to time, one call at a time, and limits the time of each call.
#[async_trait]
pub trait KeySource: Send + Sync + 'static {
    /// Returns a name for the log, without secrets.
    fn name(&self) -> String;

    /// Loads all keys that are valid now.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if there are none. Keys that were loaded before stay valid for
    /// [`CacheOptions::max_stale`].
    async fn load(&self) -> Result<KeySet, LoadError>;
}

/// The reason why keys could not be loaded. The source is the error of the [`KeySource`].
#[derive(Clone)]
pub struct LoadError(Arc<dyn std::error::Error + Send + Sync>);

impl LoadError {
    /// Returns the error of a source.
    pub fn new(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self(Arc::new(source))
    }

    /// Returns the texts of the source and of its own sources, for a log line.
    pub fn cause(&self) -> String {
        let first: &(dyn std::error::Error + 'static) = &*self.0;
        let texts = std::iter::successors(Some(first), |error| error.source()).map(ToString::to_string);
        texts.collect::<Vec<_>>().join(": ")
    }
}

impl fmt::Debug for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the keys cannot be loaded")
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}
