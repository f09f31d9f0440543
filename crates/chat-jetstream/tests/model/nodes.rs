//! The nodes of a run: the crate itself, with readers of its rooms.

use std::collections::BTreeMap;
use std::sync::Arc;

use chat_core::{Commit, CommitSink, Limits, LogBounds, Page, Range, Room, Store, Unavailable};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep};

use crate::link::Client;
use crate::{JetStreamStore, Options};

use super::broken::{Broken, Mutant};
use super::history::{Read, SharedHistory, SharedReader, identity};
use super::world::Model;

/// The names of the rooms.
pub(crate) const ROOMS: [&str; 2] = ["lobby", "hall"];

/// Entries in one page of a reader.
const PAGE: usize = 20;

/// One node, until its process ends.
pub(crate) struct Node {
    /// The number of its client.
    pub(crate) client: usize,
    pub(crate) rooms: Vec<Arc<dyn Room>>,
    pub(crate) readers: Vec<Arc<SharedReader>>,
    /// The tasks of the readers end with the node.
    _tasks: JoinSet<()>,
}

/// The nodes that run now. A place is empty while its node starts.
pub(crate) type Nodes = Arc<Mutex<Vec<Option<Arc<Node>>>>>;

impl Node {
    /// Starts a node. Returns `None` if the servers do not let it start in time.
    pub(crate) async fn start(
        model: &Model,
        history: &SharedHistory,
        limits: &Arc<Limits>,
        mutant: Option<Mutant>,
    ) -> Option<Self> {
        let (client, connection) = model.connect();
        let client_number = client.number();
        let client: Arc<dyn Client> = match mutant {
            Some(mutant) => Arc::new(Broken::new(client, mutant)),
            None => client,
        };
        let servers = model.act(|world| world.servers.len());
        let options = Options::default().with(|options| {
            options.replicas = servers;
            options.retain_age = history.lock().retain_age;
        });
        let opened = JetStreamStore::open_on((client, connection), "the model", options).await;
        let Ok(store) = opened else {
            model.act(|world| world.end_client(client_number));
            return None;
        };
        let (mut rooms, mut readers, mut tasks) = (Vec::new(), Vec::new(), JoinSet::new());
        for (room, name) in ROOMS.iter().enumerate() {
            let reader = Arc::new(SharedReader::default());
            let opened = loop {
                let (sink_reader, sink_history) = (Arc::clone(&reader), Arc::clone(history));
                let sink = CommitSink::new(move |commit| {
                    sink_reader.take(&sink_history, (client_number, room), commit);
                });
                match store.open(&name.parse().expect("a name"), limits, sink).await {
                    Ok(opened) => break opened,
                    Err(_) => sleep(Duration::from_millis(100)).await,
                }
            };
            // If another node has asked for the room before, this one knows its end, and does not report it again.
            let known = match opened.known_bounds() {
                Some(known) => Some(known),
                None => opened.bounds().await.ok(),
            };
            if let Some(LogBounds { epoch, head, .. }) = &known {
                reader.take(history, (client_number, room), Commit::Head { epoch, head: *head });
            }
            tasks.spawn(follow(
                Arc::clone(&opened),
                Arc::clone(&reader),
                Arc::clone(history),
                (client_number, room),
            ));
            rooms.push(opened);
            readers.push(reader);
        }
        Some(Self { client: client_number, rooms, readers, _tasks: tasks })
    }

    /// Reads all of a room.
    pub(crate) async fn read(&self, room: usize) -> Result<Read, Unavailable> {
        let room = &self.rooms[room];
        loop {
            let bounds = room.bounds().await?;
            let read = Self::read_from(room, &bounds).await?;
            // Retention may have removed messages meanwhile.
            if room.bounds().await?.first == bounds.first {
                return Ok(read);
            }
        }
    }

    async fn read_from(room: &Arc<dyn Room>, bounds: &LogBounds) -> Result<Read, Unavailable> {
        let (mut entries, mut messages) = (Vec::new(), BTreeMap::new());
        loop {
            let after = entries.last().map_or(0, |stored: &chat_core::StoredMessage| stored.seq);
            let page = room.read(Range::entries(after, 500)).await?;
            entries.extend(page.messages);
            if !page.more {
                break;
            }
        }
        loop {
            let after = messages.last_key_value().map_or(0, |(seq, _)| *seq);
            let page = room.read(Range::after(after, 500)).await?;
            for stored in &page.messages {
                messages.insert(stored.seq, serde_json::from_slice(&stored.frame).expect("an event"));
            }
            if !page.more {
                let LogBounds { epoch, first, head, .. } = bounds.clone();
                return Ok(Read { epoch, first, head, entries, messages });
            }
        }
    }
}

/// Reads what a node was told of and has not reported, each entry once and in order.
async fn follow(
    room: Arc<dyn Room>,
    shared: Arc<SharedReader>,
    history: SharedHistory,
    (node, number): (usize, usize),
) {
    loop {
        shared.more.notified().await;
        loop {
            if history.lock().retain_age.is_some()
                && let Ok(bounds) = room.bounds().await
            {
                history.lock().check_age(&(number, bounds.epoch.clone()), bounds.first);
                // The entries before are removed.
                let mut reader = shared.reader.lock();
                if reader.epoch == bounds.epoch {
                    reader.read = reader.read.max(bounds.first - 1);
                }
            }
            let (epoch, read, told) = {
                let reader = shared.reader.lock();
                (reader.epoch.clone(), reader.read, reader.told)
            };
            if read >= told {
                break;
            }
            let until = Instant::now() + Duration::from_millis(20);
            match room.read(Range::entries(read, PAGE)).await {
                Ok(page) => take(&page, &shared, &history, (node, number), (&epoch, read, told)),
                Err(_) => sleep(Duration::from_millis(200)).await,
            }
            // A page that is of no use is read again after a moment.
            tokio::time::sleep_until(until).await;
        }
    }
}

/// Takes a page of a reader that has all up to `read`, and was told of `told`.
fn take(
    page: &Page,
    shared: &SharedReader,
    history: &SharedHistory,
    (node, room): (usize, usize),
    (epoch, read, told): (&str, u64, u64),
) {
    let mut history = history.lock();
    history.counts.reads += 1;
    history.note((
        node,
        room,
        &page.epoch,
        page.messages.first().map(|stored| stored.seq),
        page.messages.len(),
    ));
    if page.epoch != epoch {
        // The log was renewed. The report says so.
        return;
    }
    let removed = page.messages.first().is_none_or(|stored| stored.seq > read + 1);
    if removed && history.retain_age.is_some() {
        // They were removed after the question for the oldest one.
        return;
    }
    let log = (room, page.epoch.clone());
    for (expected, stored) in (read + 1..).zip(&page.messages) {
        if stored.seq != expected {
            return history.violate(format!(
                "node {node} has returned a page of room {room} with {} in the place of {expected}",
                stored.seq
            ));
        }
        history.see(node, &log, stored.seq, &identity(stored));
    }
    let end = read + page.messages.len() as u64;
    if !page.more && end < told {
        history.violate(format!("node {node} was told of {told} in room {room}, and its log ends at {end}"));
    }
    let mut reader = shared.reader.lock();
    if reader.epoch == epoch {
        reader.read = reader.read.max(end);
    }
}
