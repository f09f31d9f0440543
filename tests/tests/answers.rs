//! HTTP requests, good and bad, to every binary by each of its mechanisms: the answers are equal.

use anyhow::Result;
use chat_tests::{BINARIES, Daemon, answers};

#[tokio::test(flavor = "multi_thread")]
async fn one_request_has_one_answer() -> Result<()> {
    let mut answered = Vec::new();
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &[])?;
        answered.push((binary, answers(daemon.address()).await?));
        daemon.sessions(0).await?;
        daemon.stop()?;
    }
    let (_, expected) = &answered[0];
    for (binary, answers) in &answered {
        let differing: Vec<_> = expected.iter().zip(answers).filter(|(a, b)| a != b).collect();
        assert!(differing.is_empty(), "{binary:?} differs from {:?}: {differing:#?}", BINARIES[0]);
    }
    Ok(())
}
