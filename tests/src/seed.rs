use std::collections::hash_map::RandomState;
use std::env;
use std::hash::{BuildHasher, Hasher};

use anyhow::{Context, Result};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Returns the seed in `CHAT_SEED` or, if that is not set, random seeds. The environment variable named `count` gives
/// their number; it defaults to `default`.
///
/// # Errors
///
/// Fails if a variable is not a number.
pub fn seeds(count: &str, default: u64) -> Result<Vec<u64>> {
    let number = |name: &str| {
        let value = env::var(name).ok();
        value.map(|value| value.parse().with_context(|| format!("{name} is a number"))).transpose()
    };
    if let Some(seed) = number("CHAT_SEED")? {
        return Ok(vec![seed]);
    }
    let count = number(count)?.unwrap_or(default);
    let first = RandomState::new().build_hasher().finish();
    Ok((0..count).map(|index| first.wrapping_add(index)).collect())
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
