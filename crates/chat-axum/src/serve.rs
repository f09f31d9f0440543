use std::io;

use axum::Router;
use axum::extract::ConnectInfo;
use chat_adapter::ServeOptions;
use chat_core::Chat;
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
    serve_with(listener, ServeOptions::default(), router, chat, stop).await
}

/// Serves as [`serve`] does, with options for TLS and the PROXY protocol.
///
/// # Errors
///
/// As [`serve`].
pub async fn serve_with(
    listener: TcpListener,
    options: ServeOptions,
    router: Router,
    chat: &Chat,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    chat_adapter::serve_extended(listener, options, router, chat, stop, |extensions, peer| {
        extensions.insert(ConnectInfo(peer));
    })
    .await
}
