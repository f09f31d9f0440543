use std::sync::Arc;

/// An error of a log that cannot be used now. A later attempt may succeed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the log is not available: {cause}")]
pub struct Unavailable {
    cause: String,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
    is_over_quota: bool,
}

impl PartialEq for Unavailable {
    /// Compares the causes.
    fn eq(&self, other: &Self) -> bool {
        self.cause == other.cause
    }
}

impl Eq for Unavailable {}

impl Unavailable {
    /// Returns an error with a cause for the server's log.
    pub fn new(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), source: None, is_over_quota: false }
    }

    /// Returns an error that another one has caused.
    pub fn from_source(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self { cause: source.to_string(), source: Some(Arc::new(source)), is_over_quota: false }
    }

    /// Returns an error of a store that refuses a message because of a quota: of bytes, or of a user's keys. Nothing is
    /// stored.
    ///
    /// ```
    /// use chat_proto::Unavailable;
    ///
    /// assert!(Unavailable::over_quota("the disk quota is reached").is_over_quota());
    /// assert!(!Unavailable::new("the disk does not answer").is_over_quota());
    /// ```
    pub fn over_quota(cause: impl Into<String>) -> Self {
        Self { is_over_quota: true, ..Self::new(cause) }
    }

    /// Returns true if a quota of the store is the cause.
    pub fn is_over_quota(&self) -> bool {
        self.is_over_quota
    }

    /// Returns the cause, for the server's log.
    pub fn cause(&self) -> &str {
        &self.cause
    }
}
