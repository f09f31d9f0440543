use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{BufMut, Bytes, BytesMut};
use chat_core::{CloseCode, Connection, DirectWrite, DirectlyWritten, Incoming, Outgoing, frames};
use shuttle::sync::{Condvar, Mutex, MutexGuard};

/// A socket between a session and its peer. The tasks of shuttle may change at each use of it, also inside of a write.
#[derive(Debug, Default)]
pub(crate) struct Socket {
    line: Mutex<Line>,
    /// Locked while the socket is written to.
    writing: Mutex<()>,
    /// Notified when the peer has got something.
    news: Condvar,
}

#[derive(Debug)]
pub(crate) struct Line {
    incoming: VecDeque<Incoming>,
    /// The bytes that the peer has got.
    pub(crate) got: Vec<u8>,
    /// The bytes that the socket takes before it is full.
    space: usize,
    /// True while frames of the session wait.
    is_used_by_session: bool,
    is_closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Violations of the contract. A panic would be caught by the session or by the room.
    pub(crate) faults: Vec<&'static str>,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            incoming: VecDeque::new(),
            got: Vec::new(),
            space: usize::MAX,
            is_used_by_session: false,
            is_closed: false,
            reader: None,
            writer: None,
            faults: Vec::new(),
        }
    }
}

impl Socket {
    pub(crate) fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().expect("no panic while it is locked")
    }

    /// Sends something to the session.
    pub(crate) fn send(&self, incoming: Incoming) {
        let mut line = self.line();
        line.incoming.push_back(incoming);
        let reader = line.reader.take();
        drop(line);
        reader.into_iter().for_each(Waker::wake);
    }

    /// Lets the socket take only this many bytes.
    pub(crate) fn limit(&self, bytes: usize) {
        self.line().space = bytes;
    }

    /// Lets the socket take more bytes.
    pub(crate) fn read(&self, bytes: usize) {
        let mut line = self.line();
        line.space = line.space.saturating_add(bytes);
        let writer = line.writer.take();
        drop(line);
        writer.into_iter().for_each(Waker::wake);
    }

    /// Waits until the peer has got a text.
    pub(crate) fn wait_for(&self, text: &str) {
        let mut line = self.line();
        while !line.got.windows(text.len()).any(|part| part == text.as_bytes()) {
            line = self.news.wait(line).expect("no panic while it is locked");
        }
    }

    /// Writes as many bytes as the socket takes.
    fn write(&self, bytes: &[u8]) -> usize {
        let Ok(_turn) = self.writing.try_lock() else {
            self.line().faults.push("two writers at the same time");
            return bytes.len();
        };
        let mut line = self.line();
        if line.is_closed {
            line.faults.push("a write after the end");
        }
        let taken = line.space.min(bytes.len());
        line.space -= taken;
        line.got.extend_from_slice(&bytes[..taken]);
        self.news.notify_all();
        taken
    }
}

/// The writer for rooms.
#[derive(Debug)]
struct Direct(Arc<Socket>);

impl DirectWrite for Direct {
    fn try_write(&self, bytes: &Bytes) -> io::Result<DirectlyWritten> {
        let mut line = self.0.line();
        if line.is_used_by_session {
            line.faults.push("a room writes while frames of the session wait");
        }
        drop(line);
        match self.0.write(bytes) {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            taken => Ok(DirectlyWritten::Bytes(taken)),
        }
    }
}

/// The session's side of a socket.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: Arc<Socket>,
    /// Frames that wait to be written.
    buffer: BytesMut,
    written: u64,
}

impl Wire {
    pub(crate) fn new(socket: Arc<Socket>) -> Self {
        Self { socket, buffer: BytesMut::new(), written: 0 }
    }

    fn push(&mut self, bytes: &[u8]) {
        self.buffer.put_slice(bytes);
        self.socket.line().is_used_by_session = true;
    }
}

impl Connection for Wire {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        let mut line = self.socket.line();
        let incoming = line.incoming.pop_front();
        line.reader = Some(cx.waker().clone());
        incoming.map_or(Poll::Pending, Poll::Ready)
    }

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn send(&mut self, frame: Outgoing) -> io::Result<()> {
        match frame {
            Outgoing::Text(text) => self.push(&frames::texts([&text[..]])),
            other => return Err(io::Error::other(format!("{other:?}"))),
        }
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.buffer.is_empty() {
            let mut line = self.socket.line();
            if line.space == 0 {
                line.writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            drop(line);
            let taken = self.socket.write(&self.buffer);
            drop(self.buffer.split_to(taken));
            self.written += taken as u64;
        }
        self.socket.line().is_used_by_session = false;
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _: &mut Context<'_>, _: Option<CloseCode>) -> Poll<()> {
        self.socket.line().is_closed = true;
        Poll::Ready(())
    }

    fn progress(&self) -> u64 {
        self.written
    }

    fn direct(&self) -> Option<Arc<dyn DirectWrite>> {
        Some(Arc::new(Direct(Arc::clone(&self.socket))))
    }

    fn send_rest(&mut self, rest: Bytes) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.socket.line().faults.push("the rest of a flush comes after frames of the session");
        }
        self.push(&rest);
        Ok(())
    }
}
