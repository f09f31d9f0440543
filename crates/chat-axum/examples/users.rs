//! A service with its own users: a session cookie, rights for rooms, a handler that posts, and one that kicks.
//!
//! `cargo run -p chat-axum --example users`, then connect to `ws://127.0.0.1:8080/ws` with `Cookie: session=ann-1`.

use std::io;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use chat_core::{Action, Chat, Denied, Endpoint, Forbidden, IdentifyRequest, Identity};
use chat_core::{PostError, RoomName, Text, User};
use tokio::net::TcpListener;

/// The sessions of the service. A real service asks its database.
fn user_of_session(session: &str) -> Option<User> {
    match session {
        "ann-1" => User::new("staff:1", "Ann").ok(),
        "bob-2" => User::new("customer:2", "Bob").ok(),
        _ => None,
    }
}

fn identify(request: &IdentifyRequest<'_>) -> Result<Identity, Denied> {
    let user = request.cookie("session").and_then(user_of_session);
    user.map(Identity::from).ok_or(Denied::Unauthorized)
}

/// Returns true if the user may read and write in the room. Sessions and handlers ask this one function.
fn may_use(user: &User, room: &RoomName) -> bool {
    room.as_str() != "staff" || user.id().starts_with("staff:")
}

fn authorize(user: &User, room: &RoomName, _: &Action<'_>) -> Result<(), Forbidden> {
    may_use(user, room).then_some(()).ok_or(Forbidden::Rights)
}

async fn announce(State(chat): State<Chat>, Path(room): Path<String>, text: String) -> StatusCode {
    let (Ok(room), Ok(clerk)) = (room.parse(), User::new("service:clerk", "Clerk")) else {
        return StatusCode::BAD_REQUEST;
    };
    match chat.post(&room, &clerk, &Text::new(text)).await {
        Ok(_) => StatusCode::CREATED,
        Err(error) => status(&error),
    }
}

/// Only a message that the log cannot store now can be sent again.
fn status(error: &PostError) -> StatusCode {
    match error {
        PostError::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        PostError::KeyConflict => StatusCode::CONFLICT,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// Posts as the user of the session. `Chat::post_with_key` does not ask `authorize`, so the handler checks the rights.
///
/// A request that is repeated with the same `Idempotency-Key` is stored once, even if the first attempt was a `send` of
/// the same user on a WebSocket.
async fn say(
    State(chat): State<Chat>,
    Path(room): Path<RoomName>,
    headers: HeaderMap,
    text: String,
) -> Result<String, StatusCode> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let session = header("cookie").and_then(|cookie| cookie.strip_prefix("session="));
    let user = session.and_then(user_of_session).ok_or(StatusCode::UNAUTHORIZED)?;
    if !may_use(&user, &room) {
        return Err(StatusCode::FORBIDDEN);
    }
    let key = header("idempotency-key").ok_or(StatusCode::BAD_REQUEST)?;
    let posted = chat.post_with_key(&room, &user, &Text::new(text), key).await;
    posted.map(|receipt| receipt.seq.to_string()).map_err(|error| status(&error))
}

async fn kick(State(chat): State<Chat>, Path(session): Path<String>) -> Result<String, StatusCode> {
    let user = user_of_session(&session).ok_or(StatusCode::NOT_FOUND)?;
    Ok(format!("{} connections closed\n", chat.kick(&user)))
}

pub(crate) fn app(chat: &Chat) -> Router {
    Router::new()
        .route("/rooms/{room}", post(announce))
        .route("/rooms/{room}/say", post(say))
        .route("/kick/{session}", post(kick))
        .with_state(chat.clone())
        .merge(chat_axum::routes(Endpoint::new(chat.clone()).identify(identify)))
        .layer(chat_axum::UpgradeLayer::new())
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let chat = chat();
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    chat_axum::serve(listener, app(&chat), &chat, std::future::pending()).await
}

pub(crate) fn chat() -> Chat {
    Chat::builder().authorize(authorize).build()
}
