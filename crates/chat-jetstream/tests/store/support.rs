use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chat_core::{
    AppendError, AppendReceipt, Commit, CommitSink, Limits, NewMessage, Range, RawValue, Room, Store, User,
};
use chat_jetstream::{JetStreamStore, Options};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::servers::Servers;

/// The time for work in the background.
const TIME_LIMIT: Duration = Duration::from_secs(15);

/// A room that is open on one node.
#[derive(Clone)]
pub(crate) struct Opened {
    pub(crate) room: Arc<dyn Room>,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Default)]
struct Heard {
    frames: BTreeMap<u64, Vec<u8>>,
    head: u64,
    renewals: usize,
}

/// Opens a node on these servers.
pub(crate) async fn node(servers: &Servers, change: impl FnOnce(&mut Options)) -> JetStreamStore {
    let options = Options::default().with(|options| options.replicas = 1).with(change);
    JetStreamStore::open(&servers.addresses(), options).await.expect("a store")
}

impl Opened {
    pub(crate) async fn open(store: &JetStreamStore, name: &str, limits: &Arc<Limits>) -> Self {
        let heard: Arc<Mutex<Heard>> = Arc::default();
        let hears = Arc::clone(&heard);
        let sink = CommitSink::new(move |commit| {
            let mut heard = hears.lock();
            match commit {
                Commit::Entry { stored, .. } => {
                    let known = heard.frames.insert(stored.seq, stored.frame.to_vec());
                    assert!(known.is_none_or(|known| known == stored.frame), "two reports of {}", stored.seq);
                }
                Commit::Head { head, .. } => heard.head = heard.head.max(head),
                Commit::Renewed(_) => {
                    *heard = Heard { renewals: heard.renewals + 1, ..Heard::default() };
                }
                _ => {}
            }
        });
        let room = store.open(&name.parse().expect("a name"), limits, sink).await.expect("a room");
        Self { room, heard }
    }

    pub(crate) async fn append(&self, text: &str, key: Option<&str>) -> Result<AppendReceipt, AppendError> {
        let body = RawValue::from_string(format!(r#"{{"text":"{text}"}}"#)).expect("JSON");
        let ann = User::guest("ann").expect("a name");
        self.room.append(NewMessage::new(ann, body).with_key(key.map(ToOwned::to_owned))).await
    }

    pub(crate) async fn say(&self, text: &str) -> u64 {
        self.append(text, None).await.expect("a message that is stored").seq
    }

    /// Reads all messages.
    pub(crate) async fn texts(&self) -> Vec<(u64, String)> {
        let mut texts = Vec::new();
        loop {
            let after = texts.last().map_or(0, |(seq, _)| *seq);
            let page = self.room.read(Range::after(after, 500)).await.expect("a page");
            texts.extend(page.messages.iter().map(|stored| (stored.seq, text(&stored.frame))));
            if !page.more {
                return texts;
            }
        }
    }

    /// Waits until the sink has heard of all entries up to this one.
    pub(crate) async fn hears(&self, seq: u64) {
        eventually(&format!("reports up to {seq}"), || async {
            let heard = self.heard.lock();
            heard.head >= seq || (1..=seq).all(|seq| seq <= heard.head || heard.frames.contains_key(&seq))
        })
        .await;
    }

    /// Waits until the log has started a new epoch.
    pub(crate) async fn is_renewed(&self) {
        eventually("a new epoch", || async { self.heard.lock().renewals > 0 }).await;
    }
}

/// Returns the text of a message.
pub(crate) fn text(frame: &[u8]) -> String {
    let event: serde_json::Value = serde_json::from_slice(frame).expect("an event");
    event["body"]["text"].as_str().expect("a text").to_owned()
}

/// Waits until this holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let until = Instant::now() + TIME_LIMIT;
    while !holds().await {
        assert!(Instant::now() < until, "{what}: not within {TIME_LIMIT:?}");
        sleep(Duration::from_millis(10)).await;
    }
}
