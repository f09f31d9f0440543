use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use clap::builder::PossibleValuesParser;

use super::attacks::ATTACKS;
use crate::options::{rate, seconds};

/// Attack a chat server and measure the members of another room.
///
/// Each attack has a new server with a temporary store, default limits and the options of the environment (CHATD_*).
/// Four members of a room of their own send 12 messages per second each: first alone (idle phase), then beside the
/// attack, then after it (recovery). Ratios are those of the times from send to sent, under attack divided by idle.
/// Times below 1 ms count as 1 ms, because they are noise of the scheduler. If there are two CPUs or more, the last one
/// is for this program and the others are for the server.
///
/// The exit code is 0 if every check passes, 1 if a check fails, and 2 if the options are invalid. The checks: no
/// message of the members is lost, refused or delivered in the wrong order; the attack gets the expected codes; the log
/// has no error; the store is sound at the end; memory and disk are in bounds; and, without --counts-only, the ratios
/// and the recovery are in bounds.
#[derive(Debug, Parser)]
#[command(name = "chat-abuse", version, max_term_width = 100)]
pub struct Options {
    /// Program of the server, such as target/release/chatd-axum
    #[arg(long, value_name = "FILE")]
    pub server: PathBuf,

    /// Attack to run, more than once for several. By default all run
    #[arg(long = "attack", value_name = "NAME",
          value_parser = PossibleValuesParser::new(ATTACKS.iter().map(|attack| attack.name)))]
    pub attacks: Vec<String>,

    /// Duration of the idle phase and of an attack, in seconds. An attack is longer until it has got the expected codes
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub seconds: Duration,

    /// Frames or requests per second of each connection of an attack. Floods send more, a crowd less
    #[arg(long, value_name = "NUMBER", default_value = "100", value_parser = rate)]
    pub rate: f64,

    /// Memory budget of the server in MiB. Its resident memory may grow by twice as much, and by 64 MiB
    #[arg(long, value_name = "MIB", default_value = "256", value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub memory: u64,

    /// Check counts only, and no times
    #[arg(long)]
    pub counts_only: bool,

    /// Write the report to a file as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}
