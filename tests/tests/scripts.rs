//! Random scripts, played on every adapter: all adapters agree with each other and with a model of the protocol.
//!
//! Each script is generated from a seed. A failure prints the seed and a shorter script that still fails.
//! `CHAT_SEED=<seed> cargo test -p chat-tests --test scripts` plays the script again. `CHAT_SCRIPTS=<count>` sets the
//! number of scripts.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, bail};
use chat_tests::{ADAPTERS, ScriptServer, Step, runner, script, seeds};
use futures_util::future::join_all;
use proptest::test_runner::{TestCaseError, TestError};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// The default number of scripts.
const SCRIPTS: u64 = 150;

#[test]
fn every_adapter_plays_random_scripts_as_the_model_predicts() -> Result<()> {
    let runtime = Runtime::new()?;
    let played = Mutex::new(JoinSet::new());
    let seeds = seeds("CHAT_SCRIPTS", SCRIPTS)?;
    let steps = AtomicUsize::new(0);
    for &seed in &seeds {
        let result = runner(seed).run(&script(), |script| {
            let servers =
                runtime.block_on(play(&script)).map_err(|why| TestCaseError::fail(format!("{why:#}")))?;
            steps.store(script.len(), Ordering::Relaxed);
            let _guard = runtime.enter();
            let mut played = played.lock().unwrap();
            servers.into_iter().for_each(|server| drop(played.spawn(server.stop())));
            Ok(())
        });
        match result {
            Ok(()) => {}
            Err(TestError::Fail(why, script)) => {
                let (script, why) = runtime.block_on(shorten(script, why.message().to_owned()));
                panic!("{}", report(seed, &script, &why));
            }
            Err(TestError::Abort(why)) => bail!("seed {seed}: {why}"),
        }
    }
    if let [seed] = seeds[..] {
        writeln!(
            io::stdout(),
            "seed {seed} passes: {} steps on each adapter",
            steps.load(Ordering::Relaxed)
        )?;
    }
    let played = played.into_inner()?;
    runtime.block_on(played.join_all()).into_iter().collect()
}

/// Plays a script on every adapter at the same time. Returns the servers.
async fn play(script: &[Step]) -> Result<Vec<ScriptServer>> {
    let mut servers = Vec::new();
    for adapter in ADAPTERS {
        servers.push(ScriptServer::start(adapter).await?);
    }
    let played = join_all(servers.iter().map(|server| server.play(script))).await;
    let failures: Vec<_> = played.iter().filter_map(|played| played.as_ref().err()).collect();
    if let Some(first) = failures.first() {
        bail!("{first}\n{} of {} adapters fail", failures.len(), servers.len());
    }
    let transcripts: Vec<_> = played.iter().flatten().collect();
    for (adapter, transcript) in ADAPTERS.iter().zip(&transcripts) {
        let differing = transcripts[0].iter().zip(*transcript).find(|(first, other)| first != other);
        if let Some((first, other)) = differing {
            bail!("{:?}: {first}\n{adapter:?}: {other}", ADAPTERS[0]);
        }
        if transcript.len() != transcripts[0].len() {
            bail!(
                "{adapter:?} sends {} events, {:?} sends {}",
                transcript.len(),
                ADAPTERS[0],
                transcripts[0].len()
            );
        }
    }
    Ok(servers)
}

/// Removes each step without which a failing script still fails. Unlike proptest, it also removes the steps that were
/// generated along with others. Returns the shorter script and its failure.
async fn shorten(mut script: Vec<Step>, mut why: String) -> (Vec<Step>, String) {
    let mut index = 0;
    while index < script.len() {
        let mut shorter = script.clone();
        shorter.remove(index);
        match play(&shorter).await {
            Ok(_) => index += 1,
            Err(error) => (script, why, index) = (shorter, format!("{error:#}"), 0),
        }
    }
    (script, why)
}

fn report(seed: u64, script: &[Step], why: &str) -> String {
    let mut text = format!("seed {seed}: a script of {} steps\n", script.len());
    for (index, step) in script.iter().enumerate() {
        let _written = writeln!(text, "  {:>2} {step}", index + 1);
    }
    let _written = write!(
        text,
        "{why}\nTo play the script again: CHAT_SEED={seed} cargo test -p chat-tests --test scripts\n"
    );
    text
}
