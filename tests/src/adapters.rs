use std::net::SocketAddr;

use actix_web::App;
use anyhow::Result;
use chat_core::{Chat, Endpoint, Limits, Mechanism, Message, Text};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// An adapter with one of its upgrade modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adapter {
    /// The adapter for plain hyper, which always hijacks the connection.
    Tungstenite,
    /// The adapter for warp.
    Warp(Mechanism),
    /// The adapter for actix-web.
    Actix(Mechanism),
    /// The adapter for axum.
    Axum(Mechanism),
}

/// Every adapter with each of its upgrade modes.
pub const ADAPTERS: [Adapter; 7] = [
    Adapter::Tungstenite,
    Adapter::Warp(Mechanism::Hijack),
    Adapter::Warp(Mechanism::Context),
    Adapter::Actix(Mechanism::Hijack),
    Adapter::Actix(Mechanism::Context),
    Adapter::Axum(Mechanism::Hijack),
    Adapter::Axum(Mechanism::Context),
];

impl Adapter {
    /// Returns the name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tungstenite => "tungstenite_hijack",
            Self::Warp(Mechanism::Hijack) => "warp_hijack",
            Self::Warp(Mechanism::Context) => "warp_context",
            Self::Actix(Mechanism::Hijack) => "actix_hijack",
            Self::Actix(Mechanism::Context) => "actix_context",
            Self::Axum(Mechanism::Hijack) => "axum_hijack",
            Self::Axum(Mechanism::Context) => "axum_context",
        }
    }

    /// Serves a chat until `stop` is ready.
    pub async fn serve<M: Message>(
        self,
        listener: TcpListener,
        endpoint: Endpoint<M>,
        limits: &Limits,
        stop: impl Future<Output = ()> + Send + 'static,
    ) {
        match self {
            Self::Tungstenite => {
                let service = chat_tungstenite::mount(endpoint, chat_tungstenite::NotFound);
                chat_tungstenite::serve(listener, service, limits, stop).await;
            }
            Self::Warp(mechanism) => {
                let service = chat_warp::mount(endpoint, mechanism, chat_warp::not_found());
                chat_warp::serve(listener, service, limits, stop).await;
            }
            Self::Actix(mechanism) => {
                let app = move || chat_actix::mount(App::new(), endpoint.clone(), mechanism);
                // A test notices a server that did not start: it cannot connect.
                if let Ok(listener) = listener.into_std() {
                    let _ended = chat_actix::serve(listener, app, limits, stop).await;
                }
            }
            Self::Axum(mechanism) => {
                let service = chat_axum::mount(endpoint, mechanism, chat_axum::not_found());
                chat_axum::serve(listener, service, limits, stop).await;
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
    /// Serves a chat with the default limits on a free port.
    pub async fn with_defaults(adapter: Adapter) -> Result<Self> {
        Self::start(adapter, &Chat::<Text>::default()).await
    }

    /// Serves a chat on a free port.
    pub async fn start<M: Message>(adapter: Adapter, chat: &Chat<M>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let limits = chat.limits().clone();
        let endpoint = Endpoint::new(chat.clone());
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            // Dropping the sender stops the server.
            let _dropped = stopped.await.is_err();
        };
        tokio::spawn(async move { adapter.serve(listener, endpoint, &limits, stopped).await });
        Ok(Self { address, _stop: stop })
    }

    /// Returns the address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
