//! The options that limit what one client may cost.

use chat_core::{Limits, Rate, RateLimits};
use clap::{Args, value_parser};

use crate::size::{memory_bytes, rate_of_bytes};

/// The number of seconds for which a client may save the tokens of a rate.
const BURST_SECONDS: u32 = 4;

#[derive(Debug, Args)]
pub(crate) struct LimitOptions {
    /// Allow each connection this many tokens of commands per second, and 4 times as many at once; a message costs 1
    /// token, a join 2, a page of history 5; 0 is no limit
    #[arg(long, env = "CHATD_COMMAND_RATE", value_name = "TOKENS", default_value = "50",
          value_parser = value_parser!(u32).range(..=1_000_000))]
    command_rate: u32,

    /// Allow all connections of one user together this many tokens of commands per second, and 4 times as many at
    /// once; 0 is no limit
    #[arg(long, env = "CHATD_USER_COMMAND_RATE", value_name = "TOKENS", default_value = "100",
          value_parser = value_parser!(u32).range(..=1_000_000))]
    user_command_rate: u32,

    /// Read at most this many bytes per second from each connection (64K, 1M), and 4 times as many at once; 0 is no
    /// limit
    #[arg(long, env = "CHATD_READ_RATE", value_name = "BYTES", default_value = "256K", value_parser = rate_of_bytes)]
    read_rate: u32,

    /// Send each connection at most this many bytes per second of pages and replays that it asks for, and 4 times as
    /// many at once; 0 is no limit
    #[arg(long, env = "CHATD_REPLY_RATE", value_name = "BYTES", default_value = "4M", value_parser = rate_of_bytes)]
    reply_rate: u32,

    /// Answer 429 to further connections of one user; 0 is no limit
    #[arg(long, env = "CHATD_MAX_PER_USER", value_name = "NUMBER", default_value = "200",
          value_parser = value_parser!(u32).range(..=10_000_000))]
    max_per_user: u32,

    /// Answer 429 to further connections of one address, or of one /64 network of IPv6; 0 is no limit
    #[arg(long, env = "CHATD_MAX_PER_ADDRESS", value_name = "NUMBER", default_value = "100",
          value_parser = value_parser!(u32).range(..=10_000_000))]
    max_per_address: u32,

    /// Log at most this many lines per minute about the connections of one address, two for each connection, and the
    /// number of the others; 0 is no limit
    #[arg(long, env = "CHATD_LOG_RATE", value_name = "LINES", default_value = "200",
          value_parser = value_parser!(u32).range(..=1_000_000))]
    log_rate: u32,

    /// Use at most this much memory for the newest messages of open rooms and for rooms in memory (64M, 1G); 0 is no
    /// limit
    #[arg(long, env = "CHATD_MEMORY", value_name = "BYTES", default_value = "256M", value_parser = memory_bytes)]
    memory: usize,
}

impl LimitOptions {
    /// Puts the options into the limits of the chat.
    pub(crate) fn apply(&self, limits: &mut Limits) {
        let rates = RateLimits::unlimited();
        limits.rates.connection = rate(self.command_rate).unwrap_or(rates.connection);
        limits.rates.user = rate(self.user_command_rate).unwrap_or(rates.user);
        limits.rates.read_bytes = rate(self.read_rate).unwrap_or(rates.read_bytes);
        limits.rates.reply_bytes = rate(self.reply_rate).unwrap_or(rates.reply_bytes);
        limits.rates.log_lines = self.log_rate;
        limits.connection.max_per_user = count(self.max_per_user);
        limits.connection.max_per_address = count(self.max_per_address);
        limits.rooms.memory_bytes = self.memory;
    }
}

/// Returns the rate of an option, or `None` for no limit.
fn rate(per_second: u32) -> Option<Rate> {
    (per_second > 0).then(|| Rate::new(per_second, per_second.saturating_mul(BURST_SECONDS)))
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        limits: LimitOptions,
    }

    fn limits(arguments: &[&str]) -> Limits {
        let line = Line::parse_from(["chatd"].iter().chain(arguments));
        Limits::default().with(|limits| line.limits.apply(limits))
    }

    #[test]
    fn options_have_the_defaults_of_the_library() {
        assert_eq!(limits(&[]), Limits::default());
    }

    #[test]
    fn options_set_rates_and_zero_lifts_them() {
        let options = ["--command-rate", "--user-command-rate", "--read-rate", "--reply-rate", "--log-rate"];
        let with = |values: [&'static str; 5]| {
            let arguments = options.into_iter().zip(values).flat_map(|(option, value)| [option, value]);
            limits(&arguments.collect::<Vec<_>>()).rates
        };
        let rates = with(["5", "7", "2K", "3K", "9"]);
        assert_eq!(rates.connection, Rate::new(5, 20));
        assert_eq!(rates.user, Rate::new(7, 28));
        assert_eq!(rates.read_bytes, Rate::new(2_048, 8_192));
        assert_eq!(rates.reply_bytes, Rate::new(3_072, 12_288));
        assert_eq!(rates.log_lines, 9);
        assert_eq!(with(["0"; 5]), RateLimits::unlimited());
    }

    #[test]
    fn options_set_the_connections_of_a_user_and_of_an_address() {
        let connection = limits(&["--max-per-user", "5", "--max-per-address", "0"]).connection;
        assert_eq!((connection.max_per_user, connection.max_per_address), (5, 0));
    }

    #[test]
    fn an_option_sets_the_memory_of_rooms() {
        assert_eq!(limits(&["--memory", "64M"]).rooms.memory_bytes, 64 << 20);
    }
}
