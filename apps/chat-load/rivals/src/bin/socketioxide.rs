//! The chat of socketioxide's examples: a room of the library, and an event for each text.
//!
//! It follows `examples/chat` and `examples/react-rooms-chat` of <https://github.com/Totodore/socketioxide>. It differs
//! in this: a member has no name, nothing is stored, and only the new member gets `joined`.

use anyhow::Result;
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

async fn connected(socket: SocketRef) {
    socket.on("join", async |socket: SocketRef, Data::<String>(room)| {
        socket.join(room.clone());
        socket.extensions.insert(Room(room));
        // Sending fails if the member has gone.
        let _gone = socket.emit("joined", "").is_err();
    });
    socket.on("message", async |socket: SocketRef, Data::<String>(text), Extension(Room(room))| {
        let _gone = socket.within(room).emit("message", &text).await.is_err();
    });
}
