//! The chat server on hijacked connections: hyper and tungstenite.

use std::process::ExitCode;

use chat_core::Mechanism;
use chatd::Service;

fn main() -> ExitCode {
    chatd::run("chatd-tungstenite", &[Mechanism::Hijack], |service: Service| async {
        let stop = service.stopped();
        let Service { endpoint, listener, limits, .. } = service;
        let service = chat_tungstenite::mount(endpoint, chat_tungstenite::NotFound);
        chat_tungstenite::serve(listener, service, &limits, stop).await;
        Ok(())
    })
}
