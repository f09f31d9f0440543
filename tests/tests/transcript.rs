//! One script through every binary by each of its mechanisms: the transcripts are equal.

use anyhow::Result;
use chat_tests::{BINARIES, Daemon, transcript};

#[tokio::test(flavor = "multi_thread")]
async fn one_script_has_one_transcript() -> Result<()> {
    let mut transcripts = Vec::new();
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &[])?;
        transcripts.push((binary, transcript(daemon.address()).await?));
        daemon.sessions(0).await?;
        daemon.stop()?;
    }
    let (_, expected) = &transcripts[0];
    assert!(expected.len() > 60, "the script says too little: {expected:#?}");
    for (binary, transcript) in &transcripts {
        let differing: Vec<_> = expected.iter().zip(transcript).filter(|(a, b)| a != b).collect();
        assert!(
            differing.is_empty() && transcript.len() == expected.len(),
            "{binary:?} differs from {:?}: {differing:#?}",
            BINARIES[0]
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_runs_the_same_twice_on_one_mechanism() -> Result<()> {
    let first = transcript(Daemon::start(BINARIES[0], &[])?.address()).await?;
    let second = transcript(Daemon::start(BINARIES[0], &[])?.address()).await?;
    assert_eq!(first, second);
    Ok(())
}
