//! The scenario of deliveries during history reads.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use chat_client::socket::Socket;
use chat_client::{Command, JoinFrom, Range, RawEvent};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Outcome, finish};
use crate::clock;
use crate::history_reader::HistoryReader;
use crate::load::{Load, Measured};
use crate::options::Pages;
use crate::phases::{PagingReport, Part, Phase, Phases};
use crate::workload::{Reader, Shape, Workload, check_size};

/// The number of messages in a page, which is the limit of the server.
const PAGE: usize = 200;

/// The `ref` of the commands of a pager.
const REFERENCE: &str = "pages";

pub(super) async fn pages(load: &Arc<Load>, options: &Pages) -> Result<Outcome> {
    check_size(load)?;
    let senders = options.senders as usize;
    let shape = Shape { history: options.history.into(), ..Shape::one_room(senders) };
    let mut workload = Workload::new(load, shape)?;
    workload.fill().await?;
    workload.connect_members(load.common.connections() + senders).await?;
    let (turn, turns) = watch::channel(false);
    let read = Arc::new(Mutex::new(ReadTotals::default()));
    let room = workload.room(0).name.clone();
    for (n, (socket, seq)) in
        load.connect_all(options.pagers as usize, |n| load.member(n, &room)).await?.into_iter().enumerate()
    {
        let pager = Pager {
            load: Arc::clone(load),
            number: n,
            reader: workload.add_reader(n, seq, false),
            socket,
            reading: None,
            asked_at: None,
            read: Arc::clone(&read),
        };
        tokio::spawn(pager.run(turns.clone()));
    }
    let start = load.begin(Measured::Deliveries)?;
    let phases = load.phases.get_or_init(|| Phases::new(start, load.common.duration, options.turns));
    let (ran, spent) = tokio::join!(workload.run_from(start), take_turns(load, phases, &turn));
    ran?;
    let spent = spent?;
    let mut outcome = finish(&workload, workload.wait_for_deliveries().await, Outcome::default());
    let ReadTotals { pages, walks, longest } = *read.lock();
    if pages == 0 && !load.is_stopped() {
        outcome.failures.push("no page was read".to_owned());
    }
    outcome.paged = Some(PagingReport::new(pages, walks, longest, phases.sum(spent)));
    Ok(outcome)
}

/// Switches the pagers on and off, and measures each part.
async fn take_turns(load: &Load, phases: &Phases, turn: &watch::Sender<bool>) -> Result<[Phase; 2]> {
    let mut spent = [Phase::default(); 2];
    for Part { with_reads, end } in phases.parts() {
        turn.send_replace(with_reads);
        let from = load.snapshot()?;
        while clock::now() < end && !load.is_stopped() {
            sleep(Duration::from_micros(end.saturating_sub(clock::now()).min(50_000))).await;
        }
        spent[usize::from(with_reads)].add(&from, &load.snapshot()?);
    }
    turn.send_replace(false);
    Ok(spent)
}

/// The totals of all pagers.
#[derive(Debug, Default)]
struct ReadTotals {
    pages: u64,
    /// The number of readings that reached the first message of the room.
    walks: u64,
    /// The number of messages in the longest reading.
    longest: u64,
}

/// A member that reads the whole history of the room backwards, repeatedly, while it is switched on.
struct Pager {
    load: Arc<Load>,
    number: usize,
    /// The checks of the messages that are delivered in the meantime.
    reader: Arc<Reader>,
    socket: Socket,
    reading: Option<HistoryReader>,
    /// The time of the pending command.
    asked_at: Option<u64>,
    read: Arc<Mutex<ReadTotals>>,
}

impl Pager {
    async fn run(mut self, mut turn: watch::Receiver<bool>) {
        loop {
            if self.asked_at.is_none() && *turn.borrow_and_update() {
                let command = self.command();
                self.asked_at = Some(clock::now());
                if let Err(lost) = self.socket.send(command).await {
                    return self.end(&lost);
                }
            }
            let received = tokio::select! {
                Ok(()) = turn.changed() => continue,
                received = self.socket.receive() => received,
            };
            match received {
                Ok(text) => self.handle(&text),
                Err(lost) => return self.end(&lost),
            }
        }
    }

    /// Returns the command for the next page. Between two readings it is a join, whose reply has the bounds of the
    /// room.
    fn command(&self) -> String {
        let room = self.reader.room().name.clone();
        let command = match self.reading.as_ref().and_then(HistoryReader::next_before) {
            Some(seq) => Command::History { room, range: Range::Before { seq, limit: PAGE } },
            None => Command::Join { room, from: JoinFrom::Now },
        };
        command.encode(Some(REFERENCE))
    }

    fn handle(&mut self, text: &str) {
        let Ok(event) = RawEvent::parse(text) else {
            self.load.record_ending("a frame that is not an event".to_owned());
            return;
        };
        if event.reference != REFERENCE {
            return self.reader.record(&event, None);
        }
        let asked = self.asked_at.take();
        let checked = match &*event.kind {
            "joined" => self.start_next_reading(&event),
            "history" => {
                self.load.round_trip.record(self.number, asked.unwrap_or_default());
                self.page(&event)
            }
            _ => return self.reader.record(&event, None),
        };
        if let Err(problem) = checked {
            self.load.record_ending(format!("{problem:#}"));
            self.reading = None;
        }
    }

    /// Ends a reading and starts the next one.
    fn start_next_reading(&mut self, event: &RawEvent<'_>) -> Result<()> {
        let (first, head) = event.first.zip(event.seq).context("a join without the bounds of the room")?;
        let reading = self.reading.replace(HistoryReader::new(first, head));
        if let Some(reading) = reading {
            let messages = reading.finish(first).map_err(anyhow::Error::msg)?;
            let mut read = self.read.lock();
            read.walks += 1;
            read.longest = read.longest.max(messages);
        }
        Ok(())
    }

    fn page(&mut self, event: &RawEvent<'_>) -> Result<()> {
        let messages = event.messages.context("a page without messages")?;
        let messages: Vec<RawEvent<'_>> =
            serde_json::from_str(messages.get()).context("a page with invalid messages")?;
        let mut seqs = Vec::with_capacity(PAGE);
        for message in &messages {
            let seq = message.seq.unwrap_or_default();
            let body = message.body.map_or("", |body| body.get());
            self.reader
                .room()
                .due(seq, &message.key, body)
                .context("a page with another message than was sent")?;
            seqs.push(seq);
        }
        anyhow::ensure!(seqs.len() <= PAGE, "a page that exceeds its limit");
        let reading = self.reading.as_mut().context("an unexpected page")?;
        reading.page(&seqs, event.more).map_err(anyhow::Error::msg)?;
        self.read.lock().pages += 1;
        Ok(())
    }

    fn end(&self, lost: &chat_client::Lost) {
        self.load.record_lost(lost);
        self.reader.end();
    }
}
