use std::fmt::Display;

use chat_core::{
    AppendError, AppendReceipt, ErrorCode, LogBounds, Page, SearchError, SearchPage, StoredMessage,
};
use chat_proto::{Gap, Resumption};
use serde_json::Value;

/// What a failure shows of a value: words where a tuple or a maximum would say nothing.
pub(crate) trait Shown {
    /// The value in words.
    fn shown(&self) -> String;
}

/// Values that show as they are.
macro_rules! plain {
    ($($value:ty: $format:literal),+ $(,)?) => {
        $(impl Shown for $value {
            fn shown(&self) -> String {
                format!($format, self)
            }
        })+
    };
}

plain! {
    bool: "{}",
    u128: "{}",
    str: "\"{}\"",
    String: "\"{}\"",
    Value: "{}",
    ErrorCode: "{:?}",
    Gap: "{:?}",
    Resumption: "{:?}",
}

impl<T: Shown + ?Sized> Shown for &T {
    fn shown(&self) -> String {
        (**self).shown()
    }
}

impl Shown for u64 {
    fn shown(&self) -> String {
        number(*self)
    }
}

impl Shown for usize {
    fn shown(&self) -> String {
        number(*self as u64)
    }
}

impl<T: Shown> Shown for Vec<T> {
    fn shown(&self) -> String {
        self.as_slice().shown()
    }
}

impl<T: Shown> Shown for [T] {
    fn shown(&self) -> String {
        if self.is_empty() { "none".to_owned() } else { list(self.iter().map(Shown::shown)) }
    }
}

impl<T: Shown> Shown for Option<T> {
    fn shown(&self) -> String {
        self.as_ref().map_or_else(|| "nothing".to_owned(), Shown::shown)
    }
}

impl<A: Shown, B: Shown> Shown for (A, B) {
    fn shown(&self) -> String {
        format!("{} and {}", self.0.shown(), self.1.shown())
    }
}

impl Shown for StoredMessage {
    fn shown(&self) -> String {
        format!("{}: {}", self.seq, String::from_utf8_lossy(&self.frame))
    }
}

impl Shown for LogBounds {
    fn shown(&self) -> String {
        format!("head {}, first {}, epoch {}", self.head, self.first, self.epoch)
    }
}

impl Shown for Page {
    fn shown(&self) -> String {
        format!("{}, {}, epoch {}", self.messages.shown(), more(self.more), self.epoch)
    }
}

impl Shown for AppendReceipt {
    fn shown(&self) -> String {
        let of = if self.duplicate { "the duplicate of " } else { "" };
        format!("{of}message {} at {}", self.seq, self.at)
    }
}

impl Shown for Result<AppendReceipt, AppendError> {
    fn shown(&self) -> String {
        answer(self, Shown::shown)
    }
}

impl Shown for Result<SearchPage, SearchError> {
    fn shown(&self) -> String {
        answer(self, |found| format!("{}, {}", found.messages.shown(), more(found.more)))
    }
}

/// Part of a log: the `seq`s of a page, and whether there is more that way.
#[derive(PartialEq)]
pub(crate) struct Part(pub(crate) Vec<u64>, pub(crate) bool);

impl Shown for Part {
    fn shown(&self) -> String {
        format!("{}, {}", self.0.shown(), more(self.1))
    }
}

/// A number, or that it stands for none.
pub(crate) fn number(number: u64) -> String {
    if number == u64::MAX { "no limit".to_owned() } else { number.to_string() }
}

/// Whether there is more, in words.
pub(crate) fn more(more: bool) -> &'static str {
    if more { "and more to come" } else { "and no more" }
}

fn answer<T, E: Display>(answer: &Result<T, E>, shown: impl Fn(&T) -> String) -> String {
    match answer {
        Ok(value) => shown(value),
        Err(error) => format!("the error: {error}"),
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_told_in_words() {
        assert_eq!(Part(vec![2, 3, 4], true).shown(), "2, 3, 4, and more to come");
        assert_eq!(Part(Vec::new(), false).shown(), "none, and no more");
        assert_eq!(usize::MAX.shown(), "no limit");
        assert_eq!(Some(7_u64).shown(), "7");
        assert_eq!((1_u64, "a").shown(), "1 and \"a\"");
    }
}
