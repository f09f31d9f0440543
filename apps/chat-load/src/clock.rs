use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// Returns the microseconds since the first call.
pub(crate) fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// Blocks the thread until `due`, in microseconds. The timer of the runtime would be a millisecond late.
pub(crate) fn sleep_until(due: u64) {
    let left = due.saturating_sub(now());
    if left > 0 {
        thread::sleep(Duration::from_micros(left));
    }
}
