use clap::ValueEnum;

/// A mistake of a host service with an upgrade that the chat has accepted. All of these compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HostFault {
    /// The host replaces the 101 with a 200 and a body.
    Replaces,
    /// The host fails with a 500.
    Fails,
    /// The host changes the status of the 101 to 200.
    ChangesStatus,
    /// The host adds a body to the 101.
    AddsBody,
    /// The host waits for the session before it returns the 101.
    AwaitsSession,
    /// The host returns the 101 and starts no session.
    DropsTicket,
}

impl HostFault {
    /// Returns the name of the fault in the header `X-Fault`.
    pub fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}
