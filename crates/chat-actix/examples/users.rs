//! A service with its own users: a session cookie, rights for rooms, a handler that posts, and one that kicks.
//!
//! `cargo run -p chat-actix --example users`, then connect to `ws://127.0.0.1:8080/ws` with `Cookie: session=ann-1`.

use std::io;

use actix_web::error::{
    ErrorBadRequest, ErrorConflict, ErrorForbidden, ErrorNotFound, ErrorServiceUnavailable, ErrorUnauthorized,
};
use actix_web::web::{Data, Path, ServiceConfig, post};
use actix_web::{App, HttpRequest, HttpResponse};
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

async fn announce(chat: Data<Chat>, room: Path<String>, text: String) -> actix_web::Result<HttpResponse> {
    let room = room.parse().map_err(|_| ErrorBadRequest("not a room"))?;
    let clerk = User::new("service:clerk", "Clerk").map_err(|_| ErrorBadRequest("not a user"))?;
    chat.post(&room, &clerk, &Text::new(text)).await.map_err(response)?;
    Ok(HttpResponse::Created().finish())
}

/// Only a message that the log cannot store now can be sent again.
fn response(error: PostError) -> actix_web::Error {
    match error {
        PostError::Unavailable(_) => ErrorServiceUnavailable(error),
        PostError::KeyConflict => ErrorConflict(error),
        _ => ErrorBadRequest(error),
    }
}

/// Posts as the user of the session. `Chat::post_with_key` does not ask `authorize`, so the handler checks the rights.
///
/// A request that is repeated with the same `Idempotency-Key` is stored once, even if the first attempt was a `send` of
/// the same user on a WebSocket.
async fn say(
    chat: Data<Chat>,
    room: Path<RoomName>,
    request: HttpRequest,
    text: String,
) -> actix_web::Result<String> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let session = header("cookie").and_then(|cookie| cookie.strip_prefix("session="));
    let user = session.and_then(user_of_session).ok_or_else(|| ErrorUnauthorized("no such session"))?;
    if !may_use(&user, &room) {
        return Err(ErrorForbidden("no right to write in this room"));
    }
    let key = header("idempotency-key").ok_or_else(|| ErrorBadRequest("no Idempotency-Key"))?;
    let posted = chat.post_with_key(&room, &user, &Text::new(text), key).await;
    Ok(posted.map_err(response)?.seq.to_string())
}

async fn kick(chat: Data<Chat>, session: Path<String>) -> actix_web::Result<String> {
    let user = user_of_session(&session).ok_or_else(|| ErrorNotFound("no such session"))?;
    Ok(format!("{} connections closed\n", chat.kick(&user)))
}

pub(crate) fn app(chat: &Chat) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let chat = chat.clone();
    move |config| {
        config
            .app_data(Data::new(chat.clone()))
            .route("/rooms/{room}", post().to(announce))
            .route("/rooms/{room}/say", post().to(say))
            .route("/kick/{session}", post().to(kick))
            .configure(chat_actix::routes(Endpoint::new(chat).identify(identify)));
    }
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let chat = chat();
    let handle = chat.clone();
    let app = move || App::new().configure(app(&handle)).wrap(chat_actix::UpgradeLayer::new());
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    chat_actix::serve(listener, app, &chat, std::future::pending()).await
}

pub(crate) fn chat() -> Chat {
    Chat::builder().authorize(authorize).build()
}
