use serde::Serialize;
use serde_json::value::RawValue;

use super::{Command, JoinFrom};
use crate::room::{Change, JoinRule, Mentions, PostRule, Restrict};
use crate::wire::MAX_INTEGER;
use crate::{Range, Role, RoomName, User};

impl Command {
    /// Writes the command as the text of one frame, with the `ref` that the reply must carry.
    ///
    /// A `before` above 2^53 - 1, which the protocol cannot express, is left out: each message is before it. The number
    /// in [`JoinFrom::Last`] is clamped to 2^53 - 1.
    ///
    /// # Panics
    ///
    /// Never: every command is a map of strings, numbers and JSON.
    pub fn encode(&self, reference: Option<&str>) -> String {
        let mut frame = Frame { reference, ..Frame::default() };
        match self {
            Self::Hello { token } => (frame.kind, frame.token) = ("hello", Some(token.as_str())),
            Self::Join { room, from } => {
                frame = frame.of("join", room);
                frame.set_from(from);
            }
            Self::JoinDirect { with, from } => {
                (frame.kind, frame.with) = ("join", Some(with.id()));
                frame.set_from(from);
            }
            Self::Leave { room } => frame = frame.of("leave", room),
            Self::Send { room, key, body, links } => {
                frame = Frame { key: key.as_deref(), body: Some(body), ..frame.of("send", room) };
                if let Some(links) = links {
                    (frame.reply_to, frame.thread) = (links.reply_to, links.thread);
                    frame.mentions = links.mentions.as_ref();
                }
            }
            Self::Change { room, seq, change, rev, key, mentions } => {
                frame = Frame { seq: Some(*seq), rev: *rev, key: key.as_deref(), ..frame.of("", room) };
                frame.mentions = mentions.as_ref();
                match change {
                    Change::Edit { body } => (frame.kind, frame.body) = ("edit", Some(&**body)),
                    Change::Delete { reason } => {
                        (frame.kind, frame.reason) = ("delete", reason.as_deref());
                    }
                    Change::React { reaction, on } => {
                        (frame.kind, frame.reaction, frame.on) =
                            ("react", Some(reaction.as_str()), Some(*on));
                    }
                    Change::Pin { on } => (frame.kind, frame.on) = ("pin", Some(*on)),
                }
            }
            Self::Create { room, rules } => {
                frame = frame.of("create", room);
                (frame.join, frame.post) = (Some(rules.join), Some(rules.post));
                (frame.title, frame.receipts) = (rules.title.as_deref(), rules.receipts.then_some(true));
            }
            Self::Role { room, user, role } => {
                frame = Frame { user: Some(user.id()), role: Some(*role), ..frame.of("role", room) };
            }
            Self::Restrict { room, user, restriction, reason } => {
                frame =
                    Frame { user: Some(user.id()), reason: reason.as_deref(), ..frame.of("restrict", room) };
                frame.what = Some(match restriction.map(|restriction| restriction.what) {
                    Some(Restrict::Mute) => "mute",
                    Some(Restrict::Ban) => "ban",
                    None => "none",
                });
                frame.until = restriction.and_then(|restriction| restriction.until);
            }
            Self::Purge { room, user } => {
                frame = Frame { user: Some(user.id()), ..frame.of("purge", room) };
            }
            Self::Messages { room, seqs } => frame = Frame { seqs: Some(seqs), ..frame.of("history", room) },
            Self::Thread { room, root, range } => {
                frame = Frame { thread: Some(*root), ..frame.of("history", room) };
                frame.set_range(*range);
            }
            Self::History { room, range } => {
                frame = frame.of("history", room);
                frame.set_range(*range);
            }
            Self::Members { room, after, limit } => {
                frame = Frame {
                    after: after.as_ref().map(After::User),
                    limit: Some(*limit),
                    ..frame.of("members", room)
                };
            }
            Self::Read { room, seq } => frame = Frame { seq: Some(*seq), ..frame.of("read", room) },
            Self::Follow { room, on } => frame = Frame { on: Some(*on), ..frame.of("follow", room) },
            Self::Rooms { after, limit } => {
                (frame.kind, frame.after, frame.limit) =
                    ("rooms", after.as_ref().map(After::Room), Some(*limit));
            }
            Self::Search { room, search } => {
                frame = Frame {
                    query: Some(&search.query),
                    limit: Some(search.limit),
                    before: search.before.and_then(position),
                    ..frame.of("search", room)
                };
            }
            Self::Typing { room, active } => {
                frame = Frame { active: Some(*active), ..frame.of("typing", room) };
            }
            Self::Ping => frame.kind = "ping",
        }
        serde_json::to_string(&frame).expect("a command is always JSON")
    }
}

fn position(seq: u64) -> Option<u64> {
    Some(seq).filter(|seq| *seq <= MAX_INTEGER)
}

/// The fields of all commands, in the order in which they are written.
#[derive(Debug, Default, Serialize)]
struct Frame<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    reference: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<&'a RoomName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    with: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<After<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seqs: Option<&'a [u64]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rev: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reaction: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    join: Option<JoinRule>,
    #[serde(skip_serializing_if = "is_left_out")]
    post: Option<PostRule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipts: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    active: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mentions: Option<&'a Mentions>,
}

#[expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_left_out(post: &Option<PostRule>) -> bool {
    post.is_none_or(|post| post == PostRule::Everybody)
}

/// The field `after`: a cursor in `join`, a `seq` in `history`, a user in `members`, a room in `rooms`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum After<'a> {
    Cursor { epoch: &'a str, seq: u64 },
    Seq(u64),
    User(&'a User),
    Room(&'a RoomName),
}

impl<'a> Frame<'a> {
    fn of(self, kind: &'static str, room: &'a RoomName) -> Self {
        Self { kind, room: Some(room), ..self }
    }

    fn set_from(&mut self, from: &'a JoinFrom) {
        match from {
            JoinFrom::Now => {}
            JoinFrom::Last(count) => self.last = Some((*count).min(MAX_INTEGER)),
            JoinFrom::After { epoch, seq } => self.after = Some(After::Cursor { epoch, seq: *seq }),
        }
    }

    fn set_range(&mut self, range: Range) {
        match range {
            Range::Newest { limit } => self.limit = Some(limit),
            Range::Before { seq, limit } => (self.before, self.limit) = (position(seq), Some(limit)),
            // A client has no command for entries, so it asks for messages.
            Range::After { seq, limit }
            | Range::Entries { after: seq, limit }
            | Range::Acts { after: seq, limit } => {
                (self.after, self.limit) = (Some(After::Seq(seq)), Some(limit));
            }
        }
    }
}
