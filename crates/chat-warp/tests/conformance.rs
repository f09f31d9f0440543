//! The suite of `chat-conformance` in both modes.

use std::process::ExitCode;

use chat_conformance::{InProcess, Mounted, TUNGSTENITE_DEVIATIONS, certify};
use chat_core::UpgradeMode;
use warp::Filter;

fn main() -> ExitCode {
    let target = |name, mode| InProcess::new(name, move |server| serve(server, mode));
    certify([
        chat_conformance::Mechanism::new(target("warp_hijack", UpgradeMode::Hijack)),
        chat_conformance::Mechanism::new(target("warp_framework", UpgradeMode::Framework))
            .deviations(TUNGSTENITE_DEVIATIONS)
            .deviation(
                "handshake::an_upgrade_header_with_several_protocols_is_accepted",
                "`warp::ws` wants the bare word on the first line",
            ),
    ])
}

async fn serve(server: Mounted, mode: UpgradeMode) {
    let chat = server.endpoint.chat().clone();
    let routes = chat_warp::routes(server.endpoint.mode(mode)).or(chat_warp::not_found());
    let app = chat_warp::UpgradeLayer::new().layer(warp::service(routes));
    // A server that cannot start serves no case.
    let _ended = chat_warp::serve(server.listener, app, &chat, server.stop).await;
}
