//! Reading messages: a pool of connections, pages of a room's history, and damaged messages.

mod gate;
mod history;
mod message;
mod pool;
mod target;
mod thread;
mod unread;

pub(crate) use gate::{ClosedGate, ReadGate, WAL_LIMIT, WalSize};
pub(crate) use history::{MessagePage, RoomBounds, bounds, read_messages, read_page, standing};
pub(crate) use message::{UnreadableMessages, stored_message};
pub(crate) use pool::ReaderPool;
pub(crate) use thread::{read_linked, read_thread};
pub(crate) use unread::{followed, unread};

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{history, thread, unread};
    use crate::database::migrate;

    /// A page of a long room must cost as much as that of a short one.
    #[test]
    fn no_read_looks_at_all_messages() {
        let mut connection = Connection::open_in_memory().expect("a database");
        migrate(&mut connection).expect("a schema");
        for sql in history::STATEMENTS.iter().chain(&thread::STATEMENTS).chain(&[unread::NEWEST_FIRST]) {
            let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a plan");
            let values = vec![1; plan.parameter_count()];
            let steps = plan.query_map(rusqlite::params_from_iter(values), |row| row.get(3));
            let steps: rusqlite::Result<Vec<String>> = steps.and_then(Iterator::collect);
            let steps = steps.expect("steps");
            // A sort follows the part that needs it.
            let is_sorted = steps
                .windows(2)
                .any(|pair| pair[0].starts_with("SEARCH messages") && pair[1].starts_with("USE TEMP B-TREE"));
            assert!(!is_sorted, "{sql}: {steps:?}");
            for step in steps {
                let is_long =
                    ["SCAN messages", "SCAN keys", "CO-ROUTINE"].iter().any(|name| step.contains(name));
                assert!(!is_long, "{sql}: {step}");
            }
        }
    }
}
