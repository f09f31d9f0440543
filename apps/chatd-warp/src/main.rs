//! The chat server on warp.

use std::process::ExitCode;

use chat_core::Mechanism;
use chatd::Service;

fn main() -> ExitCode {
    chatd::run("chatd-warp", &[Mechanism::Hijack, Mechanism::Context], |service: Service| async {
        let stop = service.stopped();
        let Service { endpoint, mechanism, listener, limits, .. } = service;
        let service = chat_warp::mount(endpoint, mechanism, chat_warp::not_found());
        chat_warp::serve(listener, service, &limits, stop).await;
        Ok(())
    })
}
