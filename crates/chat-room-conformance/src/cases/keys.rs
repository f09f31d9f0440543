use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chat_core::{AppendError, User};

use super::{ann, at_once, body, check, eventually, guest, same, seqs};
use crate::case::{Group, case};
use crate::{Ability, Failure, Stage, Verdict};

/// What an idempotency key does.
pub(super) fn group() -> Group {
    let cases = vec![
        case(
            "a_repeat_answers_the_first",
            "A repeat is answered with the `seq` and `at` of the first, as a duplicate, however late.",
            |stage| async move {
                let room = stage.open("lobby")?;
                room.say("before").await?;
                let first = room.append(&ann(), Some("k"), &body("hi")).await?;
                for _ in 0..3 {
                    let again = room.repeat(&ann(), "k", &body("hi")).await?;
                    same(&(again.seq, again.at), &(first.seq, first.at))?;
                    room.say("between").await?;
                }
                Ok(())
            },
        ),
        case("a_repeat_stores_nothing", "A repeat leaves the log as it is.", |stage| async move {
            let room = stage.open("lobby")?;
            room.append(&ann(), Some("k"), &body("hi")).await?;
            let before = room.read_after(0).await?;
            room.repeat(&ann(), "k", &body("hi")).await?;
            same(&room.read_after(0).await?, &before)
        }),
        case(
            "another_body_is_a_conflict",
            "A key that was used for another body is a conflict, stores nothing, and stays the first one's.",
            |stage| async move {
                let room = stage.open("lobby")?;
                let first = room.append(&ann(), Some("k"), &body("hi")).await?;
                for other in [body("ho"), body("hi "), "{}".to_owned()] {
                    same(&room.try_append(&ann(), Some("k"), &other).await?, &Err(AppendError::KeyConflict))?;
                }
                same(&room.repeat(&ann(), "k", &body("hi")).await?.seq, &first.seq)?;
                same(&seqs(&room.read_after(0).await?), &vec![1])
            },
        ),
        case(
            "bodies_are_compared_byte_by_byte",
            "White space, the order of fields and the spelling of a character make another body.",
            |stage| async move {
                let room = stage.open("lobby")?;
                let first = r#"{"text":"é","n":1}"#;
                room.append(&ann(), Some("k"), first).await?;
                for other in [
                    r#"{"text": "é","n":1}"#,
                    r#"{"n":1,"text":"é"}"#,
                    r#"{"text":"\u00e9","n":1}"#,
                    r#"{"text":"é","n":1.0}"#,
                ] {
                    same(&room.try_append(&ann(), Some("k"), other).await?, &Err(AppendError::KeyConflict))?;
                }
                room.repeat(&ann(), "k", first).await.map(drop)
            },
        ),
        case(
            "a_message_without_a_key_is_never_a_repeat",
            "The same body without a key, however often, is a new message each time.",
            |stage| async move {
                let room = stage.open("lobby")?;
                for seq in 1..=3 {
                    same(&room.append(&ann(), None, &body("hi")).await?.seq, &seq)?;
                }
                room.append(&ann(), Some("k"), &body("hi")).await.map(drop)
            },
        ),
        case(
            "users_do_not_share_keys",
            "A key belongs to its user: the same one of another user is another message.",
            |stage| async move {
                let room = stage.open("lobby")?;
                for (seq, name) in (1..).zip(["Ann", "ann", "Bo", "An", "Ann1"]) {
                    same(&room.append(&guest(name), Some("k"), &body(name)).await?.seq, &seq)?;
                }
                same(&room.repeat(&guest("ann"), "k", &body("ann")).await?.seq, &2)
            },
        ),
        case(
            "a_guest_and_a_known_user_do_not_meet",
            "A guest called like a user whom the host knows has keys of its own.",
            |stage| async move {
                let room = stage.open("lobby")?;
                room.append(&known("Ann", "Ann")?, Some("k"), &body("known")).await?;
                room.append(&guest("Ann"), Some("k"), &body("guest")).await?;
                same(&room.repeat(&known("Ann", "Ann")?, "k", &body("known")).await?.seq, &1)?;
                same(&room.repeat(&guest("Ann"), "k", &body("guest")).await?.seq, &2)
            },
        ),
        case(
            "a_user_who_is_renamed_keeps_its_keys",
            "Who a user is says the id, not the name.",
            |stage| async move {
                let room = stage.open("lobby")?;
                let first = room.append(&known("7", "Ann")?, Some("k"), &body("hi")).await?;
                let again = room.repeat(&known("7", "Ann Smith")?, "k", &body("hi")).await?;
                same(&again.seq, &first.seq)?;
                room.append(&known("8", "Ann")?, Some("k"), &body("hi")).await.map(drop)
            },
        ),
        case("rooms_do_not_share_keys", "A key of one room is unknown in another.", |stage| async move {
            for name in ["lobby", "hall", "lobby-2", "lobb"] {
                let room = stage.open(name)?;
                same(&room.append(&ann(), Some("k"), &body(name)).await?.seq, &1)?;
                room.repeat(&ann(), "k", &body(name)).await?;
            }
            Ok(())
        }),
        case(
            "keys_are_compared_byte_by_byte",
            "Keys that differ in case, white space, a NUL or their normal form are different keys.",
            |stage| async move {
                let room = stage.open("lobby")?;
                let keys = [
                    "k", "K", "k ", " k", "k\0", "\0", "\u{e9}", "e\u{301}", "%", "_", "*", "'", "\"",
                    "k;--", "ｋ",
                ];
                for key in keys {
                    room.append(&ann(), Some(key), &body(key)).await?;
                }
                for (seq, key) in (1..).zip(keys) {
                    same(&room.repeat(&ann(), key, &body(key)).await?.seq, &seq)?;
                }
                Ok(())
            },
        ),
        case(
            "user_and_key_do_not_run_together",
            "A user and a key are two things, whatever stands between them.",
            |stage| async move {
                let room = stage.open("lobby")?;
                for (id, key) in [
                    ("a", "bc"),
                    ("ab", "c"),
                    ("a:b", "c"),
                    ("a", "b:c"),
                    ("a\0b", "c"),
                    ("a", "b\0c"),
                    ("a/b", "c"),
                ] {
                    room.append(&known(id, "Ann")?, Some(key), &body("hi")).await?;
                }
                Ok(())
            },
        ),
        case(
            "a_key_of_64_bytes_is_whole",
            "Keys of 64 bytes that differ in the last one are two keys.",
            |stage| async move {
                let room = stage.open("lobby")?;
                let long = "k".repeat(63);
                for last in ["a", "b"] {
                    room.append(&ann(), Some(&format!("{long}{last}")), &body("hi")).await?;
                }
                room.append(&ann(), Some(&long), &body("hi")).await.map(drop)
            },
        ),
        case(
            "concurrent_repeats_are_stored_once",
            "Of many appends with one key at the same time one is new, and the others are its duplicates.",
            |stage| async move {
                let room = stage.open("lobby")?;
                for round in 1..=10 {
                    let (writer, new) = (room.clone(), Arc::new(AtomicUsize::new(0)));
                    let counted = Arc::clone(&new);
                    at_once(8, move |_| {
                        let (room, new) = (writer.clone(), Arc::clone(&counted));
                        async move {
                            let appended =
                                room.try_append(&ann(), Some(&format!("k{round}")), &body("hi")).await?;
                            let appended = appended.map_err(|error| Failure::new("an answer", error))?;
                            if !appended.duplicate {
                                new.fetch_add(1, Ordering::SeqCst);
                            }
                            same(&appended.seq, &round)
                        }
                    })
                    .await?;
                    same(&new.load(Ordering::SeqCst), &1)?;
                }
                same(&room.told.seqs(), &(1..=10).collect())
            },
        ),
        case(
            "concurrent_bodies_of_one_key_store_one",
            "Of many bodies under one key at the same time one is stored, and the others are conflicts.",
            |stage| async move {
                let room = stage.open("lobby")?;
                let writer = room.clone();
                at_once(8, move |number| {
                    let room = writer.clone();
                    async move {
                        match room.try_append(&ann(), Some("k"), &body(&number.to_string())).await? {
                            Ok(appended) => {
                                check(!appended.duplicate, "a new message or a conflict", appended)
                            }
                            Err(AppendError::KeyConflict) => Ok(()),
                            Err(error) => Err(Failure::new("a new message or a conflict", error)),
                        }
                    }
                })
                .await?;
                same(&seqs(&room.read_after(0).await?), &vec![1])
            },
        ),
        case(
            "the_newest_keys_are_remembered",
            "As many keys as `log_keys` says are known, whoever used them, messages without keys between.",
            |stage| async move {
                let room = stage.open("lobby")?;
                for number in 1..=9 {
                    room.append(&ann(), Some(&format!("k{number}")), &body("hi")).await?;
                    room.say("no key").await?;
                }
                for number in 6..=9 {
                    room.repeat(&ann(), &format!("k{number}"), &body("hi")).await?;
                }
                Ok(())
            },
        )
        .with(|limits| limits.rooms.log_keys = 4),
        case(
            "no_more_keys_are_remembered_than_asked",
            "Once there are more than `log_keys`, the oldest key is free again.",
            |stage| async move {
                let room = stage.open("lobby")?;
                for number in 1..=9 {
                    room.append(&ann(), Some(&format!("k{number}")), &body("hi")).await?;
                }
                is_free_in_time(&room, "k1").await
            },
        )
        .with(|limits| limits.rooms.log_keys = 4)
        .needs(Ability::KeyBound),
        case(
            "a_key_is_free_after_its_time",
            "After `key_window` a key is unknown: its body is a new message, whatever it was before.",
            |stage| async move { expires(&stage).await },
        )
        .with(|limits| limits.rooms.key_window = Duration::from_millis(300))
        .needs(Ability::KeyWindow),
    ];
    Group { name: "keys", promise: "Keys", cases }
}

fn known(id: &str, name: &str) -> Result<User, Failure> {
    User::new(id, name).map_err(|error| Failure::new("a user", error))
}

async fn expires(stage: &Stage) -> Verdict {
    let room = stage.open("lobby")?;
    let first = room.append(&ann(), Some("k"), &body("hi")).await?;
    is_free_in_time(&room, "k").await?;
    let second = room.read_after(first.seq).await?;
    check(!second.is_empty(), "a second message", seqs(&second))
}

/// Another body finds the key free, now or soon.
async fn is_free_in_time(room: &crate::Opened, key: &str) -> Verdict {
    eventually("the key free again", || async {
        Ok(room.try_append(&ann(), Some(key), &body("another")).await?.is_ok())
    })
    .await
}
