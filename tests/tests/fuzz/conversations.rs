use std::env;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use chat_tests::fuzz::{fuzz, plan};
use chat_tests::{Binary, seeds};
use tokio::runtime::Runtime;

/// The adapters are fuzzed at the same time. `CHAT_FUZZ_SECONDS` sets the time for each seed.
#[test]
fn mutated_conversations_harm_no_server() -> Result<()> {
    let time = env::var("CHAT_FUZZ_SECONDS").ok().map_or(Ok(30), |value| value.parse());
    let time = Duration::from_secs(time?);
    seeds("CHAT_FUZZ_SEEDS", 1)?.into_iter().try_for_each(|seed| fuzz_adapters(seed, time))
}

fn fuzz_adapters(seed: u64, time: Duration) -> Result<()> {
    let adapters: Vec<_> = Binary::one_per_adapter().map(|binary| binary.adapter()).collect();
    let failures: Vec<_> = thread::scope(|scope| {
        let threads = adapters.iter().map(|adapter| scope.spawn(|| fuzz_adapter(adapter, seed, time)));
        let threads: Vec<_> = threads.collect();
        threads.into_iter().filter_map(|thread| thread.join().expect("no panic").err()).collect()
    });
    let failures: Vec<_> = failures.iter().map(|failure| format!("{failure:#}")).collect();
    ensure!(failures.is_empty(), "CHAT_SEED={seed}\n{}", failures.join("\n"));
    Ok(())
}

fn fuzz_adapter(adapter: &str, seed: u64, time: Duration) -> Result<()> {
    let runtime = Runtime::new()?;
    for (binary, lifted, time) in plan(adapter, time) {
        let figures = runtime.block_on(fuzz(binary, lifted, seed, time)).context(adapter.to_owned())?;
        ensure!(figures.conversations > 0 && figures.canary_messages > 0, "{figures:?}");
    }
    Ok(())
}
