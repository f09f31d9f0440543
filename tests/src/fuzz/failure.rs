use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::run::{Figures, Problem, Subject};
use super::{Conversation, Step, corpus, mutate};
use crate::{BINARIES, Binary};

/// Conversations between two checks of the server.
const BATCH: u64 = 200;

/// The time in which the fuzzer looks for the conversations that cause a problem.
const NARROWING: Duration = Duration::from_secs(120);

/// The longest line of a conversation in a report. The file has all of it.
const MAX_COLUMNS: usize = 200;

/// A problem of a server, with the conversations that show it.
#[derive(Debug)]
pub struct Failure {
    binary: Binary,
    lifted: bool,
    seed: u64,
    problem: String,
    conversations: Vec<Conversation>,
    file: PathBuf,
}

/// Returns the runs that fuzz an adapter for a time: each upgrade mode without the limits of one client, then the
/// default limits. Each run has its binary, true if it lifts the limits, and its time.
pub fn plan(adapter: &str, time: Duration) -> Vec<(Binary, bool, Duration)> {
    let binaries: Vec<_> = BINARIES.into_iter().filter(|binary| binary.adapter() == adapter).collect();
    let lifted_time = time.mul_f64(0.75);
    let share = |runs: &[Binary]| lifted_time.div_f64(runs.len() as f64);
    let mut runs: Vec<_> = binaries.iter().map(|binary| (*binary, true, share(&binaries))).collect();
    runs.extend(binaries.last().map(|binary| (*binary, false, time - lifted_time)));
    runs
}

/// Fuzzes a server for this time. The conversations depend only on the seed.
///
/// # Errors
///
/// A [`Failure`], whose conversations are in a file, or an error of the machine.
pub async fn fuzz(binary: Binary, lifted: bool, seed: u64, time: Duration) -> Result<Figures> {
    let seeds = conversations()?;
    let mut played = 0;
    // The first batch has the conversations of the corpus as they are.
    let mut batch = seeds.clone();
    let mut subject = Subject::start(binary, lifted).await?;
    let deadline = Instant::now() + time;
    loop {
        if let Err(problem) = subject.play_all(&batch).await {
            // The server of the failure must not take time from the next one.
            drop(subject);
            let batch = problem.conversation.map_or(batch, |conversation| vec![conversation]);
            let failure = Failure::narrow(binary, lifted, seed, problem.text, batch).await?;
            return Err(failure.into());
        }
        played += batch.len() as u64;
        if Instant::now() >= deadline {
            break;
        }
        let first = played;
        batch = (first..first + BATCH).map(|number| mutate::conversation(&seeds, seed, number)).collect();
    }
    let figures = subject.finish().await;
    let figures =
        figures.with_context(|| format!("at the end of seed {seed}, {binary:?}, lifted {lifted}"))?;
    Ok(Figures { conversations: played, ..figures })
}

/// Plays the conversations of a file.
///
/// # Errors
///
/// The problem that they show.
pub async fn replay(binary: Binary, lifted: bool, file: &Path) -> Result<Figures> {
    let all = Conversation::parse_all(&fs::read_to_string(file)?)?;
    let figures = play(binary, lifted, &all).await.map_err(|problem| anyhow::anyhow!(problem.text))?;
    Ok(Figures { conversations: all.len() as u64, ..figures })
}

/// Returns the conversations of the corpus.
fn conversations() -> Result<Vec<Conversation>> {
    let mut all = Vec::new();
    for (path, file) in corpus("conversations")? {
        all.extend(
            Conversation::parse_all(&String::from_utf8(file)?).with_context(|| path.display().to_string())?,
        );
    }
    Ok(all)
}

async fn play(binary: Binary, lifted: bool, all: &[Conversation]) -> Result<Figures, Problem> {
    let mut subject = Subject::start(binary, lifted).await?;
    subject.play_all(all).await?;
    Ok(subject.finish().await?)
}

/// Removes items as long as the others still fail, and until the deadline.
async fn shrink<T: Clone>(mut items: Vec<T>, deadline: Instant, fails: impl AsyncFn(&[T]) -> bool) -> Vec<T> {
    let mut part = items.len().div_ceil(2);
    while part > 0 && items.len() > 1 {
        let mut start = 0;
        while start < items.len() && items.len() > 1 {
            let end = (start + part).min(items.len());
            let others = [&items[..start], &items[end..]].concat();
            if Instant::now() > deadline {
                return items;
            }
            if fails(&others).await {
                items = others;
            } else {
                start = end;
            }
        }
        part /= 2;
    }
    items
}

impl Failure {
    /// Removes conversations, then steps, as long as the others show a problem, and writes the rest to a file.
    async fn narrow(
        binary: Binary,
        lifted: bool,
        seed: u64,
        problem: String,
        conversations: Vec<Conversation>,
    ) -> Result<Self> {
        let deadline = Instant::now() + NARROWING;
        let fails = async |all: &[Conversation]| play(binary, lifted, all).await.is_err();
        let mut conversations = shrink(conversations, deadline, fails).await;
        if let [Conversation { steps }] = &mut *conversations {
            let fails = async |steps: &[Step]| fails(&[Conversation { steps: steps.to_vec() }]).await;
            *steps = shrink(std::mem::take(steps), deadline, fails).await;
        }
        let folder = std::env::temp_dir().join("chat-fuzz");
        fs::create_dir_all(&folder)?;
        let file = folder.join(format!("{}-{}-{seed}.txt", binary.name, binary.upgrade));
        fs::write(&file, Conversation::write_all(&conversations))?;
        Ok(Self { binary, lifted, seed, problem, conversations, file })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { binary, lifted, seed, problem, conversations, file } = self;
        let (adapter, upgrade, file) = (binary.adapter(), binary.upgrade, file.display());
        let limits = if *lifted { "" } else { " --default-limits" };
        writeln!(f, "{problem}")?;
        writeln!(
            f,
            "  {adapter} by {upgrade}, seed {seed}, {} conversations in {file}",
            conversations.len()
        )?;
        if let [conversation] = &**conversations {
            for step in conversation.to_string().lines() {
                writeln!(f, "  {}", step.chars().take(MAX_COLUMNS).collect::<String>())?;
            }
        }
        write!(f, "  to repeat: just fuzz-replay {file} {adapter} --upgrade {upgrade}{limits}")
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_items_that_fail_together_are_left() {
        let deadline = Instant::now() + NARROWING;
        let items = (0..100).collect::<Vec<_>>();
        let fails = async |items: &[i32]| items.contains(&17) && items.contains(&80);
        assert_eq!(shrink(items.clone(), deadline, fails).await, [17, 80]);
        assert_eq!(shrink(items.clone(), Instant::now(), fails).await.len(), 100);
        assert_eq!(shrink(items.clone(), deadline, async |_: &[i32]| false).await, items);
    }
}
