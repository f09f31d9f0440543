//! The suite of `chat-conformance` on both mechanisms.

use std::process::ExitCode;

use chat_conformance::{InProcess, Mounted, TUNGSTENITE_DEVIATIONS, certify};
use chat_core::Mechanism;

fn main() -> ExitCode {
    let target = |name, mechanism| InProcess::new(name, move |server| serve(server, mechanism));
    certify([
        chat_conformance::Mechanism::new(target("warp_hijack", Mechanism::Hijack)),
        chat_conformance::Mechanism::new(target("warp_context", Mechanism::Context))
            .deviations(TUNGSTENITE_DEVIATIONS)
            .deviation(
                "handshake::an_upgrade_header_with_several_protocols_is_accepted",
                "`warp::ws` wants the bare word on the first line",
            ),
    ])
}

async fn serve(server: Mounted, mechanism: Mechanism) {
    let service = chat_warp::mount(server.endpoint, mechanism, chat_warp::not_found());
    chat_warp::serve(server.listener, service, &server.limits, server.stop).await;
}
