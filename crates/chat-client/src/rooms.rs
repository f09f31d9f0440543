//! The commands about rooms: their rules and roles, and what a user has read of them.

use chat_proto::command::Command;
use chat_proto::{Restriction, Role, RoomName, RoomRules, RoomSummary, User};

use crate::state::request::{Reply, Request};
use crate::{Client, Error, RoomsPage};

/// The largest number of rooms in one page.
const MAX_PAGE_ROOMS: usize = 100;

impl Client {
    /// Creates a room that has no entry, and makes the user its owner. An owner sets all rules of the room with it.
    /// Returns the `seq` of the entry, or `None` if the room already has these rules.
    ///
    /// # Errors
    ///
    /// [`Error`], as for every command.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(client: chat_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// use chat_client::{JoinFrom, JoinRule, Role, RoomRules, User};
    ///
    /// let team = "team-7".parse()?;
    /// let rules = RoomRules::default().with_join(JoinRule::Members).with_title("Team 7".to_owned());
    /// client.create(&team, &rules).await?;
    /// client.join(&team, JoinFrom::Now).await?;
    /// client.role(&team, &User::from_id("bob")?, Role::Member).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn create(&self, room: &RoomName, rules: &RoomRules) -> Result<Option<u64>, Error> {
        self.act(room, &Command::Create { room: room.clone(), rules: rules.clone() }).await
    }

    /// Gives a user a role in a room. Only the id of the user counts. Returns the `seq` of the entry, or `None` if the
    /// user already has the role.
    ///
    /// # Errors
    ///
    /// [`Error`], as for every command.
    pub async fn role(&self, room: &RoomName, user: &User, role: Role) -> Result<Option<u64>, Error> {
        self.act(room, &Command::Role { room: room.clone(), user: user.clone(), role }).await
    }

    /// Mutes or bans a user in a room, or ends that with `None`. Only the id of the user counts. Members see the
    /// reason. Returns the `seq` of the entry, or `None` if nothing has changed.
    ///
    /// # Errors
    ///
    /// [`Error`], as for every command.
    pub async fn restrict(
        &self,
        room: &RoomName,
        user: &User,
        restriction: Option<Restriction>,
        reason: Option<&str>,
    ) -> Result<Option<u64>, Error> {
        let (user, reason) = (user.clone(), reason.map(ToOwned::to_owned));
        self.act(room, &Command::Restrict { room: room.clone(), user, restriction, reason }).await
    }

    /// Moves the marker of the user forward to `seq`: the user has read the room up to there. Returns the position of
    /// the marker, which can be a later one.
    ///
    /// # Errors
    ///
    /// [`Error`], as for every command. Some servers keep no markers.
    pub async fn read(&self, room: &RoomName, seq: u64) -> Result<u64, Error> {
        match self.call(Request::Read(room.clone()), &Command::Read { room: room.clone(), seq }).await? {
            Reply::Read(seq) => Ok(seq),
            _ => Err(self.closed()),
        }
    }

    /// Follows a room without joining it, or ends that. [`ClientEvent::Activity`](crate::ClientEvent::Activity) says
    /// that a followed room has new entries.
    ///
    /// # Errors
    ///
    /// [`Error`], as for every command. Some servers keep no markers.
    pub async fn follow(&self, room: &RoomName, on: bool) -> Result<(), Error> {
        let command = Command::Follow { room: room.clone(), on };
        self.call(Request::Follow(room.clone()), &command).await.map(drop)
    }

    /// Lists at most `limit` rooms that the user follows or this client is in, sorted by name, with their unread
    /// messages: the first ones, or those after the last room of the page before. The activity of the followed ones
    /// arrives from now on.
    ///
    /// # Errors
    ///
    /// [`Error`], as for every command. Some servers keep no markers.
    pub async fn rooms_page(&self, after: Option<&RoomName>, limit: usize) -> Result<RoomsPage, Error> {
        let command = Command::Rooms { after: after.cloned(), limit };
        match self.call(Request::Rooms, &command).await? {
            Reply::Rooms(rooms) => Ok(rooms),
            _ => Err(self.closed()),
        }
    }

    /// Lists all rooms that the user follows or this client is in. It asks for one page of 100 rooms after the other.
    ///
    /// # Errors
    ///
    /// [`Error`], as for every command. Some servers keep no markers.
    pub async fn rooms(&self) -> Result<Vec<RoomSummary>, Error> {
        let mut rooms: Vec<RoomSummary> = Vec::new();
        loop {
            let page = self.rooms_page(rooms.last().map(|last| &last.room), MAX_PAGE_ROOMS).await?;
            let is_last = !page.more || page.rooms.is_empty();
            rooms.extend(page.rooms);
            if is_last {
                return Ok(rooms);
            }
        }
    }

    async fn act(&self, room: &RoomName, command: &Command) -> Result<Option<u64>, Error> {
        match self.call(Request::Change(room.clone()), command).await? {
            Reply::Done(done) => Ok(done.seq),
            _ => Err(self.closed()),
        }
    }
}
