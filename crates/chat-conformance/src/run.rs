use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use chat_core::Chat;
use tokio::time::{sleep, timeout};

use crate::{Case, Failure, Stage, Target, Transcript, Verdict, cases};

/// How long a case may take, besides the times of a server that cannot be hurried.
const CASE: Duration = Duration::from_secs(60);

/// How long a server may keep what belonged to clients that are gone.
const BASELINE: Duration = Duration::from_secs(5);

/// How long a server has to end that has dropped its connections by itself.
const WAY_OUT: Duration = Duration::from_millis(100);

/// How one case went on one target.
#[derive(Clone, Debug)]
pub struct Report {
    /// What it came to.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
    /// What was said.
    pub transcript: Transcript,
    /// Whether the code of the server is that of this repository, so that it helps to be told where to look.
    pub is_ours: bool,
}

impl Report {
    /// Why it is no pass, in one line: `None` if it is one, or was not run.
    pub fn problem(&self) -> Option<String> {
        match &self.outcome {
            Outcome::Passed | Outcome::NotRun(_) => None,
            Outcome::Failed(failure) => Some(failure.to_string()),
            Outcome::NoServer(problem) => Some(problem.clone()),
        }
    }

    /// Why it is no pass, for somebody who has never seen the case.
    pub fn explain(&self, case: &Case) -> Option<String> {
        match &self.outcome {
            Outcome::Passed | Outcome::NotRun(_) => None,
            Outcome::Failed(failure) if self.is_ours => Some(failure.explain(case, &self.transcript)),
            Outcome::Failed(failure) => Some(failure.explained(case, &self.transcript, "")),
            Outcome::NoServer(problem) => Some(format!("the case could not be played: {problem}\n")),
        }
    }
}

/// What a case came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server does as the case says.
    Passed,
    /// It does not.
    Failed(Failure),
    /// There was no server to ask: it did not start, or ended by itself.
    NoServer(String),
    /// The target cannot be asked.
    NotRun(&'static str),
}

/// Sees whether there is a server of `chat.v1` at all: one valid handshake, and the welcome to it.
pub fn preflight(target: &dyn Target) -> (Case, Report) {
    let case = cases::preflight();
    let report = run(target, &case);
    (case, report)
}

/// Runs one case on one target, with a runtime of its own. It blocks until that is done.
pub fn run(target: &dyn Target, case: &Case) -> Report {
    let (started, transcript) = (Instant::now(), Transcript::default());
    let outcome = match target.lacks(case.needs) {
        Some(reason) => Outcome::NotRun(reason),
        None => {
            let played = catch_unwind(AssertUnwindSafe(|| play(target, case, &transcript)));
            match played {
                Ok(outcome) => outcome,
                Err(panic) => Outcome::Failed(Failure::new("a case that runs", panicked(&*panic))),
            }
        }
    };
    Report { outcome, took: started.elapsed(), transcript, is_ours: target.is_ours() }
}

fn play(target: &dyn Target, case: &Case, transcript: &Transcript) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return Outcome::NoServer(format!("no runtime: {error}")),
    };
    let outcome = runtime.block_on(async {
        let mut server = match target.start(case.limits()).await {
            Ok(server) => server,
            Err(problem) => return Outcome::NoServer(problem),
        };
        let end = server.end.take();
        let chat = server.chat.clone();
        let limit =
            CASE + (server.limits.connection.ping_interval + server.limits.connection.ping_timeout) * 3;
        let tag = if server.is_shared { tag() } else { String::new() };
        let stage = Stage::new(server, transcript.clone(), tag);
        let verdict = timeout(limit, case.run(stage)).await;
        let late = |_| Failure::new("an end of the case", format!("none within {limit:?}"));
        let mut verdict = verdict.map_err(late).flatten();
        if let (Ok(()), Some(chat)) = (&verdict, chat) {
            verdict = expect_baseline(&chat).await;
        }
        if verdict.is_err() {
            // What a server drops on its way out is seen before it has ended.
            sleep(WAY_OUT).await;
        }
        let ended = match end {
            Some(end) => end.await,
            None => Ok(()),
        };
        match (verdict, ended) {
            (Ok(()), _) => Outcome::Passed,
            (Err(failure), Ok(())) => Outcome::Failed(failure),
            // What was seen of it is a consequence.
            (Err(failure), Err(problem)) => Outcome::NoServer(format!("{problem}\n  seen of it: {failure}")),
        }
    });
    runtime.shutdown_background();
    outcome
}

/// Nothing may be left of clients that are gone, in whatever way they went.
async fn expect_baseline(chat: &Chat) -> Verdict {
    let deserted = timeout(BASELINE, async {
        while chat.counts().connections > 0 {
            // Nothing tells when a connection is gone.
            sleep(Duration::from_millis(2)).await;
        }
    });
    let left = || {
        Failure::new(
            "no connection left once all clients are gone",
            format!("{} of them", chat.counts().connections),
        )
    };
    deserted.await.map_err(|_| left())
}

/// What a panic said.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of another type");
    format!("a panic: {text}")
}

/// A part of names that no other case, and no earlier run, has had.
fn tag() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("-{:x}-{}", now.as_millis() & 0xffff_ffff, NEXT.fetch_add(1, Ordering::Relaxed))
}
