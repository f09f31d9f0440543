//! JSON Web Tokens (RFC 7519) in the compact form of JWS (RFC 7515).

mod claims;
mod compact;
mod grant;
mod new_token;
mod rights;
mod verifier;

pub use chat_core::Role;
pub use claims::Claims;
pub use grant::{Grant, InvalidGrant};
pub use new_token::{NewToken, SignError};
pub use rights::{InvalidPattern, Rights};
pub use verifier::TokenVerifier;

#[cfg(test)]
mod tests;
