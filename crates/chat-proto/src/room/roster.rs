use std::collections::BTreeMap;

use crate::{User, UserKey};

/// The users in a room, with their connections on this node and on others.
///
/// ```
/// use chat_proto::{Roster, User};
///
/// let (mut roster, ann) = (Roster::default(), User::guest("ann")?);
/// assert!(roster.enter(&ann), "the first connection");
/// roster.set_remote("node-b", &ann, 1);
/// assert!(!roster.leave(&ann), "ann is still on the other node");
/// assert_eq!(roster.members(), [ann]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Roster {
    users: BTreeMap<UserKey, Present>,
}

#[derive(Debug)]
struct Present {
    user: User,
    local: usize,
    /// Connections on other nodes, by the name of the node; never 0.
    remote: BTreeMap<String, usize>,
}

impl Present {
    fn is_gone(&self) -> bool {
        self.local == 0 && self.remote.is_empty()
    }
}

impl Roster {
    /// Counts one more connection of a user. Returns true if it is the user's first on all nodes.
    pub fn enter(&mut self, user: &User) -> bool {
        let present = self.entry(user);
        let is_first = present.is_gone();
        present.local += 1;
        is_first
    }

    /// Counts one connection of a user less. Returns true if it was the user's last on all nodes.
    pub fn leave(&mut self, user: &User) -> bool {
        let Some(present) = self.users.get_mut(&user.key()) else {
            return false;
        };
        present.local = present.local.saturating_sub(1);
        self.remove_if_gone(&user.key())
    }

    /// Sets the number of connections that a user has on another node.
    pub fn set_remote(&mut self, node: &str, user: &User, connections: usize) {
        let present = self.entry(user);
        if connections == 0 {
            present.remote.remove(node);
        } else if let Some(count) = present.remote.get_mut(node) {
            *count = connections;
        } else {
            present.remote.insert(node.to_owned(), connections);
        }
        self.remove_if_gone(&user.key());
    }

    /// Removes the connections of a node. Returns the users who have no other connection.
    pub fn remove_node(&mut self, node: &str) -> Vec<User> {
        let mut gone = Vec::new();
        self.users.retain(|_, present| {
            let is_gone = present.remote.remove(node).is_some() && present.is_gone();
            if is_gone {
                gone.push(present.user.clone());
            }
            !is_gone
        });
        gone
    }

    /// Returns the connections of a user on this node.
    pub fn local_connections(&self, user: &User) -> usize {
        self.users.get(&user.key()).map_or(0, |present| present.local)
    }

    /// Returns true if a user is in the room, on any node.
    pub fn contains(&self, user: &User) -> bool {
        self.users.contains_key(&user.key())
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
        let mut members: Vec<User> = self.users.values().map(|present| present.user.clone()).collect();
        members.sort_by(|a, b| (a.name(), a.id()).cmp(&(b.name(), b.id())));
        members
    }

    fn entry(&mut self, user: &User) -> &mut Present {
        self.users.entry(user.key()).or_insert_with(|| Present {
            user: user.clone(),
            local: 0,
            remote: BTreeMap::new(),
        })
    }

    fn remove_if_gone(&mut self, key: &UserKey) -> bool {
        let is_gone = self.users.get(key).is_some_and(Present::is_gone);
        if is_gone {
            self.users.remove(key);
        }
        is_gone
    }
}
