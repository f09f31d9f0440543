//! Random scripts, played on every adapter and against a model of the protocol: all agree.
//!
//! Each script grows from a seed of its own. A failure prints the seed, and the shortest script that still fails;
//! `CHAT_SEED=<seed> cargo test -p chat-tests --test scripts` plays it again, and `CHAT_SCRIPTS=<count>` plays more
//! scripts than are played by default.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, bail};
use chat_tests::{ADAPTERS, Stage, Step, runner, script, seeds};
use futures_util::future::join_all;
use proptest::test_runner::{TestCaseError, TestError};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Scripts that are played by default.
const SCRIPTS: u64 = 150;

#[test]
fn any_script_is_played_by_every_adapter_as_the_model_says() -> Result<()> {
    let runtime = Runtime::new()?;
    let played = Mutex::new(JoinSet::new());
    let seeds = seeds("CHAT_SCRIPTS", SCRIPTS)?;
    let steps = AtomicUsize::new(0);
    for &seed in &seeds {
        let result = runner(seed).run(&script(), |script| {
            let stages =
                runtime.block_on(play(&script)).map_err(|why| TestCaseError::fail(format!("{why:#}")))?;
            steps.store(script.len(), Ordering::Relaxed);
            let _guard = runtime.enter();
            let mut played = played.lock().unwrap();
            stages.into_iter().for_each(|stage| drop(played.spawn(stage.clear())));
            Ok(())
        });
        match result {
            Ok(()) => {}
            Err(TestError::Fail(why, script)) => {
                let (script, why) = runtime.block_on(shorten(script, why.message().to_owned()));
                panic!("{}", told(seed, &script, &why));
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

/// Plays a script on every adapter at once; the stages that it was played on.
async fn play(script: &[Step]) -> Result<Vec<Stage>> {
    let mut stages = Vec::new();
    for adapter in ADAPTERS {
        stages.push(Stage::set(adapter).await?);
    }
    let played = join_all(stages.iter().map(|stage| stage.play(script))).await;
    let failures: Vec<_> = played.iter().filter_map(|played| played.as_ref().err()).collect();
    if let Some(first) = failures.first() {
        bail!("{first}\n{} of {} adapters fail", failures.len(), stages.len());
    }
    let transcripts: Vec<_> = played.iter().flatten().collect();
    for (adapter, transcript) in ADAPTERS.iter().zip(&transcripts) {
        let differing = transcripts[0].iter().zip(*transcript).find(|(first, other)| first != other);
        if let Some((first, other)) = differing {
            bail!("{:?}: {first}\n{adapter:?}: {other}", ADAPTERS[0]);
        }
        if transcript.len() != transcripts[0].len() {
            bail!(
                "{adapter:?} has told of {} events, {:?} of {}",
                transcript.len(),
                ADAPTERS[0],
                transcripts[0].len()
            );
        }
    }
    Ok(stages)
}

/// Leaves out of a script that fails, one by one, the steps without which it still does: those too that proptest does
/// not see, since they came with others. How it fails then.
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

fn told(seed: u64, script: &[Step], why: &str) -> String {
    let mut text = format!("seed {seed}: a script of {} steps\n", script.len());
    for (index, step) in script.iter().enumerate() {
        let _written = writeln!(text, "  {:>2} {step}", index + 1);
    }
    let _written =
        write!(text, "{why}\nTo play it again: CHAT_SEED={seed} cargo test -p chat-tests --test scripts\n");
    text
}
