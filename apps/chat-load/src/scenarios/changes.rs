//! The scenario of changes: what an edit, a reaction, a deletion and a page with reactions cost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, ensure};
use chat_client::{Client, ClientEvent, Closed, Events, JoinFrom, Range, ReceivedMessage, RoomName, Text};
use futures_util::future::try_join_all;
use parking_lot::Mutex;

use super::Outcome;
use crate::changes::{Kind, Spent, costs};
use crate::check::Stream;
use crate::load::{Load, Measured};
use crate::options::Changes;
use crate::report::FaultyMember;

/// The messages whose state a member keeps. One member keeps all.
const KEPT: usize = 200;

/// The number of messages in a page whose cost is measured.
const PAGE: usize = 50;

/// A reaction that each writer adds.
const REACTION: &str = "👍";

pub(super) async fn changes(load: &Arc<Load>, options: &Changes) -> Result<Outcome> {
    let room = load.room(0)?;
    let senders = options.senders as usize;
    let connect = |n: usize| {
        let (load, room) = (Arc::clone(load), room.clone());
        async move {
            // Each writer is a user of its own, so that each reacts for itself.
            let builder = load.client().name(format!("{}-{}", load.run, n.min(senders)));
            let (client, events) = builder.connect().await?;
            let joined = client.join(&room, JoinFrom::Now).await?;
            anyhow::Ok((client, events, joined.seq))
        }
    };
    let mut members = Vec::new();
    let mut clients = Vec::new();
    let connected =
        load.connect_all(senders + load.common.connections(), |n| async move { Ok((n, connect(n).await?)) });
    let mut connected = connected.await?;
    connected.sort_by_key(|(n, _)| *n);
    for (n, (client, events, seq)) in connected {
        let kept = if n == 0 { usize::MAX } else { KEPT };
        let member = Arc::new(Member {
            load: Arc::clone(load),
            room: room.clone(),
            followed: Mutex::new(Followed::new(seq, kept)),
        });
        tokio::spawn(Arc::clone(&member).follow(events));
        members.push(member);
        clients.push(client);
    }
    let text = Text::new("x".repeat(load.common.size as usize));
    let pages = [load.room(1)?, load.room(2)?];
    let writers: Vec<_> = clients[..senders].to_vec();
    let mut run = Run { load: Arc::clone(load), room, pages, writers, members, text, head: 0 };
    run.fill().await?;
    load.begin(Measured::Deliveries)?;
    let mut spent = [Spent::default(); Kind::ALL.len()];
    for _ in 0..options.turns {
        run.turn(options, &mut spent).await?;
    }
    load.end()?;
    let mut outcome = run.compare(&clients[clients.len() - 1]).await?;
    outcome.costs = costs(&spent);
    Ok(outcome)
}

struct Run {
    load: Arc<Load>,
    room: RoomName,
    /// The rooms whose pages are read: without and with reactions.
    pages: [RoomName; 2],
    writers: Vec<Client>,
    members: Vec<Arc<Member>>,
    text: Text,
    /// The newest entry of the room.
    head: u64,
}

impl Run {
    /// Fills the rooms whose pages are read.
    async fn fill(&self) -> Result<()> {
        for (n, room) in self.pages.iter().enumerate() {
            for writer in &self.writers {
                writer.join(room, JoinFrom::Now).await?;
            }
            for _ in 0..PAGE {
                let seq = self.writers[0].send(room, &self.text).await?.seq;
                // Two of the reactions are the same.
                let writers = self.writers.iter().cycle().take(if n == 1 { 3 } else { 0 });
                for (writer, reaction) in writers.zip([REACTION, REACTION, "+1"]) {
                    writer.react(room, seq, reaction, true).await?;
                }
            }
        }
        Ok(())
    }

    /// Runs one part of each kind, and measures it.
    async fn turn(&mut self, options: &Changes, spent: &mut [Spent; Kind::ALL.len()]) -> Result<()> {
        let each = u64::from(options.entries) / self.writers.len() as u64;
        let mut sent: Vec<Vec<u64>> = vec![Vec::new(); self.writers.len()];
        for kind in Kind::ALL {
            if self.load.is_stopped() {
                return Ok(());
            }
            let from = self.load.snapshot()?;
            let count = match kind {
                Kind::Page => self.read(&self.pages[0], options.pages).await?,
                Kind::PageWithReactions => self.read(&self.pages[1], options.pages).await?,
                _ => self.write(kind, each.max(1), &mut sent).await?,
            };
            self.wait_for_deliveries().await;
            spent[kind as usize].add(count, &from, &self.load.snapshot()?);
        }
        Ok(())
    }

    /// Carries out commands of a kind. Each writer has one in flight.
    async fn write(&mut self, kind: Kind, each: u64, sent: &mut [Vec<u64>]) -> Result<u64> {
        let one = sent.first().and_then(|sent| sent.first()).copied();
        let done = try_join_all(self.writers.iter().zip(sent).map(|(writer, sent)| {
            let (load, room, text) = (&self.load, &self.room, &self.text);
            async move {
                let (mut head, mut count) = (0, 0);
                for n in 0..each {
                    if load.is_stopped() {
                        break;
                    }
                    let target = sent.get(usize::try_from(n)?).copied();
                    load.next_messages(1);
                    let seq = match kind {
                        Kind::Send => {
                            let seq = writer.send(room, text).await?.seq;
                            sent.push(seq);
                            Some(seq)
                        }
                        Kind::Edit => {
                            let target = target.context("a message")?;
                            writer.edit(room, target, text, Some(target)).await?.seq
                        }
                        Kind::Reaction => {
                            writer.react(room, target.context("a message")?, REACTION, true).await?.seq
                        }
                        Kind::ReactionToOne => {
                            writer.react(room, one.context("a message")?, "+1", n % 2 == 0).await?.seq
                        }
                        // Some messages stay, so that the end has messages of all kinds.
                        _ if n % 2 == 0 => {
                            let target = target.context("a message")?;
                            writer.delete(room, target, None).await?.seq
                        }
                        _ => {
                            load.acknowledged.fetch_add(1, Ordering::Relaxed);
                            continue;
                        }
                    };
                    load.acknowledged.fetch_add(1, Ordering::Relaxed);
                    head = head.max(seq.context("a change without an entry")?);
                    count += 1;
                }
                anyhow::Ok((head, count))
            }
        }))
        .await?;
        self.head = done.iter().map(|(head, _)| *head).chain([self.head]).max().unwrap_or_default();
        Ok(done.iter().map(|(_, count)| count).sum())
    }

    async fn read(&self, room: &RoomName, pages: u32) -> Result<u64> {
        for _ in 0..pages {
            let page = self.writers[0].history(room, Range::newest(PAGE)).await?;
            ensure!(page.messages.len() == PAGE, "a page of {} messages", page.messages.len());
        }
        Ok(pages.into())
    }

    async fn wait_for_deliveries(&self) {
        let mut done = 0;
        let all_arrived = || {
            while done < self.members.len() && self.members[done].is_done(self.head) {
                done += 1;
            }
            done == self.members.len()
        };
        self.load.wait("deliveries", self.load.common.patience, all_arrived).await;
    }

    /// Compares the messages of each member with those that a new reader gets.
    async fn compare(&self, reader: &Client) -> Result<Outcome> {
        let (mut fresh, mut after) = (BTreeMap::new(), 0);
        loop {
            let page = reader.history(&self.room, Range::after(after, KEPT)).await?;
            after = page.messages.last().map_or(after, |last| last.seq);
            fresh.extend(page.messages.into_iter().map(|message| (message.seq, message)));
            if !page.more {
                break;
            }
        }
        let mut outcome = Outcome { closed: true, ..Outcome::default() };
        for (n, member) in self.members.iter().enumerate() {
            let followed = member.followed.lock();
            let mut deliveries = followed.stream.tally(self.head);
            let wrong = |(seq, held): (&u64, &ReceivedMessage)| {
                fresh.get(seq).is_none_or(|fresh| state(fresh) != state(held))
            };
            // A room in memory removes old messages without an event.
            let first = fresh.first_key_value().map_or(0, |(seq, _)| *seq);
            let kept = followed.messages.range(first..);
            deliveries.altered += kept.filter(|held| wrong(*held)).count() as u64;
            let missing = fresh.keys().rev().take(followed.kept);
            deliveries.altered += missing.filter(|seq| !followed.messages.contains_key(seq)).count() as u64;
            if !deliveries.is_correct() {
                outcome.faulty_members.0 += 1;
                let room = self.room.as_str().to_owned();
                outcome.faulty_members.1.push(FaultyMember { room, member: n, deliveries });
            }
            outcome.tally.add(&deliveries);
        }
        let compared =
            format!("{} messages of a new reader equal those that members have followed", fresh.len());
        if outcome.tally.is_correct() {
            outcome.notes.push(compared);
        }
        Ok(outcome)
    }
}

/// A member that follows the room.
struct Member {
    load: Arc<Load>,
    room: RoomName,
    followed: Mutex<Followed>,
}

struct Followed {
    stream: Stream,
    /// The newest messages in their present state.
    messages: BTreeMap<u64, ReceivedMessage>,
    kept: usize,
    has_ended: bool,
}

impl Followed {
    fn new(seq: u64, kept: usize) -> Self {
        Self { stream: Stream::after(seq), messages: BTreeMap::new(), kept, has_ended: false }
    }
}

impl Member {
    fn is_done(&self, head: u64) -> bool {
        let followed = self.followed.lock();
        followed.has_ended || followed.stream.reached(head)
    }

    async fn follow(self: Arc<Self>, mut events: Events) {
        while let Some(event) = events.next().await {
            let mut followed = self.followed.lock();
            match event {
                ClientEvent::Message(message) if message.room == self.room => {
                    self.load.delivered.fetch_add(1, Ordering::Relaxed);
                    followed.stream.receive(message.seq);
                    followed.messages.insert(message.seq, message);
                    if followed.messages.len() > followed.kept {
                        followed.messages.pop_first();
                    }
                }
                ClientEvent::Changed(changed) if changed.room == self.room => {
                    self.load.delivered.fetch_add(1, Ordering::Relaxed);
                    followed.stream.receive(changed.seq);
                    if let Some(held) = followed.messages.get_mut(&changed.target) {
                        held.apply(&changed);
                    }
                }
                ClientEvent::Gap { room, from, to, .. } if room == self.room => followed.stream.gap(from, to),
                ClientEvent::Disconnected { lost, .. } => self.load.record_lost(&lost),
                ClientEvent::Closed(reason) => {
                    followed.has_ended = true;
                    if reason != Closed::Locally {
                        self.load.record_ending(format!("ended: {:#}", anyhow::Error::from(reason)));
                    }
                }
                _ => {}
            }
        }
    }
}

/// Returns the state of a message that all readers must agree on.
fn state(message: &ReceivedMessage) -> impl PartialEq + use<> {
    let (folded, links) = (message.folded.clone(), message.links.clone());
    (message.user.clone(), message.at, message.key.clone(), message.text(), folded, links)
}
