use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::{Message, SubscribeError};
use chat_core::NodeId;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use crate::life::random_number;
use crate::link::{Client, Subscription};
use crate::node::Connection;

/// The time for another node of the same name to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// The pause after which a node whose name is taken claims it again.
const PAUSE: Duration = Duration::from_secs(5);

/// The time after the claim of another node, after which that one has gone or has the name.
const DISPUTE_TIME: Duration = Duration::from_secs(1);

/// The name of a node, which no other live node has. The subscription is what keeps it.
pub(crate) struct ClaimedName {
    client: Arc<dyn Client>,
    subject: String,
    claims: Subscription,
    life: u64,
    /// The number of lost connections before the claim.
    losses: u64,
    is_taken: Arc<AtomicBool>,
}

/// A message of a node about its name: the claim, or the answer to that of another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Claim {
    /// A random number of the node.
    life: u64,
    /// True if the node has the name, or had it before it lost a connection. False if it claims it for the first time.
    is_owner: bool,
}

impl Claim {
    /// Returns true if a node with this claim gives the name up to another one. Of two that claim it at the same time,
    /// the one with the lower number gets it. Two that have had it both give it up, and claim it again later.
    fn yields_to(self, other: Self) -> bool {
        other.life != self.life && (other.is_owner || (!self.is_owner && other.life < self.life))
    }
}

impl ClaimedName {
    /// Claims a name. Returns `None` if another live node has it, or gets it at the same time.
    pub(crate) async fn claim(
        client: &Arc<dyn Client>,
        connection: &Connection,
        stream: &str,
        node: &NodeId,
    ) -> Result<Option<Self>, SubscribeError> {
        let losses = connection.losses();
        let subject = format!("{stream}.i.{node}");
        let claims = client.subscribe(subject.clone(), None).await?;
        let (client, life, is_taken) = (Arc::clone(client), random_number(), Arc::default());
        let mut name = Self { client, subject, claims, life, losses, is_taken };
        let is_free = name.is_free(false).await?;
        if is_free.is_none() {
            // It is claimed again soon.
            name.losses = u64::MAX;
        }
        Ok(is_free.unwrap_or(true).then_some(name))
    }

    /// Returns a flag that is set while another live node has the name.
    pub(crate) fn is_taken(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_taken)
    }

    /// Claims the name. Returns false if another live node has it, or gets it at the same time, and `None` if the claim
    /// may not have reached the others.
    async fn is_free(&mut self, is_owner: bool) -> Result<Option<bool>, SubscribeError> {
        let inbox = self.client.new_inbox();
        let mut answers = self.client.subscribe(inbox.clone(), None).await?;
        let own = Claim { life: self.life, is_owner };
        // The server takes the subscription for the answers before the claim.
        if timeout(ANSWER_TIMEOUT, self.client.flush()).await.is_err() {
            return Ok(None);
        }
        let is_sent = self.client.publish(self.subject.clone(), Some(inbox), None, encode(own)).await.is_ok();
        let until = Instant::now() + ANSWER_TIMEOUT;
        loop {
            let message = timeout_at(until, async {
                tokio::select! {
                    biased;
                    claim = self.claims.next() => claim,
                    answer = answers.next() => answer,
                }
            });
            let Ok(Some(message)) = message.await else { return Ok(is_sent.then_some(true)) };
            let Some(other) = decode(&message) else { continue };
            if own.yields_to(other) {
                return Ok(Some(false));
            }
            if other.life != own.life {
                answer(&*self.client, &message, own).await;
            }
        }
    }

    /// Answers each node that claims the name. After a lost connection, and soon after such an answer, which may have
    /// come too late, it claims the name again: another node may have got it meanwhile. That one keeps it, as long as
    /// it is there.
    pub(crate) async fn keep(mut self, connection: Arc<Connection>) {
        let (mut events, mut losses) = (connection.events(), self.losses);
        let (mut is_owner, mut disputed) = (true, None);
        loop {
            tokio::select! {
                biased;
                claim = self.claims.next() => {
                    let Some(claim) = claim else { return };
                    if is_owner && decode(&claim).is_some_and(|other| other.life != self.life) {
                        answer(&*self.client, &claim, Claim { life: self.life, is_owner: true }).await;
                        disputed.get_or_insert_with(|| Instant::now() + DISPUTE_TIME);
                    }
                    continue;
                }
                Ok(()) = events.changed() => {}
                () = sleep_until(disputed.unwrap_or_else(Instant::now)), if disputed.is_some() => {}
                () = sleep(PAUSE), if !is_owner || connection.losses() != losses => {}
            }
            let is_disputed = disputed.take_if(|due| *due <= Instant::now()).is_some();
            if !connection.is_open() || (is_owner && !is_disputed && connection.losses() == losses) {
                continue;
            }
            let before = connection.losses();
            let Ok(Some(is_free)) = self.is_free(is_owner).await else { continue };
            if is_free && connection.losses() != before {
                // The claim of another node may have been lost.
                continue;
            }
            if is_owner && !is_free {
                tracing::error!(name = %self.name(), "name of this server is taken; it is not ready");
            }
            if !is_owner && is_free {
                tracing::warn!(name = %self.name(), "name of this server is free again");
            }
            (losses, is_owner) = (before, is_free);
            self.is_taken.store(!is_owner, Ordering::Relaxed);
        }
    }

    fn name(&self) -> &str {
        self.subject.rsplit('.').next().unwrap_or_default()
    }
}

async fn answer(client: &dyn Client, message: &Message, own: Claim) {
    if let Some(reply) = message.reply.clone() {
        // Without the answer, two nodes have one name, as after a partition.
        let _lost = client.publish(reply.to_string(), None, None, encode(own)).await;
    }
}

fn encode(claim: Claim) -> bytes::Bytes {
    serde_json::to_vec(&claim).unwrap_or_default().into()
}

fn decode(message: &Message) -> Option<Claim> {
    serde_json::from_slice(&message.payload).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_nodes_exactly_one_gets_the_name() {
        let claim = |life, is_owner| Claim { life, is_owner };
        for (one, other) in [(claim(1, false), claim(2, false)), (claim(2, true), claim(1, false))] {
            assert!(!one.yields_to(one) && !other.yields_to(other), "its own claim");
            assert!(other.yields_to(one), "{other:?} gives up");
            assert!(!one.yields_to(other), "{one:?} goes on");
        }
        let (one, other) = (claim(1, true), claim(2, true));
        assert!(one.yields_to(other) && other.yields_to(one), "both claim the name again later");
    }
}
