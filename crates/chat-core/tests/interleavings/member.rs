use std::sync::Arc;

use chat_core::{Chat, Identity, Incoming, User};
use serde_json::Value;
use shuttle::future::{JoinHandle, block_on, spawn};

use crate::socket::{Socket, Wire};

/// The peer of a session that joins the room.
pub(crate) struct Member {
    socket: Arc<Socket>,
    session: JoinHandle<()>,
}

impl Member {
    /// Starts a session, whose first command is a join.
    pub(crate) fn join(chat: &Chat, name: &str) -> Self {
        Self::start(chat, name, r#"{"type":"join","room":"lobby"}"#)
    }

    /// Starts a session whose user follows the room, without a join.
    pub(crate) fn follow(chat: &Chat, name: &str) -> Self {
        Self::start(chat, name, r#"{"type":"follow","room":"lobby","on":true}"#)
    }

    fn start(chat: &Chat, name: &str, command: &'static str) -> Self {
        let user = User::guest(name).expect("a valid name");
        let ticket = chat.admit(Identity::from(user)).expect("admitted");
        let socket = Arc::new(Socket::default());
        let session = spawn(ticket.serve(Wire::new(Arc::clone(&socket))));
        let member = Self { socket, session };
        member.command(command);
        member
    }

    pub(crate) fn socket(&self) -> Arc<Socket> {
        Arc::clone(&self.socket)
    }

    pub(crate) fn command(&self, command: &'static str) {
        self.socket.send(Incoming::Text(command.into()));
    }

    /// Waits for the end of the session. Returns its events.
    pub(crate) fn ended(self) -> Events {
        block_on(self.session).expect("the session ends");
        let line = self.socket.line();
        assert_eq!(line.faults, [] as [&str; 0]);
        Events::of(&line.got)
    }

    /// Closes the connection. Returns the events of the session.
    pub(crate) fn close(self) -> Events {
        self.socket.send(Incoming::Close(Some(1000)));
        self.ended()
    }
}

/// The events that a peer has got.
pub(crate) struct Events(Vec<Value>);

impl Events {
    /// Reads whole text frames.
    fn of(mut bytes: &[u8]) -> Self {
        let mut events = Vec::new();
        while let [first, length, rest @ ..] = bytes {
            assert_eq!(*first, 0x81, "not the beginning of a text message");
            let (length, rest) = match (length, rest) {
                (126, [high, low, rest @ ..]) => (usize::from(u16::from_be_bytes([*high, *low])), rest),
                (length, rest) => (usize::from(*length), rest),
            };
            // The last frame may be cut at the end of the connection.
            let Some((payload, rest)) = rest.split_at_checked(length) else { break };
            events.push(serde_json::from_slice(payload).expect("an event"));
            bytes = rest;
        }
        Self(events)
    }

    /// Checks that each message comes once and in order, after the join and before the leave. Returns the `seq` of the
    /// last message before the reply with this `ref`, or of the last message of all.
    pub(crate) fn last_seq(&self, reference: Option<&str>) -> u64 {
        let (mut last, mut found) = (None, None);
        for event in &self.0 {
            let seq = event["seq"].as_u64();
            match event["type"].as_str() {
                Some("joined") => last = seq,
                Some("left") => last = None,
                Some("message") => {
                    assert_eq!(seq, last.map(|last| last + 1), "not the next message: {:?}", self.0);
                    last = seq;
                }
                _ => {}
            }
            if reference.is_some_and(|reference| event["ref"] == reference) {
                found = last;
            }
        }
        reference.map_or(last, |_| found).unwrap_or_default()
    }
}
