use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use chat_client::{Event, Events, JoinFrom, Reconnect, RoomName, Text};
use chat_tests::{Client, Daemon, within};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::conversation::{opened, text};
use crate::programs;

/// Messages when the backup is taken: more than a client gets that is not recovered.
const BACKED_UP: u64 = 60;

/// Messages that it gets: a page.
const NEWEST: u64 = 50;

/// Messages that are lost with what the backup does not have.
const LOST: u64 = 20;

/// Puts the copy of a store back in the place of a later one.
type Restore = fn(&Path, copy: &Path) -> Result<()>;

const RESTORES: [(&str, Restore); 4] = [
    ("the directory, made anew", |store, copy| {
        fs::remove_dir_all(store)?;
        copy_into(store, copy, &["chat.db", "chat.mark", "chat.lock"])
    }),
    ("the database alone, in a directory made anew", |store, copy| {
        fs::remove_dir_all(store)?;
        copy_into(store, copy, &["chat.db"])
    }),
    ("the database, in its place", |store, copy| copy_into(store, copy, &["chat.db"])),
    ("both in their places, and the mark removed", |store, copy| {
        copy_into(store, copy, &["chat.db", "chat.mark"])?;
        Ok(fs::remove_file(store.join("chat.mark"))?)
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn who_resumes_after_a_backup_was_put_back_is_told_and_reads_anew() -> Result<()> {
    for ((what, restore), binary) in RESTORES.into_iter().zip(programs()) {
        let home = TempDir::new()?;
        let (store, copy) = (home.path().join("store"), home.path().join("copy"));
        let data = ["--data", text(&store)?];
        let mut daemon = Daemon::start(binary, &data)?;
        let (relay, server) = relay().await?;
        server.send_replace(Some(daemon.address()));
        let mut ann = Resuming::join(relay).await?;
        ann.talk(0, BACKED_UP).await?;
        server.send_replace(None);
        daemon.stop()?;
        copy_into(&copy, &store, &["chat.db", "chat.mark", "chat.lock"])?;

        daemon = Daemon::start(binary, &data)?;
        server.send_replace(Some(daemon.address()));
        ann.talk(BACKED_UP, LOST).await?;
        ensure!(ann.resumed == [(ann.epoch.clone(), true)], "{what}: {:?}", ann.resumed);
        server.send_replace(None);
        daemon.stop()?;
        restore(&store, &copy)?;

        daemon = Daemon::start(binary, &data)?;
        resume(&daemon, &ann.epoch).await.context(what)?;
        server.send_replace(Some(daemon.address()));
        ann.read_anew().await.context(what)?;
        ann.talk(BACKED_UP, LOST).await.context(what)?;
        ann.client.close().await?;
        ensure!(opened(&daemon.stop()?) == "with a new epoch", "{what}");
    }
    Ok(())
}

/// What the protocol says, to clients that have seen more than there is, or less.
async fn resume(daemon: &Daemon, before: &str) -> Result<()> {
    for seen in [BACKED_UP + LOST, BACKED_UP, 5] {
        let mut client = Client::connect(daemon.address(), "bob").await?;
        let join = json!({"type": "join", "room": "lobby", "after": {"epoch": before, "seq": seen}});
        let joined = client.ask(join, "j").await?;
        ensure!(joined["recovered"] == false && joined["seq"] == BACKED_UP, "{joined}");
        let epoch = joined["epoch"].as_str().context("no epoch")?;
        ensure!(epoch != before, "the same epoch");
        let gap = client.until("gap").await?;
        ensure!(gap["from"] == 1 && gap["to"] == BACKED_UP - NEWEST && gap["epoch"] == epoch, "{gap}");
        for seq in BACKED_UP - NEWEST + 1..=BACKED_UP {
            ensure!(client.until("message").await?["seq"] == seq);
        }
        client.close(1000).await?;
    }
    Ok(())
}

/// A client that comes back by itself.
struct Resuming {
    client: chat_client::Client,
    events: Events,
    epoch: Arc<str>,
    /// The epochs in which it went on, and whether exactly where it was.
    resumed: Vec<(Arc<str>, bool)>,
}

impl Resuming {
    async fn join(address: SocketAddr) -> Result<Self> {
        let eager = Reconnect::default().first(Duration::from_millis(20)).max(Duration::from_millis(100));
        let builder = chat_client::Client::builder(&format!("ws://{address}/ws")).name("ann");
        let (client, events) = builder.reconnect(eager).connect().await?;
        let joined = client.join(&lobby()?, JoinFrom::Now).await?;
        Ok(Self { client, events, epoch: joined.epoch, resumed: Vec::new() })
    }

    /// Says so much after a position, and hears each word in its place.
    async fn talk(&mut self, after: u64, count: u64) -> Result<()> {
        for seq in after + 1..=after + count {
            let sent = within(self.client.send(&lobby()?, &Text(&seq.to_string()))).await??;
            ensure!(sent.seq == seq && !sent.duplicate, "{sent:?} is not {seq}");
            self.hear(seq).await?;
        }
        Ok(())
    }

    /// Goes on in another epoch, from the newest messages that there are.
    async fn read_anew(&mut self) -> Result<()> {
        let before = (self.epoch.clone(), self.resumed.len());
        loop {
            match within(self.events.next()).await?.context("it has ended")? {
                Event::Resumed { epoch, recovered, .. } => {
                    ensure!(!recovered && epoch != before.0, "{epoch} {recovered}");
                    self.epoch = epoch;
                }
                Event::Gap { from, to, epoch, .. } => {
                    ensure!(
                        (from, to, &epoch) == (1, BACKED_UP - NEWEST, &self.epoch),
                        "{from} {to} {epoch}"
                    );
                    break;
                }
                Event::Disconnected { .. } | Event::Reconnected | Event::Presence { .. } => {}
                other => bail!("no new beginning but {other:?}"),
            }
        }
        for seq in BACKED_UP - NEWEST + 1..=BACKED_UP {
            self.hear(seq).await?;
        }
        ensure!(self.resumed.len() == before.1, "resumed again");
        Ok(())
    }

    /// The next message is this one.
    async fn hear(&mut self, seq: u64) -> Result<()> {
        loop {
            match within(self.events.next()).await?.context("it has ended")? {
                Event::Message(message) => {
                    ensure!(message.seq == seq && message.epoch == self.epoch, "{message:?} is not {seq}");
                    ensure!(message.text() == Some(seq.to_string()), "{message:?}");
                    return Ok(());
                }
                Event::Resumed { epoch, recovered, .. } => self.resumed.push((epoch, recovered)),
                Event::Disconnected { .. } | Event::Reconnected | Event::Presence { .. } => {}
                other => bail!("{other:?} is not {seq}"),
            }
        }
    }
}

fn lobby() -> Result<RoomName> {
    Ok("lobby".parse()?)
}

/// An address that stays while servers come and go, and where to say at which address one is, if any. Whoever is
/// connected is cut off then, rather than told by the server to take its time.
async fn relay() -> Result<(SocketAddr, watch::Sender<Option<SocketAddr>>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (servers, mut changes) = watch::channel(None);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let Some(server) = *changes.borrow_and_update() else { continue };
            let mut changes = changes.clone();
            tokio::spawn(async move {
                let Ok(mut server) = TcpStream::connect(server).await else { return };
                // However it ends, both have ended.
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                    _ = changes.changed() => {}
                }
            });
        }
    });
    Ok((address, servers))
}

pub(crate) fn copy_into(dir: &Path, from: &Path, names: &[&str]) -> Result<()> {
    fs::create_dir_all(dir)?;
    for name in names {
        fs::copy(from.join(name), dir.join(name))?;
    }
    Ok(())
}
