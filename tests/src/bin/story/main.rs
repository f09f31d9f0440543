//! A chat server whose host does with the chat's answers what the story's did, where a request asks for it in
//! `x-fault`. `ADAPTER` says on what it runs; otherwise it is as the chat binaries are.

mod actix;
mod tower;

use std::env;
use std::process::ExitCode;

use actix_web::App;
use chat_core::Mechanism;
use chat_tests::Fault;
use chatd::Service;

const BOTH: [Mechanism; 2] = [Mechanism::Hijack, Mechanism::Context];

fn main() -> ExitCode {
    match env::var("ADAPTER").as_deref() {
        Ok("tungstenite") => chatd::run("story", &BOTH[..1], |service: Service| async {
            let stop = service.stopped();
            let Service { endpoint, listener, limits, .. } = service;
            let chat = chat_tungstenite::route(endpoint.clone(), chat_tungstenite::NotFound);
            let host = chat_hyper::outermost(tower::Host { chat, endpoint });
            chat_hyper::serve(listener, host, &limits, stop).await;
            Ok(())
        }),
        Ok("warp") => chatd::run("story", &BOTH, |service: Service| async {
            let stop = service.stopped();
            let Service { endpoint, mechanism, listener, limits, .. } = service;
            let chat = warp::service(chat_warp::routes(endpoint.clone(), mechanism));
            let host = chat_hyper::outermost(tower::Host { chat, endpoint });
            chat_hyper::serve(listener, host, &limits, stop).await;
            Ok(())
        }),
        Ok("axum") => chatd::run("story", &BOTH, |service: Service| async {
            let stop = service.stopped();
            let Service { endpoint, mechanism, listener, limits, .. } = service;
            let chat = chat_axum::routes(endpoint.clone(), mechanism, chat_axum::not_found());
            let host = chat_hyper::outermost(tower::Host { chat, endpoint });
            chat_hyper::serve(listener, host, &limits, stop).await;
            Ok(())
        }),
        Ok("actix") => chatd::run("story", &BOTH, |service: Service| async {
            let stop = service.stopped();
            let Service { endpoint, mechanism, listener, limits, .. } = service;
            let app = move || {
                let chat = App::new().service(chat_actix::routes(endpoint.clone(), mechanism));
                chat.wrap(actix::host(endpoint.clone())).wrap(chat_actix::outermost())
            };
            chat_actix::serve(listener.into_std()?, app, &limits, stop).await
        }),
        other => panic!("no adapter is {other:?}"),
    }
}

/// The body that the story's handler wrote into a connection which was no longer its own.
const JSON: &str = r#"{"error":"connection closed"}"#;

fn fault(header: Option<&[u8]>) -> Option<Fault> {
    header.map(|name| Fault::named(name).expect("the fault of a test"))
}
