//! Both modes in host services, beyond `tests/conformance.rs`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use chat_adapter_tests::{Account, Host, serve_tower};
use chat_core::Endpoint;
use chat_warp::{routes, routes_with_extension};
use futures_util::StreamExt;
use tokio::net::TcpListener;
use warp::Filter;

chat_adapter_tests::cases! {
    serve, Hijack in hijack, Framework in framework;
    [
        changed_101_starts_no_session
        change_between_two_layers_starts_no_session
        chat_without_the_layer_refuses_each_upgrade
        taken_connection_refuses_the_upgrade
        host_keeps_its_routes
        host_keeps_its_own_websockets
        nested_chat_is_below_its_prefix
        host_keeps_its_own_server
        host_layer_hands_its_user_over
        silent_handler_has_its_101_sent
    ]
}

async fn serve(host: Host, endpoint: Endpoint, listener: TcpListener) {
    let chat = endpoint.chat().clone();
    let hello = warp::path!("hello").map(|| "hello");
    let echo = warp::path!("echo").and(warp::ws()).map(|ws: warp::ws::Ws| {
        ws.on_upgrade(|socket| async {
            let (sink, stream) = socket.split();
            stream.forward(sink).await.unwrap();
        })
    });
    let mounted = match host {
        Host::Nested => warp::path("api").and(routes(endpoint)).boxed(),
        Host::Accounts => routes_with_extension::<Account>(endpoint),
        _ => routes(endpoint),
    };
    serve_tower(host, warp::service(hello.or(echo).or(mounted)), &chat, listener).await;
}
