use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{BufRead, BufReader, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use chat_core::{
    AppendError, AppendReceipt, CommitSink, Health, Limits, LogBounds, NewMessage, Page, Range, Room,
    RoomName, Scan, Search, SearchError, SearchPage, Store, StoredMessage, Unavailable, UserKey,
};
use chat_store_conformance::Fixture;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::gate::Gate;

/// A store that learns `seq` only as it writes: each room is a file to which threads append lines, and the number of
/// a line is the `seq` of its entry. A line keeps the message itself, and the frame is made when `seq` is known.
pub(crate) struct AssignsOnWrite {
    dir: tempfile::TempDir,
    node: Arc<Node>,
}

#[derive(Default)]
struct Node {
    dir: PathBuf,
    gate: Arc<Gate>,
    logs: Mutex<BTreeMap<RoomName, Arc<FileLog>>>,
    writers: Mutex<Vec<JoinHandle<()>>>,
}

struct FileLog {
    limits: Arc<Limits>,
    state: Mutex<State>,
    sinks: Mutex<Vec<Weak<CommitSink>>>,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Record {
    at: u64,
    message: NewMessage,
}

struct State {
    room: RoomName,
    limits: Arc<Limits>,
    file: File,
    epoch: String,
    /// The number of the last line, which is also the head.
    lines: u64,
    last_at: u64,
    entries: VecDeque<StoredMessage>,
    keys: BTreeMap<(UserKey, String), Keyed>,
    key_order: VecDeque<(UserKey, String)>,
}

struct Keyed {
    seq: u64,
    at: u64,
    body: String,
}

struct Opening {
    log: Arc<FileLog>,
    gate: Arc<Gate>,
    writer: mpsc::Sender<(NewMessage, oneshot::Sender<Answer>)>,
    /// The sink hears of entries until the opening is dropped.
    _sink: Arc<CommitSink>,
}

type Answer = Result<AppendReceipt, AppendError>;

impl AssignsOnWrite {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory for temporary files");
        Self { node: Arc::new(Node::new(dir.path())), dir }
    }
}

#[async_trait]
impl Fixture for AssignsOnWrite {
    fn store(&self, node: usize) -> Option<Arc<dyn Store>> {
        (node == 0).then(|| Arc::clone(&self.node) as Arc<dyn Store>)
    }

    async fn restart(&mut self) {
        for writer in self.node.writers.lock().drain(..) {
            writer.join().expect("a writer that ends");
        }
        self.node = Arc::new(Node::new(self.dir.path()));
    }

    fn set_reachable(&self, reachable: bool) -> bool {
        self.node.gate.set_reachable(reachable);
        true
    }

    async fn renew(&self) -> bool {
        for log in self.node.logs.lock().values() {
            let mut state = log.state.lock();
            state.renew().expect("a file that can be written");
            let bounds = state.bounds();
            log.report(|sink| sink.renewed(&bounds));
        }
        true
    }
}

impl Node {
    fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), ..Self::default() }
    }

    fn log(&self, room: &RoomName, limits: &Arc<Limits>) -> std::io::Result<Arc<FileLog>> {
        let mut logs = self.logs.lock();
        if let Some(log) = logs.get(room) {
            return Ok(Arc::clone(log));
        }
        let file: String = room.as_str().bytes().map(|byte| format!("{byte:02x}")).collect();
        let state = State::open(&self.dir.join(file), room, limits)?;
        let limits = Arc::clone(limits);
        let log = Arc::new(FileLog { limits, state: Mutex::new(state), sinks: Mutex::default() });
        logs.insert(room.clone(), Arc::clone(&log));
        Ok(log)
    }
}

#[async_trait]
impl Store for Node {
    async fn open(
        &self,
        room: &RoomName,
        limits: &Arc<Limits>,
        sink: CommitSink,
    ) -> Result<Arc<dyn Room>, Unavailable> {
        self.gate.check()?;
        let log = self.log(room, limits).map_err(Unavailable::from_source)?;
        let sink = Arc::new(sink);
        log.sinks.lock().push(Arc::downgrade(&sink));
        let (writer, queue) = mpsc::channel::<(NewMessage, oneshot::Sender<Answer>)>();
        let written = Arc::clone(&log);
        self.writers.lock().push(std::thread::spawn(move || {
            for (message, asked) in queue {
                // A caller that has dropped the append does not wait for the answer.
                let _gone = asked.send(written.append(message));
            }
        }));
        Ok(Arc::new(Opening { log, gate: Arc::clone(&self.gate), writer, _sink: sink }))
    }

    fn health(&self) -> Health {
        self.gate.health()
    }

    async fn close(&self) -> Result<(), Unavailable> {
        self.gate.close();
        Ok(())
    }
}

impl FileLog {
    fn append(&self, message: NewMessage) -> Answer {
        let mut state = self.state.lock();
        let (receipt, stored) = state.append(unix_millis(), message)?;
        if let Some(stored) = stored {
            self.report(|sink| sink.publish(&stored));
        }
        Ok(receipt)
    }

    fn report(&self, report: impl Fn(&CommitSink)) {
        self.sinks.lock().retain(|sink| sink.upgrade().inspect(|sink| report(sink)).is_some());
    }
}

impl State {
    fn open(path: &Path, room: &RoomName, limits: &Arc<Limits>) -> std::io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut lines = BufReader::new(file.try_clone()?).lines();
        let epoch = lines.next().transpose()?;
        let mut state = Self {
            room: room.clone(),
            limits: Arc::clone(limits),
            file,
            epoch: epoch.clone().unwrap_or_default(),
            lines: 0,
            last_at: 0,
            entries: VecDeque::new(),
            keys: BTreeMap::new(),
            key_order: VecDeque::new(),
        };
        if epoch.is_none() {
            state.renew()?;
        }
        for line in lines {
            let record: String = serde_json::from_str(&line?)?;
            state.lines += 1;
            state.insert(state.lines, serde_json::from_str(&record)?);
        }
        Ok(state)
    }

    /// Begins another life: an empty file with another epoch.
    fn renew(&mut self) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.epoch = format!("{:016x}", RandomState::new().build_hasher().finish());
        writeln!(self.file, "{}", self.epoch)?;
        self.lines = 0;
        self.entries.clear();
        self.keys.clear();
        self.key_order.clear();
        Ok(())
    }

    /// Writes a line and returns its number.
    fn write(&mut self, record: &Record) -> std::io::Result<u64> {
        // As a string, a body with a line break is one line.
        let line = serde_json::to_string(&serde_json::to_string(record)?)? + "\n";
        self.file.write_all(line.as_bytes())?;
        self.lines += 1;
        Ok(self.lines)
    }

    fn append(
        &mut self,
        now: u64,
        message: NewMessage,
    ) -> Result<(AppendReceipt, Option<StoredMessage>), AppendError> {
        self.forget_keys(now);
        let key = message.key.clone().map(|key| (message.user.key(), key));
        if let Some(known) = key.and_then(|key| self.keys.get(&key)) {
            return if known.body == message.body.get() {
                Ok((AppendReceipt { seq: known.seq, at: known.at, duplicate: true }, None))
            } else {
                Err(AppendError::KeyConflict)
            };
        }
        let at = now.max(self.last_at);
        let record = Record { at, message };
        let seq = self.write(&record).map_err(Unavailable::from_source)?;
        Ok((AppendReceipt { seq, at, duplicate: false }, Some(self.insert(seq, record))))
    }

    /// Takes note of a line that is written.
    fn insert(&mut self, seq: u64, Record { at, message }: Record) -> StoredMessage {
        self.last_at = at;
        if let Some(key) = message.key.clone() {
            let (key, body) = ((message.user.key(), key), message.body.get().to_owned());
            self.key_order.push_back(key.clone());
            self.keys.insert(key, Keyed { seq, at, body });
        }
        let stored = message.into_stored(self.room.clone(), seq, at);
        self.entries.push_back(stored.clone());
        while self.entries.len() > self.limits.rooms.log_messages {
            self.entries.pop_front();
        }
        while self.key_order.len() > self.limits.rooms.log_keys {
            self.forget_oldest_key();
        }
        stored
    }

    fn forget_keys(&mut self, now: u64) {
        let window = self.limits.rooms.key_window;
        while let Some(at) = self.key_order.front().and_then(|key| self.keys.get(key)).map(|keyed| keyed.at)
            && Duration::from_millis(now.saturating_sub(at)) >= window
        {
            self.forget_oldest_key();
        }
    }

    fn forget_oldest_key(&mut self) {
        if let Some(oldest) = self.key_order.pop_front() {
            self.keys.remove(&oldest);
        }
    }

    fn bounds(&self) -> LogBounds {
        let first = self.entries.front().map_or(self.lines + 1, |oldest| oldest.seq);
        LogBounds { epoch: self.epoch.clone(), head: self.lines, first }
    }

    fn read(&self, range: Range) -> Page {
        let mut messages = Vec::new();
        let more = match range {
            Range::Before { seq, limit } => {
                let entries = self.entries.iter().rev().filter(|stored| stored.seq < seq);
                let more = self.fill(&mut messages, entries, limit);
                messages.reverse();
                more
            }
            Range::After { seq, limit } => {
                self.fill(&mut messages, self.entries.iter().filter(|stored| stored.seq > seq), limit)
            }
        };
        Page { epoch: self.epoch.clone(), messages, more }
    }

    /// Fills a page. Returns true if there are more entries.
    fn fill<'a>(
        &self,
        page: &mut Vec<StoredMessage>,
        entries: impl Iterator<Item = &'a StoredMessage>,
        limit: usize,
    ) -> bool {
        let mut bytes = 0;
        for stored in entries {
            bytes += stored.frame.len();
            let fits = page.is_empty() || bytes <= self.limits.wire.max_batch_bytes;
            if page.len() >= limit.max(1) || !fits {
                return true;
            }
            page.push(stored.clone());
        }
        false
    }
}

#[async_trait]
impl Room for Opening {
    async fn append(&self, message: NewMessage) -> Answer {
        self.gate.check()?;
        let (asked, answer) = oneshot::channel();
        let ended = || Unavailable::new("the writer has ended");
        self.writer.send((message, asked)).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        self.gate.check()?;
        Ok(self.log.state.lock().read(range))
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        self.gate.check()?;
        Ok(self.log.state.lock().bounds())
    }

    async fn search(&self, search: Search) -> Result<SearchPage, SearchError> {
        self.gate.check()?;
        let state = self.log.state.lock();
        let mut scan = Scan::new(&search, &self.log.limits);
        let mut entries = state.entries.iter().rev().filter(|stored| stored.seq < search.before);
        // `look` returns false when the page is full.
        let _full = entries.all(|stored| scan.look(stored));
        Ok(scan.finish())
    }
}

fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
