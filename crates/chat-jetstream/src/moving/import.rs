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
use crate::link::{Link, LinkError, StreamConfig, StreamInfo};
use crate::node::{ClaimedName, OpenStream, wait_for};
use crate::record::user_key;
use crate::room::{CompleteRoom, ImportedRoom};
use crate::shard::{MAX_STREAMS, Shard};
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

/// Imports an export into new streams.
///
/// No server uses them before all are complete.
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
    let claimed =
        ClaimedName::claim(&link.client, &connection, &link.stream, &name).await.map_err(unreachable)?;
    // It ends with this function.
    let mut keeping = JoinSet::new();
    keeping.spawn(claimed.ok_or_else(in_use)?.keep(Arc::clone(&connection)));
    let configs: Vec<_> = Shard::all(options.streams)
        .map(|shard| (shard, with_import(new_stream(&shard.stream(&link.stream), shard, options.replicas))))
        .collect();
    let open = |shard: Shard, info: &StreamInfo| {
        let link = link.to(shard.stream(&link.stream));
        OpenStream::of_import(link, shard, info).ok_or_else(in_use)
    };
    // The lives of streams that do not exist are not used.
    let unused = configs.iter().map(|(shard, config)| open(*shard, &StreamInfo::new(config.clone())));
    let before = Opened::new(unused.collect::<Result<_, _>>()?, Arc::clone(&connection), options);
    remove_unused(&before, options.streams).await?;
    let filled = async {
        let (mut streams, mut created) = (Vec::new(), Vec::new());
        for (shard, config) in configs {
            let info = create(&link.to(config.name.clone()), &config).await?;
            // A server of the chat may have created another one meanwhile.
            streams.push(open(shard, &info)?);
            created.push(info.config);
        }
        let opened = Arc::new(Opened::new(streams, connection, options));
        Ok((fill(&opened, from, &mut progress).await?, created))
    };
    let (imported, created) = match filled.await {
        Ok(filled) => filled,
        Err(error) => {
            // What remains is not used: the next import removes it.
            let _removed = remove_unused(&before, options.streams).await;
            return Err(error);
        }
    };
    progress(imported);
    // No server opens the others before the first one is complete.
    for config in created.into_iter().rev() {
        let (link, config) = (link.to(config.name.clone()), without_import(config));
        wait_for(|| link.update(&config)).await?;
    }
    Ok(imported)
}

/// Creates a stream.
async fn create(link: &Link, config: &StreamConfig) -> Result<StreamInfo, MoveError> {
    link.create(config).await.map_err(|error| no_stream(link, &error))?;
    Ok(wait_for(|| link.info()).await?.ok_or_else(|| OpenError::Missing(link.stream.clone()))?)
}

fn no_stream(link: &Link, error: &LinkError) -> OpenError {
    OpenError::NoStream { stream: link.stream.clone(), cause: error.to_string() }
}

/// A stream of the rooms that is there before an import.
struct Found {
    link: Link,
    shard: Shard,
    info: StreamInfo,
}

impl Found {
    /// Returns the stream of this number, if it is there.
    async fn find(first: &Link, number: usize) -> Result<Option<Self>, MoveError> {
        let link = first.to(Shard { number, count: number }.stream(&first.stream));
        let info = wait_for(|| link.info()).await.map_err(|error| no_stream(&link, &error))?;
        let Some(info) = info else { return Ok(None) };
        let shard = Shard::of(&info.config.metadata).filter(|shard| shard.number == number);
        let shard = shard.ok_or_else(|| OpenError::ForeignStream(link.stream.clone()))?;
        Ok(Some(Self { link, shard, info }))
    }

    fn is_import(&self) -> bool {
        is_import(&self.info.config)
    }

    async fn has_rooms(&self) -> Result<bool, MoveError> {
        let life = Life::of(&self.info).ok_or_else(|| OpenError::ForeignStream(self.link.stream.clone()))?;
        Ok(self.link.next(&life.subject("*"), 0).await?.is_some())
    }
}

/// Removes streams without rooms, or the streams of an import that was not complete.
async fn remove_unused(opened: &Opened, streams: usize) -> Result<(), MoveError> {
    let link = &opened.streams.first().link;
    let first = Found::find(link, 1).await?;
    // The first stream of an import shows that the others are of it, whether they are complete or not.
    let imported = first.as_ref().filter(|first| first.is_import()).map(|first| first.shard.count);
    let count = first.as_ref().map_or(0, |first| first.shard.count.min(MAX_STREAMS)).max(streams);
    let is_first_there = first.is_some();
    let mut found = Vec::from_iter(first);
    for number in 2..=count {
        found.extend(Found::find(link, number).await?);
    }
    for stream in &found {
        let is_of_import = stream.is_import() || imported == Some(stream.shard.count);
        if !is_of_import && stream.has_rooms().await? {
            return Err(MoveError::HasRooms(stream.link.stream.clone()));
        }
    }
    if imported.is_none() {
        if is_first_there && has_nodes(link).await? {
            return Err(MoveError::InUse(link.stream.clone()));
        }
        if let Some(used) = opened.users.in_use().await? {
            return Err(MoveError::HasUsers(used));
        }
    }
    opened.users.remove().await?;
    for stream in found.iter().rev() {
        stream.link.delete().await?;
    }
    Ok(())
}

/// Returns true if servers of the chat are there, which would create the stream again.
async fn has_nodes(link: &Link) -> Result<bool, MoveError> {
    let signs = link.client.subscribe(format!("{}.n.*", link.stream), None).await;
    let mut signs = signs.map_err(|error| Unavailable::new(error.to_string()))?;
    Ok(timeout(SIGN_TIMEOUT, signs.next()).await.is_ok_and(|sign| sign.is_some()))
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
        room.map(|room| room.complete(self.opened.streams.first().link.max_payload())).transpose()
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
