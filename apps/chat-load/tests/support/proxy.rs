use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What happens to the tenth message that the server delivers to anybody, or to all of something else.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Nothing,
    Drop,
    Repeat,
    /// It changes places with the next of the same connection.
    Exchange,
    /// Another's key.
    Alter,
    /// All acknowledgements from here on.
    DropAcknowledgements,
    /// Each page of history is the first that came.
    StalePages,
    /// Each page has others' keys.
    AlterPages,
}

/// Between the tool and the server, with an eye on the frames. Where it listens, and how many messages have gone
/// through.
pub(crate) async fn proxy(server: SocketAddr, fault: Fault) -> Result<(String, Arc<AtomicU64>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}/ws", listener.local_addr()?);
    let messages = Arc::new(AtomicU64::new(0));
    let delivered = Arc::clone(&messages);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let messages = Arc::clone(&messages);
            tokio::spawn(async move {
                let Ok(server) = TcpStream::connect(server).await else { return };
                let (mut from_client, to_client) = client.into_split();
                let (from_server, mut to_server) = server.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
                // The connection ends when either side does.
                let _end = deliver(from_server, to_client, fault, &messages).await;
            });
        }
    });
    Ok((url, delivered))
}

async fn deliver(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    fault: Fault,
    messages: &AtomicU64,
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(from.read_u8().await?);
    }
    to.write_all(&head).await?;
    let (mut held, mut page) = (None, None);
    loop {
        let frame = frame(&mut from).await?;
        let is = |kind: &str| String::from_utf8_lossy(&frame).contains(&format!(r#""type":"{kind}""#));
        let tenth = is("message") && messages.fetch_add(1, Ordering::Relaxed) == 9;
        match fault {
            Fault::Drop if tenth => {}
            Fault::Repeat if tenth => to.write_all(&[&frame[..], &frame].concat()).await?,
            Fault::Exchange if tenth => held = Some(frame),
            Fault::Alter if tenth => to.write_all(&altered(&frame)).await?,
            Fault::StalePages if is("history") => to.write_all(page.get_or_insert(frame)).await?,
            Fault::AlterPages if is("history") => to.write_all(&altered(&frame)).await?,
            Fault::DropAcknowledgements if is("sent") => {}
            _ => {
                let exchanged = if is("message") { held.take() } else { None };
                to.write_all(&frame).await?;
                if let Some(held) = exchanged {
                    to.write_all(&held).await?;
                }
            }
        }
    }
}

/// The same frame, of the middle length, with a character more in each key.
fn altered(frame: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(&frame[4..]).replace(r#""key":""#, r#""key":"9"#);
    let length = u16::try_from(text.len()).unwrap_or(0).to_be_bytes();
    [&frame[..2], &length, text.as_bytes()].concat()
}

/// A server's frame, as it is on the wire.
async fn frame(from: &mut (impl AsyncReadExt + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut frame = vec![0; 2];
    from.read_exact(&mut frame).await?;
    let more = match frame[1] {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let mut length = vec![0; more];
    from.read_exact(&mut length).await?;
    let size = length.iter().fold(0, |size, byte| size << 8 | usize::from(*byte));
    let size = if more == 0 { usize::from(frame[1]) } else { size };
    frame.extend(length);
    let start = frame.len();
    frame.resize(start + size, 0);
    from.read_exact(&mut frame[start..]).await?;
    Ok(frame)
}
