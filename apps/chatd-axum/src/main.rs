//! The chat server on axum.

use std::process::ExitCode;

use axum::Router;
use chat_core::UpgradeMode;
use chatd::Service;

#[global_allocator]
static ALLOCATOR: chatd::Allocator = chatd::Allocator;

fn main() -> ExitCode {
    chatd::run("chatd-axum", &[UpgradeMode::Hijack, UpgradeMode::Framework], |service: Service| async {
        let (chat, stop) = (service.endpoint.chat().clone(), service.stopped());
        let app = Router::new()
            .merge(chat_axum::routes(service.endpoint))
            .fallback(chat_axum::not_found)
            .layer(chat_axum::UpgradeLayer::new().hosts(service.hosts));
        chat_axum::serve_with(service.listener, service.options, app, &chat, stop).await
    })
}
