use std::net::{Ipv6Addr, SocketAddr};

use chat_auth::Grant;
use chat_core::{
    Chat, Decision, Identity, Message, Page, Range, RequestContext, RequestHead, RoomName, User, UserKey,
    Version,
};
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::input::{self, Query};
use super::reply::{self, Problem, Reply};
use super::{Admin, moderation};
use crate::directives::log_level;

/// The description of the calls.
pub(super) const OPENAPI: &str = include_str!("openapi.json");

/// The content type of the text format of Prometheus.
const PROMETHEUS_TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Bytes of a request beside the body of a message.
const OVERHEAD_BYTES: usize = 4 * 1024;

/// Items of a page of names.
const MAX_NAMES: usize = 1_000;

/// A call of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Status,
    OpenApi,
    Metrics,
    Rooms,
    History,
    Post,
    Members,
    Role,
    Restrict,
    Purge,
    Audit,
    Ticket,
    Kick,
    Drain,
    LogFilter,
    SetLogFilter,
}

/// The body of a call that posts a message.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPost {
    user: Sender,
    body: Body,
    key: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sender {
    id: String,
    name: String,
}

impl Sender {
    pub(super) fn user(&self) -> Result<User, Problem> {
        User::new(&self.id, &self.name).map_err(|error| Problem::bad_request(error.to_string()))
    }
}

/// The body of a message of any type. The chat checks it.
#[derive(Debug, Serialize, Deserialize)]
struct Body(Map<String, Value>);

impl Message for Body {}

/// The body of a call that closes the connections of a user.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kicked {
    /// The id of a user, or the name of a guest.
    id: String,
    #[serde(default)]
    guest: bool,
}

/// The body of a call that sets the filter of log lines.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    filter: String,
}

#[derive(Serialize)]
struct Messages {
    epoch: String,
    messages: Vec<Box<RawValue>>,
    more: bool,
}

impl Call {
    /// Returns true if the call needs no token.
    pub(super) fn is_open(self) -> bool {
        matches!(self, Self::Status | Self::OpenApi)
    }

    /// Returns true if the call changes something.
    pub(super) fn changes(self) -> bool {
        matches!(
            self,
            Self::Post
                | Self::Role
                | Self::Restrict
                | Self::Purge
                | Self::Ticket
                | Self::Kick
                | Self::Drain
                | Self::SetLogFilter
        )
    }
}

/// Carries out a call. `room` is the segment of the path that names a room.
pub(super) async fn perform(
    call: Call,
    room: &str,
    request: Request<Incoming>,
    admin: &Admin,
) -> Result<Reply, Problem> {
    let (parts, body) = request.into_parts();
    let chat = admin.endpoint.chat();
    let known: &[&str] = match call {
        Call::Rooms => &["after", "limit"],
        Call::Members => &["offset", "limit"],
        Call::History => &["after", "before", "limit"],
        Call::Audit => &["after", "limit"],
        _ => &[],
    };
    let query = Query::parse(parts.uri.query(), known)?;
    match call {
        Call::Status => Ok(status(admin, parts.uri.path()).await),
        Call::OpenApi => Ok(reply::with_type(StatusCode::OK, "application/json", OPENAPI)),
        Call::Metrics => Ok(reply::with_type(StatusCode::OK, PROMETHEUS_TEXT, admin.metrics.render())),
        Call::Rooms => rooms(chat, &query),
        Call::History => history(chat, input::room(room)?, &query).await,
        Call::Post => {
            let max = chat.limits().wire.max_frame_bytes + OVERHEAD_BYTES;
            post(chat, input::room(room)?, input::body(body, max).await?).await
        }
        Call::Members => members(chat, &input::room(room)?, &query),
        Call::Role => {
            moderation::role(chat, input::room(room)?, input::body(body, OVERHEAD_BYTES).await?).await
        }
        Call::Restrict => {
            moderation::restrict(chat, input::room(room)?, input::body(body, OVERHEAD_BYTES).await?).await
        }
        Call::Purge => {
            moderation::purge(chat, input::room(room)?, input::body(body, OVERHEAD_BYTES).await?).await
        }
        Call::Audit => moderation::audit(chat, input::room(room)?, &query).await,
        Call::Ticket => ticket(admin, input::body(body, OVERHEAD_BYTES).await?),
        Call::Kick => kick(chat, input::body(body, OVERHEAD_BYTES).await?),
        Call::Drain => {
            admin.controls.drain.notify_one();
            Ok(reply::json(StatusCode::ACCEPTED, &json!({ "draining": true })))
        }
        Call::LogFilter => Ok(log_filter(admin)),
        Call::SetLogFilter => {
            let Filter { filter } = input::body(body, OVERHEAD_BYTES).await?;
            let directives = log_level(&filter).map_err(Problem::bad_request)?;
            admin.controls.filter.set(&directives);
            directives.warn();
            Ok(log_filter(admin))
        }
    }
}

/// Answers a probe as the address of the chat does.
async fn status(admin: &Admin, path: &str) -> Reply {
    let head = RequestHead { method: "GET", version: Version::Http11, target: path, headers: Vec::new() };
    // The numbers of `/readyz` are for requests from this machine, and for each caller of this listener.
    let context = RequestContext::default().with_peer(SocketAddr::from((Ipv6Addr::LOCALHOST, 0)));
    match admin.endpoint.handle(&head, &context).await {
        Decision::Answer(answer) => reply::of_endpoint(answer),
        _ => Problem::new(StatusCode::NOT_FOUND, "not_found", "the server has no status pages").into(),
    }
}

fn rooms(chat: &Chat, query: &Query) -> Result<Reply, Problem> {
    let (after, limit) = (query.get::<RoomName>("after")?, query.limit(MAX_NAMES)?);
    let mut rooms = chat.open_rooms();
    if let Some(after) = after {
        rooms.drain(..rooms.partition_point(|room| *room <= after));
    }
    let more = rooms.len() > limit;
    rooms.truncate(limit);
    let rooms: Vec<_> = rooms.iter().map(ToString::to_string).collect();
    Ok(reply::json(StatusCode::OK, &json!({ "rooms": rooms, "more": more })))
}

async fn history(chat: &Chat, room: RoomName, query: &Query) -> Result<Reply, Problem> {
    let limit = query.limit(chat.limits().wire.max_page_messages)?;
    let range = match (query.get("after")?, query.get("before")?) {
        (Some(_), Some(_)) => return Err(Problem::bad_request("`after` and `before` exclude each other")),
        (Some(seq), None) => Range::After { seq, limit },
        (None, Some(seq)) => Range::Before { seq, limit },
        (None, None) => Range::newest(limit),
    };
    page(chat.history(&room, range).await?)
}

/// Answers with a page of events.
pub(super) fn page(page: Page) -> Result<Reply, Problem> {
    let frames = page.messages.into_iter().map(|stored| {
        let frame = String::from_utf8(stored.frame.to_vec()).ok()?;
        RawValue::from_string(frame).ok()
    });
    let messages = frames.collect::<Option<Vec<_>>>().ok_or_else(|| {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "a stored message is not JSON")
    })?;
    Ok(reply::json(StatusCode::OK, &Messages { epoch: page.epoch, messages, more: page.more }))
}

async fn post(chat: &Chat, room: RoomName, post: NewPost) -> Result<Reply, Problem> {
    let NewPost { user, body, key } = post;
    let user = user.user()?;
    let receipt = match key {
        Some(key) => chat.post_with_key(&room, &user, &body, &key).await?,
        None => chat.post(&room, &user, &body).await?,
    };
    let body = json!({
        "epoch": receipt.epoch,
        "seq": receipt.seq,
        "at": receipt.at,
        "duplicate": receipt.duplicate,
    });
    Ok(reply::json(StatusCode::OK, &body))
}

fn members(chat: &Chat, room: &RoomName, query: &Query) -> Result<Reply, Problem> {
    let (offset, limit) = (query.get("offset")?.unwrap_or(0), query.limit(MAX_NAMES)?);
    let users = chat.members(room);
    let page = users.iter().skip(offset).take(limit);
    let page: Vec<_> = page
        .map(|user| json!({ "id": user.id(), "name": user.name(), "guest": user.key().is_guest() }))
        .collect();
    Ok(reply::json(StatusCode::OK, &json!({ "users": page, "total": users.len() })))
}

/// Issues a ticket. Only the client reads it: a log line about the call does not have it.
fn ticket(admin: &Admin, grant: Grant) -> Result<Reply, Problem> {
    let Some(tickets) = &admin.controls.tickets else {
        let message = "this server takes no tickets: start it with --tickets";
        return Err(Problem::new(StatusCode::NOT_FOUND, "tickets_off", message));
    };
    // The next server does not know the ticket.
    if admin.endpoint.chat().is_draining() {
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "draining", "the server is about to stop"));
    }
    let identity = Identity::try_from(grant).map_err(|error| Problem::bad_request(error.to_string()))?;
    let ticket = tickets.issue(identity)?;
    let expires_in_ms = tickets.limits().lifetime.as_millis();
    Ok(reply::json(StatusCode::OK, &json!({ "ticket": ticket, "expires_in_ms": expires_in_ms })))
}

fn kick(chat: &Chat, Kicked { id, guest }: Kicked) -> Result<Reply, Problem> {
    if id.is_empty() || id.len() > 255 {
        return Err(Problem::bad_request("`id` has 1 to 255 bytes"));
    }
    let user = if guest {
        UserKey::guest(&id).map_err(|error| Problem::bad_request(error.to_string()))?
    } else {
        UserKey::new(&id)
    };
    Ok(reply::json(StatusCode::OK, &json!({ "closed": chat.kick(user) })))
}

fn log_filter(admin: &Admin) -> Reply {
    reply::json(StatusCode::OK, &json!({ "filter": admin.controls.filter.text() }))
}
