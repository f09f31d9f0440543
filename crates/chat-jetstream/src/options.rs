use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::ConnectOptions;
use chat_core::NodeId;

/// The configuration of a [`JetStreamStore`](crate::JetStreamStore).
///
/// ```
/// use chat_jetstream::{ConnectOptions, Options};
///
/// let options = Options::default().with(|options| {
///     options.replicas = 1;
///     options.connect = ConnectOptions::with_token("secret".to_owned());
/// });
/// assert_eq!(options.stream, "chat");
/// ```
#[non_exhaustive]
pub struct Options {
    /// Name of the stream, and the first part of each subject: ASCII letters, digits, `-` and `_`. Chats that share
    /// servers need different ones. Further streams of a chat have a number at the end, as `chat-2`, or `-users` or
    /// `-guests`, so no name has such an end. Default `chat`.
    pub stream: String,
    /// Streams in which the rooms are, 1 to 64: each room is always in the same one. All servers of the chat need the
    /// same number, and it cannot change. Default 1.
    pub streams: usize,
    /// Copies of a stream that is created. The stream can be used while more than half of them can. Default 3.
    pub replicas: usize,
    /// Name of this server of the chat. A second live server of the name is refused. Default `None`: a random name.
    pub node: Option<NodeId>,
    /// Newest messages of a room that can be read, as long as there are at most 4 changes for each. A room with changes
    /// may keep more. Default `None`: all.
    pub retain_messages: Option<u64>,
    /// Age at which messages are removed, counted from the time at which the stream has stored them. All servers of the
    /// chat need the same one. Default `None`: they stay.
    pub retain_age: Option<Duration>,
    /// Idempotency keys of one user in a room that are remembered. Default 10,000.
    pub max_keys_per_user: usize,
    /// Bytes of memory for the idempotency keys of all rooms. Beyond it, those of the rooms that were quiet longest are
    /// dropped, and are read from the stream again before the next message. A key takes about 50 bytes, and a room 512
    /// besides. 0 is no limit. Default 256 MiB.
    pub max_key_bytes: usize,
    /// Directory in which this server remembers the ends of the streams, in a small file for each. With it, a server
    /// notices after its start if a stream has lost its end meanwhile. It is created, if its parent exists, and is of
    /// one server. Default `None`.
    pub state_dir: Option<PathBuf>,
    /// Directory in which this server keeps a search index of all rooms, for itself and for the others. It is created,
    /// if its parent exists. One server of the chat uses it at a time. Default `None`.
    #[cfg(feature = "search-index")]
    pub search_index: Option<PathBuf>,
    /// Credentials, TLS and other settings of the connection. The store sets the callbacks and the reconnects.
    pub connect: ConnectOptions,
}

impl Options {
    /// Applies changes to the options, in a single expression.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            stream: "chat".to_owned(),
            streams: 1,
            replicas: 3,
            node: None,
            retain_messages: None,
            retain_age: None,
            max_keys_per_user: 10_000,
            max_key_bytes: 256 * 1024 * 1024,
            state_dir: None,
            #[cfg(feature = "search-index")]
            search_index: None,
            connect: ConnectOptions::new(),
        }
    }
}

impl fmt::Debug for Options {
    /// Leaves out the settings of the connection, which have secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Options");
        #[cfg(feature = "search-index")]
        shown.field("search_index", &self.search_index);
        shown
            .field("stream", &self.stream)
            .field("streams", &self.streams)
            .field("replicas", &self.replicas)
            .field("node", &self.node)
            .field("retain_messages", &self.retain_messages)
            .field("retain_age", &self.retain_age)
            .field("max_keys_per_user", &self.max_keys_per_user)
            .field("max_key_bytes", &self.max_key_bytes)
            .field("state_dir", &self.state_dir)
            .finish_non_exhaustive()
    }
}
