use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use chat_core::Chat;
use tokio::time::{sleep, timeout};

use crate::{Case, Failure, Stage, Target, Transcript, Verdict};

/// How long a case may take, besides the times of a server that cannot be hurried.
const CASE: Duration = Duration::from_secs(60);

/// How long a server may keep what belonged to clients that are gone.
const BASELINE: Duration = Duration::from_secs(5);

/// How one case went on one target.
#[derive(Clone, Debug)]
pub struct Report {
    /// What it came to.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
    /// What was said.
    pub transcript: Transcript,
}

/// What a case came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server does as the case says.
    Passed,
    /// It does not.
    Failed(Failure),
    /// The target cannot be asked.
    NotRun(&'static str),
}

/// Runs one case on one target, with a runtime of its own. It blocks until that is done.
pub fn run(target: &dyn Target, case: &Case) -> Report {
    let (started, transcript) = (Instant::now(), Transcript::default());
    let outcome = match target.lacks(case.needs) {
        Some(reason) => Outcome::NotRun(reason),
        None => {
            let played = catch_unwind(AssertUnwindSafe(|| play(target, case, &transcript)));
            match played.unwrap_or_else(|panic| Err(panicked(&*panic))) {
                Ok(()) => Outcome::Passed,
                Err(failure) => Outcome::Failed(failure),
            }
        }
    };
    Report { outcome, took: started.elapsed(), transcript }
}

fn play(target: &dyn Target, case: &Case, transcript: &Transcript) -> Verdict {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new("a runtime", error))?;
    let verdict = runtime.block_on(async {
        let server = target.start(case.limits()).await;
        let mut server = server.map_err(|problem| Failure::new("a server that starts", problem))?;
        let end = server.end.take();
        let chat = server.chat.clone();
        let limit = CASE + (server.limits.ping_interval + server.limits.ping_timeout) * 3;
        let tag = if server.is_shared { tag() } else { String::new() };
        let stage = Stage::new(server, transcript.clone(), tag);
        let verdict = timeout(limit, case.run(stage)).await;
        let late = |_| Failure::new("an end of the case", format!("none within {limit:?}"));
        let mut verdict = verdict.map_err(late).flatten();
        if let (Ok(()), Some(chat)) = (&verdict, chat) {
            verdict = expect_baseline(&chat).await;
        }
        if let Some(end) = end {
            end.await;
        }
        verdict
    });
    runtime.shutdown_background();
    verdict
}

/// Nothing may be left of clients that are gone, in whatever way they went.
async fn expect_baseline(chat: &Chat) -> Verdict {
    let deserted = timeout(BASELINE, async {
        while chat.counts().connections > 0 {
            // Nothing tells when a connection is gone.
            sleep(Duration::from_millis(2)).await;
        }
    });
    let left =
        || Failure::new("no connection left once all clients are gone", format!("{:?}", chat.counts()));
    deserted.await.map_err(|_| left())
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of another type");
    Failure::new("a case that runs", format!("a panic: {text}"))
}

/// A part of names that no other case, and no earlier run, has had.
fn tag() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("-{:x}-{}", now.as_millis() & 0xffff_ffff, NEXT.fetch_add(1, Ordering::Relaxed))
}
