//! The suite of `chat-conformance` on both mechanisms.

use std::process::ExitCode;

use actix_web::App;
use chat_conformance::{InProcess, Mounted, certify};
use chat_core::Mechanism;

fn main() -> ExitCode {
    let target = |name, mechanism| InProcess::new(name, move |server| serve(server, mechanism));
    let mechanism = |name, mechanism| {
        chat_conformance::Mechanism::new(target(name, mechanism))
            .deviation(
                "handshake::an_upgrade_header_with_several_protocols_is_accepted",
                "actix's parser takes a request for an upgrade only if its `Upgrade` is the bare word",
            )
            .deviation(
                "refusal::a_missing_host_is_refused",
                "actix's parser answers 400 itself, without a body",
            )
    };
    certify([
        mechanism("actix_hijack", Mechanism::Hijack),
        mechanism("actix_context", Mechanism::Context).deviation(
            "utf8::invalid_utf_8_is_refused_in_its_own_fragment",
            "actix-ws checks text at the end of its message",
        ),
    ])
}

async fn serve(server: Mounted, mechanism: Mechanism) {
    let Mounted { endpoint, listener, limits, stop } = server;
    let app = move || chat_actix::mount(App::new(), endpoint.clone(), mechanism);
    // A server that cannot start serves no case.
    if let Ok(listener) = listener.into_std() {
        let _ended = chat_actix::serve(listener, app, &limits, stop).await;
    }
}
