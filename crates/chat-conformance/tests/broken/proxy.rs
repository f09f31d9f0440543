use std::io;
use std::time::Duration;

use chat_conformance::Mounted;
use chat_tungstenite::UpgradeLayer;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::frame::Frame;
use crate::link::{Link, Wires};

/// Bytes of a head that the proxy changes. A longer head is passed on as it is.
const MAX_HEAD_BYTES: usize = 256 * 1024;

/// Serves the correct server behind a proxy that changes each connection.
pub(crate) async fn serve(server: Mounted, link: impl Fn() -> Link) {
    let inner = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = inner.local_addr().expect("the port");
    let chat = server.endpoint.chat().clone();
    let service = UpgradeLayer::new().layer(chat_tungstenite::routes(server.endpoint));
    let correct = chat_tungstenite::serve(inner, service, &chat, server.stop);
    let abandon_timeout = server.limits.connection.abandon_timeout();
    let proxy = async {
        // Dropped with all the connections in it.
        let mut connections = JoinSet::new();
        while let Ok((client, _)) = server.listener.accept().await {
            let link = link();
            connections.spawn(async move {
                let server = TcpSocket::new_v4()?;
                server.bind((link.source, 0).into())?;
                link.run(client, server.connect(address).await?, abandon_timeout).await
            });
        }
    };
    tokio::select! {
        ended = correct => ended.expect("a listener that listens"),
        () = proxy => {}
    }
}

impl Link {
    async fn run(
        mut self,
        mut client: TcpStream,
        mut server: TcpStream,
        abandon_timeout: Duration,
    ) -> io::Result<()> {
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        #[cfg(target_os = "linux")]
        if !self.keeps_unread_answers {
            SockRef::from(&client).set_tcp_user_timeout(Some(abandon_timeout))?;
        }
        let mut from_client = Vec::new();
        let request = match head(&mut client, &mut from_client).await {
            Ok(request) => request,
            // A head that does not end: the server decides about it.
            Err(error) if error.kind() == io::ErrorKind::InvalidData && !self.reads_without_end => {
                server.write_all(&from_client).await?;
                return copy_bidirectional(&mut client, &mut server).await.map(drop);
            }
            Err(_) if self.reads_without_end => return std::future::pending().await,
            Err(error) => return Err(error),
        };
        server.write_all((self.request)(request).as_bytes()).await?;
        if self.loses_early_bytes {
            from_client.clear();
        }
        from_client = (self.early)(from_client);
        let mut from_server = Vec::new();
        let answer = head(&mut server, &mut from_server).await?;
        let is_upgraded = answer.starts_with("HTTP/1.1 101");
        client.write_all((self.answer)(answer).as_bytes()).await?;
        if is_upgraded {
            return self.relay(client, server, from_client, from_server).await;
        }
        server.write_all(&from_client).await?;
        client.write_all(&from_server).await?;
        if self.ends_after_an_answer {
            return client.shutdown().await;
        }
        if self.keeps_open {
            return std::future::pending().await;
        }
        let ended = copy_bidirectional(&mut client, &mut server).await;
        if self.keeps_unread_answers {
            return std::future::pending().await;
        }
        ended.map(drop)
    }

    async fn relay(
        mut self,
        mut client: TcpStream,
        mut server: TcpStream,
        mut from_client: Vec<u8>,
        mut from_server: Vec<u8>,
    ) -> io::Result<()> {
        let mut wires = Wires::default();
        let mut half_closed = false;
        loop {
            pass(&mut from_client, &mut self.up, &mut wires);
            pass(&mut from_server, &mut self.down, &mut wires);
            // No case here sends more than the buffers on the way hold.
            client.write_all(&std::mem::take(&mut wires.to_client)).await?;
            server.write_all(&std::mem::take(&mut wires.to_server)).await?;
            if wires.ends {
                return client.shutdown().await;
            }
            tokio::select! {
                read = read(&mut client, &mut from_client, false), if !half_closed => match read {
                    Ok(1..) => {}
                    _ if self.ignores_disconnects => return std::future::pending().await,
                    Ok(0) if !self.ends_at_fin => {
                        server.write_all(&from_client).await?;
                        server.shutdown().await?;
                        half_closed = true;
                    }
                    end => return end.map(drop),
                },
                read = read(&mut server, &mut from_server, self.lags) => if !matches!(read, Ok(1..)) {
                    break;
                },
            }
        }
        if self.never_ends {
            return std::future::pending().await;
        }
        if self.ends_with_a_reset {
            return client.set_zero_linger();
        }
        client.shutdown().await?;
        // The rest of the client's data is read: otherwise the end is a reset.
        while read(&mut client, &mut from_client, false).await? > 0 {}
        Ok(())
    }
}

/// Reads from the stream. With `later`, waits until more data has arrived.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>, later: bool) -> io::Result<usize> {
    if later {
        sleep(Duration::from_millis(20)).await;
    }
    buffer.reserve(64 * 1024);
    stream.read_buf(buffer).await
}

/// Passes each complete frame in `bytes` to `change`.
fn pass(bytes: &mut Vec<u8>, change: &mut impl FnMut(Frame, &mut Wires), wires: &mut Wires) {
    let frames: Vec<_> = std::iter::from_fn(|| Frame::take(bytes)).collect();
    let count = frames.len();
    for (index, frame) in frames.into_iter().enumerate() {
        wires.waiting = count - 1 - index;
        change(frame, wires);
        if wires.ends {
            return;
        }
    }
}

/// Reads the head of a request or an answer. The data after it stays in `buffer`.
async fn head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<String> {
    loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = buffer.drain(..end + 4).collect();
            return String::from_utf8(head).map_err(io::Error::other);
        }
        if read(stream, buffer, false).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if buffer.len() > MAX_HEAD_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
}
