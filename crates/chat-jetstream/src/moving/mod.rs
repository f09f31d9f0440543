//! Tasks on the streams of a chat, without a chat: the export, the import, and the check.

mod check;
mod error;
mod export;
mod import;
mod write;

use std::io::{BufRead, Write};
use std::sync::Arc;

use bytes::Bytes;
use chat_core::{Exported, Imported, Limits, RoomName};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::life::token;
use crate::link::Link;
use crate::node::{Connection, Node, OpenStream, Streams, find_streams};
use crate::record::Record;
use crate::room::SharedRoom;
use crate::users::Users;
use crate::{JetStreamStore, OpenError, Options, store};

pub use check::Report;
pub use error::MoveError;

/// The rooms whose ends are asked for at the same time.
const MAX_ASKING: usize = 32;

/// Tasks on streams that no chat has open. The servers may run, except for an import.
///
/// ```no_run
/// use chat_jetstream::{JetStreamStore, Options};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let servers = "nats://n1:4222,nats://n2:4222";
/// let mut export = Vec::new();
/// JetStreamStore::export_all(servers, &Options::default(), &mut export).await?;
/// let copy = Options::default().with(|options| options.stream = "copy".to_owned());
/// let imported = JetStreamStore::import(servers, &copy, &*export, |progress| eprintln!("{} lines", progress.lines));
/// assert_eq!(imported.await?.lost, 0);
/// # Ok(())
/// # }
/// ```
impl JetStreamStore {
    /// Writes everything as an export, from which [`import`](Self::import) makes another stream. `docs/export.md`
    /// describes the format. Each room is written as it is at one moment; the rooms are read one after the other.
    ///
    /// It needs the memory of one room.
    ///
    /// # Errors
    ///
    /// [`MoveError::Busy`] if a room is written to faster than it can be read. Rules, roles and restrictions that are
    /// damaged are an error too; an entry that is damaged is only counted.
    pub async fn export_all(servers: &str, options: &Options, to: impl Write) -> Result<Exported, MoveError> {
        export::export_all(servers, options, to).await
    }

    /// Writes the messages of a room in their present form, oldest first, each as the JSON of its event on one line.
    ///
    /// # Errors
    ///
    /// [`MoveError::NoRoom`] for a room that does not exist, and the errors of [`export_all`](Self::export_all).
    pub async fn export(
        servers: &str,
        options: &Options,
        room: &RoomName,
        to: impl Write,
    ) -> Result<Exported, MoveError> {
        export::export(servers, options, room, to).await
    }

    /// Makes a stream from an export, and the streams about users. No server opens it before it is complete. The rooms
    /// keep their positions, times, users and markers, and begin a new epoch.
    ///
    /// It needs the memory of one room or a few small ones.
    ///
    /// # Errors
    ///
    /// [`MoveError::HasRooms`] if the stream has rooms, [`MoveError::InUse`] if servers of the chat run, and
    /// [`MoveError::Export`] for a mistake in the export. After an error nothing is left, or what the next import
    /// removes.
    pub async fn import(
        servers: &str,
        options: &Options,
        from: impl BufRead,
        progress: impl FnMut(Imported),
    ) -> Result<Imported, MoveError> {
        import::import(servers, options, from, progress).await
    }

    /// Returns the rooms that have or had entries, ordered by name. A room whose end is damaged is left out.
    ///
    /// # Errors
    ///
    /// [`MoveError::Open`] and [`MoveError::Unavailable`].
    pub async fn rooms(servers: &str, options: &Options) -> Result<Vec<RoomName>, MoveError> {
        export::rooms(servers, options).await
    }

    /// Reads everything, and checks that it can be read and does not contradict itself. `progress` gets the result so
    /// far.
    ///
    /// # Errors
    ///
    /// [`MoveError::Open`], [`MoveError::Unavailable`] and [`MoveError::Busy`].
    pub async fn check(
        servers: &str,
        options: &Options,
        progress: impl FnMut(&Report),
    ) -> Result<Report, MoveError> {
        check::check(servers, options, progress).await
    }
}

/// The streams of a chat, for a task. No subscription hears of what is stored.
struct Opened {
    streams: Streams,
    users: Users,
}

impl Opened {
    /// Opens the streams. None is created.
    async fn open(servers: &str, options: &Options) -> Result<Self, OpenError> {
        let (link, connection) = connect(servers, options).await?;
        Ok(Self::new(find_streams(&link, options).await?, connection, options))
    }

    fn new(streams: Vec<OpenStream>, connection: Arc<Connection>, options: &Options) -> Self {
        let streams = Streams::new(streams, connection, options, "task".to_owned());
        let users = Users::new(Arc::clone(streams.first()), options.replicas);
        Self { streams, users }
    }

    fn room(&self, name: &RoomName) -> Arc<SharedRoom> {
        self.streams.node(&token(name)).room(name, &Arc::new(Limits::default()))
    }

    /// Returns the names of all rooms, in their order. The last record of each names it. The second part describes
    /// those that cannot be read.
    async fn rooms(&self) -> Result<(Vec<RoomName>, Vec<String>), MoveError> {
        let (mut rooms, mut damaged) = (Vec::new(), Vec::new());
        for node in self.streams.iter() {
            for (place, bytes) in ends(node).await? {
                match Record::decode(place, bytes).ok().and_then(|record| record.room()) {
                    Some(name) => rooms.push(name),
                    None => damaged.push(format!("stream {}, message {place}", node.link.stream)),
                }
            }
        }
        rooms.sort();
        Ok((rooms, damaged))
    }
}

/// Returns the last record of each room of a stream, and its place.
async fn ends(node: &Node) -> Result<Vec<(u64, Bytes)>, MoveError> {
    let subjects = node.link.subjects(&node.life().subject("*")).await?;
    let ask = |subject: String| async move { node.link.last(&subject).await };
    let ends = stream::iter(subjects).map(ask).buffer_unordered(MAX_ASKING);
    Ok(ends.try_filter_map(|end| async { Ok(end) }).try_collect().await?)
}

/// Connects to the servers. Returns the link to the first stream.
async fn connect(servers: &str, options: &Options) -> Result<(Link, Arc<Connection>), OpenError> {
    let (client, connection) = store::connect(servers, options).await?;
    Ok((store::link_to(client, options)?, connection))
}
