use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use chat_proto::room::{Flush, Member, Place, Progress};
use tokio::runtime::Handle;

use super::outlet::Written;
use crate::Role;
use crate::room::Inbox;
use crate::sync::Mutex;

/// A member's place in a room: its position. The session of the member and the flushes of the room move it.
#[derive(Debug)]
pub(crate) struct Seat {
    /// `None` before the member has entered, and once it has left. The lock of the room may be taken while this one is
    /// held, and not the other way round.
    member: Mutex<Option<Member>>,
    inbox: Arc<Inbox>,
    /// The runtime in which the member has entered.
    runtime: Handle,
    /// The role that the credentials and the host give the user, as it was asked for last.
    granted: Mutex<Role>,
    /// True if the rights of the user may have changed.
    rights_changed: AtomicBool,
    /// True if the user leaves on purpose. It is here, where it needs no space, and not in the membership.
    has_left: AtomicBool,
}

/// The result of a flush for one member.
#[derive(Debug)]
pub(super) enum Flushed {
    /// The events were written. If a part is left, the session sends it and is woken.
    Written(Option<Waker>),
    /// The session takes the events itself. It is woken at this place.
    Behind(Place),
    /// The member has the events, or has left.
    Done,
}

impl Seat {
    pub(super) fn new(inbox: Arc<Inbox>, granted: Role) -> Self {
        Self {
            member: Mutex::new(None),
            inbox,
            runtime: Handle::current(),
            granted: Mutex::new(granted),
            rights_changed: AtomicBool::new(false),
            has_left: AtomicBool::new(false),
        }
    }

    pub(crate) fn granted(&self) -> Role {
        *self.granted.lock()
    }

    pub(super) fn set_granted(&self, granted: Role) {
        *self.granted.lock() = granted;
    }

    /// Lets the session decide again if the user may be in the room. Returns its waker.
    #[must_use = "the task is woken by the caller"]
    pub(super) fn change_rights(&self) -> Option<Waker> {
        self.rights_changed.store(true, Ordering::Release);
        self.inbox.change_rights()
    }

    /// Returns true if the session must decide, and has not done so since the last call.
    pub(super) fn take_rights_changed(&self) -> bool {
        self.rights_changed.swap(false, Ordering::AcqRel)
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    pub(super) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    pub(super) fn enter(&self, member: Member) {
        *self.member.lock() = Some(member);
    }

    /// Uses the member, unless it has left.
    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Member) -> T) -> Option<T> {
        self.member.lock().as_mut().map(f)
    }

    /// Records that the user leaves on purpose.
    pub(super) fn leave_on_purpose(&self) {
        self.has_left.store(true, Ordering::Relaxed);
    }

    /// Returns true if the user leaves on purpose.
    pub(super) fn has_left(&self) -> bool {
        self.has_left.load(Ordering::Relaxed)
    }

    pub(super) fn leave(&self) -> Option<Member> {
        self.member.lock().take()
    }

    /// Writes a flush to the connection of the member, if that is possible.
    pub(super) fn flush(&self, flush: &Flush) -> Flushed {
        let mut member = self.member.lock();
        let Some(member) = member.as_mut() else { return Flushed::Done };
        match member.progress(flush) {
            Progress::Done => return Flushed::Done,
            Progress::Next => match self.inbox.outlet.write(flush.frames(), flush.count()) {
                Written::All => {
                    member.advance(flush);
                    return Flushed::Written(None);
                }
                Written::Part => {
                    member.advance(flush);
                    return Flushed::Written(self.inbox.waker.take());
                }
                Written::Nothing => {}
            },
            Progress::Behind => {}
        }
        Flushed::Behind(member.place())
    }
}
