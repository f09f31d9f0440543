//! What the session asks of rooms, one thing at a time.

use std::future::ready;
use std::sync::Arc;
use std::task::{Context, Poll};

use chat_proto::command;
use chat_proto::session::{Action, Operation, Outcome};
use futures_util::future::FutureExt;

use super::Driver;
use crate::chat::{append, search, within};
use crate::connection::Connection;
use crate::live::{Entered, LiveRoom, Membership};
use crate::{ErrorCode, LogBounds, Message, NewMessage};

/// What has come of the operation in hand.
pub(super) enum Done {
    Outcome(Result<Outcome, ErrorCode>),
    LogBounds(Arc<LiveRoom>, command::JoinFrom, Result<LogBounds, ErrorCode>),
}

impl<M: Message, C: Connection> Driver<'_, M, C> {
    pub(super) fn poll_operation(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.may_reply() {
            return false;
        }
        let Some(operation) = &mut self.operation else {
            return false;
        };
        let Poll::Ready(done) = operation.poll_unpin(cx) else {
            return false;
        };
        self.operation = None;
        self.take_events();
        let outcome = match done {
            Done::Outcome(outcome) => outcome,
            Done::LogBounds(room, from, bounds) => bounds.and_then(|bounds| self.enter(room, bounds, &from)),
        };
        let outcome = outcome.unwrap_or_else(Outcome::Refused);
        let effects = self.session.handle_outcome(self.now(), outcome);
        self.perform(effects);
        true
    }

    pub(super) fn begin(&mut self, Operation { room: name, action }: Operation) {
        let rooms = Arc::clone(self.chat.rooms());
        let room = match rooms.open(&name) {
            Ok(room) => room,
            Err(code) => return self.finish(Err(code)),
        };
        let operation = match action {
            // Nobody would hear it, and whatever was sent behind it still counts.
            Action::History(_) | Action::Search(_) | Action::Members if self.mute.is_some() => {
                return self.finish(Ok(Outcome::Members(Vec::new())));
            }
            Action::Leave => {
                self.forget(&name, true);
                self.memberships.remove(&name);
                return self.finish(Ok(Outcome::Left));
            }
            Action::Members => return self.finish(Ok(Outcome::Members(room.members()))),
            Action::Join(from) => async move {
                let bounds = within(&rooms, room.log.bounds()).await;
                Done::LogBounds(room, from, bounds)
            }
            .boxed(),
            Action::Send { key, body } => {
                let draft = NewMessage { user: self.session.user().clone(), key, body };
                async move { Done::Outcome(append::<M>(&*room.log, draft, &rooms).await.map(Outcome::Sent)) }
                    .boxed()
            }
            Action::History(range) => {
                async move { Done::Outcome(within(&rooms, room.log.read(range)).await.map(Outcome::History)) }
                    .boxed()
            }
            Action::Search(what) => {
                async move { Done::Outcome(search(&*room.log, what, &rooms).await.map(Outcome::Found)) }
                    .boxed()
            }
        };
        self.operation = Some(operation);
    }

    /// Ends an operation that did not have to wait.
    fn finish(&mut self, outcome: Result<Outcome, ErrorCode>) {
        self.operation = Some(ready(Done::Outcome(outcome)).boxed());
    }

    fn enter(
        &mut self,
        room: Arc<LiveRoom>,
        bounds: LogBounds,
        from: &command::JoinFrom,
    ) -> Result<Outcome, ErrorCode> {
        let name = room.name().clone();
        let entered = if let Some(membership) = self.memberships.get_mut(&name) {
            let entered = membership.rejoin(bounds, from)?;
            if *from != command::JoinFrom::Now {
                self.forget(&name, false);
            }
            entered
        } else {
            let who = (self.number, self.session.user().clone());
            let rooms = Arc::clone(self.chat.rooms());
            let (membership, entered) =
                Membership::join(rooms, room, who, Arc::clone(&self.inbox), bounds, from)?;
            self.memberships.insert(name, membership);
            entered
        };
        let Entered { bounds, resumption, members } = entered;
        Ok(Outcome::Joined { bounds, resumption, members })
    }
}
