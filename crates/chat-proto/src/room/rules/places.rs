use super::NewAct;
use crate::RoomName;

/// The purges that may go on at the same time. The places that users leave are for the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PurgePlaces {
    /// All purges. Default 64.
    pub total: usize,
    /// Those of users. Default 48.
    pub of_users: usize,
    /// Those of users in one room. Default 2.
    pub of_room: usize,
    /// Those of one user in all rooms. Default 4.
    pub of_user: usize,
}

impl Default for PurgePlaces {
    fn default() -> Self {
        Self { total: 64, of_users: 48, of_room: 2, of_user: 4 }
    }
}

impl PurgePlaces {
    /// Changes the numbers.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Checks that a purge may begin beside those that go on.
    ///
    /// # Errors
    ///
    /// The reason, if there is no place. The answer to the purge is
    /// [`Unavailable::over_quota`](crate::Unavailable::over_quota) then.
    pub fn check<'a>(
        &self,
        going_on: impl IntoIterator<Item = (&'a RoomName, &'a NewAct)>,
        room: &RoomName,
        act: &NewAct,
    ) -> Result<(), &'static str> {
        let (mut total, mut of_users, mut of_room, mut of_user) = (0, 0, 0, 0);
        for (other_room, other) in going_on {
            total += 1;
            if !other.is_host {
                of_users += 1;
                of_room += usize::from(other_room == room);
                of_user += usize::from(other.user.key() == act.user.key());
            }
        }
        let reached = if total >= self.total {
            "too many purges go on"
        } else if act.is_host {
            return Ok(());
        } else if of_users >= self.of_users {
            "too many purges of users go on"
        } else if of_room >= self.of_room {
            "too many purges go on in the room"
        } else if of_user >= self.of_user {
            "too many purges of the user go on"
        } else {
            return Ok(());
        };
        Err(reached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Act, User};

    fn purge(by: &str) -> NewAct {
        let user = |id: &str| User::new(id, id).unwrap();
        NewAct::new(user(by), Act::Purge { user: user("eve") })
    }

    fn check(
        places: PurgePlaces,
        going_on: &[(&str, NewAct)],
        room: &str,
        act: &NewAct,
    ) -> Option<&'static str> {
        let going_on: Vec<(RoomName, &NewAct)> =
            going_on.iter().map(|(room, act)| (room.parse().unwrap(), act)).collect();
        let going_on = going_on.iter().map(|(room, act)| (room, *act));
        places.check(going_on, &room.parse().unwrap(), act).err()
    }

    #[test]
    fn users_leave_places_to_others_and_to_the_host() {
        let places = PurgePlaces { total: 4, of_users: 3, of_room: 2, of_user: 2 };
        let two = [("a", purge("ann")), ("a", purge("bob"))];
        assert!(check(places, &two, "a", &purge("zoe")).is_some_and(|cause| cause.contains("in the room")));
        assert_eq!(check(places, &two, "b", &purge("zoe")), None);
        assert_eq!(check(places, &two, "a", &purge("zoe").by_host()), None);
        let of_ann = [("a", purge("ann")), ("b", purge("ann"))];
        assert!(check(places, &of_ann, "c", &purge("ann")).is_some_and(|cause| cause.contains("the user")));
        let three = [("a", purge("ann")), ("b", purge("bob")), ("c", purge("zoe"))];
        assert!(check(places, &three, "d", &purge("eva")).is_some_and(|cause| cause.contains("of users")));
        assert_eq!(check(places, &three, "d", &purge("eva").by_host()), None);
        let four = [three.as_slice(), &[("d", purge("ops").by_host())]].concat();
        assert!(check(places, &four, "e", &purge("ops").by_host()).is_some());
    }

    #[test]
    fn purges_of_the_host_take_no_place_of_users() {
        let places = PurgePlaces { total: 4, of_users: 1, of_room: 1, of_user: 1 };
        let host = [("a", purge("ann").by_host()), ("a", purge("bob").by_host())];
        assert_eq!(check(places, &host, "a", &purge("ann")), None);
    }
}
