//! Rules for names that no service checks: a guest's name must not look like a name of another kind.

use unicode_script::{Script, UnicodeScript};
use unicode_security::confusable_detection::skeleton;
use unicode_security::mixed_script::AugmentedScriptSet;

use super::{belongs_to, is_letter, is_mark};
use crate::InvalidUserName;

/// Names that a guest cannot have, in lower case.
const RESERVED: [&str; 14] = [
    "admin",
    "administrator",
    "mod",
    "moderator",
    "official",
    "operator",
    "owner",
    "root",
    "security",
    "server",
    "staff",
    "support",
    "system",
    "webmaster",
];

/// The name of guests who gave none begins with this word, followed by a character that is not a letter.
const UNNAMED: &str = "guest";

/// Scripts with letters that look like those of another script in this list.
const LATIN_LIKE: [Script; 9] = [
    Script::Armenian,
    Script::Cherokee,
    Script::Coptic,
    Script::Cyrillic,
    Script::Deseret,
    Script::Greek,
    Script::Lisu,
    Script::Old_Italic,
    Script::Warang_Citi,
];

/// Checks the rules for the name of a guest, beyond those for all names.
pub(crate) fn check_guest(name: &str) -> Result<(), InvalidUserName> {
    // All letters of ASCII are Latin.
    if !name.is_ascii() && (!name.split(' ').all(is_single_script) || hides_a_script(name)) {
        return Err(InvalidUserName::LookAlike);
    }
    if is_reserved(name) {
        return Err(InvalidUserName::Reserved);
    }
    Ok(())
}

/// Returns true if a word does not mix scripts whose letters look alike (UTS 39, section 5.2, moderately restrictive).
fn is_single_script(word: &str) -> bool {
    let has_foreign_mark = word
        .chars()
        .zip(word.chars().skip(1))
        .any(|(letter, mark)| is_letter(letter) && is_mark(mark) && !belongs_to(mark, letter));
    if has_foreign_mark {
        return false;
    }
    if !AugmentedScriptSet::for_str(word).is_empty() {
        return true;
    }
    let mut others = AugmentedScriptSet::default();
    word.chars().filter(|c| c.script() != Script::Latin).for_each(|c| others.intersect_with(c.into()));
    !others.is_empty() && !word.contains(is_latin_like)
}

/// Returns true if a name has Latin letters and letters of another script that all look like Latin ones. A name without
/// Latin letters can look like a Latin name, too, but it may be an ordinary name: `Вера`.
fn hides_a_script(name: &str) -> bool {
    let others: String = name.chars().filter(|c| is_latin_like(*c)).collect();
    let has_latin = name.chars().any(|c| c.script() == Script::Latin);
    has_latin && !others.is_empty() && skeleton(&others).all(|c| c.is_ascii())
}

fn is_latin_like(c: char) -> bool {
    LATIN_LIKE.contains(&c.script())
}

fn is_reserved(name: &str) -> bool {
    let is_letter_or_mark = |c: char| is_letter(c) || is_mark(c);
    let (head, rest) = name.split_at(name.find(|c| !is_letter_or_mark(c)).unwrap_or(name.len()));
    let without_number = name.trim_end_matches(|c| !is_letter_or_mark(c));
    (!rest.is_empty() && is_look_alike(head, &[UNNAMED]))
        || is_look_alike(name, &RESERVED)
        || (without_number != name && is_look_alike(without_number, &RESERVED))
}

/// Returns true if a reader can take a name for one of these words.
fn is_look_alike(name: &str, words: &[&str]) -> bool {
    // A letter and its lower case can look like different letters: the Cyrillic Т is like T, but т is not like t. In
    // ASCII, both are folded to the same letter.
    let lower = (!name.is_ascii()).then(|| folded(&name.to_lowercase()));
    let is_like = |reading: &str| words.iter().any(|word| reading.chars().eq(word.chars().map(l_as_i)));
    is_like(&folded(name)) || lower.is_some_and(|lower| is_like(&lower))
}

/// Returns a name without case, accents, spaces and punctuation, with `i` for the characters that look like `l`, and
/// `m` for `rn`.
fn folded(name: &str) -> String {
    let folded: String = if name.is_ascii() {
        name.bytes().filter_map(folded_ascii).collect()
    } else {
        letters(name).collect()
    };
    folded.replace("rn", "m")
}

/// Returns a character of ASCII as [`letters`] does. Most names have no others, and the tables of Unicode are slow.
fn folded_ascii(byte: u8) -> Option<char> {
    match byte.to_ascii_lowercase() {
        b'0' => Some('o'),
        b'1' | b'|' | b'l' => Some('i'),
        b'%' => Some('₀'),
        letter if letter.is_ascii_alphanumeric() => Some(char::from(letter)),
        _ => None,
    }
}

fn letters(name: &str) -> impl Iterator<Item = char> {
    let letters = skeleton(name).flat_map(char::to_lowercase).filter(|c| c.is_alphanumeric());
    letters.map(l_as_i)
}

fn l_as_i(c: char) -> char {
    if c == 'l' { 'i' } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascii_folds_as_the_tables_of_unicode_say() {
        for (a, b) in (0..128).flat_map(|a| (0..128).map(move |b| (char::from(a), char::from(b)))) {
            let name = String::from_iter([a, b, 'r', 'n', a]);
            let expected = letters(&name).collect::<String>().replace("rn", "m");
            assert_eq!(folded(&name), expected, "{name:?}");
            // So one reading is enough for a name in ASCII.
            assert_eq!(folded(&name.to_lowercase()), expected, "{name:?}");
        }
    }
}
