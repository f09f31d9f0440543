//! Tasks on the streams of a chat, without a chat: the export, the import, and the check.

mod check;
mod error;
mod export;
mod import;
mod write;

use std::io::{BufRead, Write};
use std::sync::Arc;

use chat_core::{Exported, Imported, Limits, RoomName};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::life::{Life, is_import, is_token};
use crate::link::{Client, Link};
use crate::node::{Connection, Node, wait_for};
use crate::record::{Record, Unreadable};
use crate::room::SharedRoom;
use crate::store::has_batches;
use crate::users::Users;
use crate::{JetStreamStore, OpenError, Options};

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

/// The streams of a chat. No subscription hears of what is stored.
struct Opened {
    node: Arc<Node>,
    users: Users,
}

impl Opened {
    /// Opens the streams. None is created.
    async fn open(servers: &str, options: &Options) -> Result<Self, OpenError> {
        let (link, connection) = connect(servers, options).await?;
        let no_stream = |cause: String| OpenError::NoStream { stream: options.stream.clone(), cause };
        let info = wait_for(|| link.info()).await.map_err(|error| no_stream(error.to_string()))?;
        let info = info.ok_or_else(|| OpenError::Missing(options.stream.clone()))?;
        if is_import(&info.config) {
            return Err(OpenError::Unfinished(options.stream.clone()));
        }
        let life = Life::of(&info).ok_or_else(|| OpenError::ForeignStream(options.stream.clone()))?;
        Ok(Self::new(link, connection, options, life))
    }

    fn new(link: Link, connection: Arc<Connection>, options: &Options, life: Life) -> Self {
        let node = Arc::new(Node::new(link, connection, options, "task".to_owned(), life));
        let users = Users::new(Arc::clone(&node), options.replicas);
        Self { node, users }
    }

    fn room(&self, name: &RoomName) -> Arc<SharedRoom> {
        self.node.room(name, &Arc::new(Limits::default()))
    }

    /// Returns the names of all rooms, in their order. The last record of each names it. Those that cannot be read are
    /// the second part.
    async fn rooms(&self) -> Result<(Vec<RoomName>, Vec<Unreadable>), MoveError> {
        let life = self.node.life();
        let subjects = self.node.link.subjects(&life.subject("*")).await?;
        let ask = |subject: String| async move { self.node.link.last(&subject).await };
        let ends = stream::iter(subjects).map(ask).buffer_unordered(MAX_ASKING);
        let ends: Vec<_> = ends.try_filter_map(|end| async { Ok(end) }).try_collect().await?;
        let (mut rooms, mut damaged) = (Vec::new(), Vec::new());
        for (place, bytes) in ends {
            match Record::decode(place, bytes).map(|record| record.room()) {
                Ok(Some(name)) => rooms.push(name),
                Ok(None) => damaged.push(Unreadable { place }),
                Err(unreadable) => damaged.push(unreadable),
            }
        }
        rooms.sort();
        Ok((rooms, damaged))
    }
}

/// Connects to the servers.
async fn connect(servers: &str, options: &Options) -> Result<(Link, Arc<Connection>), OpenError> {
    if !is_token(&options.stream) {
        return Err(OpenError::InvalidName);
    }
    let connected = Connection::open(servers, options.connect.clone()).await;
    let (client, connection) = connected.map_err(|error| OpenError::unreachable(servers, &error))?;
    let version = client.version();
    if !has_batches(&version) {
        return Err(OpenError::OldServer(version));
    }
    let link = Link { client: Arc::new(client), stream: options.stream.clone(), requests: Arc::default() };
    Ok((link, connection))
}
