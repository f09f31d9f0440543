//! Random scripts, played on every adapter: all adapters agree with each other and with a model of the protocol.
//!
//! Each script is generated from a seed. A failure prints the seed and a shorter script that still fails.
//! `CHAT_SEED=<seed> cargo test -p chat-tests --test scripts` plays the script again. `CHAT_SCRIPTS=<count>` sets the
//! number of scripts.

use anyhow::{Result, bail};
use chat_tests::{ADAPTERS, ScriptServer, Step, run_scripts};
use futures_util::future::join_all;

/// The default number of scripts.
const SCRIPTS: u64 = 150;

#[test]
fn every_adapter_plays_random_scripts_as_the_model_predicts() -> Result<()> {
    run_scripts(SCRIPTS, "scripts", &async |script: &[Step], _| play(script).await)
}

/// Plays a script on every adapter at the same time. Returns the servers.
async fn play(script: &[Step]) -> Result<Vec<ScriptServer>> {
    let mut servers = Vec::new();
    for adapter in ADAPTERS {
        servers.push(ScriptServer::start(adapter).await?);
    }
    let played = join_all(servers.iter_mut().map(|server| server.play(script))).await;
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
