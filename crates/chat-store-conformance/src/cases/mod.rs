//! All cases, a file for each group.

mod bodies;
mod bounds;
mod changes;
mod commits;
mod direct;
mod health;
mod keys;
mod lives;
mod markers;
mod members;
mod nodes;
mod numbers;
mod pages;
mod pins;
mod purges;
mod renewal;
mod resume;
mod retention;
mod rooms;
mod rules;
mod search;
mod search_pages;
mod threads;

use std::collections::BTreeMap;
use std::fmt::Debug;

use chat_core::{Range, StoredMessage};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::time::{Duration, Instant, sleep};

use crate::stage::{ann, body, guest};
use crate::{Capability, Case, Failure, OpenRoom, TIME_LIMIT, Verdict};

/// Returns all cases, in the order of the groups.
pub fn cases() -> Vec<Case> {
    let groups = [
        ("numbers", "chat_core::Room, Numbers", numbers::cases()),
        ("commits", "chat_core::Room, Commits", commits::cases()),
        ("bounds", "chat_core::Room, Bounds", bounds::cases()),
        ("pages", "chat_core::Room, Pages", pages::cases()),
        ("keys", "chat_core::Room, Keys", keys::cases()),
        ("bodies", "chat_core::Room, Bodies", bodies::cases()),
        ("changes", "chat_core::Room, Changes", changes::cases()),
        ("rules", "chat_core::Room, Rules", rules::cases()),
        ("purges", "chat_core::Room, Purges", purges::cases()),
        ("direct", "chat_core::Room, Direct rooms", needing(Capability::Rules, direct::cases())),
        ("pins", "chat_core::Room, Pins", needing(Capability::Changes, pins::cases())),
        ("threads", "chat_core::Room, Threads", threads::cases()),
        ("markers", "chat_core::Room, Markers", markers::cases()),
        ("rooms", "chat_core::Room, Openings", rooms::cases()),
        ("resume", "chat_core::Room, Pages", resume::cases()),
        ("lives", "chat_core::Room, Lives", lives::cases()),
        ("retention", "chat_core::Room, Retention", needing(Capability::Retention, retention::cases())),
        ("search", "chat_core::Room, Search", search::cases()),
        ("search", "chat_core::Room, Search", needing(Capability::Search, search_pages::cases())),
        ("members", "chat_core::Room, Commits", members::cases()),
        ("nodes", "chat_core::Room, Openings", needing(Capability::MultipleNodes, nodes::cases())),
        ("renewal", "chat_core::Room, Lives", needing(Capability::Renewal, renewal::cases())),
        ("health", "chat_core::Store, health", health::cases()),
    ];
    let in_group = |(group, source, cases): (_, _, Vec<Case>)| {
        cases.into_iter().map(move |case| {
            let mut case = case.in_group(group);
            if case.source.is_empty() {
                case.source = source;
            }
            case
        })
    };
    groups.into_iter().flat_map(in_group).collect()
}

/// The cases of a group that all need this capability.
fn needing(capability: Capability, mut cases: Vec<Case>) -> Vec<Case> {
    cases.iter_mut().for_each(|case| case.conditions.needs.push(capability));
    cases
}

/// Fails unless `holds`.
fn check(holds: bool, expected: impl std::fmt::Display, came: impl Debug) -> Verdict {
    if holds { Ok(()) } else { Err(Failure::new(expected, format!("{came:?}"))) }
}

/// Fails unless both are equal.
pub(crate) fn same<T: PartialEq + Debug>(came: &T, expected: &T) -> Verdict {
    check(came == expected, format!("{expected:?}"), came)
}

/// The `seq`s of entries.
fn seqs(messages: &[StoredMessage]) -> Vec<u64> {
    messages.iter().map(|stored| stored.seq).collect()
}

/// The event of an entry.
fn event(stored: &StoredMessage) -> Result<Value, Failure> {
    serde_json::from_slice(&stored.frame)
        .map_err(|error| Failure::new("a frame that is JSON", format!("{error}: {:?}", stored.frame)))
}

/// The bytes of an entry's body.
fn body_of(stored: &StoredMessage) -> Result<String, Failure> {
    let fields: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(&stored.frame)
        .map_err(|error| Failure::new("a frame that is a JSON object", error))?;
    Ok(fields.get("body").map(|body| body.get().to_owned()).unwrap_or_default())
}

/// Checks one page: complete, in order, within its limits, and with the correct `more`. `log` is all that can be
/// read, oldest first. Returns the number of entries.
async fn check_page(
    room: &OpenRoom,
    log: &[StoredMessage],
    range: Range,
    max_batch: usize,
) -> Result<usize, Failure> {
    let page = room.read(range).await?;
    let (limit, wanted): (usize, Vec<&StoredMessage>) = match range {
        Range::Newest { limit } => (limit, log.iter().rev().collect()),
        Range::Before { seq, limit } => (limit, log.iter().rev().filter(|stored| stored.seq < seq).collect()),
        Range::After { seq, limit } => (limit, log.iter().filter(|stored| stored.seq > seq).collect()),
        range => return Err(Failure::new("a range that the suite knows", format!("{range:?}"))),
    };
    let mut got: Vec<&StoredMessage> = page.messages.iter().collect();
    if !matches!(range, Range::After { .. }) {
        got.reverse();
    }
    let expect = |holds: bool, rule: &str| {
        let order: Vec<u64> = wanted.iter().map(|stored| stored.seq).take(limit.max(1)).collect();
        let expected = format!("for {range:?} the first of {order:?}, oldest first, {rule}");
        check(holds, expected, (seqs(&page.messages), page.more))
    };
    expect(
        got.len() <= wanted.len() && got.iter().zip(&wanted).all(|(got, wanted)| got == wanted),
        "as stored",
    )?;
    expect(got.len() <= limit.max(1), "not more than the limit")?;
    expect(limit == 0 || wanted.is_empty() || !got.is_empty(), "at least one of them")?;
    let bytes: usize = got.iter().map(|stored| stored.frame.len()).sum();
    expect(got.len() <= 1 || bytes <= max_batch, "not more bytes than a batch")?;
    expect(page.more == (got.len() < wanted.len()), "and `more` if there are more")?;
    Ok(got.len())
}

/// Polls until this holds. It is for changes that a store makes in its own time and does not report.
pub(crate) async fn eventually<F: Future<Output = Result<bool, Failure>>>(
    what: &str,
    mut holds: impl FnMut() -> F,
) -> Verdict {
    let until = Instant::now() + TIME_LIMIT;
    while !holds().await? {
        check(Instant::now() < until, what, format!("not within {TIME_LIMIT:?}"))?;
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Runs this for each number in a task of its own, concurrently. Each task gets a clone of what they share.
async fn concurrently<T, F>(count: usize, shared: T, run: impl Fn(T, usize) -> F) -> Verdict
where
    T: Clone,
    F: Future<Output = Verdict> + Send + 'static,
{
    let tasks: Vec<_> = (0..count).map(|number| tokio::spawn(run(shared.clone(), number))).collect();
    for task in tasks {
        task.await.map_err(|panic| Failure::new("a task that ends", panic))??;
    }
    Ok(())
}
