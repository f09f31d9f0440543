use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::answers::Answers;
use super::conversation::{Action, Conversation};

/// The longest wait for bytes of the server in a conversation.
const WAIT: Duration = Duration::from_millis(30);

/// The longest time that a server may leave the bytes of a client unread before the client gives up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest time that a server may keep a connection that the client has ended. It is longer than any time limit of
/// a session and of the HTTP server.
const END_TIMEOUT: Duration = Duration::from_secs(90);

/// The client's side of a connection.
struct Connection {
    write: Option<OwnedWriteHalf>,
    reader: JoinHandle<Result<(), String>>,
    received: watch::Receiver<u64>,
}

/// Plays a conversation. All connections have ended after it.
///
/// # Errors
///
/// The rule that the server breaks in its answers.
pub(super) async fn play(address: SocketAddr, conversation: &Conversation) -> Result<(), String> {
    let mut connections = BTreeMap::new();
    for step in &conversation.steps {
        let connection = match connections.entry(step.connection) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let stream =
                    TcpStream::connect(address).await.map_err(|error| format!("connect: {error}"))?;
                entry.insert(Connection::new(stream))
            }
        };
        connection.act(&step.action).await;
    }
    for (number, connection) in connections {
        connection.end().await.map_err(|problem| format!("connection {number}: {problem}"))?;
    }
    Ok(())
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        // An error means that the connection has ended, which the reader notices.
        let _ended = stream.set_nodelay(true);
        let (read, write) = stream.into_split();
        let (sender, received) = watch::channel(0);
        Self { write: Some(write), reader: tokio::spawn(read_all(read, sender)), received }
    }

    async fn act(&mut self, action: &Action) {
        if let Some(bytes) = action.bytes() {
            self.write(&bytes).await;
        }
        match action {
            Action::Wait => drop(timeout(WAIT, self.received.changed()).await),
            Action::Block => self.reader.abort(),
            Action::Finish => self.write = None,
            Action::Reset => {
                if let Some(write) = self.write.take() {
                    let _ended = write.as_ref().set_zero_linger();
                    self.reader.abort();
                }
            }
            Action::Upgrade(_) | Action::Text(_) | Action::Bytes(_) => {}
        }
    }

    async fn write(&mut self, bytes: &[u8]) {
        let Some(write) = &mut self.write else { return };
        if !matches!(timeout(WRITE_TIMEOUT, write.write_all(bytes)).await, Ok(Ok(()))) {
            self.write = None;
        }
    }

    /// Ends the sending side and checks the rest of the answers.
    async fn end(mut self) -> Result<(), String> {
        drop(self.write.take());
        match timeout(END_TIMEOUT, &mut self.reader).await {
            Ok(Ok(checked)) => checked,
            // The client has stopped reading.
            Ok(Err(error)) if error.is_cancelled() => Ok(()),
            Ok(Err(error)) => Err(format!("the reader failed: {error}")),
            Err(_) => Err(format!("open {END_TIMEOUT:?} after the client has ended it")),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read_all(mut read: OwnedReadHalf, received: watch::Sender<u64>) -> Result<(), String> {
    let mut answers = Answers::default();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        match read.read(&mut buffer).await {
            Ok(0) => return answers.finish(),
            Ok(length) => answers.take(&buffer[..length])?,
            // A reset destroys bytes on their way.
            Err(_) => return Ok(()),
        }
        received.send_modify(|count| *count += 1);
    }
}
