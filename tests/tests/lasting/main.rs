//! What the binaries keep: rooms outlive the process, however that ends.

mod closing;
mod conversation;
mod disk;
mod faulty;
mod full;
mod histories;
mod injected;
mod order;
mod refusals;
mod restored;
mod slow;
mod stopping;
mod talk;
mod talker;
mod tasks;

use chat_tests::{BINARIES, Binary};

/// A binary for each adapter.
fn programs() -> Vec<Binary> {
    BINARIES.into_iter().filter(|binary| binary.upgrade == "hijack").collect()
}
