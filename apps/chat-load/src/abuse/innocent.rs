use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use chat_client::socket::{Received, Socket, Target};
use chat_client::{Command, JoinFrom, RawEvent, RoomName, Text};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::clock;

/// The number of members that are measured.
const MEMBERS: usize = 4;

/// The time between two messages of a member, in microseconds.
const PERIOD: u64 = 83_333;

/// The time limit for the members to join, and for the last replies.
const PATIENCE: Duration = Duration::from_secs(30);

/// The shortest time that counts, in microseconds.
pub(super) const FLOOR: u64 = 1_000;

/// The time from which on recovery looks at messages together, in microseconds.
const WINDOW: u64 = 250_000;

/// The members of a room that no attack knows.
#[derive(Debug)]
pub(super) struct Innocents {
    shared: Arc<Shared>,
    members: JoinSet<Result<()>>,
}

#[derive(Debug)]
struct Shared {
    room: RoomName,
    body: Box<RawValue>,
    /// The time at which the first message is due, in microseconds.
    start: u64,
    records: Mutex<Records>,
}

/// Everything that the members have seen.
#[derive(Debug, Default)]
struct Records {
    /// True if no further message is due.
    ended: bool,
    due: u64,
    /// Times from the due time of a message to its `sent`, by the due time.
    sent: Vec<(u64, u64)>,
    /// Times from the due time of a message to its delivery to a member, by the due time.
    delivered: Vec<(u64, u64)>,
    refused: BTreeMap<String, u64>,
    problems: Vec<String>,
}

/// Percentiles of times, in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Times {
    /// The number of messages.
    pub count: usize,
    /// The median.
    pub p50: u64,
    /// The 99th percentile.
    pub p99: u64,
}

/// The counts of all phases.
#[derive(Clone, Debug, Default, Serialize)]
pub struct InnocentCounts {
    /// Messages that were due.
    pub due: u64,
    /// Messages that were acknowledged.
    pub sent: usize,
    /// Deliveries to the members.
    pub delivered: usize,
    /// Error replies by their code.
    pub refused: BTreeMap<String, u64>,
}

impl Innocents {
    /// Connects the members. They begin to send at once.
    pub(super) async fn start(server: SocketAddr) -> Result<Self> {
        let room: RoomName = "innocent".parse().map_err(|code| anyhow::anyhow!("{code}"))?;
        let mut sockets = Vec::new();
        for n in 0..MEMBERS {
            let target =
                Target { name: Some(format!("member-{n}")), ..Target::new(format!("ws://{server}/ws")) };
            let joined = async {
                let mut socket = Socket::connect(&target).await?;
                socket.welcome().await?;
                let join = Command::Join { room: room.clone(), from: JoinFrom::Now };
                socket.send(join.encode(Some("join"))).await?;
                while RawEvent::parse(&socket.receive().await?)?.kind != "joined" {}
                anyhow::Ok(socket)
            };
            sockets.push(timeout(PATIENCE, joined).await.context("a member cannot join in time")??);
        }
        let body = to_raw_value(&Text::new("a message of a usual length, as people write them"))?;
        let shared = Arc::new(Shared { room, body, start: clock::now(), records: Mutex::default() });
        let mut members = JoinSet::new();
        for (n, socket) in sockets.into_iter().enumerate() {
            members.spawn(Arc::clone(&shared).member(n, socket));
        }
        Ok(Self { shared, members })
    }

    /// Returns the times to `sent` and to the deliveries of the messages that were due from `from` until `to`.
    pub(super) fn times(&self, from: u64, to: u64) -> (Times, Times) {
        let records = self.shared.records.lock();
        let within = |times: &[(u64, u64)]| {
            times.iter().filter(|(due, _)| (from..to).contains(due)).map(|(_, time)| *time).collect()
        };
        (Times::of(within(&records.sent)), Times::of(within(&records.delivered)))
    }

    /// Returns the time from `end` until half of the messages have again at most the time `limit` to `sent`, in
    /// microseconds, or `None` if that has not happened yet.
    pub(super) fn recovery(&self, end: u64, limit: u64) -> Option<u64> {
        recovery(&self.shared.records.lock().sent, end, limit, clock::now())
    }

    /// Ends the messages and waits for the last replies. Returns the counts and the problems.
    pub(super) async fn finish(mut self) -> (InnocentCounts, Vec<String>) {
        self.shared.records.lock().ended = true;
        let complete = || {
            let records = self.shared.records.lock();
            let refused: u64 = records.refused.values().sum();
            records.sent.len() as u64 + refused >= records.due
                && records.delivered.len() >= records.sent.len() * MEMBERS
        };
        let waiting = async {
            while !complete() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let _complete = timeout(PATIENCE, waiting).await.is_ok();
        let mut ends = Vec::new();
        while let Some(ended) = self.members.try_join_next() {
            ends.extend(ended.map_err(Into::into).and_then(|ended| ended).err());
        }
        let records = std::mem::take(&mut *self.shared.records.lock());
        let refused: u64 = records.refused.values().sum();
        let lost = records.due.saturating_sub(records.sent.len() as u64 + refused);
        let mut problems = records.problems;
        problems.extend(ends.iter().map(|end| format!("a member was disconnected: {end:#}")));
        if lost > 0 {
            problems.push(format!("{lost} messages of the members have no reply"));
        }
        let (sent, delivered) = (records.sent.len(), records.delivered.len());
        // A message that was answered with `unavailable` may be stored later.
        let unavailable =
            records.refused.get("unavailable").map_or(0, |count| usize::try_from(*count).unwrap_or(0));
        if !(sent * MEMBERS..=(sent + unavailable) * MEMBERS).contains(&delivered) {
            problems.push(format!(
                "{sent} messages of the members were delivered {delivered} times to {MEMBERS}"
            ));
        }
        (InnocentCounts { due: records.due, sent, delivered, refused: records.refused }, problems)
    }
}

impl Shared {
    /// Returns the time at which a message of a member is due. The members take turns.
    fn due(&self, member: usize, number: u64) -> u64 {
        self.start + number * PERIOD + member as u64 * PERIOD / MEMBERS as u64
    }

    /// Sends the messages of a member, and records the replies and the deliveries.
    async fn member(self: Arc<Self>, member: usize, mut socket: Socket) -> Result<()> {
        let mut outbox = VecDeque::new();
        let mut number = 0;
        let mut next_seq = None;
        loop {
            let wait = Duration::from_micros(self.due(member, number).saturating_sub(clock::now()));
            let is_ended = self.records.lock().ended;
            let received = tokio::select! {
                () = sleep(wait), if !is_ended => {
                    let mut records = self.records.lock();
                    if !records.ended {
                        records.due += 1;
                        outbox.push_back(self.command(member, number).into());
                        number += 1;
                    }
                    continue;
                }
                received = poll_fn(|cx| socket.poll_exchange(cx, &mut outbox, true)) => received?,
            };
            if let Received::Text(event) = received {
                self.record(member, &RawEvent::parse(&event)?, &mut next_seq);
            }
        }
    }

    fn command(&self, member: usize, number: u64) -> String {
        let key = Some(format!("{member}.{number}"));
        let command = Command::Send { room: self.room.clone(), key, body: self.body.clone(), links: None };
        command.encode(Some(&number.to_string()))
    }

    fn record(&self, member: usize, event: &RawEvent<'_>, next_seq: &mut Option<u64>) {
        let mut records = self.records.lock();
        let now = clock::now();
        match &*event.kind {
            "sent" => {
                let due = self.due(member, event.reference.parse().unwrap_or(0));
                records.sent.push((due, now.saturating_sub(due)));
            }
            "message" => {
                let key = event
                    .key
                    .split_once('.')
                    .and_then(|(member, number)| Some(self.due(member.parse().ok()?, number.parse().ok()?)));
                let seq = event.seq.unwrap_or(0);
                match key {
                    Some(due) => records.delivered.push((due, now.saturating_sub(due))),
                    None => records.problems.push("a message of somebody else was delivered".to_owned()),
                }
                if next_seq.replace(seq + 1).is_some_and(|next| next != seq) {
                    records.problems.push(format!("member {member} received {seq} out of order"));
                }
            }
            "error" => {
                let code = event.code.map_or("error", |code| code.get()).trim_matches('"').to_owned();
                *records.refused.entry(code).or_default() += 1;
            }
            "gap" => records.problems.push(format!("member {member} received a gap")),
            _ => {}
        }
    }
}

impl Times {
    fn of(mut times: Vec<u64>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
        Self { count: times.len(), p50: *at(50).unwrap_or(&0), p99: *at(99).unwrap_or(&0) }
    }
}

fn recovery(sent: &[(u64, u64)], end: u64, limit: u64, now: u64) -> Option<u64> {
    let due = WINDOW * MEMBERS as u64 / PERIOD;
    (0..).map(|step| end + step * WINDOW / 2).take_while(|from| from + WINDOW + limit < now).find_map(
        |from| {
            let fast = sent
                .iter()
                .filter(|(due, time)| (from..from + WINDOW).contains(due) && *time <= limit)
                .count();
            (fast as u64 * 2 >= due).then_some(from - end)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovery_is_the_first_time_at_which_half_of_the_messages_are_fast() {
        let messages = |slow_until: u64| {
            let due = (0..100).map(|n| n * PERIOD / MEMBERS as u64);
            due.map(|due| (due, if due < slow_until { 50_000 } else { 800 })).collect::<Vec<_>>()
        };
        assert_eq!(recovery(&messages(0), 0, 3_000, 1_000_000), Some(0));
        assert_eq!(recovery(&messages(700_000), 0, 3_000, 2_000_000), Some(5 * WINDOW / 2));
        assert_eq!(recovery(&messages(u64::MAX), 0, 3_000, 2_000_000), None);
        assert_eq!(recovery(&[], 0, 3_000, 2_000_000), None, "messages without a reply are not fast");
    }

    #[test]
    fn the_99th_percentile_of_few_times_is_the_longest() {
        let times = Times::of(vec![5, 1, 3]);
        assert_eq!((times.count, times.p50, times.p99), (3, 3, 5));
        assert_eq!(Times::of(Vec::new()).p99, 0);
    }
}
