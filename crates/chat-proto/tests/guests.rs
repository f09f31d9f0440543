//! Names of guests: joiners inside the sequences that Unicode defines, look-alikes, reserved names, and guests without
//! a name.

use std::collections::BTreeSet;

use chat_proto::{InvalidUser, InvalidUserName, User};

fn guest(name: &str) -> User {
    User::guest(name).unwrap_or_else(|error| panic!("{}: {error}", name.escape_unicode()))
}

fn check_refused(name: &str, error: InvalidUserName) {
    assert_eq!(User::guest(name).err(), Some(error), "{}", name.escape_unicode());
}

#[test]
fn joiners_inside_defined_sequences_are_accepted() {
    for name in [
        "\u{2764}\u{fe0f} Ann",
        "Ann \u{2764}\u{fe0e}",
        "👩\u{200d}💻",
        "👩🏽\u{200d}🚀 Ann",
        "👨\u{200d}👩\u{200d}👧\u{200d}👦",
        "🏳\u{fe0f}\u{200d}🌈",
        "❤\u{fe0f}\u{200d}🔥",
        "🧑\u{200d}🦰",
        "1\u{fe0f}\u{20e3}",
        "می\u{200c}خواهم",
        "क्\u{200d}ष",
        "क्\u{200c}ष",
        "ශ්\u{200d}රී",
        "ന്\u{200d}",
        "葛\u{e0100}城",
        "ᠠ\u{180b}",
        "ᠬ\u{180e}ᠠ",
    ] {
        let user = guest(name);
        assert_eq!(user.name(), name);
        assert_eq!(guest(user.name()), user);
    }
}

#[test]
fn joiners_outside_defined_sequences_are_refused() {
    for name in [
        "a\u{200d}b",
        "a\u{200c}b",
        "\u{200d}a",
        "\u{fe0f}",
        "a\u{fe0f}",
        "1\u{fe0f}",
        "❤\u{fe0f}\u{fe0f}",
        "❤\u{fe0f}\u{fe0e}",
        "👩\u{200d}",
        "\u{200d}👩",
        "👩\u{200d}\u{200d}💻",
        "👩\u{200d}a",
        "7\u{200d}👩",
        "\u{1f1f0}\u{200d}\u{1f1f7}",
        "ا\u{200c}ب",
        "ب\u{200c}",
        "ب\u{200c} ب",
        "ب\u{200c}\u{200c}ب",
        "क\u{200d}ष",
        "로\u{e0100}",
        "a\u{e0100}",
        "a\u{180b}",
        "🏴\u{e0067}\u{e0062}\u{e007f}",
    ] {
        check_refused(name, InvalidUserName::Character);
    }
}

#[test]
fn names_that_differ_only_in_joiners_are_one_guest() {
    for (one, other) in [
        ("\u{2764}\u{fe0f} Ann", "\u{2764} Ann"),
        ("\u{2764}\u{fe0f} Ann", "\u{2764}\u{fe0e} Ann"),
        ("می\u{200c}خواهم", "میخواهم"),
        ("क्\u{200d}ष", "क्ष"),
        ("葛\u{e0100}城", "葛\u{e0101}城"),
        ("Ann  Lee", "Ann Lee"),
        ("Ann\u{a0} Lee", "Ann Lee"),
    ] {
        assert_eq!(guest(one).key(), guest(other).key());
        assert_eq!(guest(one).id(), guest(other).id());
    }
}

#[test]
fn an_emoji_that_becomes_letters_loses_its_selector() {
    assert_eq!(guest("Ann \u{2122}\u{fe0f}").name(), "Ann TM");
    assert_eq!(guest("\u{2139}\u{fe0f} Ann").name(), "i Ann");
}

#[test]
fn characters_that_are_displayed_as_nothing_are_refused() {
    for blank in [
        '\u{13441}',
        '\u{13442}',
        '\u{13430}',
        '\u{1d159}',
        '\u{fffc}',
        '\u{fffb}',
        '\u{2800}',
        '\u{3164}',
        '\u{16fe4}',
        '\u{1d173}',
        '\u{1bca0}',
        '\u{2065}',
        '\u{e0fff}',
        '\u{61c}',
        '\u{fdd0}',
        '\u{ffff}',
    ] {
        for name in [blank.to_string(), format!("Ann{blank}"), format!("{blank}Ann"), format!("An{blank}n")] {
            check_refused(&name, InvalidUserName::Character);
            assert_eq!(User::new("7", &name).err(), Some(InvalidUser::Name(InvalidUserName::Character)));
        }
    }
}

#[test]
fn a_name_does_not_start_with_a_mark() {
    check_refused("\u{301}a", InvalidUserName::Character);
    check_refused("\u{e31}ก", InvalidUserName::Character);
}

#[test]
fn a_long_name_with_repeated_spaces_is_not_cut() {
    check_refused(&format!("a  {}", "b".repeat(40)), InvalidUserName::TooLong);
}

#[test]
fn a_name_that_mixes_letters_that_look_alike_is_refused() {
    for name in [
        "\u{410}nn",
        "Ann\u{430}",
        "Ив\u{61}н",
        "Маша Leе",
        "\u{441}\u{43e}\u{440}\u{430} Lee",
        "\u{41e}'Brien",
        "\u{41e} Brien",
        "\u{39f}ne",
        "Ωmega",
        "\u{13aa}nn",
        "ఎಎ",
        "a\u{e31}",
    ] {
        check_refused(name, InvalidUserName::LookAlike);
    }
}

#[test]
fn a_name_in_any_script_or_in_several_words_is_accepted() {
    for name in [
        "Ann",
        "Анна",
        "Анна В.",
        "Вера",
        "Иван X",
        "Ann Иванова",
        "Νίκος",
        "Արամ",
        "홍길동",
        "김Ann",
        "田中さん",
        "タロウ君",
        "Annさん",
        "张伟",
        "สมชาย",
        "ทำงาน",
        "हिन्दी",
        "מרים",
        "مريم",
        "ჟანა",
        "Zoë 7",
        "Jo̱e",
        "ㅋㅋ",
        "<b>&\"'",
        "😀",
        "٣ أحمد",
    ] {
        guest(name);
    }
    // A host vouches for its users, so only invisible characters are refused there.
    assert!(User::new("7", "\u{410}nn").is_ok());
    assert!(User::new("7", "Admin").is_ok());
}

#[test]
fn a_reserved_name_is_refused_in_every_spelling() {
    for name in [
        "Admin",
        "admin",
        "ADMIN",
        "ADMlN",
        "Adm1n",
        "Ádmin",
        "[Admin]",
        "-= a d m i n =-",
        "Ａｄｍｉｎ",
        "Admin 2",
        "Administrator",
        "Moderator",
        "m0derator",
        "System",
        "SYSTEM!",
        "Server",
        "root",
        "★ Support ★",
        "\u{405}\u{423}\u{405}\u{422}\u{415}\u{41c}",
        "guest-2",
        "guest-k7f2mq",
        "Guest 2",
        "guest_k7f2mq",
        "guest\u{2010}k7f2mq",
        "gue\u{17f}t-2",
        "guest2",
    ] {
        check_refused(name, InvalidUserName::Reserved);
    }
    for name in ["Ada Minsk", "guest", "guests", "Guestavo 7", "Rooter", "Modesty", "the system"] {
        guest(name);
    }
}

#[test]
fn an_unnamed_guest_is_a_guest_that_no_name_can_be() {
    let numbers = (0..64).map(|bit| 1_u64 << bit).chain([0, u64::MAX, 0x0123_4567_89ab_cdef]);
    let mut ids = BTreeSet::new();
    for number in numbers {
        let user = User::unnamed_guest(number);
        assert!(user.key().is_guest());
        assert!(ids.insert(user.id().to_owned()), "{number}: {}", user.id());
        assert_eq!(user.name().len(), "guest-".len() + 6);
        assert!(user.id().starts_with(user.name()));
        for name in [user.id(), user.name()] {
            check_refused(name, InvalidUserName::Reserved);
            assert!(
                name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{name}"
            );
        }
    }
}
