use chat_proto::{
    CloseCode, Deleted, Direct, Edited, ErrorCode, Event, Folded, InvalidEvent, JoinRule, LimitsNotice,
    NewMessage, PostRule, PresenceMode, PresenceState, Reaction, Restrict, Restriction, Rights, Role,
    RoomRules, RoomSummary, Standing, StoredMessage, Unread, User, What,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::{body, integer, links, mentions, reference, room, text, user};

fn message() -> impl Strategy<Value = Event> {
    (room(), 1..1_000_u64, user(), integer(), reference(), body(), option::of(folded()), links()).prop_map(
        |(room, seq, user, at, key, body, folded, mut links)| {
            let content =
                Some((key, body)).filter(|_| folded.as_ref().is_none_or(|folded| folded.deleted.is_none()));
            if content.is_none() {
                links = links.map(|links| Box::new(links.with_mentions(None)));
                links = links.filter(|links| !links.is_empty());
            }
            let (key, body) = content.map_or((None, None), |(key, body)| (key, Some(body)));
            Event::Message { room, seq, user, at, key, body, folded: folded.map(Box::new), links }
        },
    )
}

fn reactions() -> impl Strategy<Value = Vec<Reaction>> {
    let reaction = (text(), 1..99_u64, vec(user(), 1..4), 0..3_u64)
        .prop_map(|(reaction, count, users, stale)| Reaction::new(reaction, count, users).with_stale(stale));
    vec(reaction, 0..3)
}

fn folded() -> impl Strategy<Value = Folded> {
    let edited = option::of((integer(), option::of(user())).prop_map(|(at, by)| Edited::new(at).with_by(by)));
    let deleted = option::of(
        (integer(), user(), reference()).prop_map(|(at, by, reason)| Deleted::new(at, by, reason)),
    );
    (integer(), edited, reactions(), any::<bool>(), 0..9_u64, deleted).prop_map(
        |(rev, edited, reactions, pinned, replies, deleted)| {
            let mut folded = Folded::default();
            (folded.edited, folded.reactions, folded.pinned, folded.rev) = (edited, reactions, pinned, rev);
            for _ in 0..replies {
                folded.reply(rev);
            }
            if let Some(deleted) = deleted {
                folded.delete(rev, deleted);
            }
            folded
        },
    )
}

fn changed() -> impl Strategy<Value = Event> {
    let what = prop_oneof![
        (body(), option::of(mentions())).prop_map(|(body, mentions)| What::Edited {
            body,
            mentions: mentions.filter(|mentions| !mentions.is_empty())
        }),
        reference().prop_map(|reason| What::Deleted { reason }),
        reactions().prop_map(|reactions| What::Reactions { reactions }),
        any::<bool>().prop_map(|pinned| What::Pinned { pinned }),
        Just(What::Superseded),
    ];
    (room(), 1..1_000_u64, integer(), user(), 1..1_000_u64, what)
        .prop_map(|(room, seq, at, by, target, what)| Event::Changed { room, seq, at, by, target, what })
}

fn role() -> impl Strategy<Value = Role> {
    select(vec![Role::None, Role::Member, Role::Moderator, Role::Owner])
}

fn restricted() -> impl Strategy<Value = Option<Restriction>> {
    let what = select(vec![Restrict::Mute, Restrict::Ban]);
    option::of((what, option::of(integer())).prop_map(|(what, until)| Restriction::new(what, until)))
}

fn title() -> impl Strategy<Value = Option<String>> {
    option::of("[a-z가-힣]{1,20}")
}

fn act() -> impl Strategy<Value = Event> {
    let join = select(vec![JoinRule::Open, JoinRule::Members]);
    let post = select(vec![PostRule::Everybody, PostRule::Members, PostRule::Moderators]);
    let direct = option::of((user(), user()).prop_map(|(one, other)| Direct::new(&one, &other)));
    let rules =
        (join, post, title(), any::<bool>(), direct).prop_map(|(join, post, title, receipts, direct)| {
            let rules = RoomRules::default().with_join(join).with_post(post).with_title(title);
            let mut rules = rules.with_receipts(receipts);
            rules.direct = direct;
            rules
        });
    prop_oneof![
        (room(), 1..1_000_u64, integer(), user(), user(), role(), restricted(), reference()).prop_map(
            |(room, seq, at, by, user, role, restricted, reason)| {
                Event::Role { room, seq, at, by, user, role, restricted, reason }
            }
        ),
        (room(), 1..1_000_u64, integer(), user(), any::<bool>(), rules).prop_map(
            |(room, seq, at, by, created, rules)| Event::Settings { room, seq, at, by, created, rules }
        ),
        (room(), 1..1_000_u64, integer(), user(), user(), integer(), integer(), vec(integer(), 0..3))
            .prop_map(|(room, seq, at, by, user, from, to, unpinned)| {
                Event::Purged { room, seq, at, by, user, from, to, unpinned }
            }),
    ]
}

fn stored() -> impl Strategy<Value = Vec<StoredMessage>> {
    let stored = (room(), 1..1_000_u64, user(), integer(), reference(), body()).prop_map(
        |(room, seq, user, at, key, body)| {
            NewMessage::new(user, body).with_key(key).into_stored(room, seq, at)
        },
    );
    vec(stored, 0..4)
}

fn presence_state() -> impl Strategy<Value = PresenceState> {
    select(vec![PresenceState::Joined, PresenceState::Left])
}

fn presence_mode() -> impl Strategy<Value = PresenceMode> {
    select(vec![PresenceMode::Each, PresenceMode::Count])
}

/// Generates codes that the protocol has, and others.
fn error_code() -> impl Strategy<Value = ErrorCode> {
    let known = ["bad_json", "bad_command", "rate_limited", "muted", "room_exists", "rejected", "gone"];
    prop_oneof![
        select(known.to_vec()).prop_map(ErrorCode::from),
        "[a-z_]{1,40}".prop_map(|code| ErrorCode::from(&*code))
    ]
}

fn error() -> impl Strategy<Value = Event> {
    (reference(), error_code(), text(), option::of(integer()), option::of(room()), option::of(body()))
        .prop_map(|(reference, code, message, retry_after_ms, room, detail)| Event::Error {
            reference,
            code,
            message,
            retry_after_ms,
            room,
            detail,
        })
}

/// A role, and the rights that it gives in an open room.
fn may() -> impl Strategy<Value = (Role, Rights)> {
    role().prop_map(|role| (role, RoomRules::default().rights(&Standing::new(role, None), 0)))
}

fn unknown() -> impl Strategy<Value = Event> {
    ("[a-z]{1,3}_[a-z]{1,9}", reference(), option::of(room()), option::of(integer()), option::of(integer()))
        .prop_map(|(kind, reference, room, seq, at)| Event::Unknown { kind, reference, room, seq, at })
}

/// Generates the marker and the numbers of a `joined`.
fn counts() -> impl Strategy<Value = (Option<u64>, Option<u64>, Option<u64>)> {
    (option::of(integer()), option::of(0..=100_u64), option::of(0..=100_u64))
}

/// Generates the other user of a room that may be a direct one.
fn with() -> impl Strategy<Value = Option<User>> {
    option::of(user())
}

fn summaries() -> impl Strategy<Value = Vec<RoomSummary>> {
    let summary = (room(), integer(), integer(), 0..=100_u64, 0..=100_u64, with(), title());
    let summary = summary.prop_map(|(room, head, read, unread, mentions, with, title)| {
        let mut counted = Unread::new("e", head, read);
        (counted.unread, counted.mentions) = (unread, mentions);
        RoomSummary::new(room, &counted).with_user(with).with_title(title)
    });
    vec(summary, 0..4)
}

fn event() -> impl Strategy<Value = Event> {
    let joined = (
        reference(),
        room(),
        text(),
        integer(),
        1..100_u64,
        any::<bool>(),
        (0..9_usize, presence_mode(), may(), vec(integer(), 0..3)),
        (counts(), with(), title(), restricted()),
    )
        .prop_map(
            |(
                reference,
                room,
                epoch,
                seq,
                first,
                recovered,
                (members, presence, (role, may), pins),
                ((read, unread, mentions), with, title, restricted),
            )| Event::Joined {
                reference,
                room,
                epoch,
                seq,
                first,
                recovered,
                members,
                presence,
                role,
                may,
                pins,
                read,
                unread,
                mentions,
                with,
                title,
                restricted,
            },
        );
    let history = (reference(), room(), text(), stored(), any::<bool>()).prop_map(
        |(reference, room, epoch, messages, more)| Event::History { reference, room, epoch, messages, more },
    );
    let closing =
        (any::<u16>(), text(), option::of(integer())).prop_map(|(code, reason, reconnect_in_ms)| {
            Event::Closing { code: CloseCode::from(code), reason: reason.into(), reconnect_in_ms }
        });
    prop_oneof![
        (reference(), text(), user(), integer(), option::of(integer())).prop_map(
            |(reference, connection, user, ping_interval, expires_at)| Event::Welcome {
                reference,
                connection,
                user,
                limits: LimitsNotice::default(),
                ping_interval,
                expires_at
            }
        ),
        integer().prop_map(|at| Event::Expiring { at }),
        joined,
        (reference(), room()).prop_map(|(reference, room)| Event::Left { reference, room }),
        message(),
        changed(),
        act(),
        (reference(), room(), option::of(integer()), any::<bool>())
            .prop_map(|(reference, room, seq, duplicate)| Event::Done { reference, room, seq, duplicate }),
        (reference(), room(), integer(), integer(), any::<bool>()).prop_map(
            |(reference, room, seq, at, duplicate)| Event::Sent { reference, room, seq, at, duplicate }
        ),
        history,
        (reference(), room(), stored(), any::<bool>()).prop_map(|(reference, room, messages, more)| {
            Event::Found { reference, room, messages, more }
        }),
        (reference(), room(), vec(user(), 0..4), any::<bool>(), 0..9_000_usize).prop_map(
            |(reference, room, members, more, total)| Event::Members {
                reference,
                room,
                members,
                more,
                total
            }
        ),
        (reference(), room(), user(), integer()).prop_map(|(reference, room, user, seq)| Event::Read {
            reference,
            room,
            user,
            seq
        }),
        (reference(), summaries(), any::<bool>()).prop_map(|(reference, rooms, more)| Event::Rooms {
            reference,
            rooms,
            more
        }),
        (room(), integer(), 0..=100_u64, 0..=100_u64, with()).prop_map(
            |(room, seq, unread, mentions, with)| Event::Activity { room, seq, unread, mentions, with }
        ),
        (room(), user(), presence_state()).prop_map(|(room, user, state)| Event::Presence {
            room,
            user,
            state
        }),
        (room(), 0..9_000_usize, presence_mode()).prop_map(|(room, members, presence)| Event::Occupancy {
            room,
            members,
            presence
        }),
        (room(), user(), any::<bool>()).prop_map(|(room, user, active)| Event::Typing { room, user, active }),
        (room(), text(), integer(), integer()).prop_map(|(room, epoch, from, to)| Event::Gap {
            room,
            epoch,
            from,
            to
        }),
        reference().prop_map(|reference| Event::Pong { reference }),
        closing,
        error(),
        unknown(),
    ]
}

fn encoded(event: &Event) -> String {
    String::from_utf8(event.encode().to_vec()).expect("an event is text")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_client_reads_the_event_that_a_server_wrote(event in event()) {
        let text = encoded(&event);
        let read = Event::parse(&text).map_err(|invalid| TestCaseError::fail(format!("{invalid}: {text}")))?;
        prop_assert_eq!(format!("{read:?}"), format!("{event:?}"));
        prop_assert_eq!(encoded(&read), &*text);
        let reference = serde_json::from_str::<Value>(&text).expect("JSON")["ref"].clone();
        prop_assert_eq!(read.reference(), reference.as_str());
    }

    #[test]
    fn an_event_is_written_as_serde_writes_it(event in event()) {
        // The events that serde skips cannot be compared.
        if let Ok(derived) = serde_json::to_string(&event) {
            prop_assert_eq!(encoded(&event), derived);
        }
    }

    #[test]
    fn a_field_that_an_event_does_not_have_is_ignored(event in event(), value in body()) {
        let text = encoded(&event);
        let more = format!(r#"{{"x_new":{value},{}"#, &text[1..]);
        let read = Event::parse(&more).map_err(|invalid| TestCaseError::fail(format!("{invalid}: {more}")))?;
        prop_assert_eq!(encoded(&read), text);
    }

    #[test]
    fn a_cut_event_is_an_error(event in event(), end in any::<proptest::sample::Index>()) {
        let text = encoded(&event);
        let cut: String = text.chars().take(end.index(text.chars().count())).collect();
        prop_assert_eq!(Event::parse(&cut).err(), Some(InvalidEvent::NotAnEvent));
    }

    #[test]
    fn a_stored_message_is_read_as_the_message_that_was_appended(
        room in room(), seq in 1..1_000_u64, at in integer(), key in reference(), body in body(),
    ) {
        let user = User::new("7", "Ann").expect("a valid name");
        let stored = NewMessage::new(user, body.clone()).with_key(key.clone()).into_stored(room.clone(), seq, at);
        let event = stored.event().expect("a message");
        prop_assert_eq!(event.entry(), Some((&room, seq)));
        let Event::Message { user, at: read_at, key: read_key, body: read_body, .. } = event else {
            return Err(TestCaseError::fail("another event"));
        };
        prop_assert_eq!((user.id(), user.name(), read_at, read_key), ("7", "Ann", at, key));
        prop_assert_eq!(read_body.map(|read| read.get().to_owned()), Some(body.get().to_owned()));
    }
}

/// One event of each known type, with all its fields.
fn examples() -> Vec<Value> {
    let user = json!({"id": "a", "name": "a"});
    let message = json!({"type": "message", "room": "lobby", "seq": 1, "user": user, "at": 1, "body": {}});
    vec![
        json!({"type": "welcome", "connection": "1", "user": user, "ping_interval": 20}),
        json!({"type": "joined", "room": "lobby", "epoch": "e", "seq": 1, "first": 1, "recovered": true, "members": 1}),
        json!({"type": "left", "room": "lobby"}),
        json!({"type": "changed", "room": "lobby", "seq": 2, "at": 1, "by": user, "target": 1,
               "what": "pinned", "pinned": true}),
        json!({"type": "role", "room": "lobby", "seq": 3, "at": 1, "by": user, "user": user, "role": "member"}),
        json!({"type": "settings", "room": "lobby", "seq": 3, "at": 1, "by": user, "join": "open"}),
        json!({"type": "purged", "room": "lobby", "seq": 4, "at": 1, "by": user, "user": user, "from": 1, "to": 3}),
        message.clone(),
        json!({"type": "sent", "room": "lobby", "seq": 1, "at": 1}),
        json!({"type": "history", "room": "lobby", "epoch": "e", "messages": [message]}),
        json!({"type": "found", "room": "lobby", "messages": [message]}),
        json!({"type": "members", "room": "lobby", "members": [user]}),
        json!({"type": "read", "room": "lobby", "user": user, "seq": 1}),
        json!({"type": "rooms", "rooms": [{"room": "lobby", "seq": 2, "read": 1, "unread": 1, "mentions": 0}]}),
        json!({"type": "activity", "room": "lobby", "seq": 2, "unread": 1, "mentions": 0}),
        json!({"type": "presence", "room": "lobby", "user": user, "state": "left"}),
        json!({"type": "occupancy", "room": "lobby", "members": 101, "presence": "count"}),
        json!({"type": "typing", "room": "lobby", "user": user, "active": true}),
        json!({"type": "gap", "room": "lobby", "epoch": "e", "from": 1, "to": 2}),
        json!({"type": "pong"}),
        json!({"type": "expiring", "at": 1}),
        json!({"type": "closing", "code": 1012}),
        json!({"type": "error", "code": "gone"}),
    ]
}

#[test]
fn an_event_without_a_field_that_it_needs_is_an_error() {
    for example in examples() {
        let text = example.to_string();
        assert!(Event::parse(&text).is_ok(), "{text}");
        let fields: Vec<_> = example.as_object().expect("an object").keys().cloned().collect();
        for field in fields.iter().filter(|field| !["type", "connection", "what"].contains(&field.as_str())) {
            let mut without = example.clone();
            without.as_object_mut().expect("an object").remove(field);
            let error = Event::parse(&without.to_string()).expect_err(field);
            assert!(error.to_string().contains(field), "{error}: {field} of {text}");
            for value in [json!(null), json!([null]), json!({"x": 1}), json!("A B"), json!(-7)] {
                if field == "body"
                    || (field == "epoch" && value.is_string())
                    || (field == "code" && value.is_string())
                {
                    continue;
                }
                let mut other = example.clone();
                other[field] = value;
                assert!(Event::parse(&other.to_string()).is_err(), "{other}");
            }
        }
    }
}

#[test]
fn an_event_of_an_unknown_type_is_an_entry_if_it_has_a_room_a_seq_and_a_time() {
    for (fields, entry) in [
        (r#""room":"lobby","seq":9,"at":1"#, true),
        (r#""room":"lobby","seq":9,"at":1,"by":{"id":"a"},"target":4,"what":"edited","body":{}"#, true),
        (r#""room":"lobby","seq":9,"user":{"id":"a","name":"a"}"#, false),
        (r#""room":"lobby","seq":9,"unread":1,"mentions":0"#, false),
        (r#""room":"lobby","seq":9,"at":1,"ref":"1""#, false),
        (r#""room":"No Room","seq":9,"at":1"#, false),
        (r#""at":1"#, false),
    ] {
        let event = Event::parse(&format!(r#"{{"type":"dance",{fields}}}"#)).expect(fields);
        assert!(matches!(&event, Event::Unknown { kind, .. } if kind == "dance"), "{fields}");
        assert_eq!(event.entry().map(|(_, seq)| seq), entry.then_some(9), "{fields}");
    }
    let reply = Event::parse(r#"{"type":"done","ref":"7","room":"lobby","seq":9}"#).expect("an event");
    assert_eq!((reply.reference(), reply.entry()), (Some("7"), None));
}

#[test]
fn a_limit_that_the_server_does_not_announce_has_its_default() {
    let text = r#"{"type":"welcome","connection":"1","user":{"id":"a","name":"a"},"limits":{"max_frame":7,"x":1},"ping_interval":20}"#;
    let Ok(Event::Welcome { limits, .. }) = Event::parse(text) else { panic!("no welcome") };
    assert_eq!((limits.max_frame, limits.max_page), (7, LimitsNotice::default().max_page));
}

#[test]
fn an_error_of_reading_repeats_nothing_of_the_event() {
    for text in [r#"{"type":"message","room":"secret"}"#, r#"{"type":"secret","seq":"secret"}"#, "secret"] {
        let error = Event::parse(text).expect_err(text);
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }
    let detail: Box<RawValue> = serde_json::from_str(r#"{"word":3}"#).expect("JSON");
    let event = Event::Error {
        reference: None,
        code: ErrorCode::Rejected,
        message: String::new(),
        retry_after_ms: Some(7),
        room: None,
        detail: Some(detail),
    };
    let text = r#"{"type":"error","code":"rejected","message":"","retry_after_ms":7,"detail":{"word":3}}"#;
    assert_eq!(encoded(&event), text);
}
