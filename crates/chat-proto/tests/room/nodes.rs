//! The other nodes of a room, and their notices on a bus that delays, repeats and reorders.

use std::collections::{BTreeMap, BTreeSet};

/// A state of a node on its way.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    pub(crate) node: &'static str,
    pub(crate) version: u64,
    pub(crate) state: State,
}

#[derive(Clone, Debug)]
pub(crate) enum State {
    /// A user is on the node, or not.
    User(usize, bool),
    /// These users are on the node.
    All(BTreeSet<usize>),
}

#[derive(Default)]
pub(crate) struct Nodes {
    version: u64,
    actual: BTreeMap<&'static str, BTreeSet<usize>>,
    on_the_way: Vec<Notice>,
    /// The newest delivered states, by node and user.
    delivered: BTreeMap<(&'static str, usize), (u64, bool)>,
    /// The newest delivered rosters.
    rosters: BTreeMap<&'static str, (u64, BTreeSet<usize>)>,
}

impl Nodes {
    pub(crate) fn change(&mut self, node: &'static str, user: usize, is_here: bool) {
        let users = self.actual.entry(node).or_default();
        if is_here {
            users.insert(user);
        } else {
            users.remove(&user);
        }
        self.publish(node, State::User(user, is_here));
    }

    pub(crate) fn publish_roster(&mut self, node: &'static str) {
        let users = self.actual.entry(node).or_default().clone();
        self.publish(node, State::All(users));
    }

    fn publish(&mut self, node: &'static str, state: State) {
        self.version += 1;
        self.on_the_way.push(Notice { node, version: self.version, state });
    }

    /// Delivers one of the notices on the way. If it is kept, it comes again.
    pub(crate) fn deliver(&mut self, which: usize, is_kept: bool) -> Option<Notice> {
        let index = which.checked_rem(self.on_the_way.len())?;
        let notice = if is_kept { self.on_the_way[index].clone() } else { self.on_the_way.remove(index) };
        let Notice { node, version, state } = notice.clone();
        match state {
            State::User(user, is_here) => {
                let known = self.delivered.entry((node, user)).or_default();
                *known = (*known).max((version, is_here));
            }
            State::All(users) => {
                let known = self.rosters.entry(node).or_default();
                if version > known.0 {
                    *known = (version, users);
                }
            }
        }
        Some(notice)
    }

    /// Loses a node, with its notices on the way. All its users are gone.
    pub(crate) fn lose(&mut self, lost: &'static str) {
        self.actual.remove(lost);
        self.on_the_way.retain(|notice| notice.node != lost);
        self.delivered.retain(|(node, _), _| *node != lost);
        self.rosters.remove(lost);
    }

    /// Returns true if a user is on a node by the newest delivered state.
    pub(crate) fn has(&self, node: &'static str, user: usize) -> bool {
        let (version, is_here) = self.delivered.get(&(node, user)).copied().unwrap_or_default();
        match self.rosters.get(node) {
            Some((roster, users)) if *roster > version => users.contains(&user),
            _ => is_here,
        }
    }
}
