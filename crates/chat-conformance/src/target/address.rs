use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chat_core::Limits;

use super::{Server, Target};
use crate::{Conditions, Needs};

/// The time in which a server must accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A server that runs already. The suite is only a client of it.
#[derive(Clone, Debug)]
pub struct Address {
    url: String,
    address: SocketAddr,
    host: String,
    path: String,
}

impl Address {
    /// The server at a `ws://` URL.
    ///
    /// # Errors
    ///
    /// If the URL is invalid or its host has no address.
    pub fn new(url: &str) -> Result<Self, String> {
        let rest = url
            .strip_prefix("ws://")
            .ok_or("the address must have the form ws://host:port/path; TLS is not supported")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, "ws"));
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let with_port = if has_port { host.to_owned() } else { format!("{host}:80") };
        let address = with_port.to_socket_addrs().map_err(|error| format!("{host}: {error}"))?.next();
        let address = address.ok_or_else(|| format!("{host} has no address"))?;
        Ok(Self { url: url.to_owned(), address, host: host.to_owned(), path: format!("/{path}") })
    }

    /// Connects once, to check that there is a server.
    ///
    /// # Errors
    ///
    /// If the connection is refused or takes too long.
    pub fn reach(&self) -> Result<(), String> {
        let connected = TcpStream::connect_timeout(&self.address, CONNECT_TIMEOUT);
        connected.map(drop).map_err(|error| format!("no server at {}: {error}", self.url))
    }

    /// Returns true if the server is on this machine.
    pub fn is_loopback(&self) -> bool {
        self.address.ip().is_loopback()
    }
}

#[async_trait]
impl Target for Address {
    fn name(&self) -> &str {
        &self.url
    }

    fn lacks(&self, needs: Needs) -> Option<&'static str> {
        match needs {
            Needs::Address => None,
            Needs::Fresh => Some("a server of its own (--exec)"),
            Needs::Drain => Some("a server that the suite can stop (--exec)"),
            Needs::Limits => Some("limits that can be set only for a server in this process"),
            Needs::Host => Some("a host service of its own, which only a server in this process can have"),
        }
    }

    async fn start(&self, _: &Conditions) -> Result<Server, String> {
        Ok(Server {
            addresses: vec![self.address],
            host: self.host.clone(),
            path: self.path.clone(),
            limits: Arc::new(Limits::default()),
            is_shared: true,
            chats: Vec::new(),
            on_drain: None,
            on_renew: None,
            end: None,
        })
    }
}
