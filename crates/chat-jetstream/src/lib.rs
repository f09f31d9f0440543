//! Chat rooms in one or several streams of NATS JetStream, which several servers of one chat share.
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
//! # Tasks
//!
//! [`JetStreamStore::export_all`] and [`JetStreamStore::import`] move the rooms, as text, to another stream or to a
//! store in a directory, and back. [`JetStreamStore::check`] reads everything.
//!
//! # Guarantees
//!
//! - An acknowledged message is stored by a majority of the copies of the stream. It survives a power failure only if
//!   the servers have `sync_interval: always`: by default they sync every two minutes.
//! - All servers have the same messages of a room in the same order, without holes, and each key stores one message.
//! - **When the server that leads the stream fails, no message can be sent for about 10 s**, until the others have
//!   elected another leader. The server decides about that time. Members stay connected, and sends are answered with
//!   `unavailable`; a repeat with the same key is safe. Nothing that was acknowledged is lost.
//! - An edit, a deletion, a reaction or a pin and the new form of its message are stored together or not at all. So are
//!   an act and the rules of the room after it. After the answer to an act, no server stores what it forbids.
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
//! - The users of a server in one room are one notice, which is sent in parts if it is larger than the servers take (1
//!   MiB by default, about 10,000 users). A server of an earlier version does not learn of them then.
//! - A record that was sent before the stream lost its end, and arrives later, is stored if the place that it expects
//!   was given out again, to a record of the same room. The room then has a hole, or two entries at one position.
//! - A reaction, a pin or an act has no key. If its first try is stored late, after a retry, it can undo a later
//!   change. A server refuses what was on its way from another one for 5 s or more, but not what has then waited for
//!   the leader.
//! - A message without a key that is stored at the moment at which the stream loses its end can be stored again in the
//!   new epoch.
//! - If a copy lacks the state of a changed message, undamaged otherwise, a server that reads from that copy returns an
//!   earlier form of the message.
//! - An older copy of the stream that is restored has the texts that were deleted later.
//! - A marker, or a list of followed rooms, that is damaged on the leader counts as none.
//! - A page of a thread is `unavailable` if it needs a block that the leader has damaged too.
//! - If a server returns whose name another one has got while it had no connection, it is not ready, but its own
//!   connections go on. Until they end, the users of the two do not see each other, and kicks on one of them do not
//!   reach the other one.
//! - The removal of a message of the stream names only its sequence. It is sent only on the connection on which the
//!   sequence was read. If no packet arrives from that moment on, it can come to the servers up to 15 s late; if the
//!   stream has lost its end meanwhile, it removes another message.
//! - For some seconds after an election, a server that is not the leader any more may answer. A change of a message
//!   that was stored since, from a server of the chat that has not heard of it, can then be answered with
//!   `no_message`.
//! - The removal of old records of a room names only a sequence, too. If it comes as late, to a stream that was
//!   replaced by a copy from before these records, it can remove the end of the room, and so its rules.
//! - If a record with old messages was replaced by its copy, because a message beside them was deleted, they stay until
//!   the next record of the room is too old.
//! - A room whose rules are damaged on the leader is unavailable, also for its host. Only a backup restores it.
//! - A page of acts reads all entries between them. In a log of several 100,000 entries it may be `unavailable`.
//! - The servers allow 50 open atomic batches for a stream. If more rooms have messages in threads, changes or acts at
//!   once, these are repeated until there is a place.
//! - If the stream loses its end, an act whose record is lost with it can hold in the new epoch, because the rules are
//!   other messages of the stream.
//! - A page of a thread needs a request for each message of it, if they are alone in their records, as in a quiet room.
//! - If a record that was stored again is damaged on the leader too, new messages with keys may be answered with
//!   `unavailable` for the key window, in a room with few entries since.
//!
//! # Limits of this version
//!
//! A count of unread messages looks at 20,000 entries at most, also if most of them are changes; if there are more,
//! the number is 100, which stands for each larger one. A search without an index looks at the messages of a room one
//! by one, at 20,000 at most. A message has at most 500 reactions, because each change stores all of them again. A room
//! has at most 200 pinned messages, and at most 10,000 users with a role or a restriction. A page of messages or of
//! acts reads all entries between them, also if there are many of the other kind.
//!
//! # Streams
//!
//! All rooms are in one stream, or in up to 64 ([`Options::streams`]). A room is always in the same stream: the first
//! 32 bits of the hash of its name decide. The first stream has the name of the chat, the others a number: `chat-2`.
//! All that is said of *the stream* here holds for each of them and its rooms: its leader, its life, its end and its
//! epochs. The streams of users, and the signs of life of the servers, are for all.
//!
//! The number is in the metadata of each stream, and a server with another one is refused. It is decided when the first
//! stream is created, which only one server can do. It cannot change, because the rooms would be in other streams.
//!
//! # Records
//!
//! The entries that one server appends to a room at the same time are one **record**: 1 to 256 of them,
//! about 64 KiB at most. A record is one message of the stream, and its sequence there is its **place**. In a busy room
//! a record has dozens of entries, which then share one sync of the disk and one round of the servers. Each message is
//! stored as the frame that is delivered, with its time and the hashes of its key. A record also has the name of its
//! room, which an export needs, and what a join needs: the oldest position, the number of messages so far, the newest
//! act, and the pinned messages. It names what is not complete: the deleted messages whose texts may be left, and the
//! purges.
//!
//! A room has a subject, `<stream>.<life>.m.<hash of the name>`. No text of a user is in a subject. The **life** is a
//! random number of the stream, so that a record which was meant for a stream that is lost is not stored in its
//! successor.
//!
//! # Changes
//!
//! A change is an entry without texts: who did what to which message. The present form of a message that was changed is
//! its **state**, a message of the stream with a subject of its own, `<stream>.<life>.s.<hash of the name>.<seq>`. A
//! record and the states of the messages that it changes are one atomic batch of the stream, so that both are visible
//! together. A server therefore keeps no form of a message in memory: before a change, it reads the last state of the
//! message, and the change is decided exactly, because the record is stored only at the end of the log that it has
//! read. A page reads the last states of its messages in one request for 128 of them, from a copy of the stream that is
//! not behind the end that the server knows. A room without changes needs no such request.
//!
//! All reactions to one message in one record are one entry. A state that was replaced is removed.
//!
//! # Threads
//!
//! A message in a thread is stored in one atomic batch with the new state of the root, which has the number of these
//! messages and the newest one. A record with many messages of a thread has one such state. The state also names the
//! newest messages of the thread, 31 at most. Each 32 of them become a **block**, a message of the stream that is never
//! changed, with the subject `<stream>.<life>.t.<hash of the name>.<seq of the root>.<number>`. The numbers have no
//! holes, so a page is found in few requests by the positions with which the blocks begin. Each message is named with
//! the place after which its record comes, so a page reads no other record of the room. The blocks are removed with the
//! root.
//!
//! # Rules
//!
//! An act is an entry that sets the rules of the room, or the role or the restriction of a user. The rules and all
//! standings after it are messages of the stream with the subjects `<stream>.<life>.g.<hash of the name>.<part>`, which
//! are stored in one atomic batch with the record. A room of up to 64 users with a standing has one part. In a larger
//! one, the standings are in 64 further parts, and an act stores only those that it changes. The first part names the
//! newest act of each other one, so a server notices if a copy lacks one, and reads it from the leader. Retention does
//! not remove them: only parts that were replaced are removed.
//!
//! Each record names the newest act. So a server that has the rules in memory knows if they are the present ones, and a
//! room without an act needs no request. A message, a change and an act are decided under the rules at the end of the
//! log that the record continues, so that they hold exactly from the act on. A refusal stores nothing that could show a
//! later act. So before it is given, the leader is asked if the log goes on. It is asked for each join of a room with
//! an act too.
//!
//! # Purges
//!
//! The server that is asked for the room carries out a purge. It reads the log once, and deletes up to 32 messages of
//! the user in one step: one entry, which is stored in one atomic batch with the new states of the messages. While the
//! texts of a step are erased, the next one is stored. Each step is judged under the rules at its place. All records
//! from the first step to the last one name the purge, the server, and how far it is, except after an act that takes
//! the right to it away. So another server that has the room open, or opens it, completes a purge whose server is gone,
//! or has made no progress for 15 s. Two servers that do so at once delete nothing twice.
//!
//! A purge is sent to its server with the end of the log at that time. If it arrives late, it deletes nothing newer.
//!
//! # Markers and followed rooms
//!
//! The stream `<stream>-users` keeps the last message of each subject. The marker of a user in a room is one of them,
//! with the epoch in which it counts: `<stream>.u.m.<hash of the user>.<hash of the name>`. All rooms that a user
//! follows are another one: `<stream>.u.f.<hash of the user>`. A server reads the message from the leader, and the next
//! one is stored only if that is still the last one (`Nats-Expected-Last-Subject-Sequence`). So a marker moves forward
//! only, and no followed room is lost, whatever servers a user is connected to. Unread messages are counted in the log
//! when they are asked for.
//!
//! Anyone can take any number of guest names. Therefore the markers and the rooms of guests are in a stream of their
//! own, `<stream>-guests`, with the subjects `<stream>.g.`. It keeps the newest 100,000 messages, up to 64 MiB. Both
//! streams are created with their first message. They are not part of the life of the log: if the log is lost, its
//! markers do not count any more, and the rooms are still followed.
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
//! The stream republishes what it has stored, and each server hears of all of it, in one subscription: of the states
//! first, and then of the record, so that it can make the events of the changes without a request. Each message has
//! its place, so a server notices a missing one by the next. Every 2 s, and after a reconnect, it asks the leader for
//! the last place, and reads what it has missed.
//!
//! # Reads
//!
//! The extent of a log comes from the leader: the last record names the newest and the oldest position. A join of an
//! open room without an act does not ask for it, as long as the leader answers the server: it takes the last record
//! that the server has heard of. It asks for the marker of the user, and reads the messages after it if they are
//! counted. Pages come from any copy, in batches. A copy that is behind is asked again until it has what the leader
//! has. A server remembers the places of about every 64th position that it has seen, and finds others by interpolation,
//! in a few requests.
//!
//! # Searches
//!
//! With the feature `search-index`, a server can keep an index of the words of all messages: `Options::search_index`.
//! It reads the stream in the order of the places, and the index stores the last one together with what it has learned
//! from it. Records add messages, states replace or remove them, and the copies of records stand for records that were
//! replaced before. Positions for which the index got no record are remembered, and are candidates of each search.
//!
//! All servers ask an index on the subject `<stream>.q`. The question names the log, its epoch, and the place of the
//! room's last record; the index waits until it has that place. The answer has positions and places of messages that
//! may match. The server that searches reads them, and a [`Scan`](chat_core::Scan) of their present form decides. So
//! the index needs no text, and an index that is wrong can hide messages, but shows none. If no index answers, the
//! messages are examined one by one.
//!
//! An index also knows the end of the stream over a restart of all servers. If the stream has lost it meanwhile, rooms
//! start new epochs.
//!
//! # Keys
//!
//! A record has the hashes of the keys of its messages. The server that appends to a room reads the records within the
//! key window once, and then keeps the keys in memory, as far as [`Options::max_key_bytes`] allows it: if there are
//! too many, it drops those of the rooms that were quiet longest. The window begins at a time of an entry. That is
//! close to the time at which the stream has stored the record, so the server reads the records of that time and later
//! ones, and those of the hour before, because clocks differ. After an import, the times of the entries are earlier.
//! Then, and if the clock of the leader was further behind, the server finds the first record of the window in some
//! requests, because the entries are in the order of their times. Records before it that deletions have replaced are
//! read backwards, those of up to 256 positions in one request, and four requests at the same time. After a quiet time
//! it reads only the records that other servers have stored since, before it appends. So the keys are exact, whatever
//! it has in memory.
//!
//! A key in memory has 8 bytes of the hash of its user, 8 of the hash of the key, and 8 of that of the content. Of n
//! keys of one user, two are mixed up with the probability n^2 / 2^65. Anyone who looks for such keys or contents can
//! only lose own messages, because the user is part of the hash.
//!
//! # Retention
//!
//! Each record names the oldest position that can be read, so that all servers agree on it. Records below it, and the
//! states of their messages, are removed from the stream when the keys are old. A room keeps at least its newest
//! messages, and at most 5 entries for each.
//!
//! With [`Options::retain_age`], one server removes the messages of a stream that are too old, also from rooms that
//! nobody has open. The records of all rooms are in the order of their times, so it reads the stream from its
//! beginning up to the first record that is young enough. The times are those that the stream has given them. The
//! present time is the earlier one of two clocks: its own, and that of the leader.
//!
//! A room with old records gets a **trim**: a record without entries that names another oldest position. It is stored
//! like each record, so all servers hear of it in its order. It has the id of the record before it, and the next record
//! names that one as the one before: a server that has missed the trim does not take it for a lost end. Some seconds
//! later, the old records are removed, with the states, copies and blocks of their messages. The last record of a room
//! always stays. If all messages are too old, that is the trim, which has no text.
//!
//! Records with keys that are remembered stay in the stream until these are old, although nobody can read the messages.
//!
//! A server of a version without trims cannot read them. Each sign of life says if its server can. No trim is stored
//! while one that cannot is there.
//!
//! # Epochs
//!
//! The epoch of a room is a hash of its name, the life of the stream, and two numbers in the metadata of the stream:
//! the number of losses, and a random one. They change when a server sees that the stream has lost its end: a place
//! is given out again, or a record does not continue the log that the server knows. If the number of losses is lower
//! than before, the stream has lost its last change too, and gets the next one. A server that is not the leader any
//! more may answer with an old state for some seconds. Therefore an old state alone changes nothing; the server then
//! stores a message, which only a majority can do, and compares its place. After a lost connection a server makes
//! this comparison before it appends, because an older copy may have another record at the same place. A server with
//! [`Options::state_dir`] writes the highest place to a file once in a second, and compares it when it starts. If all
//! servers are restarted while the stream loses its end, and none has such a file or a search index, nobody notices.
//!
//! # Erasure
//!
//! From its entry on, no server returns the text of a deleted message. The text is in the record of the message, which
//! may have 255 others, and in earlier states. So the server that has stored the deletion
//!
//! 1. stores the record again without the texts of its deleted messages, under the subject
//!    `<stream>.<life>.r.<hash of the name>.<first position>`, if nobody has done so meanwhile,
//! 2. removes the record with an overwrite (`STREAM.MSG.DELETE`), and
//! 3. removes all states of the message but the last one in the same way, if it had any.
//!
//! Then it answers. Up to 32 messages are erased together: their records are read in order, up to 16 copies are one
//! atomic batch, and 4 records are removed at a time. If a message is alone in its record and was not changed, its
//! deletion needs 7 requests, 3 of them for the erasure. A purge of many such messages needs 1.3 for each.
//!
//! A reader that meets the hole reads the copy that replaces the record, so the order of the log stays. It reads the
//! copies for 256 positions in one request. Each record names the deletions that may not be complete. A server that
//! opens the room, or writes to it, completes them, and tries again each 1 to 60 s while the room is open. It then
//! stores the id of the last record under the subject `<stream>.<life>.g.<hash of the name>.erased`, and so does a
//! purge. A server that opens the room finds this mark, and looks for no text.
//!
//! Nobody may open the room. So 5 to 25 s after another server is gone, after its own start, and each hour, a server
//! looks at the last records of the rooms for which it is asked, 64 in a request and at most 20 requests per second. It
//! completes the deletions and purges that they name, one room after the other. A crash between two steps therefore
//! leaves a text in the files only until then.
//!
//! After the answer, the text is in no file of a stream of one copy. With several copies, the other servers overwrite
//! it some moments later, and the log of the replication has it until the servers compact that log: with nats-server
//! 2.15, for about 3 minutes, if something is stored meanwhile. Nothing of this holds for backups, and for what the
//! disk itself keeps.

mod bus;
mod error;
mod high_water;
mod life;
mod link;
mod moving;
mod node;
mod options;
mod record;
mod room;
mod search;
mod shard;
mod stats;
mod store;
mod users;

/// A model of the servers, on which the crate runs with faults.
#[cfg(test)]
#[path = "../tests/model/mod.rs"]
mod model;

pub use async_nats::ConnectOptions;

pub use bus::NatsBus;
pub use chat_core::{Exported, Imported};
pub use error::OpenError;
pub use moving::{MoveError, Report};
pub use options::Options;
pub use stats::{Stats, StreamStatus, describe_metrics};
pub use store::JetStreamStore;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
