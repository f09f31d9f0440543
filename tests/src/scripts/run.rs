use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use anyhow::{Result, bail};
use proptest::test_runner::{TestCaseError, TestError};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::{ScriptServer, Step, script};
use crate::{runner, seeds};

/// Generates random scripts, `default` of them unless `CHAT_SCRIPTS` or `CHAT_SEED` says otherwise, and plays each with
/// `play`, which returns the servers. `test` is the name of the test, for the report of a failure.
///
/// # Errors
///
/// Fails with the first script whose play fails, made shorter.
pub fn run_scripts(
    default: u64,
    test: &str,
    play: &impl AsyncFn(&[Step], u64) -> Result<Vec<ScriptServer>>,
) -> Result<()> {
    let runtime = Runtime::new()?;
    let played = Mutex::new(JoinSet::new());
    let seeds = seeds("CHAT_SCRIPTS", default)?;
    let steps = AtomicUsize::new(0);
    for &seed in &seeds {
        let result = runner(seed).run(&script(), |script| {
            let servers = runtime
                .block_on(play(&script, seed))
                .map_err(|why| TestCaseError::fail(format!("{why:#}")))?;
            steps.store(script.len(), Ordering::Relaxed);
            let _guard = runtime.enter();
            let mut played = played.lock().unwrap_or_else(PoisonError::into_inner);
            servers.into_iter().for_each(|server| drop(played.spawn(server.stop())));
            Ok(())
        });
        match result {
            Ok(()) => {}
            Err(TestError::Fail(why, script)) => {
                let why = why.message().to_owned();
                let (script, why) = runtime.block_on(shorten(script, why, seed, play));
                bail!("{}", report(seed, &script, &why, test));
            }
            Err(TestError::Abort(why)) => bail!("seed {seed}: {why}"),
        }
    }
    if let [seed] = seeds[..] {
        writeln!(io::stdout(), "seed {seed} passes: {} steps", steps.load(Ordering::Relaxed))?;
    }
    let played = played.into_inner().unwrap_or_else(PoisonError::into_inner);
    runtime.block_on(played.join_all()).into_iter().collect()
}

/// Removes each step without which a failing script still fails. Unlike proptest, it also removes the steps that were
/// generated along with others. Returns the shorter script and its failure.
async fn shorten(
    mut script: Vec<Step>,
    mut why: String,
    seed: u64,
    play: &impl AsyncFn(&[Step], u64) -> Result<Vec<ScriptServer>>,
) -> (Vec<Step>, String) {
    let mut index = 0;
    while index < script.len() {
        let mut shorter = script.clone();
        shorter.remove(index);
        match play(&shorter, seed).await {
            Ok(_) => index += 1,
            Err(error) => (script, why, index) = (shorter, format!("{error:#}"), 0),
        }
    }
    (script, why)
}

fn report(seed: u64, script: &[Step], why: &str, test: &str) -> String {
    let mut text = format!("seed {seed}: a script of {} steps\n", script.len());
    for (index, step) in script.iter().enumerate() {
        let _written = writeln!(text, "  {:>2} {step}", index + 1);
    }
    let _written = write!(
        text,
        "{why}\nTo play the script again: CHAT_SEED={seed} cargo test -p chat-tests --test {test}\n"
    );
    text
}
