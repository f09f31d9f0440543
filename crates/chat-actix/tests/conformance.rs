//! The suite of `chat-conformance` in both modes.

use std::process::ExitCode;

use actix_web::{App, web};
use chat_conformance::{InProcess, Mounted, certify};
use chat_core::UpgradeMode;

fn main() -> ExitCode {
    let target = |name, mode| InProcess::new(name, move |server| serve(server, mode));
    let mechanism = |name, mode| {
        chat_conformance::Mechanism::new(target(name, mode))
            .deviation(
                "handshake::an_upgrade_header_with_several_protocols_is_accepted",
                "actix's parser takes a request for an upgrade only if its `Upgrade` is the bare word",
            )
            .deviation(
                "refusal::a_missing_host_is_refused",
                "actix's parser answers 400 itself, without a body",
            )
            .deviation(
                "http::a_pipelined_head_request_is_answered_without_a_body",
                "actix decides about the body of an answer by the method of the last request that it has parsed",
            )
    };
    certify([
        mechanism("actix_hijack", UpgradeMode::Hijack),
        mechanism("actix_framework", UpgradeMode::Framework).deviation(
            "utf8::invalid_utf_8_is_refused_in_its_own_fragment",
            "actix-ws checks text at the end of its message",
        ),
    ])
}

async fn serve(server: Mounted, mode: UpgradeMode) {
    let endpoint = server.endpoint.mode(mode);
    let chat = endpoint.chat().clone();
    let app = move || {
        App::new()
            .configure(chat_actix::routes(endpoint.clone()))
            .default_service(web::to(chat_actix::not_found))
            .wrap(chat_actix::UpgradeLayer::new())
    };
    // A server that cannot start serves no case.
    let _ended = chat_actix::serve(server.listener, app, &chat, server.stop).await;
}
