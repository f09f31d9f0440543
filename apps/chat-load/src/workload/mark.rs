//! The identity of a message inside its text, for protocols that have no other place for it.

use std::iter::repeat_n;

/// The identity of a message. The text of the message starts with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The number of the writer in its room.
    pub(super) writer: usize,
    /// The position among the messages of the writer, from 1.
    pub(super) position: u64,
    /// The number of the message in this run.
    pub(super) number: u64,
    /// The due time, in microseconds.
    pub(super) due: u64,
}

impl Mark {
    /// Returns a text that starts with the mark and continues with the filler. It has as many bytes as the filler, or
    /// more if the mark needs more.
    pub(super) fn text(&self, filler: &str) -> String {
        let Self { writer, position, number, due } = self;
        let mut text = format!("{writer} {position} {number} {due} ");
        text.extend(repeat_n('x', filler.len().saturating_sub(text.len())));
        text
    }

    /// Reads the mark of a text. Returns `None` if the text is not one of [`text`](Self::text).
    pub(super) fn parse(text: &str, filler: &str) -> Option<Self> {
        let mut rest = text;
        let mut next = || {
            let (number, after) = rest.split_once(' ')?;
            rest = after;
            number.parse::<u64>().ok()
        };
        let (writer, position, number, due) = (next()?, next()?, next()?, next()?);
        let length = filler.len().max(text.len() - rest.len());
        let mark = Self { writer: usize::try_from(writer).ok()?, position, number, due };
        (text.len() == length && filler.starts_with(rest)).then_some(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_the_size_of_the_filler_and_returns_its_mark() {
        let mark = Mark { writer: 3, position: 1, number: 70, due: 123_456 };
        for (size, length) in [(128, 128), (15, 15), (14, 14), (1, 14)] {
            let filler = "x".repeat(size);
            let text = mark.text(&filler);
            assert_eq!((text.len(), Mark::parse(&text, &filler)), (length, Some(mark)), "{text}");
        }
    }

    #[test]
    fn an_altered_text_has_no_mark() {
        let filler = "x".repeat(20);
        let text = Mark { writer: 0, position: 1, number: 7, due: 9 }.text(&filler);
        assert_eq!(text, "0 1 7 9 xxxxxxxxxxxx");
        for altered in
            ["", "joined", "0 1 7 9", "0 1 7 9 xxxxxxxxxxx", "0 1 7 9 xxxxxxxxxxxxx", "0 1 7 9 xxxxxyxxxxxx"]
        {
            assert_eq!(Mark::parse(altered, &filler), None, "{altered}");
        }
    }
}
