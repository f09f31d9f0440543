use std::collections::BTreeMap;
use std::io::BufRead;
use std::sync::Arc;
use std::time::Duration;

use chat_core::{ExportLines, Imported, NodeId, RoomName, Unavailable};
use chat_proto::ExportLine;
use futures_util::StreamExt;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;

use super::{MoveError, Opened, connect};
use crate::life::{Life, is_import, new_stream, with_import, without_import};
use crate::link::{Link, StreamInfo};
use crate::node::{ClaimedName, wait_for};
use crate::record::user_key;
use crate::room::{CompleteRoom, ImportedRoom};
use crate::users::ByUser;
use crate::{OpenError, Options};

/// Lines between two reports of progress.
const PROGRESS_INTERVAL: u64 = 1_000;

/// The entries of rooms that are written at the same time. A room with more is written alone.
const MAX_WRITING: u32 = 32 * 1_024;

/// The least number that a room counts.
const MIN_WRITING: u32 = 512;

/// The time in which each live server of a chat gives a sign of life: more than the interval of the signs.
const SIGN_TIMEOUT: Duration = Duration::from_millis(2_500);

/// The name that an import claims, so that there is one at a time.
const NAME: &str = "import";

/// Imports an export into a new stream.
///
/// No server uses the stream before it is complete.
pub(crate) async fn import(
    servers: &str,
    options: &Options,
    from: impl BufRead,
    mut progress: impl FnMut(Imported),
) -> Result<Imported, MoveError> {
    let (link, connection) = connect(servers, options).await?;
    let in_use = || MoveError::InUse(options.stream.clone());
    let unreachable = |error| OpenError::unreachable(servers, &error);
    let name: NodeId = NAME.parse().map_err(|_| in_use())?;
    let claimed = ClaimedName::claim(&link.client, &link.stream, &name).await.map_err(unreachable)?;
    // It ends with this function.
    let mut keeping = JoinSet::new();
    keeping.spawn(claimed.ok_or_else(in_use)?.keep());
    let no_stream = |error: &dyn ToString| OpenError::NoStream {
        stream: options.stream.clone(),
        cause: error.to_string(),
    };
    let found = wait_for(|| link.info()).await.map_err(|error| no_stream(&error))?;
    let life = |info: &StreamInfo| Life::of_import(info).ok_or_else(in_use);
    // The life of a stream that does not exist is not used.
    let new = with_import(new_stream(&options.stream, options.replicas));
    let unused = Life::of_import(&StreamInfo::new(new.clone())).ok_or_else(in_use)?;
    let before = Opened::new(link.clone(), Arc::clone(&connection), options, unused);
    remove_unused(&before, found).await?;
    link.create(&new).await.map_err(|error| no_stream(&error))?;
    let info = wait_for(|| link.info()).await?.ok_or_else(|| OpenError::Missing(options.stream.clone()))?;
    // A server of the chat may have created another one meanwhile.
    let opened = Arc::new(Opened::new(link.clone(), connection, options, life(&info)?));
    let imported = match fill(&opened, from, &mut progress).await {
        Ok(imported) => imported,
        Err(error) => {
            // What remains is not used: the next import removes it.
            let _removed = remove(&opened).await;
            return Err(error);
        }
    };
    progress(imported);
    link.update(&without_import(info.config)).await?;
    Ok(imported)
}

/// Removes a stream without rooms, or the streams of an import that was not complete.
async fn remove_unused(opened: &Opened, found: Option<StreamInfo>) -> Result<(), MoveError> {
    let link = &opened.node.link;
    let stream = link.stream.clone();
    if let Some(info) = found {
        if is_import(&info.config) {
            return remove(opened).await;
        }
        let life = Life::of(&info).ok_or_else(|| OpenError::ForeignStream(stream.clone()))?;
        if link.next(&life.subject("*"), 0).await?.is_some() {
            return Err(MoveError::HasRooms(stream));
        }
        if has_nodes(link).await? {
            return Err(MoveError::InUse(stream));
        }
    }
    if let Some(used) = opened.users.in_use().await? {
        return Err(MoveError::HasUsers(used));
    }
    remove(opened).await
}

/// Returns true if servers of the chat are there, which would create the stream again.
async fn has_nodes(link: &Link) -> Result<bool, MoveError> {
    let signs = link.client.subscribe(format!("{}.n.*", link.stream), None).await;
    let mut signs = signs.map_err(|error| Unavailable::new(error.to_string()))?;
    Ok(timeout(SIGN_TIMEOUT, signs.next()).await.is_ok_and(|sign| sign.is_some()))
}

/// Removes the streams. That of the rooms is the last one: it shows that the others are those of an import.
async fn remove(opened: &Opened) -> Result<(), MoveError> {
    opened.users.remove().await?;
    Ok(opened.node.link.delete().await?)
}

/// Writes everything. Rooms are written while further ones are read.
async fn fill(
    opened: &Arc<Opened>,
    from: impl BufRead,
    progress: &mut impl FnMut(Imported),
) -> Result<Imported, MoveError> {
    let mut lines = ExportLines::new(from);
    let mut rooms = Rooms::new(opened);
    let (mut room, mut follows): (Option<ImportedRoom>, ByUser<Vec<RoomName>>) = (None, BTreeMap::new());
    while let Some(line) = lines.next_line()? {
        let result = match line {
            ExportLine::Room { room: name, seq, first, governed } => {
                let before = room.replace(ImportedRoom::new(name, seq, first, governed));
                rooms.complete(before)
            }
            ExportLine::Follow { user, guest, room: followed } => {
                rooms.complete(room.take()).and_then(|complete| {
                    let rooms = follows.entry((guest, user)).or_default();
                    match rooms.binary_search(&followed) {
                        Ok(_) => return Err("an earlier line has said the same".to_owned()),
                        Err(index) => rooms.insert(index, followed),
                    }
                    Ok(complete)
                })
            }
            ExportLine::End { .. } => rooms.complete(room.take()),
            line => room.as_mut().map_or(Ok(()), |room| room.add(line)).map(|()| None),
        };
        if let Some(complete) = result.map_err(|problem| lines.contradiction(problem))? {
            rooms.write(complete).await?;
        }
        if lines.imported().lines.is_multiple_of(PROGRESS_INTERVAL) {
            progress(lines.imported());
        }
    }
    rooms.finish().await?;
    for ((guest, user), rooms) in follows {
        let user = user_key(guest, &user).ok_or_else(|| Unavailable::new("the id of a user is invalid"))?;
        opened.users.set_followed(&user, rooms).await?;
    }
    Ok(lines.imported())
}

/// The rooms that are being written.
struct Rooms<'a> {
    opened: &'a Arc<Opened>,
    tasks: JoinSet<Result<(), MoveError>>,
    space: Arc<Semaphore>,
}

impl<'a> Rooms<'a> {
    fn new(opened: &'a Arc<Opened>) -> Self {
        let space = Arc::new(Semaphore::new(MAX_WRITING as usize));
        Self { opened, tasks: JoinSet::new(), space }
    }

    /// Checks a room whose lines are read.
    fn complete(&self, room: Option<ImportedRoom>) -> Result<Option<CompleteRoom>, String> {
        room.map(|room| room.complete(self.opened.node.link.max_payload())).transpose()
    }

    /// Begins to write a room, once there is space for it.
    async fn write(&mut self, room: CompleteRoom) -> Result<(), MoveError> {
        while let Some(written) = self.tasks.try_join_next() {
            result(written)?;
        }
        let entries = u32::try_from(room.entries()).unwrap_or(MAX_WRITING).clamp(MIN_WRITING, MAX_WRITING);
        let space = Arc::clone(&self.space).acquire_many_owned(entries).await;
        let opened = Arc::clone(self.opened);
        self.tasks.spawn(async move {
            let written = opened.write(room).await;
            drop(space);
            written
        });
        Ok(())
    }

    /// Waits until all rooms are written.
    async fn finish(mut self) -> Result<(), MoveError> {
        while let Some(written) = self.tasks.join_next().await {
            result(written)?;
        }
        Ok(())
    }
}

fn result(written: Result<Result<(), MoveError>, JoinError>) -> Result<(), MoveError> {
    written.unwrap_or_else(|error| Err(Unavailable::from_source(error).into()))
}
