use std::io;
use std::net::SocketAddr;

use actix_web::{App, web};
use anyhow::Result;
use axum::Router;
use chat_adapter::UpgradeLayer;
use chat_core::{Chat, Endpoint, Limits, RateLimits, UpgradeMode};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use warp::Filter;

/// An adapter with one of its upgrade modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adapter {
    /// The adapter for plain hyper, which always hijacks the connection.
    Tungstenite,
    /// The adapter for warp.
    Warp(UpgradeMode),
    /// The adapter for actix-web.
    Actix(UpgradeMode),
    /// The adapter for axum.
    Axum(UpgradeMode),
}

/// Every adapter with each of its upgrade modes.
pub const ADAPTERS: [Adapter; 7] = [
    Adapter::Tungstenite,
    Adapter::Warp(UpgradeMode::Hijack),
    Adapter::Warp(UpgradeMode::Framework),
    Adapter::Actix(UpgradeMode::Hijack),
    Adapter::Actix(UpgradeMode::Framework),
    Adapter::Axum(UpgradeMode::Hijack),
    Adapter::Axum(UpgradeMode::Framework),
];

impl Adapter {
    /// Returns the name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tungstenite => "tungstenite_hijack",
            Self::Warp(UpgradeMode::Hijack) => "warp_hijack",
            Self::Warp(UpgradeMode::Framework) => "warp_framework",
            Self::Actix(UpgradeMode::Hijack) => "actix_hijack",
            Self::Actix(UpgradeMode::Framework) => "actix_framework",
            Self::Axum(UpgradeMode::Hijack) => "axum_hijack",
            Self::Axum(UpgradeMode::Framework) => "axum_framework",
            _ => "unknown",
        }
    }

    /// Serves a chat until `stop` is ready.
    ///
    /// # Errors
    ///
    /// The error of an adapter that cannot start.
    pub async fn serve(
        self,
        listener: TcpListener,
        endpoint: Endpoint,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let chat = endpoint.chat().clone();
        match self {
            Self::Tungstenite => {
                let service = UpgradeLayer::new().layer(chat_tungstenite::routes(endpoint));
                chat_tungstenite::serve(listener, service, &chat, stop).await
            }
            Self::Warp(mode) => {
                let routes = chat_warp::routes(endpoint.mode(mode)).or(chat_warp::not_found());
                let service = UpgradeLayer::new().layer(warp::service(routes));
                chat_warp::serve(listener, service, &chat, stop).await
            }
            Self::Actix(mode) => {
                let endpoint = endpoint.mode(mode);
                let app = move || {
                    App::new()
                        .configure(chat_actix::routes(endpoint.clone()))
                        .default_service(web::to(chat_actix::not_found))
                        .wrap(chat_actix::UpgradeLayer::new())
                };
                chat_actix::serve(listener, app, &chat, stop).await
            }
            Self::Axum(mode) => {
                let router = Router::new()
                    .merge(chat_axum::routes(endpoint.mode(mode)))
                    .fallback(chat_axum::not_found)
                    .layer(UpgradeLayer::new());
                chat_axum::serve(listener, router, &chat, stop).await
            }
        }
    }
}

/// A server in this process. It stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Server {
    /// Serves a chat without the limits of one client on a free port, for load that comes from a few connections on
    /// purpose.
    pub async fn start_lifted(adapter: Adapter) -> Result<Self> {
        let limits = Limits::default().with(|limits| {
            limits.rates = RateLimits::unlimited();
            limits.connection.max_per_user = 0;
            limits.connection.max_per_address = 0;
        });
        Self::start(adapter, &Chat::builder().limits(limits).build()).await
    }

    /// Serves a chat on a free port.
    pub async fn start(adapter: Adapter, chat: &Chat) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let endpoint = Endpoint::new(chat.clone());
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            // Dropping the sender stops the server.
            let _dropped = stopped.await.is_err();
        };
        tokio::spawn(async move { adapter.serve(listener, endpoint, stopped).await });
        Ok(Self { address, _stop: stop })
    }

    /// Returns the address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
