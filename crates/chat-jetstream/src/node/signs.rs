use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::Message;
use futures_util::StreamExt;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::link::Subscription;
use crate::node::Node;
use crate::node::peers::Abilities;
use crate::node::retention::Retention;

/// The interval of the signs of life.
const TICK: Duration = Duration::from_secs(2);

/// The pause after a sign that was given early.
const NUDGE_PAUSE: Duration = Duration::from_millis(20);

/// The payloads of signs of life: of a node that removes old messages, and of one that does not. A node of an earlier
/// version gives another one, and cannot read trims.
const SWEEPS: &[u8] = b"lives, reads trims, sweeps";
const LIVES: &[u8] = b"lives, reads trims";
const LEAVES: &[u8] = b"leaves";

/// The signs of life are about the node, and not about a stream. Those of the first stream are for all.
impl Node {
    /// Gives signs of life, and learns which other nodes are there. This does not wait for the leader of a stream.
    pub(super) async fn exchange_signs(self: Arc<Self>, mut signs: Subscription) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = ticks.tick() => self.say_lives().await,
                () = self.peers.nudge.notified() => {
                    self.say_lives().await;
                    // A sign that is lost is an event of the connection, and must not cause more of them.
                    sleep(NUDGE_PAUSE).await;
                }
                sign = signs.next() => match sign {
                    Some(sign) => self.take_sign(&sign).await,
                    None => return,
                },
            }
        }
    }

    /// Takes a sign of life of another node. One that is new gets one at once.
    async fn take_sign(&self, sign: &Message) {
        let name = sign.subject.rsplit('.').next().filter(|name| *name != self.peers.name());
        let Some(name) = name else { return };
        if &*sign.payload == LEAVES {
            return self.peers.lost(name);
        }
        let sweeps = &*sign.payload == SWEEPS;
        let reads_trims = sweeps || &*sign.payload == LIVES;
        let retention = Retention::of(sign.headers.as_ref());
        let before = self.peers.saw(name, Abilities { reads_trims, sweeps, retention });
        if let Some(other) = retention.filter(|other| *other != self.retention)
            && before.and_then(|before| before.retention) != retention
        {
            let own = self.retention;
            tracing::warn!(node = name, %own, %other, "another node has other limits of retention");
        }
        if before.is_none() {
            self.say_lives().await;
        }
    }

    /// Gives a sign of life. After the last word, the other nodes would ask this one again.
    async fn say_lives(&self) {
        if !self.peers.has_left.load(Ordering::SeqCst) {
            self.say(if self.retain_age.is_some() { SWEEPS } else { LIVES }).await;
        }
    }

    /// Tells the other nodes something, if this node can append for others.
    async fn say(&self, sign: &'static [u8]) {
        if self.limits().is_some() {
            let subject = format!("{}.n.{}", self.link.stream, self.peers.name());
            // The next one follows.
            let _lost = self.link.client.publish(subject, None, self.retention.headers(), sign.into()).await;
        }
    }

    /// Tells the other nodes that this one leaves.
    pub(super) async fn leave(&self) {
        self.peers.has_left.store(true, Ordering::SeqCst);
        self.say(LEAVES).await;
    }
}
