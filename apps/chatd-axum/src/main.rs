//! The chat server on axum.

use std::process::ExitCode;

use chat_core::Mechanism;
use chatd::Service;

fn main() -> ExitCode {
    chatd::run("chatd-axum", &[Mechanism::Hijack, Mechanism::Context], |service: Service| async {
        let stop = service.stopped();
        let Service { endpoint, mechanism, listener, limits, .. } = service;
        let service = chat_axum::mount(endpoint, mechanism, chat_axum::not_found());
        chat_axum::serve(listener, service, &limits, stop).await;
        Ok(())
    })
}
