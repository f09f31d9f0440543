use super::{EXPORT_VERSION, ExportLine, InvalidExport};
use crate::user::is_user_id;
use crate::{Event, MAX_INTEGER, RoomName, RoomRules, User};

/// Bytes of the name of a user.
const MAX_NAME_BYTES: usize = 128;

/// The order of the lines of an export: which line may follow which.
///
/// It needs the same small memory for an export of any size. It does not know the messages: the store that reads an
/// export checks that a change has one.
///
/// # Examples
///
/// ```
/// use chat_proto::{ExportReader, InvalidExport};
///
/// let mut reader = ExportReader::default();
/// reader.read(r#"{"type":"export","version":1}"#)?;
/// reader.read(r#"{"type":"room","room":"lobby","seq":1}"#)?;
/// let hole = reader.read(
///     r#"{"type":"message","room":"lobby","seq":2,"user":{"id":"7","name":"Ann"},"at":1,"body":{"text":"hi"}}"#,
/// );
/// assert_eq!(hole.err(), Some(InvalidExport::Hole { expected: 1, found: 2 }));
/// # Ok::<(), InvalidExport>(())
/// ```
#[derive(Debug, Default)]
pub struct ExportReader {
    place: Place,
    room: Option<RoomState>,
}

/// The kind of the last line. Within a room, and after all rooms, a later kind follows an earlier one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    #[default]
    Nothing,
    Export,
    Room,
    Rules,
    Standings,
    Entries,
    Reactions,
    Keys,
    Markers,
    Follows,
    End,
}

#[derive(Debug)]
struct RoomState {
    name: RoomName,
    head: u64,
    next: u64,
    last_at: u64,
    has_rules: bool,
}

impl ExportReader {
    /// Reads the next line.
    ///
    /// # Errors
    ///
    /// [`InvalidExport`] if the line is invalid, or if it cannot follow the lines before it.
    pub fn read(&mut self, text: &str) -> Result<ExportLine, InvalidExport> {
        if self.place == Place::End {
            return Err(InvalidExport::AfterEnd);
        }
        let parsed = ExportLine::parse(text);
        let line = match (self.place, parsed) {
            (Place::Nothing, Ok(ExportLine::Export { version: EXPORT_VERSION })) => {
                self.place = Place::Export;
                return Ok(ExportLine::Export { version: EXPORT_VERSION });
            }
            (Place::Nothing, Ok(ExportLine::Export { version })) => {
                return Err(InvalidExport::UnknownVersion { found: version, known: EXPORT_VERSION });
            }
            (Place::Nothing, _) => return Err(InvalidExport::NoVersion),
            (_, parsed) => parsed?,
        };
        self.check(&line)?;
        Ok(line)
    }

    /// Checks that the export is complete, when it has no more lines.
    ///
    /// # Errors
    ///
    /// [`InvalidExport::Truncated`] if the last line was not the end.
    pub fn finish(&self) -> Result<(), InvalidExport> {
        if self.place == Place::End { Ok(()) } else { Err(InvalidExport::Truncated) }
    }

    fn check(&mut self, line: &ExportLine) -> Result<(), InvalidExport> {
        match line {
            ExportLine::Export { .. } => Err(InvalidExport::Order),
            ExportLine::Room { room, seq, first, .. } => self.begin(room, *seq, *first),
            ExportLine::Rules { room, rules } => {
                self.room(room, Place::Rules)?.has_rules = true;
                check_rules(room, rules)?;
                // A room has one line with rules.
                if self.place == Place::Rules {
                    Err(InvalidExport::Order)
                } else {
                    self.move_to(Place::Rules)
                }
            }
            ExportLine::Standing { room, user, .. } => {
                self.room(room, Place::Standings)?;
                check_id(user)?;
                self.move_to(Place::Standings)
            }
            ExportLine::Event { event, .. } => self.check_event(event),
            ExportLine::Changed { room, seq, at, by, target, .. } => {
                check_user(by)?;
                self.entry(room, *seq, *at)?;
                check_position(*target, *seq - 1)
            }
            ExportLine::Lost { room, seq, to } => self.lost(room, *seq, *to),
            ExportLine::Reaction { room, target, seq, user, .. } => {
                check_user(user)?;
                let head = self.room(room, Place::Reactions)?.head;
                check_position(*seq, head)?;
                check_position(*target, *seq - 1)?;
                self.move_to(Place::Reactions)
            }
            ExportLine::Key { room, seq, user, .. } => {
                check_id(user)?;
                check_position(*seq, self.room(room, Place::Keys)?.head)?;
                self.move_to(Place::Keys)
            }
            ExportLine::Marker { room, user, seq, .. } => {
                check_id(user)?;
                check_position(*seq, self.room(room, Place::Markers)?.head)?;
                self.move_to(Place::Markers)
            }
            ExportLine::Follow { user, .. } => {
                check_id(user)?;
                self.end_room()?;
                self.move_to(Place::Follows)
            }
            ExportLine::End { .. } => {
                self.end_room()?;
                self.move_to(Place::End)
            }
        }
    }

    fn begin(&mut self, room: &RoomName, head: u64, first: u64) -> Result<(), InvalidExport> {
        if self.place >= Place::Follows {
            return Err(InvalidExport::Order);
        }
        self.end_room()?;
        match &self.room {
            Some(before) if before.name == *room => return Err(InvalidExport::RoomTwice(room.clone())),
            Some(before) if before.name > *room => return Err(InvalidExport::RoomOrder(room.clone())),
            _ => {}
        }
        if first == 0 || head > MAX_INTEGER || first > head + 1 {
            return Err(InvalidExport::Bounds);
        }
        self.room = Some(RoomState { name: room.clone(), head, next: first, last_at: 0, has_rules: false });
        self.place = Place::Room;
        Ok(())
    }

    /// Checks that the room before has all its entries.
    fn end_room(&self) -> Result<(), InvalidExport> {
        match &self.room {
            Some(RoomState { name, head, next, .. }) if next <= head => {
                Err(InvalidExport::Unfinished { room: name.clone(), expected: *next, seq: *head })
            }
            _ => Ok(()),
        }
    }

    /// Returns the room of a line. Only entries may come while it has not all its entries.
    fn room(&mut self, room: &RoomName, place: Place) -> Result<&mut RoomState, InvalidExport> {
        if self.place >= Place::Follows {
            return Err(InvalidExport::Order);
        }
        if self.room.as_ref().is_none_or(|known| known.name != *room) {
            return Err(InvalidExport::OtherRoom { found: room.clone() });
        }
        if place > Place::Entries {
            self.end_room()?;
        }
        self.room.as_mut().ok_or(InvalidExport::Order)
    }

    fn move_to(&mut self, place: Place) -> Result<(), InvalidExport> {
        if self.place > place {
            return Err(InvalidExport::Order);
        }
        self.place = place;
        Ok(())
    }

    fn check_event(&mut self, event: &Event) -> Result<(), InvalidExport> {
        match event {
            Event::Message { room, seq, user, at, folded, links, .. } => {
                check_user(user)?;
                self.entry(room, *seq, *at)?;
                // The rules of a direct room say who may read its messages.
                if room.is_direct() && self.room.as_ref().is_some_and(|state| !state.has_rules) {
                    return Err(InvalidExport::DirectWithoutRules);
                }
                let links = links.iter().flat_map(|links| [links.reply_to, links.thread]);
                links.flatten().try_for_each(|link| check_position(link, *seq - 1))?;
                // The newest change of a message is a later entry.
                match folded {
                    Some(folded) if folded.rev <= *seq => Err(InvalidExport::Position),
                    _ => Ok(()),
                }
            }
            Event::Role { room, seq, at, by, user, .. } => {
                check_user(by)?;
                check_user(user)?;
                self.entry(room, *seq, *at)
            }
            Event::Settings { room, seq, at, by, rules, .. } => {
                check_user(by)?;
                check_rules(room, rules)?;
                self.entry(room, *seq, *at)
            }
            Event::Purged { room, seq, at, by, user, from, to, .. } => {
                check_user(by)?;
                check_user(user)?;
                self.entry(room, *seq, *at)?;
                check_position(*to, *seq - 1)?;
                check_position(*from, *to)
            }
            _ => Err(InvalidExport::UnknownType),
        }
    }

    fn entry(&mut self, room: &RoomName, seq: u64, at: u64) -> Result<(), InvalidExport> {
        let state = self.room(room, Place::Entries)?;
        if seq != state.next || seq > state.head {
            return Err(InvalidExport::Hole { expected: state.next, found: seq });
        }
        if at < state.last_at || at > MAX_INTEGER {
            return Err(InvalidExport::Time);
        }
        (state.next, state.last_at) = (seq + 1, at);
        self.move_to(Place::Entries)
    }

    fn lost(&mut self, room: &RoomName, seq: u64, to: u64) -> Result<(), InvalidExport> {
        let state = self.room(room, Place::Entries)?;
        if seq != state.next {
            return Err(InvalidExport::Hole { expected: state.next, found: seq });
        }
        if to < seq || to > state.head {
            return Err(InvalidExport::Bounds);
        }
        // The time of a lost entry may have been that of the next one.
        (state.next, state.last_at) = (to + 1, 0);
        self.move_to(Place::Entries)
    }
}

fn check_position(seq: u64, last: u64) -> Result<(), InvalidExport> {
    if (1..=last).contains(&seq) { Ok(()) } else { Err(InvalidExport::Position) }
}

/// Checks that the rules of a room name the users of a direct room if it is one.
fn check_rules(room: &RoomName, rules: &RoomRules) -> Result<(), InvalidExport> {
    let Some(direct) = &rules.direct else {
        return if room.is_direct() { Err(InvalidExport::Direct) } else { Ok(()) };
    };
    direct.users().iter().try_for_each(check_user)?;
    let expected =
        direct.room().filter(|_| room.is_direct() && *rules == RoomRules::of_direct(direct.clone()));
    match expected.ok_or(InvalidExport::Direct)? {
        expected if expected == *room => Ok(()),
        expected => Err(InvalidExport::DirectName { expected }),
    }
}

fn check_id(id: &str) -> Result<(), InvalidExport> {
    if is_user_id(id) { Ok(()) } else { Err(InvalidExport::User) }
}

fn check_user(user: &User) -> Result<(), InvalidExport> {
    check_id(user.id())?;
    let (name, range) = (user.name(), 1..=MAX_NAME_BYTES);
    let is_name = range.contains(&name.len()) && !name.contains(char::is_control);
    if is_name { Ok(()) } else { Err(InvalidExport::User) }
}
