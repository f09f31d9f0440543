use std::net::SocketAddr;
use std::time::Duration;

use chat_core::{Chat, Endpoint, Limits, UpgradeMode};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use crate::peer::{HEAD, Peer};

/// A server of a chat that runs until the end of the test.
#[derive(Debug)]
pub struct Server {
    /// The address on which it listens.
    pub address: SocketAddr,
    /// The chat.
    pub chat: Chat,
}

/// Returns limits with short timeouts.
pub fn quick_limits() -> Limits {
    Limits::default().with(|limits| {
        limits.connection.close_timeout = Duration::from_millis(200);
        limits.connection.write_timeout = Duration::from_millis(300);
        limits.http.upgrade_timeout = Duration::from_millis(200);
    })
}

/// Awaits `future`, and fails the test after 30 s.
pub async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), future).await.unwrap()
}

impl Server {
    /// Starts a server that `serve` runs.
    pub async fn start<F>(
        limits: Limits,
        mode: UpgradeMode,
        serve: impl FnOnce(Endpoint, TcpListener) -> F,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let chat = Chat::builder().limits(limits).build();
        Self::start_chat(chat, |chat, listener| serve(Endpoint::new(chat).mode(mode), listener)).await
    }

    /// Starts a server of a chat of the host's own.
    pub async fn start_chat<F>(chat: Chat, serve: impl FnOnce(Chat, TcpListener) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(chat.clone(), listener));
        Self { address, chat }
    }

    /// Sends `bytes`, a request and perhaps more, on a new connection.
    pub async fn send(&self, bytes: impl AsRef<[u8]>) -> Peer<TcpStream> {
        Peer::send_first(self.address, bytes.as_ref()).await
    }

    /// Returns a connection that is upgraded and welcomed.
    pub async fn connect(&self) -> Peer<TcpStream> {
        let mut peer = self.send(HEAD).await;
        peer.assert_status(101).await;
        assert_eq!(peer.event().await["type"], "welcome");
        peer
    }

    /// Sends a GET request.
    pub async fn get(&self, path: &str) -> Peer<TcpStream> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: chat.test\r\n\r\n")).await
    }

    /// Waits until the chat has no connection and no session. It polls, because the chat does not report their end.
    pub async fn closed(&self) {
        in_time(async {
            while self.chat.counts().connections > 0 || self.chat.counts().sessions > 0 {
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }
}
