//! All cases, a file for each group.

mod arrival;
mod close;
mod commands;
mod control;
mod drain;
mod events;
mod fragments;
mod framing;
mod guarantees;
mod handshake;
mod json;
mod keys;
mod limits;
mod liveness;
mod messages;
mod names;
mod origin;
mod pressure;
mod refusal;
mod resume;
mod rooms;
mod search;
mod utf8;

use std::time::Duration;

use serde_json::{Value, json};

use crate::case::{Group, case};
use crate::client::{Client, Frame};
use crate::{Case, Failure, Needs, Stage, Verdict};

/// Every case, in the order of the groups.
pub fn cases() -> Vec<Case> {
    let groups = [
        handshake::group(),
        refusal::group(),
        origin::group(),
        names::group(),
        arrival::group(),
        framing::group(),
        control::group(),
        limits::group(),
        fragments::group(),
        utf8::group(),
        close::group(),
        json::group(),
        commands::group(),
        messages::group(),
        rooms::group(),
        events::group(),
        guarantees::group(),
        keys::group(),
        resume::group(),
        search::group(),
        pressure::group(),
        liveness::group(),
        drain::group(),
    ];
    groups.into_iter().flat_map(Group::into_cases).collect()
}

/// What a server must do for the other cases to say anything.
pub(crate) fn preflight() -> Case {
    let source = "PROTOCOL.md, sections 1 and 4";
    let statement = "A valid handshake is answered with 101, and the event `welcome` comes.";
    let welcomed = case("a_client_is_welcomed", statement, source, |stage| async move {
        // The end of the connection is not what is asked.
        stage.client("preflight").await.map(drop)
    });
    welcomed.of("preflight", "the adapter's routes: is the chat mounted, and at that path?")
}

/// The command of a text message.
fn send(room: &str, text: &str) -> Value {
    json!({"type": "send", "room": room, "body": {"text": text}})
}

/// A ping command as text, with its reference.
fn ping(reference: &str) -> String {
    json!({"type": "ping", "ref": reference}).to_string()
}

/// A new client sends these bytes, and is closed with this code.
async fn breach(stage: &Stage, bytes: impl AsRef<[u8]>, code: u16) -> Verdict {
    let mut client = stage.client("ann").await?;
    client.write(bytes.as_ref()).await?;
    client.expect_closed(code).await
}

/// The reply to a ping command, which is the next event.
async fn expect_pong_event(client: &mut Client, reference: &str) -> Verdict {
    let pong = client.expect("pong").await?;
    client.check(pong["ref"] == reference, format!("the reply to the ping {reference}"), &pong)
}

/// The next events are the messages with these `seq`s.
async fn expect_messages(client: &mut Client, seqs: impl IntoIterator<Item = u64>) -> Verdict {
    for seq in seqs {
        let event = client.expect("message").await?;
        client.check(event["seq"] == seq, format!("the message {seq}"), &event)?;
    }
    Ok(())
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// All of these frames in one packet.
fn packet(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(Frame::encode).collect()
}

/// The `seq`s of messages.
fn seqs(messages: &[Value]) -> Vec<u64> {
    messages.iter().filter_map(|message| message["seq"].as_u64()).collect()
}

/// The text of a message.
fn text_of(message: &Value) -> &str {
    message["body"]["text"].as_str().unwrap_or_default()
}

/// A failure of the stage, not of a client.
fn fail(holds: bool, expected: &str, came: impl std::fmt::Display) -> Verdict {
    if holds { Ok(()) } else { Err(Failure::new(expected, came)) }
}
