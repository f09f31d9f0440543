use std::fmt;

use async_nats::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::Options;

/// The header of a sign of life with the limits. A node of an earlier version sends none, and ignores it.
const HEADER: &str = "Chat-Retain";

/// The units of ages, in milliseconds.
const UNITS: [(u64, &str); 5] =
    [(24 * 60 * 60 * 1_000, "d"), (60 * 60 * 1_000, "h"), (60 * 1_000, "m"), (1_000, "s"), (1, "ms")];

/// The limits of what the rooms keep, as a node has them. Those of all nodes should be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Retention {
    /// The age, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    age: Option<u64>,
    /// The number of messages in each room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    messages: Option<u64>,
}

impl Retention {
    pub(super) fn new(options: &Options) -> Self {
        let age = options.retain_age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        Self { age, messages: options.retain_messages }
    }

    /// Reads the limits of another node, if its sign of life has them.
    pub(super) fn of(headers: Option<&HeaderMap>) -> Option<Self> {
        serde_json::from_str(headers?.get(HEADER)?.as_str()).ok()
    }

    pub(super) fn headers(self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        headers.insert(HEADER, serde_json::to_string(&self).ok()?.as_str());
        Some(headers)
    }
}

impl fmt::Display for Retention {
    /// Writes the limits as the option `--retain` has them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(age) = self.age {
            let (length, unit) =
                UNITS.into_iter().find(|(length, _)| age.is_multiple_of(*length)).unwrap_or((1, "ms"));
            write!(f, "{}{unit}", age / length)?;
        }
        match (self.age, self.messages) {
            (None, None) => f.write_str("none"),
            (Some(_), Some(messages)) => write!(f, ",{messages}msgs"),
            (None, Some(messages)) => write!(f, "{messages}msgs"),
            (Some(_), None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn limits_are_read_as_they_were_sent_and_written_like_the_option() {
        for (age, messages, text) in [
            (None, None, "none"),
            (Some(30 * 24 * 60 * 60 * 1_000), None, "30d"),
            (Some(36 * 60 * 60 * 1_000), Some(7), "36h,7msgs"),
            (Some(90_000), None, "90s"),
            (Some(2_500), None, "2500ms"),
            (None, Some(100_000), "100000msgs"),
        ] {
            let limits = Retention::new(&Options::default().with(|options| {
                options.retain_age = age.map(Duration::from_millis);
                options.retain_messages = messages;
            }));
            assert_eq!(limits, Retention { age, messages });
            assert_eq!(Retention::of(limits.headers().as_ref()), Some(limits), "{text}");
            assert_eq!(limits.to_string(), text);
        }
        assert_eq!(Retention::of(None), None);
        assert_eq!(Retention::of(Some(&HeaderMap::new())), None);
    }
}
