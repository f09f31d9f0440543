use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::{Failure, Running, Verdict};

/// Runs a future on a runtime of its own. Blocks until it is done, and stops the tasks that it has left.
///
/// The runtime has two threads, so that tasks run concurrently.
///
/// # Errors
///
/// If the future panics or the runtime does not start.
pub fn block_on<T>(what: impl Future<Output = T>) -> Result<T, Failure> {
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new("a runtime", error))?;
        let output = runtime.block_on(what);
        runtime.shutdown_background();
        Ok(output)
    }));
    ran.unwrap_or_else(|panic| Err(Failure::new("a case that runs to its end", panic_text(&*panic))))
}

/// Waits for a case, for at most `limit`.
///
/// # Errors
///
/// The failure of the case, or that it takes longer.
pub async fn within(limit: Duration, case: Running) -> Verdict {
    let late = |_| Err(Failure::new("an end of the case", format!("none within {limit:?}")));
    tokio::time::timeout(limit, case).await.unwrap_or_else(late)
}

/// Returns the message of a panic.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
    format!("a panic: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_that_panics_or_does_not_end_fails() {
        let panicked = block_on(async { panic!("no such disk") }).map(|(): ()| ());
        assert!(panicked.unwrap_err().actual.contains("no such disk"));
        let late = block_on(within(Duration::from_millis(5), Box::pin(std::future::pending()))).flatten();
        assert_eq!(late.unwrap_err().actual, "none within 5ms");
    }
}
