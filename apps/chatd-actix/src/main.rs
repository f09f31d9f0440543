//! The chat server on actix.

use std::process::ExitCode;

use actix_web::{App, web};
use chat_core::UpgradeMode;
use chatd::Service;

#[global_allocator]
static ALLOCATOR: chatd::Allocator = chatd::Allocator;

fn main() -> ExitCode {
    chatd::run("chatd-actix", &[UpgradeMode::Hijack, UpgradeMode::Framework], |service: Service| async {
        let (chat, stop) = (service.endpoint.chat().clone(), service.stopped());
        let (endpoint, layer) = (service.endpoint, chat_actix::UpgradeLayer::new().hosts(service.hosts));
        let app = move || {
            App::new()
                .configure(chat_actix::routes(endpoint.clone()))
                .default_service(web::to(chat_actix::not_found))
                .wrap(layer.clone())
        };
        chat_actix::serve_with(service.listener, service.options, app, &chat, stop).await
    })
}
