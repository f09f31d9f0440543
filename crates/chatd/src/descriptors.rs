//! The limit of file descriptors, and the connections that it allows.

use std::num::NonZero;
use std::{fs, thread};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

/// The connections without an option, if the limit of descriptors allows them. Their memory limits them, too.
const DEFAULT_CONNECTIONS: usize = 100_000;

/// Descriptors for plain requests, such as probes, and for connections that are being refused.
const REQUESTS: usize = 12;

/// Descriptors of each thread of an adapter. Each worker of actix has a runtime of its own.
const PER_THREAD: usize = 3;

/// The directory of the open descriptors of this process.
const OPEN: &str = "/dev/fd";

/// The open descriptors of a server, if the system does not show them.
const ASSUMED_OPEN: usize = 40;

/// The descriptors of this process, and those that are not for connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descriptors {
    /// `None` is no limit.
    limit: Option<usize>,
    reserve: usize,
}

/// Raises the soft limit of descriptors to the hard one, as far as the system permits it.
pub(crate) fn raise_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // The limit that applies is read, and logged, later.
    let _unchanged = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

impl Descriptors {
    /// Counts the open descriptors. All of them belong to the server itself as long as it does not accept connections.
    pub(crate) fn count() -> Self {
        // The directory is open, too, while it is read.
        let open = fs::read_dir(OPEN).map_or(ASSUMED_OPEN, |entries| entries.count().saturating_sub(1));
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        Self {
            limit: getrlimit(Resource::Nofile)
                .current
                .map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
            reserve: open + REQUESTS + PER_THREAD * threads,
        }
    }

    /// Reserves this many more descriptors.
    pub(crate) fn reserving(mut self, count: usize) -> Self {
        self.reserve += count;
        self
    }

    /// Returns the number of connections for an option, at least 1, and logs it.
    pub(crate) fn max_connections(self, option: Option<usize>) -> usize {
        let Self { limit, reserve } = self;
        let max_connections = self.admit(option);
        info!(limit, reserve, max_connections, "file descriptors counted");
        if max_connections < option.unwrap_or(1) || limit.is_some_and(|limit| limit <= reserve) {
            warn!(
                limit,
                wanted = option,
                max_connections,
                "too few file descriptors for --max-connections: raise the hard limit (ulimit -Hn)"
            );
        }
        max_connections
    }

    fn admit(self, option: Option<usize>) -> usize {
        let possible = self.limit.map_or(usize::MAX, |limit| limit.saturating_sub(self.reserve).max(1));
        option.unwrap_or(DEFAULT_CONNECTIONS).min(possible)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_less_the_reserve_bounds_the_connections() {
        let admitted = |limit, option| Descriptors { limit, reserve: 50 }.admit(option);
        assert_eq!(admitted(Some(1_024), None), 974);
        assert_eq!(admitted(Some(1_024), Some(974)), 974);
        assert_eq!(admitted(Some(1_024), Some(975)), 974);
        assert_eq!(admitted(Some(1_024), Some(10)), 10);
        assert_eq!(admitted(Some(50), None), 1);
        assert_eq!(admitted(Some(1_048_576), None), 100_000);
        assert_eq!(admitted(None, None), 100_000);
        assert_eq!(admitted(None, Some(2_000_000)), 2_000_000);
    }
}
