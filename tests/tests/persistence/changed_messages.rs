//! Crashes while clients edit, delete and react: each acknowledged change is there, and nothing erased comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use chat_tests::{Binary, Client, Daemon};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::task::JoinSet;

use crate::follower::{Follower, Messages};

const CHANGERS: usize = 4;

/// The changes of one message after another.
const CHANGES: [[Kind; 4]; 5] = {
    use Kind::{Delete, Edit, React, Unreact};
    [
        [Edit, Edit, React, Edit],
        [React, Edit, Edit, React],
        [React, Unreact, Edit, Delete],
        [Edit, React, Edit, Unreact],
        [React, Edit, Delete, Edit],
    ]
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Edit,
    React,
    Unreact,
    Delete,
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_crashes_lose_no_acknowledged_change_and_bring_no_body_back() -> Result<()> {
    let crashes = std::env::var("CHAT_CRASHES").map_or(Ok(8), |number| number.parse::<u64>())?;
    let home = TempDir::new()?;
    let mut changers: Vec<_> =
        (1..=CHANGERS).map(|number| Changer::new(&format!("changer-{number}"))).collect();
    let mut follower = Follower::default();
    for (crash, binary) in (0..crashes).zip(Binary::one_per_adapter().cycle()) {
        let durability = if crash % 2 == 0 { "disk" } else { "process" };
        let daemon = Daemon::start_in(home.path(), binary, &["--durability", durability])?;
        let acknowledgements = (crash * 53 + 90) % 200;
        follower = change_until_killed(daemon, &mut changers, follower, acknowledgements).await?;
    }
    let binary = Binary::one_per_adapter().next().context("no binary")?;
    let daemon = Daemon::start_in(home.path(), binary, &[])?;
    let mut last = Changer::new("last");
    last.send(&mut Client::member(daemon.address(), "last").await?).await?;
    follower.catch_up(daemon.address()).await?;
    let read = read(daemon.address()).await?;
    ensure!(follower.messages == read, "{:#?}\nfollowed, but a new reader has\n{read:#?}", follower.messages);
    let mut erased = BTreeSet::new();
    for changer in &changers {
        changer.check(&read, &mut erased)?;
    }
    ensure!(erased.len() > 10, "only {} messages were deleted", erased.len());
    check_absent(&erased, format!("{read:?}").as_bytes()).context("a page")?;
    daemon.stop()?;
    for file in std::fs::read_dir(home.path())? {
        let path = file?.path();
        check_absent(&erased, &std::fs::read(&path)?).with_context(|| path.display().to_string())?;
    }
    binary.check_store(home.path())
}

/// Runs all clients, and kills the server after this number of acknowledgements. Returns the follower.
async fn change_until_killed(
    daemon: Daemon,
    changers: &mut Vec<Changer>,
    mut follower: Follower,
    acknowledgements: u64,
) -> Result<Follower> {
    let address = daemon.address();
    let following = follower.join(address).await?;
    let following = tokio::spawn(async move {
        follower.follow(following).await?;
        anyhow::Ok(follower)
    });
    let (progress, mut done) = mpsc::unbounded_channel();
    let mut changing = JoinSet::new();
    for mut changer in changers.drain(..) {
        let progress = progress.clone();
        changing.spawn(async move {
            changer.change(address, &progress).await?;
            anyhow::Ok(changer)
        });
    }
    drop(progress);
    for _ in 0..acknowledgements {
        done.recv().await.context("all clients have stopped")?;
    }
    daemon.crash()?;
    for changer in changing.join_all().await {
        changers.push(changer?);
    }
    following.await?
}

/// A client that sends messages to the room `lobby` and changes each on the same connection.
#[derive(Debug)]
struct Changer {
    name: String,
    sent: u64,
    messages: BTreeMap<u64, Known>,
}

/// The state of a message, as its author knows it. With a change that was not acknowledged, there are two states.
#[derive(Debug, Default)]
struct Known {
    key: String,
    /// The acknowledged texts, oldest first. Each begins with the key.
    texts: Vec<String>,
    /// A text that was not acknowledged.
    pending: Option<String>,
    /// True if the author has reacted. `None` if it was not acknowledged.
    has_reacted: Option<bool>,
    /// True if the message was deleted. `None` if it was not acknowledged.
    is_deleted: Option<bool>,
}

impl Changer {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), sent: 0, messages: BTreeMap::new() }
    }

    /// Sends and changes messages until the connection ends. Reports each acknowledgement.
    async fn change(&mut self, address: SocketAddr, progress: &UnboundedSender<()>) -> Result<()> {
        // The server may have crashed already.
        let Ok(mut client) = Client::member(address, &self.name).await else { return Ok(()) };
        loop {
            let Some(seq) = self.send(&mut client).await? else { return Ok(()) };
            // The receiver stops once it has counted enough.
            let _stopped = progress.send(());
            let changes = CHANGES[usize::try_from(self.sent)? % CHANGES.len()];
            for kind in changes {
                if !self.change_one(&mut client, seq, kind).await? {
                    return Ok(());
                }
                let _stopped = progress.send(());
            }
        }
    }

    /// Sends a message. Returns its position, or `None` if the connection is lost.
    async fn send(&mut self, client: &mut Client) -> Result<Option<u64>> {
        self.sent += 1;
        let key = format!("{}.{:05}.", self.name, self.sent);
        let text = format!("{key}v0");
        let command = json!({"type": "send", "room": "lobby", "key": key, "body": {"text": text}});
        let Ok(sent) = client.ask(command).await else { return Ok(None) };
        let seq = sent["seq"].as_u64().with_context(|| sent.to_string())?;
        let known = Known {
            key,
            texts: vec![text],
            has_reacted: Some(false),
            is_deleted: Some(false),
            ..Known::default()
        };
        self.messages.insert(seq, known);
        Ok(Some(seq))
    }

    /// Makes one of the changes of a message. Returns false if the connection is lost.
    async fn change_one(&mut self, client: &mut Client, seq: u64, kind: Kind) -> Result<bool> {
        let known = self.messages.get_mut(&seq).context("no message")?;
        let mut command = json!({"room": "lobby", "seq": seq});
        let text = format!("{}v{}", known.key, known.texts.len());
        match kind {
            Kind::Delete => {
                command["type"] = json!("delete");
                known.is_deleted = known.is_deleted.filter(|is_deleted| *is_deleted);
            }
            Kind::Edit => {
                command["type"] = json!("edit");
                command["body"] = json!({"text": text});
                known.pending = Some(text.clone());
            }
            Kind::React | Kind::Unreact => {
                command["type"] = json!("react");
                command["reaction"] = json!("+1");
                command["on"] = json!(kind == Kind::React);
                known.has_reacted = None;
            }
        }
        let Ok(reply) = client.ask(command).await else { return Ok(false) };
        if known.is_deleted == Some(true) && kind != Kind::Delete {
            ensure!(reply["code"] == "gone", "{reply}");
            (known.pending, known.has_reacted) = (None, Some(false));
            return Ok(true);
        }
        ensure!(reply["type"] == "done", "{reply}");
        match kind {
            Kind::Delete => known.is_deleted = Some(true),
            Kind::Edit => known.texts.push(known.pending.take().context("no text")?),
            Kind::React | Kind::Unreact => known.has_reacted = Some(kind == Kind::React),
        }
        Ok(true)
    }

    /// Checks the messages that a new reader has. Adds the keys of those that must be nowhere.
    fn check(&self, read: &Messages, erased: &mut BTreeSet<String>) -> Result<()> {
        for (seq, known) in &self.messages {
            let message = read.get(seq).with_context(|| format!("{seq} is lost: {known:?}"))?;
            let is_deleted = message.get("deleted").is_some();
            ensure!(known.is_deleted.is_none_or(|expected| is_deleted == expected), "{message}: {known:?}");
            if is_deleted {
                ensure!(message.get("body").is_none() && message.get("key").is_none(), "{message}");
                erased.insert(known.key.clone());
                continue;
            }
            ensure!(message["key"] == *known.key, "{message}: {known:?}");
            let text = message["body"]["text"].as_str().context("no text")?;
            let is_known = Some(text) == known.texts.last().map(String::as_str)
                || Some(text) == known.pending.as_deref();
            ensure!(is_known, "{message}: {known:?}");
            let has_reacted = message["reactions"][0]["count"] == 1;
            ensure!(known.has_reacted.is_none_or(|expected| has_reacted == expected), "{message}: {known:?}");
        }
        Ok(())
    }
}

/// Reads all messages of the room `lobby`, as a new client does.
async fn read(address: SocketAddr) -> Result<Messages> {
    let mut client = Client::member(address, "reader").await?;
    let (mut messages, mut after) = (Messages::new(), 0);
    loop {
        let command = json!({"type": "history", "room": "lobby", "after": after, "limit": 200});
        let page = client.ask(command).await?;
        for message in page["messages"].as_array().context("no page")? {
            after = message["seq"].as_u64().context("no seq")?;
            messages.insert(after, message.clone());
        }
        if page["more"] == false {
            client.close(1000).await?;
            return Ok(messages);
        }
    }
}

/// Checks that no text in these bytes begins with the key of a deleted message, as the key and each body does.
fn check_absent(erased: &BTreeSet<String>, bytes: &[u8]) -> Result<()> {
    const START: &[u8] = b"changer-";
    let length = erased.first().map_or(0, String::len);
    for (at, _) in bytes.windows(START.len()).enumerate().filter(|(_, window)| *window == START) {
        let key = String::from_utf8_lossy(&bytes[at..bytes.len().min(at + length)]);
        ensure!(!erased.contains(&*key), "{key} came back");
    }
    Ok(())
}
