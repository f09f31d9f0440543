//! The commands of the cases about rules of rooms, roles and restrictions.

use super::host::with_token;
use super::*;

/// The command that creates a room, or sets its rules.
pub(super) fn create(room: &str) -> Value {
    json!({"type": "create", "room": room})
}

/// The command that gives a user a role.
pub(super) fn role(room: &str, user: &str, role: &str) -> Value {
    json!({"type": "role", "room": room, "user": user, "role": role})
}

/// The command that restricts a user.
pub(super) fn restrict(room: &str, user: &str, what: &str) -> Value {
    json!({"type": "restrict", "room": room, "user": user, "what": what})
}

/// Connects a user whom the host knows by this id and name.
pub(super) async fn user(stage: &Stage, id: &str, name: &str) -> Result<Client, Failure> {
    stage.accepted(name, &with_token(stage, &format!("{id}:{name}"))).await
}

/// Connects the user, who joins the room of the case.
pub(super) async fn present(stage: &Stage, id: &str, name: &str) -> Result<Client, Failure> {
    let mut client = user(stage, id, name).await?;
    client.join(&stage.room()).await?;
    Ok(client)
}

/// Connects Ann, who has the id 1 and creates the room of the case with these fields, and joins it.
pub(super) async fn owner(stage: &Stage, fields: Value) -> Result<Client, Failure> {
    let mut ann = user(stage, "1", "Ann").await?;
    let mut command = create(&stage.room());
    if let (Some(command), Value::Object(fields)) = (command.as_object_mut(), fields) {
        command.extend(fields);
    }
    let done = ann.ask_for("done", command).await?;
    ann.check(done["seq"] == 1, "a `done` of the first entry", &done)?;
    ann.join(&stage.room()).await?;
    Ok(ann)
}

/// Sends messages until the first is refused with this code, or all are sent. Returns the `seq` of the last one that is
/// stored.
pub(super) async fn write_until_refused(client: &mut Client, room: &str, code: &str) -> Result<u64, Failure> {
    let mut last = 0;
    for number in 0..100 {
        let reply = client.ask(send(room, &number.to_string())).await?;
        match reply["seq"].as_u64() {
            Some(seq) => last = seq,
            None => {
                client.check(reply["code"] == code, format!("`sent`, or the error `{code}`"), &reply)?;
                break;
            }
        }
    }
    Ok(last)
}

/// Expects that all messages of the case's room have at most this `seq`.
pub(super) async fn expect_nothing_after(client: &mut Client, room: &str, seq: u64) -> Verdict {
    let asked = json!({"type": "history", "room": room, "after": seq});
    let history = client.ask_for("history", asked).await?;
    client.check(history["messages"] == json!([]), format!("no message after {seq}"), &history)
}
