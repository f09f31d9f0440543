//! The suite of `chat-conformance` in both modes, on the server of the adapter and on actix's own. With
//! `CHAT_CONFORMANCE_TLS`, also with TLS.

use std::io;
use std::net::TcpListener;
use std::process::ExitCode;
use std::time::Duration;

use actix_web::dev::Server;
use actix_web::{App, HttpServer, web};
use chat_actix::ServeOptions;
use chat_adapter_tests::tls;
use chat_conformance::{InProcess, Mechanism, Mounted, certify};
use chat_core::{Endpoint, Limits, UpgradeMode};
use chat_websocket::set_options;

/// Makes an app from an expression, because the type of an app has private parts.
macro_rules! app {
    ($endpoint:expr) => {{
        let endpoint = $endpoint;
        move || {
            App::new()
                .configure(chat_actix::routes(endpoint.clone()))
                .default_service(web::to(chat_actix::not_found))
                .wrap(chat_actix::UpgradeLayer::new())
        }
    }};
}

fn main() -> ExitCode {
    let served = |name, mode| {
        mechanism(InProcess::new(name, move |server| serve(server, mode, ServeOptions::default())))
    };
    // `HttpServer` keeps the socket, and lacks limits that the server of the adapter has.
    let own = |name, mode| {
        mechanism(InProcess::new(name, move |server| serve_by_actix(server, mode)))
            .deviation(
                "http::a_partial_head_after_a_request_is_closed",
                "actix limits only the time for the first head of a connection",
            )
            .deviation(
                "pressure::a_client_that_does_not_read_http_answers_is_disconnected",
                "actix keeps the connection of a peer that takes nothing",
            )
    };
    let with_tls = tls::target("actix_tls", |server, tls| {
        serve(server, UpgradeMode::Hijack, ServeOptions::default().tls(tls))
    });
    let with_tls = tls::is_wanted().then(|| mechanism(with_tls));
    let mechanisms = [
        served("actix_hijack", UpgradeMode::Hijack),
        without_utf8_in_fragments(served("actix_framework", UpgradeMode::Framework)),
        own("actix_server_hijack", UpgradeMode::Hijack),
        without_utf8_in_fragments(own("actix_server_framework", UpgradeMode::Framework)),
    ];
    certify(mechanisms.into_iter().chain(with_tls))
}

fn mechanism(target: InProcess) -> Mechanism {
    Mechanism::new(target)
        .deviation(
            "handshake::an_upgrade_header_with_several_protocols_is_accepted",
            "actix's parser takes a request for an upgrade only if its `Upgrade` is the bare word",
        )
        .deviation("refusal::a_missing_host_is_refused", "actix's parser answers 400 itself, without a body")
        .deviation(
            "http::a_pipelined_head_request_is_answered_without_a_body",
            "actix decides about the body of an answer by the method of the last request that it has parsed",
        )
}

fn without_utf8_in_fragments(mechanism: Mechanism) -> Mechanism {
    mechanism.deviation(
        "utf8::invalid_utf_8_is_refused_in_its_own_fragment",
        "actix-ws checks text at the end of its message",
    )
}

async fn serve(server: Mounted, mode: UpgradeMode, options: ServeOptions) {
    let endpoint = server.endpoint.mode(mode);
    let chat = endpoint.chat().clone();
    // A server that cannot start serves no case.
    let _ended = chat_actix::serve_with(server.listener, options, app!(endpoint), &chat, server.stop).await;
}

async fn serve_by_actix(server: Mounted, mode: UpgradeMode) {
    let Mounted { endpoint, listener, limits, stop, .. } = server;
    let started = listener.into_std().and_then(|listener| start(endpoint.mode(mode), listener, &limits));
    let Ok(server) = started else { return };
    let handle = server.handle();
    let stopping = async {
        stop.await;
        handle.stop(true).await;
    };
    let (_ended, ()) = tokio::join!(server, stopping);
}

/// Starts a server with the settings of [`chat_actix::serve`], as far as `HttpServer` has them.
fn start(endpoint: Endpoint, listener: TcpListener, limits: &Limits) -> io::Result<Server> {
    // Connections get these from the listener. Otherwise the kernel holds megabytes for a client that reads nothing. A host
    // sets no time limit of the kernel, which ends such a connection only sometimes.
    let options = limits.clone().with(|limits| limits.connection.write_timeout = Duration::from_secs(600));
    set_options(&listener, &options.connection)?;
    let server = HttpServer::new(app!(endpoint))
        .workers(1)
        .tcp_nodelay(true)
        .client_request_timeout(limits.http.head_timeout)
        .keep_alive(limits.http.idle_timeout)
        .client_disconnect_timeout(Duration::ZERO)
        .shutdown_timeout(1)
        .disable_signals();
    Ok(server.listen(listener)?.run())
}
