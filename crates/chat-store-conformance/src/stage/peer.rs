#![expect(clippy::missing_errors_doc, reason = "each method fails if the store does something else")]

use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use chat_core::{CloseCode, Connection, Incoming, Outgoing, Ticket};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use crate::{Failure, TIME_LIMIT, Verdict};

/// A client of a chat, over a connection in memory.
#[derive(Debug)]
pub struct Peer {
    incoming: UnboundedSender<Incoming>,
    outgoing: UnboundedReceiver<Frame>,
}

/// A frame that a [`Peer`] gets.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// An event.
    Event(Value),
    /// A close frame with its code.
    Close(u16),
}

impl Peer {
    /// Starts the session of a ticket.
    pub(super) fn new(ticket: Ticket) -> Self {
        let (incoming, receiver) = unbounded_channel();
        let (sender, outgoing) = unbounded_channel();
        drop(tokio::spawn(ticket.serve(Wire { incoming: receiver, outgoing: sender, progress: 0 })));
        Self { incoming, outgoing }
    }

    /// Sends a command.
    pub fn send(&self, command: &Value) -> Verdict {
        let sent = self.incoming.send(Incoming::Text(command.to_string().into()));
        sent.map_err(|_| Failure::new("a session that goes on", "its end"))
    }

    /// Waits for the next frame.
    pub async fn next(&mut self) -> Result<Frame, Failure> {
        match timeout(TIME_LIMIT, self.outgoing.recv()).await {
            Ok(Some(frame)) => Ok(frame),
            Ok(None) => Err(Failure::new("a frame", "the end of the session")),
            Err(_) => Err(Failure::new("a frame", format!("none within {TIME_LIMIT:?}"))),
        }
    }

    /// Waits for the next event of this type, and skips all others.
    pub async fn event(&mut self, kind: &str) -> Result<Value, Failure> {
        loop {
            match self.next().await? {
                Frame::Event(event) if event["type"] == kind => return Ok(event),
                Frame::Event(event) if event["type"] == "error" => {
                    return Err(Failure::new(format!("an event {kind}"), event));
                }
                Frame::Event(_) => {}
                Frame::Close(code) => {
                    return Err(Failure::new(format!("an event {kind}"), format!("a close with {code}")));
                }
            }
        }
    }

    /// Waits until the session is closed, and returns the code.
    pub async fn closed(&mut self) -> Result<u16, Failure> {
        loop {
            if let Frame::Close(code) = self.next().await? {
                return Ok(code);
            }
        }
    }
}

/// The session's side of the connection.
struct Wire {
    incoming: UnboundedReceiver<Incoming>,
    outgoing: UnboundedSender<Frame>,
    progress: u64,
}

impl Connection for Wire {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        Poll::Ready(ready!(self.incoming.poll_recv(cx)).unwrap_or(Incoming::End))
    }

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn send(&mut self, frame: Outgoing) -> io::Result<()> {
        self.progress += 1;
        if let Outgoing::Text(text) = frame {
            let event = parse(&text)?;
            self.outgoing.send(Frame::Event(event)).map_err(|_| io::ErrorKind::BrokenPipe)?;
        }
        Ok(())
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _cx: &mut Context<'_>, code: Option<CloseCode>) -> Poll<()> {
        if let Some(code) = code {
            // A peer that is dropped does not wait for the code.
            let _gone = self.outgoing.send(Frame::Close(code.code()));
        }
        Poll::Ready(())
    }

    fn progress(&self) -> u64 {
        self.progress
    }
}

fn parse(text: &Bytes) -> io::Result<Value> {
    serde_json::from_slice(text).map_err(io::Error::from)
}
