//! The suite of `chat-conformance` on the hijacked connection.

use std::process::ExitCode;

use chat_conformance::{InProcess, Mechanism, Mounted, certify};
use chat_tungstenite::NotFound;

fn main() -> ExitCode {
    certify([Mechanism::new(InProcess::new("tungstenite_hijack", serve))])
}

async fn serve(server: Mounted) {
    let service = chat_tungstenite::mount(server.endpoint, NotFound);
    chat_tungstenite::serve(server.listener, service, &server.limits, server.stop).await;
}
