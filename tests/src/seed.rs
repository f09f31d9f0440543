use std::env;

use anyhow::{Context, Result};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Returns the seeds of a random test: 1, 2 and so on, so that CI does not refuse a change for an old failure. The
/// environment variable named `count` gives their number; it defaults to `default`.
///
/// `CHAT_SEED=random` begins at a random seed. With a number, `CHAT_SEED` is the only seed.
///
/// # Errors
///
/// Fails if `CHAT_SEED` is neither a number nor `random`, or if the other variable is not a number.
pub fn seeds(count: &str, default: u64) -> Result<Vec<u64>> {
    let variable = |name: &str| env::var(name).ok();
    let first = match variable("CHAT_SEED").as_deref() {
        None => 1,
        Some("random") => fastrand::u64(..),
        Some(seed) => return Ok(vec![seed.parse().context("CHAT_SEED is a number, or `random`")?]),
    };
    let number = variable(count).map(|value| value.parse().with_context(|| format!("{count} is a number")));
    let number: u64 = number.transpose()?.unwrap_or(default);
    Ok((0..number).map(|index| first.wrapping_add(index)).collect())
}

/// Returns a test runner that generates and shrinks the same values for the same seed.
pub fn runner(seed: u64) -> TestRunner {
    let config = Config {
        cases: 1,
        failure_persistence: None,
        max_shrink_iters: 10_000,
        max_shrink_time: 120_000,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}
