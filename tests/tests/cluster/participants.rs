//! Clients that send and receive while servers fail, and what they have seen.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use chat_client::{Client, ClientEvent, Error, Events, Text};
use chat_proto::command::JoinFrom;
use chat_proto::{ErrorCode, RoomName};
use chat_tests::ReceivedMessages;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep, timeout};

/// The time for one command, and for each wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pause of each participant after a message.
const PAUSE: Duration = Duration::from_millis(40);

/// Clients in one room, each of which sends and receives.
pub(crate) struct Participants {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<Result<()>>>,
    stop: watch::Sender<bool>,
    /// The number of the last message, once no further one comes.
    end: watch::Sender<Option<u64>>,
}

/// The messages and events of all participants so far.
#[derive(Default)]
struct Shared {
    /// The acknowledged texts with their positions.
    acknowledged: Mutex<BTreeMap<String, u64>>,
    /// The number of answers `unavailable`.
    unavailable: AtomicUsize,
    reconnects: AtomicUsize,
}

impl Participants {
    /// Connects participants that are guests with these numbers: `client-0`, `client-1` and so on.
    pub(crate) async fn start(url: &str, room: &RoomName, numbers: Range<usize>) -> Result<Self> {
        let (stop, end) = (watch::Sender::new(false), watch::Sender::new(None));
        let mut participants = Self { shared: Arc::default(), tasks: Vec::new(), stop, end };
        for number in numbers {
            let builder = Client::builder(url).name(format!("client-{number}"));
            let (client, events) = builder.command_timeout(PATIENCE).event_buffer(10_000).connect().await?;
            client.join(room, JoinFrom::Last(0)).await?;
            let (shared, room) = (Arc::clone(&participants.shared), room.clone());
            let (stopped, end) = (participants.stop.subscribe(), participants.end.subscribe());
            participants.tasks.push(tokio::spawn(async move {
                let sending = send(&client, &room, number, &shared, stopped);
                tokio::try_join!(sending, receive(events, number, &shared, end))?;
                Ok(client.close().await?)
            }));
        }
        Ok(participants)
    }

    /// Waits until this many further messages are acknowledged.
    pub(crate) async fn progress(&mut self, messages: usize) -> Result<()> {
        let wanted = self.shared.acknowledged.lock().await.len() + messages;
        let reached = async {
            while self.shared.acknowledged.lock().await.len() < wanted {
                if let Some(index) = self.tasks.iter().position(JoinHandle::is_finished) {
                    self.tasks.swap_remove(index).await??;
                    bail!("a participant has ended");
                }
                sleep(Duration::from_millis(10)).await;
            }
            Ok(())
        };
        timeout(PATIENCE, reached).await.with_context(|| format!("no {messages} messages"))?
    }

    /// Waits until all participants together have reconnected this many times.
    pub(crate) async fn reconnected(&self, times: usize) -> Result<()> {
        let reached = async {
            while self.shared.reconnects.load(Ordering::SeqCst) < times {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, reached).await.with_context(|| format!("no {times} reconnects"))
    }

    /// Returns the number of answers `unavailable` so far.
    pub(crate) fn unavailable(&self) -> usize {
        self.shared.unavailable.load(Ordering::SeqCst)
    }

    /// Ends all participants, after each has received the last message. Returns the acknowledged texts with their
    /// positions.
    pub(crate) async fn finish(self) -> Result<BTreeMap<String, u64>> {
        self.stop.send_replace(true);
        // The last acknowledgements come before the senders end, and the last message is known then.
        let last = async {
            let mut last = 0;
            let mut since = Instant::now();
            while since.elapsed() < Duration::from_secs(1) {
                let newest =
                    self.shared.acknowledged.lock().await.values().max().copied().unwrap_or_default();
                if newest > last {
                    (last, since) = (newest, Instant::now());
                }
                sleep(PAUSE).await;
            }
            last
        };
        self.end.send_replace(Some(last.await));
        for task in self.tasks {
            timeout(PATIENCE, task).await.context("a participant does not end")???;
        }
        Ok(self.shared.acknowledged.lock().await.clone())
    }
}

/// Sends numbered texts. After each of them, the one before is repeated with its key, as if its answer were lost: it
/// must not be stored again, whichever node is asked.
async fn send(
    client: &Client,
    room: &RoomName,
    number: usize,
    shared: &Shared,
    stopped: watch::Receiver<bool>,
) -> Result<()> {
    let mut ticks = interval(PAUSE);
    let mut previous: Option<(String, u64)> = None;
    for count in 0.. {
        if *stopped.borrow() {
            break;
        }
        ticks.tick().await;
        let text = format!("{number}: {count}");
        let seq = acknowledge(client, room, &text, shared).await?;
        shared.acknowledged.lock().await.insert(text.clone(), seq);
        if let Some((text, seq)) = previous.replace((text, seq)) {
            let again = acknowledge(client, room, &text, shared).await?;
            ensure!(again == seq, "{text:?} is at {seq}, and after a repeat at {again}");
        }
    }
    Ok(())
}

/// Sends a text until it is acknowledged, always with the same key. Returns its position.
async fn acknowledge(client: &Client, room: &RoomName, text: &str, shared: &Shared) -> Result<u64> {
    loop {
        match client.send_with_key(room, &Text::new(text), text).await {
            Ok(receipt) => return Ok(receipt.seq),
            Err(Error::Refused(error) | Error::Unsure(error)) if error.code == ErrorCode::Unavailable => {
                shared.unavailable.fetch_add(1, Ordering::SeqCst);
                sleep(PAUSE).await;
            }
            Err(error) => bail!("{text:?}: {error}"),
        }
    }
}

/// Receives until the last message, and checks that each is there once and in order.
async fn receive(
    mut events: Events,
    number: usize,
    shared: &Shared,
    mut end: watch::Receiver<Option<u64>>,
) -> Result<()> {
    let mut received = ReceivedMessages::default();
    loop {
        if end.borrow_and_update().is_some_and(|last| received.has(last)) {
            return Ok(());
        }
        let event = tokio::select! {
            event = events.next() => event.context("the client has ended")?,
            _ = end.changed() => continue,
        };
        let is_reconnected = matches!(event, ClientEvent::Reconnected);
        shared.reconnects.fetch_add(usize::from(is_reconnected), Ordering::SeqCst);
        received.take(event).with_context(|| format!("client {number}"))?;
    }
}

/// A client that notes which users leave or join the room.
pub(crate) struct Watcher {
    client: Client,
    events: Events,
    since: Instant,
}

impl Watcher {
    pub(crate) async fn start(node: SocketAddr, room: &RoomName, name: &str) -> Result<Self> {
        let builder = Client::builder(&format!("ws://{node}/ws")).name(name);
        let (client, events) = builder.event_buffer(100_000).connect().await?;
        client.join(room, JoinFrom::Last(0)).await?;
        Ok(Self { client, events, since: Instant::now() })
    }

    /// Starts the time of [`finish`](Self::finish) again.
    pub(crate) fn mark(&mut self) {
        self.since = Instant::now();
    }

    /// Watches until this time has passed. Returns the users who are in the room, and those who have left or joined it
    /// meanwhile.
    pub(crate) async fn finish(mut self, room: &RoomName, time: Duration) -> Result<[BTreeSet<String>; 2]> {
        let end = self.since + time;
        let mut moved = BTreeSet::new();
        while let Ok(event) = tokio::time::timeout_at(end, self.events.next()).await {
            match event.context("the watcher has ended")? {
                ClientEvent::Presence { user, .. } => drop(moved.insert(user.id().to_owned())),
                ClientEvent::Disconnected { lost, .. } => {
                    bail!("the watcher has lost its connection: {lost:?}")
                }
                _ => {}
            }
        }
        let members = self.client.members(room).await?;
        Ok([members.iter().map(|user| user.id().to_owned()).collect(), moved])
    }
}
