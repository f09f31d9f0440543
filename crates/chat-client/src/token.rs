use std::fmt;
use std::sync::Arc;

/// The source of a client's tokens: see [`Builder::token`](crate::Builder::token).
///
/// Its `Debug` shows no token.
#[derive(Clone)]
pub struct TokenSource(Arc<dyn Fn() -> String + Send + Sync>);

impl TokenSource {
    /// Returns a source that asks this function for each connection, and when a token is about to expire.
    pub fn new(newest: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self(Arc::new(newest))
    }

    /// Returns the newest token.
    pub(crate) fn newest(&self) -> String {
        (self.0)()
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSource(..)")
    }
}
