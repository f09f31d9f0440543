//! A chat server whose host makes a mistake with an upgrade if the header `X-Fault` of the request names one. The
//! environment variable `ADAPTER` selects the adapter. The options are those of the chat binaries.

mod actix;
mod tower;

use std::convert::Infallible;
use std::process::ExitCode;
use std::{env, io};

use actix_web::{App, web};
use chat_core::UpgradeMode;
use chat_tests::HostFault;
use chatd::Service;
use clap::ValueEnum;
use http::{Request, Response};
use tower_service::Service as TowerService;
use warp::Filter;

const BOTH: [UpgradeMode; 2] = [UpgradeMode::Hijack, UpgradeMode::Framework];

fn main() -> ExitCode {
    match env::var("ADAPTER").as_deref() {
        Ok("tungstenite") => chatd::run("faulty_host", &BOTH[..1], |service: Service| async {
            let endpoint = service.endpoint.clone();
            serve(service, chat_tungstenite::routes(endpoint)).await
        }),
        Ok("warp") => chatd::run("faulty_host", &BOTH, |service: Service| async {
            let routes = chat_warp::routes(service.endpoint.clone()).or(chat_warp::not_found());
            serve(service, warp::service(routes)).await
        }),
        Ok("axum") => chatd::run("faulty_host", &BOTH, |service: Service| async {
            let routes = chat_axum::routes(service.endpoint.clone());
            serve(service, routes.fallback(chat_axum::not_found)).await
        }),
        Ok("actix") => chatd::run("faulty_host", &BOTH, |service: Service| async {
            let stop = service.stopped();
            let (endpoint, chat) = (service.endpoint.clone(), service.endpoint.chat().clone());
            let app = move || {
                App::new()
                    .configure(chat_actix::routes(endpoint.clone()))
                    .default_service(web::to(chat_actix::not_found))
                    .wrap(actix::host(endpoint.clone()))
                    .wrap(chat_actix::UpgradeLayer::new())
            };
            chat_actix::serve(service.listener, app, &chat, stop).await
        }),
        other => panic!("unknown ADAPTER {other:?}"),
    }
}

/// Serves the chat inside a faulty host.
async fn serve<S, B>(service: Service, chat: S) -> io::Result<()>
where
    S: TowerService<Request<hyper::body::Incoming>, Response = Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: hyper::body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stop = service.stopped();
    let Service { endpoint, listener, .. } = service;
    let handle = endpoint.chat().clone();
    let host = chat_adapter::UpgradeLayer::new().layer(tower::Host { chat, endpoint });
    chat_adapter::serve(listener, host, &handle, stop).await
}

/// The body that a faulty host writes, possibly into a connection that it no longer owns.
const JSON: &str = r#"{"error":"connection closed"}"#;

fn fault(header: Option<&[u8]>) -> Option<HostFault> {
    header.map(|name| HostFault::from_str(&String::from_utf8_lossy(name), false).expect("a known fault"))
}
