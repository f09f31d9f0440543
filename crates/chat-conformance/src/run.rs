use std::time::{Duration, Instant};

use chat_core::Chat;
use chat_suite::{Failure, Verdict, block_on, indented, within};
use tokio::time::{sleep, timeout};

use crate::transcript::{Direction, Entry};
use crate::{Case, Stage, Target, Transcript, cases};

/// The time limit of a case, besides the times of a server that cannot be set.
const CASE_LIMIT: Duration = Duration::from_secs(60);

/// The time in which a server must release the connections of clients that are gone.
const RELEASE_LIMIT: Duration = Duration::from_secs(15);

/// The time in which a server that drops its connections by itself must end.
const EXIT_LIMIT: Duration = Duration::from_millis(100);

/// The result of one case on one target.
#[derive(Clone, Debug)]
pub struct Report {
    /// The outcome.
    pub outcome: Outcome,
    /// The time that the case took.
    pub took: Duration,
    /// Everything that the clients sent and received.
    pub transcript: Transcript,
    /// True if the server's code is in this repository, so that a hint into the code helps.
    pub is_ours: bool,
}

/// The outcome of a case on a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server keeps the rule.
    Passed,
    /// The server breaks the rule.
    Failed(Failure),
    /// There was no server: it did not start, or ended by itself.
    NoServer(String),
    /// The case cannot run on this target, which does not have this.
    NotRun(&'static str),
}

impl Report {
    /// Returns the problem in one line, or `None` if the case passed or did not run.
    pub fn problem(&self) -> Option<String> {
        match &self.outcome {
            Outcome::Passed | Outcome::NotRun(_) => None,
            Outcome::Failed(failure) => Some(failure.to_string()),
            Outcome::NoServer(problem) => Some(problem.clone()),
        }
    }

    /// Returns the problem for a reader who does not know the case: the rule, what was expected and what happened, and
    /// the conversation.
    pub fn explain(&self, case: &Case) -> Option<String> {
        match &self.outcome {
            Outcome::Passed | Outcome::NotRun(_) => None,
            Outcome::Failed(failure) => Some(self.explain_failure(case, failure)),
            Outcome::NoServer(problem) => {
                let hint = if self.is_ours {
                    format!("  look at   {}\n", case.conditions.hint)
                } else {
                    String::new()
                };
                Some(format!("the case could not run: {problem}\n{hint}"))
            }
        }
    }

    /// Returns the report of a preflight that failed at this case, for a reader who does not know the suite.
    pub fn explain_preflight(&self, target: &str, case: &Case) -> String {
        let explained = self.explain(case).unwrap_or_default();
        format!("{target} does not welcome a guest as a server of chat.v1 must:\n\n{explained}")
    }

    fn explain_failure(&self, case: &Case, failure: &Failure) -> String {
        let entries = self.transcript.entries();
        let is_own = |entry: &&Entry| failure.client.as_ref().is_none_or(|client| *client == entry.client);
        let sent = entries.iter().rfind(|entry| is_own(entry) && entry.direction == Direction::Sent);
        let sent = sent.map_or_else(
            || "nothing".to_owned(),
            |entry| format!("{}: {}", entry.client, indented(&entry.what, "            ")),
        );
        let hint =
            if self.is_ours { format!("  look at   {}\n", case.conditions.hint) } else { String::new() };
        format!(
            "{}\n  last sent {sent}\n{hint}  transcript (seconds, client, > sent, < received)\n{}",
            case.explain(failure),
            self.transcript.to_text("    "),
        )
    }
}

/// Checks that there is a server of `chat.v1` at all: a connection, a plain GET, a handshake, and the `welcome`.
///
/// Returns the first step that fails with its report, or `None` if all pass. Each wait takes at most a few seconds.
pub fn preflight(target: &dyn Target) -> Option<(Case, Report)> {
    let reports = cases::preflight().into_iter().map(|case| {
        let report = run(target, &case);
        (case, report)
    });
    reports.into_iter().find(|(_, report)| report.problem().is_some())
}

/// Runs one case on one target, on a runtime of its own. Blocks until the case is done.
pub fn run(target: &dyn Target, case: &Case) -> Report {
    let (started, transcript) = (Instant::now(), Transcript::default());
    let outcome = match target.lacks(case.conditions.needs) {
        Some(reason) => Outcome::NotRun(reason),
        None => block_on(play(target, case, &transcript)).unwrap_or_else(Outcome::Failed),
    };
    Report { outcome, took: started.elapsed(), transcript, is_ours: target.is_ours() }
}

async fn play(target: &dyn Target, case: &Case, transcript: &Transcript) -> Outcome {
    let mut server = match target.start(&case.conditions).await {
        Ok(server) => server,
        Err(problem) => return Outcome::NoServer(problem),
    };
    let end = server.end.take();
    let chats = server.chats.clone();
    let connection = &server.limits.connection;
    let limit = CASE_LIMIT + (connection.ping_interval + connection.ping_timeout) * 3;
    let tag = if server.is_shared { tag() } else { String::new() };
    let stage = Stage::new(server, transcript.clone(), tag);
    let mut verdict = within(limit, case.run(stage)).await;
    if verdict.is_ok() {
        verdict = expect_no_connections(&chats).await;
    }
    if verdict.is_err() {
        // A failure that is caused by a server that ends is seen before the server has ended.
        sleep(EXIT_LIMIT).await;
    }
    let ended = match end {
        Some(end) => end.await,
        None => Ok(()),
    };
    match (verdict, ended) {
        (Ok(()), _) => Outcome::Passed,
        (Err(failure), Ok(())) => Outcome::Failed(failure),
        // The failure is a consequence of the problem.
        (Err(failure), Err(problem)) => Outcome::NoServer(format!("{problem}\n  the case saw: {failure}")),
    }
}

/// Checks that no connection is left of clients that are gone.
async fn expect_no_connections(chats: &[Chat]) -> Verdict {
    let open = || chats.iter().map(|chat| chat.counts().connections).sum::<usize>();
    let all_closed = timeout(RELEASE_LIMIT, async {
        while open() > 0 {
            // There is no event for the end of a connection.
            sleep(Duration::from_millis(2)).await;
        }
    });
    let left = |_| Failure::new("no open connection after all clients are gone", format!("{} open", open()));
    all_closed.await.map_err(left)
}

/// Returns a part of names that no other case, and no earlier run, has used.
fn tag() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!("-{:x}-{}", now.as_millis() & 0xffff_ffff, NEXT.fetch_add(1, Ordering::Relaxed))
}
