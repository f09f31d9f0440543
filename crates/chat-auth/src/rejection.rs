use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use chat_core::LogThrottle;
use parking_lot::Mutex;

/// Time between two log lines about the same rejection.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// A reason why credentials are not accepted. It is for the log, and never for the client.
///
/// The text of this error repeats nothing of the credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The request has no credentials, and guests are not admitted.
    #[error("the request has no credentials")]
    Missing,
    /// The request has several credentials.
    #[error("the request has several credentials")]
    Ambiguous,
    /// Credentials of this kind are not accepted here.
    #[error("credentials of this kind are not accepted")]
    Unsupported,
    /// The token is longer than the limit.
    #[error("the token is too long")]
    TooLong,
    /// The credentials do not have the form of their kind. A token is a JWS in the compact form (RFC 7515 section 7.1).
    #[error("the credentials are malformed")]
    Malformed,
    /// The header of the token is not valid, or has a critical extension.
    #[error("the header of the token is not valid")]
    Header,
    /// The algorithm of the token is none that is supported here, for example `none`.
    #[error("the algorithm of the token is not supported")]
    Algorithm,
    /// No key has the `kid` and the algorithm of the token.
    #[error("no key fits the kid and the algorithm of the token")]
    UnknownKey,
    /// The keys are [`CacheOptions::max_stale`](crate::CacheOptions::max_stale) old, and could not be loaded again.
    /// This is the only rejection that the client gets as 503.
    #[error("the keys are too old, because their source fails")]
    StaleKeys,
    /// The signature is not that of the key.
    #[error("the signature of the token is wrong")]
    Signature,
    /// A claim is missing, occurs twice, or has a wrong type or value.
    #[error("a claim of the token is missing or not valid")]
    Claims,
    /// The token is of another issuer.
    #[error("the issuer of the token is not accepted")]
    Issuer,
    /// The token is for another audience.
    #[error("the audience of the token is another one")]
    Audience,
    /// The token has expired.
    #[error("the token has expired")]
    Expired,
    /// The token is not valid yet.
    #[error("the token is not valid yet")]
    Early,
    /// The ticket is unknown, used, or expired.
    #[error("the ticket is unknown, used, or expired")]
    Ticket,
    /// The header with the user does not come from a trusted proxy.
    #[error("the header with the user does not come from a trusted proxy")]
    Proxy,
    /// The id of the user is not valid.
    #[error("the id of the user is not valid")]
    User,
}

impl Rejection {
    /// Returns a name for metrics, which does not change.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Ambiguous => "ambiguous",
            Self::Unsupported => "unsupported",
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::Header => "header",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::StaleKeys => "stale_keys",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Expired => "expired",
            Self::Early => "early",
            Self::Ticket => "ticket",
            Self::Proxy => "proxy",
            Self::User => "user",
        }
    }
}

/// The counters and the log lines of rejections.
#[derive(Debug, Default)]
pub(crate) struct Rejections(Mutex<BTreeMap<Rejection, (u64, LogThrottle)>>);

impl Rejections {
    /// Counts a rejection, and logs it at most once per second.
    pub(crate) fn record(&self, rejection: Rejection, peer: Option<SocketAddr>) {
        let suppressed = {
            let mut counts = self.0.lock();
            let (count, throttle) = counts.entry(rejection).or_default();
            *count += 1;
            throttle.permit(LOG_INTERVAL)
        };
        if let Some(suppressed) = suppressed {
            let peer = peer.map(tracing::field::display);
            tracing::info!(reason = rejection.as_str(), peer, suppressed, "credentials refused: {rejection}");
        }
    }

    /// Returns the number of each rejection that has occurred.
    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().iter().map(|(rejection, (count, _))| (rejection.as_str(), *count)).collect()
    }
}
