use serde_json::value::RawValue;

use super::{Command, Invalid, JoinFrom, Parsed, Token};
use crate::room::{Change, Links, Mentions, is_reaction, is_reason, is_title};
use crate::room::{JoinRule, PostRule, Restrict, Restriction, RoomRules};
use crate::wire::json::{Field, Fields};
use crate::{ErrorCode, Limits, Range, Role, RoomName, Search, User};

/// Reads one text frame.
///
/// # Examples
///
/// ```
/// use chat_proto::command::{self, Command};
/// use chat_proto::{ErrorCode, Limits};
///
/// let parsed = command::parse(br#"{"type":"ping","ref":"7"}"#, &Limits::default());
/// assert_eq!(parsed.reference.as_deref(), Some("7"));
/// assert!(matches!(parsed.command, Ok(Command::Ping)));
///
/// let parsed = command::parse(br#"["ping"]"#, &Limits::default());
/// assert_eq!(parsed.command.unwrap_err().code, ErrorCode::BadJson);
/// ```
pub fn parse(text: &[u8], limits: &Limits) -> Parsed {
    parse_with(text, limits, &|_| None)
}

/// Returns the name of a room that the reader of a command knows, so that it is not checked again.
type KnownRoom<'a> = &'a dyn Fn(&str) -> Option<RoomName>;

/// Reads one text frame of a client whose rooms are known.
pub(crate) fn parse_with(text: &[u8], limits: &Limits, known: KnownRoom<'_>) -> Parsed {
    let invalid = |fields: &Fields<'_>, code| Invalid { code, room: room(fields, known).ok() };
    match Fields::parse(text) {
        Ok(fields) => match reference(&fields, limits) {
            Ok(reference) => {
                let command = command(&fields, limits, known).map_err(|code| invalid(&fields, code));
                Parsed { reference, command }
            }
            Err(code) => Parsed { reference: None, command: Err(invalid(&fields, code)) },
        },
        Err(code) => match Fields::parse_lenient(text) {
            // A client that sent a `ref` waits for a reply with it, even if the rest is invalid.
            Some(fields) => {
                let reference = reference(&fields, limits).ok().flatten();
                Parsed { reference, command: Err(invalid(&fields, code)) }
            }
            None => Parsed { reference: None, command: Err(Invalid { code, room: None }) },
        },
    }
}

fn reference(fields: &Fields<'_>, limits: &Limits) -> Result<Option<String>, ErrorCode> {
    const RULE: &str = "`ref` must be a string that is not too long";
    match fields.string(Field::Ref, RULE)? {
        Some(text) if text.len() > limits.wire.max_ref_bytes => Err(ErrorCode::BadCommand(RULE)),
        reference => Ok(reference.map(ToOwned::to_owned)),
    }
}

fn command(fields: &Fields<'_>, limits: &Limits, known: KnownRoom<'_>) -> Result<Command, ErrorCode> {
    let room = || room(fields, known);
    const TYPE: &str = "`type` must be a string";
    let kind = fields.string(Field::Type, TYPE)?.ok_or(ErrorCode::BadCommand(TYPE))?;
    Ok(match kind {
        "hello" => {
            const TOKEN: &str = "`token` must be a string";
            let token = fields.string(Field::Token, TOKEN)?.ok_or(ErrorCode::BadCommand(TOKEN))?;
            Command::Hello { token: Token::new(token) }
        }
        "join" => match with(fields)? {
            Some(with) => Command::JoinDirect { with, from: from(fields, limits)? },
            None => Command::Join { room: room()?, from: from(fields, limits)? },
        },
        "leave" => Command::Leave { room: room()? },
        "send" => {
            let (room, key, body) = (room()?, key(fields, limits)?, body(fields)?);
            Command::Send { room, key, body, links: links(fields, limits)? }
        }
        "edit" => {
            let (change, key) = (Change::Edit { body: body(fields)? }, key(fields, limits)?);
            let (room, seq, rev) = (room()?, target(fields)?, rev(fields)?);
            Command::Change { room, seq, change, rev, key, mentions: mentions(fields, limits)? }
        }
        "delete" => {
            let change = Change::Delete { reason: reason(fields, limits)? };
            let (room, seq) = (room()?, target(fields)?);
            Command::Change { room, seq, change, rev: None, key: None, mentions: None }
        }
        "react" => {
            let change = Change::React { reaction: reaction(fields, limits)?, on: on(fields)? };
            let (room, seq, rev) = (room()?, target(fields)?, rev(fields)?);
            Command::Change { room, seq, change, rev, key: None, mentions: None }
        }
        "pin" => {
            let change = Change::Pin { on: on(fields)? };
            let (room, seq) = (room()?, target(fields)?);
            Command::Change { room, seq, change, rev: None, key: None, mentions: None }
        }
        "create" => Command::Create { room: room()?, rules: rules(fields, limits)? },
        "role" => Command::Role { room: room()?, user: user(fields)?, role: role(fields)? },
        "restrict" => {
            let restriction = restriction(fields)?;
            let (user, reason) = (user(fields)?, reason(fields, limits)?);
            Command::Restrict { room: room()?, user, restriction, reason }
        }
        "purge" => Command::Purge { room: room()?, user: user(fields)? },
        "history" => match seqs(fields, limits)? {
            Some(seqs) => Command::Messages { room: room()?, seqs },
            None => match position(fields, Field::Thread, THREAD)? {
                Some(root) => Command::Thread { room: room()?, root, range: range(fields, limits)? },
                None => Command::History { room: room()?, range: range(fields, limits)? },
            },
        },
        "members" => Command::Members {
            room: room()?,
            after: member(fields)?,
            limit: limit(fields, limits.wire.default_page_members, limits.wire.max_page_members)?,
        },
        "read" => Command::Read { room: room()?, seq: marker(fields)? },
        "follow" => Command::Follow { room: room()?, on: on(fields)? },
        "rooms" => Command::Rooms {
            after: last_room(fields)?,
            limit: limit(fields, limits.wire.default_page_rooms, limits.wire.max_page_rooms)?,
        },
        "search" => Command::Search { room: room()?, search: search(fields, limits)? },
        "typing" => {
            const ACTIVE: &str = "`active` must be true or false";
            let active = fields.boolean(Field::Active, ACTIVE)?.ok_or(ErrorCode::BadCommand(ACTIVE))?;
            Command::Typing { room: room()?, active }
        }
        "ping" => Command::Ping,
        _ => return Err(ErrorCode::UnknownType),
    })
}

const BEFORE: &str = "`before` must be an integer from 0 to 2^53-1";
const THREAD: &str = "`thread` must be an integer from 1 to 2^53-1";
const BODY: &str = "`body` must be an object";

fn room(fields: &Fields<'_>, known: KnownRoom<'_>) -> Result<RoomName, ErrorCode> {
    const RULE: &str = "`room` must be a string";
    let name = fields.string(Field::Room, RULE)?.ok_or(ErrorCode::BadCommand(RULE))?;
    known(name).map_or_else(|| Ok(name.parse()?), Ok)
}

/// Returns the other user of a direct room.
fn with(fields: &Fields<'_>) -> Result<Option<User>, ErrorCode> {
    const WITH: &str = "`with` must be the id of a user";
    let Some(id) = fields.string(Field::With, WITH)? else { return Ok(None) };
    if fields.has(Field::Room) {
        return Err(ErrorCode::BadCommand("`room` and `with` exclude each other"));
    }
    User::from_id(id).map(Some).map_err(|_| ErrorCode::BadCommand(WITH))
}

fn from(fields: &Fields<'_>, limits: &Limits) -> Result<JoinFrom, ErrorCode> {
    const AFTER: &str = "`after` must be an object with a string `epoch` and an integer `seq`";
    let last = fields.integer(Field::Last, "`last` must be an integer from 0 to 2^53-1")?;
    let Some(after) = fields.nested(Field::After, AFTER)? else {
        let max = limits.wire.max_page_messages as u64;
        return Ok(last.map_or(JoinFrom::Now, |last| JoinFrom::Last(last.min(max))));
    };
    if last.is_some() {
        return Err(ErrorCode::BadCommand("`after` and `last` exclude each other"));
    }
    let epoch = after.string(Field::Epoch, AFTER)?.ok_or(ErrorCode::BadCommand(AFTER))?;
    let seq = after.integer(Field::Seq, AFTER)?.ok_or(ErrorCode::BadCommand(AFTER))?;
    Ok(JoinFrom::After { epoch: epoch.to_owned(), seq })
}

fn member(fields: &Fields<'_>) -> Result<Option<User>, ErrorCode> {
    const AFTER: &str = "`after` must be a user: an object with a string `id` and a string `name`";
    let Some(after) = fields.object(Field::After, AFTER)? else { return Ok(None) };
    serde_json::from_str(after.get()).map(Some).map_err(|_| ErrorCode::BadCommand(AFTER))
}

fn last_room(fields: &Fields<'_>) -> Result<Option<RoomName>, ErrorCode> {
    const AFTER: &str = "`after` must be the name of a room";
    Ok(fields.text(Field::After, AFTER)?.map(|name| name.parse()).transpose()?)
}

fn marker(fields: &Fields<'_>) -> Result<u64, ErrorCode> {
    const SEQ: &str = "`seq` must be an integer from 0 to 2^53-1";
    fields.integer(Field::Seq, SEQ)?.ok_or(ErrorCode::BadCommand(SEQ))
}

fn key(fields: &Fields<'_>, limits: &Limits) -> Result<Option<String>, ErrorCode> {
    match fields.string(Field::Key, "`key` must be a string")? {
        Some(key) if !limits.wire.allows_key(key) => Err(ErrorCode::BadKey),
        key => Ok(key.map(ToOwned::to_owned)),
    }
}

fn body(fields: &Fields<'_>) -> Result<Box<RawValue>, ErrorCode> {
    fields.object(Field::Body, BODY)?.map(ToOwned::to_owned).ok_or(ErrorCode::BadCommand(BODY))
}

fn target(fields: &Fields<'_>) -> Result<u64, ErrorCode> {
    const SEQ: &str = "`seq` must be an integer from 1 to 2^53-1";
    position(fields, Field::Seq, SEQ)?.ok_or(ErrorCode::BadCommand(SEQ))
}

/// Returns a field that is the `seq` of an entry.
fn position(fields: &Fields<'_>, field: Field, rule: &'static str) -> Result<Option<u64>, ErrorCode> {
    match fields.integer(field, rule)? {
        Some(0) => Err(ErrorCode::BadCommand(rule)),
        seq => Ok(seq),
    }
}

fn links(fields: &Fields<'_>, limits: &Limits) -> Result<Option<Box<Links>>, ErrorCode> {
    if ![Field::ReplyTo, Field::Thread, Field::Mentions].into_iter().any(|field| fields.has(field)) {
        return Ok(None);
    }
    const REPLY_TO: &str = "`reply_to` must be an integer from 1 to 2^53-1";
    let links = Links::default()
        .with_reply_to(position(fields, Field::ReplyTo, REPLY_TO)?)
        .with_thread(position(fields, Field::Thread, THREAD)?)
        .with_mentions(mentions(fields, limits)?);
    Ok((!links.is_empty()).then(|| Box::new(links)))
}

fn mentions(fields: &Fields<'_>, limits: &Limits) -> Result<Option<Mentions>, ErrorCode> {
    const RULE: &str = "`mentions` must be a list of user ids that is not too long, or `@room`";
    let Some(raw) = fields.raw(Field::Mentions) else { return Ok(None) };
    // Repeated ids count, so that the list is bounded before they are compared.
    let ids = serde_json::from_str::<Vec<&RawValue>>(raw.get()).map_or(0, |ids| ids.len());
    let mentions = (ids <= limits.wire.max_mentions).then(|| serde_json::from_str::<Mentions>(raw.get()));
    let mentions = mentions.and_then(Result::ok).filter(|mentions| mentions.is_valid(limits));
    mentions.map(Some).ok_or(ErrorCode::BadCommand(RULE))
}

fn rev(fields: &Fields<'_>) -> Result<Option<u64>, ErrorCode> {
    fields.integer(Field::Rev, "`rev` must be an integer from 0 to 2^53-1")
}

fn on(fields: &Fields<'_>) -> Result<bool, ErrorCode> {
    const ON: &str = "`on` must be true or false";
    fields.boolean(Field::On, ON)?.ok_or(ErrorCode::BadCommand(ON))
}

fn reaction(fields: &Fields<'_>, limits: &Limits) -> Result<String, ErrorCode> {
    const RULE: &str = "`reaction` must be a printable string in NFC that is not too long";
    let reaction = fields.string(Field::Reaction, RULE)?.ok_or(ErrorCode::BadCommand(RULE))?;
    if is_reaction(reaction, limits) { Ok(reaction.to_owned()) } else { Err(ErrorCode::BadCommand(RULE)) }
}

fn reason(fields: &Fields<'_>, limits: &Limits) -> Result<Option<String>, ErrorCode> {
    const RULE: &str = "`reason` must be a printable string that is not too long";
    match fields.string(Field::Reason, RULE)? {
        Some(reason) if !is_reason(reason, limits) => Err(ErrorCode::BadCommand(RULE)),
        reason => Ok(reason.filter(|reason| !reason.is_empty()).map(ToOwned::to_owned)),
    }
}

fn user(fields: &Fields<'_>) -> Result<User, ErrorCode> {
    const USER: &str = "`user` must be the id of a user";
    let id = fields.string(Field::User, USER)?.ok_or(ErrorCode::BadCommand(USER))?;
    User::from_id(id).map_err(|_| ErrorCode::BadCommand(USER))
}

fn role(fields: &Fields<'_>) -> Result<Role, ErrorCode> {
    const ROLE: &str = "`role` must be none, member, moderator or owner";
    match fields.string(Field::Role, ROLE)? {
        Some("none") => Ok(Role::None),
        Some("member") => Ok(Role::Member),
        Some("moderator") => Ok(Role::Moderator),
        Some("owner") => Ok(Role::Owner),
        _ => Err(ErrorCode::BadCommand(ROLE)),
    }
}

fn restriction(fields: &Fields<'_>) -> Result<Option<Restriction>, ErrorCode> {
    const WHAT: &str = "`what` must be mute, ban or none";
    let until = fields.integer(Field::Until, "`until` must be an integer from 0 to 2^53-1")?;
    match fields.string(Field::What, WHAT)? {
        Some("mute") => Ok(Some(Restriction::new(Restrict::Mute, until))),
        Some("ban") => Ok(Some(Restriction::new(Restrict::Ban, until))),
        Some("none") if until.is_some() => Err(ErrorCode::BadCommand("`until` is for a mute or a ban")),
        Some("none") => Ok(None),
        _ => Err(ErrorCode::BadCommand(WHAT)),
    }
}

fn rules(fields: &Fields<'_>, limits: &Limits) -> Result<RoomRules, ErrorCode> {
    const JOIN: &str = "`join` must be open or members";
    const POST: &str = "`post` must be members or moderators";
    const TITLE: &str = "`title` must be a printable string that is not too long";
    let join = match fields.string(Field::Join, JOIN)? {
        None | Some("open") => JoinRule::Open,
        Some("members") => JoinRule::Members,
        Some(_) => return Err(ErrorCode::BadCommand(JOIN)),
    };
    let post = match fields.string(Field::Post, POST)? {
        None => PostRule::Everybody,
        Some("members") => PostRule::Members,
        Some("moderators") => PostRule::Moderators,
        Some(_) => return Err(ErrorCode::BadCommand(POST)),
    };
    let title = match fields.string(Field::Title, TITLE)? {
        Some(title) if !is_title(title, limits) => return Err(ErrorCode::BadCommand(TITLE)),
        title => title.map(ToOwned::to_owned),
    };
    let receipts = fields.boolean(Field::Receipts, "`receipts` must be true or false")?.unwrap_or_default();
    Ok(RoomRules::default().with_join(join).with_post(post).with_title(title).with_receipts(receipts))
}

fn seqs(fields: &Fields<'_>, limits: &Limits) -> Result<Option<Vec<u64>>, ErrorCode> {
    let seqs = fields.integers(
        Field::Seqs,
        limits.wire.max_seqs,
        "`seqs` must be a list of integers from 0 to 2^53-1 that is not too long",
    )?;
    let has_other = [Field::Before, Field::After, Field::Thread].into_iter().any(|field| fields.has(field));
    if seqs.is_some() && has_other {
        return Err(ErrorCode::BadCommand("`seqs` excludes `before`, `after` and `thread`"));
    }
    Ok(seqs)
}

fn range(fields: &Fields<'_>, limits: &Limits) -> Result<Range, ErrorCode> {
    let before = fields.integer(Field::Before, BEFORE)?;
    let after = fields.integer(Field::After, "`after` must be an integer from 0 to 2^53-1")?;
    let limit = limit(fields, limits.wire.default_page_messages, limits.wire.max_page_messages)?;
    match (before, after) {
        (Some(_), Some(_)) => Err(ErrorCode::BadCursor),
        (Some(before), None) => Ok(Range::Before { seq: before, limit }),
        (None, Some(after)) => Ok(Range::After { seq: after, limit }),
        (None, None) => Ok(Range::Newest { limit }),
    }
}

fn search(fields: &Fields<'_>, limits: &Limits) -> Result<Search, ErrorCode> {
    const QUERY: &str = "`query` must be a string";
    let query = fields.string(Field::Query, QUERY)?.ok_or(ErrorCode::BadCommand(QUERY))?;
    let limit = limit(fields, limits.wire.default_search_messages, limits.wire.max_search_messages)?;
    let search = Search::new(query, limit).before(fields.integer(Field::Before, BEFORE)?);
    if search.is_valid(limits) { Ok(search) } else { Err(ErrorCode::BadQuery) }
}

fn limit(fields: &Fields<'_>, default: usize, max: usize) -> Result<usize, ErrorCode> {
    let limit = fields.integer(Field::Limit, "`limit` must be an integer from 0 to 2^53-1")?;
    Ok(limit.map_or(default, |limit| usize::try_from(limit).unwrap_or(usize::MAX).clamp(1, max)))
}
