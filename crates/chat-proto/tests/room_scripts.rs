//! Room names in every script: marks after a letter are accepted, characters that only look like others are not.

use chat_proto::{InvalidRoomName, RoomName};

fn room(name: &str) -> Result<RoomName, InvalidRoomName> {
    name.parse()
}

#[test]
fn marks_after_a_letter_of_their_script_are_accepted() {
    for name in [
        "ทั่วไป",
        "น้ำ",
        "हिन्दी",
        "বাংলা",
        "தமிழ்",
        "తెలుగు",
        "ಕನ್ನಡ",
        "മലയാളം",
        "ਪੰਜਾਬੀ",
        "ગુજરાતી",
        "ଓଡ଼ିଆ",
        "සිංහල",
        "မြန်မာ",
        "ភាសាខ្មែរ",
        "ລາວ",
        "ໜັງສື",
        "བོད་སྐད".split('་').next().expect("a word"),
        "עִבְרִית",
        "العَرَبِيَّة",
        "ދިވެހި",
        "ᬩᬲᬩᬮᬶ",
        "i̇stanbul",
        "m̃",
        "և",
        "ㅋㅋ",
        "〇",
    ] {
        let parsed = room(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(parsed.as_str(), name);
    }
}

#[test]
fn marks_elsewhere_are_refused() {
    for name in ["\u{e31}ก", "\u{301}a"] {
        assert_eq!(room(name), Err(InvalidRoomName::FirstCharacter), "{}", name.escape_unicode());
    }
    for name in
        ["7\u{e31}", "a-\u{e31}", "ก7\u{e31}", "a\u{e31}", "ก\u{93e}", "a\u{20dd}", "a\u{16fe4}", "a\u{17b4}"]
    {
        assert_eq!(room(name), Err(InvalidRoomName::Character), "{}", name.escape_unicode());
    }
}

#[test]
fn compatibility_characters_are_refused() {
    for name in
        ["ｌｏｂｂｙ", "lobby７", "ｶﾅ", "ﬁ", "aⓐ", "ⅳ", "𝓁obby", "x²", "ª", "ſ", "ﻻ", "㐂\u{fe00}", "ĳ", "ℓ"]
    {
        assert!(
            matches!(room(name), Err(InvalidRoomName::Compatibility | InvalidRoomName::Character)),
            "{}",
            name.escape_unicode()
        );
    }
    assert_eq!(room("ｌｏｂｂｙ"), Err(InvalidRoomName::Compatibility));
}

#[test]
fn a_name_with_a_second_spelling_of_a_letter_is_refused() {
    for name in ["น\u{e49}\u{e4d}\u{e32}", "ນ\u{ecd}\u{eb2}", "\u{110f}\u{110f}", "a\u{11a8}", "\u{a960}"]
    {
        assert_eq!(room(name), Err(InvalidRoomName::Character), "{}", name.escape_unicode());
    }
}

#[test]
fn characters_that_are_displayed_as_nothing_are_refused() {
    for blank in
        ['\u{13441}', '\u{1d159}', '\u{fffc}', '\u{200c}', '\u{200d}', '\u{fe0f}', '\u{180b}', '\u{34f}']
    {
        assert_eq!(room(&format!("a{blank}")), Err(InvalidRoomName::Character), "{}", blank.escape_unicode());
    }
}
