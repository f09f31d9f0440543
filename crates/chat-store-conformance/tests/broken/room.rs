//! The defects of a room.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chat_core::{
    Act, AppendError, AppendReceipt, Change, ChangeError, ChangeReceipt, CommitSink, Limits, LogBounds,
    Marked, MarkerError, NewAct, NewChange, NewMessage, Page, Range, Role, Room, RoomName, RoomRules, Search,
    SearchError, SearchPage, Standing, StoredMessage, ThreadError, Unavailable, Unread, User, UserKey,
};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::task::yield_now;
use tokio::time::sleep;

use crate::defects::Defect::{self, *};
use crate::sink::Pending;
use crate::spoiled::Shared;
use crate::threads;

/// A room of a sound store with one defect.
pub(crate) struct SpoiledRoom {
    pub(crate) defect: Defect,
    pub(crate) node: usize,
    pub(crate) name: RoomName,
    pub(crate) limits: Arc<Limits>,
    pub(crate) log: Arc<dyn Room>,
    pub(crate) sink: CommitSink,
    pub(crate) pending: Pending,
    pub(crate) shared: Arc<Shared>,
    /// The newest entry that can be read.
    pub(crate) visible: AtomicU64,
    /// The number of calls of `bounds`.
    pub(crate) calls: AtomicU64,
}

impl SpoiledRoom {
    fn spoil(&self, message: &mut NewMessage) {
        let (id, name) = (message.user.id().to_owned(), message.user.name().to_owned());
        let known = |id: &str| User::new(id, &name).expect("a user");
        let key = message.key.take();
        message.key = match self.defect {
            KeysUnknown => None,
            KeysFolded => key.map(|key| key.to_lowercase()),
            KeysCut => key.map(|key| key.chars().take(63).collect()),
            KeysJoined => key.map(|key| format!("{id}{key}")),
            RestartLosesKeys => key.map(|key| format!("{key}{}", self.shared.life)),
            KeysOfOneNode => key.map(|key| format!("{key}{}", self.node)),
            _ => key,
        };
        match self.defect {
            NoUser | KeysOfAllUsers | KeysJoined => {
                message.user = User::guest("one").expect("a user");
            }
            GuestsAreKnown => message.user = known(&id),
            UsersAreNames => message.user = known(&name),
            BodiesRewritten => message.body = json(&value(message.body.get().as_bytes()).to_string()),
            OneConnection => message.connection = Some(1),
            LetsMutedWrite if id == "Bob" => message.user = User::new("Rob", "Bob").expect("a user"),
            GuestsHaveRoles => message.user = known(&id),
            PurgesNoGuests if message.user.is_guest() => message.user = User::guest("Ave").expect("a user"),
            DirectForAll if id == "Zoe" => message.user = known("Ann"),
            IgnoresGrants => message.role = Role::None,
            RestartLosesRules if self.shared.life > 1 => message.role = Role::Owner,
            EscapesResolved => message.body = json(&message.body.get().replace("\\u00e9", "é")),
            _ => {}
        }
    }

    fn page(&self, mut page: Page) -> Page {
        match self.defect {
            LeavesHoles => page.messages.iter_mut().for_each(|stored| *stored = renumbered(stored)),
            TimesDecrease => page.messages.iter_mut().for_each(|stored| *stored = earlier(stored)),
            NewestFirst => page.messages.reverse(),
            NeverMore => page.more = false,
            HidesActs => page.messages.retain(|stored| value(&stored.frame)["type"] == "message"),
            HidesChanges => page.messages.retain(|stored| value(&stored.frame)["type"] == "message"),
            KeepsPins => page.messages.iter_mut().for_each(|stored| *stored = unpinned(stored)),
            RestartLosesPins if self.shared.life > 1 => {
                page.messages.iter_mut().for_each(|stored| *stored = unpinned(stored));
            }
            KeepsReplaced => page.messages.iter_mut().for_each(|stored| *stored = unreplaced(stored)),
            AlwaysMore => page.more = true,
            SkipsLong => {
                page.messages.retain(|stored| stored.frame.len() <= self.limits.wire.max_batch_bytes);
            }
            _ => threads::spoil_page(self.defect, self.shared.life, &mut page),
        }
        self.spoil_purged(&mut page);
        if self.defect == ReportsEarly {
            page.messages.retain(|stored| stored.seq <= self.visible.load(Ordering::SeqCst));
        }
        page
    }
}

#[async_trait]
impl Room for SpoiledRoom {
    async fn append(&self, mut message: NewMessage) -> Result<AppendReceipt, AppendError> {
        let key = message.key.clone().unwrap_or_default();
        let body = message.body.clone();
        if matches!(self.defect, KeysOfAllRooms | RenewalKeepsKeys)
            && let Some(known) = self.shared.keys.lock().get(&key)
        {
            return Ok(known.clone().repeated());
        }
        if self.defect == OrderLost && self.calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) {
            yield_now().await;
        }
        self.spoil(&mut message);
        threads::spoil_message(self.defect, &mut message)?;
        let mut answer = self.log.append(message).await;
        let seq = answer.as_ref().map_or(0, |appended| appended.seq);
        let epoch = self.log.bounds().await?.epoch;
        if let Ok(appended) = &mut answer {
            match self.defect {
                ReceiptsNoEpoch => appended.epoch.clear(),
                EpochIsName => appended.epoch = self.name.to_string(),
                _ => {}
            }
        }
        match (self.defect, &mut answer) {
            (LeavesHoles, Ok(appended)) => appended.seq = renumber(appended.seq),
            (AnswersOthersSeq, Ok(appended)) => {
                sleep(Duration::from_millis(1)).await;
                appended.seq = self.log.bounds().await.map_or(0, |bounds| bounds.head);
            }
            (TimesInSeconds, Ok(appended)) => appended.at /= 1_000,
            (RepeatsUnmarked, Ok(appended)) => appended.duplicate = false,
            (ReportsRepeats, Ok(AppendReceipt { duplicate: true, .. })) | (ReportsConflicts, Err(_)) => {
                self.sink.publish(&epoch, &StoredMessage::new(seq.max(1), body.get().to_owned()));
            }
            (ConflictsAccepted, Err(AppendError::KeyConflict)) => {
                answer = Ok(AppendReceipt::new(epoch, 1, 1).repeated());
            }
            (ReportsEarly, Ok(_)) => {
                sleep(Duration::from_millis(1)).await;
                self.visible.fetch_max(seq, Ordering::SeqCst);
            }
            (ReportsLostWhenDropped, Ok(_)) => {
                let pending = std::mem::take(&mut *self.pending.lock());
                yield_now().await;
                pending.iter().for_each(|stored| self.sink.publish(&epoch, stored));
            }
            (KeysOfAllRooms | RenewalKeepsKeys, Ok(appended)) if !key.is_empty() => {
                self.shared.keys.lock().insert(key, appended.clone());
            }
            _ => {}
        }
        answer
    }

    async fn change(&self, mut change: NewChange) -> Result<ChangeReceipt, ChangeError> {
        match (self.defect, &mut change.change) {
            (SomeChanges, Change::Pin { .. }) => return Err(ChangeError::Unsupported),
            (IgnoresRev, _) => change.rev = None,
            (NoEditKeys, _) => change.key = None,
            (AllModerate, _) => change.role = Role::Owner,
            (OneConnection, _) => change.connection = Some(1),
            (CountsReactions, Change::React { reaction, .. }) => {
                let calls = self.calls.fetch_add(1, Ordering::SeqCst);
                reaction.push_str(&calls.to_string());
            }
            (KeepsMentions, _) => change.mentions = None,
            (KeepsDeleted, Change::Delete { .. }) => {
                let head = self.log.bounds().await?.head;
                return Ok(ChangeReceipt::new(self.log.bounds().await?.epoch, head + 1));
            }
            _ => {}
        }
        self.log.change(change).await
    }

    async fn govern(&self, mut act: NewAct) -> Result<ChangeReceipt, ChangeError> {
        match (self.defect, &mut act.act) {
            (RestrictsForever | CountsEnded, Act::Restrict { restriction: Some(restriction), .. }) => {
                restriction.until = None;
            }
            (SomeActs, Act::Restrict { .. }) => return Err(ChangeError::Unsupported),
            (IgnoresGrants, _) => act.role = Role::None,
            (AllGovern, _) => act.is_host = true,
            (DirectChanges, Act::Role { .. }) => {
                return Ok(ChangeReceipt::new(self.log.bounds().await?.epoch, 2));
            }
            _ => {}
        }
        let mut answer = self.log.govern(act).await;
        if let (OpensDirectTwice, Ok(receipt)) = (self.defect, &mut answer) {
            receipt.seq = receipt.seq.or(Some(2));
        }
        answer
    }

    async fn purge(&self, act: NewAct) -> Result<ChangeReceipt, ChangeError> {
        self.spoiled_purge(act).await
    }

    async fn standing(&self, user: &UserKey) -> Result<(RoomRules, Standing), Unavailable> {
        let is_lost = match self.defect {
            RestartLosesRules => self.shared.life > 1,
            RetentionLosesRules => self.log.bounds().await?.first > 2,
            RulesOfOneNode => self.node == 1,
            _ => false,
        };
        if is_lost { Ok(Default::default()) } else { self.log.standing(user).await }
    }

    async fn messages(&self, seqs: &[u64], max_bytes: usize) -> Result<Page, Unavailable> {
        let mut page = self.log.messages(seqs, max_bytes).await?;
        if self.defect == SelectsUnsorted {
            page.messages.reverse();
        }
        Ok(page)
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        let range = match (self.defect, range) {
            (AfterInclusive, Range::After { seq, limit }) => {
                Range::After { seq: seq.saturating_sub(1), limit }
            }
            (BeforeInclusive, Range::Before { seq, limit }) => {
                Range::Before { seq: seq.saturating_add(1), limit }
            }
            (FindsNoActs, Range::Acts { .. }) => Range::acts(u64::MAX, 1),
            (BeforeOldest, Range::Newest { limit } | Range::Before { limit, .. }) => {
                Range::After { seq: 0, limit }
            }
            (_, range) => range,
        };
        let mut page = self.page(self.log.read(range).await?);
        let bounds = self.bounds().await?;
        if self.defect == ChangesRemove {
            let kept = self.limits.rooms.log_messages as u64;
            page.messages.retain(|stored| stored.seq + kept > bounds.head);
        }
        page.epoch = bounds.epoch;
        Ok(page)
    }

    async fn thread(&self, root: u64, range: Range) -> Result<Page, ThreadError> {
        threads::thread(self, root, range).await
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        let mut bounds = self.log.bounds().await?;
        match self.defect {
            NamesNoPins => bounds.pins.clear(),
            RestartForgetsPins if self.shared.life > 1 => bounds.pins.clear(),
            HeadGoesBack if self.calls.fetch_add(1, Ordering::SeqCst) % 3 == 2 => {
                bounds.head = bounds.head.saturating_sub(1);
            }
            OtherNodeBoundsLag if self.node == 1 => bounds.head -= bounds.head % 10,
            DeniesRules => bounds.has_rules = false,
            HeadIsCount => bounds.head = bounds.head + 1 - bounds.first,
            FirstStays => bounds.first = bounds.first.min(2),
            EpochPerAppend => bounds.epoch = format!("{}-{}", bounds.epoch, bounds.head),
            EpochIsName => bounds.epoch = self.name.to_string(),
            _ => {}
        }
        Ok(bounds)
    }

    fn known_bounds(&self) -> Option<LogBounds> {
        (self.defect == KnownBoundsStay).then(|| LogBounds::new(self.name.to_string(), 0))
    }

    async fn mark(&self, user: &UserKey, seq: u64) -> Result<Marked, MarkerError> {
        self.spoiled_mark(user, seq).await
    }

    async fn unread(&self, user: &UserKey, up_to: u64) -> Result<Unread, MarkerError> {
        self.spoiled_unread(user, up_to).await
    }

    async fn search(&self, mut search: Search) -> Result<SearchPage, SearchError> {
        match self.defect {
            QuotesBreakSearch if search.query.contains('"') => {
                return Err(Unavailable::new("syntax error").into());
            }
            SearchIgnoresBefore => search.before = None,
            MatchesOneWord => search.query = search.query.split(' ').next().unwrap_or_default().to_owned(),
            _ => {}
        }
        let query = search.query.clone();
        let mut found = self.log.search(search).await?;
        if self.defect == FindsOldForm {
            found.messages.iter_mut().for_each(|stored| *stored = rewritten(stored));
        }
        if self.defect == MatchesWholeWords {
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

pub(crate) fn renumbered(stored: &StoredMessage) -> StoredMessage {
    let mut event = value(&stored.frame);
    event["seq"] = renumber(stored.seq).into();
    StoredMessage::new(renumber(stored.seq), event.to_string())
}

/// Returns the entry with a time that decreases from one entry to the next but one.
pub(crate) fn earlier(stored: &StoredMessage) -> StoredMessage {
    let mut event = value(&stored.frame);
    event["at"] = (event["at"].as_u64().unwrap_or_default() - stored.seq % 3 * 1_000).into();
    StoredMessage::new(stored.seq, event.to_string())
}

/// Returns the same entry with another spelling.
pub(crate) fn rewritten(stored: &StoredMessage) -> StoredMessage {
    StoredMessage::new(stored.seq, value(&stored.frame).to_string())
}

fn unpinned(stored: &StoredMessage) -> StoredMessage {
    let text = String::from_utf8_lossy(&stored.frame).replace(r#","pinned":true"#, "");
    StoredMessage::new(stored.seq, text)
}

fn unreplaced(stored: &StoredMessage) -> StoredMessage {
    let text = String::from_utf8_lossy(&stored.frame).replace("superseded", "edited");
    StoredMessage::new(stored.seq, text)
}

pub(crate) fn value(json: &[u8]) -> Value {
    serde_json::from_slice(json).expect("a frame is JSON")
}

fn json(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).expect("JSON")
}
