//! The chat of actix-ws's example: a list of sessions behind a lock, and all sends of a text at the same time.
//!
//! It follows `examples/chat.rs` of actix-ws, <https://github.com/actix/actix-extras>. It differs in this: there is a
//! list for each room, the server sends no pings, and a new member gets `joined`.

use std::collections::HashMap;
use std::sync::Arc;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use actix_ws::{AggregatedMessage, Session};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::Mutex;

type Members = Arc<Mutex<Vec<Session>>>;
type Rooms = Arc<Mutex<HashMap<String, Members>>>;

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    let listener = rivals::listen()?;
    let rooms = Rooms::default();
    let server = HttpServer::new(move || {
        App::new().app_data(web::Data::new(Arc::clone(&rooms))).route("/ws/{room}", web::get().to(upgrade))
    });
    Ok(server.listen(listener)?.run().await?)
}

async fn upgrade(
    request: HttpRequest,
    body: web::Payload,
    room: web::Path<String>,
    rooms: web::Data<Rooms>,
) -> actix_web::Result<HttpResponse> {
    let (response, mut session, stream) = actix_ws::handle(&request, body)?;
    let mut stream = stream.max_frame_size(128 * 1024).aggregate_continuations();
    let members = Arc::clone(rooms.lock().await.entry(room.into_inner()).or_default());
    // The session has room for one message before the response is sent.
    let _ended = session.text("joined").await.is_err();
    members.lock().await.push(session.clone());
    actix_web::rt::spawn(async move {
        while let Some(Ok(message)) = stream.recv().await {
            match message {
                AggregatedMessage::Text(text) => publish(&members, &text).await,
                AggregatedMessage::Ping(bytes) => {
                    let Ok(()) = session.pong(&bytes).await else { return };
                }
                AggregatedMessage::Close(_) => break,
                _ => {}
            }
        }
        let _ended = session.close(None).await.is_err();
    });
    Ok(response)
}

/// Sends a text to all members, and drops the members that have gone.
async fn publish(members: &Mutex<Vec<Session>>, text: &bytestring::ByteString) {
    let mut members = members.lock().await;
    let mut sends: FuturesUnordered<_> = members
        .drain(..)
        .map(|mut session| {
            let text = text.clone();
            async move { session.text(text).await.ok().map(|()| session) }
        })
        .collect();
    while let Some(sent) = sends.next().await {
        members.extend(sent);
    }
}
