use std::net::SocketAddr;

use actix_web::App;
use anyhow::Result;
use chat_core::{Chat, Endpoint, Mechanism, Message};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// One way to a connection, of one adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adapter {
    /// hyper's connection, hijacked.
    Tungstenite,
    /// warp's.
    Warp(Mechanism),
    /// actix's.
    Actix(Mechanism),
    /// axum's.
    Axum(Mechanism),
}

/// Every way of every adapter.
pub const ADAPTERS: [Adapter; 7] = [
    Adapter::Tungstenite,
    Adapter::Warp(Mechanism::Hijack),
    Adapter::Warp(Mechanism::Context),
    Adapter::Actix(Mechanism::Hijack),
    Adapter::Actix(Mechanism::Context),
    Adapter::Axum(Mechanism::Hijack),
    Adapter::Axum(Mechanism::Context),
];

/// A server in this process; it stops when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Server {
    /// Serves a chat on a free port.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub async fn start<M: Message>(adapter: Adapter, chat: &Chat<M>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let limits = chat.limits().clone();
        let endpoint = Endpoint::new(chat.clone());
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            // Dropping the sender is how it is told.
            let _dropped = stopped.await.is_err();
        };
        match adapter {
            Adapter::Tungstenite => {
                let service = chat_tungstenite::mount(endpoint, chat_tungstenite::NotFound);
                tokio::spawn(
                    async move { chat_tungstenite::serve(listener, service, &limits, stopped).await },
                );
            }
            Adapter::Warp(mechanism) => {
                let service = chat_warp::mount(endpoint, mechanism, chat_warp::not_found());
                tokio::spawn(async move { chat_warp::serve(listener, service, &limits, stopped).await });
            }
            Adapter::Actix(mechanism) => {
                let listener = listener.into_std()?;
                let app = move || chat_actix::mount(App::new(), endpoint.clone(), mechanism);
                tokio::spawn(async move { chat_actix::serve(listener, app, &limits, stopped).await });
            }
            Adapter::Axum(mechanism) => {
                let service = chat_axum::mount(endpoint, mechanism, chat_axum::not_found());
                tokio::spawn(async move { chat_axum::serve(listener, service, &limits, stopped).await });
            }
        }
        Ok(Self { address, _stop: stop })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
