use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use bytes::Bytes;

use crate::sync::Mutex;
use crate::{DirectWrite, DirectlyWritten};

/// The connection of a session, for rooms that write to it directly and not through the task of the session.
///
/// A room writes to an outlet while it is open. The session closes it before it uses the connection, and opens it when
/// nothing waits there. So the frames of both never mix, and those of a room stay in order.
#[derive(Debug, Default)]
pub(crate) struct Outlet(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// `None` if the connection has no direct writer, or is gone.
    writer: Option<Arc<dyn DirectWrite>>,
    is_open: bool,
    written: Taken,
}

/// The writes of rooms to a connection, which its session takes into account.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// The number of frames that were written.
    pub(crate) frames: u64,
    /// The work that the session must do before it sends anything else. It is in a box, because it is rare.
    pub(crate) left: Option<Box<Left>>,
}

/// The end of a write that is not complete.
#[derive(Debug)]
pub(crate) enum Left {
    /// The end of the last frames, which the transport did not take. The session sends it.
    Bytes(Bytes),
    /// The connection has all frames, and the session must flush them.
    Buffered,
    /// The writer has panicked. It is not known what the transport has, so nothing can be sent any more.
    Panicked,
}

/// The result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    All,
    /// The session must do the rest.
    Part,
    Nothing,
}

impl Outlet {
    /// Sets the writer of the connection, if it has one.
    pub(crate) fn attach(&self, writer: Option<Arc<dyn DirectWrite>>) {
        self.0.lock().writer = writer;
    }

    /// Ends the use of the connection.
    pub(crate) fn detach(&self) {
        let writer = std::mem::take(&mut *self.0.lock()).writer;
        // The last owner closes the socket, and holds no lock meanwhile.
        drop(writer);
    }

    pub(crate) fn is_attached(&self) -> bool {
        self.0.lock().writer.is_some()
    }

    pub(crate) fn open(&self) {
        self.0.lock().is_open = true;
    }

    /// Closes the outlet, after a write that goes on.
    pub(crate) fn close(&self) -> Taken {
        let mut state = self.0.lock();
        state.is_open = false;
        std::mem::take(&mut state.written)
    }

    /// Writes whole frames, unless the outlet is closed or in use.
    pub(crate) fn write(&self, bytes: &Bytes, frames: u64) -> Written {
        let Some(mut state) = self.0.try_lock().filter(|state| state.is_open) else {
            return Written::Nothing;
        };
        let Some(writer) = &state.writer else { return Written::Nothing };
        match catch_unwind(AssertUnwindSafe(|| writer.try_write(bytes))) {
            Ok(Ok(DirectlyWritten::Bytes(written @ 1..))) if written >= bytes.len() => {
                state.written.frames += frames;
                Written::All
            }
            result => state.end_incomplete(result, bytes, frames),
        }
    }
}

impl State {
    /// Leaves the rest of a write that is not complete to the session.
    #[cold]
    fn end_incomplete(
        &mut self,
        result: thread::Result<io::Result<DirectlyWritten>>,
        bytes: &Bytes,
        frames: u64,
    ) -> Written {
        let left = match result {
            // An error shows itself to the session, which writes the same frames.
            Ok(Err(_) | Ok(DirectlyWritten::Bytes(0))) => return Written::Nothing,
            Ok(Ok(DirectlyWritten::Bytes(written))) => Left::Bytes(bytes.slice(written..)),
            Ok(Ok(DirectlyWritten::Buffered)) => Left::Buffered,
            Err(_panic) => Left::Panicked,
        };
        self.written.frames += frames;
        self.is_open = false;
        self.written.left = Some(Box::new(left));
        Written::Part
    }
}
