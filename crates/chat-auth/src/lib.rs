//! Identities for `chat-core`: JSON Web Tokens, one-time tickets, and headers of trusted proxies.
//!
//! [`Auth`] is the [`Identify`](chat_core::Identify) of a host whose users log in elsewhere. It finds the credentials
//! of a request, checks them, and returns the user with the rights and the limits that the credentials give.
//!
//! | credentials | where | made by |
//! |---|---|---|
//! | a token | `Authorization: Bearer`, the subprotocol `chat.token.` and the token, or `hello` | a login service |
//! | a ticket | `?ticket=` | [`Tickets::issue`] in a handler of the host, for example from a [`Grant`] |
//! | a user in a header | a header of the host's choice: [`ProxyHeader`] | a proxy with a login of its own |
//!
//! # Tokens
//!
//! [`TokenVerifier`] has the conditions of a token, [`Claims`] the claims that count. The keys are a [`KeySet`], or a
//! [`KeyCache`] that loads them again from files ([`KeyFile`]) or from a URL ([`KeyUrl`]):
//!
//! ```no_run
//! use chat_auth::{Auth, CacheOptions, KeyCache, KeyUrl, TokenVerifier};
//! use chat_core::{Chat, Endpoint};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let source = KeyUrl::new("https://login.example/.well-known/jwks.json")?;
//! let keys = KeyCache::open(source, CacheOptions::default()).await?;
//! let verifier = TokenVerifier::new().issuer("https://login.example/").audience("chat");
//! let endpoint = Endpoint::new(Chat::default()).identify(Auth::new().tokens(verifier, keys));
//! # drop(endpoint);
//! # Ok(())
//! # }
//! ```
//!
//! [`NewToken`] signs tokens for development.
//!
//! # Security
//!
//! - The algorithm belongs to the key. A token cannot choose it, and `none` does not exist.
//! - No claim is read before the signature holds. `exp` is required.
//! - A request with several credentials is refused, and so are members that occur twice, critical extensions, and
//!   tokens for other purposes (`typ`).
//! - The client is told only that it is unauthorized. The log has the [`Rejection`], and nothing of the credentials.
//! - Each load of keys has limits of time and size. If it fails, the last good keys stay valid, at most for 24 h by
//!   default.

mod auth;
mod credential;
mod json;
mod key;
mod proxy;
mod publish;
mod rejection;
mod source;
mod tickets;
mod token;
mod user;

pub use auth::{Auth, Keys};
pub use key::{Algorithm, InvalidKey, KeySet, SigningKey, VerifyingKey};
pub use proxy::ProxyHeader;
pub use publish::describe_metrics;
pub use rejection::Rejection;
pub use source::{CacheOptions, CacheStats, FileError, KeyCache, KeyFile, KeySource, LoadError};
#[cfg(feature = "url")]
pub use source::{InvalidUrl, KeyUrl, UrlError};
pub use tickets::{TicketError, TicketLimits, Tickets};
pub use token::{
    Claims, Grant, InvalidGrant, InvalidPattern, NewToken, Rights, Role, SignError, TokenVerifier,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
