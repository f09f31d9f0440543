//! The rights with which a user is in a room.

use chat_proto::room::Joined;

use crate::room::{LiveRoom, Rooms, unix_millis, within};
use crate::{
    LogBounds, NoRight, Restriction, Right, Rights, Role, RoomRules, Standing, Unavailable, User, UserKey,
};

/// The rights of a user who may be in a room, as they were decided last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admitted {
    /// The role that the credentials and the host give.
    pub(crate) granted: Role,
    /// The effective role.
    pub(crate) role: Role,
    pub(crate) may: Rights,
    /// The newest entry of the log before the standing was read.
    pub(crate) head: u64,
    /// The time from which the user may show that the user is typing, in milliseconds since the Unix epoch.
    types_from: u64,
}

/// The fields of the reply to a join that come from the rules and the standing, beside the rights.
#[derive(Debug)]
pub(crate) struct Heading {
    /// The other user of a direct room.
    with: Option<User>,
    title: Option<String>,
    restricted: Option<Restriction>,
}

impl Heading {
    /// Sets the fields of the reply.
    pub(crate) fn set(self, joined: &mut Joined) {
        (joined.with, joined.title, joined.restricted) = (self.with, self.title, self.restricted);
    }
}

impl Admitted {
    /// Decides if a user may be in a room whose log has these bounds.
    pub(crate) async fn to(
        room: &LiveRoom,
        rooms: &Rooms,
        user: &UserKey,
        granted: Role,
        bounds: &LogBounds,
    ) -> Result<Result<(Self, Heading), NoRight>, Unavailable> {
        let (rules, standing) = if bounds.has_rules {
            within(rooms, room.log().standing(user)).await?
        } else {
            (RoomRules::unset(room.name()), Standing::default())
        };
        let standing = rules.standing(user, standing, granted);
        Ok(Self::under(&rules, standing, granted, bounds.head).map(|admitted| {
            let (with, restricted) = (rules.other(user).cloned(), standing.restriction_at(unix_millis()));
            (admitted, Heading { with, title: rules.title, restricted })
        }))
    }

    /// Decides if a user may stay in a room whose rules or standings have changed.
    pub(crate) async fn again(
        room: &LiveRoom,
        rooms: &Rooms,
        user: &UserKey,
        granted: Role,
    ) -> Result<Result<Self, NoRight>, Unavailable> {
        let (rules, standing) = within(rooms, room.log().standing(user)).await?;
        Ok(Self::under(&rules, rules.standing(user, standing, granted), granted, 0))
    }

    fn under(rules: &RoomRules, standing: Standing, granted: Role, head: u64) -> Result<Self, NoRight> {
        let now = unix_millis();
        rules.check(Right::Join, &standing, now)?;
        Ok(Self {
            granted,
            role: standing.role,
            may: rules.rights(&standing, now),
            head,
            types_from: rules.writes_from(&standing, now).unwrap_or(u64::MAX),
        })
    }

    /// Returns true if the user may show that the user is typing.
    pub(crate) fn may_type(&self) -> bool {
        self.types_from == 0 || self.types_from <= unix_millis()
    }
}
