//! Tests that each adapter runs besides `chat-conformance`, with the adapter's host as an argument.
//!
//! An adapter writes a function that serves each [`Host`], and names the cases with [`cases!`].

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]
#![expect(clippy::missing_panics_doc, reason = "a helper of a test fails the test")]

pub mod cases;
mod peer;
mod server;
pub mod tls;
mod tower;
mod users;

pub use chat_core::UpgradeMode;
use chat_core::User;
pub use peer::{HEAD, Peer, TEXT};
pub use server::{Server, in_time, quick_limits};
pub use tower::{add_account, serve_tower};
pub use users::users_of_the_host_join_post_and_are_kicked;

/// A host service for a case.
///
/// Each has the chat, and answers `hello` to `GET /hello`. If the framework has a WebSocket of its own, an echo is at
/// `/echo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// The host is as in the README.
    Plain,
    /// The chat is below `/api`.
    Nested,
    /// The layer of the adapter is missing.
    NoLayer,
    /// A layer of the host, inside the adapter's, changes the status of each response to 200.
    ChangedStatus,
    /// The adapter's layer is there twice, with a layer that changes the status to 200 between the two.
    LayerTwice,
    /// A layer of the host takes the connection out of the request.
    TakenConnection,
    /// The host has its own server instead of the adapter's.
    OwnServer,
    /// A layer of the host, inside the adapter's, puts an [`Account`] into the request's extensions if the request
    /// has the header `x-account`.
    Accounts,
}

/// A user as a layer of [`Host::Accounts`] hands it over.
#[derive(Clone, Debug)]
pub struct Account(pub User);

impl Account {
    /// Returns the account with the id that the header `x-account` has.
    pub fn of_header(id: &[u8]) -> Self {
        Self(User::new(str::from_utf8(id).unwrap(), "Ann").unwrap())
    }
}

/// Makes a test of each case for each mode.
///
/// ```
/// use chat_adapter_tests::{Host, cases};
/// use chat_core::Endpoint;
/// use tokio::net::TcpListener;
///
/// async fn serve(host: Host, endpoint: Endpoint, listener: TcpListener) {
///     # let _ = (host, endpoint, listener);
///     // Serves the framework's app with the routes of `endpoint`.
/// }
///
/// cases! {
///     serve, Hijack in hijack, Framework in framework;
///     [changed_101_starts_no_session host_keeps_its_own_server]
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! cases {
    ($serve:ident, $($mode:ident in $module:ident),+; $cases:tt) => {
        $($crate::cases!(@mode $serve $mode $module $cases);)+
    };
    (@mode $serve:ident $mode:ident $module:ident [$($case:ident)*]) => {
        mod $module {
            $(#[tokio::test]
            async fn $case() {
                $crate::in_time($crate::cases::$case(super::$serve, $crate::UpgradeMode::$mode)).await;
            })*
        }
    };
}
