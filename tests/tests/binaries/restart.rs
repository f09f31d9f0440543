//! Restarts under load: no connection is refused, no message is lost, and none is there twice.

use std::collections::HashMap;
use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chat_client::{Client, ClientEvent, Events, Text};
use chat_proto::RoomName;
use chat_proto::command::JoinFrom;
use chat_tests::{Binary, Daemon, ReceivedMessages, check_levels, lifted, request_upgrade};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, block_in_place};
use tokio::time::{interval, timeout};

/// The number of clients in one room.
const ROOM: usize = 10;

/// Time of one message of all clients together.
const MESSAGE_INTERVAL: Duration = Duration::from_millis(2);

/// Clients that connect again and again during the restart.
const PROBES: usize = 5;

/// Time for each step, much more than it takes.
const PATIENCE: Duration = Duration::from_secs(90);

/// The way in which the socket outlives the process.
#[derive(Clone, Copy, Debug)]
enum Way {
    Handover,
    Systemd,
}

/// Returns the number of clients. A full run has 1,000: `CHAT_RESTART_CLIENTS=1000`.
fn clients() -> Result<usize> {
    Ok(env::var("CHAT_RESTART_CLIENTS").ok().map_or(Ok(50), |number| number.parse())?)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_server_takes_the_socket_over_from_actix() -> Result<()> {
    restart(Binary { name: "chatd-actix", upgrade: "hijack" }, Way::Handover).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_server_takes_the_socket_over_from_axum() -> Result<()> {
    restart(Binary { name: "chatd-axum", upgrade: "hijack" }, Way::Handover).await
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_keeps_the_socket_of_actix() -> Result<()> {
    restart(Binary { name: "chatd-actix", upgrade: "hijack" }, Way::Systemd).await
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_keeps_the_socket_of_axum() -> Result<()> {
    restart(Binary { name: "chatd-axum", upgrade: "framework" }, Way::Systemd).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_the_socket_leaves_it_to_the_previous_one() -> Result<()> {
    let (home, binary) = (TempDir::new()?, Binary::one_per_adapter().next().context("a binary")?);
    let (file, notes) = (home.path().join("handover"), home.path().join("notes"));
    let handover = ["--data", ":memory:", "--handover", file.to_str().context("a path")?];
    let exposed = TcpListener::bind("0.0.0.0:0")?;
    let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), exposed.local_addr()?.port());
    let arguments = [&handover[2..], &["--guests"]].concat();
    let old = Daemon::start_on(exposed.into(), &home.path().join("data"), binary, &arguments)?;
    // Everyone could reach the socket that it gets, and `--guests` is missing.
    let refused = binary.run(&handover)?;
    let error = String::from_utf8(refused.stderr)?;
    ensure!(refused.status.code() == Some(2), "{}: {error}", refused.status);
    ensure!(error.contains("admit guests with --guests"), "{error}");
    // A file that is no socket is not replaced.
    fs::write(&notes, "kept")?;
    let refused = binary.run(&["--data", ":memory:", "--handover", notes.to_str().context("a path")?])?;
    ensure!(refused.status.code() == Some(2) && fs::read_to_string(&notes)? == "kept", "{refused:?}");
    let (_stream, status) = request_upgrade(address, "").await?;
    ensure!(status == 101, "the previous server does not serve: {status}");
    let log = old.stop()?;
    ensure!(log.iter().all(|line| line["message"] != "listening socket handed over"), "{log:#?}");
    Ok(())
}

/// The servers before and after a restart.
struct Servers {
    home: TempDir,
    binary: Binary,
    /// The socket that systemd would keep.
    socket: Option<TcpListener>,
}

impl Servers {
    fn start(&self) -> Result<Daemon> {
        let (data, file) = (self.home.path().join("data"), self.home.path().join("handover"));
        let file = file.to_str().context("a path")?;
        match &self.socket {
            Some(socket) => Daemon::start_on(socket.try_clone()?.into(), &data, self.binary, &lifted()),
            None => {
                let arguments = [&lifted()[..], &["--handover", file]].concat();
                Daemon::start_in(Path::new(&data), self.binary, &arguments)
            }
        }
    }

    /// Replaces a server by the next one. Returns the next one and the log of the old one.
    fn replace(&self, old: Daemon) -> Result<(Daemon, Vec<serde_json::Value>)> {
        if self.socket.is_some() {
            let log = old.stop()?;
            return Ok((self.start()?, log));
        }
        let new = self.start()?;
        let (status, log) = old.wait()?;
        ensure!(status.success(), "{status}: {log:#?}");
        Ok((new, log))
    }
}

async fn restart(binary: Binary, way: Way) -> Result<()> {
    let socket = match way {
        Way::Handover => None,
        Way::Systemd => Some(TcpListener::bind("127.0.0.1:0")?),
    };
    let servers = Servers { home: TempDir::new()?, binary, socket };
    let old = block_in_place(|| servers.start())?;
    let (address, clients) = (old.address(), clients()?);

    let (progress, mut reports) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(false);
    let (end, ends) = watch::channel(HashMap::new());
    let mut tasks = JoinSet::new();
    for number in 0..clients {
        let (client, events) = Client::builder(&format!("ws://{address}/ws"))
            .name(format!("client-{number}"))
            .command_timeout(PATIENCE)
            .event_buffer(10_000)
            .connect()
            .await?;
        let room: RoomName = format!("room-{}", number / ROOM).parse()?;
        let participant = Participant { client, events, room, number, progress: progress.clone() };
        let pause = MESSAGE_INTERVAL * u32::try_from(clients)?;
        tasks.spawn(participant.run(pause, stopped.clone(), ends.clone()));
    }
    // Each one has sent a message.
    wait_for(&mut reports, &Progress::Sent, clients).await?;
    let mut probes = JoinSet::new();
    for _ in 0..PROBES {
        probes.spawn(probe(address, stopped.clone()));
    }

    let start = Instant::now();
    let (new, old_log) = block_in_place(|| servers.replace(old))?;
    let replaced = start.elapsed();
    ensure!(new.address() == address, "the address has changed to {}", new.address());
    wait_for(&mut reports, &Progress::Reconnected, clients).await?;
    let back = start.elapsed();
    stop.send_replace(true);

    let mut probed = (0, Duration::ZERO);
    while let Some(result) = probes.join_next().await {
        let (connections, longest) = result?.with_context(|| format!("{binary:?}, {way:?}: a probe"))?;
        probed = (probed.0 + connections, probed.1.max(longest));
    }
    let (mut last, mut sent) = (HashMap::new(), 0);
    for _ in 0..clients {
        let finished = timeout(PATIENCE, async {
            loop {
                if let Some(Progress::Finished(room, seq, messages)) = reports.recv().await {
                    return (room, seq, messages);
                }
            }
        });
        let (room, seq, messages) = finished.await?;
        sent += messages;
        let newest = last.entry(room).or_insert(0);
        *newest = seq.max(*newest);
    }
    end.send_replace(last.clone());
    while let Some(result) = timeout(PATIENCE, tasks.join_next()).await? {
        result??;
    }
    // A number that no message has would be a hole, and a message that is there twice one more.
    let stored: u64 = last.values().sum();
    ensure!(stored == sent, "{binary:?}, {way:?}: {sent} messages acknowledged, {stored} stored");
    #[expect(clippy::print_stdout, reason = "a full run is also a measurement")]
    let print = |text: String| println!("{text}");
    print(format!(
        "{binary:?}, {way:?}: {clients} clients, {sent} messages; new server after {replaced:?}, all clients back after \
         {back:?}; {} other connections, the slowest {:?}",
        probed.0, probed.1
    ));
    let new_log = block_in_place(|| new.stop())?;
    for log in [&old_log, &new_log] {
        check_levels(log)?;
        let refused: Vec<_> = log.iter().filter(|line| line["message"] == "upgrade refused").collect();
        ensure!(refused.is_empty(), "{binary:?}, {way:?}: {refused:#?}");
    }
    Ok(())
}

/// A report of a participant.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    /// The first message was acknowledged.
    Sent,
    /// The client has a connection to the next server.
    Reconnected,
    /// All messages were acknowledged: the room, the newest `seq`, and the number of messages.
    Finished(RoomName, u64, u64),
}

async fn wait_for(
    reports: &mut mpsc::UnboundedReceiver<Progress>,
    wanted: &Progress,
    clients: usize,
) -> Result<()> {
    let mut missing = clients;
    while missing > 0 {
        let report =
            timeout(PATIENCE, reports.recv()).await.with_context(|| format!("{missing} are missing"))?;
        missing -= usize::from(report.context("no participant is left")? == *wanted);
    }
    Ok(())
}

struct Participant {
    client: Client,
    events: Events,
    room: RoomName,
    number: usize,
    progress: mpsc::UnboundedSender<Progress>,
}

impl Participant {
    /// Sends until `stopped`, and receives until the room's last message, whose number `ends` has.
    async fn run(
        self,
        pause: Duration,
        stopped: watch::Receiver<bool>,
        mut ends: watch::Receiver<HashMap<RoomName, u64>>,
    ) -> Result<()> {
        let Self { client, mut events, room, number, progress } = self;
        client.join(&room, JoinFrom::Last(0)).await?;
        let sending = async {
            let (mut newest, mut sent) = (0, 0);
            let mut ticks = interval(pause);
            while !*stopped.borrow() {
                ticks.tick().await;
                let receipt = client.send(&room, &Text::new(format!("{number}: {sent}"))).await?;
                sent += 1;
                newest = receipt.seq.max(newest);
                if sent == 1 {
                    progress.send(Progress::Sent)?;
                }
            }
            progress.send(Progress::Finished(room.clone(), newest, sent))?;
            anyhow::Ok(())
        };
        let receiving = async {
            let mut received = ReceivedMessages::default();
            loop {
                if ends.borrow_and_update().get(&room).is_some_and(|end| received.has(*end)) {
                    return anyhow::Ok(());
                }
                let event = tokio::select! {
                    event = events.next() => event.context("the client has ended")?,
                    _ = ends.changed() => continue,
                };
                if matches!(event, ClientEvent::Reconnected) {
                    progress.send(Progress::Reconnected)?;
                }
                received.take(event).with_context(|| format!("client {number}"))?;
            }
        };
        tokio::try_join!(sending, receiving)?;
        Ok(client.close().await?)
    }
}

/// Connects again and again. Returns the number of connections and the longest time that one took.
async fn probe(address: SocketAddr, stopped: watch::Receiver<bool>) -> Result<(usize, Duration)> {
    let (mut connections, mut longest) = (0, Duration::ZERO);
    while !*stopped.borrow() {
        let start = Instant::now();
        let (_stream, status) = request_upgrade(address, "").await?;
        ensure!(status == 101, "status {status}");
        connections += 1;
        longest = longest.max(start.elapsed());
    }
    Ok((connections, longest))
}
