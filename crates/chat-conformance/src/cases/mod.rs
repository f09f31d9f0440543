//! All cases, one file for each group.
//!
//! Each file declares its cases with [`chat_suite::cases!`]. The doc comment of a function is the statement of its
//! case, and `source` says where the rule is written, if that is not the source of the group. This file has the list of
//! groups and the helpers that groups share.

mod arrival;
mod changed;
mod changes;
mod close;
mod commands;
mod control;
mod deletions;
mod direct;
mod drain;
mod events;
mod folding;
mod following;
mod fragments;
mod framing;
mod governed;
mod guarantees;
mod handshake;
mod hello;
mod host;
mod http;
mod identity;
mod json;
mod keys;
mod kick;
mod limits;
mod liveness;
mod mentions;
mod messages;
mod moderation;
mod names;
mod occupancy;
mod origin;
mod pins;
mod preflight;
mod pressure;
mod probe;
mod purges;
mod rates;
mod reactions;
mod receipts;
mod refusal;
mod renewal;
mod restrictions;
mod resume;
mod rights;
mod roles;
mod rooms;
mod rooms_with_rules;
mod search;
mod threads;
mod unread;
mod utf8;

use std::time::{Duration, Instant};

use chat_core::{Limits, Rate, RateLimits};
use chat_suite::check;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::client::{Client, Events, Frame, Message, Request, key, one_of};
use crate::stage::Member;
use crate::{Case, Failure, Needs, Stage, Verdict};

/// The reason to keep a case on one node whose reply must include what another client has done before.
const ORDER: &str =
    "over several nodes, a reply need not include what happened before the command (section 5.1)";

/// The reason to keep a case on one node that reaches a limit with several connections.
const LIMIT: &str = "each node counts for itself";

/// Returns every case, in the order of the groups.
pub fn cases() -> Vec<Case> {
    let groups = [
        group("handshake", "the handshake in chat-proto, and the adapter's RequestHead", handshake::cases()),
        group("refusal", "the handshake in chat-proto, or the framework's HTTP parser", refusal::cases()),
        group("origin", "the origin check of the handshake in chat-proto", origin::cases()),
        group("probe", "the probe of a handshake in chat-proto, and Endpoint in chat-core", probe::cases()),
        group(
            "http",
            "the adapter's UpgradeLayer and `serve`, and the framework's HTTP parser",
            http::cases(),
        ),
        group("names", "the user names and the query of the handshake in chat-proto", names::cases()),
        group("arrival", "the adapter's `serve`: head limits and early bytes", arrival::cases()),
        group("framing", "Connection::poll_receive of the mechanism", framing::cases()),
        group("control", "Connection::poll_receive: pings and pongs", control::cases()),
        group("limits", "Connection::poll_receive, and the limits of its codec", limits::cases()),
        group("fragments", "Connection::poll_receive: joining and counting of fragments", fragments::cases()),
        group("utf8", "Connection::poll_receive: the check of text", utf8::cases()),
        group("close", "Connection::poll_close and poll_receive; the session in chat-core", close::cases()),
        group("json", "the command parser in chat-proto", json::cases()),
        group("commands", "the command parser and the session in chat-proto", commands::cases()),
        group("messages", "Message in chat-core, and the log in chat-proto", messages::cases()),
        group("rooms", "room names and roster in chat-proto; the room in chat-core", rooms::cases()),
        group("events", "events and roster in chat-proto; the room in chat-core", events::cases()),
        group("occupancy", "occupancy in chat-proto; the timer of the room in chat-core", occupancy::cases()),
        group("guarantees", "the session and the room in chat-core; the room's tail", guarantees::cases()),
        group("keys", "the idempotency keys of the log in chat-proto or of the store", keys::cases()),
        group("resume", "resume and tail in chat-proto; the session in chat-core", resume::cases()),
        group("changes", "the changes of the log in chat-proto or of the store", changes::cases()),
        group("folding", "Folded and ChangeEntry in chat-proto, or the store", folding::cases()),
        group("deletions", "Log::change in chat-proto, or the store; the room's tail", deletions::cases()),
        group("reactions", "ReactionSets in chat-proto, or the store", reactions::cases()),
        group("moderation", "Target::judge in chat-proto; Authorize::role in chat-core", moderation::cases()),
        group("roles", "ActContext::judge in chat-proto; Admitted in chat-core", roles::cases()),
        group(
            "restrictions",
            "RoomRules::check in chat-proto, or the store; Driver::poll_rights in chat-core",
            restrictions::cases(),
        ),
        group(
            "rooms_with_rules",
            "RoomRules::check in chat-proto, or the store; Driver::poll_rights in chat-core",
            rooms_with_rules::cases(),
        ),
        group("purges", "ActContext::judge_purge in chat-proto; Room::purge of the store", purges::cases()),
        group("pins", "Target::judge and LogBounds in chat-proto, or the store", pins::cases()),
        group(
            "threads",
            "Links::judge and Folded in chat-proto; Room::thread of the store",
            threads::cases(),
        ),
        group("mentions", "Links::judge in chat-proto; Authorize::role in chat-core", mentions::cases()),
        group(
            "unread",
            "UnreadCount in chat-proto; Room::mark and Room::unread, or the store",
            unread::cases(),
        ),
        group(
            "receipts",
            "the receipts of the room in chat-proto; Rooms::announce_read in chat-core",
            receipts::cases(),
        ),
        group(
            "following",
            "the followed rooms of the session in chat-proto; the watchers in chat-core",
            following::cases(),
        ),
        group(
            "direct",
            "Direct and RoomRules::standing in chat-proto; Host::join_direct in chat-core",
            direct::cases(),
        ),
        group("search", "the search query in chat-proto, and the store", search::cases()),
        group("pressure", "write_timeout and batches in chat-core; the write buffer", pressure::cases()),
        group("rates", "the tokens of the session in chat-proto and chat-core", rates::cases()),
        group("liveness", "the timers of the session in chat-proto and chat-core", liveness::cases()),
        group("identity", "Endpoint::identify and Identify in chat-core", identity::cases()),
        group(
            "hello",
            "the credentials of the session in chat-proto; Identify::hello in chat-core",
            hello::cases(),
        ),
        group("rights", "Builder::authorize in chat-core; the session's operations", rights::cases()),
        group("kick", "Chat::kick in chat-core; the registry of sessions", kick::cases()),
        group("renewal", "CommitSink::renewed in chat-core; the room in chat-proto", renewal::cases()),
        group("drain", "Chat::drain in chat-core; Connection::poll_close", drain::cases()),
    ];
    groups.into_iter().flatten().collect()
}

/// Names the group of these cases, their source unless they state another, and the place to look at when one fails.
fn group(name: &'static str, hint: &'static str, cases: Vec<Case>) -> Vec<Case> {
    let with_group = |mut case: Case| {
        case.conditions.hint = hint;
        if name == "drain" {
            case.conditions = case.conditions.needs(Needs::Drain);
        }
        if case.source.is_empty() {
            case.source = source(name);
        }
        case.in_group(name)
    };
    cases.into_iter().map(with_group).collect()
}

/// Returns the source of those cases of a group that state none.
fn source(group: &str) -> &'static str {
    match group {
        "arrival" | "refusal" => "PROTOCOL.md, section 1",
        "close" => "RFC 6455 section 5.5.1",
        "changes" | "commands" | "direct" | "following" | "mentions" | "messages" | "pins" | "search"
        | "receipts" | "threads" | "unread" => "PROTOCOL.md, section 3",
        "control" => "RFC 6455 section 5.5.3",
        "deletions" | "folding" | "moderation" | "purges" | "reactions" => "PROTOCOL.md, section 5.7",
        "roles" | "restrictions" | "rooms_with_rules" => "PROTOCOL.md, section 5.8",
        "drain" => "PROTOCOL.md, section 5.6",
        "events" | "occupancy" => "PROTOCOL.md, section 4",
        "fragments" => "RFC 6455 section 5.4",
        "framing" => "RFC 6455 section 5.2",
        "guarantees" => "PROTOCOL.md, section 5.1",
        "json" | "limits" => "PROTOCOL.md, section 2",
        "keys" => "PROTOCOL.md, section 5.3",
        "liveness" => "PROTOCOL.md, section 2 (4001)",
        "names" | "rooms" => "PROTOCOL.md, section 6",
        "origin" => "RFC 6455 section 10.2; PROTOCOL.md, section 1",
        "pressure" => "PROTOCOL.md, section 5.5",
        "resume" => "PROTOCOL.md, section 5.4",
        "utf8" => "RFC 3629 section 3; RFC 6455 section 8.1",
        _ => "",
    }
}

/// The cases that a server must pass, in this order, before the result of any other case means something.
pub(crate) fn preflight() -> Vec<Case> {
    preflight::steps()
}

/// The command of a text message.
fn send(room: &str, text: &str) -> Value {
    json!({"type": "send", "room": room, "body": {"text": text}})
}

/// A ping command as text, with this reference.
fn ping(reference: &str) -> String {
    json!({"type": "ping", "ref": reference}).to_string()
}

/// Expects that a client that sends these bytes is closed with this code.
async fn expect_refused(stage: &Stage, bytes: impl AsRef<[u8]>, code: u16) -> Verdict {
    let mut client = stage.client("ann").await?;
    client.write(bytes.as_ref()).await?;
    client.expect_closed(code).await
}

/// Commands that send these numbers as texts.
fn sends(room: &str, numbers: impl IntoIterator<Item = u64>) -> Vec<Frame> {
    numbers.into_iter().map(|number| Frame::json(&send(room, &number.to_string()))).collect()
}

/// Ping commands with these numbers as references.
fn pings(numbers: impl IntoIterator<Item = u64>) -> Vec<Frame> {
    numbers.into_iter().map(|number| Frame::text(ping(&number.to_string()))).collect()
}

/// Expects the replies to ping commands with these numbers as the next events.
async fn expect_pongs(client: &mut Client, numbers: impl IntoIterator<Item = u64>) -> Verdict {
    for number in numbers {
        expect_pong_event(client, &number.to_string()).await?;
    }
    Ok(())
}

/// Expects the reply to a ping command as the next event.
async fn expect_pong_event(client: &mut Client, reference: &str) -> Verdict {
    let pong = client.expect("pong").await?;
    client.check(pong["ref"] == reference, format!("the reply to the ping {reference}"), &pong)
}

/// Expects the messages with these `seq`s as the next events.
async fn expect_messages(client: &mut Client, seqs: impl IntoIterator<Item = u64>) -> Verdict {
    for seq in seqs {
        let event = client.expect("message").await?;
        client.check(event["seq"] == seq, format!("the message {seq}"), &event)?;
    }
    Ok(())
}

/// Lifts the rates, for a case that sends many commands on purpose.
fn without_rates(limits: &mut Limits) {
    limits.rates = RateLimits::unlimited();
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The encoding of these frames in one packet.
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
