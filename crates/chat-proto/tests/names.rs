//! Room and user names: exactly the names of PROTOCOL.md, section 6, are accepted.

use chat_proto::{ErrorCode, InvalidRoomName, InvalidUser, InvalidUserName, RoomName, User};
use proptest::prelude::*;
use unicode_normalization::{UnicodeNormalization, is_nfc, is_nfkc};
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

fn room(name: &str) -> Result<RoomName, InvalidRoomName> {
    name.parse()
}

fn check_accepted_room(room: &RoomName) {
    let name = room.as_str();
    let shown = name.escape_unicode();
    assert!((1..=64).contains(&name.len()), "{shown}");
    assert!(is_nfc(name), "{shown}");
    assert_eq!(name.to_lowercase(), name, "{shown}");
    assert!(!name.contains(|c: char| c.is_uppercase() || c.is_control() || c.is_whitespace()), "{shown}");
    assert!(!name.contains(|c: char| c.is_ascii_punctuation() && c != '-' && c != '_'), "{shown}");
    assert!(!name.starts_with(['-', '_']), "{shown}");
    let first = name.chars().next().map(UnicodeGeneralCategory::general_category_group);
    assert_ne!(first, Some(GeneralCategoryGroup::Mark), "{shown}");
    assert_eq!(name.parse::<RoomName>().as_ref(), Ok(room), "{shown}");
}

fn check_accepted_user(user: &User) {
    let name = user.name();
    let shown = name.escape_unicode();
    assert!((1..=32).contains(&name.chars().count()), "{shown}");
    assert!(name.len() <= 128, "{shown}");
    assert!(is_nfkc(name), "{shown}");
    assert!(!name.starts_with(char::is_whitespace) && !name.ends_with(char::is_whitespace), "{shown}");
    assert!(name.chars().all(|c| c == ' ' || !is_invisible(c)), "{shown}");
    assert!(!name.contains("  "), "{shown}");
    assert_eq!(User::guest(name).as_ref(), Ok(user), "{shown}");
    assert_eq!(user.id(), name);
}

fn is_invisible(c: char) -> bool {
    use GeneralCategory::{Control, Format, LineSeparator, PrivateUse, SpaceSeparator, Unassigned};
    use GeneralCategory::{ParagraphSeparator, Surrogate};
    matches!(
        c.general_category(),
        Control
            | Format
            | LineSeparator
            | ParagraphSeparator
            | PrivateUse
            | SpaceSeparator
            | Surrogate
            | Unassigned
    ) || matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}' | '\u{34f}' | '\u{3164}' | '\u{2800}')
}

#[test]
fn rooms_in_any_script_are_accepted() {
    let longest = "a".repeat(64);
    let korean = "로".repeat(21);
    for name in [
        "lobby",
        "로비",
        "team-7",
        "a",
        "7",
        "a_b-c",
        "комната",
        "غرفة",
        "部屋",
        "ç",
        "straße",
        "x--_",
        &longest,
        &korean,
    ] {
        let room = room(name).unwrap_or_else(|_| panic!("{name}"));
        assert_eq!(room.as_str(), name);
        assert_eq!(room.to_string(), name);
        check_accepted_room(&room);
    }
}

#[test]
fn an_invalid_room_name_is_bad_room() {
    let nfd: String = "로비".nfd().collect();
    let too_long = "a".repeat(65);
    let too_long_in_bytes = "로".repeat(22);
    let huge = "a".repeat(1_000_000);
    let long_nfd: String = "é".repeat(60).nfd().collect();
    let cases = [
        ("empty", ""),
        ("65 bytes", too_long.as_str()),
        ("66 bytes of 22 characters", &too_long_in_bytes),
        ("a megabyte", &huge),
        ("parent directory", ".."),
        ("dot", "."),
        ("subject token separator", "a.b"),
        ("glob and subject wildcard", "*"),
        ("subject tail wildcard", ">"),
        ("path", "/"),
        ("path inside", "a/b"),
        ("backslash", "a\\b"),
        ("percent-encoded dot", "%2e"),
        ("system subject", "$JS"),
        ("system subject in lower case", "$js"),
        ("upper case", "Lobby"),
        ("upper case inside", "lobbY"),
        ("upper case beyond ASCII", "É"),
        ("title case", "ǅ"),
        ("upper case without a lower case", "𝐀"),
        ("double-struck upper case", "ℝ"),
        ("NFD Korean", &nfd),
        ("NFD Latin", "cafe\u{301}"),
        ("long NFD", &long_nfd),
        ("singleton that NFC replaces", "\u{2126}"),
        ("emoji", "😀"),
        ("emoji that counts as a letter", "🅰"),
        ("emoji after letters", "a😀"),
        ("keycap", "7\u{fe0f}\u{20e3}"),
        ("leading hyphen", "-a"),
        ("leading underscore", "_a"),
        ("leading combining mark", "\u{93e}a"),
        ("space", "a b"),
        ("leading space", " a"),
        ("newline", "a\n"),
        ("NUL", "a\0"),
        ("delete", "a\u{7f}"),
        ("right-to-left override", "a\u{202e}b"),
        ("right-to-left isolate", "a\u{2067}b"),
        ("zero-width space", "a\u{200b}b"),
        ("zero-width joiner", "a\u{200d}b"),
        ("soft hyphen", "a\u{ad}b"),
        ("byte order mark", "\u{feff}a"),
        ("tag characters", "a\u{e0061}\u{e007f}"),
        ("Hangul filler", "\u{3164}"),
        ("half-width Hangul filler", "a\u{ffa0}"),
        ("variation selector", "a\u{fe0f}"),
        ("private use", "a\u{e000}"),
        ("unassigned", "a\u{378}"),
        ("quote", "a'b"),
        ("like wildcard", "a%"),
        ("colon", "c:"),
        ("full stop of another script", "a。b"),
    ];
    for (case, name) in cases {
        assert_eq!(room(name).map_err(ErrorCode::from), Err(ErrorCode::BadRoom), "{case}");
    }
}

#[test]
fn the_error_of_a_name_states_the_broken_rule() {
    for (name, error) in [
        ("", InvalidRoomName::Empty),
        (&"a".repeat(65), InvalidRoomName::TooLong),
        ("-a", InvalidRoomName::FirstCharacter),
        ("a b", InvalidRoomName::Character),
        ("\u{1105}\u{1169}", InvalidRoomName::NotNormalized),
        ("Lobby", InvalidRoomName::UpperCase),
    ] {
        assert_eq!(room(name), Err(error), "{name}");
        let read = serde_json::from_str::<RoomName>(&format!("\"{name}\"")).unwrap_err().to_string();
        assert!(read.contains(&error.to_string()), "{read}");
    }
    for (name, error) in [
        ("", InvalidUserName::Empty),
        (&"a".repeat(33), InvalidUserName::TooLong),
        ("a\u{202e}b", InvalidUserName::Character),
        (" a", InvalidUserName::OuterSpace),
    ] {
        assert_eq!(User::guest(name), Err(error), "{name}");
    }
}

#[test]
fn a_user_name_is_stored_as_nfkc() {
    let nfd: String = "가나다라마바사아자차카타파하각난닫랄맘밥".nfd().collect();
    let nfc: String = nfd.nfc().collect();
    let widest = "𝄞".repeat(32);
    for (given, kept) in [
        ("ada", "ada"),
        ("Ada Lovelace", "Ada Lovelace"),
        ("로비", "로비"),
        (&nfd, &nfc),
        ("ﬁ", "fi"),
        ("Ａｄａ", "Ada"),
        ("a\u{a0}b", "a b"),
        ("😀", "😀"),
        ("<b>&\"'", "<b>&\"'"),
        ("..", ".."),
        (&widest, &widest),
    ] {
        let user = User::guest(given).unwrap_or_else(|_| panic!("{given}"));
        assert_eq!(user.name(), kept);
        check_accepted_user(&user);
    }
}

#[test]
fn an_invalid_user_name_is_bad_name() {
    let too_many = "a".repeat(33);
    let too_many_after_nfkc = "ﷺ".repeat(2);
    let marks = "\u{301}".repeat(100_000);
    let cases = [
        ("empty", ""),
        ("33 characters", too_many.as_str()),
        ("36 characters after NFKC", &too_many_after_nfkc),
        ("nothing but marks", &marks),
        ("space", " "),
        ("leading space", " a"),
        ("trailing space", "a "),
        ("leading space after NFKC", "\u{3000}a"),
        ("NUL", "a\0b"),
        ("newline", "a\nb"),
        ("tab", "a\tb"),
        ("escape sequence", "\u{1b}[31ma"),
        ("next line", "a\u{85}b"),
        ("line separator", "a\u{2028}b"),
        ("right-to-left override", "a\u{202e}b"),
        ("left-to-right mark", "a\u{200e}b"),
        ("first strong isolate", "a\u{2068}b"),
        ("zero-width space", "a\u{200b}b"),
        ("zero-width joiner between letters", "a\u{200d}b"),
        ("zero-width no-break space", "\u{feff}a"),
        ("word joiner", "a\u{2060}b"),
        ("soft hyphen", "a\u{ad}b"),
        ("tag characters", "🏴\u{e0067}\u{e007f}"),
        ("variation selector", "a\u{fe0f}"),
        ("variation selector supplement", "a\u{e0100}"),
        ("Hangul filler", "\u{3164}"),
        ("Braille blank", "\u{2800}"),
        ("Mongolian vowel separator", "a\u{180e}b"),
        ("grapheme joiner", "a\u{34f}b"),
        ("private use", "a\u{e000}"),
        ("unassigned", "a\u{378}"),
    ];
    for (case, name) in cases {
        assert_eq!(User::guest(name).err().map(ErrorCode::from), Some(ErrorCode::BadName), "{case}");
        assert_eq!(User::new("id", name).err(), User::guest(name).err().map(InvalidUser::Name), "{case}");
    }
}

#[test]
fn a_user_id_has_1_to_255_bytes_and_no_control_characters() {
    for id in ["7", " ", "auth0|5f7c\u{e9}", &"a".repeat(255), &"로".repeat(85)] {
        assert_eq!(User::new(id, "Ann").map(|user| user.id().to_owned()), Ok(id.to_owned()));
    }
    for id in ["", "a\0", "a\nb", "\u{85}", "\u{7f}", &"a".repeat(256), &"로".repeat(86)] {
        assert_eq!(User::new(id, "Ann"), Err(InvalidUser::Id), "{id:?}");
    }
}

#[test]
fn a_known_user_keeps_any_id() {
    let user = User::new("SUB|Ａ ", "Ａda").unwrap();
    assert_eq!((user.id(), user.name()), ("SUB|Ａ ", "Ada"));
}

#[test]
fn an_accepted_name_follows_the_rules_for_every_character() {
    let assigned = ('\0'..='\u{323af}').chain('\u{e0000}'..='\u{e01ff}');
    for c in assigned {
        let alone = c.to_string();
        for name in [format!("a{c}"), alone] {
            if let Ok(room) = room(&name) {
                check_accepted_room(&room);
            }
            if let Ok(user) = User::guest(&name) {
                check_accepted_user(&user);
            }
        }
    }
}

/// Generates texts. About half of them are valid names.
fn name_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        12 => "[a-z0-9_-]{1,12}",
        4 => "\\p{Hangul}",
        4 => "\\p{L}",
        1 => "\\p{L}\\p{M}",
        1 => any::<char>().prop_map(String::from),
        1 => "[ .A-Z\u{200b}-\u{200f}\u{202a}-\u{202e}\u{e0020}-\u{e007f}]",
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_accepted_room_is_nfc_and_lower_case_and_reads_back_as_itself(name in name_like()) {
        if let Ok(room) = room(&name) {
            prop_assert_eq!(room.as_str(), &name);
            check_accepted_room(&room);
        }
    }

    #[test]
    fn names_of_lower_case_letters_digits_and_hangul_are_rooms(name in "[a-z0-9가-힣][a-z0-9가-힣_-]{0,20}") {
        prop_assert_eq!(room(&name).map(|room| room.to_string()), Ok(name));
    }

    #[test]
    fn an_accepted_user_name_reads_back_as_itself(name in name_like()) {
        if let Ok(user) = User::guest(&name) {
            check_accepted_user(&user);
        }
    }

    #[test]
    fn equivalent_spellings_are_one_user(name in prop_oneof![name_like(), "[가-힣éệ]{1,34}"]) {
        let respelled: String = name.nfd().collect();
        prop_assert_eq!(User::guest(&respelled).ok(), User::guest(&name).ok());
    }
}
