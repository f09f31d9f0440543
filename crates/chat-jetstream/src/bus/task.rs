use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_nats::{Client, Message, SubscribeError, Subscriber};
use chat_core::{BusSink, NodeId, Notice};
use futures_util::{FutureExt, Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::task::unconstrained;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::life::random_number;
use crate::link::max_payload;
use crate::node::Connection;

use super::Waiting;
use super::exchanges::Wanted;
use super::kicks::Kicks;
use super::packet::{Content, Packet, decode, encode};
use super::parts::{MAX_BYTES, split};
use super::peer::Peer;

/// The interval of the signs of life.
const TICK: Duration = Duration::from_secs(1);

/// The nodes for which notices are counted, beyond those that are present.
const MAX_COUNTED: usize = 1_024;

/// The messages that are taken before silent nodes are removed, at most.
const MAX_TAKEN: usize = 16 * 1024;

/// The number of nodes that have left which a node remembers, so that a late notice does not bring one back.
const MAX_LEFT: usize = 256;

/// The time after which another node of the same name is reported.
const NAMESAKE_TIME: Duration = Duration::from_secs(10);

/// The bytes of a message beside the part of a notice that it has.
const PART_HEAD_BYTES: usize = 512;

/// The time for the client to take a message. After one that it has not taken, none waits until it takes one.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// The task of one node. It sends the notices of the node, and reports those of others.
pub(super) struct Task {
    client: Client,
    connection: Arc<Connection>,
    /// The beginning of the time of this node.
    started: Instant,
    prefix: String,
    node: NodeId,
    /// A random number, which another node of the same name does not have.
    life: u64,
    sink: BusSink,
    /// The number of other nodes that are reachable.
    others: Arc<AtomicU64>,
    /// The life of another node with the name of this one, and the time at which it was heard of, until it is reported.
    namesake: Option<(u64, Option<Instant>)>,
    peers: HashMap<NodeId, Peer>,
    /// The lives that have left, oldest first. Their last notices may arrive later, on another subject.
    left: VecDeque<u64>,
    /// True if the client has not taken the last message.
    is_blocked: bool,
    kicks: Kicks,
    /// The number of notices for all nodes.
    broadcasts: u64,
    /// The numbers of notices for single nodes.
    direct: BTreeMap<NodeId, u64>,
}

impl Task {
    pub(super) fn new(
        client: Client,
        connection: Arc<Connection>,
        started: Instant,
        (prefix, node): (String, NodeId),
        (sink, others): (BusSink, Arc<AtomicU64>),
    ) -> Self {
        let (peers, left, direct, life) = (HashMap::new(), VecDeque::new(), BTreeMap::new(), random_number());
        let kicks = Kicks::default();
        let (is_blocked, namesake, broadcasts) = (false, None, 0);
        Self {
            client,
            connection,
            started,
            prefix,
            node,
            life,
            sink,
            others,
            namesake,
            peers,
            left,
            is_blocked,
            kicks,
            broadcasts,
            direct,
        }
    }

    /// Runs until the node leaves, or the bus is dropped.
    pub(super) async fn run(mut self, mut notices: mpsc::Receiver<Option<Waiting>>, refused: Arc<AtomicU64>) {
        let (mut broadcasts, mut direct) = loop {
            match self.subscribe().await {
                Ok(subscribed) => break subscribed,
                Err(error) => tracing::error!(%error, "bus not connected; it is tried again"),
            }
            sleep(TICK).await;
        };
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut has_stalled = false;
        loop {
            tokio::select! {
                // The sign of life is never late because of notices.
                biased;
                tick = ticks.tick() => {
                    // Only one tick is passed over, so that a node that is always late notices the end of another one.
                    has_stalled = !has_stalled && tick.elapsed() > TICK;
                    self.connection.correct();
                    // The others see that numbers are missing.
                    self.broadcasts += refused.swap(0, Ordering::Relaxed);
                    self.sign().await;
                    self.take_waiting(&mut broadcasts, &mut direct).await;
                    // After a stall, the client may not have read the signs of life of the others yet.
                    if !has_stalled {
                        self.expire();
                    }
                    self.exchange_later().await;
                }
                () = self.kicks.wait() => {
                    let begun = tokio::time::Instant::now();
                    self.sign().await;
                    for (published, kick) in self.kicks.signed(begun) {
                        self.publish(published, kick).await;
                    }
                }
                notice = notices.recv() => match notice.flatten() {
                    Some((published, kick @ Notice::Kick { .. })) => self.hold((published, kick)).await,
                    Some((published, notice)) => self.publish(published, notice).await,
                    None => return self.leave(broadcasts).await,
                },
                Some(message) = broadcasts.next() => self.take(&message, false).await,
                Some(message) = direct.next() => self.take(&message, true).await,
            }
        }
    }

    /// Takes the messages that have arrived: after a stall of this node, the others were not silent.
    async fn take_waiting(&mut self, broadcasts: &mut Subscriber, direct: &mut Subscriber) {
        for _ in 0..MAX_TAKEN {
            if let Some(message) = waiting(broadcasts) {
                self.take(&message, false).await;
            } else if let Some(message) = waiting(direct) {
                self.take(&message, true).await;
            } else {
                return;
            }
        }
    }

    async fn subscribe(&self) -> Result<(Subscriber, Subscriber), SubscribeError> {
        let broadcasts = self.client.subscribe(self.subject(None)).await?;
        let direct = self.client.subscribe(self.subject(Some(&self.node))).await?;
        // Without an answer, the first signs of life may be missed, and the next ones are not.
        let _late = timeout(SEND_TIMEOUT, self.client.flush()).await;
        Ok((broadcasts, direct))
    }

    fn subject(&self, to: Option<&NodeId>) -> String {
        to.map_or_else(|| self.prefix.clone(), |node| format!("{}.{node}", self.prefix))
    }

    /// Holds a kick until the other nodes know if the clock of this one has stood still.
    async fn hold(&mut self, kick: Waiting) {
        if let Some((published, kick)) = self.kicks.hold(kick) {
            self.publish(published, kick).await;
        }
    }

    /// Tells the other nodes that this one leaves. The process may end then, so this waits until a server has the
    /// message, which it also sends to this node.
    async fn leave(&mut self, mut broadcasts: Subscriber) {
        for (published, kick) in self.kicks.take() {
            self.publish(published, kick).await;
        }
        self.send(None, Content::Leaves).await;
        let has_left = |message: &Message| {
            let packet = serde_json::from_slice::<Packet>(&message.payload);
            packet.is_ok_and(|packet| packet.life == self.life && matches!(packet.content, Content::Leaves))
        };
        let echo = async { while broadcasts.next().await.is_some_and(|message| !has_left(&message)) {} };
        if self.connection.is_open() {
            // Without it, the others notice the end when there are no signs of life.
            let _late = timeout(SEND_TIMEOUT, echo).await;
        }
    }

    async fn publish(&mut self, published: Duration, notice: Notice) {
        let to = notice.recipient().cloned();
        let last = match &to {
            None => self.broadcasts,
            Some(node) => self.direct.get(node).copied().unwrap_or_default(),
        };
        let Some(text) = encode(&notice) else { return };
        let content = Content::Notice { number: last + 1, notice: text };
        let Some(payload) = self.encode(published, &content) else { return };
        if let Content::Notice { notice: text, .. } = &content
            && payload.len() > max_payload(&self.client)
        {
            return self.publish_parts(published, to, text.get()).await;
        }
        match &to {
            None => self.broadcasts += 1,
            Some(node) => *self.direct.entry(node.clone()).or_default() += 1,
        }
        self.send_bytes(to.as_ref(), payload).await;
    }

    /// Publishes a notice that is larger than a message of the servers.
    async fn publish_parts(&mut self, published: Duration, to: Option<NodeId>, text: &str) {
        let reads_parts = |node: &NodeId| self.peers.get(node).is_some_and(|peer| peer.reads_parts);
        let Some(to) = to.filter(|node| reads_parts(node) && text.len() <= MAX_BYTES) else {
            // It is not counted: the other node would ask for it again and again.
            tracing::error!(bytes = text.len(), "notice for other nodes is too large; it is left out");
            return;
        };
        // In the message, a character of the text has up to twice its bytes.
        let parts = split(text, max_payload(&self.client).saturating_sub(PART_HEAD_BYTES) / 2);
        for (index, text) in (1..).zip(&parts) {
            let number = self.direct.entry(to.clone()).or_default();
            *number += 1;
            let (number, text) = (*number, (*text).to_owned());
            let content = Content::Part { number, is_first: index == 1, is_last: index == parts.len(), text };
            if let Some(payload) = self.encode(published, &content) {
                self.send_bytes(Some(&to), payload).await;
            }
        }
    }

    async fn sign(&mut self) {
        let present = self.direct.iter().filter(|(node, _)| self.peers.contains_key(*node));
        let direct = present.map(|(node, number)| (node.clone(), *number)).collect();
        let sign = Content::Sign { number: self.broadcasts, direct };
        self.send(None, sign).await;
    }

    /// Sends a message. One that cannot be sent now is lost: the next number shows it.
    async fn send(&mut self, to: Option<&NodeId>, content: Content) {
        if let Some(payload) = self.encode(self.started.elapsed(), &content) {
            self.send_bytes(to, payload).await;
        }
    }

    fn encode(&self, sent: Duration, content: &Content) -> Option<Vec<u8>> {
        let sent = u64::try_from(sent.as_micros()).ok();
        serde_json::to_vec(&Packet { from: self.node.clone(), life: self.life, sent, parts: true, content })
            .ok()
    }

    async fn send_bytes(&mut self, to: Option<&NodeId>, payload: Vec<u8>) {
        if self.connection.is_open() {
            let time = if self.is_blocked { Duration::ZERO } else { SEND_TIMEOUT };
            let sent = timeout(time, self.client.publish(self.subject(to), payload.into())).await;
            self.is_blocked = sent.is_err();
        }
    }

    async fn take(&mut self, message: &Message, is_direct: bool) {
        let Ok(packet) = serde_json::from_slice::<Packet>(&message.payload) else { return };
        let sent = packet.sent();
        let Packet { from, life, parts, content, .. } = packet;
        if from == self.node && life != self.life {
            self.hear_namesake(life);
        }
        if from == self.node || self.left.contains(&life) {
            return;
        }
        if matches!(content, Content::Leaves) {
            return self.remove(&from, life);
        }
        let known = self.peers.get(&from);
        if known.is_none_or(|peer| peer.life != life) {
            // Two nodes with one name, each of which is new after the other one, cause no more exchanges.
            let exchanges = known.map(|peer| peer.exchanges).unwrap_or_default();
            self.peers.insert(from.clone(), Peer::new(life, exchanges));
            let begins = self.exchange(&from, Wanted::ByOther).await;
            self.count_others();
            // The other node learns of this one at once, with the numbers from which it counts.
            if begins {
                self.sign().await;
            }
        }
        let Some(peer) = self.peers.get_mut(&from) else { return };
        peer.saw();
        peer.reads_parts = parts;
        let delay = sent.map(|sent| peer.clock.delay(sent, self.started.elapsed())).unwrap_or_default();
        match content {
            Content::Notice { number, notice } => {
                let is_complete = peer.take(number, is_direct);
                if let Some(notice) = decode(&notice) {
                    self.sink.receive_late(&from, &notice, delay);
                }
                if !is_complete {
                    self.exchange(&from, Wanted::ByThis).await;
                }
            }
            Content::Part { number, is_first, is_last, text } => {
                let is_complete = peer.take(number, is_direct);
                if let Some(notice) = peer.parts.add(number, (is_first, is_last), &text) {
                    self.sink.receive_late(&from, &notice, delay);
                }
                if !is_complete {
                    self.exchange(&from, Wanted::ByThis).await;
                }
            }
            Content::Sign { number, direct } => {
                let direct = direct.get(&self.node).copied().unwrap_or_default();
                if !peer.take_sign(number, direct) {
                    self.exchange(&from, Wanted::ByThis).await;
                }
            }
            Content::Missed => {
                self.exchange(&from, Wanted::ByOther).await;
            }
            Content::Leaves => {}
        }
    }

    /// Reports another node with the name of this one. A node that is replaced by this one is heard of for a moment.
    fn hear_namesake(&mut self, life: u64) {
        match &mut self.namesake {
            Some((known, since)) if *known == life => {
                if since.is_some_and(|since| since.elapsed() > NAMESAKE_TIME) {
                    *since = None;
                    tracing::error!(node = %self.node, "another server has the name of this one; rename one of them");
                }
            }
            other => *other = Some((life, Some(Instant::now()))),
        }
    }

    /// Lets both nodes exchange their users, because notices are lost. Returns false if this exchange begins later,
    /// because there was another one.
    async fn exchange(&mut self, node: &NodeId, wanted: Wanted) -> bool {
        let Some(peer) = self.peers.get_mut(node) else { return false };
        peer.exchanges.want(wanted);
        let begun = peer.exchanges.begin(Instant::now());
        if let Some(wanted) = begun {
            self.begin_exchange(node, wanted).await;
        }
        begun.is_some()
    }

    /// Begins the exchanges that were to begin later.
    async fn exchange_later(&mut self) {
        let now = Instant::now();
        let begin = |(node, peer): (&NodeId, &mut Peer)| Some((node.clone(), peer.exchanges.begin(now)?));
        let begun: Vec<_> = self.peers.iter_mut().filter_map(begin).collect();
        for (node, wanted) in begun {
            self.begin_exchange(&node, wanted).await;
        }
    }

    async fn begin_exchange(&mut self, node: &NodeId, wanted: Wanted) {
        self.sink.node_joined(node);
        if wanted == Wanted::ByThis {
            tracing::warn!(%node, "notices of another node lost; users are exchanged");
            self.send(Some(node), Content::Missed).await;
        }
    }

    fn remove(&mut self, node: &NodeId, life: u64) {
        if self.left.len() >= MAX_LEFT {
            self.left.pop_front();
        }
        self.left.push_back(life);
        if self.peers.get(node).is_some_and(|peer| peer.life == life) {
            self.peers.remove(node);
            self.sink.node_left(node);
            self.count_others();
        }
    }

    fn count_others(&self) {
        self.others.store(self.peers.len() as u64, Ordering::Relaxed);
    }

    fn expire(&mut self) {
        for (node, _) in self.peers.extract_if(|_, peer| peer.is_silent()) {
            self.sink.node_left(&node);
        }
        self.count_others();
        // A node that returns goes on counting, unless many others have come and gone.
        if self.direct.len() > MAX_COUNTED {
            self.direct.retain(|node, _| self.peers.contains_key(node));
        }
    }
}

/// Returns the next message, if it has arrived. The runtime would end a longer row of them early.
fn waiting<S: Stream + Unpin>(messages: &mut S) -> Option<S::Item> {
    unconstrained(messages.next()).now_or_never().flatten()
}

#[cfg(test)]
mod tests {
    use futures_util::stream::poll_fn;

    use super::*;

    #[tokio::test]
    async fn all_messages_that_have_arrived_are_taken() {
        const MESSAGES: usize = 10_000;
        let (sender, mut receiver) = mpsc::channel(MESSAGES);
        (0..MESSAGES).for_each(|number| sender.try_send(number).expect("a place"));
        let mut messages = poll_fn(|context| receiver.poll_recv(context));
        let taken: Vec<_> = std::iter::from_fn(|| waiting(&mut messages)).collect();
        assert!(taken.iter().copied().eq(0..MESSAGES), "{} are taken", taken.len());
    }
}
