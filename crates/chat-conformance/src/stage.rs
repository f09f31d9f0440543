#![expect(clippy::missing_errors_doc, reason = "each fails if the server does something else")]

use std::cell::Cell;

use chat_core::Limits;
use serde_json::Value;

use crate::client::{Client, Line, Request, accept, key};
use crate::target::Server;
use crate::transcript::Direction;
use crate::{Failure, Transcript};

/// What a case plays on: one server, and as many clients as it wants.
#[derive(Debug)]
pub struct Stage {
    server: Server,
    transcript: Transcript,
    /// Set apart from the other cases on the same server: part of each name.
    tag: String,
    keys: Cell<u64>,
}

impl Stage {
    /// A stage with a server. `tag` keeps its rooms and users apart from others on the same server.
    pub fn new(server: Server, transcript: Transcript, tag: String) -> Self {
        Self { server, transcript, tag, keys: Cell::new(0) }
    }

    /// The limits of the server, or the protocol's if those are not known.
    pub fn limits(&self) -> &Limits {
        &self.server.limits
    }

    /// The room of the case.
    pub fn room(&self) -> String {
        self.named("lobby")
    }

    /// A name that is this case's own.
    pub fn named(&self, name: &str) -> String {
        format!("{name}{}", self.tag)
    }

    /// Tells the transcript what goes on.
    pub fn note(&self, what: &str) {
        self.transcript.record("stage", Direction::Noted, what, &[]);
    }

    /// A complete, valid handshake for a guest.
    pub fn handshake(&self, name: &str) -> Request {
        self.keys.set(self.keys.get() + 1);
        Request::get(&format!("{}?name={}", self.server.path, self.named(name)))
            .add("Host", &self.server.host)
            .add("Upgrade", "websocket")
            .add("Connection", "Upgrade")
            .add("Sec-WebSocket-Version", "13")
            .add("Sec-WebSocket-Key", &key(self.keys.get()))
            .add("Sec-WebSocket-Protocol", "chat.v1")
    }

    /// The path of the chat.
    pub fn path(&self) -> &str {
        &self.server.path
    }

    /// The host that requests name.
    pub fn host(&self) -> &str {
        &self.server.host
    }

    /// A TCP connection on which nothing has been sent.
    pub async fn connect(&self, name: &str) -> Result<Client, Failure> {
        Client::connect(self.server.address, name.to_owned(), self.transcript.clone(), false).await
    }

    /// A connection whose handshake this is, once it was accepted and the welcome has come.
    pub async fn accepted(&self, name: &str, request: &Request) -> Result<Client, Failure> {
        let mut client = self.connect(name).await?;
        client.write(&request.encode()).await?;
        self.expect_101(&mut client, request).await?;
        client.expect_welcome().await?;
        Ok(client)
    }

    /// Reads the 101 to a handshake and checks it.
    pub async fn expect_101(&self, client: &mut Client, request: &Request) -> Result<(), Failure> {
        let mut answer = client.answer().await?;
        if answer.status == 100 {
            answer = client.answer().await?;
        }
        if answer.status != 101 {
            let body = String::from_utf8_lossy(&answer.body);
            let hint = if answer.status == 404 {
                format!(": is the chat at {}?", self.server.path)
            } else {
                String::new()
            };
            return Err(client.failure("the HTTP status 101", format!("\"{}\"{hint} {body}", answer.line)));
        }
        client.check_header(&answer, "upgrade", "websocket")?;
        client.check_header(&answer, "connection", "upgrade")?;
        let key = request.header("Sec-WebSocket-Key").unwrap_or_default();
        let came = answer.header("sec-websocket-accept");
        if came.as_deref() != Some(&*accept(key)) {
            let expected = format!("`Sec-WebSocket-Accept: {}`", accept(key));
            return Err(client.failure(expected, Line("Sec-WebSocket-Accept", came.as_deref())));
        }
        Ok(())
    }

    /// A connection whose handshake this is, once it was refused so.
    pub async fn refused(&self, request: &Request, status: u16, code: &str) -> Result<Client, Failure> {
        let mut client = self.connect("refused").await?;
        client.write(&request.encode()).await?;
        client.expect_refusal(status, code).await?;
        Ok(client)
    }

    /// A guest, welcomed.
    pub async fn client(&self, name: &str) -> Result<Client, Failure> {
        self.accepted(name, &self.handshake(name)).await
    }

    /// A guest to whom little is on its way at once.
    pub async fn narrow_client(&self, name: &str) -> Result<Client, Failure> {
        let mut client =
            Client::connect(self.server.address, name.to_owned(), self.transcript.clone(), true).await?;
        let request = self.handshake(name);
        client.write(&request.encode()).await?;
        self.expect_101(&mut client, &request).await?;
        client.expect_welcome().await?;
        Ok(client)
    }

    /// A guest, welcomed, in the room of the case.
    pub async fn member(&self, name: &str) -> Result<Client, Failure> {
        let mut client = self.client(name).await?;
        client.join(&self.room()).await?;
        Ok(client)
    }

    /// The server still serves others.
    pub async fn expect_alive(&self) -> Result<(), Failure> {
        let mut probe = self.client("probe").await?;
        probe.ask_for("pong", serde_json::json!({"type": "ping"})).await?;
        probe.close(1000).await
    }

    /// The whole history of the case's room, oldest first, as somebody reads it who was not there.
    pub async fn history(&self) -> Result<Vec<Value>, Failure> {
        let mut reader = self.member("historian").await?;
        let asked = serde_json::json!({"type": "history", "room": self.room(), "limit": 200});
        let history = reader.ask_for("history", asked).await?;
        Ok(history["messages"].as_array().cloned().unwrap_or_default())
    }

    /// Tells the server to drain; true once it has, and nobody was cut off.
    pub fn drain(&self) -> impl Future<Output = bool> + use<> {
        self.note("the server is told to drain");
        self.server.drain()
    }
}
