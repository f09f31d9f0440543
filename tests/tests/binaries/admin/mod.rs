//! The admin listener, and the metrics that it serves.

mod calls;
mod metrics;
mod schema;
mod tickets;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Mutex;

use anyhow::{Context, Result};
use chat_tests::{Binary, Daemon, eventually, exchange};
use serde_json::Value;
use tempfile::NamedTempFile;

const TOKEN: &str = "0123456789-a-token-of-the-tests";

/// A server with an admin listener.
pub(crate) struct Server {
    pub(crate) daemon: Daemon,
    admin: SocketAddr,
    _token: NamedTempFile,
}

/// A response of the admin listener.
#[derive(Debug)]
pub(crate) struct Reply {
    status: u16,
    head: String,
    pub(crate) body: String,
}

impl Server {
    pub(crate) async fn start(binary: Binary, arguments: &[&str]) -> Result<Self> {
        let mut token = NamedTempFile::new()?;
        writeln!(token, "{TOKEN}")?;
        let path = token.path().to_str().context("a path in UTF-8")?;
        let admin = ["--admin", "127.0.0.1:0", "--admin-token", path];
        let daemon = Daemon::start(binary, &[&admin, arguments].concat())?;
        let address = Mutex::new(None);
        eventually(|| async {
            let log = daemon.log_lines(0)?;
            let line = log.iter().find(|line| line["message"] == "admin listening");
            let found = line.and_then(|line| line["address"].as_str()?.parse().ok());
            *address.lock().expect("no panic") = found;
            Ok(found.is_some())
        })
        .await?;
        let admin = address.into_inner()?.context("an address")?;
        Ok(Self { daemon, admin, _token: token })
    }

    /// Makes a call with the token.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Result<Reply> {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.request(method, path, &format!("Authorization: Bearer {TOKEN}\r\n"), &body).await
    }

    async fn request(&self, method: &str, path: &str, headers: &str, body: &str) -> Result<Reply> {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        );
        let answer = String::from_utf8(exchange(self.admin, request.as_bytes()).await?)?;
        let (head, body) = answer.split_once("\r\n\r\n").with_context(|| answer.clone())?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok(Reply { status, head: head.to_lowercase(), body: body.to_owned() })
    }
}

impl Reply {
    fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("{self:?}"))
    }
}
