use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, SubscribeError};
use futures_util::StreamExt;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::life::Subject;
use crate::link::{Subscription, number};
use crate::node::Node;
use crate::node::heard::HeardStates;
use crate::record::Record;

/// The interval at which the node asks the leader of the stream.
const TICK: Duration = Duration::from_secs(2);

/// The pause after the node has asked the leader early.
const NUDGE_PAUSE: Duration = Duration::from_millis(20);

impl Node {
    /// Subscribes to the notices of the stream and of the other nodes. The subscriptions are sent after a flush of the
    /// connection.
    pub(super) async fn start(self: &Arc<Self>, tasks: &mut JoinSet<()>) -> Result<(), SubscribeError> {
        let (client, stream) = (&self.link.client, &self.link.stream);
        let records = client.subscribe(format!("{stream}.*.e.>"), None).await?;
        // Only one of several nodes that have the same name by mistake gets a message.
        let subject = self.asked_subject(self.peers.name());
        let asked = client.subscribe(subject, Some("asked".to_owned())).await?;
        if self.shard.is_first() {
            let signs = client.subscribe(format!("{stream}.n.*"), None).await?;
            tasks.spawn(Arc::clone(self).exchange_signs(signs));
        }
        tasks.spawn(Arc::clone(self).hear(records));
        tasks.spawn(Arc::clone(self).serve(asked));
        tasks.spawn(Arc::clone(self).keep());
        tasks.spawn(Arc::clone(self).keep_rooms());
        tasks.spawn(Arc::clone(self).complete_rooms());
        if let Some(age) = self.retain_age {
            tasks.spawn(Arc::clone(self).remove_old(age));
        }
        Ok(())
    }

    /// Reports what the stream has stored to the rooms that are open here.
    async fn hear(self: Arc<Self>, mut records: Subscription) {
        let mut heard = HeardStates::default();
        while let Some(message) = records.next().await {
            self.take(&message, &mut heard);
        }
    }

    fn take(&self, message: &Message, heard: &mut HeardStates) {
        let life = self.life();
        let place = number(message.headers.as_ref(), "Nats-Sequence").filter(|place| *place > 0);
        let (Some(subject), Some(place)) = (life.read(&message.subject), place) else { return };
        if place <= life.heard() {
            // It came twice, or the stream has lost its end and gives out its places again.
            return self.nudge();
        }
        if !life.hear(place) {
            self.nudge();
        }
        match subject {
            Subject::State { room, seq } if self.is_open(room) => {
                heard.add(place, room, seq, message.payload.clone());
            }
            Subject::Record { room } => {
                let states = heard.take(place, room);
                if let Some(room) = self.open_room(room)
                    && let Ok(record) = Record::decode(place, message.payload.clone())
                {
                    room.hear(&life, &record, &states);
                }
            }
            _ => {}
        }
    }

    /// Appends for other nodes.
    async fn serve(self: Arc<Self>, mut asked: Subscription) {
        while let Some(message) = asked.next().await {
            let Ok(permit) = Arc::clone(&self.asked).acquire_owned().await else { return };
            let node = Arc::clone(&self);
            tokio::spawn(async move {
                node.answer(message).await;
                drop(permit);
            });
        }
    }

    /// Asks the leader of the stream regularly, and whenever something is not as it should be.
    async fn keep(self: Arc<Self>) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut events, mut has_failed) = (self.connection.events(), false);
        loop {
            let mut pause = NUDGE_PAUSE;
            tokio::select! {
                biased;
                _ = ticks.tick() => {}
                () = self.nudge.notified() => {}
                Ok(()) = events.changed() => {
                    // An event is about the streams of the chat together, and may be one of many.
                    pause = pause.saturating_mul(u32::try_from(self.shard.count).unwrap_or(u32::MAX));
                    if self.shard.is_first() {
                        // The other nodes may have lost a sign of this one. One task waits for the events, because
                        // several would be woken in any order.
                        self.peers.nudge.notify_one();
                    }
                }
            }
            self.connection.correct();
            let begun = self.compared.begin(&self.connection);
            match self.tend().await {
                Ok(()) => {
                    self.compared.note(begun);
                    if has_failed {
                        tracing::info!(stream = %self.link.stream, "leader of the stream answers again");
                    }
                    has_failed = false;
                }
                Err(error) => {
                    if !has_failed {
                        tracing::warn!(%error, stream = %self.link.stream, "leader of the stream does not answer");
                    }
                    has_failed = true;
                }
            }
            self.rounds.notify_waiters();
            self.is_asked.notify_one();
            sleep(pause).await;
        }
    }

    /// Lets the open rooms draw their conclusions after each question to the leader. The next question does not wait
    /// for them.
    async fn keep_rooms(self: Arc<Self>) {
        let mut has_failed = false;
        loop {
            self.is_asked.notified().await;
            let result = self.tend_rooms().await;
            if let (Err(error), false) = (&result, has_failed) {
                tracing::warn!(%error, stream = %self.link.stream, "room is behind the stream; it is tried again");
            }
            has_failed = result.is_err();
            if has_failed {
                sleep(TICK).await;
            }
        }
    }
}
