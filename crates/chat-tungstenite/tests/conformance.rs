//! The suite of `chat-conformance` on the hijacked connection.

use std::process::ExitCode;

use chat_conformance::{InProcess, Mechanism, Mounted, certify};

fn main() -> ExitCode {
    certify([Mechanism::new(InProcess::new("tungstenite_hijack", serve))])
}

async fn serve(server: Mounted) {
    let chat = server.endpoint.chat().clone();
    let app = chat_tungstenite::UpgradeLayer::new().layer(chat_tungstenite::routes(server.endpoint));
    // A server that cannot start serves no case.
    let _ended = chat_tungstenite::serve(server.listener, app, &chat, server.stop).await;
}
