use std::io;
use std::path::PathBuf;

use chat_core::NodeId;

/// A reason why a store cannot be opened. The text says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The name of the stream is not valid.
    #[error(
        "the name of a stream is 1 to 64 ASCII letters, digits, - and _, and does not end in -users, in -guests, or in - \
         and a number, as further streams of a chat do; choose another name"
    )]
    InvalidName,
    /// No server can be reached, or it refuses the credentials.
    #[error("no connection to the servers {servers}: {cause}; check the addresses and the credentials")]
    Unreachable {
        /// The addresses of the servers.
        servers: String,
        /// The error of the connection.
        cause: String,
    },
    /// The stream cannot be read or created. The source has the answer of the servers.
    #[error(
        "the stream {stream} cannot be read or created: {cause}; check that JetStream is enabled, and that as many \
         servers run as the stream has copies"
    )]
    NoStream {
        /// The name of the stream.
        stream: String,
        /// The answer of the servers.
        cause: String,
    },
    /// The server is too old: it cannot store several messages together.
    #[error("the server has the version {0}, which is older than 2.12; update all servers")]
    OldServer(String),
    /// A stream of this name exists, but it is not one of this version of the chat.
    #[error(
        "the stream {0} is not a stream of this version of the chat; choose another name, or keep the earlier version for \
         its rooms"
    )]
    ForeignStream(String),
    /// The number of streams is not valid.
    #[error("a chat has 1 to 64 streams; choose another number")]
    InvalidStreams,
    /// The chat has its rooms in another number of streams.
    #[error(
        "the chat has its rooms in {found} streams instead of {wanted}, as the stream {stream} says; set the number of \
         streams to {found}; for another number, export the rooms, and import them into a chat with another name"
    )]
    OtherStreams {
        /// The name of the stream with the number.
        stream: String,
        /// The number of streams that the chat has.
        found: usize,
        /// The number that was set.
        wanted: usize,
    },
    /// The stream does not exist.
    #[error("the stream {0} does not exist; check the addresses and its name")]
    Missing(String),
    /// An import fills the stream, or was interrupted.
    #[error("the import into the stream {0} is not complete; wait for it, or import again")]
    Unfinished(String),
    /// Another live server of the chat has the name of this one.
    #[error("another server of the chat has the name {0}; choose another name, or stop that server")]
    NameInUse(NodeId),
    /// The directory with the ends of the streams cannot be used.
    #[error("{}: {cause}", dir.display())]
    State {
        /// The directory.
        dir: PathBuf,
        /// The error of the file system.
        cause: io::Error,
    },
    /// Another running server uses the directory with the ends of the streams.
    #[error("{} is in use by another running server; each server needs a directory of its own", .0.display())]
    StateInUse(PathBuf),
    /// The search index cannot be used.
    #[cfg(feature = "search-index")]
    #[error("the search index cannot be used: {0}")]
    Index(#[from] chat_sqlite::OpenError),
}

impl OpenError {
    pub(crate) fn unreachable(servers: &str, cause: &impl std::fmt::Display) -> Self {
        Self::Unreachable { servers: servers.to_owned(), cause: cause.to_string() }
    }
}
