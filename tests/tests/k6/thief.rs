use std::net::SocketAddr;

use anyhow::Result;
use chat_tests::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, copy};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};

/// What happens to every third message on its way to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Theft {
    Lost,
    Twice,
    Late,
}

/// Stands in front of a chat server and steals.
pub(crate) async fn thief(server: SocketAddr, theft: Theft) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            // Ends when either side does.
            tokio::spawn(async move { between(client, server, theft).await.is_ok() });
        }
    });
    Ok(address)
}

async fn between(client: TcpStream, server: SocketAddr, theft: Theft) -> Result<()> {
    let (from_server, mut to_server) = within(TcpStream::connect(server)).await??.into_split();
    let (mut from_client, mut to_client) = client.into_split();
    tokio::spawn(async move { copy(&mut from_client, &mut to_server).await.is_ok() });

    let mut from_server = BufReader::new(from_server);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(from_server.read_u8().await?);
    }
    to_client.write_all(&head).await?;
    let mut messages = 0;
    let mut held = Vec::new();
    loop {
        let frame = frame(&mut from_server).await?;
        let is_message = String::from_utf8_lossy(&frame).contains(r#"{"type":"message""#);
        messages += usize::from(is_message);
        let mut out = match theft {
            _ if !is_message || messages % 3 != 0 => frame,
            Theft::Lost => continue,
            Theft::Twice => frame.repeat(2),
            Theft::Late => {
                held = frame;
                continue;
            }
        };
        if is_message {
            out.append(&mut held);
        } else {
            out.splice(..0, held.drain(..));
        }
        to_client.write_all(&out).await?;
    }
}

/// A server's frame: not masked.
async fn frame(stream: &mut BufReader<OwnedReadHalf>) -> Result<Vec<u8>> {
    let mut frame = vec![0; 2];
    stream.read_exact(&mut frame).await?;
    let more = match frame[1] {
        127 => 8,
        126 => 2,
        _ => 0,
    };
    let mut length = vec![0; more];
    stream.read_exact(&mut length).await?;
    let size = length.iter().fold(0, |size, byte| size << 8 | usize::from(*byte));
    let mut payload = vec![0; if more == 0 { frame[1].into() } else { size }];
    stream.read_exact(&mut payload).await?;
    frame.append(&mut length);
    frame.append(&mut payload);
    Ok(frame)
}
