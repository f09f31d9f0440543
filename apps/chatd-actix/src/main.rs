//! The chat server on actix.

use std::process::ExitCode;

use actix_web::App;
use chat_core::Mechanism;
use chatd::Service;

fn main() -> ExitCode {
    chatd::run("chatd-actix", &[Mechanism::Hijack, Mechanism::Context], |service: Service| async {
        let stop = service.stopped();
        let Service { endpoint, mechanism, listener, limits, .. } = service;
        let app = move || chat_actix::mount(App::new(), endpoint.clone(), mechanism);
        chat_actix::serve(listener.into_std()?, app, &limits, stop).await
    })
}
