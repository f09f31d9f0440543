//! The suite of `chat-conformance` on both mechanisms.

use std::process::ExitCode;

use chat_conformance::{InProcess, Mounted, TUNGSTENITE_DEVIATIONS, certify};
use chat_core::Mechanism;

fn main() -> ExitCode {
    let target = |name, mechanism| InProcess::new(name, move |server| serve(server, mechanism));
    certify([
        chat_conformance::Mechanism::new(target("axum_hijack", Mechanism::Hijack)),
        chat_conformance::Mechanism::new(target("axum_context", Mechanism::Context))
            .deviations(TUNGSTENITE_DEVIATIONS)
            .deviation(
                "close::a_client_that_sends_after_its_close_can_read_the_echo",
                "after a close axum reads no more, so what the peer still sends causes a reset",
            ),
    ])
}

async fn serve(server: Mounted, mechanism: Mechanism) {
    let service = chat_axum::mount(server.endpoint, mechanism, chat_axum::not_found());
    chat_axum::serve(server.listener, service, &server.limits, server.stop).await;
}
