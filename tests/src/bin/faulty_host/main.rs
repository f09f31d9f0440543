//! A chat server whose host makes a mistake with an upgrade if the header `X-Fault` of the request names one. The environment
//! variable `ADAPTER` selects the adapter. The options are those of the chat binaries.

mod actix;
mod tower;

use std::env;
use std::process::ExitCode;

use actix_web::App;
use chat_core::Mechanism;
use chat_tests::HostFault;
use chatd::Service;
use clap::ValueEnum;

const BOTH: [Mechanism; 2] = [Mechanism::Hijack, Mechanism::Context];

fn main() -> ExitCode {
    match env::var("ADAPTER").as_deref() {
        Ok("tungstenite") => chatd::run("faulty_host", &BOTH[..1], |service: Service| async {
            let stop = service.stopped();
            let Service { endpoint, listener, limits, .. } = service;
            let chat = chat_tungstenite::route(endpoint.clone(), chat_tungstenite::NotFound);
            let host = chat_hyper::outermost(tower::Host { chat, endpoint });
            chat_hyper::serve(listener, host, &limits, stop).await;
            Ok(())
        }),
        Ok("warp") => chatd::run("faulty_host", &BOTH, |service: Service| async {
            let stop = service.stopped();
            let Service { endpoint, mechanism, listener, limits, .. } = service;
            let chat = warp::service(chat_warp::routes(endpoint.clone(), mechanism));
            let host = chat_hyper::outermost(tower::Host { chat, endpoint });
            chat_hyper::serve(listener, host, &limits, stop).await;
            Ok(())
        }),
        Ok("axum") => chatd::run("faulty_host", &BOTH, |service: Service| async {
            let stop = service.stopped();
            let Service { endpoint, mechanism, listener, limits, .. } = service;
            let chat = chat_axum::routes(endpoint.clone(), mechanism, chat_axum::not_found());
            let host = chat_hyper::outermost(tower::Host { chat, endpoint });
            chat_hyper::serve(listener, host, &limits, stop).await;
            Ok(())
        }),
        Ok("actix") => chatd::run("faulty_host", &BOTH, |service: Service| async {
            let stop = service.stopped();
            let Service { endpoint, mechanism, listener, limits, .. } = service;
            let app = move || {
                let chat = App::new().service(chat_actix::routes(endpoint.clone(), mechanism));
                chat.wrap(actix::host(endpoint.clone())).wrap(chat_actix::outermost())
            };
            chat_actix::serve(listener.into_std()?, app, &limits, stop).await
        }),
        other => panic!("unknown ADAPTER {other:?}"),
    }
}

/// The body that a faulty host writes, possibly into a connection that it no longer owns.
const JSON: &str = r#"{"error":"connection closed"}"#;

fn fault(header: Option<&[u8]>) -> Option<HostFault> {
    header.map(|name| HostFault::from_str(&String::from_utf8_lossy(name), false).expect("a known fault"))
}
