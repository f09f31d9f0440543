use std::io;

use axum::Router;
use axum::extract::ConnectInfo;
use chat_core::{Chat, ProxyProtocol};
use tokio::net::TcpListener;

/// Serves the router over HTTP/1.1 on `listener` until `stop` is ready, with the limits of the chat on requests.
///
/// `ConnectInfo<SocketAddr>` works in handlers, without `into_make_service_with_connect_info`. `stop` ends accepting;
/// [`Chat::drain`] ends the sessions, so a host awaits it first.
///
/// A chat.v1 WebSocket is an HTTP/1.1 upgrade, so this server speaks HTTP/1.1 only. A host that needs HTTP/2 for its
/// other routes uses `axum::serve`. That server has no time limit for a client that does not finish a request or reads
/// nothing.
///
/// # Errors
///
/// The error of a listener that can accept no more connections.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    chat: &Chat,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    serve_proxied(listener, None, router, chat, stop).await
}

/// Serves as [`serve`] does. With `proxies`, the peer of a connection is the client that its PROXY header names, and a
/// connection of a proxy without a valid header is closed.
///
/// # Errors
///
/// As [`serve`].
pub async fn serve_proxied(
    listener: TcpListener,
    proxies: Option<ProxyProtocol>,
    router: Router,
    chat: &Chat,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    chat_adapter::serve_with(listener, proxies, router, chat, stop, |extensions, peer| {
        extensions.insert(ConnectInfo(peer));
    })
    .await
}
