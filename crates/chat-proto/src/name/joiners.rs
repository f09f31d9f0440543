//! Joiners and variation selectors. They are invisible, so they are valid only where Unicode gives them a meaning.

use unicode_joining_type::{JoiningType, get_joining_type};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::canonical_combining_class;
use unicode_properties::UnicodeEmoji;
use unicode_script::{Script, UnicodeScript};

use super::{is_blank, is_letter, is_mark};

const NON_JOINER: char = '\u{200c}';
const JOINER: char = '\u{200d}';
const TEXT_STYLE: char = '\u{fe0e}';
const EMOJI_STYLE: char = '\u{fe0f}';
const KEYCAP: char = '\u{20e3}';
const VOWEL_SEPARATOR: char = '\u{180e}';

/// The canonical combining class of a virama.
const VIRAMA: u8 = 9;

/// Returns true if each invisible character of a name is part of a sequence that Unicode defines.
pub(crate) fn are_joiners_valid(name: &[char]) -> bool {
    (0..name.len())
        .filter(|at| is_blank(name[*at]))
        .all(|at| is_valid(&name[..at], name[at], &name[at + 1..]))
}

/// Returns the characters of a name, without the selectors after an emoji that NFKC replaces: `™` becomes `TM`.
pub(crate) fn without_lost_selectors(name: &str) -> impl Iterator<Item = char> + '_ {
    let mut is_lost = false;
    name.chars().filter(move |c| {
        let keep = !(is_lost && matches!(*c, TEXT_STYLE | EMOJI_STYLE));
        is_lost = is_emoji(*c) && std::iter::once(*c).nfkc().next() != Some(*c);
        keep
    })
}

fn is_valid(before: &[char], c: char, after: &[char]) -> bool {
    let Some(&last) = before.last() else { return false };
    match c {
        // RFC 5892, appendix A.1
        NON_JOINER => is_virama(last) || (joins_forward(before) && joins_backward(after)),
        // RFC 5892, appendix A.2, and UTS 51, section 1.4.8
        JOINER => is_virama(last) || (ends_emoji(before) && after.first().is_some_and(|c| is_emoji(*c))),
        // UTS 51, sections 1.4.4 and 1.4.5
        EMOJI_STYLE if is_keycap_base(last) => after.first() == Some(&KEYCAP),
        EMOJI_STYLE | TEXT_STYLE => is_emoji(last),
        // Standardized and ideographic variation sequences
        '\u{fe00}'..='\u{fe02}' | '\u{e0100}'..='\u{e01ef}' => {
            is_letter(last) && last.script() == Script::Han
        }
        '\u{180b}'..='\u{180d}' | '\u{180f}' => is_mongolian(last),
        VOWEL_SEPARATOR => is_mongolian(last) && matches!(after.first(), Some('\u{1820}' | '\u{1821}')),
        _ => false,
    }
}

fn is_virama(c: char) -> bool {
    canonical_combining_class(c) == VIRAMA && is_mark(c)
}

fn is_mongolian(c: char) -> bool {
    is_letter(c) && c.script() == Script::Mongolian
}

/// Returns true for a character that can be an emoji by itself. Digits and regional indicators cannot.
fn is_emoji(c: char) -> bool {
    c.is_emoji_char() && !is_keycap_base(c) && !matches!(c, '\u{1f1e6}'..='\u{1f1ff}')
}

fn is_keycap_base(c: char) -> bool {
    matches!(c, '0'..='9' | '#' | '*')
}

fn ends_emoji(before: &[char]) -> bool {
    match before {
        [.., base, EMOJI_STYLE] | [.., base] => is_emoji(*base),
        [] => false,
    }
}

fn joins_forward(before: &[char]) -> bool {
    use JoiningType::{DualJoining, LeftJoining};
    matches!(skip_transparent(before.iter().rev()), Some(DualJoining | LeftJoining))
}

fn joins_backward(after: &[char]) -> bool {
    use JoiningType::{DualJoining, RightJoining};
    matches!(skip_transparent(after.iter()), Some(DualJoining | RightJoining))
}

fn skip_transparent<'a>(characters: impl Iterator<Item = &'a char>) -> Option<JoiningType> {
    characters.map(|c| get_joining_type(*c)).find(|joining| *joining != JoiningType::Transparent)
}
