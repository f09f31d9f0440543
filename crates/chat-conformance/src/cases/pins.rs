use super::changed::{change, delete, pin};
use super::host::with_rights;
use super::*;

chat_suite::cases!(
    /// `joined` names the pinned messages, ascending, and has no `pins` if there are none.
    #[source = "PROTOCOL.md, section 4"]
    #[with(authorize(with_rights))]
    #[with(one_node(ORDER))]
    async fn joined_names_the_pinned_messages(stage: Stage, mut ann: Member, mut boss: Member) -> Verdict {
        let room = stage.room();
        for text in ["one", "two", "three"] {
            ann.post(&room, text).await?;
        }
        for (command, expected) in [
            (pin(&room, 3, true), json!([3])),
            (pin(&room, 1, true), json!([1, 3])),
            (pin(&room, 3, false), json!([1])),
            (delete(&room, 1), Value::Null),
        ] {
            change(&mut boss, command).await?;
            let joined = ann.join(&room).await?;
            ann.check(joined["pins"] == expected, format!("the pins {expected}"), &joined)?;
        }
        Ok(())
    }

    /// A room has a limited number of pinned messages. A further pin is `rejected`, with a text that says why.
    #[with(authorize(with_rights))]
    #[with(limits(|limits| limits.rooms.max_pins = 2))]
    async fn a_pin_over_the_limit_is_rejected(stage: Stage, mut ann: Member, mut boss: Member) -> Verdict {
        let room = stage.room();
        for text in ["one", "two", "three"] {
            ann.post(&room, text).await?;
        }
        for seq in [1, 2] {
            change(&mut boss, pin(&room, seq, true)).await?;
        }
        let error = boss.ask_for_error("rejected", pin(&room, 3, true)).await?;
        boss.check(error["detail"].is_string(), "a `detail`", &error)?;
        change(&mut boss, pin(&room, 1, false)).await?;
        change(&mut boss, pin(&room, 3, true)).await.map(drop)
    }
);
