use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::{Result, anyhow, bail};
use fastrand::Rng;

use super::{corpus, mutate_bytes};
use crate::seeds;

/// Mutations of one input before another one is taken from the corpus.
const GENERATIONS: usize = 8;

/// Calls a check with the inputs of a corpus, then with this many mutations of them for each seed. `CHAT_INPUTS` sets
/// another number.
///
/// # Errors
///
/// The first input for which the check fails or panics. It is written to a file.
pub fn check_inputs(name: &str, count: usize, check: impl Fn(&[u8]) -> Result<()>) -> Result<()> {
    let check = |input: &[u8], origin: &str| {
        let checked = catch_unwind(AssertUnwindSafe(|| check(input)));
        let Err(problem) = checked.unwrap_or_else(|_| Err(anyhow!("it panics"))) else { return Ok(()) };
        let folder = std::env::temp_dir().join("chat-fuzz");
        fs::create_dir_all(&folder)?;
        let file = folder.join(name);
        fs::write(&file, input)?;
        let file = file.display();
        bail!(
            "{name}: {problem:#}\n  input: {}\n  from {origin}\n  to repeat: copy {file} to tests/corpus/{name}",
            input.escape_ascii()
        )
    };
    let inputs = corpus(name)?;
    for (path, input) in &inputs {
        check(input, &path.display().to_string())?;
    }
    let count = std::env::var("CHAT_INPUTS").ok().map_or(Ok(count), |count| count.parse())?;
    for seed in seeds("CHAT_FUZZ_SEEDS", 1)? {
        let mut rng = Rng::with_seed(seed);
        let mut input = Vec::new();
        for number in 0..count {
            if number % GENERATIONS == 0 {
                input.clone_from(&inputs[rng.usize(..inputs.len())].1);
            }
            let other = rng.usize(..inputs.len());
            mutate_bytes(&mut rng, &mut input, &inputs[other].1);
            check(&input, &format!("CHAT_SEED={seed}"))?;
        }
    }
    Ok(())
}
