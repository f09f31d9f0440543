use proptest::prelude::*;
use proptest::sample::select;

/// What everybody in a crowd is going to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Each writer's connections, one after the other.
    pub(super) writers: Vec<Vec<Stint>>,
    /// Each reader's.
    pub(super) readers: Vec<Vec<Stay>>,
}

/// One connection of a writer.
#[derive(Clone, Debug)]
pub(super) struct Stint {
    pub(super) server: usize,
    /// So many messages at once, so often.
    pub(super) batches: Vec<usize>,
    pub(super) parting: Parting,
}

/// One connection of a reader, counted in messages of the room.
#[derive(Clone, Debug)]
pub(super) struct Stay {
    pub(super) server: usize,
    /// So many of the newest are wanted, not all after the last one seen.
    pub(super) last: Option<u64>,
    pub(super) reads: u64,
    pub(super) pauses: u64,
    /// It joins again after that.
    pub(super) joins_again: bool,
    pub(super) parting: Parting,
    pub(super) stays_away: u64,
}

/// How a connection is left.
#[derive(Clone, Copy, Debug)]
pub(super) enum Parting {
    Close,
    Fin,
    Reset,
    FinWithinFrame,
    ResetWithinFrame,
}

/// Any crowd for so many servers.
pub fn crowd(servers: usize) -> impl Strategy<Value = Plan> {
    let parting = || {
        use Parting::{Close, Fin, FinWithinFrame, Reset, ResetWithinFrame};
        select(vec![Close, Fin, Reset, FinWithinFrame, ResetWithinFrame])
    };
    let batches = proptest::collection::vec(1_usize..9, 1..8);
    let stint = (0..servers, batches, parting()).prop_map(|(server, batches, parting)| Stint {
        server,
        batches,
        parting,
    });
    let last = prop_oneof![3 => Just(None), 1 => (0_u64..400).prop_map(Some)];
    let counts = (0_u64..200, 0_u64..600, 0_u64..400);
    let stay = (0..servers, last, counts, any::<bool>(), parting()).prop_map(
        |(server, last, (reads, pauses, stays_away), joins_again, parting)| Stay {
            server,
            last,
            reads,
            pauses,
            joins_again,
            parting,
            stays_away,
        },
    );
    let writers = proptest::collection::vec(proptest::collection::vec(stint, 3..9), servers * 2);
    let readers = proptest::collection::vec(proptest::collection::vec(stay, 0..4), servers);
    (writers, readers).prop_map(|(writers, readers)| Plan { writers, readers })
}
