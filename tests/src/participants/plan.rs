use proptest::prelude::*;
use proptest::sample::select;

/// The plan of all writers and readers of a room.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The connections of each writer, in order.
    pub(super) writers: Vec<Vec<WriterConnection>>,
    /// The connections of each reader, in order.
    pub(super) readers: Vec<Vec<ReaderConnection>>,
}

/// One connection of a writer.
#[derive(Clone, Debug)]
pub(super) struct WriterConnection {
    pub(super) server: usize,
    /// The number of messages in each batch. A batch is one write.
    pub(super) batches: Vec<usize>,
    pub(super) disconnect: Disconnect,
}

/// One connection of a reader. Its lengths are counted in messages of the room.
#[derive(Clone, Debug)]
pub(super) struct ReaderConnection {
    pub(super) server: usize,
    /// The number of newest messages to join with, instead of all after the last one seen.
    pub(super) last: Option<u64>,
    pub(super) reads: u64,
    pub(super) pause: u64,
    /// True if the reader joins again after the pause.
    pub(super) joins_again: bool,
    pub(super) disconnect: Disconnect,
    pub(super) offline: u64,
}

/// The way in which a participant ends a connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Disconnect {
    Close,
    Fin,
    Reset,
    FinWithinFrame,
    ResetWithinFrame,
}

/// Generates a plan for this number of servers.
pub fn plan(servers: usize) -> impl Strategy<Value = Plan> {
    let disconnect = || {
        use Disconnect::{Close, Fin, FinWithinFrame, Reset, ResetWithinFrame};
        select(vec![Close, Fin, Reset, FinWithinFrame, ResetWithinFrame])
    };
    let batches = proptest::collection::vec(1_usize..9, 1..8);
    let writer = (0..servers, batches, disconnect())
        .prop_map(|(server, batches, disconnect)| WriterConnection { server, batches, disconnect });
    let last = prop_oneof![3 => Just(None), 1 => (0_u64..400).prop_map(Some)];
    let counts = (0_u64..200, 0_u64..600, 0_u64..400);
    let reader = (0..servers, last, counts, any::<bool>(), disconnect()).prop_map(
        |(server, last, (reads, pause, offline), joins_again, disconnect)| ReaderConnection {
            server,
            last,
            reads,
            pause,
            joins_again,
            disconnect,
            offline,
        },
    );
    let writers = proptest::collection::vec(proptest::collection::vec(writer, 3..9), servers * 2);
    let readers = proptest::collection::vec(proptest::collection::vec(reader, 0..4), servers);
    (writers, readers).prop_map(|(writers, readers)| Plan { writers, readers })
}
