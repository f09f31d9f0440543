use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::{PresenceState, Role, User, UserKey};

/// Removed users of one node that are remembered, so that an older state that comes late does not bring them back.
const MAX_REMOVED: usize = 64;

/// The users in a room, with their connections on this node and on others.
///
/// A user without connections leaves at once, or *deferred*: the user stays until [`end_deferred`](Self::end_deferred),
/// unless the user enters again before.
///
/// Each state of another node has a version, which grows with each state of that node. A state that comes late or
/// repeatedly changes nothing. After many removals, a state that comes very late may be new or not: then
/// [`is_uncertain`](Self::is_uncertain) returns true until the node's users are [set](Self::set_node).
///
/// ```
/// use chat_proto::{Role, Roster, User};
///
/// let (mut roster, ann) = (Roster::default(), User::guest("ann")?);
/// assert!(roster.enter(&ann), "the first connection");
/// roster.enter_remote("node-b", &ann, Role::None, 7);
/// assert!(!roster.leave(&ann, false), "ann is still on the other node");
/// assert_eq!(roster.members(), [ann]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Roster {
    users: BTreeMap<UserKey, Present>,
    by_name: BTreeSet<ByName>,
    nodes: BTreeMap<String, Known>,
    /// Users without connections who leave later, in the order in which they lost the last one.
    deferred: BTreeMap<u64, UserKey>,
    last_deferred: u64,
}

/// A part of the users in a room, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MembersPage {
    /// The users.
    pub members: Vec<User>,
    /// True if there are more users after these.
    pub more: bool,
    /// The number of users in the room.
    pub total: usize,
}

/// A user in the order of names.
#[derive(Debug, PartialEq, Eq)]
struct ByName(User);

impl ByName {
    /// Returns what a client sees of a user.
    fn visible(&self) -> (&str, &str) {
        (self.0.name(), self.0.id())
    }
}

impl Ord for ByName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.visible().cmp(&other.visible()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for ByName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[derive(Debug)]
struct Present {
    user: User,
    local: usize,
    /// The other nodes on which the user has connections, with their states.
    remote: BTreeMap<String, Remote>,
    /// The place among those who leave later.
    deferred: Option<u64>,
}

/// The state of a user on another node.
#[derive(Clone, Copy, Debug)]
struct Remote {
    version: u64,
    /// The highest role that the credentials and the host give there.
    granted: Role,
}

/// The versions of one node.
#[derive(Debug, Default)]
struct Known {
    /// The version up to which all states are known.
    complete: u64,
    /// The last users who were removed after that version.
    removed: BTreeMap<UserKey, u64>,
    /// The version of the last removal that is not in `removed` any more. Up to it, the state of a user without
    /// connections on the node is unknown.
    forgotten: u64,
    /// True if such a state came. A roster that is not older than `forgotten` resolves it.
    is_uncertain: bool,
}

/// The age of a state of a user, compared to what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Age {
    New,
    Old,
    /// The user may have been removed later.
    Unknown,
}

impl Known {
    /// Returns the age of a state of a user who has no connections on the node.
    fn age(&self, user: &UserKey, version: u64) -> Age {
        match self.removed.get(user) {
            _ if version <= self.complete => Age::Old,
            Some(removed) if version <= *removed => Age::Old,
            None if version <= self.forgotten => Age::Unknown,
            _ => Age::New,
        }
    }

    fn remove(&mut self, user: UserKey, version: u64) {
        self.removed.insert(user, version);
        if self.removed.len() > MAX_REMOVED
            && let Some((oldest, version)) = self.removed.iter().min_by_key(|(_, version)| **version)
        {
            self.forgotten = self.forgotten.max(*version);
            let oldest = oldest.clone();
            self.removed.remove(&oldest);
        }
    }
}

impl Present {
    fn is_gone(&self) -> bool {
        self.local == 0 && self.remote.is_empty()
    }

    fn is_older(&self, node: &str, version: u64) -> bool {
        self.remote.get(node).is_none_or(|known| known.version < version)
    }
}

impl Roster {
    /// Counts one more connection of a user. Returns true if the user was not in the room.
    pub fn enter(&mut self, user: &User) -> bool {
        let is_first = !self.contains(user);
        self.entry(user).local += 1;
        self.stay(&user.key());
        is_first
    }

    /// Counts one connection of a user less. Returns true if the user has left: it was the last one on all nodes, and
    /// leaving is not deferred.
    pub fn leave(&mut self, user: &User, is_deferred: bool) -> bool {
        let key = user.key();
        let Some(present) = self.users.get_mut(&key) else { return false };
        present.local = present.local.saturating_sub(1);
        self.remove_if_gone(&key, is_deferred).is_some()
    }

    /// Records that a user has connections on another node, in a version of that node's state. `granted` is the highest
    /// role that the credentials and the host give there. Returns true if the user was not in the room.
    pub fn enter_remote(&mut self, node: &str, user: &User, granted: Role, version: u64) -> bool {
        self.is_news(node, &user.key(), version) && self.set_present(node, user, Remote { version, granted })
    }

    /// Returns true if a state of another node was ignored that may have been new. The users of the node must be asked
    /// for.
    pub fn is_uncertain(&self, node: &str) -> bool {
        self.nodes.get(node).is_some_and(|known| known.is_uncertain)
    }

    /// Records that a user has no connections on another node, in a version of that node's state. Returns true if the
    /// user has left.
    pub fn leave_remote(&mut self, node: &str, user: &User, version: u64, is_deferred: bool) -> bool {
        let key = user.key();
        if self.age(node, &key, version) != Age::New {
            return false;
        }
        self.nodes.entry(node.to_owned()).or_default().remove(key.clone(), version);
        let was_here = self.users.get_mut(&key).and_then(|present| present.remote.remove(node)).is_some();
        was_here && self.remove_if_gone(&key, is_deferred).is_some()
    }

    /// Sets all users of another node, with their roles as in [`enter_remote`](Self::enter_remote), in a version of
    /// that node's state. Returns the users whose presence changes.
    pub fn set_node<'a>(
        &mut self,
        node: &str,
        version: u64,
        users: impl IntoIterator<Item = (&'a User, Role)>,
        is_deferred: bool,
    ) -> Vec<(User, PresenceState)> {
        let known = self.nodes.entry(node.to_owned()).or_default();
        if version <= known.complete {
            return Vec::new();
        }
        let users: BTreeMap<_, _> =
            users.into_iter().map(|(user, granted)| (user.key(), (user, granted))).collect();
        let mut gone = Vec::new();
        for (key, present) in &mut self.users {
            if !users.contains_key(key)
                && present.is_older(node, version)
                && present.remote.remove(node).is_some()
            {
                gone.push(key.clone());
            }
        }
        let gone = gone.iter().filter_map(|key| self.remove_if_gone(key, is_deferred));
        let mut changes: Vec<_> = gone.map(|user| (user, PresenceState::Left)).collect();
        for (key, (user, granted)) in users {
            if self.is_news(node, &key, version) && self.set_present(node, user, Remote { version, granted })
            {
                changes.push((user.clone(), PresenceState::Joined));
            }
        }
        if let Some(known) = self.nodes.get_mut(node) {
            known.complete = version;
            known.removed.retain(|_, removed| *removed > version);
            known.is_uncertain &= version < known.forgotten;
        }
        changes
    }

    /// Removes the connections of a node, and forgets its versions. Returns the users who have left.
    pub fn remove_node(&mut self, node: &str, is_deferred: bool) -> Vec<User> {
        self.nodes.remove(node);
        let removed = |(key, present): (&UserKey, &mut Present)| {
            present.remote.remove(node).is_some().then(|| key.clone())
        };
        let gone: Vec<_> = self.users.iter_mut().filter_map(removed).collect();
        gone.iter().filter_map(|key| self.remove_if_gone(key, is_deferred)).collect()
    }

    /// Returns the number of the last user whose leaving was deferred.
    pub fn last_deferred(&self) -> u64 {
        self.last_deferred
    }

    /// Removes the users whose leaving was deferred, up to this number. Returns them.
    pub fn end_deferred(&mut self, up_to: u64) -> Vec<User> {
        let mut gone = Vec::new();
        while let Some(first) = self.deferred.first_entry()
            && *first.key() <= up_to
        {
            let key = first.remove();
            gone.extend(self.remove(&key));
        }
        gone
    }

    /// Returns the users with connections on this node.
    pub fn local(&self) -> impl Iterator<Item = &User> {
        self.users.values().filter(|present| present.local > 0).map(|present| &present.user)
    }

    /// Returns the connections of a user on this node.
    pub fn local_connections(&self, user: &User) -> usize {
        self.users.get(&user.key()).map_or(0, |present| present.local)
    }

    /// Returns the users of this id, on any node: a guest, and one whom the host service knows. Each has the highest
    /// role that the credentials and the host give on other nodes.
    pub fn of_id(&self, id: &str) -> impl Iterator<Item = (&User, Role)> {
        let users = UserKey::all_of_id(id).into_iter().filter_map(|key| self.users.get(&key));
        users.map(|present| {
            let granted = present.remote.values().map(|state| state.granted).max();
            (&present.user, granted.unwrap_or_default())
        })
    }

    /// Returns true if a user is in the room, on any node.
    pub fn contains(&self, user: impl Into<UserKey>) -> bool {
        self.users.contains_key(&user.into())
    }

    /// Returns the number of users.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Returns true if no user is in the room.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Returns the users, sorted by name.
    pub fn members(&self) -> Vec<User> {
        self.by_name.iter().map(|ByName(user)| user.clone()).collect()
    }

    /// Returns at most `limit` users, sorted by name: the first ones, or those after a user. That user need not be in
    /// the room. The page is one user longer if the last two have the same name and id.
    pub fn page(&self, after: Option<&User>, limit: usize) -> MembersPage {
        let after = after.cloned().map(ByName);
        let start = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let users = self.by_name.range((start, Bound::Unbounded));
        // A guest and another user can look alike.
        let mut users =
            users.skip_while(|user| after.as_ref().is_some_and(|after| user.visible() == after.visible()));
        let mut members: Vec<User> = users.by_ref().take(limit).map(|ByName(user)| user.clone()).collect();
        let mut next = users.next();
        if let Some(ByName(user)) = next
            && members.last().is_some_and(|last| (last.name(), last.id()) == (user.name(), user.id()))
        {
            members.push(user.clone());
            next = users.next();
        }
        MembersPage { members, more: next.is_some(), total: self.len() }
    }

    fn age(&self, node: &str, user: &UserKey, version: u64) -> Age {
        match self.users.get(user).and_then(|present| present.remote.get(node)) {
            Some(known) if known.version < version => Age::New,
            Some(_) => Age::Old,
            None => self.nodes.get(node).map_or(Age::New, |known| known.age(user, version)),
        }
    }

    /// Returns true if the presence of a user on another node is newer than all that is known. Records that this cannot
    /// be known.
    fn is_news(&mut self, node: &str, user: &UserKey, version: u64) -> bool {
        let age = self.age(node, user, version);
        if age == Age::Unknown
            && let Some(known) = self.nodes.get_mut(node)
        {
            known.is_uncertain = true;
        }
        age == Age::New
    }

    fn set_present(&mut self, node: &str, user: &User, state: Remote) -> bool {
        let key = user.key();
        let is_first = !self.contains(user);
        self.entry(user).remote.insert(node.to_owned(), state);
        self.nodes.entry(node.to_owned()).or_default().removed.remove(&key);
        self.stay(&key);
        is_first
    }

    fn entry(&mut self, user: &User) -> &mut Present {
        self.users.entry(user.key()).or_insert_with(|| {
            self.by_name.insert(ByName(user.clone()));
            Present { user: user.clone(), local: 0, remote: BTreeMap::new(), deferred: None }
        })
    }

    /// Records that a user has a connection again.
    fn stay(&mut self, key: &UserKey) {
        if let Some(number) = self.users.get_mut(key).and_then(|present| present.deferred.take()) {
            self.deferred.remove(&number);
        }
    }

    fn remove(&mut self, key: &UserKey) -> Option<User> {
        let user = ByName(self.users.remove(key)?.user);
        self.by_name.remove(&user);
        Some(user.0)
    }

    /// Returns a user without connections who has left now.
    fn remove_if_gone(&mut self, key: &UserKey, is_deferred: bool) -> Option<User> {
        let present = self.users.get_mut(key).filter(|present| present.is_gone())?;
        if !is_deferred {
            self.stay(key);
            return self.remove(key);
        }
        if present.deferred.is_none() {
            self.last_deferred += 1;
            present.deferred = Some(self.last_deferred);
            self.deferred.insert(self.last_deferred, key.clone());
        }
        None
    }
}
