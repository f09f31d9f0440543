use axum::response::Response;
use chat_core::{Message, Upgrade};
use http::request::Parts;
use hyper::upgrade::OnUpgrade;

/// Carries an upgrade out on a connection that is taken over from axum.
pub(crate) fn open<M: Message>(upgrade: Upgrade<M>, mut parts: Parts) -> Response {
    chat_hyper::hijack(upgrade, parts.extensions.remove::<OnUpgrade>())
}
