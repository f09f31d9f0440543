//! Valid and invalid HTTP requests to every binary: all of them give the same response.

use anyhow::Result;
use chat_tests::{BINARIES, Daemon, http_responses};

#[tokio::test(flavor = "multi_thread")]
async fn all_binaries_give_the_same_response_to_a_request() -> Result<()> {
    let mut responses = Vec::new();
    for binary in BINARIES {
        let daemon = Daemon::start(binary, &[])?;
        responses.push((binary, http_responses(daemon.address()).await?));
        daemon.sessions(0).await?;
        daemon.stop()?;
    }
    let (_, expected) = &responses[0];
    for (binary, responses) in &responses {
        let differing: Vec<_> = expected.iter().zip(responses).filter(|(a, b)| a != b).collect();
        assert!(differing.is_empty(), "{binary:?} differs from {:?}: {differing:#?}", BINARIES[0]);
    }
    Ok(())
}
