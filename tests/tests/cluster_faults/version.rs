use std::env;
use std::process::Command;

use anyhow::{Result, bail};

/// A program of a server of NATS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// The newest version of the tests.
    New,
    /// The oldest version that a cluster supports.
    Old,
}

impl Version {
    /// Returns a command that runs the program.
    pub(crate) fn command(self) -> Result<Command> {
        let variable = if self == Self::New { "NATS_SERVER" } else { "NATS_SERVER_OLD" };
        match env::var_os(variable) {
            Some(path) => Ok(Command::new(path)),
            None if self == Self::New => Ok(Command::new("nats-server")),
            None => bail!("{variable} is not set: tests/run sets it to the path of nats-server 2.12"),
        }
    }
}
