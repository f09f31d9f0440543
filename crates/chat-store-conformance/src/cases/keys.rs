use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chat_core::{AppendError, User};

use super::{ann, body, check, concurrently, eventually, guest, same, seqs};
use crate::{Capability, Case, Failure, OpenRoom, Stage, Verdict};

chat_suite::cases!(
    /// A repeat answers the `seq` and `at` of the first append, as a duplicate, however late it comes.
    async fn a_repeat_answers_the_first_append(stage: Stage, room: OpenRoom) -> Verdict {
        room.say("before").await?;
        let first = room.append(&ann(), Some("k"), &body("hi")).await?;
        for _ in 0..3 {
            let again = room.repeat(&ann(), "k", &body("hi")).await?;
            same(&(again.seq, again.at), &(first.seq, first.at))?;
            room.say("between").await?;
        }
        Ok(())
    }

    /// A repeat does not change the log.
    async fn a_repeat_stores_nothing(stage: Stage, room: OpenRoom) -> Verdict {
        room.append(&ann(), Some("k"), &body("hi")).await?;
        let before = room.read_after(0).await?;
        room.repeat(&ann(), "k", &body("hi")).await?;
        same(&room.read_after(0).await?, &before)
    }

    /// A used key with another body is a conflict, stores nothing, and stays with the first body.
    async fn another_body_is_a_conflict(stage: Stage, room: OpenRoom) -> Verdict {
        let first = room.append(&ann(), Some("k"), &body("hi")).await?;
        for other in [body("ho"), body("hi "), "{}".to_owned()] {
            same(&room.try_append(&ann(), Some("k"), &other).await?, &Err(AppendError::KeyConflict))?;
        }
        same(&room.repeat(&ann(), "k", &body("hi")).await?.seq, &first.seq)?;
        same(&seqs(&room.read_after(0).await?), &vec![1])
    }

    /// White space, the order of fields and the spelling of a character make another body.
    async fn bodies_are_compared_byte_by_byte(stage: Stage, room: OpenRoom) -> Verdict {
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
    }

    /// The same body without a key is a new message each time.
    async fn a_message_without_a_key_is_never_a_repeat(stage: Stage, room: OpenRoom) -> Verdict {
        for seq in 1..=3 {
            same(&room.append(&ann(), None, &body("hi")).await?.seq, &seq)?;
        }
        room.append(&ann(), Some("k"), &body("hi")).await.map(drop)
    }

    /// A key belongs to its user: the same key of another user is another message.
    async fn users_do_not_share_keys(stage: Stage, room: OpenRoom) -> Verdict {
        for (seq, name) in (1..).zip(["Ann", "ann", "Bo", "An", "Ann1"]) {
            same(&room.append(&guest(name), Some("k"), &body(name)).await?.seq, &seq)?;
        }
        same(&room.repeat(&guest("ann"), "k", &body("ann")).await?.seq, &2)
    }

    /// A guest with the id of a known user has keys of its own.
    async fn a_guest_and_a_known_user_do_not_share_keys(stage: Stage, room: OpenRoom) -> Verdict {
        room.append(&known("Ann", "Ann")?, Some("k"), &body("known")).await?;
        room.append(&guest("Ann"), Some("k"), &body("guest")).await?;
        same(&room.repeat(&known("Ann", "Ann")?, "k", &body("known")).await?.seq, &1)?;
        same(&room.repeat(&guest("Ann"), "k", &body("guest")).await?.seq, &2)
    }

    /// Keys belong to the id of a user, not to the name.
    async fn a_renamed_user_keeps_its_keys(stage: Stage, room: OpenRoom) -> Verdict {
        let first = room.append(&known("7", "Ann")?, Some("k"), &body("hi")).await?;
        let again = room.repeat(&known("7", "Ann Smith")?, "k", &body("hi")).await?;
        same(&again.seq, &first.seq)?;
        room.append(&known("8", "Ann")?, Some("k"), &body("hi")).await.map(drop)
    }

    /// A key of one room is unknown in another room.
    async fn rooms_do_not_share_keys(stage: Stage) -> Verdict {
        for name in ["lobby", "hall", "lobby-2", "lobb"] {
            let room = stage.open(name).await?;
            same(&room.append(&ann(), Some("k"), &body(name)).await?.seq, &1)?;
            room.repeat(&ann(), "k", &body(name)).await?;
        }
        Ok(())
    }

    /// Keys that differ in case, white space, a NUL or their normal form are different keys.
    async fn keys_are_compared_byte_by_byte(stage: Stage, room: OpenRoom) -> Verdict {
        let keys =
            ["k", "K", "k ", " k", "k\0", "\0", "\u{e9}", "e\u{301}", "%", "_", "*", "'", "\"", "k;--", "ｋ"];
        for key in keys {
            room.append(&ann(), Some(key), &body(key)).await?;
        }
        for (seq, key) in (1..).zip(keys) {
            same(&room.repeat(&ann(), key, &body(key)).await?.seq, &seq)?;
        }
        Ok(())
    }

    /// A user and a key are compared separately, so that no pair is equal to another pair once joined.
    async fn user_and_key_are_compared_separately(stage: Stage, room: OpenRoom) -> Verdict {
        let mut pairs = vec![("a".to_owned(), "bc".to_owned()), ("ab".to_owned(), "c".to_owned())];
        // An id of a user has no control characters, so a store may put one between the id and the key.
        for separator in [":", "/", "|", " ", "\u{fffd}"] {
            pairs.push((format!("a{separator}b"), "c".to_owned()));
            pairs.push(("a".to_owned(), format!("b{separator}c")));
        }
        pairs.push(("a".to_owned(), "b\0c".to_owned()));
        for (id, key) in &pairs {
            room.append(&known(id, "Ann")?, Some(key), &body("hi")).await?;
        }
        Ok(())
    }

    /// Keys of 64 bytes that differ in the last byte are two keys.
    async fn a_key_of_64_bytes_is_not_cut(stage: Stage, room: OpenRoom) -> Verdict {
        let long = "k".repeat(63);
        for last in ["a", "b"] {
            room.append(&ann(), Some(&format!("{long}{last}")), &body("hi")).await?;
        }
        room.append(&ann(), Some(&long), &body("hi")).await.map(drop)
    }

    /// Of many concurrent appends with one key, one is new and the others are its duplicates.
    async fn concurrent_repeats_are_stored_once(stage: Stage, room: OpenRoom) -> Verdict {
        for round in 1..=10 {
            let new = Arc::new(AtomicUsize::new(0));
            let shared = (room.clone(), Arc::clone(&new));
            concurrently(8, shared, |(room, new), _| async move {
                let appended = room.try_append(&ann(), Some(&format!("k{round}")), &body("hi")).await?;
                let appended = appended.map_err(|error| Failure::new("an answer", error))?;
                if !appended.duplicate {
                    new.fetch_add(1, Ordering::SeqCst);
                }
                same(&appended.seq, &round)
            })
            .await?;
            same(&new.load(Ordering::SeqCst), &1)?;
        }
        room.check_reports(1..=10).await
    }

    /// Of many concurrent bodies with one key, one is stored and the others are conflicts.
    async fn concurrent_bodies_with_one_key_store_one(stage: Stage, room: OpenRoom) -> Verdict {
        concurrently(8, room.clone(), |room, number| async move {
            match room.try_append(&ann(), Some("k"), &body(&number.to_string())).await? {
                Ok(appended) => check(!appended.duplicate, "a new message or a conflict", appended),
                Err(AppendError::KeyConflict) => Ok(()),
                Err(error) => Err(Failure::new("a new message or a conflict", error)),
            }
        })
        .await?;
        same(&seqs(&room.read_after(0).await?), &vec![1])
    }

    /// A user may have `log_keys` keys, and each of them stays known, also with messages without keys between them.
    #[with(limits(|limits| limits.rooms.log_keys = 4))]
    async fn a_user_may_use_as_many_keys_as_the_limit(stage: Stage, room: OpenRoom) -> Verdict {
        for number in 1..=4 {
            room.append(&ann(), Some(&format!("k{number}")), &body("hi")).await?;
            room.say("no key").await?;
        }
        for number in 1..=4 {
            room.repeat(&ann(), &format!("k{number}"), &body("hi")).await?;
        }
        Ok(())
    }

    /// A user with `log_keys` keys is refused further ones, and no key is forgotten.
    #[with(limits(|limits| limits.rooms.log_keys = 4))]
    #[with(needs(Capability::KeyLimit))]
    async fn a_key_over_the_limit_is_refused(stage: Stage, room: OpenRoom) -> Verdict {
        for number in 1..=4 {
            room.append(&ann(), Some(&format!("k{number}")), &body("hi")).await?;
        }
        for _ in 0..2 {
            let refused = room.append_or_refuse(&ann(), Some("k5"), &body("hi")).await?;
            check(matches!(refused, Err(AppendError::Unavailable(_))), "unavailable", refused)?;
        }
        for number in 1..=4 {
            room.repeat(&ann(), &format!("k{number}"), &body("hi")).await?;
        }
        room.append(&ann(), None, &body("hi")).await.map(drop)
    }

    /// The keys of one user push out no key of another user, and do not count in its limit.
    #[with(limits(|limits| limits.rooms.log_keys = 4))]
    async fn keys_of_a_user_push_out_no_key_of_another_user(stage: Stage) -> Verdict {
        let room = stage.open("lobby").await?;
        room.append(&ann(), Some("k"), &body("hi")).await?;
        for name in ["bo", "cy", "di"] {
            for number in 1..=4 {
                room.append(&guest(name), Some(&format!("k{number}")), &body("hi")).await?;
            }
        }
        room.repeat(&ann(), "k", &body("hi")).await.map(drop)
    }

    /// After `key_window` a key is unknown, and any body with it is a new message.
    #[with(limits(|limits| limits.rooms.key_window = Duration::from_millis(300)))]
    #[with(needs(Capability::KeyWindow))]
    async fn a_key_is_forgotten_after_its_window(stage: Stage, room: OpenRoom) -> Verdict {
        let first = room.append(&ann(), Some("k"), &body("hi")).await?;
        becomes_free(&room, "k").await?;
        let second = room.read_after(first.seq).await?;
        check(!second.is_empty(), "a second message", seqs(&second))
    }
);

fn known(id: &str, name: &str) -> Result<User, Failure> {
    User::new(id, name).map_err(|error| Failure::new("a user", error))
}

/// Waits until another body can be stored with the key.
async fn becomes_free(room: &OpenRoom, key: &str) -> Verdict {
    eventually("the key is free again", || async {
        Ok(room.try_append(&ann(), Some(key), &body("another")).await?.is_ok())
    })
    .await
}
