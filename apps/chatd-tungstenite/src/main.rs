//! The chat server on plain hyper and tungstenite.

use std::process::ExitCode;

use chat_core::UpgradeMode;
use chatd::Service;

#[global_allocator]
static ALLOCATOR: chatd::Allocator = chatd::Allocator;

fn main() -> ExitCode {
    chatd::run("chatd-tungstenite", &[UpgradeMode::Hijack], |service: Service| async {
        let (chat, stop) = (service.endpoint.chat().clone(), service.stopped());
        let layer = chat_tungstenite::UpgradeLayer::new().hosts(service.hosts);
        let app = layer.layer(chat_tungstenite::routes(service.endpoint));
        chat_tungstenite::serve_with(service.listener, service.options, app, &chat, stop).await
    })
}
