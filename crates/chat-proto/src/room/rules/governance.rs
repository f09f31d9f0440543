use std::borrow::Cow;
use std::collections::BTreeMap;

use super::{ActContext, ActEffect, ActState, Direct, NewAct, Right, RoomRules, Standing};
use crate::room::{AppendError, ChangeError, NewChange, NewMessage};
use crate::{Role, RoomName, User, UserKey};

/// The bytes of a standing beside its id, rounded up.
const OVERHEAD: usize = 128;

/// The rules of a room and the standings of its users, as the acts of its log have set them. Logs that keep both in
/// memory use it.
///
/// ```
/// use chat_proto::{
///     Act, ActEffect, Governance, Limits, NewAct, Restrict, Restriction, Role, Standing, User,
/// };
///
/// let mut governance = Governance::new("lobby".parse()?);
/// let (ops, bob) = (User::new("ops", "Ops")?, User::new("7", "Bob")?);
/// let restriction = Some(Restriction::new(Restrict::Mute, None));
/// let mute = Act::Restrict { user: bob.clone(), restriction, reason: None };
/// let mute = NewAct::new(ops.clone(), mute).by_host();
/// let effect = governance.context(&mute, false).judge(&mute, 0, &Limits::default())?;
/// governance.apply(&ops, &effect);
/// assert_eq!(governance.standing(&bob.key(), Role::Member), Standing::new(Role::Member, restriction));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Governance {
    room: RoomName,
    rules: Option<RoomRules>,
    standings: BTreeMap<String, Standing>,
}

impl Governance {
    /// Returns that of a room without acts.
    pub fn new(room: RoomName) -> Self {
        Self { room, rules: None, standings: BTreeMap::new() }
    }

    /// Returns that of a room with these rules, `None` if it was only joined, and these standings by the ids of users.
    pub fn restore(
        room: RoomName,
        rules: Option<RoomRules>,
        standings: impl IntoIterator<Item = (String, Standing)>,
    ) -> Self {
        Self { room, rules, standings: standings.into_iter().collect() }
    }

    /// Returns the rules that an act has set.
    pub fn stored_rules(&self) -> Option<&RoomRules> {
        self.rules.as_ref()
    }

    /// Returns the standings that acts have set, by the ids of users, in their order.
    pub fn standings(&self) -> impl ExactSizeIterator<Item = (&str, Standing)> {
        self.standings.iter().map(|(id, standing)| (&**id, *standing))
    }

    /// Returns the rules that hold.
    pub fn rules(&self) -> Cow<'_, RoomRules> {
        match &self.rules {
            Some(rules) => Cow::Borrowed(rules),
            None => Cow::Owned(RoomRules::unset(&self.room)),
        }
    }

    /// Returns the standing that holds for a user with this role of the credentials or the host.
    pub fn standing(&self, user: &UserKey, granted: Role) -> Standing {
        let stored = self.standings.get(user.id()).copied().unwrap_or_default();
        self.rules().standing(user, stored, granted)
    }

    /// Checks that the author of a message may send it. Returns the role with which its links are judged.
    ///
    /// # Errors
    ///
    /// [`AppendError::Forbidden`] and [`AppendError::Muted`] without the right.
    pub fn check_send(&self, message: &NewMessage, now: u64) -> Result<Role, AppendError> {
        let standing = self.standing(&message.user.key(), message.role);
        self.rules().check(Right::Send, &standing, now)?;
        Ok(standing.role)
    }

    /// Checks that a user may make a change, and returns the role with which the change is judged.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Forbidden`] and [`ChangeError::Muted`] without the right to such a change of any message.
    pub fn check_change(&self, change: &NewChange, now: u64) -> Result<Role, ChangeError> {
        let standing = self.standing(&change.user.key(), change.role);
        Ok(standing.judge_change(Some(&self.rules()), &change.change, now)?)
    }

    /// Returns the context of an act. `has_entries` is true if the log has or had an entry.
    pub fn context(&self, new: &NewAct, has_entries: bool) -> ActContext {
        let target = new.act.target().and_then(|user| self.standings.get(user.id()));
        ActContext {
            rules: self.rules.clone(),
            has_entries,
            actor: self.standing(&new.user.key(), Role::None),
            target: target.copied().unwrap_or_default(),
            owners: self.standings.values().filter(|standing| standing.role == Role::Owner).count() as u64,
            standings: self.standings.len() as u64,
        }
    }

    /// Removes the standings that have [ended](Standing::has_ended).
    pub fn remove_ended(&mut self, now: u64) {
        self.standings.retain(|_, standing| !standing.has_ended(now));
    }

    /// Applies an act of a user.
    pub fn apply(&mut self, by: &User, effect: &ActEffect) {
        let (ActEffect::Store(state) | ActEffect::Create(state)) = effect else { return };
        match state {
            ActState::Rules { rules, .. } => self.rules = Some(rules.clone()),
            ActState::Standing { .. } | ActState::Purge { .. } => {}
        }
        if let Some((user, standing)) = effect.standing(by) {
            if standing.is_default() {
                self.standings.remove(user.id());
            } else {
                self.standings.insert(user.id().to_owned(), standing);
            }
        }
    }

    pub(in crate::room) fn memory_bytes(&self) -> usize {
        let standings: usize = self.standings.keys().map(|id| id.len() + OVERHEAD).sum();
        let rules = self.rules.as_ref().map_or(0, |rules| {
            let direct = rules.direct.as_ref().map_or(0, Direct::memory_bytes);
            rules.title.as_ref().map_or(0, String::len) + direct
        });
        OVERHEAD + standings + rules
    }
}

impl ActEffect {
    /// Returns the user whose standing the act sets, and that standing. `by` is the user who acts.
    pub fn standing<'a>(&'a self, by: &'a User) -> Option<(&'a User, Standing)> {
        match self {
            Self::Store(state) => state.standing(),
            // A direct room has no owner.
            Self::Create(ActState::Rules { rules, .. }) if rules.direct.is_some() => None,
            Self::Create(_) if !by.is_guest() => Some((by, Standing::new(Role::Owner, None))),
            Self::Create(_) | Self::Unchanged => None,
        }
    }
}
