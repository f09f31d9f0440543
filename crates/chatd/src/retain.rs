use std::str::FromStr;
use std::time::Duration;

use chat_sqlite::Options;

/// The longest time between two sweeps, and so the longest time for which a message may outlive its limit.
const MAX_SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// One limit of what a room keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retain {
    Age(Duration),
    Messages(u64),
}

impl Retain {
    /// Returns the options with these limits.
    pub(crate) fn apply(limits: &[Self], mut options: Options) -> Options {
        options.sweep_interval = MAX_SWEEP_INTERVAL;
        for limit in limits {
            match *limit {
                Self::Age(age) => {
                    options.retain_age = Some(age);
                    // A short age must be as exact as a long one.
                    options.sweep_interval = MAX_SWEEP_INTERVAL.min(age / 10);
                }
                Self::Messages(messages) => options.retain_messages = Some(messages),
            }
        }
        options
    }

    /// Returns the limit by age, and that by number.
    #[cfg(feature = "cluster")]
    pub(crate) fn limits(limits: &[Self]) -> (Option<Duration>, Option<u64>) {
        limits.iter().fold((None, None), |(age, messages), limit| match *limit {
            Self::Age(age) => (Some(age), messages),
            Self::Messages(messages) => (age, Some(messages)),
        })
    }
}

impl FromStr for Retain {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "a limit is an age like 30d, 12h, 90m or 45s, or a number like 100000msgs";
        let text = text.trim();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| FORM)?;
        if number == 0 {
            return Err("the limit must not be 0");
        }
        let seconds = match unit {
            "msgs" => return Ok(Self::Messages(number)),
            "s" => 1,
            "m" => 60,
            "h" => 60 * 60,
            "d" => 24 * 60 * 60,
            _ => return Err(FORM),
        };
        number.checked_mul(seconds).map(|age| Self::Age(Duration::from_secs(age))).ok_or(FORM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_numbers_are_parsed() {
        let age = |seconds| Ok(Retain::Age(Duration::from_secs(seconds)));
        for (text, expected) in [
            ("45s", age(45)),
            ("90m", age(5_400)),
            ("12h", age(43_200)),
            (" 30d", age(2_592_000)),
            ("100000msgs", Ok(Retain::Messages(100_000))),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
        for text in [
            "",
            "30",
            "d",
            "0d",
            "0msgs",
            "-1d",
            "1.5h",
            "30 d",
            "30D",
            "1w",
            "99999999999999999999d",
            "18446744073709551615d",
        ] {
            assert!(text.parse::<Retain>().is_err(), "{text}");
        }
    }
}
