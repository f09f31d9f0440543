use chat_proto::command::{Command, JoinFrom, Token, parse};
use chat_proto::{
    Change, JoinRule, Limits, PostRule, Range, Restrict, Restriction, Role, RoomName, RoomRules, Search, User,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::{body, integer, links, mentions, reference, room, text};

fn join_from() -> impl Strategy<Value = JoinFrom> {
    prop_oneof![
        Just(JoinFrom::Now),
        (0..=200_u64).prop_map(JoinFrom::Last),
        (text(), integer()).prop_map(|(epoch, seq)| JoinFrom::After { epoch, seq }),
    ]
}

fn range() -> impl Strategy<Value = Range> {
    prop_oneof![
        (1..=200_usize).prop_map(Range::newest),
        (integer(), 1..=200_usize).prop_map(|(seq, limit)| Range::Before { seq, limit }),
        (integer(), 1..=200_usize).prop_map(|(seq, limit)| Range::After { seq, limit }),
    ]
}

fn search() -> impl Strategy<Value = Search> {
    let query = text().prop_filter("not only white space", |query| !query.trim().is_empty());
    (query, 1..=100_usize, option::of(integer()))
        .prop_map(|(query, limit, before)| Search::new(query, limit).before(before))
}

fn key() -> impl Strategy<Value = Option<String>> {
    reference().prop_map(|key| key.filter(|key| Limits::default().wire.allows_key(key)))
}

fn member() -> impl Strategy<Value = Option<User>> {
    // A user on the wire is never a guest.
    option::of("[a-z\\u{ac00}]{1,9}".prop_map(|name| User::new(&name, &name).expect("a good name")))
}

fn change() -> impl Strategy<Value = Command> {
    let on = any::<bool>();
    let edit = (body(), option::of(integer()), key(), option::of(mentions()))
        .prop_map(|(body, rev, key, mentions)| (Change::Edit { body }, rev, key, mentions));
    let reason = option::of("[a-z가-힣]{1,20}");
    let reaction = ("[a-z\\u{1f600}-\\u{1f610}]{1,9}", on, option::of(integer()));
    let change = prop_oneof![
        edit,
        reason.prop_map(|reason| (Change::Delete { reason }, None, None, None)),
        reaction.prop_map(|(reaction, on, rev)| (Change::React { reaction, on }, rev, None, None)),
        on.prop_map(|on| (Change::Pin { on }, None, None, None)),
    ];
    (room(), 1..=MAX_INTEGER, change).prop_map(|(room, seq, (change, rev, key, mentions))| Command::Change {
        room,
        seq,
        change,
        rev,
        key,
        mentions,
    })
}

fn govern() -> impl Strategy<Value = Command> {
    let user = || "[a-z0-9가-힣]{1,9}".prop_map(|id| User::from_id(&id).expect("a good id"));
    let join = select(vec![JoinRule::Open, JoinRule::Members]);
    let post = select(vec![PostRule::Everybody, PostRule::Members, PostRule::Moderators]);
    let rules = (join, post, option::of("[a-z가-힣]{1,20}"), any::<bool>()).prop_map(
        |(join, post, title, receipts)| {
            RoomRules::default().with_join(join).with_post(post).with_title(title).with_receipts(receipts)
        },
    );
    let role = select(vec![Role::None, Role::Member, Role::Moderator, Role::Owner]);
    let what = select(vec![Restrict::Mute, Restrict::Ban]);
    let restriction =
        option::of((what, option::of(integer())).prop_map(|(what, until)| Restriction::new(what, until)));
    prop_oneof![
        (room(), rules).prop_map(|(room, rules)| Command::Create { room, rules }),
        (room(), user(), role).prop_map(|(room, user, role)| Command::Role { room, user, role }),
        (room(), user(), restriction, option::of("[a-z가-힣]{1,20}")).prop_map(
            |(room, user, restriction, reason)| Command::Restrict { room, user, restriction, reason }
        ),
        (room(), user()).prop_map(|(room, user)| Command::Purge { room, user }),
    ]
}

const MAX_INTEGER: u64 = (1 << 53) - 1;

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        text().prop_map(|token| Command::Hello { token: Token::new(token) }),
        Just(Command::Ping),
        (room(), join_from()).prop_map(|(room, from)| Command::Join { room, from }),
        ("[a-z0-9가-힣]{1,9}", join_from()).prop_map(|(id, from)| Command::JoinDirect {
            with: User::from_id(&id).expect("a good id"),
            from
        }),
        room().prop_map(|room| Command::Leave { room }),
        (room(), key(), body(), links()).prop_map(|(room, key, body, links)| Command::Send {
            room,
            key,
            body,
            links
        }),
        (room(), 1..=MAX_INTEGER, range()).prop_map(|(room, root, range)| Command::Thread {
            room,
            root,
            range
        }),
        (room(), range()).prop_map(|(room, range)| Command::History { room, range }),
        (room(), vec(integer(), 0..9)).prop_map(|(room, seqs)| Command::Messages { room, seqs }),
        change(),
        govern(),
        (room(), member(), 1..1_001_usize).prop_map(|(room, after, limit)| Command::Members {
            room,
            after,
            limit
        }),
        (room(), integer()).prop_map(|(room, seq)| Command::Read { room, seq }),
        (room(), any::<bool>()).prop_map(|(room, on)| Command::Follow { room, on }),
        (option::of(room()), 1..=100_usize).prop_map(|(after, limit)| Command::Rooms { after, limit }),
        (room(), search()).prop_map(|(room, search)| Command::Search { room, search }),
        (room(), any::<bool>()).prop_map(|(room, active)| Command::Typing { room, active }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_server_reads_the_command_that_a_client_wrote(command in command(), reference in reference()) {
        let text = command.encode(reference.as_deref());
        let parsed = parse(text.as_bytes(), &Limits::default());
        prop_assert_eq!(&parsed.reference, &reference);
        let read = parsed.command.map_err(|invalid| TestCaseError::fail(format!("{invalid:?}: {text}")))?;
        prop_assert_eq!(format!("{read:?}"), format!("{command:?}"));
        prop_assert_eq!(read.encode(reference.as_deref()), text);
    }
}

#[test]
fn a_number_that_the_protocol_cannot_express_is_not_written() {
    let room: RoomName = "lobby".parse().expect("a valid name");
    let last = Command::Join { room: room.clone(), from: JoinFrom::Last(u64::MAX) };
    assert_eq!(last.encode(None), r#"{"type":"join","room":"lobby","last":9007199254740991}"#);
    let newest = Command::History { room: room.clone(), range: Range::newest(5) };
    assert_eq!(newest.encode(None), r#"{"type":"history","room":"lobby","limit":5}"#);
    let whole = Command::History { room: room.clone(), range: Range::before(u64::MAX, 5) };
    assert_eq!(whole.encode(None), newest.encode(None));
    let search = Search::new("q", 5).before(u64::MAX);
    let search = Command::Search { room, search }.encode(None);
    assert_eq!(search, r#"{"type":"search","room":"lobby","limit":5,"query":"q"}"#);
}
