use std::time::Duration;

/// Times between the nodes of a chat. They have no effect on a chat without a bus.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeLimits {
    /// Time for which a room that opens waits for the users of other nodes. Later answers become `presence` events.
    /// Default 250 ms.
    pub roster_timeout: Duration,
    /// Time from the loss of a user's last connection, or of a node, until `left`. It lets a user move to another node
    /// without `left` and `joined`. A `leave` command takes effect at once. Default 10 s.
    pub leave_grace: Duration,
}

impl Default for NodeLimits {
    fn default() -> Self {
        Self { roster_timeout: Duration::from_millis(250), leave_grace: Duration::from_secs(10) }
    }
}
