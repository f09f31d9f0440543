use std::io::{self, Write};
use std::path::Path;

use chat_core::{Exported, RoomName};
use chat_proto::one_line;
use rusqlite::{Connection, OptionalExtension};

use super::check::messages_of;
use super::connect;
use crate::OpenError;
use crate::database::Paths;
use crate::database::row::{message_id, verified_frame};

pub(crate) fn export(dir: &Path, room: &RoomName, mut to: impl Write) -> io::Result<Exported> {
    let connection = connect(dir).map_err(io::Error::other)?;
    let mut exported = Exported::default();
    let Some(id) = room_id(&connection, room).map_err(io::Error::other)? else {
        return Ok(exported);
    };
    let version = connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0));
    let messages = messages_of(version.map_err(io::Error::other)?);
    let sql = format!("SELECT id, sum, frame FROM {messages} WHERE id BETWEEN ?1 AND ?2 ORDER BY id");
    let mut statement = connection.prepare(&sql).map_err(io::Error::other)?;
    let range = (message_id(id, 0), message_id(id, u64::MAX));
    let mut rows = statement.query(range).map_err(io::Error::other)?;
    while let Some(row) = rows.next().map_err(io::Error::other)? {
        match verified_frame(room, row).map_err(io::Error::other)? {
            (_, Some(frame)) => {
                to.write_all(&one_line(frame))?;
                exported.messages += 1;
            }
            (_, None) => exported.unreadable += 1,
        }
    }
    to.flush()?;
    Ok(exported)
}

pub(crate) fn rooms(dir: &Path) -> Result<Vec<RoomName>, OpenError> {
    let connection = connect(dir)?;
    let read = || -> rusqlite::Result<Vec<String>> {
        let mut statement = connection.prepare("SELECT name FROM rooms ORDER BY name")?;
        statement.query_map((), |row| row.get(0))?.collect()
    };
    let names = read().map_err(OpenError::sqlite(&Paths::of(dir).database))?;
    // The checksums of a room with a damaged name do not match either, so its messages cannot be read.
    Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
}

fn room_id(connection: &Connection, room: &RoomName) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT id FROM rooms WHERE name = ?1";
    connection.query_row(sql, [room.as_str()], |row| row.get(0)).optional()
}
