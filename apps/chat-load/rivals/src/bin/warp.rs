//! The chat of warp's example: an unbounded channel and two tasks for each connection, and one map of all members.
//!
//! It follows `examples/websockets_chat.rs` of <https://github.com/seanmonstar/warp>. It differs in this: there is a
//! map for each room, the text has no name before it, a member gets its own texts, too, and it gets `joined`.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{Mutex, RwLock, mpsc};
use warp::Filter;
use warp::ws::{Message, WebSocket, Ws};

static NEXT_MEMBER: AtomicUsize = AtomicUsize::new(1);

type Members = Arc<RwLock<HashMap<usize, mpsc::UnboundedSender<Message>>>>;
type Rooms = Arc<Mutex<HashMap<String, Members>>>;

#[tokio::main]
async fn main() -> Result<()> {
    let listener = tokio::net::TcpListener::from_std(rivals::listen()?)?;
    let rooms = Rooms::default();
    let route = warp::path!("ws" / String)
        .and(warp::ws())
        .and(warp::any().map(move || Arc::clone(&rooms)))
        .map(|room, ws: Ws, rooms| ws.on_upgrade(move |socket| serve(socket, room, rooms)));
    warp::serve(route).incoming(listener).run().await;
    Ok(())
}

async fn serve(socket: WebSocket, room: String, rooms: Rooms) {
    let member = NEXT_MEMBER.fetch_add(1, Ordering::Relaxed);
    let members = Arc::clone(rooms.lock().await.entry(room).or_default());
    let (mut sender, mut receiver) = socket.split();
    let (queue, mut queued) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(message) = queued.recv().await {
            if sender.send(message).await.is_err() {
                break;
            }
        }
    });
    // The other end is the task above, which ends with the connection.
    let _ended = queue.send(Message::text("joined")).is_err();
    members.write().await.insert(member, queue);
    while let Some(Ok(message)) = receiver.next().await {
        if let Ok(text) = message.to_str() {
            for queue in members.read().await.values() {
                let _ended = queue.send(Message::text(text.to_owned())).is_err();
            }
        }
    }
    members.write().await.remove(&member);
}
