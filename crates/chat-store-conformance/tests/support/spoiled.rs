use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{
    AppendError, AppendReceipt, CommitSink, Limits, LogBounds, NewMessage, Page, Range, Room, RoomName,
    Search, SearchError, SearchPage, StoredMessage, Unavailable, User,
};
use chat_room_conformance::Store;
use futures_util::FutureExt;
use parking_lot::Mutex;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::kept::Kept;

/// What a store does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    LeavesHoles,
    NumbersRace,
    CountsSeconds,
    ForgetsUsers,
    AnswersEarly,
    TellsTwice,
    TellsOutOfOrder,
    TellsAnother,
    TellsAhead,
    TellsRepeats,
    TellsConflicts,
    DropsUntold,
    HeadForgets,
    FirstLags,
    EpochsChange,
    AfterIncludes,
    BeforeIncludes,
    BeforeReadsOldest,
    ReadsBackwards,
    NeverMore,
    AlwaysMore,
    BytesUnbounded,
    SkipsLong,
    KeysUnknown,
    RepeatsUnmarked,
    ConflictsPass,
    KeysOfEverybody,
    GuestsAreKnown,
    UsersAreNames,
    KeysOfAllRooms,
    KeysFolded,
    KeysRunTogether,
    KeysCut,
    FewKeys,
    BodiesAnew,
    EscapesResolved,
    NamesCut,
    SecondIsDeaf,
    EpochsOfNames,
    LivesAnew,
    RestartForgetsKeys,
    TellsAgain,
    KeepsTooLittle,
    FindsAnyWord,
    FindsFromTheNewest,
    FindsWholeWords,
    QueriesBreakIt,
}

use Defect::*;

/// A sound store with one defect.
pub(crate) struct Spoiled {
    defect: Defect,
    kept: Kept,
    life: u64,
    keys: Arc<Mutex<BTreeMap<String, AppendReceipt>>>,
    opened: Mutex<BTreeSet<RoomName>>,
}

impl Spoiled {
    pub(crate) fn new(defect: Defect) -> Self {
        let (keys, opened) = (Arc::default(), Mutex::default());
        Self { defect, kept: Kept::default(), life: 1, keys, opened }
    }
}

#[async_trait]
impl Store for Spoiled {
    fn room(&self, name: RoomName, limits: Arc<Limits>, outlet: CommitSink) -> Arc<dyn Room> {
        let defect = self.defect;
        let is_first = self.opened.lock().insert(name.clone());
        let mut given = Limits::clone(&limits);
        match defect {
            BytesUnbounded => given.wire.max_batch_bytes = usize::MAX,
            FewKeys => given.rooms.log_keys -= 1,
            KeepsTooLittle => given.rooms.log_messages -= 1,
            _ => {}
        }
        let cut: String = name.as_str().chars().take(20).collect();
        let stored_as = if defect == NamesCut { cut.parse().expect("a name") } else { name.clone() };
        let pending = Arc::default();
        let tells =
            if defect == SecondIsDeaf && !is_first { CommitSink::new(|_| {}) } else { outlet.clone() };
        let log = self.kept.room(stored_as, Arc::new(given), spoil(defect, tells, &pending));
        if defect == TellsAgain {
            let all = log.read(Range::After { seq: 0, limit: usize::MAX }).now_or_never();
            let all = all.expect("a log in memory does not wait").expect("a page");
            all.messages.iter().for_each(|stored| outlet.committed(stored));
        }
        let (life, keys, visible) = (self.life, Arc::clone(&self.keys), AtomicU64::new(0));
        Arc::new(SpoiledRoom { defect, name, limits, log, outlet, pending, life, keys, visible })
    }

    async fn reopen(self: Box<Self>) -> Box<dyn Store> {
        let forgets = matches!(self.defect, EpochsOfNames | LivesAnew);
        let kept = if forgets { Kept::default() } else { self.kept };
        Box::new(Self { kept, life: self.life + 1, opened: Mutex::default(), ..*self })
    }
}

/// What the log tells on its way to the outlet.
fn spoil(defect: Defect, outlet: CommitSink, pending: &Arc<Mutex<Vec<StoredMessage>>>) -> CommitSink {
    let pending = Arc::clone(pending);
    CommitSink::new(move |stored| match defect {
        LeavesHoles => outlet.committed(&renumbered(stored)),
        AnswersEarly => {
            let (outlet, stored) = (outlet.clone(), stored.clone());
            drop(tokio::spawn(async move {
                sleep(Duration::from_millis(1)).await;
                outlet.committed(&stored);
            }));
        }
        TellsTwice if stored.seq % 10 == 7 => {
            outlet.committed(stored);
            outlet.committed(stored);
        }
        TellsOutOfOrder if stored.seq % 10 == 7 => pending.lock().push(stored.clone()),
        TellsOutOfOrder => {
            outlet.committed(stored);
            pending.lock().drain(..).for_each(|held| outlet.committed(&held));
        }
        TellsAnother => outlet.committed(&anew(stored)),
        DropsUntold => pending.lock().push(stored.clone()),
        _ => outlet.committed(stored),
    })
}

struct SpoiledRoom {
    defect: Defect,
    name: RoomName,
    limits: Arc<Limits>,
    log: Arc<dyn Room>,
    outlet: CommitSink,
    /// What has been stored and not been told.
    pending: Arc<Mutex<Vec<StoredMessage>>>,
    life: u64,
    keys: Arc<Mutex<BTreeMap<String, AppendReceipt>>>,
    /// The newest message that can be read.
    visible: AtomicU64,
}

impl SpoiledRoom {
    fn draft(&self, draft: &mut NewMessage) {
        let (id, name) = (draft.user.id().to_owned(), draft.user.name().to_owned());
        let known = |id: &str| User::new(id, &name).expect("a user");
        let key = draft.key.take();
        draft.key = match self.defect {
            KeysUnknown => None,
            KeysFolded => key.map(|key| key.to_lowercase()),
            KeysCut => key.map(|key| key.chars().take(63).collect()),
            KeysRunTogether => key.map(|key| format!("{id}{key}")),
            RestartForgetsKeys => key.map(|key| format!("{key}{}", self.life)),
            _ => key,
        };
        match self.defect {
            ForgetsUsers | KeysOfEverybody | KeysRunTogether => {
                draft.user = User::guest("somebody").expect("a user");
            }
            GuestsAreKnown => draft.user = known(&id),
            UsersAreNames => draft.user = known(&name),
            BodiesAnew => draft.body = json(&value(draft.body.get().as_bytes()).to_string()),
            EscapesResolved => draft.body = json(&draft.body.get().replace("\\u00e9", "é")),
            _ => {}
        }
    }

    fn page(&self, mut page: Page) -> Page {
        match self.defect {
            LeavesHoles => page.messages.iter_mut().for_each(|stored| *stored = renumbered(stored)),
            ReadsBackwards => page.messages.reverse(),
            NeverMore => page.more = false,
            AlwaysMore => page.more = true,
            SkipsLong => {
                page.messages.retain(|stored| stored.frame.len() <= self.limits.wire.max_batch_bytes)
            }
            TellsAhead => page.messages.retain(|stored| stored.seq <= self.visible.load(Ordering::SeqCst)),
            _ => {}
        }
        page
    }
}

#[async_trait]
impl Room for SpoiledRoom {
    async fn append(&self, mut draft: NewMessage) -> Result<AppendReceipt, AppendError> {
        let key = draft.key.clone().unwrap_or_default();
        let body = draft.body.clone();
        if self.defect == KeysOfAllRooms
            && let Some(known) = self.keys.lock().get(&key)
        {
            return Ok(AppendReceipt { duplicate: true, ..*known });
        }
        self.draft(&mut draft);
        let mut answer = self.log.append(draft).await;
        let seq = answer.as_ref().map_or(0, |appended| appended.seq);
        match (self.defect, &mut answer) {
            (LeavesHoles, Ok(appended)) => appended.seq = renumber(appended.seq),
            (NumbersRace, Ok(appended)) => {
                sleep(Duration::from_millis(1)).await;
                appended.seq = self.log.bounds().await.map_or(0, |bounds| bounds.head);
            }
            (CountsSeconds, Ok(appended)) => appended.at /= 1_000,
            (RepeatsUnmarked, Ok(appended)) => appended.duplicate = false,
            (TellsRepeats, Ok(AppendReceipt { duplicate: true, .. })) | (TellsConflicts, Err(_)) => {
                self.outlet
                    .committed(&StoredMessage { seq: seq.max(1), frame: body.get().to_owned().into() });
            }
            (ConflictsPass, Err(AppendError::KeyConflict)) => {
                answer = Ok(AppendReceipt { seq: 1, at: 1, duplicate: true });
            }
            (TellsAhead, Ok(_)) => {
                sleep(Duration::from_millis(1)).await;
                self.visible.fetch_max(seq, Ordering::SeqCst);
            }
            (DropsUntold, Ok(_)) => {
                let pending = std::mem::take(&mut *self.pending.lock());
                yield_now().await;
                pending.iter().for_each(|stored| self.outlet.committed(stored));
            }
            (KeysOfAllRooms, Ok(appended)) if !key.is_empty() => {
                self.keys.lock().insert(key, *appended);
            }
            _ => {}
        }
        answer
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        let range = match (self.defect, range) {
            (AfterIncludes, Range::After { seq, limit }) => {
                Range::After { seq: seq.saturating_sub(1), limit }
            }
            (BeforeIncludes, Range::Before { seq, limit }) => {
                Range::Before { seq: seq.saturating_add(1), limit }
            }
            (BeforeReadsOldest, Range::Before { limit, .. }) => Range::After { seq: 0, limit },
            (_, range) => range,
        };
        let mut page = self.page(self.log.read(range).await?);
        page.epoch = self.bounds().await?.epoch;
        Ok(page)
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        let mut bounds = self.log.bounds().await?;
        match self.defect {
            HeadForgets => bounds.head = bounds.head + 1 - bounds.first,
            FirstLags => bounds.first = bounds.first.min(2),
            EpochsChange => bounds.epoch = format!("{}-{}", bounds.epoch, bounds.head),
            EpochsOfNames => bounds.epoch = self.name.to_string(),
            _ => {}
        }
        Ok(bounds)
    }

    async fn search(&self, mut search: Search) -> Result<SearchPage, SearchError> {
        match self.defect {
            QueriesBreakIt if search.query.contains('"') => {
                return Err(SearchError::Unavailable("syntax error".to_owned()));
            }
            FindsFromTheNewest => search.before = u64::MAX,
            FindsAnyWord => search.query = search.query.split(' ').next().unwrap_or_default().to_owned(),
            _ => {}
        }
        let query = search.query.clone();
        let mut found = self.log.search(search).await?;
        if self.defect == FindsWholeWords {
            let has = |stored: &StoredMessage| {
                value(&stored.frame)["body"]["text"]
                    .as_str()
                    .is_some_and(|text| text.split(|c: char| !c.is_alphanumeric()).any(|word| word == query))
            };
            found.messages.retain(has);
        }
        Ok(found)
    }
}

fn renumber(seq: u64) -> u64 {
    if seq > 3 { seq + 1 } else { seq }
}

fn renumbered(stored: &StoredMessage) -> StoredMessage {
    let mut event = value(&stored.frame);
    event["seq"] = renumber(stored.seq).into();
    StoredMessage { seq: renumber(stored.seq), frame: event.to_string().into() }
}

/// The same message, written by somebody else.
fn anew(stored: &StoredMessage) -> StoredMessage {
    StoredMessage { seq: stored.seq, frame: value(&stored.frame).to_string().into() }
}

fn value(json: &[u8]) -> Value {
    serde_json::from_slice(json).expect("a frame is JSON")
}

fn json(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).expect("JSON")
}
