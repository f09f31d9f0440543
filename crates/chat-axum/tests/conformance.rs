//! The suite of `chat-conformance` in both modes, and with TLS if `CHAT_CONFORMANCE_TLS` is set.

use std::process::ExitCode;

use axum::Router;
use chat_adapter_tests::tls;
use chat_axum::ServeOptions;
use chat_conformance::{InProcess, Mounted, TUNGSTENITE_DEVIATIONS, certify};
use chat_core::UpgradeMode;

fn main() -> ExitCode {
    let target =
        |name, mode| InProcess::new(name, move |server| serve(server, mode, ServeOptions::default()));
    let with_tls = tls::target("axum_tls", |server, tls| {
        serve(server, UpgradeMode::Hijack, ServeOptions::default().tls(tls))
    });
    let with_tls = tls::is_wanted().then(|| chat_conformance::Mechanism::new(with_tls));
    let mechanisms = [
        chat_conformance::Mechanism::new(target("axum_hijack", UpgradeMode::Hijack)),
        chat_conformance::Mechanism::new(target("axum_framework", UpgradeMode::Framework))
            .deviations(TUNGSTENITE_DEVIATIONS)
            .deviation(
                "close::a_client_that_sends_after_its_close_can_read_the_echo",
                "after a close axum reads no more, so what the peer still sends causes a reset",
            ),
    ];
    certify(mechanisms.into_iter().chain(with_tls))
}

async fn serve(server: Mounted, mode: UpgradeMode, options: ServeOptions) {
    let chat = server.endpoint.chat().clone();
    let app = Router::new()
        .merge(chat_axum::routes(server.endpoint.mode(mode)))
        .fallback(chat_axum::not_found)
        .layer(chat_axum::UpgradeLayer::new());
    // A server that cannot start serves no case.
    let _ended = chat_axum::serve_with(server.listener, options, app, &chat, server.stop).await;
}
