use chat_core::{
    Act, AppendError, ChangeError, NewAct, NewMessage, RawValue, Restrict, Restriction, Role, RoomName,
    RoomRules, Standing, User,
};
use serde_json::json;

use super::{body, check, concurrently, event, guest, same};
use crate::{Capability, Case, Failure, OpenRoom, Stage, Verdict};

chat_suite::cases!(
    /// The first user who opens a direct room stores an entry with both users. The other one then changes nothing.
    async fn both_users_open_a_direct_room_with_one_entry(stage: Stage) -> Verdict {
        let room = direct(&stage).await?;
        same(&room.govern(open("Ann", "Bob")).await?.seq, &Some(1))?;
        for (one, other) in [("Bob", "Ann"), ("Ann", "Bob")] {
            same(&room.govern(open(one, other)).await?.seq, &None)?;
            let (rules, standing) = room.standing(&known(one)).await?;
            same(&rules.other(&known(one).key()), &Some(&known(other)))?;
            same(&standing, &Standing::new(Role::Member, None))?;
        }
        let entry = event(&room.entries_after(0).await?[0])?;
        let users = json!([{"id": "Ann", "name": "Ann"}, {"id": "Bob", "name": "Bob"}]);
        let fits = entry["type"] == "settings" && entry["created"] == true && entry["direct"] == users;
        check(fits, "the settings of a direct room", &entry)?;
        same(&send(&room, known("Ann"), Role::None).await?, &Ok(2))?;
        same(&send(&room, known("Bob"), Role::None).await?, &Ok(3))
    }

    /// Of users who open a direct room at the same time, one stores an entry.
    async fn a_direct_room_that_is_opened_often_has_one_entry(stage: Stage) -> Verdict {
        let room = direct(&stage).await?;
        let opening = |room: OpenRoom, number: usize| async move {
            let (one, other) = if number.is_multiple_of(2) { ("Ann", "Bob") } else { ("Bob", "Ann") };
            let seq = room.govern(open(one, other)).await?.seq;
            check(seq.is_none_or(|seq| seq == 1), "the first entry, or none", seq)
        };
        concurrently(8, room.clone(), opening).await?;
        same(&room.bounds().await?.head, &1)
    }

    /// Nobody else writes into a direct room, whatever the role is, and nobody before it is opened.
    async fn nobody_else_writes_into_a_direct_room(stage: Stage) -> Verdict {
        let room = direct(&stage).await?;
        let refused = Err(AppendError::Forbidden);
        for user in [known("Ann"), known("Zoe"), guest("Ann")] {
            same(&send(&room, user, Role::Owner).await?, &refused)?;
        }
        for (one, other) in [("Ann", "Zoe"), ("Zoe", "Bob")] {
            same(&room.try_govern(open(one, other)).await, &Err(ChangeError::Forbidden))?;
        }
        room.govern(open("Ann", "Bob")).await?;
        for user in [known("Zoe"), guest("Ann")] {
            same(&send(&room, user.clone(), Role::Owner).await?, &refused)?;
            let (rules, standing) = room.standing(&user).await?;
            same(&(standing.role, rules.other(&user.key())), &(Role::None, None))?;
        }
        same(&room.bounds().await?.head, &1)
    }

    /// Nobody sets the rules of a direct room and the roles in it. The host may restrict its users.
    async fn the_users_of_a_direct_room_never_change(stage: Stage) -> Verdict {
        let room = direct(&stage).await?;
        room.govern(open("Ann", "Bob")).await?;
        let acts = [
            Act::Create { rules: RoomRules::default() },
            Act::Role { user: known("Zoe"), role: Role::Member },
            Act::Role { user: known("Bob"), role: Role::Owner },
        ];
        for act in acts {
            let act = NewAct::new(known("Ann"), act).with_role(Role::Owner);
            same(&room.try_govern(act.clone()).await, &Err(ChangeError::Forbidden))?;
            same(&room.try_govern(act.by_host()).await, &Err(ChangeError::Forbidden))?;
        }
        let restriction = Some(Restriction::new(Restrict::Ban, None));
        let ban = Act::Restrict { user: known("Bob"), restriction, reason: None };
        let ban = NewAct::new(known("Ann"), ban).with_role(Role::Owner);
        same(&room.try_govern(ban.clone()).await, &Err(ChangeError::Forbidden))?;
        same(&room.govern(ban.by_host()).await?.seq, &Some(2))?;
        same(&send(&room, known("Bob"), Role::None).await?, &Err(AppendError::Forbidden))?;
        same(&send(&room, known("Ann"), Role::None).await?, &Ok(3))
    }

    /// After a restart, a direct room has the same two users.
    #[with(needs(Capability::Persistence))]
    async fn a_restart_keeps_the_users_of_a_direct_room(stage: Stage) -> Verdict {
        let room = direct(&stage).await?;
        room.govern(open("Ann", "Bob")).await?;
        drop(room);
        let room = direct(&stage.restart().await).await?;
        same(&room.govern(open("Bob", "Ann")).await?.seq, &None)?;
        same(&room.standing(&known("Bob")).await?.0.other(&known("Bob").key()), &Some(&known("Ann")))?;
        same(&send(&room, known("Zoe"), Role::Owner).await?, &Err(AppendError::Forbidden))?;
        same(&send(&room, known("Bob"), Role::None).await?, &Ok(2))
    }
);

/// Opens the log of the direct room of Ann and Bob.
async fn direct(stage: &Stage) -> Result<OpenRoom, Failure> {
    stage.open(RoomName::direct("Ann", "Bob").as_str()).await
}

fn open(by: &str, with: &str) -> NewAct {
    NewAct::new(known(by), Act::Direct { with: known(with) })
}

fn known(id: &str) -> User {
    User::new(id, id).expect("a good name")
}

/// Appends a message of a user with this role. Fails only if the room is not available.
async fn send(room: &OpenRoom, user: User, role: Role) -> Result<Result<u64, AppendError>, Failure> {
    let body =
        RawValue::from_string(body("hi")).map_err(|error| Failure::new("a body that is JSON", error))?;
    match room.try_send(NewMessage::new(user, body).with_role(role)).await {
        Err(AppendError::Unavailable(cause)) => Err(Failure::new("a room that is available", cause)),
        answer => Ok(answer.map(|appended| appended.seq)),
    }
}
