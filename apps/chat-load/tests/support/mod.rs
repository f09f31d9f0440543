//! A real server, the program, and what stands between them.

#![expect(dead_code, reason = "each test takes what it needs")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

pub(crate) mod proxy;

use std::future::pending;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Output;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use chat_core::{Chat, Endpoint};
use chat_tungstenite::NotFound;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

/// Longer than anything here takes on a busy machine: a bound, not a measure.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) async fn within<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("nothing happened for two minutes")
}

pub(crate) async fn until(mut happened: impl FnMut() -> bool) {
    within(async {
        while !happened() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// A chat server in this process.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let chat: Chat = Chat::default();
        let limits = chat.limits().clone();
        let service = chat_tungstenite::mount(Endpoint::new(chat), NotFound);
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            chat_tungstenite::serve(listener, service, &limits, pending()).await;
        });
        Self { address, runtime: Some(runtime) }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/ws", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pub(crate) fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_chat-load"));
    program.kill_on_drop(true).stdin(std::process::Stdio::null());
    program
}

/// A place for a report that no other test uses.
pub(crate) fn report_file() -> PathBuf {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("chat-load-test-{}-{number}.json", std::process::id()))
}

/// Runs the program to its end: how it ended, and its report.
pub(crate) async fn chat_load(url: &str, arguments: &[&str]) -> Result<(Output, Value)> {
    let json = report_file();
    let output = program().args(arguments).args(["--url", url, "--json"]).arg(&json).output();
    let output = within(output).await?;
    let report =
        std::fs::read(&json).with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    std::fs::remove_file(json)?;
    Ok((output, serde_json::from_slice(&report)?))
}

/// A server that answers each text with what `answer` makes of it.
pub(crate) async fn echo(answer: fn(String) -> Vec<String>) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}/ws", listener.local_addr()?);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut socket = accept_async(stream).await.unwrap();
                while let Some(Ok(Message::Text(text))) = socket.next().await {
                    for answer in answer(text.to_string()) {
                        if socket.send(Message::text(answer)).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    Ok(url)
}
