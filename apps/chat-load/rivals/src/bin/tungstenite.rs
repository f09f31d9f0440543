//! The chat of tokio-tungstenite's example: an unbounded channel for each connection, and one map of all members.
//!
//! It follows `examples/server.rs` of <https://github.com/snapview/tokio-tungstenite>. It differs in this: there is a
//! map for each room, a member gets its own texts, too, and it gets `joined`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use futures_channel::mpsc::{UnboundedSender, unbounded};
use futures_util::{StreamExt, TryStreamExt, future, pin_mut};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_hdr_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Callback, ErrorResponse, Request, Response};

type Members = Arc<Mutex<HashMap<SocketAddr, UnboundedSender<Message>>>>;
type Rooms = Arc<Mutex<HashMap<String, Members>>>;

/// Remembers the path of a request.
struct Path<'a>(&'a mut String);

impl Callback for Path<'_> {
    fn on_request(self, request: &Request, response: Response) -> Result<Response, ErrorResponse> {
        request.uri().path().clone_into(self.0);
        Ok(response)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let listener = TcpListener::from_std(rivals::listen()?)?;
    let rooms = Rooms::default();
    loop {
        let (stream, address) = listener.accept().await?;
        tokio::spawn(serve(Arc::clone(&rooms), stream, address));
    }
}

async fn serve(rooms: Rooms, stream: TcpStream, address: SocketAddr) {
    let mut path = String::new();
    let Ok(socket) = accept_hdr_async(stream, Path(&mut path)).await else { return };
    let members = Arc::clone(rooms.lock().expect("no holder panics").entry(path).or_default());
    let (queue, queued) = unbounded();
    // The other end is below, and ends with the connection.
    let _ended = queue.unbounded_send(Message::text("joined")).is_err();
    members.lock().expect("no holder panics").insert(address, queue);
    let (sender, receiver) = socket.split();
    let receiving = receiver.try_for_each(|message| {
        if message.is_text() {
            for queue in members.lock().expect("no holder panics").values() {
                let _ended = queue.unbounded_send(message.clone()).is_err();
            }
        }
        future::ok(())
    });
    let sending = queued.map(Ok).forward(sender);
    pin_mut!(receiving, sending);
    future::select(receiving, sending).await;
    members.lock().expect("no holder panics").remove(&address);
}
