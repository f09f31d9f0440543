//! The `hello` of a session: the first one, and one that renews the credentials.

use std::sync::Arc;
use std::time::Duration;

use chat_proto::session::{Effect, Expiry, Identified, NotIdentified, Session};
use chat_proto::{CloseCode, Event, Limits, User};

use crate::SECOND;

const HELLO: &str = r#"{"type":"hello","ref":"h","token":"secret"}"#;

fn ann() -> Identified {
    Identified::new(User::new("7", "Ann").expect("a user"), "c")
}

fn expiry(at: Duration) -> Expiry {
    Expiry { at, unix_ms: 1_700_000_000_000 }
}

fn without_user() -> Session<()> {
    Session::open_without_user(Arc::new(Limits::default()), Duration::ZERO)
}

/// Returns the texts of the events, and the code of a close at the end.
fn shown(effects: Vec<Effect>) -> (Vec<String>, Option<u16>) {
    let (mut texts, mut code) = (Vec::new(), None);
    for effect in effects {
        match effect {
            Effect::Reply(event) => {
                texts.push(String::from_utf8(event.encode().into()).expect("an event is text"));
            }
            Effect::Close(close) => code = Some(close.code()),
            other => panic!("{other:?}"),
        }
    }
    (texts, code)
}

#[test]
fn the_first_hello_is_answered_with_the_welcome_and_its_ref() {
    let mut session = without_user();
    let asked = session.handle_text(SECOND, HELLO.into());
    assert!(!format!("{asked:?}").contains("secret"), "{asked:?}");
    let [Effect::Identify(token)] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!((token.as_str(), session.wants_text()), ("secret", false));
    let ann = ann().until(expiry(100 * SECOND));
    let (texts, code) = shown(session.handle_identification(2 * SECOND, Ok(ann)));
    let expected = r#"{"type":"welcome","ref":"h","connection":"c","user":{"id":"7","name":"Ann"},"limits":"#;
    assert!(texts[0].starts_with(expected), "{texts:?}");
    assert!(texts[0].ends_with(r#""ping_interval":20,"expires_at":1700000000000}"#), "{texts:?}");
    assert_eq!((texts.len(), code, session.wants_text()), (1, None, true));
}

#[test]
fn a_connection_without_an_accepted_hello_is_closed_after_ten_seconds() {
    let mut session = without_user();
    assert_eq!(session.credentials_deadline(), Some(10 * SECOND));
    session.handle_text(9 * SECOND, HELLO.into());
    assert_eq!(session.credentials_deadline(), None, "the answer of the host comes first");
    let (texts, code) = shown(session.handle_identification(12 * SECOND, Err(NotIdentified::Unavailable)));
    assert!(texts[0].contains(r#""ref":"h","code":"unavailable""#), "{texts:?}");
    assert_eq!((texts.len(), code), (1, Some(4502)));
    let mut session = without_user();
    assert_eq!(shown(session.handle_credentials(10 * SECOND)), (vec![], Some(4502)));
}

#[test]
fn the_end_of_the_credentials_is_announced_once_and_then_closes() {
    let (mut session, _) =
        Session::<()>::open(Arc::new(Limits::default()), ann().until(expiry(100 * SECOND)), Duration::ZERO);
    assert_eq!(session.credentials_deadline(), Some(40 * SECOND));
    let early = session.handle_credentials(39 * SECOND);
    assert!(early.is_empty(), "{early:?}");
    let (texts, code) = shown(session.handle_credentials(40 * SECOND));
    assert_eq!((texts, code), (vec![r#"{"type":"expiring","at":1700000000000}"#.to_owned()], None));
    assert_eq!(session.credentials_deadline(), Some(100 * SECOND));
    assert_eq!(shown(session.handle_credentials(100 * SECOND)), (vec![], Some(4005)));
}

#[test]
fn credentials_of_the_same_user_replace_the_expiry_and_those_of_another_user_close() {
    let (mut session, _) =
        Session::<()>::open(Arc::new(Limits::default()), ann().until(expiry(30 * SECOND)), Duration::ZERO);
    session.handle_credentials(Duration::ZERO);
    session.handle_text(SECOND, HELLO.into());
    session.handle_text(SECOND, r#"{"type":"ping","ref":"p"}"#.into());
    let renewed = Identified::new(User::new("7", "Anna").expect("a user"), "c").until(expiry(90 * SECOND));
    let effects = session.handle_identification(2 * SECOND, Ok(renewed));
    // The new expiry has a notice of its own.
    assert_eq!(session.credentials_deadline(), Some(30 * SECOND));
    let [Effect::Reply(Event::Welcome { user, .. }), Effect::Reply(Event::Pong { .. })] = effects.as_slice()
    else {
        panic!("{effects:?}")
    };
    assert_eq!(user.name(), "Ann", "the connection keeps the name");
    session.handle_text(3 * SECOND, HELLO.into());
    let bob = Identified::new(User::guest("7").expect("a name"), "c");
    let effects = session.handle_identification(3 * SECOND, Ok(bob));
    assert!(matches!(effects.as_slice(), [Effect::Close(CloseCode::Unauthorized)]), "{effects:?}");
}
