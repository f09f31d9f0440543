//! The purges that this node carries out, in steps that are one entry each.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chat_core::{ChangeError, NewAct, Unavailable};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use crate::life::{Life, random_number};
use crate::record::{Content, Entry, Purge};

use super::erase::{Erasure, RETRY};
use super::purges::{Answer, Begun};
use super::read::Wanted;
use super::stage::MAX_TARGETS;
use super::work::{PurgeOrder, PurgeStep};
use super::{Receipt, SharedRoom, View, Work};

/// The messages that one step deletes. A model with few messages needs several steps too.
const STEP: usize = if cfg!(test) { 2 } else { MAX_TARGETS };

/// The steps whose texts wait to be erased while the next one is stored.
const MAX_UNERASED: usize = 4;

/// The positions in which messages are looked for at a time.
const CHUNK: u64 = 256;

/// The failures in a row after which a purge stops. It is continued later if it has begun.
const MAX_FAILURES: u32 = 3;

/// The pause after a failure. Each further one is longer.
const PAUSE: Duration = Duration::from_millis(500);

/// The search for the messages of a user.
struct Hunt {
    user: String,
    /// The next position to look at.
    next: u64,
    /// The messages that were found, and are not deleted yet.
    found: VecDeque<Entry>,
}

/// The fields of a message that decide if it is deleted.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    user: Author<'a>,
    deleted: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Author<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

impl SharedRoom {
    /// Returns the order for a purge of the messages that the log has now.
    pub(crate) async fn purge_order(&self, act: NewAct) -> Result<PurgeOrder, Unavailable> {
        let View { life, tail } = self.look().await?;
        Ok(PurgeOrder { act, epoch: life.epoch(&self.name), up_to: tail.head })
    }

    /// Carries out a purge. It goes on if nobody waits for it.
    pub(super) async fn purge(self: &Arc<Self>, order: PurgeOrder) -> Result<Receipt, ChangeError> {
        let life = self.look().await?.life;
        let PurgeOrder { act, epoch, up_to } = order;
        if life.epoch(&self.name) != epoch {
            return Err(Unavailable::new("the log has a new epoch").into());
        }
        let purge = Purge::new(random_number(), self.node.peers.name().to_owned(), &act, up_to);
        let (answer, answered) = oneshot::channel();
        self.start_purge(&life, purge, act, Some(answer))?;
        answered.await.unwrap_or_else(|_| Err(Unavailable::new("the purge has ended").into()))
    }

    /// Continues the purges that another node, or an earlier run of this one, has not completed.
    pub(crate) fn resume_purges(self: &Arc<Self>) {
        let peers = &self.node.peers;
        let (life, purges) = {
            let mut state = self.state.lock();
            let named = Arc::clone(&state.tail.purges);
            (Arc::clone(&state.life), state.purges.abandoned(&named, |node| peers.is_there(node)))
        };
        for mut purge in purges {
            if let Some(act) = purge.act() {
                peers.name().clone_into(&mut purge.node);
                // Without a place, it is tried again soon.
                let _started = self.start_purge(&life, purge, act, None);
            }
        }
    }

    /// Starts a purge. If the same one goes on, it deletes the newer messages too.
    fn start_purge(
        self: &Arc<Self>,
        life: &Arc<Life>,
        purge: Purge,
        act: NewAct,
        answer: Option<Answer>,
    ) -> Result<(), Unavailable> {
        let place = || self.node.purging.enter(purge.id, &self.name, &act);
        if self.state.lock().purges.begin(&purge, &act, answer, place)? == Begun::Joined {
            return Ok(());
        }
        let (room, life) = (Arc::clone(self), Arc::clone(life));
        tokio::spawn(async move {
            let id = purge.id;
            let result = room.carry_out_purge(&life, purge, act).await;
            let waiting = {
                let mut state = room.state.lock();
                let named = Arc::clone(&state.tail.purges);
                let is_over = !matches!(result, Err(ChangeError::Unavailable(_)));
                state.purges.end(&named, id, is_over)
            };
            if let Err(ChangeError::Unavailable(error)) = &result {
                tracing::warn!(%error, stream = %room.node.link.stream, "purge stopped; it is continued later");
            }
            for answer in waiting {
                let _gone = answer.send(result.clone());
            }
        });
        Ok(())
    }

    /// Deletes all messages, and waits until their texts are erased.
    async fn carry_out_purge(
        self: &Arc<Self>,
        life: &Arc<Life>,
        purge: Purge,
        act: NewAct,
    ) -> Result<Receipt, ChangeError> {
        let (deleted, erasures) = mpsc::channel(MAX_UNERASED);
        // The channel ends with the deletions.
        let deleting = async move { self.delete_all(life, purge, act, &deleted).await };
        let (result, erased) = tokio::join!(deleting, self.erase_all(life, erasures));
        let id = self.state.lock().tail.id;
        self.mark_erased(life, id).await;
        self.resume_erasure(RETRY.0);
        erased.map_err(ChangeError::from).and(result)
    }

    /// Erases the texts of the messages that a purge has deleted.
    async fn erase_all(
        &self,
        life: &Arc<Life>,
        mut erasures: mpsc::Receiver<Vec<Erasure>>,
    ) -> Result<(), Unavailable> {
        let mut result = Ok(());
        while let Some(erasures) = erasures.recv().await {
            let mut failures = 0;
            let erased = loop {
                let erased = self.erase(life, &erasures).await.into_iter().fold(Ok(()), Result::and);
                failures += 1;
                if erased.is_ok() || failures >= MAX_FAILURES {
                    break erased;
                }
                sleep(PAUSE * failures).await;
            };
            result = result.and(erased);
        }
        result
    }

    /// Deletes all messages, and passes on those that it has deleted.
    async fn delete_all(
        self: &Arc<Self>,
        life: &Arc<Life>,
        mut purge: Purge,
        act: NewAct,
        deleted: &mpsc::Sender<Vec<Erasure>>,
    ) -> Result<Receipt, ChangeError> {
        let user = act.act.target().map_or_else(String::new, |user| user.id().to_owned());
        let mut hunt = Hunt { user, next: purge.after + 1, found: VecDeque::new() };
        let (mut newest, mut failures): (Option<Receipt>, _) = (None, 0);
        loop {
            match self.purge_next(life, &mut purge, &act, &mut hunt).await {
                Ok((mut receipt, is_last)) => {
                    failures = 0;
                    let erasures = std::mem::take(&mut receipt.erasing);
                    if deleted.send(erasures).await.is_err() {
                        return Err(Unavailable::new("the purge has ended").into());
                    }
                    let receipt = newest.take().filter(|_| receipt.seq.is_none()).unwrap_or(receipt);
                    if is_last {
                        // Somebody may have asked for the same since.
                        match self.state.lock().purges.extend(purge.id, purge.up_to) {
                            Some(up_to) => purge.up_to = up_to,
                            None => return Ok(receipt),
                        }
                    }
                    newest = Some(receipt);
                }
                Err(ChangeError::Unavailable(error)) => {
                    failures += 1;
                    if failures >= MAX_FAILURES || !Arc::ptr_eq(life, &self.known().life) {
                        return Err(error.into());
                    }
                    sleep(PAUSE * failures).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Deletes the next messages. Returns true if there are no further ones.
    async fn purge_next(
        self: &Arc<Self>,
        life: &Arc<Life>,
        purge: &mut Purge,
        act: &NewAct,
        hunt: &mut Hunt,
    ) -> Result<(Receipt, bool), ChangeError> {
        // One more than a step deletes, so that the last step is known.
        while hunt.found.len() <= STEP && hunt.next <= purge.up_to {
            self.look_for(life, hunt, purge.up_to).await?;
        }
        let messages: Vec<_> = hunt.found.iter().take(STEP).cloned().collect();
        let is_last = messages.len() == hunt.found.len();
        let last = messages.last().map(|entry| entry.seq);
        purge.after = last.filter(|_| !is_last).unwrap_or(purge.up_to);
        let (count, life, act) = (messages.len(), Arc::clone(life), act.clone());
        let step = PurgeStep { life, purge: purge.clone(), act, messages, is_last };
        let receipt = self.queue_up(Work::Step(Box::new(step)), self.limits.rooms.call_timeout).await?;
        drop(hunt.found.drain(..count));
        Ok((receipt, is_last))
    }

    /// Looks for messages in the next positions.
    async fn look_for(&self, life: &Arc<Life>, hunt: &mut Hunt, up_to: u64) -> Result<(), Unavailable> {
        let from = hunt.next.max(self.known().tail.first());
        let to = from.saturating_add(CHUNK).min(up_to + 1);
        if from < to {
            let entries = self.collect(life, &Wanted::messages(from, to)).await?.entries;
            hunt.found.extend(entries.into_iter().filter(|entry| is_kept_of(entry, &hunt.user)));
        }
        hunt.next = to.max(from);
        Ok(())
    }
}

/// Returns true for a message of the user with this id whose text is in its record.
fn is_kept_of(entry: &Entry, id: &str) -> bool {
    let Content::Message { frame, .. } = &entry.content else { return false };
    let fields = serde_json::from_slice::<Fields<'_>>(frame);
    fields.is_ok_and(|Fields { user, deleted }| user.id == id && deleted.is_none())
}
