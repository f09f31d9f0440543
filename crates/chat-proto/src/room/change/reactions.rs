use serde::{Deserialize, Serialize};

use super::Reaction;
use crate::{User, UserKey};

/// The bytes of the first elements of the lists of reactions.
const LISTS: usize = 448;

/// The bytes of one reaction beside its text and its users, rounded up.
const REACTION: usize = 256;

/// The bytes of one user of a reaction beside the texts of the user, rounded up.
const USER: usize = 200;

/// The reactions to one message: who has placed which one, and when.
///
/// A store that keeps them as text keeps the form that serde gives them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Placed>", into = "Vec<Placed>")]
pub struct ReactionSets {
    sets: Vec<Placed>,
    bytes: usize,
}

/// The users who have placed one reaction, and the position of each, in that order.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Placed {
    reaction: String,
    users: Vec<Placer>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Placer {
    seq: u64,
    #[serde(with = "crate::user::user_record")]
    user: User,
}

impl From<Vec<Placed>> for ReactionSets {
    fn from(sets: Vec<Placed>) -> Self {
        let users =
            |placed: &Placed| placed.users.iter().map(|placer| user_bytes(&placer.user)).sum::<usize>();
        let bytes = sets.iter().map(|placed| reaction_bytes(&placed.reaction) + users(placed)).sum();
        Self { sets, bytes }
    }
}

impl From<ReactionSets> for Vec<Placed> {
    fn from(reactions: ReactionSets) -> Self {
        reactions.sets
    }
}

impl ReactionSets {
    /// Returns true if a user has placed a reaction.
    pub fn contains(&self, reaction: &str, user: &UserKey) -> bool {
        let placed = self.sets.iter().find(|placed| placed.reaction == reaction);
        placed.is_some_and(|placed| placed.position(user).is_some())
    }

    /// Returns each reaction, its user, and the position of the entry that has placed it.
    pub fn placed(&self) -> impl Iterator<Item = (&str, &User, u64)> {
        self.sets
            .iter()
            .flat_map(|set| set.users.iter().map(|placer| (&*set.reaction, &placer.user, placer.seq)))
    }

    /// Adds or removes a reaction of a user, at the position `seq`. `edit` is the newest edit of the message.
    ///
    /// Returns its state, `None` if no user has it any more.
    pub fn set(&mut self, reaction: &str, user: &User, on: bool, seq: u64, edit: u64) -> Option<Reaction> {
        let known = self.sets.iter().position(|placed| placed.reaction == reaction);
        let index = known.unwrap_or_else(|| {
            self.bytes += reaction_bytes(reaction);
            self.sets.push(Placed { reaction: reaction.to_owned(), users: Vec::new() });
            self.sets.len() - 1
        });
        let placed = &mut self.sets[index];
        if let Some(position) = placed.position(&user.key()) {
            self.bytes -= user_bytes(&placed.users.remove(position).user);
            if placed.users.len() < placed.users.capacity() / 4 {
                placed.users.shrink_to(placed.users.len() * 2);
            }
        }
        if on {
            self.bytes += user_bytes(user);
            placed.users.push(Placer { seq, user: user.clone() });
        }
        if placed.users.is_empty() {
            self.bytes -= reaction_bytes(reaction);
            self.sets.remove(index);
            return None;
        }
        let users = placed.users.iter().map(|placer| placer.user.clone()).take(Reaction::MAX_USERS).collect();
        // The positions grow.
        let stale = placed.users.partition_point(|placer| placer.seq < edit);
        Some(Reaction::new(reaction, placed.users.len() as u64, users).with_stale(stale as u64))
    }

    /// Returns the bytes that the reactions take, with those that the folded message names, rounded up.
    pub(in crate::room) fn memory_bytes(&self) -> usize {
        if self.sets.is_empty() { 0 } else { LISTS + self.bytes }
    }
}

impl Placed {
    fn position(&self, user: &UserKey) -> Option<usize> {
        let is_user = |placer: &User| placer.is_guest() == user.is_guest() && placer.id() == user.id();
        self.users.iter().position(|placer| is_user(&placer.user))
    }
}

fn reaction_bytes(reaction: &str) -> usize {
    // The folded message has the text again.
    REACTION + 2 * reaction.len()
}

fn user_bytes(user: &User) -> usize {
    USER + user.id().len() + user.name().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reactions_are_read_as_they_were_written() {
        let (guest, user) = (User::guest("ann").expect("a guest"), User::new("ann", "Ann").expect("a user"));
        let mut sets = ReactionSets::default();
        sets.set("+1", &guest, true, 2, 0);
        let text = serde_json::to_string(&sets).expect("JSON");
        let mut read: ReactionSets = serde_json::from_str(&text).expect("reactions");
        assert_eq!(read.memory_bytes(), sets.memory_bytes());
        assert!(read.contains("+1", &guest.key()) && !read.contains("+1", &user.key()));
        assert_eq!(read.set("+1", &user, true, 4, 3).map(|state| (state.count, state.stale)), Some((2, 1)));
    }

    #[test]
    fn the_bytes_are_those_of_the_reactions_that_are_there() {
        let user = |n: usize| User::new(&format!("{n:0200}"), &"n".repeat(32)).expect("a user");
        let mut sets = ReactionSets::default();
        assert_eq!(sets.memory_bytes(), 0);
        for n in 0..1_000 {
            sets.set(if n % 2 == 0 { "+1" } else { "-1" }, &user(n), true, n as u64, 0);
        }
        let all = sets.memory_bytes();
        let least = 1_000 * (232 + size_of::<Placer>());
        assert!((least..2 * least).contains(&all), "{all}");
        sets.set("+1", &user(0), true, 1_000, 0);
        assert_eq!(sets.memory_bytes(), all, "placed again");
        for n in 1..1_000 {
            sets.set(if n % 2 == 0 { "+1" } else { "-1" }, &user(n), false, 2_000, 0);
        }
        assert_eq!(sets.memory_bytes(), LISTS + reaction_bytes("+1") + user_bytes(&user(0)));
        assert_eq!(sets.set("+1", &user(0), false, 3_000, 0), None);
        assert_eq!((sets.memory_bytes(), sets.sets.len()), (0, 0));
    }
}
