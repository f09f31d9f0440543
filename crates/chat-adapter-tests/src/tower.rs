use std::convert::Infallible;
use std::error::Error;
use std::future::pending;

use bytes::Bytes;
use chat_adapter::{UpgradeLayer, serve};
use chat_core::Chat;
use http::{Request, Response, StatusCode};
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::Service;
use tower::util::{MapRequest, MapResponse};

use crate::{Account, Host};

/// Serves a tower service with the layers and the server of `host`.
pub async fn serve_tower<S, B>(host: Host, service: S, chat: &Chat, listener: TcpListener)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let layer = UpgradeLayer::new();
    match host {
        Host::Plain | Host::Nested => serve(listener, layer.layer(service), chat, pending()).await,
        Host::NoLayer => serve(listener, service, chat, pending()).await,
        Host::ChangedStatus => {
            let service = MapResponse::new(service, change_status);
            serve(listener, layer.layer(service), chat, pending()).await
        }
        Host::LayerTwice => {
            let service = MapResponse::new(layer.layer(service), change_status);
            serve(listener, layer.layer(service), chat, pending()).await
        }
        Host::TakenConnection => {
            let service = MapRequest::new(service, take_connection);
            serve(listener, layer.layer(service), chat, pending()).await
        }
        Host::Accounts => {
            let service = MapRequest::new(service, add_account);
            serve(listener, layer.layer(service), chat, pending()).await
        }
        Host::OwnServer => {
            let service = TowerToHyperService::new(layer.layer(service));
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = service.clone();
                tokio::spawn(async move {
                    let builder = auto::Builder::new(TokioExecutor::new());
                    builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await
                });
            }
        }
    }
    .unwrap();
}

fn change_status<B>(mut response: Response<B>) -> Response<B> {
    *response.status_mut() = StatusCode::OK;
    response
}

fn take_connection(mut request: Request<Incoming>) -> Request<Incoming> {
    request.extensions_mut().remove::<OnUpgrade>().unwrap();
    request
}

/// Puts the account of a request into its extensions, as the login of a host does.
pub fn add_account<B>(mut request: Request<B>) -> Request<B> {
    let account = request.headers().get("x-account").map(|id| Account::of_header(id.as_bytes()));
    if let Some(account) = account {
        request.extensions_mut().insert(account);
    }
    request
}
