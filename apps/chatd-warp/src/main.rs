//! The chat server on warp.

use std::process::ExitCode;

use chat_core::UpgradeMode;
use chatd::Service;
use warp::Filter;

#[global_allocator]
static ALLOCATOR: chatd::Allocator = chatd::Allocator;

fn main() -> ExitCode {
    chatd::run("chatd-warp", &[UpgradeMode::Hijack, UpgradeMode::Framework], |service: Service| async {
        let (chat, stop) = (service.endpoint.chat().clone(), service.stopped());
        let routes = chat_warp::routes(service.endpoint).or(chat_warp::not_found());
        let app = chat_warp::UpgradeLayer::new().hosts(service.hosts).layer(warp::service(routes));
        chat_warp::serve_with(service.listener, service.options, app, &chat, stop).await
    })
}
