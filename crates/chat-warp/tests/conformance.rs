//! The suite of `chat-conformance` in both modes.

use std::process::ExitCode;

use chat_conformance::{InProcess, Mounted, certify};
use chat_core::UpgradeMode;
use warp::Filter;

fn main() -> ExitCode {
    let target = |name, mode| InProcess::new(name, move |server| serve(server, mode));
    certify([
        chat_conformance::Mechanism::new(target("warp_hijack", UpgradeMode::Hijack)),
        chat_conformance::Mechanism::new(target("warp_framework", UpgradeMode::Framework))
            .deviation(
                "handshake::upgrade_may_name_websocket_among_others",
                "`warp::ws` wants the bare word on the first line",
            )
            .deviation(
                "fragments::endless_empty_fragments_are_capped",
                "warp shows messages, not fragments, and its codec counts only their bytes",
            )
            .deviation(
                "close::a_reply_still_arrives_after_a_half_close",
                "warp's codec ends both directions when the peer ends one",
            )
            .deviation(
                "close::what_is_ahead_of_a_close_is_answered",
                "warp's codec sends nothing more once it has read a close frame",
            )
            .deviation(
                "close::a_breach_ends_in_a_clean_end_of_the_stream",
                "after a breach warp reads no more, so the peer's answer to the close causes a reset",
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
