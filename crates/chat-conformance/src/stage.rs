#![expect(clippy::missing_errors_doc, reason = "each fails if the server does something else")]

use std::cell::Cell;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};

use chat_core::{Limits, User};
use chat_suite::FromStage;
use serde_json::Value;

use crate::client::{Client, Request, key};
use crate::target::Server;
use crate::transcript::Direction;
use crate::{Failure, Transcript};

/// The value that a case works with: one server, and any number of clients.
#[derive(Debug)]
pub struct Stage {
    server: Server,
    transcript: Transcript,
    /// A part of each name, which separates the case from other cases on the same server.
    tag: String,
    keys: Cell<u64>,
    /// The number of connections so far.
    connections: Cell<usize>,
}

impl Stage {
    /// A stage with this server. `tag` separates its rooms and users from others on the same server.
    pub fn new(server: Server, transcript: Transcript, tag: String) -> Self {
        Self { server, transcript, tag, keys: Cell::new(0), connections: Cell::new(0) }
    }

    /// Returns the limits of the server, or the protocol's if those are not known.
    pub fn limits(&self) -> &Limits {
        &self.server.limits
    }

    /// Returns the room of the case.
    pub fn room(&self) -> String {
        self.named("lobby")
    }

    /// Returns a name that only this case uses.
    pub fn named(&self, name: &str) -> String {
        format!("{name}{}", self.tag)
    }

    /// Adds a note to the transcript.
    pub fn note(&self, what: &str) {
        self.transcript.record("stage", Direction::Noted, what, &[]);
    }

    /// Returns a complete, valid handshake for a guest.
    pub fn handshake(&self, name: &str) -> Request {
        self.keys.set(self.keys.get() + 1);
        let target = format!("{}?name={}", self.server.path, self.named(name));
        Request::handshake(&self.server.host, &target).set("Sec-WebSocket-Key", &key(self.keys.get()))
    }

    /// Returns the path of the chat.
    pub fn path(&self) -> &str {
        &self.server.path
    }

    /// Returns the host that requests name.
    pub fn host(&self) -> &str {
        &self.server.host
    }

    /// Returns the address of the next connection.
    fn next_address(&self) -> SocketAddr {
        let addresses = &self.server.addresses;
        addresses[self.connections.replace(self.connections.get() + 1) % addresses.len()]
    }

    /// Returns true if the connections of the case are on several nodes.
    pub(crate) fn has_nodes(&self) -> bool {
        self.server.addresses.len() > 1
    }

    /// Connects, and sends nothing.
    pub async fn connect(&self, name: &str) -> Result<Client, Failure> {
        Client::connect_as(self.next_address(), name, self.transcript.clone(), false).await
    }

    /// Connects and sends this request.
    pub async fn send_request(&self, name: &str, request: &Request) -> Result<Client, Failure> {
        let mut client = self.connect(name).await?;
        client.write(&request.encode()).await?;
        Ok(client)
    }

    /// Connects with this handshake, up to and including the `welcome`.
    pub async fn accepted(&self, name: &str, request: &Request) -> Result<Client, Failure> {
        self.welcomed(name, request).await.map(|(client, _)| client)
    }

    /// Connects with this handshake, and returns the client and its `welcome`.
    pub async fn welcomed(&self, name: &str, request: &Request) -> Result<(Client, Value), Failure> {
        let mut client = self.connect(name).await?;
        let welcome = client.upgrade(request).await?;
        Ok((client, welcome))
    }

    /// Connects with this handshake, and expects its refusal with this status and code.
    pub async fn refused(&self, request: &Request, status: u16, code: &str) -> Result<Client, Failure> {
        let mut client = self.send_request("refused", request).await?;
        client.expect_refusal(status, code).await?;
        Ok(client)
    }

    /// Connects a guest.
    pub async fn client(&self, name: &str) -> Result<Client, Failure> {
        self.accepted(name, &self.handshake(name)).await
    }

    /// Connects with a small receive buffer, and sends nothing.
    pub async fn connect_with_small_buffer(&self, name: &str) -> Result<Client, Failure> {
        Client::connect_as(self.next_address(), name, self.transcript.clone(), true).await
    }

    /// Connects a guest with a small receive buffer.
    pub async fn client_with_small_buffer(&self, name: &str) -> Result<Client, Failure> {
        let mut client = self.connect_with_small_buffer(name).await?;
        client.upgrade(&self.handshake(name)).await?;
        Ok(client)
    }

    /// Connects a guest who joins the room of the case.
    pub async fn member(&self, name: &str) -> Result<Client, Failure> {
        let mut client = self.client(name).await?;
        client.join(&self.room()).await?;
        Ok(client)
    }

    /// Expects that the server still serves a new client.
    pub async fn expect_served(&self) -> Result<(), Failure> {
        let mut probe = self.client("probe").await?;
        probe.ask_for("pong", serde_json::json!({"type": "ping"})).await?;
        probe.close(1000).await
    }

    /// Returns the whole history of the case's room, oldest first, as a new member reads it.
    pub async fn history(&self) -> Result<Vec<Value>, Failure> {
        let mut reader = self.member("historian").await?;
        let asked = serde_json::json!({"type": "history", "room": self.room(), "limit": 200});
        let history = reader.ask_for("history", asked).await?;
        Ok(history["messages"].as_array().cloned().unwrap_or_default())
    }

    /// Kicks a user, as the host does. Returns the number of the user's connections on the first node.
    pub fn kick(&self, user: &User) -> usize {
        self.note(&format!("the host kicks {}", user.name()));
        self.server.chats.first().map_or(0, |chat| chat.kick(user))
    }

    /// Lets the logs of all open rooms begin another life.
    pub async fn renew_logs(&self) {
        self.note("the logs begin another life");
        if let Some(renew) = &self.server.on_renew {
            renew().await;
        }
    }

    /// Starts a drain. The future returns true if the drain ends and abandons no connection.
    pub fn drain(&self) -> impl Future<Output = bool> + use<> {
        self.note("the server starts to drain");
        self.server.drain()
    }
}

/// A guest with the name of the parameter, who is connected.
impl FromStage<Stage> for Client {
    async fn from_stage(stage: &Stage, name: &str) -> Result<Self, Failure> {
        stage.client(name).await
    }
}

/// A guest with the name of the parameter, who is in the room of the case.
pub(crate) struct Member(pub(crate) Client);

impl FromStage<Stage> for Member {
    async fn from_stage(stage: &Stage, name: &str) -> Result<Self, Failure> {
        stage.member(name).await.map(Self)
    }
}

impl Deref for Member {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.0
    }
}

impl DerefMut for Member {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.0
    }
}
