//! A sound store with one defect.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use async_trait::async_trait;
use chat_core::{
    AppendError, AppendReceipt, CommitSink, Health, Limits, LogBounds, MarkerError, NewMessage, Page, Range,
    Room, RoomName, Store, Unavailable, UserKey,
};
use chat_store_conformance::Fixture;
use parking_lot::Mutex;

use crate::defects::Defect::{self, *};
use crate::held::Held;
use crate::room::SpoiledRoom;
use crate::sink::spoil;

pub(crate) struct Spoiled {
    defect: Defect,
    held: Held,
    /// The store of node 1, where each node has logs of its own.
    other: Held,
    shared: Arc<Shared>,
}

/// The state that all rooms of one life share.
#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) life: u64,
    pub(crate) keys: Mutex<BTreeMap<String, AppendReceipt>>,
    /// The last position of a marker, in whatever epoch.
    pub(crate) marker: AtomicU64,
    opened: Mutex<BTreeSet<RoomName>>,
    was_down: AtomicBool,
}

impl Spoiled {
    pub(crate) fn new(defect: Defect) -> Self {
        let shared = Arc::new(Shared { life: 1, ..Shared::default() });
        Self { defect, held: Held::new(), other: Held::new(), shared }
    }
}

#[async_trait]
impl Fixture for Spoiled {
    fn store(&self, node: usize) -> Option<Arc<dyn Store>> {
        let held = if self.defect == SeqsOfOneNode && node == 1 { &self.other } else { &self.held };
        let (store, shared) = (held.store(node)?, Arc::clone(&self.shared));
        Some(Arc::new(SpoiledStore { defect: self.defect, node, store, shared }))
    }

    async fn restart(&mut self) {
        if matches!(self.defect, EpochIsName | RestartLosesAll) {
            self.held = Held::new();
        } else {
            self.held.restart().await;
        }
        self.shared = Arc::new(Shared { life: self.shared.life + 1, ..Shared::default() });
    }

    fn set_reachable(&self, reachable: bool) -> bool {
        self.shared.was_down.store(true, std::sync::atomic::Ordering::SeqCst);
        self.held.set_reachable(reachable && self.defect != DownForever)
    }

    async fn renew(&self) -> bool {
        self.held.renew().await
    }
}

struct SpoiledStore {
    defect: Defect,
    node: usize,
    store: Arc<dyn Store>,
    shared: Arc<Shared>,
}

#[async_trait]
impl Store for SpoiledStore {
    async fn open(
        &self,
        room: &RoomName,
        limits: &Arc<Limits>,
        sink: CommitSink,
    ) -> Result<Arc<dyn Room>, Unavailable> {
        let Self { defect, node, ref shared, .. } = *self;
        let is_first = shared.opened.lock().insert(room.clone());
        let mut given = Limits::clone(limits);
        match defect {
            PagesUnbounded => given.wire.max_batch_bytes = usize::MAX,
            FewKeys => given.rooms.log_keys -= 1,
            ManyKeys => given.rooms.log_keys += 1,
            ManyPins => given.rooms.max_pins += 1,
            ManyStandings => given.rooms.max_standings += 1,
            RemovesTooMany => given.rooms.log_messages -= 1,
            _ => {}
        }
        let cut: String = room.as_str().chars().take(20).collect();
        let stored_as = if defect == RoomNamesCut { cut.parse().expect("a name") } else { room.clone() };
        let hears = match defect {
            NeverReports => false,
            OneSinkOnly => is_first,
            RestartLosesSinks => shared.life == 1,
            OtherNodeUnreported => node == 0,
            _ => true,
        };
        let (pending, reports) = (Arc::default(), if hears { sink.clone() } else { CommitSink::new(|_| {}) });
        let opened = self
            .store
            .open(&stored_as, &Arc::new(given), spoil(defect, (node, room), reports, &pending))
            .await;
        let log = match opened {
            Err(_) if defect == OpensWhenDown => return Ok(Arc::new(Down)),
            opened => opened?,
        };
        let (name, limits, shared) = (room.clone(), Arc::clone(limits), Arc::clone(shared));
        let (visible, calls) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Arc::new(SpoiledRoom { defect, node, name, limits, log, sink, pending, shared, visible, calls }))
    }

    async fn follow(&self, user: &UserKey, room: &RoomName, on: bool, max: usize) -> Result<(), MarkerError> {
        match self.defect {
            SomeMarkers => Err(MarkerError::Unsupported),
            FollowsUnlimited => self.store.follow(user, room, on, usize::MAX).await,
            CountsDirect if on && self.store.followed(user).await?.len() >= max => {
                Err(MarkerError::TooManyRooms)
            }
            _ => self.store.follow(user, room, on, max).await,
        }
    }

    async fn followed(&self, user: &UserKey) -> Result<Vec<RoomName>, MarkerError> {
        let mut rooms = self.store.followed(user).await?;
        match self.defect {
            SomeMarkers => return Err(MarkerError::Unsupported),
            FollowedUnsorted => rooms.reverse(),
            RestartLosesFollows if self.shared.life > 1 => rooms.clear(),
            _ => {}
        }
        Ok(rooms)
    }

    fn health(&self) -> Health {
        match self.defect {
            ReadyWhenDown => Health::Ready,
            DownForever => Health::Unreachable("it was down once".to_owned()),
            _ => self.store.health(),
        }
    }

    fn keeps_order(&self) -> bool {
        self.defect == OrderLost
    }

    async fn close(&self) -> Result<(), Unavailable> {
        if self.defect == ServesWhenClosed { Ok(()) } else { self.store.close().await }
    }
}

/// A room that was opened although the store is unreachable.
struct Down;

#[async_trait]
impl Room for Down {
    async fn append(&self, _: NewMessage) -> Result<AppendReceipt, AppendError> {
        Err(Unavailable::new("down").into())
    }

    async fn read(&self, _: Range) -> Result<Page, Unavailable> {
        Err(Unavailable::new("down"))
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        Err(Unavailable::new("down"))
    }
}
