//! The chat of socketioxide's examples: a room of the library, and an event for each text.
//!
//! It follows `examples/chat` and `examples/react-rooms-chat` of <https://github.com/Totodore/socketioxide>. It differs
//! in this: a member has no name, nothing is stored, and only the new member gets `joined`. The handlers do
//! their work before they return a future, which the library runs in a task of its own. In such a task, an event could
//! come before its handler is set, and the texts of a member could change their order.

use std::future::{Ready, ready};

use anyhow::Result;
use futures_util::FutureExt;
use socketioxide::SocketIo;
use socketioxide::extract::{Data, Extension, SocketRef};

/// The room of a connection.
#[derive(Clone)]
struct Room(String);

#[tokio::main]
async fn main() -> Result<()> {
    let listener = tokio::net::TcpListener::from_std(rivals::listen()?)?;
    let (layer, io) = SocketIo::builder().req_path("/ws").build_layer();
    io.ns("/", connected);
    Ok(axum::serve(listener, axum::Router::new().layer(layer)).await?)
}

fn connected(socket: SocketRef) -> Ready<()> {
    socket.on("join", |socket: SocketRef, Data::<String>(room)| {
        socket.join(room.clone());
        socket.extensions.insert(Room(room));
        // Sending fails if the member has gone.
        let _gone = socket.emit("joined", "").is_err();
        ready(())
    });
    socket.on("message", |socket: SocketRef, Data::<String>(text), Extension(Room(room))| {
        // With the members in one process, the future is ready at once.
        let _gone = socket.within(room).emit("message", &text).now_or_never();
        ready(())
    });
    ready(())
}
