use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use chat_client::{ClientEvent, Events, JoinFrom, Joined, Reconnect, RoomName, Text};
use chat_tests::{Binary, Client, Daemon, within};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::crashes::opened;

/// The number of messages in the backup. It exceeds a page, so that a client cannot receive all of them.
const BACKED_UP: u64 = 60;

/// The number of messages that a client receives after a failed resume: a page.
const NEWEST: u64 = 50;

/// The number of messages after the backup, which are lost.
const LOST: u64 = 20;

/// A function that replaces a store with an earlier copy.
type Restore = fn(&Path, copy: &Path) -> Result<()>;

const RESTORES: [(&str, Restore); 4] = [
    ("the directory, created again", |store, copy| {
        fs::remove_dir_all(store)?;
        copy_into(store, copy, &["chat.db", "chat.mark", "chat.lock"])
    }),
    ("the database alone, in a directory created again", |store, copy| {
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
async fn a_resume_after_a_restored_backup_reports_a_gap_and_a_new_epoch() -> Result<()> {
    for ((what, restore), binary) in RESTORES.into_iter().zip(Binary::one_per_adapter()) {
        let home = TempDir::new()?;
        let (store, copy) = (home.path().join("store"), home.path().join("copy"));
        let mut daemon = Daemon::start_in(&store, binary, &[])?;
        let (relay, server) = relay().await?;
        server.send_replace(Some(daemon.address()));
        let mut ann = ResumingClient::join(relay).await?;
        ann.send_messages(0, BACKED_UP).await?;
        server.send_replace(None);
        daemon.stop()?;
        copy_into(&copy, &store, &["chat.db", "chat.mark", "chat.lock"])?;

        daemon = Daemon::start_in(&store, binary, &[])?;
        server.send_replace(Some(daemon.address()));
        ann.send_messages(BACKED_UP, LOST).await?;
        let expected = Resume { epoch: ann.epoch.clone(), recovered: true };
        ensure!(ann.resumes == [expected], "{what}: {:?}", ann.resumes);
        server.send_replace(None);
        daemon.stop()?;
        restore(&store, &copy)?;

        daemon = Daemon::start_in(&store, binary, &[])?;
        check_resume(&daemon, &ann.epoch).await.context(what)?;
        server.send_replace(Some(daemon.address()));
        ann.read_new_epoch().await.context(what)?;
        ann.send_messages(BACKED_UP, LOST).await.context(what)?;
        ann.client.close().await?;
        let log = daemon.stop()?;
        ensure!(opened(&log) == "new epoch", "{what}");
        let dir = log.iter().find_map(|line| line["dir"].as_str()).context("no line with the directory")?;
        ensure!(Path::new(dir) == store, "{what}: {dir}");
    }
    Ok(())
}

/// Checks the resume of clients that have seen more messages than there are, or fewer.
async fn check_resume(daemon: &Daemon, before: &str) -> Result<()> {
    for seen in [BACKED_UP + LOST, BACKED_UP, 5] {
        let mut client = Client::connect(daemon.address(), "bob").await?;
        let joined = client.join(Some((before, seen))).await?;
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

/// A client that reconnects by itself.
struct ResumingClient {
    client: chat_client::Client,
    events: Events,
    epoch: Arc<str>,
    /// The resumes that were not part of [`read_new_epoch`](Self::read_new_epoch).
    resumes: Vec<Resume>,
}

/// A resume of a room.
#[derive(Debug, PartialEq)]
struct Resume {
    epoch: Arc<str>,
    recovered: bool,
}

impl ResumingClient {
    async fn join(address: SocketAddr) -> Result<Self> {
        let eager = Reconnect::default().first(Duration::from_millis(20)).max(Duration::from_millis(100));
        let builder = chat_client::Client::builder(&format!("ws://{address}/ws")).name("ann");
        let (client, events) = builder.reconnect(eager).connect().await?;
        let joined = client.join(&lobby()?, JoinFrom::Now).await?;
        Ok(Self { client, events, epoch: joined.epoch, resumes: Vec::new() })
    }

    /// Sends this number of messages after a position, and receives each of them.
    async fn send_messages(&mut self, after: u64, count: u64) -> Result<()> {
        for seq in after + 1..=after + count {
            let sent = within(self.client.send(&lobby()?, &Text::new(seq.to_string()))).await??;
            ensure!(sent.seq == seq && !sent.duplicate, "{sent:?} instead of {seq}");
            self.receive(seq).await?;
        }
        Ok(())
    }

    /// Continues in another epoch, with the newest messages.
    async fn read_new_epoch(&mut self) -> Result<()> {
        let (epoch_before, resumes_before) = (self.epoch.clone(), self.resumes.len());
        loop {
            match within(self.events.next()).await?.context("the client has ended")? {
                ClientEvent::Resumed(Joined { epoch, recovered, .. }) => {
                    ensure!(!recovered && epoch != epoch_before, "{epoch} {recovered}");
                    self.epoch = epoch;
                }
                ClientEvent::Gap { from, to, epoch, .. } => {
                    ensure!(
                        (from, to, &epoch) == (1, BACKED_UP - NEWEST, &self.epoch),
                        "{from} {to} {epoch}"
                    );
                    break;
                }
                ClientEvent::Disconnected { .. }
                | ClientEvent::ReconnectFailed { .. }
                | ClientEvent::Reconnected
                | ClientEvent::Presence { .. } => {}
                other => bail!("{other:?} instead of a resume"),
            }
        }
        for seq in BACKED_UP - NEWEST + 1..=BACKED_UP {
            self.receive(seq).await?;
        }
        ensure!(self.resumes.len() == resumes_before, "resumed again");
        Ok(())
    }

    /// Receives the next message, which must be this one.
    async fn receive(&mut self, seq: u64) -> Result<()> {
        loop {
            match within(self.events.next()).await?.context("the client has ended")? {
                ClientEvent::Message(message) => {
                    ensure!(
                        message.seq == seq && message.epoch == self.epoch,
                        "{message:?} instead of {seq}"
                    );
                    ensure!(message.text() == Some(seq.to_string()), "{message:?}");
                    return Ok(());
                }
                ClientEvent::Resumed(Joined { epoch, recovered, .. }) => {
                    self.resumes.push(Resume { epoch, recovered });
                }
                ClientEvent::Disconnected { .. }
                | ClientEvent::ReconnectFailed { .. }
                | ClientEvent::Reconnected
                | ClientEvent::Presence { .. } => {}
                other => bail!("{other:?} instead of {seq}"),
            }
        }
    }
}

fn lobby() -> Result<RoomName> {
    Ok("lobby".parse()?)
}

/// Starts a relay whose address stays the same while servers restart. Returns the address, and the sender for the
/// address of the current server. A change cuts off all clients, so that they do not receive the delay of a draining
/// server.
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
                // Both connections end, whatever the reason.
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
