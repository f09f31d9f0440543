//! The commands and the folding of the cases about changes to messages.

use super::*;

/// The command that replaces the body of a message by a text.
pub(super) fn edit(room: &str, seq: u64, text: &str) -> Value {
    json!({"type": "edit", "room": room, "seq": seq, "body": {"text": text}})
}

/// The command that deletes a message.
pub(super) fn delete(room: &str, seq: u64) -> Value {
    json!({"type": "delete", "room": room, "seq": seq})
}

/// The command that adds or removes a reaction.
pub(super) fn react(room: &str, seq: u64, reaction: &str, on: bool) -> Value {
    json!({"type": "react", "room": room, "seq": seq, "reaction": reaction, "on": on})
}

/// The command that pins or unpins a message.
pub(super) fn pin(room: &str, seq: u64, on: bool) -> Value {
    json!({"type": "pin", "room": room, "seq": seq, "on": on})
}

/// The command that reads single messages.
pub(super) fn messages_at(room: &str, seqs: impl Into<Value>) -> Value {
    json!({"type": "history", "room": room, "seqs": seqs.into()})
}

/// The `send` of a message in the thread that begins with a message.
pub(super) fn reply(room: &str, root: u64, text: &str) -> Value {
    with(send(room, text), "thread", root)
}

/// The command that reads a thread.
pub(super) fn thread(room: &str, root: u64) -> Value {
    json!({"type": "history", "room": room, "thread": root})
}

/// The `join` that resumes after a position.
pub(super) fn resume(room: &str, epoch: &Value, seq: u64) -> Value {
    json!({"type": "join", "room": room, "after": {"epoch": epoch, "seq": seq}})
}

/// The same command with a field.
pub(super) fn with(mut command: Value, field: &str, value: impl Into<Value>) -> Value {
    command[field] = value.into();
    command
}

/// Sends a change, and expects its `done` with the `seq` of a new entry.
pub(super) async fn change(client: &mut Client, command: Value) -> Result<u64, Failure> {
    let done = client.ask_for("done", command).await?;
    client.check(done["duplicate"].is_null(), "a `done` that is no duplicate", &done)?;
    done["seq"].as_u64().ok_or_else(|| client.failure("a `done` with the `seq` of an entry", &done))
}

/// Sends a change, and expects a `done` without a `seq`, because nothing changes.
pub(super) async fn change_nothing(client: &mut Client, command: Value) -> Verdict {
    let done = client.ask_for("done", command).await?;
    let is_unchanged = done["seq"].is_null() && done["duplicate"].is_null();
    client.check(is_unchanged, "a `done` without a `seq`", &done)
}

/// Returns the messages of a page.
pub(super) async fn page(client: &mut Client, command: Value) -> Result<Vec<Value>, Failure> {
    let history = client.ask_for("history", command).await?;
    Ok(history["messages"].as_array().cloned().unwrap_or_default())
}

/// Expects the entries with these `seq`s as the next events, and returns them.
pub(super) async fn expect_entries(
    client: &mut Client,
    seqs: impl IntoIterator<Item = u64>,
) -> Result<Vec<Value>, Failure> {
    let mut entries = Vec::new();
    for seq in seqs {
        let event = client.event().await?;
        let is_entry = matches!(event["type"].as_str(), Some("message" | "changed")) && event["seq"] == seq;
        client.check(is_entry, format!("the entry {seq}"), &event)?;
        entries.push(event);
    }
    Ok(entries)
}

/// Returns the messages of a client that follows these entries: each message with the changes after it.
pub(super) fn followed<'a>(entries: impl IntoIterator<Item = &'a Value>) -> Vec<Value> {
    let mut messages: Vec<Value> = Vec::new();
    for entry in entries {
        if entry["type"] == "message" {
            let root = messages.iter_mut().find(|held| held["seq"] == entry["thread"]);
            root.into_iter().for_each(|root| count_reply(root, entry));
            messages.push(entry.clone());
        } else if entry["type"] == "purged" {
            messages.iter_mut().for_each(|held| purge(held, entry));
        } else if let Some(held) = messages.iter_mut().find(|held| held["seq"] == entry["target"]) {
            apply(held, entry);
        }
    }
    messages
}

fn rev(held: &Value) -> Option<u64> {
    held["rev"].as_u64().or_else(|| held["seq"].as_u64())
}

/// Counts a message of a thread at its root, if it is newer.
pub(super) fn count_reply(root: &mut Value, entry: &Value) {
    if entry["seq"].as_u64() > rev(root) {
        let count = root["replies"]["count"].as_u64().unwrap_or_default();
        root["replies"] = json!({"count": count + 1, "last": entry["seq"]});
        root["rev"] = entry["seq"].clone();
    }
}

/// Applies a `purged` to a message of its user in its range, unless the message is deleted.
fn purge(held: &mut Value, purged: &Value) {
    let seq = held["seq"].as_u64();
    let is_in_range = seq >= purged["from"].as_u64() && seq <= purged["to"].as_u64();
    if is_in_range && held["user"]["id"] == purged["user"]["id"] && held["deleted"].is_null() {
        apply(held, &with(purged.clone(), "what", "deleted"));
    }
}

/// Applies a `changed` to a message, if it is newer.
fn apply(held: &mut Value, changed: &Value) {
    if changed["seq"].as_u64() <= rev(held) {
        return;
    }
    let Some(fields) = held.as_object_mut() else { return };
    let mut edited = json!({"at": changed["at"]});
    match changed["what"].as_str() {
        Some("edited") => {
            if fields.get("user") != Some(&changed["by"]) {
                edited["by"] = changed["by"].clone();
            }
            fields.insert("edited".to_owned(), edited);
            fields.insert("body".to_owned(), changed["body"].clone());
            fields.remove("mentions");
            fields.extend(changed.get("mentions").map(|mentions| ("mentions".to_owned(), mentions.clone())));
            let reactions = fields.get_mut("reactions").and_then(Value::as_array_mut);
            for reaction in reactions.into_iter().flatten() {
                reaction["stale"] = reaction["count"].clone();
            }
        }
        Some("reactions") => drop(fields.insert("reactions".to_owned(), changed["reactions"].clone())),
        Some("pinned") => drop(fields.insert("pinned".to_owned(), changed["pinned"].clone())),
        Some("deleted") => {
            let kept = ["type", "room", "seq", "user", "at", "reply_to", "thread", "replies"];
            fields.retain(|field, _| kept.contains(&field.as_str()));
            edited["by"] = changed["by"].clone();
            if let Some(reason) = changed.get("reason") {
                edited["reason"] = reason.clone();
            }
            fields.insert("deleted".to_owned(), edited);
        }
        _ => return,
    }
    fields.retain(|_, value| *value != json!([]) && *value != json!(false));
    fields.insert("rev".to_owned(), changed["seq"].clone());
}

/// Expects that a client which followed these entries has what a new reader gets.
pub(super) async fn expect_fresh_equals_followed(stage: &Stage, entries: &[Value]) -> Verdict {
    let (fresh, followed) = (stage.history().await?, followed(entries));
    check(fresh == followed, format!("what a follower has: {}", Events(&followed)), Events(&fresh))
}

/// Expects that no event contains a text.
pub(super) fn expect_absent(text: &str, events: &[Value]) -> Verdict {
    match events.iter().find(|event| event.to_string().contains(text)) {
        Some(event) => Err(Failure::new(format!("no \"{text}\""), event)),
        None => Ok(()),
    }
}
