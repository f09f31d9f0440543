use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::json;

use crate::frame::Frame;
use crate::link::{Link, answer_instead, remove_field};

defects! {
    // Defects of events and replies.
    a_server_whose_welcome_is_not_first_is_caught by events::the_welcome_is_first_and_has_the_limits =>
        Link::swap("welcome");
    a_server_that_gives_all_connections_one_id_is_caught by events::each_connection_has_its_own_id =>
        Link::event("welcome", |event| event["connection"] = json!("c1"));
    a_server_that_omits_the_ref_is_caught by commands::each_command_gets_its_own_reply =>
        Link::event("members", |event| remove_field(event, "ref"));
    a_server_that_invents_a_ref_is_caught by commands::a_reply_without_a_ref_has_none =>
        Link::event("error", |event| event["ref"] = json!(""));
    a_server_whose_replies_are_out_of_order_is_caught by guarantees::replies_keep_the_order_of_the_commands =>
        Link::swap("members");
    a_server_that_sends_room_events_before_joined_is_caught by guarantees::joined_precedes_the_rooms_events =>
        Link::swap("joined");
    a_server_that_accepts_a_bad_room_is_caught by rooms::a_room_name_in_upper_case_is_refused =>
        Link::command(|command| {
            let lower = command["room"].as_str().map(str::to_lowercase);
            if let Some(room) = lower {
                command["room"] = json!(room);
            }
        });
    a_server_that_accepts_an_empty_body_is_caught by messages::an_empty_body_is_refused =>
        Link::command(|command| {
            if command["body"]["text"] == "" {
                command["body"]["text"] = json!("-");
            }
        });
    a_server_that_sends_no_presence_after_a_leave_is_caught by events::presence_announces_joins_and_leaves =>
        Link::drop_events(|event| event["type"] == "presence" && event["state"] == "left");
    a_server_that_calls_every_resume_recovered_is_caught by resume::a_gap_is_announced =>
        Link::event("joined", |event| event["recovered"] = json!(true));
    a_server_that_hides_a_gap_is_caught by resume::a_gap_is_announced =>
        Link::drop_events(|event| event["type"] == "gap");
    a_server_that_gives_all_guests_one_name_is_caught by names::a_guest_without_a_name_gets_a_random_id =>
        Link::event("welcome", |event| {
            event["user"] = json!({"id": "guest-k7f2mqr3k4z94b", "name": "guest-k7f2mq"});
        });
    a_server_that_numbers_its_guests_is_caught by names::a_guest_without_a_name_gets_a_random_id from
        number_guests();
    a_server_that_gives_away_the_name_of_an_unnamed_guest_is_caught
    by names::the_name_of_an_unnamed_guest_cannot_be_taken =>
        rename("%67%75%65%73%74%2d", "%78");
    a_server_that_refuses_all_joiners_is_caught by names::joiners_inside_a_sequence_are_accepted =>
        rename("%ef%b8%8f", "%1b");
    a_server_that_takes_joiners_into_the_id_is_caught by names::joiners_inside_a_sequence_are_accepted =>
        Link::event("welcome", |event| event["user"]["id"] = event["user"]["name"].clone());
    a_server_that_accepts_joiners_anywhere_is_caught by names::joiners_outside_a_sequence_are_refused =>
        rename("%e2%80%8d", "");
    a_server_that_accepts_letters_that_look_alike_is_caught
    by names::a_name_that_mixes_letters_that_look_alike_is_refused =>
        rename("%d0%90", "%41");
    a_server_that_accepts_a_reserved_name_is_caught by names::a_reserved_name_is_refused =>
        rename("%41%64%6d%69%6e", "%41%64");
    a_server_that_refuses_marks_is_caught by rooms::a_room_name_with_marks_is_accepted =>
        Link::command(|command| {
            if command["room"].as_str().is_some_and(|room| room.contains('\u{e31}')) {
                command["room"] = json!("!");
            }
        });
    a_server_that_accepts_full_width_letters_is_caught
    by rooms::a_room_name_of_compatibility_characters_is_refused =>
        Link::command(|command| {
            if command["room"] == "ｌｏｂｂｙ" {
                command["room"] = json!("lobby");
            }
        });
    a_server_that_accepts_an_escape_in_a_key_is_caught by keys::a_key_that_cannot_be_printed_is_refused =>
        Link::command(|command| {
            let printable = command["key"].as_str().map(|key| key.replace('\u{1b}', ""));
            if let Some(key) = printable {
                command["key"] = json!(key);
            }
        });
    a_server_that_accepts_an_invisible_text_is_caught
    by messages::a_text_without_a_visible_character_is_refused =>
        Link::command(|command| {
            if command["body"]["text"] == "\u{2800}" {
                command["body"]["text"] = json!("-");
            }
        });
    a_server_that_does_not_name_the_broken_rule_is_caught
    by messages::control_characters_in_a_text_are_refused =>
        Link::event("error", |event| event["message"] = json!("the body is bad"));
    a_server_that_lists_members_unsorted_is_caught by rooms::members_are_sorted_and_listed_once =>
        Link::event("members", |event| {
            if let Some(members) = event["members"].as_array_mut() {
                members.reverse();
            }
        });
    a_server_that_delivers_after_a_leave_is_caught by rooms::a_client_that_left_gets_no_more_events =>
        answer_instead(
            "leave",
            |command| json!({"type": "left", "room": command["room"], "ref": command["ref"]}),
        );
    a_server_that_lists_the_oldest_search_results_first_is_caught
    by search::a_search_finds_messages_with_every_word =>
        Link::event("found", |event| {
            if let Some(messages) = event["messages"].as_array_mut() {
                messages.reverse();
            }
        });
    a_server_that_ignores_the_search_position_is_caught by search::a_search_is_paged_with_limit_and_before =>
        Link::command(|command| {
            if command["type"] == "search" {
                remove_field(command, "before");
            }
        });
    a_server_that_treats_a_word_as_an_operator_is_caught by search::a_query_has_no_operators =>
        Link::command(|command| {
            let first = command["query"].as_str().and_then(|query| query.split(" OR ").next());
            if let Some(first) = first.map(ToOwned::to_owned) {
                command["query"] = json!(first);
            }
        });
    a_server_that_ignores_the_default_search_limit_is_caught by search::a_search_limit_is_clamped =>
        Link::command(|command| {
            if command["type"] == "search" && command["limit"].is_null() {
                command["limit"] = json!(100);
            }
        });
    a_server_that_accepts_any_number_of_errors_is_caught
    by json::ten_errors_within_ten_seconds_close_the_connection =>
        Link::up(|frame, wires| {
            if frame.opcode() == 1 && frame.json().is_none() {
                let error = json!({"type": "error", "code": "bad_json", "message": "no"});
                let error = frame.with_payload(error.to_string());
                wires.client(&Frame { masked: false, ..error });
            } else {
                wires.server(&frame);
            }
        });
    a_server_that_repeats_a_typing_event_at_once_is_caught by events::many_states_of_typing_are_two_events =>
        Link::repeat("typing");
    a_server_that_lets_typing_outlive_its_connection_is_caught
    by events::typing_ends_with_its_connection_and_by_itself =>
        Link { ignores_disconnects: true, ..Link::unchanged() };
    a_server_that_does_not_say_that_it_counts_is_caught
    by occupancy::a_room_above_the_threshold_counts_its_users =>
        Link::event("joined", |event| remove_field(event, "presence"));
    a_server_that_repeats_an_occupancy_at_once_is_caught
    by occupancy::a_room_above_the_threshold_counts_its_users =>
        Link::repeat("occupancy");
    a_server_that_does_not_say_that_it_stops_counting_is_caught
    by occupancy::a_room_with_fewer_users_announces_each_again =>
        Link::event("occupancy", |event| event["presence"] = json!("count"));
    a_server_that_sends_typing_in_a_room_that_counts_is_caught
    by occupancy::a_room_that_counts_sends_no_typing =>
        Link::down(|frame, wires| {
            if let Some(event) = frame.json().filter(|event| event["type"] == "message") {
                let typing =
                    json!({"type": "typing", "room": event["room"], "user": event["user"], "active": true});
                wires.client(&frame.clone().with_payload(typing.to_string()));
            }
            wires.client(&frame);
        });
    a_server_that_loses_a_departure_is_caught
    by occupancy::no_departure_is_lost_when_many_members_drop_at_once =>
        Link::drop_events(|event| {
            let is_lost = event["user"]["id"].as_str().is_some_and(|id| id.starts_with("u37"));
            event["state"] == "left" && is_lost
        });
    a_server_that_repeats_a_departure_is_caught
    by occupancy::no_departure_is_lost_when_many_members_drop_at_once =>
        Link::down(|frame, wires| {
            wires.client(&frame);
            if frame.json().is_some_and(|event| event["state"] == "left") {
                wires.client(&frame);
            }
        });
    a_server_that_does_not_count_down_is_caught
    by occupancy::the_last_number_is_true_when_many_members_drop_at_once =>
        {
            let mut most = 0;
            Link::event("occupancy", move |event| {
                most = event["members"].as_u64().unwrap_or_default().max(most);
                event["members"] = json!(most);
            })
        };
    a_server_that_lets_a_user_create_rooms_again_at_once_is_caught
    by rooms::creating_too_many_rooms_is_refused =>
        Link::event("error", |event| event["retry_after_ms"] = json!(1_000));
    a_server_that_ignores_the_last_user_of_a_page_is_caught by rooms::members_are_paged =>
        Link::command(|command| {
            if command["type"] == "members" && command["after"].is_object() {
                remove_field(command, "after");
            }
        });
    a_server_that_sends_all_members_at_once_is_caught by rooms::members_are_paged =>
        Link::command(|command| {
            if command["type"] == "members" {
                remove_field(command, "limit");
            }
        });
}

/// Replaces a part of the name that the client asks for.
fn rename(from: &'static str, to: &'static str) -> Link {
    Link::request(move |head| head.replacen(from, to, 1))
}

/// Gives guests ids and names that the next client can foretell.
fn number_guests() -> impl Fn() -> Link + Send + Sync {
    let guests = AtomicU64::new(0);
    move || {
        let number = guests.fetch_add(1, Ordering::Relaxed);
        Link::event("welcome", move |event| {
            event["user"] = json!({"id": format!("guest-{number}"), "name": format!("guest-{number}")});
        })
    }
}
