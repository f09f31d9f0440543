//! All cases, a file for each group.

mod bodies;
mod bounds;
mod keys;
mod lives;
mod numbers;
mod outlet;
mod pages;
mod resume;
mod retention;
mod rooms;
mod search;

use std::collections::BTreeMap;
use std::time::Duration;

use chat_core::{Range, StoredMessage};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep};

use crate::case::Group;
use crate::shown::{Part, Shown, number};
use crate::stage::{Opened, ann, body, guest};
use crate::{Case, Failure, Verdict};

/// How long a store may take over what it does in its own time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Every case, in the order of the groups.
pub fn cases() -> Vec<Case> {
    let groups = [
        numbers::group(),
        outlet::group(),
        bounds::group(),
        pages::group(),
        keys::group(),
        bodies::group(),
        rooms::group(),
        resume::group(),
        lives::group(),
        retention::group(),
        search::group(),
    ];
    groups.into_iter().flat_map(Group::into_cases).collect()
}

/// Fails unless `holds`.
fn check(holds: bool, expected: impl std::fmt::Display, came: impl Shown) -> Verdict {
    if holds { Ok(()) } else { Err(Failure::new(expected, came.shown())) }
}

/// Fails unless both are the same.
fn same<T: PartialEq + Shown>(came: &T, expected: &T) -> Verdict {
    check(came == expected, expected.shown(), came)
}

/// The `seq`s of messages.
fn seqs(messages: &[StoredMessage]) -> Vec<u64> {
    messages.iter().map(|stored| stored.seq).collect()
}

/// The event that a message is.
fn event(stored: &StoredMessage) -> Result<Value, Failure> {
    serde_json::from_slice(&stored.frame)
        .map_err(|error| Failure::new("a frame that is JSON", format!("{error}: {:?}", stored.frame)))
}

/// The bytes of a message's body, as it is delivered.
fn body_of(stored: &StoredMessage) -> Result<String, Failure> {
    let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(&stored.frame)
        .map_err(|error| Failure::new("a frame that is a JSON object", error))?;
    Ok(fields.get("body").map(|body| body.get().to_owned()).unwrap_or_default())
}

/// The page that a range asks for is this: whole, in order, in its bounds, and right about `more`. `log` is all
/// that can be read, oldest first.
async fn check_page(
    room: &Opened,
    log: &[StoredMessage],
    range: Range,
    max_batch: usize,
) -> Result<usize, Failure> {
    let page = room.read(range).await?;
    let (limit, wanted): (usize, Vec<&StoredMessage>) = match range {
        Range::Before { seq, limit } => (limit, log.iter().rev().filter(|stored| stored.seq < seq).collect()),
        Range::After { seq, limit } => (limit, log.iter().filter(|stored| stored.seq > seq).collect()),
    };
    let mut got: Vec<&StoredMessage> = page.messages.iter().collect();
    if matches!(range, Range::Before { .. }) {
        got.reverse();
    }
    let shown = || Part(seqs(&page.messages), page.more).shown();
    let expect = |holds: bool, expected: &str| {
        let order: Vec<u64> = wanted.iter().map(|stored| stored.seq).take(limit.max(1)).collect();
        let expected =
            format!("for {} the first of {}, oldest first, {expected}", asked(range), order.shown());
        if holds { Ok(()) } else { Err(Failure::new(expected, shown())) }
    };
    expect(
        got.len() <= wanted.len() && got.iter().zip(&wanted).all(|(got, wanted)| got == wanted),
        "as stored",
    )?;
    expect(got.len() <= limit.max(1), "no more than the limit")?;
    expect(limit == 0 || wanted.is_empty() || !got.is_empty(), "and not none of them")?;
    let bytes: usize = got.iter().map(|stored| stored.frame.len()).sum();
    expect(got.len() <= 1 || bytes <= max_batch, "no more bytes than a batch has")?;
    expect(page.more == (got.len() < wanted.len()), "and `more` where there is more")?;
    Ok(got.len())
}

/// What was asked for, in words.
fn asked(range: Range) -> String {
    match range {
        Range::Before { seq, limit } => format!("the {} before {}", number(limit as u64), number(seq)),
        Range::After { seq, limit } => format!("the {} after {}", number(limit as u64), number(seq)),
    }
}

/// Waits until this holds; the store does it in its own time, and tells nobody.
async fn eventually<F: Future<Output = Result<bool, Failure>>>(
    what: &str,
    mut holds: impl FnMut() -> F,
) -> Verdict {
    let until = Instant::now() + PATIENCE;
    while !holds().await? {
        if Instant::now() > until {
            return Err(Failure::new(what, format!("nothing of the kind within {PATIENCE:?}")));
        }
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Runs this for each number in a task of its own, all at once.
async fn at_once<F>(count: usize, run: impl Fn(usize) -> F) -> Verdict
where
    F: Future<Output = Verdict> + Send + 'static,
{
    let tasks: Vec<_> = (0..count).map(|number| tokio::spawn(run(number))).collect();
    for task in tasks {
        task.await.map_err(|panic| Failure::new("a task that ends", panic))??;
    }
    Ok(())
}
