use chat_core::Notice;

/// The bytes of a notice that is sent in parts, at most: those of about 500,000 users.
pub(super) const MAX_BYTES: usize = 64 * 1024 * 1024;

/// The parts of a notice that have arrived, in order.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// The number of the next part. 0 if no notice has begun, or if one of its parts is lost.
    next: u64,
    text: String,
}

impl Parts {
    /// Adds a part. Returns the notice if this is the last one.
    pub(super) fn add(
        &mut self,
        number: u64,
        (is_first, is_last): (bool, bool),
        text: &str,
    ) -> Option<Notice> {
        let before = std::mem::take(self);
        let begun = if is_first { String::new() } else { before.text };
        if (!is_first && number != before.next) || begun.len() + text.len() > MAX_BYTES {
            return None;
        }
        let text = begun + text;
        if is_last {
            return Notice::decode(text.as_bytes()).ok();
        }
        *self = Self { next: number + 1, text };
        None
    }
}

/// Splits a text into parts of at most this many bytes, or of one character.
pub(super) fn split(text: &str, most: usize) -> Vec<&str> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let fits = (1..=most.min(rest.len())).rev().find(|end| rest.is_char_boundary(*end));
        let first = rest.chars().next().map_or(0, char::len_utf8);
        let (part, after) = rest.split_at(fits.unwrap_or(first));
        parts.push(part);
        rest = after;
    }
    parts
}

#[cfg(test)]
mod tests {
    use chat_core::{User, UserKey};

    use super::*;

    #[test]
    fn a_text_is_split_between_characters() {
        for (text, most, parts) in [
            ("", 3, &[][..]),
            ("abc", 3, &["abc"]),
            ("abcd", 3, &["abc", "d"]),
            ("aéé", 3, &["aé", "é"]),
            ("로비", 1, &["로", "비"]),
        ] {
            assert_eq!(split(text, most), parts, "{text} {most}");
        }
    }

    #[test]
    fn a_notice_is_complete_with_its_last_part_and_none_is_made_of_two() {
        let notice = Notice::Kick { user: User::guest("ann").expect("a name").key(), version: 7 };
        let other = Notice::Kick { user: UserKey::new("bob"), version: 8 };
        let (text, other_text) = (notice.encode(), other.encode());
        let text = std::str::from_utf8(&text).expect("a text");
        let other_text = std::str::from_utf8(&other_text).expect("a text");
        let (one, rest) = text.split_at(20);
        let (two, three) = rest.split_at(10);
        let mut parts = Parts::default();
        assert_eq!(parts.add(4, (true, false), one), None);
        assert_eq!(parts.add(5, (false, false), two), None);
        assert_eq!(parts.add(6, (false, true), three), Some(notice.clone()));
        // Its second part is lost.
        assert_eq!(parts.add(7, (true, false), one), None);
        assert_eq!(parts.add(9, (false, true), three), None);
        assert_eq!(parts.add(9, (false, true), three), None, "nothing has begun");
        // Another one begins before it ends.
        assert_eq!(parts.add(10, (true, false), one), None);
        assert_eq!(parts.add(11, (true, true), other_text), Some(other));
        assert_eq!(parts.add(12, (false, true), rest), None);
        assert_eq!(parts.add(13, (true, true), text), Some(notice));
    }

    #[test]
    fn a_notice_without_an_end_takes_a_limited_memory() {
        let (mut parts, part) = (Parts::default(), "x".repeat(MAX_BYTES / 4));
        for number in 1..=4 {
            assert_eq!(parts.add(number, (number == 1, false), &part), None);
            assert_eq!(parts.text.len() as u64, number * part.len() as u64);
        }
        assert_eq!(parts.add(5, (false, false), &part), None);
        assert!(parts.text.is_empty());
    }
}
