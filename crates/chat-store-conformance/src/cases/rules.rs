use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chat_core::{
    Act, AppendError, Change, ChangeError, JoinRule, NewAct, NewChange, NewMessage, PostRule, Range,
    RawValue, Restrict, Restriction, Role, RoomRules, Standing, User,
};
use serde_json::json;

use super::{body, check, concurrently, event, eventually, guest, same, seqs};
use crate::{Capability, Case, Failure, OpenRoom, Stage, Verdict};

chat_suite::cases!(
    /// Either all acts are supported by a log, or all are unsupported and store nothing.
    async fn every_act_is_supported_or_none(stage: Stage, room: OpenRoom) -> Verdict {
        let acts = [create(&RoomRules::default()), role("Bob", Role::Member), mute("Zoe")];
        let mut unsupported = 0;
        for act in acts {
            unsupported += u64::from(room.try_govern(act).await == Err(ChangeError::Unsupported));
        }
        check(unsupported == 0 || unsupported == 3, "0 or 3 unsupported acts", unsupported)?;
        let bounds = room.bounds().await?;
        let is_empty = bounds.head == 0 && !bounds.has_rules;
        check(unsupported == 0 || is_empty, "no entry of an unsupported act", bounds)
    }

    /// Acts and messages are numbered together. Only the range of entries and that of acts have the acts.
    #[with(needs(Capability::Rules))]
    async fn acts_and_messages_are_numbered_together(stage: Stage, room: OpenRoom) -> Verdict {
        let before = room.bounds().await?;
        check(!before.has_rules, "a new log without rules", &before)?;
        same(&room.govern(create(&RoomRules::default())).await?.seq, &Some(1))?;
        same(&room.say("hi").await?.seq, &2)?;
        same(&room.govern(mute("Bob")).await?.seq, &Some(3))?;
        same(&room.govern(mute("Bob")).await?.seq, &None)?;
        same(&room.say("ho").await?.seq, &4)?;
        let bounds = room.bounds().await?;
        check(bounds.has_rules && bounds.has_changes, "bounds with rules and changes", &bounds)?;
        same(&seqs(&room.entries_after(0).await?), &vec![1, 2, 3, 4])?;
        same(&seqs(&room.read_after(0).await?), &vec![2, 4])?;
        let acts = room.read(Range::acts(0, 1)).await?;
        same(&(seqs(&acts.messages), acts.more), &(vec![1], true))?;
        let acts = room.read(Range::acts(1, 9)).await?;
        same(&(seqs(&acts.messages), acts.more), &(vec![3], false))?;
        let act = event(&acts.messages[0])?;
        let is_mute = act["type"] == "role" && act["restricted"] == json!({ "what": "mute" });
        check(is_mute && act["user"]["id"] == "Bob", "the event of the act", &act)?;
        let reported = room.reported(1..=4).await?;
        let entries = room.entries_after(0).await?;
        for stored in reported {
            check(entries.contains(&stored), "the entry as it is read", stored)?;
        }
        Ok(())
    }

    /// After an act, no message and no change that it forbids is stored, until another act allows it again.
    #[with(needs(Capability::Rules))]
    #[with(needs(Capability::Changes))]
    async fn an_act_holds_for_each_later_entry(stage: Stage, room: OpenRoom) -> Verdict {
        let bob = known("Bob");
        same(&send(&room, &bob, Role::None).await?, &Ok(1))?;
        room.govern(mute("Bob")).await?;
        same(&send(&room, &bob, Role::Owner).await?, &Err(AppendError::Muted))?;
        for change in [react(), Change::Edit { body: raw()? }] {
            same(&room.try_change(NewChange::new(bob.clone(), 1, change)).await, &Err(ChangeError::Muted))?;
        }
        same(&send(&room, &guest("Bob"), Role::None).await?, &Err(AppendError::Muted))?;
        room.govern(ban("Bob")).await?;
        same(&send(&room, &bob, Role::Owner).await?, &Err(AppendError::Forbidden))?;
        let delete = NewChange::new(bob.clone(), 1, Change::Delete { reason: None });
        same(&room.try_change(delete.clone()).await, &Err(ChangeError::Forbidden))?;
        let expected = Some(Restriction::new(Restrict::Ban, None));
        same(&room.standing(&bob).await?.1.restriction, &expected)?;
        room.govern(mute("Bob")).await?;
        same(&room.change(delete).await?.seq, &Some(5))?;
        room.govern(end("Bob")).await?;
        same(&send(&room, &bob, Role::None).await?, &Ok(7))?;
        Ok(())
    }

    /// A restriction whose end is over is none: an act of it changes nothing, or ends the present restriction.
    #[with(needs(Capability::Rules))]
    async fn a_restriction_whose_end_is_over_is_none(stage: Stage, room: OpenRoom) -> Verdict {
        let ended = || restrict("Bob", Some(Restriction::new(Restrict::Ban, Some(1))));
        same(&room.govern(ended()).await?.seq, &None)?;
        room.govern(mute("Bob")).await?;
        same(&room.govern(ended()).await?.seq, &Some(2))?;
        same(&room.standing(&known("Bob")).await?.1, &Standing::default())?;
        same(&send(&room, &known("Bob"), Role::None).await?, &Ok(3))
    }

    /// A room keeps a limited number of standings, of which those that have ended make space for others.
    #[with(needs(Capability::Rules))]
    #[with(limits(|limits| limits.rooms.max_standings = 2))]
    async fn ended_restrictions_make_space_for_others(stage: Stage, room: OpenRoom) -> Verdict {
        room.govern(role("Ann", Role::Member)).await?;
        // The time of an entry is at most this one.
        let now = event(&room.entries_after(0).await?[0])?["at"].as_u64().unwrap_or_default();
        let brief = Restriction::new(Restrict::Mute, Some(now + 1_000));
        room.govern(restrict("Bob", Some(brief))).await?;
        let full = room.try_govern(mute("Zoe")).await;
        check(matches!(full, Err(ChangeError::Unavailable(_))), "`unavailable` beyond the limit", &full)?;
        eventually("space after the end of a restriction", async || {
            Ok(room.try_govern(mute("Zoe")).await.is_ok())
        })
        .await?;
        same(&room.standing(&known("Ann")).await?.1.role, &Role::Member)?;
        let full = room.try_govern(mute("Cid")).await;
        check(matches!(full, Err(ChangeError::Unavailable(_))), "`unavailable` beyond the limit", &full)
    }

    /// The rules of a room decide who writes. A role that the credentials or the host give counts if it is higher.
    #[with(needs(Capability::Rules))]
    async fn a_granted_role_counts_if_it_is_higher(stage: Stage, room: OpenRoom) -> Verdict {
        let rules = RoomRules::default().with_post(PostRule::Moderators);
        room.govern(create(&rules)).await?;
        room.govern(role("Mod", Role::Moderator)).await?;
        let (bob, moderator) = (known("Bob"), known("Mod"));
        for granted in [Role::None, Role::Member] {
            same(&send(&room, &bob, granted).await?, &Err(AppendError::Forbidden))?;
        }
        same(&send(&room, &bob, Role::Moderator).await?, &Ok(3))?;
        same(&send(&room, &moderator, Role::None).await?, &Ok(4))?;
        same(&room.govern(by("Bob", mute_act("Zoe")).with_role(Role::Moderator)).await?.seq, &Some(5))?;
        same(&room.standing(&moderator).await?, &(rules, Standing::new(Role::Moderator, None)))
    }

    /// A role of the log is not that of a guest with the same id.
    #[with(needs(Capability::Rules))]
    async fn a_role_is_not_that_of_a_guest(stage: Stage, room: OpenRoom) -> Verdict {
        room.govern(create(&RoomRules::default().with_post(PostRule::Members))).await?;
        room.govern(role("Bob", Role::Moderator)).await?;
        same(&send(&room, &known("Bob"), Role::None).await?, &Ok(3))?;
        same(&send(&room, &guest("Bob"), Role::None).await?, &Err(AppendError::Forbidden))?;
        same(&room.standing(&guest("Bob")).await?.1.role, &Role::None)?;
        let act = NewAct::new(guest("Bob"), mute_act("Zoe"));
        same(&room.try_govern(act).await, &Err(ChangeError::Forbidden))
    }

    /// The log judges who may act: nobody acts on an equal or higher role, and a room keeps an owner.
    #[with(needs(Capability::Rules))]
    async fn who_may_act_is_judged_by_the_log(stage: Stage, room: OpenRoom) -> Verdict {
        let forbidden = Err(ChangeError::Forbidden);
        room.govern(by("Ann", Act::Create { rules: RoomRules::default() })).await?;
        room.govern(by("Ann", role_act("Mod", Role::Moderator))).await?;
        for act in [
            by("Mod", mute_act("Ann")),
            by("Mod", mute_act("Mod")),
            by("Bob", mute_act("Zoe")),
            by("Bob", mute_act("Zoe")).with_role(Role::Member),
            by("Mod", role_act("Bob", Role::Member)),
            by("Ann", role_act("Bob", Role::Owner)),
            by("Ann", role_act("Ann", Role::Moderator)),
        ] {
            same(&room.try_govern(act).await, &forbidden)?;
        }
        let rules = RoomRules::default().with_join(JoinRule::Members);
        let create = |user| by(user, Act::Create { rules: rules.clone() });
        same(&room.try_govern(create("Mod")).await, &Err(ChangeError::RoomExists))?;
        same(&room.bounds().await?.head, &2)?;
        same(&room.govern(create("Ann")).await?.seq, &Some(3))?;
        same(&room.govern(by("Mod", mute_act("Bob"))).await?.seq, &Some(4))?;
        same(&room.govern(by("Mod", role_act("Mod", Role::None))).await?.seq, &Some(5))?;
        same(&room.standing(&known("Ann")).await?, &(rules.clone(), Standing::new(Role::Owner, None)))?;
        let other = stage.open("used").await?;
        other.say("hi").await?;
        same(&other.try_govern(create("Bob")).await, &Err(ChangeError::RoomExists))
    }

    /// Of messages that are appended while their author is muted, each is before the act or is refused.
    #[with(needs(Capability::Rules))]
    async fn no_entry_follows_an_act_that_forbids_it(stage: Stage, room: OpenRoom) -> Verdict {
        let is_muted = Arc::new(AtomicBool::new(false));
        let writing = concurrently(8, (room.clone(), is_muted.clone()), |(room, is_muted), _| async move {
            loop {
                // The last message of each writer comes after the act.
                let is_last = is_muted.load(Ordering::Acquire);
                match send(&room, &known("Bob"), Role::None).await? {
                    Ok(_) | Err(AppendError::Muted) if is_last => return Ok(()),
                    Ok(_) | Err(AppendError::Muted) => {}
                    other => return Err(Failure::new("a message, or `muted`", format!("{other:?}"))),
                }
            }
        });
        let muting = async {
            for _ in 0..10 {
                room.say("between").await?;
            }
            room.govern(mute("Bob")).await
        };
        let muting = async {
            let muted = muting.await;
            is_muted.store(true, Ordering::Release);
            muted
        };
        let (written, muted) = tokio::join!(writing, muting);
        written?;
        let muted = muted?.seq.unwrap_or_default();
        let last = room.read_after(muted).await?;
        check(last.is_empty(), format!("no message after the act {muted}"), seqs(&last))
    }

    /// After a restart the rules and the standings hold.
    #[with(needs(Capability::Rules))]
    #[with(needs(Capability::Persistence))]
    async fn a_restart_keeps_rules_and_standings(stage: Stage, room: OpenRoom) -> Verdict {
        let rules = RoomRules::default().with_post(PostRule::Members).with_title("로비".to_owned());
        room.govern(create(&rules)).await?;
        room.govern(role("Bob", Role::Member)).await?;
        room.govern(ban("Zoe")).await?;
        let before = (room.bounds().await?, room.entries_after(0).await?);
        drop(room);
        let room = stage.restart().await.open("lobby").await?;
        same(&(room.bounds().await?, room.entries_after(0).await?), &before)?;
        same(&room.standing(&known("Bob")).await?, &(rules, Standing::new(Role::Member, None)))?;
        let banned = Standing::new(Role::None, Some(Restriction::new(Restrict::Ban, None)));
        same(&room.standing(&known("Zoe")).await?.1, &banned)?;
        same(&send(&room, &known("Zoe"), Role::Owner).await?, &Err(AppendError::Forbidden))?;
        same(&send(&room, &known("Ann"), Role::None).await?, &Err(AppendError::Forbidden))?;
        same(&send(&room, &known("Bob"), Role::None).await?, &Ok(4))?;
        room.check_reports(4..=4).await
    }

    /// The rules and the standings hold after retention has removed their entries.
    #[with(needs(Capability::Rules))]
    #[with(needs(Capability::Retention))]
    #[with(limits(|limits| limits.rooms.log_messages = 5))]
    async fn rules_outlive_their_entries(stage: Stage, room: OpenRoom) -> Verdict {
        room.govern(create(&RoomRules::default().with_post(PostRule::Members))).await?;
        room.govern(role("Bob", Role::Member)).await?;
        for seq in 3..30 {
            same(&send(&room, &known("Bob"), Role::None).await?, &Ok(seq))?;
        }
        eventually("bounds beyond the acts", async || Ok(room.bounds().await?.first > 2)).await?;
        check(room.bounds().await?.has_rules, "bounds with rules", room.bounds().await?)?;
        same(&room.read(Range::acts(0, 9)).await?.messages.len(), &0)?;
        same(&room.standing(&known("Bob")).await?.1.role, &Role::Member)?;
        same(&send(&room, &known("Ann"), Role::None).await?, &Err(AppendError::Forbidden))
    }

    /// An act on one node holds on each other node.
    #[with(needs(Capability::Rules))]
    #[with(needs(Capability::MultipleNodes))]
    async fn an_act_holds_on_each_node(stage: Stage, room: OpenRoom) -> Verdict {
        let other = stage.open_on(1, "lobby").await?;
        room.govern(ban("Bob")).await?;
        let banned = Some(Restriction::new(Restrict::Ban, None));
        same(&other.standing(&known("Bob")).await?.1.restriction, &banned)?;
        same(&send(&other, &known("Bob"), Role::None).await?, &Err(AppendError::Forbidden))?;
        other.reported(1..=1).await.map(drop)
    }
);

fn known(id: &str) -> User {
    User::new(id, id).expect("a good name")
}

fn raw() -> Result<Box<RawValue>, Failure> {
    RawValue::from_string(body("new")).map_err(|error| Failure::new("a body that is JSON", error))
}

fn react() -> Change {
    Change::React { reaction: "+1".to_owned(), on: true }
}

/// Appends a message of a user with this role. Fails only if the room is not available.
async fn send(room: &OpenRoom, user: &User, role: Role) -> Result<Result<u64, AppendError>, Failure> {
    let message = NewMessage::new(user.clone(), raw()?).with_role(role);
    match room.try_send(message).await {
        Err(AppendError::Unavailable(cause)) => Err(Failure::new("a room that is available", cause)),
        answer => Ok(answer.map(|appended| appended.seq)),
    }
}

/// An act of a user.
fn by(id: &str, act: Act) -> NewAct {
    NewAct::new(known(id), act)
}

/// An act of the host.
fn by_host(act: Act) -> NewAct {
    by("service:ops", act).by_host()
}

fn create(rules: &RoomRules) -> NewAct {
    by_host(Act::Create { rules: rules.clone() })
}

fn role_act(id: &str, role: Role) -> Act {
    Act::Role { user: known(id), role }
}

fn role(id: &str, role: Role) -> NewAct {
    by_host(role_act(id, role))
}

fn restrict(id: &str, restriction: Option<Restriction>) -> NewAct {
    by_host(Act::Restrict { user: known(id), restriction, reason: None })
}

fn mute_act(id: &str) -> Act {
    let restriction = Some(Restriction::new(Restrict::Mute, None));
    Act::Restrict { user: known(id), restriction, reason: None }
}

fn mute(id: &str) -> NewAct {
    by_host(mute_act(id))
}

fn ban(id: &str) -> NewAct {
    restrict(id, Some(Restriction::new(Restrict::Ban, None)))
}

fn end(id: &str) -> NewAct {
    restrict(id, None)
}
