use std::io::Write;

use chat_core::{Event, ExportWriter, Exported, RoomName};
use chat_proto::ExportLine;

use super::{MoveError, Opened};
use crate::Options;

/// Writes everything as an export.
pub(crate) async fn export_all(
    servers: &str,
    options: &Options,
    to: impl Write,
) -> Result<Exported, MoveError> {
    let opened = Opened::open(servers, options).await?;
    let (rooms, damaged) = opened.rooms().await?;
    if let Some(unreadable) = damaged.into_iter().next() {
        return Err(MoveError::Unreadable(unreadable));
    }
    let mut writer = ExportWriter::begin(to)?;
    for name in rooms {
        let lines = opened.room(&name).export_complete(&opened.users).await?;
        lines.iter().try_for_each(|line| writer.write(line))?;
    }
    for ((guest, user), rooms) in opened.users.all_followed().await? {
        for room in rooms {
            writer.write(&ExportLine::Follow { user: user.clone(), guest, room })?;
        }
    }
    Ok(writer.finish()?)
}

/// Writes the messages of a room, each as the JSON of its event on one line.
pub(crate) async fn export(
    servers: &str,
    options: &Options,
    room: &RoomName,
    mut to: impl Write,
) -> Result<Exported, MoveError> {
    let opened = Opened::open(servers, options).await?;
    let shared = opened.room(room);
    if shared.bounds().await?.head == 0 {
        return Err(MoveError::NoRoom(room.clone()));
    }
    let mut exported = Exported::default();
    for line in shared.export(&opened.users).await? {
        match line {
            ExportLine::Event { event, .. } if matches!(*event, Event::Message { .. }) => {
                // Without the field that only an export of everything has.
                to.write_all(&ExportLine::Event { event, guest: false }.encode())?;
                exported.messages += 1;
            }
            ExportLine::Lost { seq, to, .. } => exported.unreadable += to - seq + 1,
            _ => {}
        }
    }
    to.flush()?;
    Ok(exported)
}

/// Returns the names of all rooms, in their order.
pub(crate) async fn rooms(servers: &str, options: &Options) -> Result<Vec<RoomName>, MoveError> {
    Ok(Opened::open(servers, options).await?.rooms().await?.0)
}
