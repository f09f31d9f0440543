//! Servers with other protocols than `chat.v1`, correct and faulty ones.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use anyhow::{Result, ensure};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Callback, ErrorResponse, Request, Response};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async};

use crate::{Run, run, start_server, url};

const FANOUT: &str = "fanout --connections 3 --senders 1 --rate 50 --duration 1 --size 128";

/// A fault at the tenth text for the last member of a room.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    Drop,
    Repeat,
    Swap,
    Alter,
}

/// A room of the server.
#[derive(Default)]
struct Room {
    members: Vec<UnboundedSender<String>>,
    /// The number of texts.
    texts: usize,
    /// A text that the last member gets after the next one.
    late: Option<String>,
}

type Rooms = Arc<Mutex<HashMap<String, Room>>>;

/// Starts a server that sends each text to all members of its room.
async fn start_broadcaster(protocol: &'static str, fault: Fault) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = url(listener.local_addr()?);
    tokio::spawn(async move {
        let rooms = Rooms::default();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(stream, Arc::clone(&rooms), protocol, fault));
        }
    });
    Ok(url)
}

/// Remembers the path of a request.
struct Path<'a>(&'a mut String);

impl Callback for Path<'_> {
    fn on_request(self, request: &Request, response: Response) -> Result<Response, ErrorResponse> {
        request.uri().path().clone_into(self.0);
        Ok(response)
    }
}

async fn serve(stream: TcpStream, rooms: Rooms, protocol: &str, fault: Fault) {
    stream.set_nodelay(true).unwrap();
    let mut room = String::new();
    let mut socket = accept_hdr_async(stream, Path(&mut room)).await.unwrap();
    let joined = match protocol {
        "socketio" => {
            send(&mut socket, r#"0{"sid":"1"}"#).await;
            // The first ping may come before the client has joined.
            send(&mut socket, "2").await;
            assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("40"));
            assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("3"));
            send(&mut socket, r#"40{"sid":"1"}"#).await;
            room = socket.next().await.unwrap().unwrap().to_string();
            r#"42["joined"]"#
        }
        _ => "joined",
    };
    let (sender, mut texts) = unbounded_channel();
    rooms.lock().unwrap().entry(room.clone()).or_default().members.push(sender);
    send(&mut socket, joined).await;
    // With Socket.IO, each text is followed by a ping, and the next text waits for the pong.
    let mut ready = true;
    loop {
        tokio::select! {
            Some(text) = texts.recv(), if ready => {
                send(&mut socket, &text).await;
                if protocol == "socketio" {
                    send(&mut socket, "2").await;
                    ready = false;
                }
            }
            received = socket.next() => match received {
                Some(Ok(Message::Text(text))) if text == "3" => ready = true,
                Some(Ok(Message::Text(text))) => publish(&rooms, &room, text.as_str(), fault),
                _ => return,
            }
        }
    }
}

async fn send(socket: &mut WebSocketStream<TcpStream>, text: &str) {
    // The peer may have gone.
    let _gone = socket.send(Message::text(text)).await.is_err();
}

fn publish(rooms: &Rooms, room: &str, text: &str, fault: Fault) {
    let mut rooms = rooms.lock().unwrap();
    let Room { members, texts, late } = rooms.get_mut(room).unwrap();
    *texts += 1;
    let (last, others) = members.split_last().unwrap();
    for member in others {
        let _gone = member.send(text.to_owned()).is_err();
    }
    let text = text.to_owned();
    let deliveries = match (fault, *texts) {
        (Fault::Drop, 10) => vec![],
        (Fault::Repeat, 10) => vec![text.clone(), text],
        (Fault::Alter, 10) => vec![text.replacen("xxx", "xyx", 1)],
        (Fault::Swap, 10) => {
            *late = Some(text);
            vec![]
        }
        _ => [Some(text), late.take()].into_iter().flatten().collect(),
    };
    for text in deliveries {
        let _gone = last.send(text).is_err();
    }
}

#[tokio::test]
async fn each_protocol_delivers_every_message_in_its_room() -> Result<()> {
    for arguments in [
        "fanout --connections 6 --senders 2 --burst 8 --rate 64 --duration 1",
        "fanout --connections 6 --senders 2 --burst 4 --closed --duration 0.5",
        "rooms --connections 6 --members 3 --rate 50 --duration 1",
    ] {
        for protocol in ["chat-bare", "plain", "socketio"] {
            let server = start_server().await?;
            let url = match protocol {
                "chat-bare" => url(server.address()),
                _ => start_broadcaster(protocol, Fault::None).await?,
            };
            let arguments = format!("{arguments} --protocol {protocol} --size 128 --patience 5");
            let Run { exit_code, report, .. } = run(&url, &arguments).await?;
            ensure!(exit_code == Some(0), "{arguments}: {report:#}");
            let (sent, members) =
                (report["sent"].as_u64(), if arguments.starts_with("rooms") { 3 } else { 8 });
            ensure!(sent >= Some(8) && report["acknowledged"].as_u64() == sent, "{arguments}: {report:#}");
            let delivered = report["deliveries"]["delivered"].as_u64();
            ensure!(delivered == sent.map(|sent| members * sent), "{arguments}: {report:#}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn each_fault_of_a_server_without_events_is_found() -> Result<()> {
    for protocol in ["plain", "socketio"] {
        for (fault, expected) in [
            (Fault::Drop, [1, 0, 0, 0]),
            (Fault::Repeat, [0, 1, 0, 0]),
            (Fault::Swap, [0, 0, 1, 0]),
            // An altered text does not say which message it was.
            (Fault::Alter, [1, 0, 0, 1]),
        ] {
            let url = start_broadcaster(protocol, fault).await?;
            let arguments = format!("{FANOUT} --protocol {protocol} --patience 1");
            let Run { exit_code, report, .. } = run(&url, &arguments).await?;
            let found = ["lost", "duplicated", "out_of_order", "altered"]
                .map(|field| report["deliveries"][field].as_u64().unwrap_or_default());
            ensure!(exit_code == Some(1) && found == expected, "{protocol}: {fault:?}: {report:#}");
        }
    }
    Ok(())
}
