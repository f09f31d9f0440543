//! The suite of `chat-conformance` in both modes.

use std::process::ExitCode;

use axum::Router;
use chat_conformance::{InProcess, Mounted, certify};
use chat_core::UpgradeMode;

fn main() -> ExitCode {
    let target = |name, mode| InProcess::new(name, move |server| serve(server, mode));
    certify([
        chat_conformance::Mechanism::new(target("axum_hijack", UpgradeMode::Hijack)),
        chat_conformance::Mechanism::new(target("axum_framework", UpgradeMode::Framework))
            .deviation(
                "fragments::endless_empty_fragments_are_capped",
                "axum shows messages, not fragments, and its codec counts only their bytes",
            )
            .deviation(
                "close::a_reply_still_arrives_after_a_half_close",
                "axum's codec ends both directions when the peer ends one",
            )
            .deviation(
                "close::what_is_ahead_of_a_close_is_answered",
                "axum's codec sends nothing more once it has read a close frame",
            )
            .deviation(
                "close::a_breach_ends_in_a_clean_end_of_the_stream",
                "after a breach axum reads no more, so the peer's answer to the close causes a reset",
            )
            .deviation(
                "close::a_client_that_talks_on_after_its_close_can_read_the_echo",
                "after a close axum reads no more, so what the peer still sends causes a reset",
            ),
    ])
}

async fn serve(server: Mounted, mode: UpgradeMode) {
    let chat = server.endpoint.chat().clone();
    let app = Router::new()
        .merge(chat_axum::routes(server.endpoint.mode(mode)))
        .fallback(chat_axum::not_found)
        .layer(chat_axum::UpgradeLayer::new());
    // A server that cannot start serves no case.
    let _ended = chat_axum::serve(server.listener, app, &chat, server.stop).await;
}
