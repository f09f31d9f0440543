//! Wakers of an executor that runs a task in `wake`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use chat_core::{Chat, Identity, Range, User};
use chat_testkit::{Peer, lobby, seqs, settle};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde_json::json;

use crate::post;

/// A waker that uses the room, as a task does that runs in `wake`.
struct Inline {
    chat: Chat,
    task: Waker,
    calls: Arc<AtomicUsize>,
}

impl Wake for Inline {
    fn wake(self: Arc<Self>) {
        let user = User::guest("ann").expect("a name");
        self.chat.members(&lobby());
        self.chat.rooms_of(&user);
        if self.chat.open_rooms().contains(&lobby()) {
            let page = self.chat.history(&lobby(), Range::newest(9)).now_or_never();
            assert!(page.is_some_and(|page| page.is_ok()), "a log in memory answers at once");
        }
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.task.wake_by_ref();
    }
}

/// Runs a test that hangs if it deadlocks.
fn run<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let (done, finished) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(test());
        done.send(()).expect("the test waits");
    });
    finished.recv_timeout(Duration::from_secs(60)).expect("the test fails, or a waker waits for a lock");
}

#[test]
fn a_waker_of_a_subscription_can_use_the_room() {
    run(|| async {
        let chat = Chat::default();
        let mut events = chat.subscribe(&lobby()).await.expect("a subscription");
        let calls = Arc::<AtomicUsize>::default();
        let inline = Inline { chat: chat.clone(), task: Waker::noop().clone(), calls: Arc::clone(&calls) };
        let waker = Waker::from(Arc::new(inline));
        for number in 1..=3 {
            let mut next = Box::pin(events.next());
            assert!(next.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
            post(&chat, 1).await;
            assert_eq!(calls.load(Ordering::SeqCst), number);
            let Poll::Ready(event) = next.poll_unpin(&mut Context::from_waker(&waker)) else {
                panic!("no event");
            };
            assert!(event.is_some_and(|event| event.is_ok()));
        }
    });
}

#[test]
fn a_waker_of_a_session_can_use_the_room() {
    run(|| async {
        let chat = Chat::default();
        let calls = Arc::<AtomicUsize>::default();
        let mut peers = Vec::new();
        for name in ["ann", "bob"] {
            let user = User::guest(name).expect("a name");
            let ticket = chat.admit(Identity::from(user)).expect("admitted");
            let (chat, calls) = (chat.clone(), Arc::clone(&calls));
            let mut peer = Peer::new(|wire| async move {
                let mut session = Box::pin(ticket.serve(wire));
                std::future::poll_fn(move |cx| {
                    let (chat, task, calls) = (chat.clone(), cx.waker().clone(), Arc::clone(&calls));
                    let waker = Waker::from(Arc::new(Inline { chat, task, calls }));
                    session.poll_unpin(&mut Context::from_waker(&waker))
                })
                .await;
            });
            assert_eq!(peer.event().await["type"], "welcome");
            peer.join("lobby").await;
            peers.push(peer);
        }
        settle().await;
        peers[0].say("hi");
        post(&chat, 1).await;
        for peer in &mut peers {
            assert_eq!(seqs(&peer.events().await), [1, 2]);
        }
        peers[0].ask(json!({"type": "leave", "room": "lobby"})).await;
        assert!(calls.load(Ordering::SeqCst) > 3);
    });
}

/// A task that runs in `wake`.
struct Eager {
    session: Mutex<Option<BoxFuture<'static, ()>>>,
    is_woken: AtomicBool,
}

impl Wake for Eager {
    fn wake(self: Arc<Self>) {
        self.is_woken.store(true, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&self));
        // If the task runs already, it runs once more.
        while let Some(mut session) = self.session.try_lock()
            && self.is_woken.swap(false, Ordering::SeqCst)
        {
            let is_over = |session: &mut BoxFuture<'_, ()>| {
                session.poll_unpin(&mut Context::from_waker(&waker)).is_ready()
            };
            session.take_if(is_over);
        }
    }
}

/// Returns members of the lobby whose sessions run in `wake`.
async fn eager_members(chat: &Chat) -> Vec<Peer> {
    let mut peers = Vec::new();
    for _connection in ["phone", "laptop"] {
        let user = User::guest("ann").expect("a name");
        let ticket = chat.admit(Identity::from(user)).expect("admitted");
        let mut peer = Peer::new(|wire| {
            let session = Mutex::new(Some(ticket.serve(wire).boxed()));
            let task = Arc::new(Eager { session, is_woken: AtomicBool::default() });
            Arc::clone(&task).wake();
            async move {
                std::future::pending::<()>().await;
                drop(task);
            }
        });
        assert_eq!(peer.event().await["type"], "welcome");
        peer.join("lobby").await;
        peers.push(peer);
    }
    peers
}

#[test]
fn a_kick_does_not_wait_for_sessions_that_end_in_their_waker() {
    run(|| async {
        let chat = Chat::default();
        let peers = eager_members(&chat).await;
        assert_eq!(chat.kick(User::guest("ann").expect("a name")), 2);
        assert_eq!((chat.counts().connections, chat.members(&lobby())), (0, vec![]));
        assert!(peers.iter().all(|peer| peer.closed_with() == Some(Some(4503))));
    });
}

#[test]
fn a_drain_does_not_wait_for_sessions_that_end_in_their_waker() {
    run(|| async {
        let chat = Chat::default();
        let peers = eager_members(&chat).await;
        let drained = chat.drain(Duration::from_secs(20)).await;
        assert_eq!((drained.connections, drained.abandoned), (2, 0));
        assert!(peers.iter().all(|peer| peer.closed_with() == Some(Some(1012))));
    });
}
