use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, SubscribeError};
use chat_core::NodeId;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout, timeout_at};

use crate::life::random_number;
use crate::link::{Client, Subscription};

/// The time for another node of the same name to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// The name of a node, which no other live node has. The subscription is what keeps it.
pub(crate) struct ClaimedName {
    client: Arc<dyn Client>,
    claims: Subscription,
    life: u64,
}

/// A message of a node about its name: the claim, or the answer to that of another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Claim {
    /// A random number of the node.
    life: u64,
    /// True if the node has the name, false if it claims it now.
    is_owner: bool,
}

impl Claim {
    /// Returns true if a node with this claim gives the name up to another one. Of two that claim it at the same time,
    /// the one with the lower number gets it.
    fn yields_to(self, other: Self) -> bool {
        other.life != self.life && (other.is_owner || other.life < self.life)
    }
}

impl ClaimedName {
    /// Claims a name. Returns `None` if another live node has it, or gets it at the same time.
    pub(crate) async fn claim(
        client: &Arc<dyn Client>,
        stream: &str,
        node: &NodeId,
    ) -> Result<Option<Self>, SubscribeError> {
        let (subject, inbox) = (format!("{stream}.i.{node}"), client.new_inbox());
        let mut claims = client.subscribe(subject.clone(), None).await?;
        let mut answers = client.subscribe(inbox.clone(), None).await?;
        let own = Claim { life: random_number(), is_owner: false };
        let until = Instant::now() + ANSWER_TIMEOUT;
        // Without an answer, the connection is lost, and so is the claim: nobody answers it.
        let _lost = timeout(ANSWER_TIMEOUT, client.flush()).await;
        let _lost = client.publish(subject, Some(inbox), None, encode(own)).await;
        loop {
            let message = timeout_at(until, async {
                tokio::select! {
                    biased;
                    claim = claims.next() => claim,
                    answer = answers.next() => answer,
                }
            });
            let Ok(Some(message)) = message.await else { break };
            let Some(other) = decode(&message) else { continue };
            if own.yields_to(other) {
                return Ok(None);
            }
            if other.life != own.life {
                answer(&**client, &message, own).await;
            }
        }
        Ok(Some(Self { client: Arc::clone(client), claims, life: own.life }))
    }

    /// Answers each node that claims the name.
    pub(crate) async fn keep(mut self) {
        while let Some(message) = self.claims.next().await {
            if decode(&message).is_some_and(|other| other.life != self.life) {
                answer(&*self.client, &message, Claim { life: self.life, is_owner: true }).await;
            }
        }
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
            assert!(one.is_owner || !one.yields_to(other), "{one:?} goes on");
        }
    }
}
