use chat_core::{Change, ChangeError, User};

use super::changes::{delete, known, pin};
use super::{body, same};
use crate::{Capability, Case, Failure, OpenRoom, Stage, Verdict};

chat_suite::cases!(
    /// The bounds name the pinned messages, ascending. A message that is not pinned any more, or was deleted, is not
    /// among them.
    async fn bounds_name_the_pinned_messages(stage: Stage, room: OpenRoom) -> Verdict {
        let bob = known("Bob");
        fill(&room, &bob, 4).await?;
        same(&room.bounds().await?.pins, &vec![])?;
        for seq in [4, 1, 3] {
            room.change(pin(&bob, seq)).await?;
        }
        same(&room.bounds().await?.pins, &vec![1, 3, 4])?;
        room.change(delete(&bob, 3)).await?;
        let mut off = pin(&bob, 4);
        off.change = Change::Pin { on: false };
        room.change(off).await?;
        same(&room.bounds().await?.pins, &vec![1])
    }

    /// A log has at most `max_pins` pinned messages. A further pin stores nothing, until there is place for it.
    #[with(limits(|limits| limits.rooms.max_pins = 2))]
    async fn a_pin_over_the_limit_is_refused(stage: Stage, room: OpenRoom) -> Verdict {
        let bob = known("Bob");
        fill(&room, &bob, 3).await?;
        for seq in [1, 2] {
            room.change(pin(&bob, seq)).await?;
        }
        same(&room.try_change(pin(&bob, 3)).await, &Err(ChangeError::TooManyPins))?;
        same(&room.change(pin(&bob, 2)).await?.seq, &None)?;
        same(&room.bounds().await?.head, &5)?;
        room.change(delete(&bob, 1)).await?;
        same(&room.change(pin(&bob, 3)).await?.seq, &Some(7))?;
        same(&room.bounds().await?.pins, &vec![2, 3])
    }

    /// A restart keeps the pins.
    #[with(needs(Capability::Persistence))]
    async fn a_restart_keeps_the_pins(stage: Stage) -> Verdict {
        let (bob, room) = (known("Bob"), stage.open("lobby").await?);
        fill(&room, &bob, 2).await?;
        room.change(pin(&bob, 2)).await?;
        drop(room);
        let stage = stage.restart().await;
        same(&stage.open("lobby").await?.bounds().await?.pins, &vec![2])
    }
);

async fn fill(room: &OpenRoom, by: &User, count: u64) -> Verdict {
    for number in 1..=count {
        room.append(by, None, &body(&number.to_string())).await?;
    }
    Ok::<_, Failure>(())
}
