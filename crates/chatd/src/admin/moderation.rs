//! Calls about the roles and restrictions of users, and the record of them.

use chat_core::{Act, Chat, NewAct, Range, Restrict, Restriction, Role, RoomName, User};
use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::calls::{self, Sender};
use super::input::Query;
use super::reply::{self, Problem, Reply};

/// The body of a call that gives a user a role.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRole {
    by: Sender,
    id: String,
    role: Role,
}

/// The body of a call that restricts a user.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRestriction {
    by: Sender,
    id: String,
    what: What,
    until: Option<u64>,
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum What {
    Mute,
    Ban,
    None,
}

/// The body of a call that deletes all messages of a user.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPurge {
    by: Sender,
    id: String,
}

pub(super) async fn purge(chat: &Chat, room: RoomName, new: NewPurge) -> Result<Reply, Problem> {
    let NewPurge { by, id } = new;
    govern(chat, &room, by, Act::Purge { user: user(&id)? }).await
}

pub(super) async fn role(chat: &Chat, room: RoomName, new: NewRole) -> Result<Reply, Problem> {
    let NewRole { by, id, role } = new;
    govern(chat, &room, by, Act::Role { user: user(&id)?, role }).await
}

pub(super) async fn restrict(chat: &Chat, room: RoomName, new: NewRestriction) -> Result<Reply, Problem> {
    let NewRestriction { by, id, what, until, reason } = new;
    let restriction = match what {
        What::Mute => Some(Restriction::new(Restrict::Mute, until)),
        What::Ban => Some(Restriction::new(Restrict::Ban, until)),
        What::None if until.is_some() => {
            return Err(Problem::bad_request("`until` is for a mute or a ban"));
        }
        What::None => None,
    };
    govern(chat, &room, by, Act::Restrict { user: user(&id)?, restriction, reason }).await
}

/// Returns a page of the acts on a room, oldest first.
pub(super) async fn audit(chat: &Chat, room: RoomName, query: &Query) -> Result<Reply, Problem> {
    let limit = query.limit(chat.limits().wire.max_page_messages)?;
    let page = chat.history(&room, Range::acts(query.get("after")?.unwrap_or(0), limit)).await?;
    calls::page(page)
}

fn user(id: &str) -> Result<User, Problem> {
    User::from_id(id).map_err(|error| Problem::bad_request(error.to_string()))
}

async fn govern(chat: &Chat, room: &RoomName, by: Sender, act: Act) -> Result<Reply, Problem> {
    let by = by.user()?;
    let receipt = chat.govern(room, NewAct::new(by, act).by_host()).await?;
    Ok(reply::json(StatusCode::OK, &json!({ "epoch": receipt.epoch, "seq": receipt.seq })))
}
