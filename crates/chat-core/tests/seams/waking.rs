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
            let (inner, calls) = (chat.clone(), Arc::clone(&calls));
            let waker = move |task: Waker| {
                let (chat, calls) = (inner.clone(), Arc::clone(&calls));
                Waker::from(Arc::new(Inline { chat, task, calls }))
            };
            peers.push(member_with_waker(&chat, name, false, waker).await);
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

/// Returns a member of the lobby whose session has a waker of the test, made from that of its task.
async fn member_with_waker(
    chat: &Chat,
    name: &str,
    is_direct: bool,
    waker: impl Fn(Waker) -> Waker + Send + 'static,
) -> Peer {
    let user = User::guest(name).expect("a name");
    let ticket = chat.admit(Identity::from(user)).expect("admitted");
    let mut peer = Peer::new(|wire| async move {
        let wire = if is_direct { wire.with_direct() } else { wire };
        let mut session = Box::pin(ticket.serve(wire));
        std::future::poll_fn(move |cx| {
            session.poll_unpin(&mut Context::from_waker(&waker(cx.waker().clone())))
        })
        .await;
    });
    assert_eq!(peer.event().await["type"], "welcome");
    peer.join("lobby").await;
    peer
}

/// A waker that panics once the test wants it.
struct Panicking {
    task: Waker,
    panics: Arc<AtomicBool>,
}

impl Wake for Panicking {
    fn wake(self: Arc<Self>) {
        assert!(!self.panics.load(Ordering::SeqCst), "the test's own panic");
        self.task.wake_by_ref();
    }
}

#[test]
fn a_waker_that_panics_does_not_keep_the_sessions_behind_it_from_waking() {
    run(|| async {
        for is_direct in [false, true] {
            let chat = Chat::default();
            let (mut peers, mut flags) = (Vec::new(), Vec::new());
            for _connection in ["phone", "laptop"] {
                let flag = Arc::<AtomicBool>::default();
                flags.push(Arc::clone(&flag));
                let waker = move |task| Waker::from(Arc::new(Panicking { task, panics: Arc::clone(&flag) }));
                peers.push(member_with_waker(&chat, "ann", is_direct, waker).await);
            }
            settle().await;
            // A room cannot write to them, so it wakes both.
            peers.iter().for_each(Peer::block);
            flags[0].store(true, Ordering::SeqCst);
            post(&chat, 1).await;
            settle().await;
            peers[1].unblock();
            assert_eq!(seqs(&peers[1].events().await), [1]);
            flags[0].store(false, Ordering::SeqCst);
            peers[0].ping();
            settle().await;
            flags[0].store(true, Ordering::SeqCst);
            assert_eq!(chat.kick(User::guest("ann").expect("a name")), 2);
            settle().await;
            assert_eq!(peers[1].closed_with(), Some(Some(4503)));
        }
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
