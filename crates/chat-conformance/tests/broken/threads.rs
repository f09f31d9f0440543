use serde_json::{Value, json};

use crate::changes::in_pages;
use crate::link::{Link, remove_field};

defects! {
    // Defects of threads, mentions and pins.
    a_server_that_does_not_say_what_a_message_answers_is_caught by threads::an_answer_names_its_message =>
        Link::event("message", |event| remove_field(event, "reply_to"));
    a_server_that_does_not_count_the_messages_of_a_thread_is_caught
    by threads::a_root_counts_the_messages_of_its_thread =>
        in_pages(|message| remove_field(message, "replies"));
    a_server_that_names_no_thread_is_caught by threads::a_follower_has_what_a_new_reader_gets =>
        Link::event("message", |event| remove_field(event, "thread"));
    a_server_that_counts_messages_without_a_rev_is_caught
    by threads::a_page_and_a_replay_count_a_message_once =>
        in_pages(|message| {
            if message["replies"].is_object() {
                remove_field(message, "rev");
            }
        });
    a_server_that_ignores_links_is_caught by threads::a_link_to_no_message_is_refused =>
        Link::command(|command| {
            remove_field(command, "reply_to");
            remove_field(command, "thread");
        });
    a_server_that_has_threads_in_threads_is_caught by threads::a_message_of_a_thread_begins_no_thread =>
        Link::command(|command| {
            if command["thread"] == 2 {
                command["thread"] = json!(1);
            }
        });
    a_server_that_reads_the_whole_thread_is_caught by threads::a_thread_is_read_in_pages =>
        Link::command(|command| {
            if command["thread"].is_u64() {
                remove_field(command, "limit");
            }
        });
    a_server_that_reads_the_room_in_place_of_a_thread_is_caught by threads::a_thread_is_read_in_pages =>
        Link::command(|command| {
            if command["type"] == "history" {
                remove_field(command, "thread");
            }
        });
    a_server_that_reads_a_thread_of_nothing_is_caught by threads::a_thread_of_no_message_is_refused =>
        Link::event("error", |event| {
            *event = json!({"type": "history", "room": event["room"], "epoch": "e", "messages": [], "more": false,
                            "ref": event["ref"]});
        });
    a_server_that_takes_a_text_for_a_link_is_caught by threads::a_link_with_a_bad_position_is_refused =>
        Link::command(|command| {
            if command["reply_to"] == "1" {
                command["reply_to"] = json!(1);
            }
        });
    a_server_that_deletes_a_thread_is_caught by threads::a_deleted_root_keeps_its_thread =>
        in_pages(|message| {
            if message["deleted"].is_object() {
                remove_field(message, "replies");
            }
        });
    a_server_that_takes_a_reply_for_the_deletion_is_caught by threads::a_deleted_root_keeps_its_thread =>
        Link::event("done", |event| {
            if event["duplicate"] == true {
                event["seq"] = json!(4);
            }
        });
    a_server_that_removes_deleted_messages_from_threads_is_caught
    by threads::a_deleted_message_is_still_counted =>
        in_pages(|message| {
            if message["deleted"].is_object() {
                remove_field(message, "thread");
            }
        });
    a_server_that_compares_only_bodies_is_caught by threads::a_key_with_other_links_is_a_conflict =>
        Link::command(|command| {
            if command["key"] == "k" {
                remove_field(command, "mentions");
                command["thread"] = json!(1);
            }
        });
    a_server_that_repeats_mentions_is_caught by mentions::mentions_are_delivered =>
        Link::event("message", |event| {
            if let Some(mentions) = event["mentions"].as_array_mut() {
                mentions.push(json!("nobody"));
            }
        });
    a_server_that_cuts_a_list_of_mentions_is_caught by mentions::bad_mentions_are_refused =>
        Link::command(|command| {
            if let Some(mentions) = command["mentions"].as_array_mut() {
                mentions.truncate(50);
            }
        });
    a_server_that_lets_anyone_mention_the_room_is_caught
    by mentions::a_mention_of_the_room_needs_a_moderator =>
        Link::command(mention_no_room);
    a_server_that_lets_anyone_mention_the_room_in_an_edit_is_caught
    by mentions::an_edit_that_mentions_the_room_needs_a_moderator =>
        Link::command(mention_no_room);
    a_server_that_ignores_the_mentions_of_an_edit_is_caught
    by mentions::an_edit_replaces_the_mentions_if_it_has_some =>
        Link::command(|command| {
            if command["type"] == "edit" {
                remove_field(command, "mentions");
            }
        });
    a_server_that_keeps_the_mentions_of_a_deleted_message_is_caught
    by mentions::a_deleted_message_mentions_nobody =>
        in_pages(|message| message["mentions"] = json!(["secret"]));
    a_server_that_does_not_say_what_is_pinned_is_caught by pins::joined_names_the_pinned_messages =>
        Link::event("joined", |event| remove_field(event, "pins"));
    a_server_that_pins_any_number_of_messages_is_caught by pins::a_pin_over_the_limit_is_rejected =>
        Link::event("error", |event| {
            *event = json!({"type": "done", "room": event["room"], "seq": 6, "ref": event["ref"]});
        });
}

/// Replaces a mention of the room by that of a user.
fn mention_no_room(command: &mut Value) {
    if command["mentions"] == "@room" {
        command["mentions"] = json!(["room"]);
    }
}
