use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::{Case, Failure, Kind, Stage, Verdict};

/// How long a case may take.
const CASE: Duration = Duration::from_secs(60);

/// Runs one case on a new store of this kind, with a runtime of its own. It blocks until that is done.
///
/// # Errors
///
/// What the store does instead of what the case says.
pub fn run(kind: &Kind, case: &Case) -> Verdict {
    catch_unwind(AssertUnwindSafe(|| play(kind, case))).unwrap_or_else(|panic| Err(panicked(&*panic)))
}

fn play(kind: &Kind, case: &Case) -> Verdict {
    // Two threads, so that what can happen at the same time does.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new("a runtime", error))?;
    let verdict = runtime.block_on(async {
        let limits = Arc::new(case.limits().clamped());
        let store = kind.open(Arc::clone(&limits)).await;
        timeout(CASE, case.run(Stage::new(store, limits))).await
    });
    runtime.shutdown_background();
    verdict.unwrap_or_else(|_| Err(Failure::new("an end of the case", format!("none within {CASE:?}"))))
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of another type");
    Failure::new("a case that runs", format!("a panic: {text}"))
}
