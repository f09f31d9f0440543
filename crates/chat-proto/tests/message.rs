//! The form of a new message in the log of a store.

use chat_proto::{NewMessage, RoomName, User};
use serde_json::value::RawValue;

#[test]
fn a_message_survives_serde_with_its_body_and_its_user() {
    let body = r#"{ "text" : "\u00e9" , "n":1.50,
        "z":1e3,"a":[] }"#;
    let room: RoomName = "lobby".parse().expect("a good name");
    let known = User::new("ada", "Ada").expect("a good name");
    for user in [known, User::guest("ada").expect("a good name"), User::unnamed_guest(7)] {
        let body = RawValue::from_string(body.to_owned()).expect("a body is JSON");
        let message = NewMessage::new(user.clone(), body).with_key("k".to_owned());
        let json = serde_json::to_string(&message).expect("a message can be written");
        let read: NewMessage = serde_json::from_str(&json).expect("a message can be read");
        assert_eq!((read.user.key(), read.user.name()), (user.key(), user.name()));
        assert_eq!(read.into_stored(room.clone(), 1, 2), message.into_stored(room.clone(), 1, 2));
    }
}
