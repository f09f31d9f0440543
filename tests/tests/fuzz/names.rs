use anyhow::{Result, ensure};
use chat_proto::{RoomName, User, has_visible};
use chat_tests::fuzz::check_inputs;

#[test]
fn a_name_that_is_accepted_is_accepted_again_unchanged() -> Result<()> {
    check_inputs("names", 40_000, |input| {
        let Ok(name) = std::str::from_utf8(input) else { return Ok(()) };
        if let Ok(room) = name.parse::<RoomName>() {
            ensure!(room.as_str() == name && (1..=64).contains(&name.len()), "{room:?}");
            ensure!(name.to_lowercase() == name && has_visible(name), "{room:?}");
            ensure!(serde_json::from_str::<RoomName>(&serde_json::to_string(&room)?)? == room, "{room:?}");
        }
        if let Ok(guest) = User::guest(name) {
            check_shown(guest.name())?;
            ensure!(User::guest(guest.name()).as_ref() == Ok(&guest), "{guest:?} changes");
            // The id has no joiners and variation selectors, and names the same user.
            let by_id = User::guest(guest.id())?;
            ensure!(by_id.key() == guest.key() && by_id.name() == guest.id(), "{guest:?} and {by_id:?}");
        }
        if let Ok(user) = User::new("7", name) {
            check_shown(user.name())?;
            ensure!(User::new("7", user.name()).as_ref() == Ok(&user), "{user:?} changes");
        }
        Ok(())
    })
}

fn check_shown(name: &str) -> Result<()> {
    ensure!((1..=32).contains(&name.chars().count()) && name.len() <= 128, "{name:?}");
    ensure!(has_visible(name) && name.trim() == name && !name.contains(char::is_control), "{name:?}");
    Ok(())
}
