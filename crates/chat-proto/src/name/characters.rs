use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};
use unicode_script::ScriptExtension;

/// Returns true if a text has at least one visible character.
///
/// White space, control characters, and the characters that Unicode displays as nothing are not visible. Characters
/// that this version does not know count as visible, so that a newer emoji is not refused.
///
/// # Examples
///
/// ```
/// use chat_proto::has_visible;
///
/// assert!(has_visible(" 안녕 "));
/// assert!(!has_visible("\u{2800}\u{200b}\n"));
/// ```
pub fn has_visible(text: &str) -> bool {
    text.chars().any(|c| {
        // Most texts begin with such a character, which needs no look at a table.
        c.is_ascii_graphic() || !(c.is_whitespace() || c.is_control() || is_blank(c) || is_noncharacter(c))
    })
}

/// Returns true if a text can be shown in one line as it is: it has no control, format, line or paragraph
/// separator character, and no other character that is displayed as nothing.
///
/// # Examples
///
/// ```
/// use chat_proto::is_printable;
///
/// assert!(is_printable("order 7: 로비"));
/// assert!(!is_printable("\u{1b}[31m"));
/// assert!(!is_printable("a\u{202e}b"));
/// ```
pub fn is_printable(text: &str) -> bool {
    text.chars().all(|c| {
        if c.is_ascii() {
            return !c.is_ascii_control();
        }
        use GeneralCategory::{Control, Format, LineSeparator, ParagraphSeparator};
        let category = c.general_category();
        let is_shown = !matches!(category, Control | Format | LineSeparator | ParagraphSeparator);
        is_shown && !is_blank(c) && !is_noncharacter(c)
    })
}

/// Returns true if a character is displayed as nothing, although its category does not say so: Unicode's
/// `Default_Ignorable_Code_Point`, annotations, hieroglyph controls, fillers, and symbols that are blank.
pub(crate) fn is_blank(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffc}' | '\u{13430}'..='\u{13442}' | '\u{16fe4}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Returns true for the letters of every script, and for numbers that are letters, such as `〇`.
pub(crate) fn is_letter(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphabetic();
    }
    let is_number = c.general_category() == GeneralCategory::LetterNumber;
    !is_blank(c) && (is_number || c.general_category_group() == GeneralCategoryGroup::Letter)
}

/// Returns true for the marks that are written over, under or beside a letter. Enclosing marks are not among them.
pub(crate) fn is_mark(c: char) -> bool {
    use GeneralCategory::{NonspacingMark, SpacingMark};
    !c.is_ascii() && !is_blank(c) && matches!(c.general_category(), NonspacingMark | SpacingMark)
}

/// Returns true if a mark is written with letters of this letter's script.
pub(crate) fn belongs_to(mark: char, letter: char) -> bool {
    !ScriptExtension::from(mark).intersection(ScriptExtension::from(letter)).is_empty()
}

fn is_noncharacter(c: char) -> bool {
    matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe
}
