use std::collections::BTreeMap;

use crate::{User, UserKey};

/// Who is in a room: each user with the number of their connections.
#[derive(Debug, Default)]
pub struct Roster {
    connections: BTreeMap<UserKey, (User, usize)>,
}

impl Roster {
    /// Counts one more connection of a user; true if it is the first.
    pub fn enter(&mut self, user: &User) -> bool {
        let (_, count) = self.connections.entry(user.key()).or_insert_with(|| (user.clone(), 0));
        *count += 1;
        *count == 1
    }

    /// Counts one connection of a user less; true if it was the last.
    pub fn leave(&mut self, user: &User) -> bool {
        let Some((_, count)) = self.connections.get_mut(&user.key()) else {
            return false;
        };
        *count -= 1;
        let last = *count == 0;
        if last {
            self.connections.remove(&user.key());
        }
        last
    }

    /// How many users there are.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// Whether nobody is here.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// The users, sorted by name.
    pub fn members(&self) -> Vec<User> {
        let mut members: Vec<User> = self.connections.values().map(|(user, _)| user.clone()).collect();
        members.sort_by(|a, b| (a.name(), a.id()).cmp(&(b.name(), b.id())));
        members
    }
}
