use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chat_core::{
    AppendError, AppendReceipt, Change, ChangeError, ChangeReceipt, Commit, CommitSink, Limits, NewChange,
    NewMessage, Range, RawValue, Role, Room, Store, User,
};
use chat_jetstream::{ConnectOptions, JetStreamStore, Options};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::servers::Servers;

/// The time for work in the background. A busy machine needs some of it.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A room that is open on one node.
#[derive(Clone)]
pub(crate) struct Opened {
    pub(crate) room: Arc<dyn Room>,
    heard: Arc<Mutex<Heard>>,
}

#[derive(Default)]
struct Heard {
    frames: BTreeMap<u64, Vec<u8>>,
    /// The present form of the entries that deletions have erased.
    erased: BTreeMap<u64, Vec<u8>>,
    head: u64,
    renewals: usize,
}

/// Opens a node on these servers.
pub(crate) async fn node(servers: &Servers, change: impl FnOnce(&mut Options)) -> JetStreamStore {
    let options = Options::default().with(|options| options.replicas = 1).with(change);
    JetStreamStore::open(&servers.addresses(), options).await.expect("a store")
}

/// Opens a node as this user, whose name is the password too.
pub(crate) async fn node_of(servers: &Servers, user: &str) -> JetStreamStore {
    let connect = ConnectOptions::with_user_and_password(user.to_owned(), user.to_owned());
    node(servers, |options| options.connect = connect).await
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
                Commit::Erased { entries, .. } => {
                    heard.erased.extend(entries.iter().map(|stored| (stored.seq, stored.frame.to_vec())));
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
        let ann = User::new("ann", "ann").expect("a user");
        self.room.append(NewMessage::new(ann, body).with_key(key.map(ToOwned::to_owned))).await
    }

    /// Changes a message, as the user with this id, who is a moderator.
    pub(crate) async fn change(
        &self,
        user: &str,
        target: u64,
        change: Change,
    ) -> Result<ChangeReceipt, ChangeError> {
        let user = User::new(user, user).expect("a user");
        self.room.change(NewChange::new(user, target, change).with_role(Role::Moderator)).await
    }

    /// Reads all messages as events, by their positions.
    pub(crate) async fn events(&self) -> BTreeMap<u64, Value> {
        let mut events = BTreeMap::new();
        loop {
            let after = events.last_key_value().map_or(0, |(seq, _)| *seq);
            let page = self.room.read(Range::after(after, 500)).await.expect("a page");
            for stored in &page.messages {
                events.insert(stored.seq, serde_json::from_slice(&stored.frame).expect("an event"));
            }
            if !page.more {
                return events;
            }
        }
    }

    /// Reads the positions of all entries.
    pub(crate) async fn entries(&self) -> Vec<u64> {
        let mut seqs = Vec::new();
        loop {
            let after = seqs.last().copied().unwrap_or_default();
            let page = self.room.read(Range::entries(after, 500)).await.expect("a page");
            seqs.extend(page.messages.iter().map(|stored| stored.seq));
            if !page.more {
                return seqs;
            }
        }
    }

    /// Waits until the sink has heard that the deletion of a message has erased exactly these entries.
    pub(crate) async fn hears_of_erased(&self, seqs: &[u64]) {
        eventually(&format!("the erasure of {seqs:?}"), || async {
            self.heard.lock().erased.keys().copied().collect::<Vec<_>>() == seqs
        })
        .await;
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

pub(crate) fn edit(text: &str) -> Change {
    Change::Edit { body: RawValue::from_string(format!(r#"{{"text":"{text}"}}"#)).expect("JSON") }
}

pub(crate) fn react() -> Change {
    Change::React { reaction: "+1".to_owned(), on: true }
}

pub(crate) fn delete() -> Change {
    Change::Delete { reason: None }
}

/// Returns the text of a message.
pub(crate) fn text(frame: &[u8]) -> String {
    body(&serde_json::from_slice(frame).expect("an event"))
}

/// Returns the text of a message.
pub(crate) fn body(event: &Value) -> String {
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
