use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::{Client, Message, SubscribeError, Subscriber};
use chat_core::{BusSink, NodeId, Notice};
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::life::random_number;
use crate::node::Connection;

use super::packet::{Content, Packet};
use super::peer::Peer;

/// The interval of the signs of life.
const TICK: Duration = Duration::from_secs(1);

/// The nodes for which notices are counted, beyond those that are present.
const MAX_COUNTED: usize = 1_024;

/// The time for the client to take a message.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// The task of one node. It sends the notices of the node, and reports those of others.
pub(super) struct Task {
    client: Client,
    connection: Arc<Connection>,
    prefix: String,
    node: NodeId,
    /// A random number, which another node of the same name does not have.
    life: u64,
    sink: BusSink,
    peers: HashMap<NodeId, Peer>,
    /// The number of notices for all nodes.
    broadcasts: u64,
    /// The numbers of notices for single nodes.
    direct: BTreeMap<NodeId, u64>,
}

impl Task {
    pub(super) fn new(
        client: Client,
        connection: Arc<Connection>,
        prefix: String,
        node: NodeId,
        sink: BusSink,
    ) -> Self {
        let (peers, direct) = Default::default();
        Self { client, connection, prefix, node, life: random_number(), sink, peers, broadcasts: 0, direct }
    }

    /// Runs until the bus is dropped.
    pub(super) async fn run(mut self, mut notices: mpsc::Receiver<Notice>, refused: Arc<AtomicU64>) {
        let (mut broadcasts, mut direct) = loop {
            match self.subscribe().await {
                Ok(subscribed) => break subscribed,
                Err(error) => tracing::error!(%error, "bus not connected; it is tried again"),
            }
            sleep(TICK).await;
        };
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                notice = notices.recv() => match notice {
                    Some(notice) => self.publish(notice).await,
                    None => return self.send(None, Content::Leaves).await,
                },
                Some(message) = broadcasts.next() => self.take(&message, false).await,
                Some(message) = direct.next() => self.take(&message, true).await,
                _ = ticks.tick() => {
                    // The others see that numbers are missing.
                    self.broadcasts += refused.swap(0, Ordering::Relaxed);
                    self.sign().await;
                    self.expire();
                }
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

    async fn publish(&mut self, notice: Notice) {
        let to = notice.recipient().cloned();
        let number = match &to {
            None => &mut self.broadcasts,
            Some(node) => self.direct.entry(node.clone()).or_default(),
        };
        *number += 1;
        let number = *number;
        self.send(to.as_ref(), Content::Notice { number, notice }).await;
    }

    async fn sign(&self) {
        let present = self.direct.iter().filter(|(node, _)| self.peers.contains_key(*node));
        let direct = present.map(|(node, number)| (node.clone(), *number)).collect();
        let sign = Content::Sign { number: self.broadcasts, direct };
        self.send(None, sign).await;
    }

    /// Sends a message. One that cannot be sent now is lost: the next number shows it.
    async fn send(&self, to: Option<&NodeId>, content: Content) {
        let packet = Packet { from: self.node.clone(), life: self.life, content };
        if self.connection.is_open()
            && let Ok(payload) = serde_json::to_vec(&packet)
        {
            let _lost = timeout(SEND_TIMEOUT, self.client.publish(self.subject(to), payload.into())).await;
        }
    }

    async fn take(&mut self, message: &Message, is_direct: bool) {
        let Ok(Packet { from, life, content }) = serde_json::from_slice(&message.payload) else { return };
        if from == self.node {
            return;
        }
        if matches!(content, Content::Leaves) {
            return self.remove(&from, life);
        }
        let is_known = self.peers.get(&from).is_some_and(|peer| peer.life == life);
        if !is_known {
            self.peers.insert(from.clone(), Peer::new(life));
            self.sink.node_joined(&from);
            // The other node learns of this one at once, with the numbers from which it counts.
            self.sign().await;
        }
        let Some(peer) = self.peers.get_mut(&from) else { return };
        peer.saw();
        match content {
            Content::Notice { number, notice } => {
                let is_complete = peer.take(number, is_direct);
                self.sink.receive(&from, &notice);
                if !is_complete {
                    self.miss(&from).await;
                }
            }
            Content::Sign { number, direct } => {
                let direct = direct.get(&self.node).copied().unwrap_or_default();
                if !peer.take_sign(number, direct) {
                    self.miss(&from).await;
                }
            }
            Content::Missed => self.sink.node_joined(&from),
            Content::Leaves => {}
        }
    }

    /// Lets both nodes exchange their users, because notices of the other node are lost.
    async fn miss(&self, node: &NodeId) {
        tracing::warn!(%node, "notices of another node lost; users are exchanged");
        self.sink.node_joined(node);
        self.send(Some(node), Content::Missed).await;
    }

    fn remove(&mut self, node: &NodeId, life: u64) {
        if self.peers.get(node).is_some_and(|peer| peer.life == life) {
            self.peers.remove(node);
            self.sink.node_left(node);
        }
    }

    fn expire(&mut self) {
        for (node, _) in self.peers.extract_if(|_, peer| peer.is_silent()) {
            self.sink.node_left(&node);
        }
        // A node that returns goes on counting, unless many others have come and gone.
        if self.direct.len() > MAX_COUNTED {
            self.direct.retain(|node, _| self.peers.contains_key(node));
        }
    }
}
