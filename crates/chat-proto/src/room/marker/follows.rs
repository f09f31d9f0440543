use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use super::MarkerError;
use crate::{RoomName, Unavailable, UserKey};

/// The rooms that users follow, in memory.
///
/// ```
/// use chat_proto::{Follows, UserKey};
///
/// let (mut follows, ann) = (Follows::new(1_000), UserKey::new("ann"));
/// follows.follow(&ann, &"lobby".parse()?, true, 200)?;
/// follows.follow(&ann, &"hall".parse()?, true, 200)?;
/// let rooms: Vec<_> = follows.of(&ann).map(|room| room.as_str()).collect();
/// assert_eq!(rooms, ["hall", "lobby"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Follows {
    users: BTreeMap<UserKey, BTreeSet<RoomName>>,
    rooms: usize,
    max: usize,
}

impl Follows {
    /// Returns a table for at most this many rooms of all users together.
    pub fn new(max: usize) -> Self {
        Self { users: BTreeMap::new(), rooms: 0, max }
    }

    /// Lets a user follow a room, or ends that. A repeat changes nothing.
    ///
    /// Direct rooms count separately, because others open them too: they leave a user the rooms of that user's choice.
    /// Anyone can take any number of guest names. So the rooms of a guest make place for another user if the table is
    /// full.
    ///
    /// # Errors
    ///
    /// [`MarkerError::TooManyRooms`] if the user follows `max` rooms of the kind. [`MarkerError::Unavailable`] if the
    /// table is full of users who are no guests.
    pub fn follow(
        &mut self,
        user: &UserKey,
        room: &RoomName,
        on: bool,
        max: usize,
    ) -> Result<(), MarkerError> {
        let is_counted = |followed: &&RoomName| followed.is_direct() == room.is_direct();
        let followed = self.users.get(user).map_or(0, |rooms| rooms.iter().filter(is_counted).count());
        let is_followed = self.users.get(user).is_some_and(|rooms| rooms.contains(room));
        if is_followed == on {
            return Ok(());
        }
        if !on {
            self.remove(user, room);
            return Ok(());
        }
        if followed >= max {
            return Err(MarkerError::TooManyRooms);
        }
        while self.rooms >= self.max {
            let guest = self.other_guest(user).cloned();
            let guest = guest.ok_or_else(|| Unavailable::over_quota("users follow too many rooms"))?;
            self.rooms -= self.users.remove(&guest).map_or(0, |rooms| rooms.len());
        }
        self.users.entry(user.clone()).or_default().insert(room.clone());
        self.rooms += 1;
        Ok(())
    }

    /// Returns the rooms that a user follows, in the order of their names.
    pub fn of(&self, user: &UserKey) -> impl Iterator<Item = &RoomName> {
        self.users.get(user).into_iter().flatten()
    }

    fn remove(&mut self, user: &UserKey, room: &RoomName) {
        let Some(rooms) = self.users.get_mut(user) else { return };
        self.rooms -= usize::from(rooms.remove(room));
        if rooms.is_empty() {
            self.users.remove(user);
        }
    }

    /// Returns another guest who follows rooms: the one after `user`, or the last.
    fn other_guest(&self, user: &UserKey) -> Option<&UserKey> {
        let next = self.users.range((Excluded(user), Unbounded)).next();
        let is_other_guest = |(key, _): &(&UserKey, &BTreeSet<RoomName>)| key.is_guest() && *key != user;
        let last = || self.users.last_key_value().filter(is_other_guest);
        next.filter(is_other_guest).or_else(last).map(|(key, _)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(name: &str) -> UserKey {
        UserKey::guest(name).expect("a name")
    }

    fn follow(follows: &mut Follows, user: &UserKey, room: &str, on: bool) -> Result<(), MarkerError> {
        follows.follow(user, &room.parse().expect("a room name"), on, 2)
    }

    fn of(follows: &Follows, user: &UserKey) -> Vec<String> {
        follows.of(user).map(ToString::to_string).collect()
    }

    #[test]
    fn a_user_follows_a_limited_number_of_rooms() {
        let (mut follows, ann) = (Follows::new(9), UserKey::new("ann"));
        for room in ["b", "a", "b"] {
            assert_eq!(follow(&mut follows, &ann, room, true), Ok(()));
        }
        assert_eq!(follow(&mut follows, &ann, "c", true), Err(MarkerError::TooManyRooms));
        assert_eq!(of(&follows, &ann), ["a", "b"]);
        for room in ["a", "c"] {
            assert_eq!(follow(&mut follows, &ann, room, false), Ok(()));
        }
        assert_eq!(follow(&mut follows, &ann, "c", true), Ok(()));
        assert_eq!((of(&follows, &ann), follows.rooms), (vec!["b".to_owned(), "c".to_owned()], 2));
    }

    #[test]
    fn direct_rooms_are_counted_separately() {
        let (mut follows, ann) = (Follows::new(9), UserKey::new("ann"));
        let direct = ["bob", "cid", "dan"].map(|other| RoomName::direct("ann", other));
        for room in [direct[0].as_str(), direct[1].as_str(), "a", "b"] {
            assert_eq!(follow(&mut follows, &ann, room, true), Ok(()));
        }
        for room in [direct[2].as_str(), "c"] {
            assert_eq!(follow(&mut follows, &ann, room, true), Err(MarkerError::TooManyRooms));
        }
    }

    #[test]
    fn the_rooms_of_a_guest_make_place_for_another_user() {
        let mut follows = Follows::new(3);
        for (user, room) in [(guest("ann"), "a"), (guest("ann"), "b"), (UserKey::new("1"), "a")] {
            assert_eq!(follow(&mut follows, &user, room, true), Ok(()));
        }
        assert_eq!(follow(&mut follows, &UserKey::new("2"), "a", true), Ok(()));
        assert_eq!((of(&follows, &guest("ann")).len(), follows.rooms), (0, 2));
        assert_eq!(follow(&mut follows, &UserKey::new("1"), "b", true), Ok(()));
        for user in [guest("bob"), UserKey::new("3")] {
            let refused = follow(&mut follows, &user, "a", true);
            assert!(matches!(refused, Err(MarkerError::Unavailable(_))), "{refused:?}");
        }
        assert_eq!(follow(&mut follows, &UserKey::new("1"), "a", true), Ok(()), "a room that is followed");
    }
}
