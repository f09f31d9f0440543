use chat_core::{Event, RoomName};
use chat_proto::{ExportLine, ExportedRoom};

use super::{MoveError, Opened};
use crate::Options;

/// The largest number of problems in a [`Report`].
const MAX_PROBLEMS: usize = 100;

/// The result of [`JetStreamStore::check`](crate::JetStreamStore::check).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Rooms that have or had messages.
    pub rooms: u64,
    /// Messages that can be read.
    pub messages: u64,
    /// Changes and acts that can be read.
    pub changes: u64,
    /// Entries that are damaged or missing.
    pub unreadable: u64,
    /// Descriptions of the problems, one line each. The list contains the first hundred.
    pub problems: Vec<String>,
}

impl Report {
    /// Returns `true` if there are no problems.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    fn problem(&mut self, problem: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }

    fn add(&mut self, room: &RoomName, lines: &[ExportLine]) {
        let first = match lines.first() {
            Some(ExportLine::Room { first, .. }) => *first,
            _ => 1,
        };
        let mut messages = ExportedRoom::new(first);
        for line in lines {
            match line {
                ExportLine::Event { event, .. } if matches!(**event, Event::Message { .. }) => {
                    self.messages += 1;
                }
                ExportLine::Event { .. } | ExportLine::Changed { .. } => self.changes += 1,
                ExportLine::Lost { seq, to, .. } => {
                    self.unreadable += to - seq + 1;
                    self.problem(format!("room {room}: entries {seq} to {to} are damaged or missing"));
                }
                _ => {}
            }
            if let Err(contradiction) = messages.add(line) {
                return self.problem(format!("room {room}: {contradiction}"));
            }
        }
        if let Err(contradiction) = messages.finish() {
            self.problem(format!("room {room}: {contradiction}"));
        }
    }
}

/// Reads everything, and checks it.
pub(crate) async fn check(
    servers: &str,
    options: &Options,
    mut progress: impl FnMut(&Report),
) -> Result<Report, MoveError> {
    let opened = Opened::open(servers, options).await?;
    let mut report = Report::default();
    let (rooms, damaged) = opened.rooms().await?;
    for unreadable in damaged {
        report.rooms += 1;
        report.problem(format!("{unreadable}: the end of a room is lost"));
    }
    for name in rooms {
        report.rooms += 1;
        match opened.room(&name).export(&opened.users).await {
            Ok(lines) => report.add(&name, &lines),
            Err(error @ MoveError::Damaged(_)) => report.problem(error.to_string()),
            Err(error) => return Err(error),
        }
        progress(&report);
    }
    // Damaged ones are counted.
    let _read = opened.users.all_followed().await?;
    let users = opened.users.damaged();
    if users > 0 {
        report.problem(format!("{users} markers or lists of followed rooms are damaged"));
    }
    Ok(report)
}
