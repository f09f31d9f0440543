use serde_json::json;

use crate::frame::Frame;
use crate::link::{Link, answered, forget};
use crate::{Defect, defect};

/// What a server says of itself and to the commands.
pub(crate) fn defects() -> Vec<Defect> {
    vec![
        defect(
            "a_server_whose_welcome_comes_late_is_caught",
            "events::the_welcome_comes_first_and_says_what_holds",
            || Link::swap("welcome"),
        ),
        defect(
            "a_server_that_names_all_connections_alike_is_caught",
            "events::every_connection_has_a_name_of_its_own",
            || Link::event("welcome", |event| event["connection"] = json!("c1")),
        ),
        defect(
            "a_server_that_forgets_the_ref_is_caught",
            "commands::every_command_gets_its_own_reply",
            || Link::event("members", |event| forget(event, "ref")),
        ),
        defect("a_server_that_invents_a_ref_is_caught", "commands::a_reply_to_no_ref_has_none", || {
            Link::event("error", |event| event["ref"] = json!(""))
        }),
        defect(
            "a_server_whose_replies_overtake_each_other_is_caught",
            "guarantees::replies_keep_the_order_of_the_commands",
            || Link::swap("members"),
        ),
        defect(
            "a_server_that_tells_of_a_room_before_joined_is_caught",
            "guarantees::joined_comes_before_the_rooms_events",
            || Link::swap("joined"),
        ),
        defect("a_server_that_accepts_a_bad_room_is_caught", "rooms::a_room_name_is_in_lower_case", || {
            Link::command(|command| {
                let lower = command["room"].as_str().map(str::to_lowercase);
                if let Some(room) = lower {
                    command["room"] = json!(room);
                }
            })
        }),
        defect(
            "a_server_that_lets_its_users_send_nothing_is_caught",
            "messages::a_body_that_says_nothing_is_refused",
            || {
                Link::command(|command| {
                    if command["body"]["text"] == "" {
                        command["body"]["text"] = json!("-");
                    }
                })
            },
        ),
        defect("a_server_that_tells_nobody_who_left_is_caught", "events::coming_and_going_is_told", || {
            Link::swallow(|event| event["type"] == "presence" && event["state"] == "left")
        }),
        defect("a_server_that_calls_every_resume_recovered_is_caught", "resume::a_hole_is_told", || {
            Link::event("joined", |event| event["recovered"] = json!(true))
        }),
        defect("a_server_that_hides_a_gap_is_caught", "resume::a_hole_is_told", || {
            Link::swallow(|event| event["type"] == "gap")
        }),
        defect(
            "a_server_that_calls_all_guests_alike_is_caught",
            "names::a_guest_without_a_name_gets_a_number",
            || Link::event("welcome", |event| event["user"]["name"] = json!("guest-1")),
        ),
        defect(
            "a_server_that_lists_members_unsorted_is_caught",
            "rooms::members_are_sorted_and_each_stands_once",
            || {
                Link::event("members", |event| {
                    if let Some(members) = event["members"].as_array_mut() {
                        members.reverse();
                    }
                })
            },
        ),
        defect(
            "a_server_that_delivers_to_who_has_left_is_caught",
            "rooms::who_left_gets_nothing_more",
            || {
                answered(
                    "leave",
                    |command| json!({"type": "left", "room": command["room"], "ref": command["ref"]}),
                )
            },
        ),
        defect(
            "a_server_that_finds_the_oldest_first_is_caught",
            "search::every_word_is_looked_for_newest_first",
            || {
                Link::event("found", |event| {
                    if let Some(messages) = event["messages"].as_array_mut() {
                        messages.reverse();
                    }
                })
            },
        ),
        defect(
            "a_server_that_searches_from_the_newest_every_time_is_caught",
            "search::a_search_is_paged_with_limit_and_before",
            || {
                Link::command(|command| {
                    if command["type"] == "search" {
                        forget(command, "before");
                    }
                })
            },
        ),
        defect(
            "a_server_that_takes_a_word_for_an_operator_is_caught",
            "search::a_query_has_no_operators",
            || {
                Link::command(|command| {
                    let first = command["query"].as_str().and_then(|query| query.split(" OR ").next());
                    if let Some(first) = first.map(ToOwned::to_owned) {
                        command["query"] = json!(first);
                    }
                })
            },
        ),
        defect("a_server_that_knows_no_end_of_a_search_is_caught", "search::a_search_is_bounded", || {
            Link::command(|command| {
                if command["type"] == "search" && command["limit"].is_null() {
                    command["limit"] = json!(100);
                }
            })
        }),
        defect(
            "a_server_that_bears_any_number_of_errors_is_caught",
            "json::ten_errors_within_ten_seconds_close",
            || {
                Link::up(|frame, wires| {
                    if frame.opcode() == 1 && frame.json().is_none() {
                        let error = json!({"type": "error", "code": "bad_json", "message": "no"});
                        let error = frame.with_payload(error.to_string());
                        wires.client(&Frame { masked: false, ..error });
                    } else {
                        wires.server(&frame);
                    }
                })
            },
        ),
    ]
}
