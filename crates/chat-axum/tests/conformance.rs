//! The suite of `chat-conformance` on both mechanisms.

use std::process::ExitCode;

use chat_conformance::{InProcess, Mounted, certify};
use chat_core::Mechanism;

fn main() -> ExitCode {
    let target = |name, mechanism| InProcess::new(name, move |server| serve(server, mechanism));
    certify([
        chat_conformance::Mechanism::new(target("axum_hijack", Mechanism::Hijack)),
        chat_conformance::Mechanism::new(target("axum_context", Mechanism::Context))
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

async fn serve(server: Mounted, mechanism: Mechanism) {
    let service = chat_axum::mount(server.endpoint, mechanism, chat_axum::not_found());
    chat_axum::serve(server.listener, service, &server.limits, server.stop).await;
}
