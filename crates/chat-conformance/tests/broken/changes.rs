use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::frame::Frame;
use crate::link::{Link, answer_instead, remove_field};

defects! {
    // Defects of changes to messages.
    a_server_that_does_not_say_who_edited_is_caught by changes::an_edit_replaces_the_body =>
        Link::event("changed", |event| remove_field(event, "by"));
    a_server_that_keeps_the_old_body_is_caught by changes::an_edit_replaces_the_body from
        keeps_first_bodies();
    a_server_that_adds_a_field_to_an_edited_body_is_caught by changes::an_edited_body_is_delivered_unchanged =>
        Link::command(|command| {
            if command["type"] == "edit" {
                command["body"]["more"] = json!(1);
            }
        });
    a_server_that_does_not_count_changes_is_caught by changes::changes_and_messages_share_one_sequence =>
        Link::event("joined", |event| event["seq"] = json!(2));
    a_server_that_changes_a_change_is_caught by changes::a_change_of_no_message_is_refused =>
        Link::command(|command| {
            if command["seq"] == 2 {
                command["seq"] = json!(1);
            }
        });
    a_server_that_takes_a_text_for_a_seq_is_caught by changes::a_change_with_bad_fields_is_refused =>
        Link::command(|command| {
            if command["seq"] == "1" {
                command["seq"] = json!(1);
            }
        });
    a_server_that_accepts_a_reaction_that_is_not_nfc_is_caught
    by changes::a_reaction_that_breaks_a_rule_is_refused =>
        Link::command(|command| {
            if command["reaction"] == "e\u{301}" {
                command["reaction"] = json!("é");
            }
        });
    a_server_that_refuses_emoji_sequences_is_caught by changes::a_reaction_that_breaks_a_rule_is_refused =>
        Link::command(|command| {
            if command["reaction"].as_str().is_some_and(|reaction| reaction.contains('\u{200d}')) {
                command["reaction"] = json!("");
            }
        });
    a_server_that_accepts_an_empty_edit_is_caught by changes::the_body_of_an_edit_is_checked =>
        Link::command(|command| {
            if command["body"]["text"] == "" {
                command["body"]["text"] = json!("-");
            }
        });
    a_server_that_cuts_a_long_reason_is_caught by changes::a_reason_that_breaks_a_rule_is_refused =>
        Link::command(|command| {
            let short = command["reason"].as_str().map(|reason| reason.chars().take(9).collect::<String>());
            if let Some(short) = short {
                command["reason"] = json!(short);
            }
        });
    a_server_that_ignores_the_rev_is_caught by changes::a_second_edit_with_the_same_rev_is_a_conflict =>
        Link::command(|command| remove_field(command, "rev"));
    a_server_whose_reactions_conflict_with_edits_is_caught
    by changes::a_reaction_does_not_conflict_with_an_edit =>
        conflicts_with_reactions();
    a_server_that_forgets_the_keys_of_edits_is_caught
    by changes::an_edit_with_a_repeated_key_is_a_duplicate =>
        Link::command(|command| {
            if command["type"] == "edit" && command["key"] == "k" {
                remove_field(command, "key");
            }
        });
    a_server_that_ignores_seqs_is_caught by changes::single_messages_are_read_by_their_seqs =>
        Link::command(|command| remove_field(command, "seqs"));
    a_server_that_reads_any_number_of_seqs_is_caught by changes::bad_seqs_are_refused =>
        Link::command(|command| {
            if let Some(seqs) = command["seqs"].as_array_mut() {
                seqs.truncate(100);
            }
        });
    a_server_that_lets_anyone_read_single_messages_is_caught
    by changes::a_change_by_a_connection_that_did_not_join_is_refused =>
        answer_instead("history", |command| {
            json!({"type": "history", "room": command["room"], "epoch": "e", "messages": [], "more": false,
                   "ref": command["ref"]})
        });
    a_server_that_counts_the_rev_wrong_is_caught by folding::a_follower_has_what_a_new_reader_gets =>
        in_pages(|message| {
            if message["rev"].is_u64() {
                message["rev"] = message["seq"].clone();
            }
        });
    a_server_that_loses_reactions_with_an_edit_is_caught by folding::a_follower_has_what_a_new_reader_gets =>
        in_pages(|message| remove_field(message, "reactions"));
    a_server_that_replays_only_messages_is_caught by folding::a_replay_from_any_position_has_each_entry =>
        after_joined(|event| (event["type"] != "changed").then_some(event));
    a_server_that_replays_earlier_states_is_caught by folding::a_replaced_change_is_superseded =>
        Link::event("changed", |event| {
            if event["what"] == "superseded" {
                event["what"] = json!("edited");
                event["body"] = json!({"text": "second"});
            }
        });
    a_server_that_does_not_keep_changes_for_a_resume_is_caught
    by folding::a_client_that_reconnects_gets_the_missed_changes =>
        after_joined(|event| (event["type"] != "changed").then_some(event));
    a_server_that_counts_entries_for_last_is_caught
    by folding::last_counts_messages_and_brings_all_later_entries from
        counts_entries_for_last();
    a_server_whose_pages_have_changes_is_caught by folding::a_page_of_the_history_has_messages_only =>
        Link::event("history", |event| {
            if let Some(messages) = event["messages"].as_array_mut() {
                messages.push(json!({"type": "changed", "seq": 8}));
            }
        });
    a_server_that_searches_earlier_texts_is_caught by folding::a_search_finds_the_present_text =>
        Link::command(|command| {
            if command["query"] == "apple" {
                command["query"] = json!("banana");
            }
        });
    a_server_that_drops_changes_for_a_reader_far_behind_is_caught
    by folding::a_reader_far_behind_gets_changes_from_the_log =>
        after_joined(|event| (event["seq"] != 100).then_some(event));
    a_server_that_keeps_changes_of_removed_messages_is_caught
    by folding::a_removed_message_is_in_no_later_entry =>
        Link::event("changed", |event| {
            if event["what"] == "superseded" {
                event["what"] = json!("edited");
                event["body"] = json!({"text": "removed"});
            }
        });
}

/// Changes each message of a page.
pub(crate) fn in_pages(change: fn(&mut Value)) -> Link {
    Link::event("history", move |event| {
        event["messages"].as_array_mut().into_iter().flatten().for_each(change);
    })
}

/// Replaces each entry after a `joined` that has a position, or drops it.
fn after_joined(change: fn(Value) -> Option<Value>) -> Link {
    let resumes = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&resumes);
    let down = Link::map_down(move |frame| match frame.json() {
        Some(event) if event["seq"].is_u64() && resumes.load(Ordering::Relaxed) && event["ref"].is_null() => {
            change(event).map(|event| frame.with_payload(event.to_string()))
        }
        _ => Some(frame),
    });
    let up = Link::command(move |command| {
        let has_position =
            command["type"] == "join" && (command["after"].is_object() || command["last"].is_u64());
        asked.fetch_or(has_position, Ordering::Relaxed);
    });
    Link { up: up.up, ..down }
}

/// Answers `conflict` to an edit with a `rev` after a reaction.
fn conflicts_with_reactions() -> Link {
    let mut has_reacted = false;
    Link::up(move |frame, wires| {
        let command = frame.json().unwrap_or_default();
        has_reacted |= command["type"] == "react";
        if !(has_reacted && command["rev"].is_u64()) {
            return wires.server(&frame);
        }
        let error = json!({"type": "error", "code": "conflict", "message": "no", "ref": command["ref"]});
        wires.client(&Frame { masked: false, ..frame.with_payload(error.to_string()) });
    })
}

/// Shows the body that each message had first.
fn keeps_first_bodies() -> impl Fn() -> Link + Send + Sync {
    let first: Arc<Mutex<BTreeMap<u64, Value>>> = Arc::default();
    move || {
        let first = Arc::clone(&first);
        Link::map_down(move |frame| {
            let Some(mut event) = frame.json() else { return Some(frame) };
            let mut first = first.lock().expect("no test panics with the lock");
            if event["type"] == "message" {
                first.entry(event["seq"].as_u64()?).or_insert_with(|| event["body"].clone());
            }
            for message in event.get_mut("messages").and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(body) = message["seq"].as_u64().and_then(|seq| first.get(&seq)) {
                    message["body"] = body.clone();
                }
            }
            Some(frame.with_payload(event.to_string()))
        })
    }
}

/// Resumes after the newest entries but `last`, whatever they are.
fn counts_entries_for_last() -> impl Fn() -> Link + Send + Sync {
    let known: Arc<Mutex<Option<Value>>> = Arc::default();
    move || {
        let (learns, known) = (Arc::clone(&known), Arc::clone(&known));
        let down = Link::event("joined", move |event| {
            *learns.lock().expect("no test panics with the lock") = Some(event["epoch"].clone());
        });
        let up = Link::command(move |command| {
            let epoch = known.lock().expect("no test panics with the lock").clone();
            if let (Some(last), Some(epoch)) = (command["last"].as_u64(), epoch) {
                remove_field(command, "last");
                command["after"] = json!({"epoch": epoch, "seq": 7_u64.saturating_sub(last)});
            }
        });
        Link { up: up.up, ..down }
    }
}
