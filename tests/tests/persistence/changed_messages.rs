//! Crashes while clients edit, delete and react: each acknowledged change is there, and nothing erased comes back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use chat_tests::{Binary, Client, Daemon};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::task::JoinSet;

use crate::follower::{Follower, Messages};

const CHANGERS: usize = 4;

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
    let mut erased = Vec::new();
    for changer in &changers {
        changer.check(&read, &mut erased)?;
    }
    ensure!(erased.len() > 10, "only {} texts were erased", erased.len());
    let text = format!("{read:?}");
    let back: Vec<_> = erased.iter().filter(|erased| text.contains(*erased)).collect();
    ensure!(back.is_empty(), "{back:?} came back");
    daemon.stop()?;
    check_files(home.path(), &erased)?;
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
    /// The last acknowledged text, and all earlier ones.
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
            for step in 0..4 {
                if !self.change_one(&mut client, seq, step).await? {
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
    async fn change_one(&mut self, client: &mut Client, seq: u64, step: usize) -> Result<bool> {
        let known = self.messages.get_mut(&seq).context("no message")?;
        let mut command = json!({"room": "lobby", "seq": seq});
        let text = format!("{}v{}", known.key, known.texts.len());
        let kind = (self.sent + step as u64) % 5;
        match kind {
            0 => {
                command["type"] = json!("delete");
                known.is_deleted = known.is_deleted.filter(|is_deleted| *is_deleted);
            }
            1 | 2 => {
                command["type"] = json!("edit");
                command["body"] = json!({"text": text});
                known.pending = Some(text.clone());
            }
            _ => {
                command["type"] = json!("react");
                command["reaction"] = json!("+1");
                command["on"] = json!(kind == 3);
                known.has_reacted = None;
            }
        }
        let Ok(reply) = client.ask(command).await else { return Ok(false) };
        if known.is_deleted == Some(true) && kind != 0 {
            ensure!(reply["code"] == "gone", "{reply}");
            (known.pending, known.has_reacted) = (None, Some(false));
            return Ok(true);
        }
        ensure!(reply["type"] == "done", "{reply}");
        match kind {
            0 => known.is_deleted = Some(true),
            1 | 2 => known.texts.push(known.pending.take().context("no text")?),
            _ => known.has_reacted = Some(kind == 3),
        }
        Ok(true)
    }

    /// Checks the messages that a new reader has. Adds the texts that must be nowhere.
    fn check(&self, read: &Messages, erased: &mut Vec<String>) -> Result<()> {
        for (seq, known) in &self.messages {
            let message = read.get(seq).with_context(|| format!("{seq} is lost: {known:?}"))?;
            let is_deleted = message.get("deleted").is_some();
            ensure!(known.is_deleted.is_none_or(|expected| is_deleted == expected), "{message}: {known:?}");
            if is_deleted {
                ensure!(message.get("body").is_none() && message.get("key").is_none(), "{message}");
                erased.extend(known.texts.iter().chain(&known.pending).cloned());
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

/// Checks that no file of a store has one of these texts.
fn check_files(dir: &Path, erased: &[String]) -> Result<()> {
    for file in std::fs::read_dir(dir)? {
        let path = file?.path();
        let bytes = std::fs::read(&path)?;
        for text in erased {
            let is_there = bytes.windows(text.len()).any(|window| window == text.as_bytes());
            ensure!(!is_there, "{} has {text}", path.display());
        }
    }
    Ok(())
}
