use serde_json::json;

use crate::link::{Link, remove_field};

defects! {
    a_server_that_only_hides_a_purged_body_is_caught by purges::a_purged_body_is_gone_everywhere =>
        messages(|message| {
            if message["deleted"].is_object() {
                message["body"] = json!({"text": "secret one"});
            }
        });
    a_server_that_replays_the_edit_of_a_purged_message_is_caught
    by purges::a_purged_body_is_gone_everywhere =>
        Link::event("changed", |event| {
            if event["what"] == "superseded" {
                event["body"] = json!({"text": "secret two"});
            }
        });
    a_server_that_does_not_say_who_has_purged_is_caught by purges::a_purged_body_is_gone_everywhere =>
        Link::event("purged", |event| remove_field(event, "by"));
    a_server_that_purges_all_users_is_caught by purges::a_purged_body_is_gone_everywhere =>
        messages(|message| {
            if message["seq"] == 4 {
                remove_field(message, "body");
                message["deleted"] = json!({"at": 1, "by": {"id": "1", "name": "Ann"}});
                message["rev"] = json!(7);
            }
        });
    a_server_whose_purge_is_no_entry_is_caught by purges::a_follower_has_what_a_new_reader_gets =>
        Link::drop_events(|event| event["type"] == "purged");
    a_server_that_names_too_short_a_range_is_caught by purges::a_follower_has_what_a_new_reader_gets =>
        Link::event("purged", |event| event["to"] = event["from"].clone());
    a_server_that_purges_deleted_messages_again_is_caught
    by purges::a_follower_has_what_a_new_reader_gets =>
        Link::event("history", |event| {
            for message in event["messages"].as_array_mut().into_iter().flatten() {
                if message["seq"] == 5 {
                    message["rev"] = json!(10);
                }
            }
        });
    a_server_that_keeps_the_pins_of_purged_messages_is_caught
    by purges::a_follower_has_what_a_new_reader_gets =>
        Link::event("joined", |event| {
            if event["seq"].as_u64() > Some(9) {
                event["pins"] = json!([2]);
            }
        });
    a_server_that_names_no_unpinned_message_is_caught by purges::a_follower_has_what_a_new_reader_gets =>
        Link::event("purged", |event| remove_field(event, "unpinned"));
    a_server_that_changes_purged_messages_is_caught by purges::a_purge_is_final =>
        Link::event("error", |event| {
            if event["code"] == "gone" {
                *event = json!({"type": "done", "seq": 4, "room": event["room"], "ref": event["ref"]});
            }
        });
    a_server_that_stores_a_repeated_purge_is_caught by purges::a_purge_is_final =>
        Link::event("done", |event| {
            if event["seq"].is_null() {
                event["seq"] = json!(9);
            }
        });
    a_server_that_restores_a_purged_message_by_its_key_is_caught by purges::a_purge_is_final =>
        {
            let mut sent = 0;
            Link::command(move |command| {
                if command["type"] == "send" {
                    sent += 1;
                    command["key"] = json!(format!("k{sent}"));
                }
            })
        };
    a_server_that_purges_later_messages_is_caught by purges::a_later_message_stays =>
        messages(|message| {
            if message["body"]["text"] == "later" {
                remove_field(message, "body");
                message["deleted"] = json!({"at": 1, "by": {"id": "1", "name": "Ann"}});
            }
        });
    a_server_that_acknowledges_a_purge_with_another_entry_is_caught
    by purges::a_purge_has_a_place_among_messages =>
        Link::event("done", |event| event["seq"] = json!(1));
    a_server_that_counts_purged_messages_is_caught by purges::purged_messages_are_not_unread =>
        Link::event("joined", |event| event["unread"] = json!(4));
    a_server_whose_moderators_purge_is_caught by purges::only_an_owner_purges =>
        Link::event("error", |event| {
            if event["code"] == "forbidden" {
                *event = json!({"type": "done", "seq": 4, "room": event["room"], "ref": event["ref"]});
            }
        });
    a_server_whose_owners_cannot_purge_moderators_is_caught by purges::only_an_owner_purges =>
        Link::event("done", |event| {
            if event["seq"] == 5 {
                *event = json!({"type": "error", "code": "forbidden", "message": "no", "ref": event["ref"]});
            }
        });
    a_server_that_takes_any_user_to_purge_is_caught by purges::only_an_owner_purges =>
        Link::command(|command| {
            if command["type"] == "purge" && !command["user"].is_string() {
                command["user"] = json!("9");
            }
        });
}

/// Changes each message, on its own and in pages.
fn messages(mut change: impl FnMut(&mut serde_json::Value) + Send + 'static) -> Link {
    Link::map_down(move |frame| {
        let Some(mut event) = frame.json() else { return Some(frame) };
        match event["type"].as_str() {
            Some("message") => change(&mut event),
            Some("history" | "found") => {
                event["messages"].as_array_mut().into_iter().flatten().for_each(&mut change);
            }
            _ => return Some(frame),
        }
        Some(frame.with_payload(event.to_string()))
    })
}
