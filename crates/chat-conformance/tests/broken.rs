//! The suite is tested itself: servers with one defect each, and the case that is meant to catch it.
//!
//! The output is the table of defects and cases. A case passes behind the same man in the middle as long as he
//! spoils nothing, so it is the defect that it catches.

#[path = "broken/chat.rs"]
mod chat;
#[path = "broken/closing.rs"]
mod closing;
#[path = "broken/frame.rs"]
mod frame;
#[path = "broken/framing.rs"]
mod framing;
#[path = "broken/handshake.rs"]
mod handshake;
#[path = "broken/link.rs"]
mod link;
#[path = "broken/messages.rs"]
mod messages;
#[path = "broken/proxy.rs"]
mod proxy;

use std::process::ExitCode;
use std::sync::Arc;

use chat_conformance::{InProcess, Outcome, cases, run};
use libtest_mimic::{Arguments, Failed, Trial};

use link::Link;

/// Trials at once: most of them wait most of the time.
const THREADS: usize = 80;

/// A server that does one thing wrong.
struct Defect {
    /// The defect, as a sentence.
    name: &'static str,
    /// The path of the case that is meant to catch it.
    case: &'static str,
    /// What becomes of each connection.
    spoil: Arc<dyn Fn() -> Link + Send + Sync>,
}

fn defect(
    name: &'static str,
    case: &'static str,
    spoil: impl Fn() -> Link + Send + Sync + 'static,
) -> Defect {
    Defect { name, case, spoil: Arc::new(spoil) }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(THREADS));
    let defects =
        [handshake::defects(), framing::defects(), closing::defects(), chat::defects(), messages::defects()];
    let trial = |defect: Defect| {
        Trial::test(defect.name, move || judge(defect.case, defect.spoil)).with_kind(defect.case)
    };
    let trials = defects.into_iter().flatten().map(trial).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn judge(path: &str, spoil: Arc<dyn Fn() -> Link + Send + Sync>) -> Result<(), Failed> {
    let case = cases().into_iter().find(|case| case.path() == path).ok_or("there is no such case")?;
    let sound = run(&server("sound", Arc::new(Link::sound)), &case);
    if let Some(problem) = sound.explain(&case) {
        return Err(format!("the sound server:\n{problem}").into());
    }
    let broken = run(&server("broken", spoil), &case);
    match broken.outcome {
        Outcome::Failed(_) => Ok(()),
        _ => Err(format!("{path} does not catch it\n{}", broken.transcript.to_text("  ")).into()),
    }
}

fn server(name: &str, spoil: Arc<dyn Fn() -> Link + Send + Sync>) -> InProcess {
    InProcess::new(name, move |server| {
        let spoil = Arc::clone(&spoil);
        proxy::serve(server, move || spoil())
    })
}
