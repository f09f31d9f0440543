//! Chat rooms in a stream of NATS JetStream, which several servers of one chat share.
//!
//! A [`JetStreamStore`] provides the rooms of a [`Chat`](chat_core::Chat). All servers of the chat open it with the
//! same name of a stream, and each can append to each room. No server owns a room, so none has to be elected when
//! another one ends. A [`NatsBus`] carries presence, typing and kicks between them.
//!
//! # Mount a store
//!
//! ```no_run
//! use chat_core::Chat;
//! use chat_jetstream::{JetStreamStore, NatsBus, Options};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let servers = "nats://n1:4222,nats://n2:4222,nats://n3:4222";
//! let options = Options::default().with(|options| options.retain_messages = Some(100_000));
//! let bus = NatsBus::open(servers, &options).await?;
//! let store = JetStreamStore::open(servers, options).await?;
//! let chat = Chat::builder().node("eu-1".parse()?).store(store).bus(bus).build();
//! # drop(chat);
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! - An acknowledged message is stored by a majority of the copies of the stream. It survives a power failure only if
//!   the servers have `sync_interval: always`: by default they sync every two minutes.
//! - All servers have the same messages of a room in the same order, without holes, and each key stores one message.
//! - **When the server that leads the stream fails, no message can be sent for about 10 s**, until the others have
//!   elected another leader. The server decides about that time. Members stay connected, and sends are answered with
//!   `unavailable`; a repeat with the same key is safe. Nothing that was acknowledged is lost.
//! - Each record has a checksum, and names the record before it. A record that one copy lacks or has damaged is read
//!   from the leader. If the leader has it damaged too, it is not returned, and [`JetStreamStore::unreadable`] counts
//!   it; new keys are answered with `unavailable` for the key window. A room whose newest record is damaged is
//!   unavailable.
//! - If the stream has lost messages at its end, because an older copy was restored or more servers than a minority
//!   have lost their disks, then rooms start new epochs as soon as a server notices. So does a stream that was removed:
//!   it is created again, empty.
//!
//! # Known defects
//!
//! - If a copy lacks the first record of the key window, undamaged otherwise, a server that loads the keys from that
//!   copy does not notice it, and can store a message with such a key again.
//! - The users of a server in one room are one notice. If it is larger than the servers take (1 MiB by default, about
//!   10,000 users), the other servers do not learn of those users.
//! - A message without a key that is stored at the moment at which the stream loses its end can be stored again in the
//!   new epoch.
//!
//! # Limits of this version
//!
//! The store keeps only messages: no edits, deletions, purges, reactions, pins, threads, rules of rooms, markers and
//! followed rooms. A search looks at the messages of a room one by one, at 20,000 at most.
//!
//! # Records
//!
//! The messages that one server appends to a room at the same time are one **record**: 1 to 256 messages, about 64 KiB
//! at most. A record is one message of the stream, and its sequence there is its **place**. In a busy room a record has
//! dozens of messages, which then share one sync of the disk and one round of the servers. Each message is stored as
//! the frame that is delivered, with its time and the hashes of its key.
//!
//! A room has a subject, `<stream>.<life>.m.<hash of the name>`. No text of a user is in a subject. The **life** is a
//! random number of the stream, so that a record which was meant for a stream that is lost is not stored in its
//! successor.
//!
//! # Appends
//!
//! A record is stored only if the last record of its room is the one that its writer has seen
//! (`Nats-Expected-Last-Subject-Sequence`). Of two writers the stream takes one, and the other one reads what it has
//! missed, decides again, and tries again. So the numbers have no holes, and the keys are exact, without a lease or a
//! lock. A record without an acknowledgement is sent again as it is, because it can be stored once at most.
//!
//! Writers that often meet would be slow. So one server is *asked* to append to a room: the one that rendezvous hashing
//! selects among those that are there. This is a hint. If that server does not listen, the append is made here, and if
//! two servers disagree, it only takes longer. Each server gives a sign of life every 2 s.
//!
//! # Reports
//!
//! The stream republishes what it has stored, and each server hears of all of it, in one subscription. Each message has
//! its place, so a server notices a missing one by the next. Every 2 s, and after a reconnect, it asks the leader for
//! the last place, and reads what it has missed.
//!
//! # Reads
//!
//! The extent of a log comes from the leader: the last record names the newest and the oldest position. Pages come from
//! any copy, in batches. A copy that is behind is asked again until it has what the leader has. A server remembers the
//! places of about every 64th position that it has seen, and finds others by interpolation, in a few requests.
//!
//! # Keys
//!
//! A record has the hashes of the keys of its messages. The server that appends to a room reads the records within the
//! key window once, and then keeps the keys in memory as long as the room is written to.
//!
//! # Retention
//!
//! Each record names the oldest position that can be read, so that all servers agree on it. Records below it are
//! removed from the stream when their keys are old.
//!
//! # Epochs
//!
//! The epoch of a room is a hash of its name, the life of the stream, and a random number in the metadata of the
//! stream. That number changes when a server sees that the stream has lost its end: a place is given out again, or a
//! record does not continue the log that the server knows. A server that is not the leader any more may answer with an
//! old state for some seconds. Therefore an old state alone changes nothing; the server then stores a message, which
//! only a majority can do, and compares its place. The highest place is known only to servers that run: if all of them
//! are restarted while the stream loses its end, nobody notices.
//!
//! # Erasure
//!
//! The store has no deletions yet, because a deletion must erase the text of one message, and a record may have 256.
//! The design for it: a record is stored again without that text, under a subject of its own that names its first
//! position; then the deletion is appended; then the first record is removed with an overwrite
//! (`STREAM.MSG.DELETE`). A reader that meets the hole reads the record that replaces it. So the order of the log
//! stays, and a crash between two steps leaves a state from which any server can continue.

mod bus;
mod error;
mod life;
mod link;
mod node;
mod options;
mod record;
mod room;
mod stats;
mod store;

pub use async_nats::ConnectOptions;

pub use bus::NatsBus;
pub use error::OpenError;
pub use options::Options;
pub use stats::{Stats, describe_metrics};
pub use store::JetStreamStore;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
