use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::link::{Link, answered, forget};
use crate::{Defect, defect};

/// What becomes of messages.
pub(crate) fn defects() -> Vec<Defect> {
    vec![
        defect(
            "a_server_that_delivers_out_of_order_is_caught",
            "guarantees::what_is_sent_in_one_packet_keeps_its_order",
            || swap_messages(|_, _| {}),
        ),
        defect(
            "a_server_that_shows_members_different_orders_is_caught",
            "guarantees::all_members_see_one_order",
            every_other_sees_another_order(),
        ),
        defect(
            "a_server_that_reuses_a_seq_is_caught",
            "guarantees::messages_are_numbered_without_holes",
            || renumber(|seq| if seq > 3 { seq - 1 } else { seq }),
        ),
        defect(
            "a_server_that_skips_a_seq_is_caught",
            "guarantees::messages_are_numbered_without_holes",
            || renumber(|seq| if seq > 3 { seq + 1 } else { seq }),
        ),
        defect(
            "a_server_that_drops_the_oldest_message_of_a_slow_reader_is_caught",
            "pressure::a_burst_in_a_room_reaches_everybody_whole",
            || {
                let oldest = Link::down(|frame, wires| {
                    let is_message = frame.json().is_some_and(|event| event["type"] == "message");
                    if !(is_message && wires.waiting >= 16) {
                        wires.client(&frame);
                    }
                });
                Link { lags: true, ..oldest }
            },
        ),
        defect(
            "a_server_that_acknowledges_what_it_did_not_store_is_caught",
            "guarantees::what_is_acknowledged_is_in_the_log",
            acknowledge_only,
        ),
        defect(
            "a_server_that_shows_what_it_did_not_store_is_caught",
            "guarantees::what_a_member_sees_is_in_the_log",
            || Link::event("message", |event| event["body"]["text"] = json!("another text")),
        ),
        defect(
            "a_server_that_does_not_know_a_key_again_is_caught",
            "keys::a_repeated_key_is_one_message",
            || Link::command(|command| forget(command, "key")),
        ),
        defect(
            "a_server_whose_keys_belong_to_connections_is_caught",
            "keys::a_key_belongs_to_the_user_not_to_the_connection",
            keys_of_connections(),
        ),
        defect(
            "a_server_that_delivers_a_retry_again_is_caught",
            "keys::a_retry_in_the_same_packet_is_one_message",
            deliver_retries,
        ),
        defect(
            "a_server_that_ignores_where_a_client_was_is_caught",
            "resume::a_client_that_reconnects_misses_nothing",
            || Link::command(|command| forget(command, "after")),
        ),
        defect(
            "a_server_that_resumes_one_message_too_late_is_caught",
            "resume::a_resume_at_every_position_gets_exactly_the_rest",
            || {
                let mut is_first = true;
                Link::swallow(move |event| event["type"] == "message" && std::mem::take(&mut is_first))
            },
        ),
        defect(
            "a_server_that_delivers_a_message_twice_is_caught",
            "resume::a_resume_while_messages_flow_has_no_hole",
            || {
                Link::down(|frame, wires| {
                    wires.client(&frame);
                    if frame.json().is_some_and(|event| event["type"] == "message" && event["seq"] == 50) {
                        wires.client(&frame);
                    }
                })
            },
        ),
        defect("a_server_that_escapes_markup_is_caught", "messages::markup_is_text", || {
            Link::event("message", |event| {
                let escaped = event["body"]["text"].as_str().map(|text| text.replace('<', "&lt;"));
                event["body"]["text"] = json!(escaped);
            })
        }),
        defect(
            "a_server_that_writes_bodies_anew_is_caught",
            "messages::a_body_is_passed_on_unchanged",
            || Link::event("message", |_| {}),
        ),
        defect(
            "a_server_that_tells_time_in_seconds_is_caught",
            "events::a_message_says_who_what_and_when",
            || {
                Link::event("message", |event| {
                    event["at"] = json!(event["at"].as_u64().unwrap_or_default() / 1_000);
                })
            },
        ),
    ]
}

/// Messages have another `seq`, for their senders too.
fn renumber(number: fn(u64) -> u64) -> Link {
    Link::map_down(move |frame| match frame.json() {
        Some(mut event) if event["type"] == "sent" || event["type"] == "message" => {
            event["seq"] = json!(event["seq"].as_u64().map(number));
            Some(frame.with_payload(event.to_string()))
        }
        _ => Some(frame),
    })
}

/// `send` is answered, and nothing else becomes of it.
fn acknowledge_only() -> Link {
    let mut seq = 0;
    answered("send", move |command| {
        seq += 1;
        json!({"type": "sent", "room": command["room"], "seq": seq, "at": 0, "ref": command["ref"]})
    })
}

/// Each connection has keys of its own.
fn keys_of_connections() -> impl Fn() -> Link {
    let connections = AtomicUsize::new(0);
    move || {
        let connection = connections.fetch_add(1, Ordering::Relaxed);
        Link::command(move |command| {
            let own = command["key"].as_str().map(|key| format!("{key}-{connection}"));
            if let Some(key) = own {
                command["key"] = json!(key);
            }
        })
    }
}

/// A message comes again with each duplicate.
fn deliver_retries() -> Link {
    Link::down(|frame, wires| {
        wires.client(&frame);
        if let Some(mut event) = frame.json().filter(|event| event["duplicate"] == true) {
            event["type"] = json!("message");
            forget(&mut event, "ref");
            wires.client(&frame.with_payload(event.to_string()));
        }
    })
}

/// Every other message of a connection comes after the one behind it; the two go through `adjust` before.
fn swap_messages(mut adjust: impl FnMut(&mut Value, &mut Value) + Send + 'static) -> Link {
    let mut held: Option<Value> = None;
    Link::down(move |frame, wires| {
        let Some(mut second) = frame.json().filter(|event| event["type"] == "message") else {
            return wires.client(&frame);
        };
        match held.take() {
            Some(mut first) => {
                adjust(&mut first, &mut second);
                wires.client(&frame.clone().with_payload(second.to_string()));
                wires.client(&frame.with_payload(first.to_string()));
            }
            None => held = Some(second),
        }
    })
}

/// Each `seq` is in its place, but half of the members read other messages under it.
fn every_other_sees_another_order() -> impl Fn() -> Link {
    let connections = AtomicUsize::new(0);
    move || match connections.fetch_add(1, Ordering::Relaxed) % 2 {
        0 => Link::sound(),
        _ => swap_messages(|first, second| std::mem::swap(&mut first["seq"], &mut second["seq"])),
    }
}
