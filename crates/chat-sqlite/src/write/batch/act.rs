use std::sync::Arc;

use chat_core::{
    ActContext, ActEffect, ActEntry, ActState, Change, ChangeError, Limits, NewAct, NewChange, NoRight,
    Right, Role, RoomName, RoomRules, Standing, User,
};

use super::{AppendBatch, Outcome, Position, RoomRow, refused};
use crate::database::row::{LAST_ROOM, LAST_SEQ, checksum, message_id};
use crate::database::{
    ACT_KIND, count_standings, read_rules, read_standing, remove_ended_standings, write_rules, write_standing,
};

/// An act that waits for its `seq`.
#[derive(Debug)]
pub(crate) struct PreparedAct {
    pub(crate) room: RoomName,
    pub(crate) act: NewAct,
    pub(crate) limits: Arc<Limits>,
}

impl AppendBatch<'_> {
    /// Sets the rules of a room or the standing of a user, if the user who acts has the right to do so.
    pub(crate) fn govern(&mut self, prepared: &PreparedAct) -> rusqlite::Result<Outcome> {
        let PreparedAct { room, act, limits } = prepared;
        if !act.fits(room) {
            return Ok(Outcome::Refused(ChangeError::Forbidden));
        }
        let known = self.row(room)?;
        let (mut context, at) = self.act_context(room, known, act)?;
        // Once in a batch, so that acts on a full room do not keep the writer from its work.
        if let Some(row) = known
            && context.needs_space(act, at, limits)
            && self.swept.insert(row.id)
        {
            remove_ended_standings(self.transaction, room, row.id, at)?;
            context = self.context(room, row, act)?;
        }
        let effect = match context.judge(act, at, limits) {
            Err(error) => return Ok(Outcome::Refused(error)),
            Ok(effect) => effect,
        };
        let (ActEffect::Store(state) | ActEffect::Create(state)) = &effect else {
            return Ok(Outcome::Known(Position { seq: None, at, duplicate: false }));
        };
        if self.limits.is_full {
            return Ok(refused("the store has reached its disk quota"));
        }
        let mut row = match known {
            Some(row) => row,
            None => self.create_row(room)?,
        };
        if row.head >= LAST_SEQ || row.id >= LAST_ROOM {
            return Ok(refused("the room is full"));
        }
        let seq = row.head + 1;
        let stored = ActEntry::new(seq, at, act.user.clone(), state.clone()).encode(room);
        let sum = checksum(room, seq, &stored.frame);
        self.transaction
            .prepare_cached(
                "INSERT INTO changes (id, at, kind, target, sum, entry) VALUES (?1, ?2, ?3, 0, ?4, ?5)",
            )?
            .execute((message_id(row.id, seq), at, ACT_KIND, sum, &*stored.frame))?;
        if let ActState::Rules { rules, .. } = state {
            write_rules(self.transaction, room, row.id, rules)?;
        }
        if let Some((user, standing)) = effect.standing(&act.user) {
            write_standing(self.transaction, room, row.id, user.id(), standing)?;
        }
        row.head = seq;
        row.last_at = Some(at);
        row.changes += 1;
        row.governed = true;
        self.rooms.insert(room.clone(), row);
        self.bytes += stored.frame.len();
        Ok(Outcome::Stored(Position { seq: Some(seq), at, duplicate: false }, stored))
    }

    /// Returns the state for the decision about an act, and the time of its entry.
    pub(super) fn act_context(
        &self,
        room: &RoomName,
        row: Option<RoomRow>,
        act: &NewAct,
    ) -> rusqlite::Result<(ActContext, u64)> {
        Ok(match row {
            Some(row) => (self.context(room, row, act)?, self.next_time(room, row)?),
            None => (ActContext::default(), self.now.at),
        })
    }

    fn context(&self, room: &RoomName, row: RoomRow, act: &NewAct) -> rusqlite::Result<ActContext> {
        let mut context = ActContext { has_entries: true, ..ActContext::default() };
        if row.governed {
            context.rules = read_rules(self.transaction, room, row.id)?;
            context.actor = self.standing(room, row, &act.user, Role::None)?;
            if let Some(user) = act.act.target() {
                context.target = read_standing(self.transaction, room, row.id, user.id())?;
            }
            // Only their acts depend on these numbers. Others must not make the writer count.
            if act.is_host || context.actor.granted(act.role).role >= Role::Moderator {
                (context.owners, context.standings) = count_standings(self.transaction, row.id)?;
            }
        }
        Ok(context)
    }

    /// Checks that the author of a message may send it. Returns the role with which its links are judged.
    pub(super) fn check_send(
        &self,
        room: &RoomName,
        row: RoomRow,
        (user, role): (&User, Role),
        at: u64,
    ) -> rusqlite::Result<Result<Role, NoRight>> {
        let standing = self.standing(room, row, user, role)?;
        let checked = self.rules(room, row)?.check(Right::Send, &standing, at);
        Ok(checked.map(|()| standing.role))
    }

    /// Checks that a user may make a change. Returns the role with which the change is judged.
    pub(super) fn check_change(
        &self,
        room: &RoomName,
        row: RoomRow,
        change: &NewChange,
        at: u64,
    ) -> rusqlite::Result<Result<Role, ChangeError>> {
        if !row.governed || self.limits.is_repeat {
            return Ok(Ok(change.role));
        }
        let (user, what): (&User, &Change) = (&change.user, &change.change);
        let standing = self.standing(room, row, user, change.role)?;
        let role = standing.judge_change(Some(&self.rules(room, row)?), what, at);
        Ok(role.map_err(ChangeError::from))
    }

    fn rules(&self, room: &RoomName, row: RoomRow) -> rusqlite::Result<RoomRules> {
        Ok(read_rules(self.transaction, room, row.id)?.unwrap_or_else(|| RoomRules::unset(room)))
    }

    /// Returns the standing that holds for a user with this role of the credentials or the host.
    fn standing(
        &self,
        room: &RoomName,
        row: RoomRow,
        user: &User,
        granted: Role,
    ) -> rusqlite::Result<Standing> {
        let stored = read_standing(self.transaction, room, row.id, user.id())?;
        Ok(self.rules(room, row)?.standing(&user.key(), stored, granted))
    }
}
