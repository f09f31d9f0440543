use super::{Act, ActState, Direct, NewAct, Right, RoomRules, Standing};
use crate::room::{ChangeError, Unavailable};
use crate::{Limits, Role, User};

/// The state of a room for the decision about an act, as the log has it at the place where the entry would be stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActContext {
    /// The rules. `None` if the room was only joined.
    pub rules: Option<RoomRules>,
    /// True if the log has or had an entry.
    pub has_entries: bool,
    /// The standing of the user who acts, [as it holds](Standing::of) for that user.
    pub actor: Standing,
    /// The standing of the user on whom that one acts.
    pub target: Standing,
    /// The number of users whose stored role is that of an owner.
    pub owners: u64,
    /// The number of users with a standing.
    pub standings: u64,
}

/// The effect of an act that is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActEffect {
    /// The entry is stored, and so is the standing of the user that it names.
    Store(ActState),
    /// The room is created by the entry. Its creator is its owner, unless that is a guest.
    Create(ActState),
    /// Everything is already as the act would make it. Nothing is stored.
    Unchanged,
}

/// The rank of the host service, above all roles.
const HOST: u8 = 4;

fn rank(role: Role) -> u8 {
    match role {
        Role::None => 0,
        Role::Member => 1,
        Role::Moderator => 2,
        Role::Owner => 3,
    }
}

impl ActContext {
    /// Decides about an act at the time `now`, in milliseconds since the Unix epoch.
    ///
    /// A store calls it inside of its serialized append, so that rights hold at a place in the log.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Forbidden`] and [`ChangeError::Muted`] without the right, [`ChangeError::RoomExists`] for a room
    /// that somebody else uses, and [`ChangeError::Unavailable`] if the log keeps too many standings.
    /// [`ChangeError::Unsupported`] for a purge, which [`judge_purge`](Self::judge_purge) decides about.
    pub fn judge(&self, new: &NewAct, now: u64, limits: &Limits) -> Result<ActEffect, ChangeError> {
        let is_direct = self.rules.as_ref().is_some_and(|rules| rules.direct.is_some());
        match &new.act {
            Act::Direct { with } => self.judge_direct(new, with, now),
            // Its users and their roles never change.
            Act::Create { .. } | Act::Role { .. } if is_direct => Err(ChangeError::Forbidden),
            Act::Create { rules } => self.judge_rules(new, rules, now),
            Act::Role { user, role } => {
                self.judge_role(new, *role, now)?;
                let restriction = self.target.restriction.filter(|_| self.target.restricted(now).is_some());
                let standing = Standing::new(*role, restriction);
                let is_unchanged = self.target.role == *role;
                self.store(standing, is_unchanged, limits, |Standing { role, restriction }| {
                    ActState::Standing { user: user.clone(), role, restriction, reason: None }
                })
            }
            Act::Restrict { user, restriction, reason } => {
                self.check(new, Right::Restrict, now)?;
                self.check_rank(new)?;
                // One whose end is over is none: the clock of a client may be wrong, and the act may come late.
                let restriction = restriction.filter(|restriction| restriction.holds(now));
                let is_unchanged = self.target.restriction == restriction;
                let standing = Standing::new(self.target.role, restriction);
                self.store(standing, is_unchanged, limits, |Standing { role, restriction }| {
                    ActState::Standing { user: user.clone(), role, restriction, reason: reason.clone() }
                })
            }
            Act::Purge { .. } => Err(ChangeError::Unsupported),
        }
    }

    /// Returns true if the act adds a standing to a log that has as many as it may keep. Then a store removes those
    /// that [have ended](Standing::has_ended) at the time `now` and counts the others, before the act is judged.
    pub fn needs_space(&self, new: &NewAct, now: u64, limits: &Limits) -> bool {
        let is_kept = match &new.act {
            Act::Role { role, .. } => *role != Role::None,
            Act::Restrict { restriction, .. } => {
                restriction.is_some_and(|restriction| restriction.holds(now))
            }
            _ => false,
        };
        is_kept && self.target.is_default() && self.is_full(limits)
    }

    fn is_full(&self, limits: &Limits) -> bool {
        self.standings >= limits.rooms.max_standings as u64
    }

    /// Decides about a purge at the time `now`, in milliseconds since the Unix epoch. A store calls it for each entry
    /// of the purge.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Forbidden`] and [`ChangeError::Muted`] without the right, and [`ChangeError::Forbidden`] for
    /// another user of an equal or higher rank.
    pub fn judge_purge(&self, new: &NewAct, now: u64) -> Result<(), ChangeError> {
        self.check(new, Right::Purge, now)?;
        let is_oneself = new.act.target().is_some_and(|user| user.id() == new.user.id());
        if is_oneself { Ok(()) } else { self.check_rank(new) }
    }

    /// Decides about a direct room. Of two users who open it at the same time, the second one changes nothing.
    fn judge_direct(&self, new: &NewAct, with: &User, now: u64) -> Result<ActEffect, ChangeError> {
        let opened = || Some(RoomRules::of_direct(Direct::new(&new.user, with)));
        let rules = self.rules.clone().or_else(opened).unwrap_or_default();
        let actor = new.user.key();
        rules.check(Right::Join, &rules.standing(&actor, self.actor, Role::None), now)?;
        let Some(direct) = rules.direct.as_ref().filter(|direct| direct.contains(&actor)) else {
            return Err(ChangeError::Forbidden);
        };
        let created = self.rules.is_none();
        if !created && direct.has_name_of(&new.user) {
            return Ok(ActEffect::Unchanged);
        }
        let rules = RoomRules { direct: Some(direct.clone().renamed(&new.user)), ..rules };
        let state = ActState::Rules { rules, created };
        Ok(if created { ActEffect::Create(state) } else { ActEffect::Store(state) })
    }

    fn judge_rules(&self, new: &NewAct, rules: &RoomRules, now: u64) -> Result<ActEffect, ChangeError> {
        let state = |created| ActState::Rules { rules: rules.clone(), created };
        if self.rules.is_none() && !self.has_entries {
            // A guest proves nothing, so a later guest of the same name must not own the room.
            let is_allowed = new.is_host || !new.user.is_guest() || new.role == Role::Owner;
            return if is_allowed { Ok(ActEffect::Create(state(true))) } else { Err(ChangeError::Forbidden) };
        }
        match self.check(new, Right::Settings, now) {
            Ok(()) if self.rules.as_ref() == Some(rules) => Ok(ActEffect::Unchanged),
            Ok(()) => Ok(ActEffect::Store(state(false))),
            Err(ChangeError::Forbidden) if self.actor.restricted(now).is_none() => {
                Err(ChangeError::RoomExists)
            }
            Err(error) => Err(error),
        }
    }

    fn judge_role(&self, new: &NewAct, role: Role, now: u64) -> Result<(), ChangeError> {
        let is_oneself =
            !new.user.is_guest() && new.act.target().is_some_and(|user| user.id() == new.user.id());
        if is_oneself && !new.is_host && role <= self.actor.role {
            // A step down, which leaves no room without an owner.
            let is_last_owner = self.actor.role == Role::Owner && role < Role::Owner && self.owners <= 1;
            let may_act = self.actor.restricted(now).is_none();
            return if is_last_owner || !may_act { Err(ChangeError::Forbidden) } else { Ok(()) };
        }
        self.check(new, Right::Role, now)?;
        self.check_rank(new)?;
        let is_too_high = rank(role) >= self.rank(new);
        if is_too_high { Err(ChangeError::Forbidden) } else { Ok(()) }
    }

    /// Checks a right of the user who acts.
    fn check(&self, new: &NewAct, right: Right, now: u64) -> Result<(), ChangeError> {
        if new.is_host {
            return Ok(());
        }
        let rules = self.rules.clone().unwrap_or_default();
        Ok(rules.check(right, &rules.standing(&new.user.key(), self.actor, new.role), now)?)
    }

    /// Checks that the user on whom somebody acts has a lower rank.
    fn check_rank(&self, new: &NewAct) -> Result<(), ChangeError> {
        let target = rank(self.target.role.max(new.target_role));
        if target < self.rank(new) { Ok(()) } else { Err(ChangeError::Forbidden) }
    }

    fn rank(&self, new: &NewAct) -> u8 {
        if new.is_host { HOST } else { rank(self.actor.role.max(new.role)) }
    }

    fn store(
        &self,
        standing: Standing,
        is_unchanged: bool,
        limits: &Limits,
        state: impl FnOnce(Standing) -> ActState,
    ) -> Result<ActEffect, ChangeError> {
        if is_unchanged {
            return Ok(ActEffect::Unchanged);
        }
        let is_new = self.target.is_default() && !standing.is_default();
        if is_new && self.is_full(limits) {
            return Err(
                Unavailable::over_quota("the room has too many users with a role or a restriction").into()
            );
        }
        Ok(ActEffect::Store(state(standing)))
    }
}
