mod log;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use async_trait::async_trait;
use chat_core::{
    AppendError, AppendReceipt, Commit, CommitSink, Limits, LogBounds, NewMessage, Page, Range, Room,
    RoomName, Scan, Search, SearchError, SearchPage, Store, Unavailable,
};
use chat_store_conformance::Fixture;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::base::{Gate, Node, Rooms, Sinks};
use log::State;

/// A store that learns `seq` only as it writes: each room is a file to which threads append lines, and the number of
/// a line is the `seq` of its entry. A line keeps the message itself, and the frame is made when `seq` is known.
pub(crate) struct AssignsOnWrite {
    dir: tempfile::TempDir,
    node: Arc<Node<Files>>,
}

#[derive(Default)]
struct Files {
    dir: PathBuf,
    logs: Mutex<BTreeMap<RoomName, Arc<FileLog>>>,
    writers: Mutex<Vec<JoinHandle<()>>>,
}

struct FileLog {
    limits: Arc<Limits>,
    state: Mutex<State>,
    sinks: Sinks,
}

struct Opening {
    log: Arc<FileLog>,
    writer: mpsc::Sender<(NewMessage, oneshot::Sender<Answer>)>,
    _sink: Arc<CommitSink>,
}

type Answer = Result<AppendReceipt, AppendError>;

impl AssignsOnWrite {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory for temporary files");
        Self { node: Node::new(&Files::new(dir.path())), dir }
    }
}

#[async_trait]
impl Fixture for AssignsOnWrite {
    fn store(&self, node: usize) -> Option<Arc<dyn Store>> {
        (node == 0).then(|| Arc::clone(&self.node) as Arc<dyn Store>)
    }

    async fn restart(&mut self) {
        for writer in self.node.rooms.writers.lock().drain(..) {
            writer.join().expect("a writer that ends");
        }
        self.node = Node::new(&Files::new(self.dir.path()));
    }

    fn set_reachable(&self, reachable: bool) -> bool {
        self.node.gate.set_reachable(reachable);
        true
    }

    async fn renew(&self) -> bool {
        for log in self.node.rooms.logs.lock().values() {
            let mut state = log.state.lock();
            state.renew().expect("a file that can be written");
            let bounds = state.bounds();
            drop(state);
            log.sinks.report(Commit::Renewed(&bounds));
        }
        true
    }
}

impl Files {
    fn new(dir: &Path) -> Arc<Self> {
        Arc::new(Self { dir: dir.to_owned(), ..Self::default() })
    }

    fn log(&self, room: &RoomName, limits: &Arc<Limits>) -> std::io::Result<Arc<FileLog>> {
        let mut logs = self.logs.lock();
        if let Some(log) = logs.get(room) {
            return Ok(Arc::clone(log));
        }
        let file: String = room.as_str().bytes().map(|byte| format!("{byte:02x}")).collect();
        let state = State::open(&self.dir.join(file), room, limits)?;
        let limits = Arc::clone(limits);
        let log = Arc::new(FileLog { limits, state: Mutex::new(state), sinks: Sinks::default() });
        logs.insert(room.clone(), Arc::clone(&log));
        Ok(log)
    }
}

#[async_trait]
impl Rooms for Files {
    async fn open(
        &self,
        room: &RoomName,
        limits: &Arc<Limits>,
        sink: CommitSink,
        _gate: &Arc<Gate>,
    ) -> Result<Arc<dyn Room>, Unavailable> {
        let log = self.log(room, limits).map_err(Unavailable::from_source)?;
        let sink = log.sinks.add(sink);
        let (writer, queue) = mpsc::channel::<(NewMessage, oneshot::Sender<Answer>)>();
        let written = Arc::clone(&log);
        self.writers.lock().push(std::thread::spawn(move || {
            for (message, asked) in queue {
                // A caller that has dropped the append does not wait for the answer.
                let _gone = asked.send(written.append(message));
            }
        }));
        Ok(Arc::new(Opening { log, writer, _sink: sink }))
    }
}

impl FileLog {
    fn append(&self, message: NewMessage) -> Answer {
        let (receipt, stored) = self.state.lock().append(message)?;
        if let Some(stored) = stored {
            self.sinks.report(Commit::Entry { epoch: &receipt.epoch, stored: &stored });
        }
        Ok(receipt)
    }
}

#[async_trait]
impl Room for Opening {
    async fn append(&self, message: NewMessage) -> Answer {
        let (asked, answer) = oneshot::channel();
        let ended = || Unavailable::new("the writer has ended");
        self.writer.send((message, asked)).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        self.log.state.lock().read(range)
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        Ok(self.log.state.lock().bounds())
    }

    async fn search(&self, search: Search) -> Result<SearchPage, SearchError> {
        let state = self.log.state.lock();
        let mut scan = Scan::new(&search, &self.log.limits);
        let mut entries = state.entries.iter().rev().filter(|stored| search.covers(stored.seq));
        // `look` returns false when the page is full.
        let _full = entries.all(|stored| scan.look(stored));
        Ok(scan.finish())
    }
}
