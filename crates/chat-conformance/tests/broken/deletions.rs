use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::changes::in_pages;
use crate::link::{Link, answer_instead, remove_field};

defects! {
    // Defects of deletions, reactions and rights.
    a_server_that_only_hides_a_deleted_body_is_caught by deletions::a_deleted_body_is_gone_everywhere =>
        keeps_deleted(|message| message["body"] = json!({"text": "secret one"}));
    a_server_that_keeps_the_key_of_a_deleted_message_is_caught
    by deletions::a_deleted_body_is_gone_everywhere =>
        keeps_deleted(|message| message["key"] = json!("key"));
    a_server_that_replays_the_body_of_a_deleted_message_is_caught
    by deletions::a_deleted_body_is_gone_everywhere =>
        Link::event("changed", |event| {
            if event["seq"] == 2 && event["what"] == "superseded" {
                event["body"] = json!({"text": "secret two"});
            }
        });
    a_server_that_edits_a_deleted_message_is_caught by deletions::a_change_after_a_deletion_is_gone =>
        Link::event("error", |event| {
            if event["code"] == "gone" {
                *event = json!({"type": "done", "seq": 4, "room": event["room"], "ref": event["ref"]});
            }
        });
    a_server_that_deletes_twice_is_caught by deletions::a_repeated_deletion_is_a_duplicate =>
        Link::event("done", |event| remove_field(event, "duplicate"));
    a_server_that_restores_a_message_by_its_key_is_caught by deletions::a_repeated_key_restores_nothing =>
        {
            let mut sent = 0;
            Link::command(move |command| {
                if command["type"] == "send" {
                    sent += 1;
                    command["key"] = json!(format!("k{sent}"));
                }
            })
        };
    a_server_that_edits_after_a_deletion_is_caught
    by deletions::an_edit_and_a_deletion_at_once_end_in_the_deletion =>
        Link::command(|command| {
            if command["type"] == "delete" {
                command["type"] = json!("edit");
                command["body"] = json!({"text": "secret"});
            }
        });
    a_server_that_keeps_the_reactions_of_a_deleted_message_is_caught
    by deletions::a_reaction_and_a_deletion_at_once_end_in_the_deletion =>
        keeps_deleted(|message| message["reactions"] = json!([]));
    a_server_that_counts_repeated_reactions_is_caught by reactions::a_repeated_reaction_changes_nothing =>
        Link::event("done", |event| {
            if event["seq"].is_null() {
                event["seq"] = json!(2);
            }
        });
    a_server_that_sends_only_the_new_reaction_is_caught by reactions::reactions_are_counted_by_user =>
        Link::event("changed", |event| {
            if let Some(reactions) = event["reactions"].as_array_mut() {
                reactions.truncate(1);
            }
        });
    a_server_that_sorts_reactions_is_caught by reactions::reactions_are_counted_by_user =>
        in_pages(|message| {
            if let Some(reactions) = message["reactions"].as_array_mut() {
                reactions.sort_by_key(|reaction| reaction["reaction"].to_string());
            }
        });
    a_server_that_counts_only_the_users_that_it_names_is_caught by reactions::a_reaction_names_ten_users =>
        in_pages(|message| {
            for reaction in message["reactions"].as_array_mut().into_iter().flatten() {
                reaction["count"] = json!(reaction["users"].as_array().map_or(0, Vec::len));
            }
        });
    a_server_that_names_all_users_with_long_names_is_caught
    by reactions::long_names_of_many_reactions_are_left_out =>
        Link::event("changed", |event| {
            let reactions = event["reactions"].as_array_mut().map(Vec::as_mut_slice).unwrap_or_default();
            let Some((first, later)) = reactions.split_first_mut() else { return };
            later.iter_mut().for_each(|reaction| reaction["users"] = first["users"].clone());
        });
    a_server_whose_reactions_are_never_stale_is_caught by reactions::an_edit_makes_reactions_stale =>
        in_pages(|message| {
            for reaction in message["reactions"].as_array_mut().into_iter().flatten() {
                remove_field(reaction, "stale");
            }
        });
    a_server_that_accepts_any_number_of_reactions_is_caught by reactions::too_many_reactions_are_refused =>
        Link::command(|command| {
            if command["reaction"] == "c" {
                command["reaction"] = json!("b");
            }
        });
    a_server_that_loses_one_of_two_reactions_is_caught by reactions::reactions_at_once_are_all_counted =>
        in_pages(|message| message["reactions"][0]["count"] = json!(1));
    a_server_that_lets_guests_of_one_name_change_messages_is_caught
    by moderation::a_guest_changes_only_messages_of_the_connection =>
        Link::event("error", |event| {
            if event["code"] == "forbidden" {
                *event = json!({"type": "done", "seq": 2, "room": event["room"], "ref": event["ref"]});
            }
        });
    a_server_that_treats_users_as_guests_is_caught
    by moderation::a_user_changes_messages_of_earlier_connections =>
        Link::event("done", |event| {
            *event = json!({"type": "error", "code": "forbidden", "message": "no", "ref": event["ref"]});
        });
    a_server_that_lets_anyone_pin_is_caught by moderation::a_pin_without_the_role_is_forbidden =>
        answer_instead("pin", |command| {
            json!({"type": "done", "room": command["room"], "seq": 2, "ref": command["ref"]})
        });
    a_server_that_forgets_a_pin_is_caught by moderation::a_moderator_pins_messages =>
        in_pages(|message| remove_field(message, "pinned"));
    a_server_that_names_the_author_as_the_moderator_is_caught
    by moderation::a_moderator_deletes_messages_of_others =>
        in_pages(|message| {
            let user = message["user"].clone();
            if message["deleted"].is_object() {
                message["deleted"]["by"] = user;
            }
        });
    a_server_that_tells_the_state_to_those_without_the_right_is_caught
    by moderation::the_right_is_judged_before_the_state from
        judges_the_state_first();
    a_server_that_does_not_ask_the_host_about_edits_is_caught by moderation::a_rejected_change_is_not_stored =>
        Link::command(|command| {
            if command["type"] == "edit" && command["body"]["text"] == "spam" {
                command["body"]["text"] = json!("eggs");
            }
        });
    a_server_whose_changes_cost_nothing_is_caught by rates::a_change_costs_as_much_as_a_message =>
        answer_instead("react", |command| {
            json!({"type": "done", "room": command["room"], "seq": 2, "ref": command["ref"]})
        });
}

/// Changes each deleted message, in pages and alone.
fn keeps_deleted(change: fn(&mut Value)) -> Link {
    Link::map_down(move |frame| {
        let Some(mut event) = frame.json() else { return Some(frame) };
        if event["deleted"].is_object() {
            change(&mut event);
        }
        let messages = event.get_mut("messages").and_then(Value::as_array_mut).into_iter().flatten();
        messages.filter(|message| message["deleted"].is_object()).for_each(change);
        Some(frame.with_payload(event.to_string()))
    })
}

/// Says `gone` instead of `forbidden` after a deletion.
fn judges_the_state_first() -> impl Fn() -> Link + Send + Sync {
    let deleted = Arc::new(AtomicBool::new(false));
    move || {
        let deleted = Arc::clone(&deleted);
        Link::map_down(move |frame| {
            let Some(mut event) = frame.json() else { return Some(frame) };
            deleted.fetch_or(event["what"] == "deleted", Ordering::Relaxed);
            if event["code"] == "forbidden" && deleted.load(Ordering::Relaxed) {
                event["code"] = json!("gone");
            }
            Some(frame.with_payload(event.to_string()))
        })
    }
}
