//! Purges by the host: what they delete, and how long the chat waits for a store.

use std::sync::Arc;
use std::time::Duration;

use chat_core::{
    Act, Action, AppendError, AppendReceipt, Authorize, ChangeError, ChangeReceipt, Chat, CommitSink, Event,
    Forbidden, Limits, LogBounds, MemoryRoom, NewAct, NewMessage, Page, PostError, Range, Role, Room,
    RoomName, Store, Text, Unavailable, User, async_trait,
};
use chat_testkit::{MessagesOnly, connect, lobby};
use serde_json::json;

fn user(id: &str) -> User {
    User::new(id, id).expect("a good name")
}

async fn post(chat: &Chat, id: &str, text: &str) -> u64 {
    chat.post(&lobby(), &user(id), &Text::new(text)).await.expect("posted").seq
}

/// Rooms in memory whose purges take this time, or that have no purges.
struct Purging(Option<Duration>);

struct PurgingRoom(MemoryRoom, Option<Duration>);

#[async_trait]
impl Store for Purging {
    async fn open(
        &self,
        room: &RoomName,
        limits: &Arc<Limits>,
        sink: CommitSink,
    ) -> Result<Arc<dyn Room>, Unavailable> {
        Ok(Arc::new(PurgingRoom(MemoryRoom::new(room.clone(), Arc::clone(limits), sink), self.0)))
    }
}

#[async_trait]
impl Room for PurgingRoom {
    async fn append(&self, message: NewMessage) -> Result<AppendReceipt, AppendError> {
        self.0.append(message).await
    }

    async fn govern(&self, act: NewAct) -> Result<ChangeReceipt, ChangeError> {
        self.0.govern(act).await
    }

    async fn purge(&self, act: NewAct) -> Result<ChangeReceipt, ChangeError> {
        let time = self.1.ok_or(ChangeError::Unsupported)?;
        tokio::time::sleep(time).await;
        self.0.purge(act).await
    }

    async fn read(&self, range: Range) -> Result<Page, Unavailable> {
        self.0.read(range).await
    }

    async fn bounds(&self) -> Result<LogBounds, Unavailable> {
        self.0.bounds().await
    }
}

#[tokio::test]
async fn the_host_purges_one_user_and_a_subscriber_gets_the_entry() {
    let chat: Chat = Chat::default();
    for (id, text) in [("eve", "one"), ("bob", "two"), ("eve", "three")] {
        post(&chat, id, text).await;
    }
    let receipt = chat.purge(&lobby(), &user("ops"), &user("eve")).await.expect("purged");
    assert_eq!((receipt.seq, receipt.duplicate), (Some(4), false));
    let entries = chat.history(&lobby(), Range::entries(0, 9)).await.expect("a page").messages;
    let events: Vec<_> = entries.iter().map(|stored| stored.event().expect("an event")).collect();
    let is_deleted = |event: &Event| matches!(event, Event::Message { body: None, .. });
    assert_eq!(events.iter().map(is_deleted).collect::<Vec<_>>(), [true, false, true, false]);
    assert!(matches!(&events[3], Event::Purged { from: 1, to: 3, user, .. } if user.id() == "eve"));
    let again = chat.purge(&lobby(), &user("ops"), &user("eve")).await.expect("purged again");
    assert_eq!(again.seq, None);
}

#[tokio::test(start_paused = true)]
async fn a_purge_may_take_longer_than_another_call_of_a_store() {
    let limits = Limits::default();
    let (call, purge) = (limits.rooms.call_timeout, limits.rooms.purge_timeout);
    assert!(call * 2 < purge);
    let chat: Chat = Chat::builder().store(Purging(Some(call * 2))).build();
    post(&chat, "eve", "hi").await;
    let purged = chat.purge(&lobby(), &user("ops"), &user("eve")).await;
    assert_eq!(purged.expect("purged").seq, Some(2));

    let chat: Chat = Chat::builder().store(Purging(Some(purge * 2))).build();
    post(&chat, "eve", "hi").await;
    let purged = chat.purge(&lobby(), &user("ops"), &user("eve")).await;
    assert!(matches!(purged, Err(PostError::Unavailable(_))), "{purged:?}");
    assert_eq!(chat.stats().store_timeouts, 1);
}

#[tokio::test]
async fn a_store_without_purges_is_unsupported_and_keeps_the_messages() {
    let chats: [Chat; 2] =
        [Chat::builder().store(MessagesOnly).build(), Chat::builder().store(Purging(None)).build()];
    for chat in chats {
        post(&chat, "eve", "hi").await;
        let purged = chat.purge(&lobby(), &user("ops"), &user("eve")).await;
        assert!(matches!(purged, Err(PostError::Change(ChangeError::Unsupported))), "{purged:?}");
        let act = NewAct::new(user("ops"), Act::Purge { user: user("eve") }).by_host();
        let governed = chat.govern(&lobby(), act).await;
        assert!(matches!(governed, Err(PostError::Change(ChangeError::Unsupported))), "{governed:?}");
        assert_eq!(chat.history(&lobby(), Range::entries(0, 9)).await.expect("a page").messages.len(), 1);
    }
}

/// A host that gives the role of an owner to `boss`, and forbids purges in the room `kept`.
struct Host;

#[async_trait]
impl Authorize for Host {
    async fn authorize(&self, _: &User, room: &RoomName, action: &Action<'_>) -> Result<(), Forbidden> {
        let is_purge = matches!(action, Action::Govern { act: Act::Purge { .. } });
        if is_purge && room.as_str() == "kept" { Err(Forbidden::Rights) } else { Ok(()) }
    }

    async fn role(&self, user: &User, _: &RoomName) -> Result<Role, Forbidden> {
        Ok(if user.id() == "boss" { Role::Owner } else { Role::None })
    }
}

#[tokio::test]
async fn an_owner_by_the_host_purges_and_the_host_may_refuse() {
    let chat: Chat = Chat::builder().authorize(Host).build();
    let mut boss = connect(&chat, "boss").await;
    for (room, reply) in [("lobby", "done"), ("kept", "error")] {
        let name: RoomName = room.parse().expect("a good name");
        chat.post(&name, &user("eve"), &Text::new("hi")).await.expect("posted");
        boss.join(room).await;
        let answer = boss.ask(json!({"type": "purge", "room": room, "user": "eve"})).await;
        assert_eq!(answer["type"], reply, "{answer}");
    }
}
