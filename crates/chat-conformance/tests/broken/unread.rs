use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use crate::link::{Link, answer_instead, remove_field};

defects! {
    // Defects of markers, and of followed rooms.
    a_server_whose_joined_has_no_marker_is_caught by unread::joined_has_the_marker_and_the_unread_messages =>
        Link::event("joined", |event| remove_field(event, "read"));
    a_server_that_takes_everything_for_read_is_caught
    by unread::joined_has_the_marker_and_the_unread_messages =>
        Link::event("joined", |event| event["unread"] = json!(0));
    a_server_whose_markers_go_back_is_caught by unread::a_marker_does_not_go_back => goes_back();
    a_server_that_marks_what_does_not_exist_is_caught
    by unread::a_marker_beyond_the_newest_entry_is_refused =>
        Link::command(|command| {
            if command["type"] == "read" && command["seq"].as_u64() > Some(1) {
                command["seq"] = json!(1);
            }
        });
    a_server_that_counts_entries_is_caught by unread::own_and_deleted_ones_do_not_count =>
        Link::event("joined", |event| event["unread"] = event["seq"].clone());
    a_server_that_counts_beyond_100_is_caught by unread::a_number_below_100_is_exact =>
        Link::event("joined", |event| event["unread"] = event["seq"].clone());
    a_server_that_shows_a_read_to_nobody_is_caught by unread::other_connections_see_a_read =>
        Link::drop_events(|event| event["type"] == "read" && event["ref"].is_null());
    a_server_that_forgets_markers_is_caught by unread::a_user_has_the_marker_of_earlier_connections =>
        Link::event("joined", |event| event["read"] = json!(0));
    a_server_that_takes_a_text_for_a_marker_is_caught by unread::a_read_with_a_bad_seq_is_refused =>
        Link::command(|command| {
            if command["seq"] == "1" {
                command["seq"] = json!(1);
            }
        });
    a_server_that_lets_anyone_mark_a_room_is_caught
    by unread::a_read_by_a_connection_that_did_not_join_is_refused =>
        answer_instead("read", |command| {
            json!({"type": "read", "room": command["room"], "seq": command["seq"], "ref": command["ref"],
                   "user": {"id": "bob", "name": "bob"}})
        });
    a_server_without_receipts_is_caught by receipts::the_other_users_see_a_read =>
        Link::command(|command| remove_field(command, "receipts"));
    a_server_whose_rules_lack_receipts_is_caught by receipts::the_rules_have_receipts =>
        Link::event("settings", |event| remove_field(event, "receipts"));
    a_server_whose_rooms_all_have_receipts_is_caught by receipts::a_room_without_receipts_shows_none =>
        Link::command(|command| {
            if command["type"] == "create" {
                command["receipts"] = json!(true);
            }
        });
    a_server_that_repeats_receipts_is_caught by receipts::receipts_come_at_most_once_per_second =>
        repeats("read");
    a_server_that_lists_only_joined_rooms_is_caught
    by following::a_followed_room_is_listed_with_its_unread_messages =>
        Link::event("rooms", |event| event["rooms"] = json!([]));
    a_server_that_lists_only_followed_rooms_is_caught
    by following::a_joined_room_is_listed_on_its_connection =>
        Link::event("rooms", |event| event["rooms"] = json!([]));
    a_server_that_lists_rooms_unsorted_is_caught
    by following::rooms_are_listed_in_pages_in_the_order_of_their_names =>
        Link::event("rooms", |event| {
            if let Some(rooms) = event["rooms"].as_array_mut() {
                rooms.reverse();
            }
        });
    a_server_that_ignores_after_in_rooms_is_caught
    by following::rooms_are_listed_in_pages_in_the_order_of_their_names =>
        Link::command(|command| {
            if command["type"] == "rooms" {
                remove_field(command, "after");
            }
        });
    a_server_without_activity_is_caught by following::a_followed_room_has_activity =>
        Link::drop_events(|event| event["type"] == "activity");
    a_server_that_repeats_activity_is_caught by following::activity_comes_at_most_once_per_second =>
        repeats("activity");
    a_server_that_sends_activity_to_members_is_caught by following::a_member_gets_no_activity =>
        Link::down(|frame, wires| {
            wires.client(&frame);
            if let Some(event) = frame.json().filter(|event| event["type"] == "message") {
                let activity = json!({"type": "activity", "room": event["room"], "seq": event["seq"], "unread": 1,
                                      "mentions": 0});
                wires.client(&frame.with_payload(activity.to_string()));
            }
        });
    a_server_that_does_not_end_to_follow_is_caught
    by following::a_room_that_is_no_longer_followed_has_no_activity =>
        Link::command(|command| {
            if command["type"] == "follow" {
                command["on"] = json!(true);
            }
        });
    a_server_that_lets_users_follow_any_number_of_rooms_is_caught
    by following::a_user_follows_a_limited_number_of_rooms =>
        Link::event("error", |event| {
            *event = json!({"type": "done", "room": event["room"], "ref": event["ref"]});
        });
    a_server_that_lets_users_follow_forbidden_rooms_is_caught
    by following::a_room_without_the_right_cannot_be_followed =>
        answer_instead("follow", |command| {
            json!({"type": "done", "room": command["room"], "ref": command["ref"]})
        });
    a_server_that_takes_a_number_for_on_is_caught by following::bad_fields_are_refused =>
        Link::command(|command| {
            if command["on"] == 1 {
                command["on"] = json!(true);
            }
        });
}

/// Sends each event of this type 40 times.
fn repeats(kind: &'static str) -> Link {
    Link::down(move |frame, wires| {
        let is_of_kind = frame.json().is_some_and(|event| event["type"] == kind);
        for _ in 0..if is_of_kind { 40 } else { 1 } {
            wires.client(&frame);
        }
    })
}

/// Answers each `read` with its own position.
fn goes_back() -> Link {
    let asked = Arc::new(AtomicU64::new(0));
    let known = Arc::clone(&asked);
    let down = Link::event("read", move |event| event["seq"] = json!(known.load(Ordering::Relaxed)));
    let up = Link::command(move |command| {
        if command["type"] == "read" {
            asked.store(command["seq"].as_u64().unwrap_or_default(), Ordering::Relaxed);
        }
    });
    Link { up: up.up, ..down }
}
