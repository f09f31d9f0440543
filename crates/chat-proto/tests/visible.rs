//! Texts that show nothing, and texts that cannot be printed.

use chat_proto::{has_visible, is_printable};

#[test]
fn a_text_of_invisible_characters_has_nothing_visible() {
    for text in [
        "",
        " \n\t\r",
        "\u{2800}",
        "\u{2800} \u{2800}",
        "\u{3164}\u{ffa0}\u{115f}\u{1160}",
        "\u{200b}\u{200c}\u{200d}\u{200e}\u{2060}\u{feff}",
        "\u{ad}\u{34f}\u{61c}\u{180e}",
        "\u{fe0f}\u{e0100}\u{e0041}",
        "\u{2063}\u{206a}\u{2065}\u{fff9}",
        "\u{13441}\u{13442}\u{13430}",
        "\u{1d159}\u{1d173}\u{1bca0}",
        "\u{fffc}",
        "\u{0}\u{1b}\u{85}\u{9f}",
        "\u{a0}\u{1680}\u{2003}\u{202f}\u{205f}\u{3000}\u{2028}\u{2029}",
        "\u{fdd0}\u{ffff}\u{10fffe}",
        "\u{16fe4}\u{17b4}",
    ] {
        assert!(!has_visible(text), "{}", text.escape_unicode());
    }
}

#[test]
fn a_text_with_one_visible_character_is_visible() {
    for text in [
        "a",
        " . ",
        "안녕",
        "❤\u{fe0f}",
        "👩\u{200d}💻",
        "\u{2800}a",
        "\u{2801}",
        "ㅋ",
        "\u{6dd}",
        "\u{e000}",
        "\u{1fadf}",
        "\u{fffd}",
        "١",
        "\u{94d}",
        "🇰🇷",
    ] {
        assert!(has_visible(text), "{}", text.escape_unicode());
    }
}

#[test]
fn control_and_format_characters_are_not_printable() {
    for bad in
        ["\u{1b}", "\0", "\n", "\t", "\u{7f}", "\u{85}", "\u{202e}", "\u{200b}", "\u{2028}", "\u{e0041}"]
    {
        assert!(!is_printable(&format!("a{bad}b")), "{}", bad.escape_unicode());
    }
    for good in ["", "k", "a b", "3f0c-11", "로비", "é", "<>&\"", "../.."] {
        assert!(is_printable(good), "{good}");
    }
}
