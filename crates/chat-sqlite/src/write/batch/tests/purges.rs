//! The purges that may go on at once.

use super::*;

fn known(id: &str) -> User {
    User::new(id, id).expect("a user")
}

/// Stores a message of `eve` in a room.
fn write(connection: &mut Connection, room: &str) {
    batch(connection, |batch| {
        let body = RawValue::from_string("{}".to_owned()).expect("JSON");
        let message = NewMessage::new(known("eve"), body);
        batch.append(&PreparedMessage { room: room.parse().expect("a name"), message, key: None })
    })
    .expect("appended");
}

/// Lets the owner `by` begin to purge `user`, or the host in the name of `by`. Returns the row and the last position,
/// or `None` if too many purges go on.
fn begin(
    connection: &mut Connection,
    room: &str,
    (by, is_host): (&str, bool),
    user: &str,
) -> Option<(i64, u64)> {
    let mut prepared = prepared_act(by, Act::Purge { user: known(user) }, is_host);
    prepared.room = room.parse().expect("a name");
    prepared.act.role = Role::Owner;
    match batch(connection, |batch| batch.begin_purge(&prepared)).expect("no error") {
        Outcome::Purging { id, up_to } => Some((id, up_to)),
        Outcome::Refused(ChangeError::Unavailable(unavailable)) if unavailable.is_over_quota() => None,
        outcome => panic!("{outcome:?}"),
    }
}

#[test]
fn a_repeat_has_the_row_of_the_purge_that_goes_on() {
    let mut connection = Connection::open_in_memory().expect("a database");
    prepare(&mut connection);
    write(&mut connection, "lobby");
    assert_eq!(begin(&mut connection, "lobby", ("boss", false), "eve"), Some((1, 1)));
    write(&mut connection, "lobby");
    assert_eq!(begin(&mut connection, "lobby", ("boss", false), "eve"), Some((1, 2)));
    let purges = Purge::read_all(&connection).expect("purges");
    assert_eq!(purges.iter().map(|purge| purge.up_to).collect::<Vec<_>>(), [2]);
    // Another user may keep the right for longer, and the host always has it.
    for (id, by) in [(2, ("chief", false)), (3, ("boss", true)), (4, ("ops", true))] {
        for _ in 0..2 {
            assert_eq!(begin(&mut connection, "lobby", by, "eve"), Some((id, 2)), "{by:?}");
        }
    }
}

#[test]
fn users_have_few_purges_at_once_and_leave_places_to_the_host() {
    let mut connection = Connection::open_in_memory().expect("a database");
    prepare(&mut connection);
    let room = |number: usize| format!("room{number}");
    for number in 0..25 {
        write(&mut connection, &room(number));
    }
    let mut begun = |room: &str, by: &str, is_host, user: &str| {
        begin(&mut connection, room, (by, is_host), user).is_some()
    };
    for (number, is_begun) in [(0, true), (1, true), (2, true), (3, true), (4, false)] {
        assert_eq!(begun(&room(number), "boss", false, "eve"), is_begun, "four of one user: {number}");
    }
    assert!(begun("room0", "chief", false, "eve"));
    assert!(!begun("room0", "other", false, "eve"), "two of users in a room");
    assert!(begun("room0", "chief", false, "eve"), "a repeat needs no place");
    let mut of_users = 5;
    for number in 1..25 {
        for user in ["u1", "u2"] {
            of_users += usize::from(begun(&room(number), &format!("owner{number}"), false, user));
        }
    }
    assert_eq!(of_users, 48, "of users");
    assert!(begun("room0", "ops", true, "eve"), "a place of the host");
    let of_host = (0..25).filter(|number| begun(&room(*number), "ops", true, "u1")).count();
    assert_eq!(of_host, 15, "of the host, with the one above");
    assert!(!begun("room0", "ops", true, "u2"), "64 in all");
}
