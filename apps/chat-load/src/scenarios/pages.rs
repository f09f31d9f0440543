//! Deliveries while others read the room's history.

use std::collections::HashMap;
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
use crate::load::Load;
use crate::options::Pages;
use crate::phases::{Paged, Phase, Phases};
use crate::talk::{Reader, Talk, Tempo, check_size};
use crate::walk::Walk;

/// Messages in a page: as many as a server gives.
const PAGE: usize = 200;

/// The reference of what a pager asks.
const ASKED: &str = "pages";

pub(super) async fn pages(load: &Arc<Load>, options: &Pages) -> Result<Outcome> {
    check_size(load)?;
    let mut talk = Talk::with_history(load, 1, Tempo::EVEN, options.history.into())?;
    talk.fill().await?;
    let senders = options.senders as usize;
    talk.populate(load.common.connections() + senders, senders).await?;
    let (turn, turns) = watch::channel(false);
    let read = Arc::new(Mutex::new(Read::default()));
    let room = talk.room(0).name.clone();
    for (n, (socket, seq)) in
        load.many(options.pagers as usize, |n| load.member(n, &room)).await?.into_iter().enumerate()
    {
        let pager = Pager {
            load: Arc::clone(load),
            number: n,
            reader: talk.add(n, seq, false),
            socket,
            walk: None,
            asked: None,
            read: Arc::clone(&read),
        };
        tokio::spawn(pager.run(turns.clone()));
    }
    let start = load.begin()?;
    let phases = load.phases.get_or_init(|| Phases::new(start, load.common.duration, options.turns));
    let (ran, spent) = tokio::join!(talk.run_from(start), take_turns(load, phases, &turn));
    ran?;
    let spent = spent?;
    let mut outcome = finish(&talk, talk.settle().await, Outcome::default());
    let Read { pages, walks, longest } = *read.lock();
    if pages == 0 && !load.is_stopped() {
        outcome.failures.push("no page was read".to_owned());
    }
    outcome.paged = Some(Paged::new(pages, walks, longest, phases.sum(spent)));
    Ok(outcome)
}

/// Says whose turn it is, and what each took.
async fn take_turns(load: &Load, phases: &Phases, turn: &watch::Sender<bool>) -> Result<[Phase; 2]> {
    let mut spent = [Phase::default(); 2];
    for (with, end) in phases.parts() {
        turn.send_replace(with);
        let from = load.look()?;
        while clock::now() < end && !load.is_stopped() {
            sleep(Duration::from_micros(end.saturating_sub(clock::now()).min(50_000))).await;
        }
        spent[usize::from(with)].add(&from, &load.look()?);
    }
    turn.send_replace(false);
    Ok(spent)
}

/// What all pagers have read.
#[derive(Debug, Default)]
struct Read {
    pages: u64,
    /// Readings that came to the room's first message.
    walks: u64,
    /// Messages in the longest of them.
    longest: u64,
}

/// A member who reads a room's history backwards, from end to end, again and again, while it is its turn.
struct Pager {
    load: Arc<Load>,
    number: usize,
    /// What comes beside the pages is checked as everybody's.
    reader: Arc<Reader>,
    socket: Socket,
    walk: Option<Walk>,
    /// When it asked for what has not come yet.
    asked: Option<u64>,
    read: Arc<Mutex<Read>>,
}

impl Pager {
    async fn run(mut self, mut turn: watch::Receiver<bool>) {
        loop {
            if self.asked.is_none() && *turn.borrow_and_update() {
                let command = self.command();
                self.asked = Some(clock::now());
                if let Err(lost) = self.socket.send(command).await {
                    return self.end(&lost);
                }
            }
            let received = tokio::select! {
                Ok(()) = turn.changed() => continue,
                received = self.socket.receive() => received,
            };
            match received {
                Ok(text) => self.take(&text),
                Err(lost) => return self.end(&lost),
            }
        }
    }

    /// Asks for the next page or, before the first and after the last, how far the room reaches.
    fn command(&self) -> String {
        let room = self.reader.room().name.clone();
        let command = match self.walk.as_ref().and_then(Walk::before) {
            Some(seq) => Command::History { room, range: Range::Before { seq, limit: PAGE } },
            None => Command::Join { room, from: JoinFrom::Now },
        };
        command.encode(Some(ASKED))
    }

    fn take(&mut self, text: &str) {
        let Ok(event) = RawEvent::parse(text) else {
            self.load.count("a frame that is no event".to_owned());
            return;
        };
        if event.reference != ASKED {
            return self.reader.note(&event, &mut HashMap::new());
        }
        let asked = self.asked.take();
        let taken = match &*event.kind {
            "joined" => self.turn_round(&event),
            "history" => {
                self.load.round_trip.record(self.number, asked.unwrap_or_default());
                self.page(&event)
            }
            _ => return self.reader.note(&event, &mut HashMap::new()),
        };
        if let Err(problem) = taken {
            self.load.count(format!("{problem:#}"));
            self.walk = None;
        }
    }

    /// Ends one reading and begins the next.
    fn turn_round(&mut self, event: &RawEvent<'_>) -> Result<()> {
        let (first, head) =
            event.first.zip(event.seq).context("a room that does not say how far it reaches")?;
        let walk = self.walk.replace(Walk::new(first, head));
        if let Some(walk) = walk {
            let messages = walk.end(first).map_err(anyhow::Error::msg)?;
            let mut read = self.read.lock();
            read.walks += 1;
            read.longest = read.longest.max(messages);
        }
        Ok(())
    }

    fn page(&mut self, event: &RawEvent<'_>) -> Result<()> {
        let messages = event.messages.context("a page without messages")?;
        let messages: Vec<RawEvent<'_>> =
            serde_json::from_str(messages.get()).context("a page of no messages")?;
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
        anyhow::ensure!(seqs.len() <= PAGE, "a page of more than was asked for");
        let walk = self.walk.as_mut().context("a page that nobody asked for")?;
        walk.page(&seqs, event.more).map_err(anyhow::Error::msg)?;
        self.read.lock().pages += 1;
        Ok(())
    }

    fn end(&self, lost: &chat_client::Lost) {
        self.load.lost(lost);
        self.reader.end();
    }
}
