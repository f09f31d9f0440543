use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use chat_client::socket::{Socket, Target};
use chat_client::{Command, ErrorCode, JoinFrom, Lost, RawEvent, RoomName};
use futures_util::{StreamExt, TryStreamExt, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;
use tokio::time::{sleep, timeout};

use crate::clock;
use crate::measure::{Process, Recorder, Usage};
use crate::options::Common;
use crate::phases::Phases;

/// Connections made at once.
const CONNECTING: usize = 64;

/// How long one may take.
const CONNECT: Duration = Duration::from_secs(30);

/// What the parts of one run share.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) common: Common,
    /// Told apart from other runs on the same server.
    pub(crate) run: String,
    pub(crate) acknowledge: Recorder,
    pub(crate) delivery: Recorder,
    pub(crate) connect: Recorder,
    pub(crate) round_trip: Recorder,
    pub(crate) sent: AtomicU64,
    pub(crate) acknowledged: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) reconnects: AtomicU64,
    /// How connections ended, and what the server refused.
    pub(crate) endings: Mutex<BTreeMap<String, u64>>,
    pub(crate) usages: Mutex<Usages>,
    /// Of a run whose parts are told apart.
    pub(crate) phases: OnceLock<Phases>,
    stopped: AtomicBool,
    bar: ProgressBar,
}

/// What the processes used, at the turns of a run.
#[derive(Debug, Default)]
pub(crate) struct Usages {
    pub(crate) before: Option<Usage>,
    pub(crate) connected: Option<Usage>,
    pub(crate) began: Option<Moment>,
    pub(crate) ended: Option<Moment>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) at: u64,
    pub(crate) server: Option<Usage>,
    pub(crate) own: Usage,
    pub(crate) delivered: u64,
}

impl Load {
    pub(crate) fn new(common: &Common) -> Result<Arc<Self>> {
        let bar = ProgressBar::with_draw_target(
            Some(common.duration.as_millis().try_into()?),
            ProgressDrawTarget::stderr_with_hz(5),
        );
        bar.set_style(ProgressStyle::with_template("{elapsed:>4} [{bar:30}] {msg}")?);
        let load = Self {
            common: common.clone(),
            run: format!("load-{:08x}", getrandom::u32()?),
            acknowledge: Recorder::new(),
            delivery: Recorder::new(),
            connect: Recorder::new(),
            round_trip: Recorder::new(),
            sent: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            reconnects: AtomicU64::new(0),
            endings: Mutex::default(),
            usages: Mutex::default(),
            phases: OnceLock::new(),
            stopped: AtomicBool::new(false),
            bar,
        };
        load.usages.lock().before = load.server()?;
        Ok(Arc::new(load))
    }

    /// The load is to end now.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// The number of the next message, which counts as sent.
    pub(crate) fn next(&self) -> u64 {
        self.sent.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn server(&self) -> Result<Option<Usage>> {
        self.common
            .pid
            .map(|pid| Process::of(pid).usage().with_context(|| format!("--pid {pid}")))
            .transpose()
    }

    /// What was used and delivered up to now.
    pub(crate) fn look(&self) -> Result<Moment> {
        // A server that has crashed is told of by its connections.
        self.moment(self.server().unwrap_or_default())
    }

    fn moment(&self, server: Option<Usage>) -> Result<Moment> {
        let delivered = self.delivered.load(Ordering::Relaxed);
        Ok(Moment { at: clock::now(), server, own: Process::own().usage()?, delivered })
    }

    /// All connections are there and the load begins: when that is.
    pub(crate) fn begin(&self) -> Result<u64> {
        let moment = self.moment(self.server()?)?;
        let mut usages = self.usages.lock();
        usages.connected = moment.server;
        usages.began = Some(moment);
        drop(usages);
        self.bar.reset_elapsed();
        Ok(moment.at)
    }

    /// The load has ended.
    pub(crate) fn end(&self) -> Result<()> {
        self.usages.lock().ended = Some(self.look()?);
        Ok(())
    }

    /// Says how far it is.
    pub(crate) fn show(&self, phase: &str) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let elapsed = self.usages.lock().began.map_or(0, |began| (clock::now() - began.at) / 1_000);
        self.bar.set_position(elapsed);
        self.bar.set_message(format!(
            "{phase}: {} sent, {} acknowledged, {} delivered",
            count(&self.sent),
            count(&self.acknowledged),
            count(&self.delivered)
        ));
    }

    pub(crate) fn hide(&self) {
        self.bar.finish_and_clear();
    }

    /// Waits until `done`, or the load is stopped, or `limit` is over.
    pub(crate) async fn wait(&self, phase: &str, limit: Duration, mut done: impl FnMut() -> bool) {
        let until = clock::now() + u64::try_from(limit.as_micros()).unwrap_or(u64::MAX / 2);
        while !done() && !self.is_stopped() && clock::now() < until {
            self.show(phase);
            sleep(Duration::from_millis(50).min(limit)).await;
        }
    }

    /// A room of this run.
    pub(crate) fn room(&self, n: usize) -> Result<RoomName> {
        format!("{}-{n}", self.run).parse().map_err(|code| anyhow!("{code}"))
    }

    /// Where connection `n` goes. They are all one user: the presence of thousands would be another load.
    pub(crate) fn target(&self, n: usize) -> Target {
        Target {
            name: Some(self.run.clone()),
            local_address: self.common.source(n),
            ..Target::new(self.common.url.clone())
        }
    }

    /// A connection that has been welcomed.
    pub(crate) async fn connect(&self, n: usize) -> Result<Socket> {
        let connected = async {
            let mut socket = Socket::connect(&self.target(n)).await?;
            socket.welcome().await?;
            anyhow::Ok(socket)
        };
        timeout(CONNECT, connected).await.context("no welcome in time")?.context("connecting (see ulimit -n)")
    }

    /// A connection that has joined a room, and the room's newest message.
    pub(crate) async fn member(&self, n: usize, room: &RoomName) -> Result<(Socket, u64)> {
        let mut socket = self.connect(n).await?;
        let joined = async {
            let join = Command::Join { room: room.clone(), from: JoinFrom::Now };
            socket.send(join.encode(Some("join"))).await?;
            loop {
                let text = socket.receive().await?;
                let event = RawEvent::parse(&text).context("no event")?;
                match (&*event.kind, &*event.reference) {
                    ("joined", "join") => return anyhow::Ok(event.seq.unwrap_or(0)),
                    ("error", _) => anyhow::bail!("joining: {}", event.message),
                    _ => {}
                }
            }
        };
        let seq = timeout(CONNECT, joined).await.context("not joined in time")??;
        Ok((socket, seq))
    }

    /// Makes `count` connections, many at once.
    pub(crate) async fn many<T, F>(&self, count: usize, make: impl Fn(usize) -> F) -> Result<Vec<T>>
    where
        F: Future<Output = Result<T>>,
    {
        let made = AtomicU64::new(0);
        let one = |n: usize| {
            let making = make(n);
            let made = &made;
            async move {
                anyhow::ensure!(!self.is_stopped(), "stopped while connecting");
                let one = making.await?;
                let made = made.fetch_add(1, Ordering::Relaxed) + 1;
                if made.is_multiple_of(64) {
                    self.show(&format!("{made} of {count} connected"));
                }
                anyhow::Ok(one)
            }
        };
        stream::iter((0..count).map(one)).buffer_unordered(CONNECTING).try_collect().await
    }

    /// A message came that was due then. `shard` spreads the callers.
    pub(crate) fn came(&self, shard: usize, due: u64) {
        self.delivery.record(shard, due);
        if let Some(recorder) = self.phases.get().and_then(|phases| phases.recorder(due)) {
            recorder.record(shard, due);
        }
    }

    /// A connection ended that nobody ended.
    pub(crate) fn lost(&self, lost: &Lost) {
        let how = match lost {
            Lost::Violation(violation) => format!("{lost}: {violation}"),
            other => other.to_string(),
        };
        self.count(how);
    }

    /// The server refused a command.
    pub(crate) fn refused(&self, code: &ErrorCode) {
        self.count(format!("refused: {}", code.as_str()));
    }

    pub(crate) fn count(&self, what: String) {
        *self.endings.lock().entry(what).or_default() += 1;
    }
}
