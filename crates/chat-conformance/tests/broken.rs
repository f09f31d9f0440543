//! Tests of the suite: servers with one defect each, and the case that must detect it.
//!
//! The output is the table of defects and cases. Each case passes behind the same proxy if the proxy changes nothing.
//! So the case detects the defect and not the proxy.

/// Declares a function `defects` that returns these defects: each has a name, the case that must detect it, and the
/// changes on each connection. After `from`, a function makes those changes, so that connections can share a state.
macro_rules! defects {
    ($($name:ident by $group:ident::$case:ident $(from $make:expr)? $(=> $link:expr)?;)+) => {
        pub(crate) fn defects() -> Vec<crate::Defect> {
            vec![$(crate::Defect {
                name: stringify!($name),
                case: concat!(stringify!($group), "::", stringify!($case)),
                link: std::sync::Arc::new($($make)? $(|| $link)?),
            }),+]
        }
    };
}

#[path = "broken/changes.rs"]
mod changes;
#[path = "broken/chat.rs"]
mod chat;
#[path = "broken/closing.rs"]
mod closing;
#[path = "broken/deletions.rs"]
mod deletions;
#[path = "broken/direct.rs"]
mod direct;
#[path = "broken/frame.rs"]
mod frame;
#[path = "broken/framing.rs"]
mod framing;
#[path = "broken/handshake.rs"]
mod handshake;
#[path = "broken/hello.rs"]
mod hello;
#[path = "broken/hosts.rs"]
mod hosts;
#[path = "broken/http.rs"]
mod http;
#[path = "broken/link.rs"]
mod link;
#[path = "broken/messages.rs"]
mod messages;
#[path = "broken/proxy.rs"]
mod proxy;
#[path = "broken/purges.rs"]
mod purges;
#[path = "broken/rules.rs"]
mod rules;
#[path = "broken/threads.rs"]
mod threads;
#[path = "broken/unread.rs"]
mod unread;

use std::process::ExitCode;
use std::sync::Arc;

use chat_conformance::{InProcess, Outcome, cases, run};
use libtest_mimic::{Arguments, Failed, Trial};

use link::Link;

/// The number of trials that run at once. Most trials wait most of the time.
const THREADS: usize = 80;

/// A server with one defect.
struct Defect {
    /// The defect, as a sentence.
    name: &'static str,
    /// The path of the case that must detect it.
    case: &'static str,
    /// The changes on each connection.
    link: Arc<dyn Fn() -> Link + Send + Sync>,
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(THREADS));
    let defects = [
        handshake::defects(),
        http::defects(),
        framing::defects(),
        closing::defects(),
        chat::defects(),
        messages::defects(),
        changes::defects(),
        deletions::defects(),
        threads::defects(),
        hosts::defects(),
        purges::defects(),
        rules::defects(),
        hello::defects(),
        unread::defects(),
        direct::defects(),
    ];
    let trial = |defect: Defect| {
        Trial::test(defect.name, move || judge(defect.case, defect.link)).with_kind(defect.case)
    };
    let trials = defects.into_iter().flatten().map(trial).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn judge(path: &str, link: Arc<dyn Fn() -> Link + Send + Sync>) -> Result<(), Failed> {
    let case = cases().into_iter().find(|case| case.path() == path).ok_or("no case has this path")?;
    let correct = run(&server("correct", Arc::new(Link::unchanged)), &case);
    if let Some(problem) = correct.explain(&case) {
        return Err(format!("the correct server fails:\n{problem}").into());
    }
    let broken = run(&server("broken", link), &case);
    match broken.outcome {
        Outcome::Failed(_) => Ok(()),
        _ => Err(format!("{path} does not detect the defect\n{}", broken.transcript.to_text("  ")).into()),
    }
}

fn server(name: &str, link: Arc<dyn Fn() -> Link + Send + Sync>) -> InProcess {
    InProcess::new(name, move |server| {
        let link = Arc::clone(&link);
        proxy::serve(server, move || link())
    })
}
