use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use bytes::BytesMut;
use chat_conformance::client::{Frame, Received};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};

use crate::within;

/// A change that a proxy makes to frames of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyFault {
    /// Forwards everything.
    None,
    /// Drops a message.
    Drop,
    /// Forwards a message twice.
    Repeat,
    /// Forwards a message after the next frame of the same connection, or before it if that is not a message.
    Delay,
    /// Forwards a message after the next message of the same connection.
    Swap,
    /// Changes the key of a message.
    AlterKey,
    /// Drops every acknowledgement.
    DropAcknowledgements,
    /// Replaces every page of history with the first one of the connection.
    RepeatPages,
    /// Changes the keys in every page of history.
    AlterPages,
}

/// The messages that a fault changes.
#[derive(Clone, Copy, Debug)]
pub enum Affected {
    /// The tenth message of all connections together.
    Tenth,
    /// Every third message of each connection.
    EveryThird,
}

/// A proxy between clients and a server that changes some frames of the server.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    messages: Arc<AtomicU64>,
}

impl Proxy {
    /// Starts a proxy for a server. It runs as long as the runtime.
    pub async fn start(server: SocketAddr, fault: ProxyFault, affected: Affected) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let messages = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&messages);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A connection ends when either side ends it.
                tokio::spawn(forward(client, server, fault, affected, Arc::clone(&counter)));
            }
        });
        Ok(Self { address, messages })
    }

    /// Returns the address that the proxy listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the number of messages that have passed, over all connections.
    pub fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }
}

async fn forward(
    client: TcpStream,
    server: SocketAddr,
    fault: ProxyFault,
    affected: Affected,
    messages: Arc<AtomicU64>,
) -> Result<()> {
    let (mut from_server, mut to_server) = within(TcpStream::connect(server)).await??.into_split();
    let (mut from_client, mut to_client) = client.into_split();
    tokio::spawn(async move { copy(&mut from_client, &mut to_server).await.is_ok() });

    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(from_server.read_u8().await?);
    }
    to_client.write_all(&head).await?;
    let mut buffer = BytesMut::new();
    let (mut own_messages, mut held, mut first_page) = (0, Vec::new(), None);
    loop {
        let (frame, length) = loop {
            match Received::parse(&buffer).map_err(anyhow::Error::msg)? {
                Some(parsed) => break parsed,
                None if from_server.read_buf(&mut buffer).await? == 0 => return Ok(()),
                None => {}
            }
        };
        let mut bytes = buffer.split_to(length).to_vec();
        let text = String::from_utf8_lossy(&frame.payload);
        let is = |kind: &str| text.contains(&format!(r#""type":"{kind}""#));
        // A page of history contains messages, too.
        let (is_page, is_message) = (is("history"), is("message") && !is("history"));
        own_messages += u64::from(is_message);
        let total = messages.fetch_add(u64::from(is_message), Ordering::Relaxed);
        let is_affected = is_message
            && match affected {
                Affected::Tenth => total == 9,
                Affected::EveryThird => own_messages % 3 == 0,
            };
        let altered = || Frame::text(text.replace(r#""key":""#, r#""key":"9"#)).unmasked().encode();
        match fault {
            ProxyFault::Drop if is_affected => continue,
            ProxyFault::DropAcknowledgements if is("sent") => continue,
            ProxyFault::Delay | ProxyFault::Swap if is_affected => {
                held = bytes;
                continue;
            }
            ProxyFault::Repeat if is_affected => bytes = bytes.repeat(2),
            ProxyFault::AlterKey if is_affected => bytes = altered(),
            ProxyFault::AlterPages if is_page => bytes = altered(),
            ProxyFault::RepeatPages if is_page => bytes = first_page.get_or_insert(bytes).clone(),
            ProxyFault::Delay if !is_message => bytes.splice(..0, held.drain(..)).for_each(drop),
            _ => {}
        }
        if is_message {
            bytes.append(&mut held);
        }
        to_client.write_all(&bytes).await?;
    }
}
