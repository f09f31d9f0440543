use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::link::{Link, answer_instead, remove_field};

defects! {
    // Defects of messages.
    a_server_that_delivers_out_of_order_is_caught by guarantees::messages_in_one_packet_keep_their_order =>
        swap_messages(|_, _| {});
    a_server_that_shows_members_different_orders_is_caught by guarantees::all_members_see_the_same_order from
        every_other_sees_another_order();
    a_server_that_reuses_a_seq_is_caught by guarantees::messages_are_numbered_without_gaps =>
        renumber(|seq| if seq > 3 { seq - 1 } else { seq });
    a_server_that_skips_a_seq_is_caught by guarantees::messages_are_numbered_without_gaps =>
        renumber(|seq| if seq > 3 { seq + 1 } else { seq });
    a_server_that_drops_the_oldest_message_of_a_slow_reader_is_caught
    by pressure::a_burst_reaches_all_members_complete =>
        {
            let oldest = Link::down(|frame, wires| {
                let is_message = frame.json().is_some_and(|event| event["type"] == "message");
                if !(is_message && wires.waiting >= 16) {
                    wires.client(&frame);
                }
            });
            Link { lags: true, ..oldest }
        };
    a_server_that_acknowledges_messages_that_it_does_not_store_is_caught
    by guarantees::an_acknowledged_message_is_in_the_history =>
        acknowledge_only();
    a_server_that_delivers_messages_that_it_does_not_store_is_caught
    by guarantees::a_delivered_message_is_in_the_history =>
        Link::event("message", |event| event["body"]["text"] = json!("another text"));
    a_server_that_forgets_keys_is_caught by keys::a_repeated_key_is_not_delivered_again =>
        Link::command(|command| remove_field(command, "key"));
    a_server_whose_keys_belong_to_connections_is_caught by keys::a_key_is_kept_across_connections from
        keys_of_connections();
    a_server_that_delivers_a_retry_again_is_caught by keys::a_retry_in_the_same_packet_is_a_duplicate =>
        deliver_retries();
    a_server_that_ignores_the_resume_position_is_caught
    by resume::a_client_that_reconnects_gets_the_missed_messages =>
        Link::command(|command| remove_field(command, "after"));
    a_server_that_clamps_last_to_less_than_a_page_is_caught by resume::last_is_clamped_to_a_page =>
        Link::command(|command| {
            if let Some(last) = command["last"].as_u64() {
                command["last"] = json!(last.min(100));
            }
        });
    a_server_that_resumes_one_message_too_late_is_caught
    by resume::a_resume_from_any_position_brings_the_rest =>
        {
            let mut is_first = true;
            Link::drop_events(move |event| event["type"] == "message" && std::mem::take(&mut is_first))
        };
    a_server_that_delivers_a_message_twice_is_caught by resume::a_resume_during_a_flood_has_no_gap =>
        Link::down(|frame, wires| {
            wires.client(&frame);
            if frame.json().is_some_and(|event| event["type"] == "message" && event["seq"] == 50) {
                wires.client(&frame);
            }
        });
    a_server_that_limits_only_the_text_of_a_body_is_caught
    by messages::a_long_field_beside_the_text_is_too_large =>
        Link::command(|command| {
            if command["type"] == "send" {
                remove_field(&mut command["body"], "note");
            }
        });
    a_server_that_escapes_markup_is_caught by messages::markup_is_delivered_as_text =>
        Link::event("message", |event| {
            let escaped = event["body"]["text"].as_str().map(|text| text.replace('<', "&lt;"));
            event["body"]["text"] = json!(escaped);
        });
    a_server_that_re_encodes_bodies_is_caught by messages::a_body_is_delivered_unchanged =>
        Link::event("message", |_| {});
    a_server_that_sends_the_time_in_seconds_is_caught by events::a_message_has_user_body_and_time =>
        Link::event("message", |event| {
            event["at"] = json!(event["at"].as_u64().unwrap_or_default() / 1_000);
        });
}

/// Changes the `seq` of messages, for their senders too.
fn renumber(number: fn(u64) -> u64) -> Link {
    Link::map_down(move |frame| match frame.json() {
        Some(mut event) if event["type"] == "sent" || event["type"] == "message" => {
            event["seq"] = json!(event["seq"].as_u64().map(number));
            Some(frame.with_payload(event.to_string()))
        }
        _ => Some(frame),
    })
}

/// Answers `send`, and does not store the message.
fn acknowledge_only() -> Link {
    let mut seq = 0;
    answer_instead("send", move |command| {
        seq += 1;
        json!({"type": "sent", "room": command["room"], "seq": seq, "at": 0, "ref": command["ref"]})
    })
}

/// Makes keys different for each connection.
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

/// Delivers a message again with each duplicate.
fn deliver_retries() -> Link {
    Link::down(|frame, wires| {
        wires.client(&frame);
        if let Some(mut event) = frame.json().filter(|event| event["duplicate"] == true) {
            event["type"] = json!("message");
            remove_field(&mut event, "ref");
            wires.client(&frame.with_payload(event.to_string()));
        }
    })
}

/// Swaps each pair of messages of a connection, after `adjust` has changed them.
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

/// Shows half of the members other messages under the right `seq`s.
fn every_other_sees_another_order() -> impl Fn() -> Link {
    let connections = AtomicUsize::new(0);
    move || match connections.fetch_add(1, Ordering::Relaxed) % 2 {
        0 => Link::unchanged(),
        _ => swap_messages(|first, second| std::mem::swap(&mut first["seq"], &mut second["seq"])),
    }
}
