//! The program `chat-load`, run against real servers, faulty proxies and wrong echo servers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod faults;
mod page;
mod protocols;
mod scenarios;

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use chat_tests::{Adapter, Server};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

/// The time limit for a run. No run takes this long, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The result of a run.
struct Run {
    exit_code: Option<i32>,
    /// The content of standard output and standard error.
    output: String,
    report: Value,
}

/// A temporary file for a report.
struct ReportFile {
    dir: TempDir,
}

impl ReportFile {
    fn new() -> Result<Self> {
        Ok(Self { dir: TempDir::new()? })
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("report.json")
    }

    fn read(&self) -> Result<Value> {
        Ok(serde_json::from_slice(&fs::read(self.path())?)?)
    }
}

/// Returns a command that runs `chat-load` with these arguments, separated by spaces.
fn chat_load(arguments: &str) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_chat-load"));
    program.args(arguments.split_whitespace()).kill_on_drop(true).stdin(Stdio::null());
    program
}

/// Runs `chat-load` against a server and reads its report.
async fn run(url: &str, arguments: &str) -> Result<Run> {
    let file = ReportFile::new()?;
    let mut command = chat_load(arguments);
    let output = command.args(["--url", url, "--json"]).arg(file.path()).output();
    let output = timeout(PATIENCE, output).await.context("the run does not end")??;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let report = file.read().with_context(|| text.clone())?;
    Ok(Run { exit_code: output.status.code(), output: text, report })
}

async fn start_server() -> Result<Server> {
    Server::start_lifted(Adapter::Tungstenite).await
}

fn url(address: std::net::SocketAddr) -> String {
    format!("ws://{address}/ws")
}

/// Starts a server that replies to each text with the results of a function. Returns its URL.
async fn start_echo(reply: fn(String) -> Vec<String>) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = url(listener.local_addr()?);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut socket = accept_async(stream).await.unwrap();
                while let Some(Ok(Message::Text(text))) = socket.next().await {
                    for reply in reply(text.to_string()) {
                        if socket.send(Message::text(reply)).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    Ok(url)
}
